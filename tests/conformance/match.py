"""Compares what came of an operation with what a case expects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from imgd.conformance.v1.case_pb2 import Step

__all__ = ["differences", "fill", "unmet"]


def fill(message: Message, values: Mapping[str, str]) -> None:
    """Replaces `${name}` in every text of a message, in place.

    Raises:
        KeyError: A name has no value.
    """

    def filled(text: str) -> str:
        return re.sub(r"\$\{(\w+)\}", lambda found: values[found[1]], text)

    for descriptor, value in message.ListFields():
        if _is_map(descriptor):
            for key, text in value.items():
                if isinstance(text, str):
                    value[key] = filled(text)
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE:
            for one in value if descriptor.is_repeated else [value]:
                fill(one, values)
        elif descriptor.type == FieldDescriptor.TYPE_STRING:
            if descriptor.is_repeated:
                value[:] = [filled(text) for text in value]
            else:
                setattr(message, descriptor.name, filled(value))


def differences(expected: Message, actual: Message, path: str = "") -> Iterator[str]:
    """Yields how `actual` differs from what `expected` sets; nothing else is looked at."""
    for descriptor, wanted in expected.ListFields():
        name = f"{path}.{descriptor.name}".lstrip(".")
        found = getattr(actual, descriptor.name)
        if _is_map(descriptor):
            for key, value in wanted.items():
                if key not in found or not _equal(value, found[key]):
                    yield f"{name}[{key}]: want {value!r}, have {found.get(key)!r}"
        elif descriptor.is_repeated:
            if len(wanted) != len(found):
                yield f"{name}: want {len(wanted)} of them, have {len(found)}: {_short(found)}"
            for number, (one, other) in enumerate(zip(wanted, found, strict=False)):
                yield from _compare(descriptor, one, other, f"{name}[{number}]")
        elif descriptor.type == FieldDescriptor.TYPE_MESSAGE and not actual.HasField(
            descriptor.name
        ):
            yield f"{name}: absent in {_short(actual)}"
        else:
            yield from _compare(descriptor, wanted, found, name)


def unmet(step: Step, actual: Message) -> Iterator[str]:
    """Yields what else a step wants of its result and does not have."""
    for path in step.zero:
        if value := _at(actual, path):
            yield f"{path}: want none, have {_short(value)}"
    for length in step.lengths:
        have = len(_at(actual, length.path) or ())
        if have != length.size:
            yield f"{length.path}: want {length.size} of them, have {have}"


def _compare(descriptor: FieldDescriptor, wanted: Any, found: Any, path: str) -> Iterator[str]:
    if descriptor.type == FieldDescriptor.TYPE_MESSAGE:
        yield from differences(wanted, found, path)
    elif not _equal(wanted, found):
        if descriptor.enum_type:
            names = descriptor.enum_type.values_by_number
            wanted, found = (names[one].name if one in names else one for one in (wanted, found))
        yield f"{path}: want {wanted!r}, have {found!r}"


def _equal(wanted: Any, found: Any) -> bool:
    if isinstance(wanted, str) and "*" in wanted:
        return bool(re.fullmatch(re.escape(wanted).replace(r"\*", ".*"), found, re.DOTALL))
    return bool(wanted == found)


def _at(message: Any, path: str) -> Any:
    """What is at a path; None where a message on the way, or at the end, is absent."""
    for name in path.split("."):
        if not name.isdigit():
            descriptor = message.DESCRIPTOR.fields_by_name[name]
            if (
                descriptor.type == FieldDescriptor.TYPE_MESSAGE
                and not descriptor.is_repeated
                and not message.HasField(name)
            ):
                return None
            message = getattr(message, name)
        elif int(name) < len(message):
            message = message[int(name)]
        else:
            return None
    return message


def _is_map(descriptor: FieldDescriptor) -> bool:
    kind = descriptor.message_type
    return bool(descriptor.is_repeated and kind and kind.GetOptions().map_entry)


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 300 else f"{text[:300]}…"

"""JSON from strangers: read strictly, so that no two readers can see different documents."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final, NoReturn, cast

from ._errors import FormatError, show

MAX_DEPTH: Final = 64  # what is kept is walked recursively later; real documents stay below ten
# Each value takes some hundred bytes of memory for two of text, so 4 MiB of them would become
# 200 MiB; and the decoder holds the interpreter's lock for as long as one object takes, 0.1 s for
# 100,000 members. Real documents have some twenty for each of the 4096 layers or entries.
MAX_VALUES: Final = 150_000
_MAX_DIGITS: Final = 20  # of 2**64 - 1


def load_object(raw: bytes, *, reason: str, what: str) -> dict[str, object]:
    """Decode one JSON object as `_load` does."""
    return cast(dict[str, object], _load(raw, dict, "object", reason, what))


def load_array(raw: bytes, *, reason: str, what: str) -> list[object]:
    """Decode one JSON array as `_load` does."""
    return cast(list[object], _load(raw, list, "array", reason, what))


def _load(raw: bytes, shape: type, shape_name: str, reason: str, what: str) -> object:
    """Decode one JSON value of a shape (RFC 8259), or raise `FormatError` with `reason`.

    Refused, although ``json`` takes them: a byte-order mark, encodings other than UTF-8, repeated
    keys, NaN and infinities, integers beyond 64 bits, lone surrogates, deep nesting, and more than
    `MAX_VALUES` values (counted by brackets and commas, those in strings, too).
    """

    def bad(rule: str, subject: str = "") -> FormatError:
        return FormatError(reason, f"{what} {rule}", subject)

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(items)
        if len(found) != len(items):
            seen: set[str] = set()
            for key, _ in items:
                if key in seen:
                    raise bad(f"repeats the key {show(key)}", key)
                seen.add(key)
        return found

    def constant(text: str) -> NoReturn:
        raise bad(f"holds {text}, which is not JSON", text)

    def integer(text: str) -> int:
        if len(text.lstrip("-")) > _MAX_DIGITS:
            raise bad(f"holds an integer beyond 64 bits: {show(text)}", text)
        return int(text)

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise bad(f"holds a number out of range: {show(text)}", text)
        return value

    if sum(map(raw.count, (b"[", b"{", b","))) > MAX_VALUES:
        raise bad(f"holds more than {MAX_VALUES} values")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise bad(f"is not UTF-8 (byte {error.start})") from error
    if text.startswith("\ufeff"):
        raise bad("starts with a byte-order mark")
    try:
        value = json.loads(
            text,
            object_pairs_hook=pairs,
            parse_constant=constant,
            parse_int=integer,
            parse_float=number,
        )
    except json.JSONDecodeError as error:
        raise bad(
            f"is not JSON: {error.msg} (line {error.lineno}, column {error.colno})",
            text[error.pos : error.pos + 40],
        ) from error
    except RecursionError:
        raise bad(f"is nested more than {MAX_DEPTH} levels deep") from None
    if not isinstance(value, shape):
        raise bad(f"is not a JSON {shape_name}", text.strip())
    if _too_deep(value):
        raise bad(f"is nested more than {MAX_DEPTH} levels deep")
    # Only an escape can produce a lone surrogate, and most documents hold no such escape.
    if "\\ud" in text or "\\uD" in text:
        try:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError as error:
            raise bad("holds half of a surrogate pair") from error
    return value


def _too_deep(value: object) -> bool:
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for container in level:
            children = container.values() if isinstance(container, dict) else container
            below += [c for c in cast(list[object], children) if isinstance(c, dict | list)]
        if not below:
            return False
        level = below
    return True


class Fields:
    """Typed access to the members of one JSON object; a null member counts as absent.

    Every getter raises `FormatError` with the reason given here and names the member's place.
    """

    __slots__ = ("_members", "_reason", "_where")

    def __init__(self, value: object, *, reason: str, where: str) -> None:
        self._reason = reason
        self._where = where
        if not isinstance(value, Mapping):
            raise self.bad("", f"must be an object, not {kind(value)}")
        self._members: Mapping[str, object] = value

    def place(self, key: str) -> str:
        """Name a member as messages do."""
        return f"{self._where}.{key}" if key and self._where else key or self._where

    def bad(self, key: str, rule: str, subject: str = "") -> FormatError:
        """Return the error that says which member breaks which rule."""
        place = self.place(key)
        return FormatError(self._reason, f"{place} {rule}", subject or place)

    def has(self, key: str) -> bool:
        """Say whether a member is written, if only as null."""
        return key in self._members

    def raw(self, key: str) -> object:
        """Return a member as it is, None where it is absent."""
        return self._members.get(key)

    def string(self, key: str) -> str:
        """Return a string, empty where it is absent."""
        value = self._members.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.bad(key, f"must be a string, not {kind(value)}")
        return value

    def array(self, key: str) -> list[object]:
        """Return a list, empty where it is absent."""
        value = self._members.get(key)
        if value is None:
            return []
        if not isinstance(value, list | tuple):
            raise self.bad(key, f"must be a list, not {kind(value)}")
        return list(value)

    def strings(self, key: str) -> tuple[str, ...]:
        """Return a list of strings, empty where it is absent."""
        found: list[str] = []
        for number, value in enumerate(self.array(key)):
            if not isinstance(value, str):
                raise self.bad(f"{key}[{number}]", f"must be a string, not {kind(value)}")
            found.append(value)
        return tuple(found)

    def string_map(self, key: str, *, null_values: bool = False) -> dict[str, str]:
        """Return an object of strings, empty where it is absent."""
        value = self._members.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.bad(key, f"must be an object, not {kind(value)}")
        found: dict[str, str] = {}
        for name, text in value.items():
            if text is None and null_values:
                found[name] = ""
            elif isinstance(name, str) and isinstance(text, str):
                found[name] = text
            else:
                raise self.bad(
                    key, f"must hold strings, and {show(str(name))} is {kind(text)}", str(name)
                )
        return found


def kind(value: object) -> str:
    """Name a value's JSON type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an object" if isinstance(value, Mapping) else "a list"

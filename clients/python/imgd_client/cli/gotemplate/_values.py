"""The values of a template, and what Go calls, prints and encodes them as."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from typing import Any, TypeAlias

__all__ = [
    "NO_VALUE",
    "NilList",
    "NilMap",
    "StringMap",
    "Struct",
    "Value",
    "encode",
    "is_true",
    "map_case",
    "plain",
    "type_name",
]

Value: TypeAlias = Any
"""str, int, float, bool, None, a list of values, a dict by strings, or a Struct."""


class Struct:
    """Named fields in their order. A value that is a function is called when it is asked for.

    Args:
        kind: What errors call it; empty for an object of JSON, which docker calls a map.
        fields: The fields by name.
        aliases: Further names of fields.
        omit_empty: The fields that are left out of JSON where they are empty.
        html_safe: Escape `<`, `>` and `&` in JSON, which docker does for rows, not for objects.
        lenient: A field that is not there is no error, but `<no value>`.
    """

    __slots__ = ("_aliases", "_fields", "html_safe", "kind", "lenient", "omit_empty")

    def __init__(
        self,
        kind: str,
        fields: Mapping[str, Value | Callable[[], Value]],
        *,
        aliases: Mapping[str, str] | None = None,
        omit_empty: Container[str] = (),
        html_safe: bool = False,
        lenient: bool = False,
    ) -> None:
        self.kind = kind
        self.omit_empty = omit_empty
        self.html_safe = html_safe
        self.lenient = lenient
        self._fields = fields
        self._aliases = aliases or {}

    def get(self, name: str) -> Value:
        """A field's value. Raises KeyError."""
        name = self._aliases.get(name, name)
        value = self._fields.get(name, NO_VALUE) if self.lenient else self._fields[name]
        return value() if callable(value) else value

    def items(self) -> list[tuple[str, Value]]:
        """Every field and its value."""
        return [(name, self.get(name)) for name in self._fields]


class StringMap(dict[str, str]):
    """A map whose missing entries are empty strings."""


class NilMap(StringMap):
    """A map that is not there: empty, and `null` in JSON."""


class NilList(list[Any]):
    """A list that is not there: empty, and `null` in JSON."""


class _NoValue:
    def __str__(self) -> str:
        return "<no value>"

    def __bool__(self) -> bool:
        return False


NO_VALUE = _NoValue()
"""What a map's missing entry is: prints as `<no value>`, and counts as nil."""


def is_true(value: Value) -> bool:
    """What `if` makes of it: structs are true, whatever they hold."""
    return isinstance(value, Struct) or bool(value)


def type_name(value: Value) -> str:
    """Go's name of its type."""
    match value:
        case bool():
            return "bool"
        case str():
            return "string"
        case int():
            return "int"
        case float():
            return "float64"
        case list():
            strings = all(isinstance(item, str) for item in value)
            return "[]string" if strings else "[]interface {}"
        case StringMap():
            return "map[string]string"
        case dict():
            return "map[string]interface {}"
        case Struct():
            return value.kind or "map[string]interface {}"
    return "<nil>"


def plain(value: Value) -> Any:
    """As Python's own lists and dicts, ready for JSON."""
    match value:
        case NilMap() | NilList() | _NoValue():
            return None
        case Struct():
            return {
                name: plain(item)
                for name, item in value.items()
                if name not in value.omit_empty or is_true(item)
            }
        case list():
            return [plain(item) for item in value]
        case dict():
            return {key: plain(value[key]) for key in sorted(value)}
        case float():
            # Go writes no fraction where there is none.
            return int(value) if value.is_integer() and abs(value) < 1e21 else value
    return value


def encode(value: Value) -> str:
    """As encoding/json writes it, on one line."""
    text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    unsafe = "<>&" if isinstance(value, Struct) and value.html_safe else ""
    for character in f"\u2028\u2029{unsafe}":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def map_case(change: Callable[[str], str], text: str) -> str:
    """Changes characters one by one, as Go does: what would become several stays."""
    return "".join(new if len(new := change(one)) == 1 else one for one in text)

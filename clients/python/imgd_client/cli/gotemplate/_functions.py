"""The functions of text/template (funcs.go), and docker's (cli/templates)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from . import _printf
from ._errors import ArgumentError
from ._values import (
    NO_VALUE,
    StringMap,
    Value,
    encode,
    is_true,
    map_case,
    type_name,
)

__all__ = ["FUNCTIONS", "HEADER_FUNCTIONS", "LAZY", "Function", "Spend"]

Spend = Callable[[int], None]
"""Told how many characters are about to be made; raises when that is too many."""

LAZY = ("and", "or")
"""Functions whose arguments are evaluated one by one, until one decides."""


class Function(NamedTuple):
    """A function of templates.

    `takes` names its parameters' types: `string`, `int`, `[]string` or `any`, the last with `...`
    where it repeats. `call` gets what to tell of its costs, and the arguments.
    """

    takes: Sequence[str]
    call: Callable[[Spend, Sequence[Value]], Value]

    @property
    def variadic(self) -> bool:
        """Whether the last parameter repeats."""
        return bool(self.takes) and self.takes[-1].startswith("...")


# --- comparisons -------------------------------------------------------------------------------


def _kind(value: Value) -> str:
    return type(value).__name__ if isinstance(value, bool | int | float | str) else ""


def _is_nil(value: Value) -> bool:
    return value is None or value is NO_VALUE


def _equal(_: Spend, values: Sequence[Value]) -> bool:
    first, *others = values
    if not others:
        raise ArgumentError("missing argument for comparison")
    return any(_same(first, other) for other in others)


def _same(first: Value, other: Value) -> bool:
    if _is_nil(first) or _is_nil(other):
        return _is_nil(first) and _is_nil(other)
    if _kind(first) != _kind(other):
        raise _incompatible(first, other)
    if not _kind(first):
        raise ArgumentError(f"non-comparable type {_printf.show(first)}: {type_name(first)}")
    return bool(first == other)


def _incompatible(first: Value, other: Value) -> ArgumentError:
    names = f"{type_name(first)} and {type_name(other)}"
    return ArgumentError(f"incompatible types for comparison: {names}")


def _less(first: Value, other: Value) -> bool:
    for value in (first, other):
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ArgumentError("invalid type for comparison")
    if _kind(first) != _kind(other):
        raise _incompatible(first, other)
    return bool(first < other)


# --- lists, maps and strings -------------------------------------------------------------------


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    # What is cut within a character stays as it is, until it is printed.
    return data.decode("utf-8", "surrogateescape")


def _length(_: Spend, values: Sequence[Value]) -> int:
    match values[0]:
        case str() as text:
            return len(_bytes(text))
        case list() | dict() as items:
            return len(items)
    if _is_nil(values[0]):
        raise ArgumentError("len of nil pointer")
    raise ArgumentError(f"len of type {type_name(values[0])}")


def _position(number: Value, bound: int) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise ArgumentError(f"cannot index slice/array with type {type_name(number)}")
    if not 0 <= number <= bound:
        raise ArgumentError(f"index out of range: {number}")
    return number


def _index(_: Spend, values: Sequence[Value]) -> Value:
    item = values[0]
    if _is_nil(item):
        raise ArgumentError("index of untyped nil")
    for key in values[1:]:
        match item:
            case list() | str():
                items = item if isinstance(item, list) else _bytes(item)
                item = items[_position(key, len(items) - 1)]
            case dict():
                if not isinstance(key, str):
                    raise ArgumentError(f"value has type {type_name(key)}; should be string")
                item = item.get(key, "" if isinstance(item, StringMap) else NO_VALUE)
            case _ if _is_nil(item):
                raise ArgumentError("index of nil pointer")
            case _:
                raise ArgumentError(f"can't index item of type {type_name(item)}")
    return item


def _slice(_: Spend, values: Sequence[Value]) -> Value:
    item, *bounds = values
    if _is_nil(item):
        raise ArgumentError("slice of untyped nil")
    if not isinstance(item, list | str):
        raise ArgumentError(f"can't slice item of type {type_name(item)}")
    if len(bounds) > (2 if isinstance(item, str) else 3):
        cut = "cannot 3-index slice a string" if isinstance(item, str) else "too many slice indexes"
        raise ArgumentError(f"{cut}: {len(bounds)}")
    items = item if isinstance(item, list) else _bytes(item)
    places = [_position(bound, len(items)) for bound in bounds]
    for lower, upper in pairwise(places):
        if lower > upper:
            raise ArgumentError(f"invalid slice index: {lower} > {upper}")
    start, end = (places + [0, len(items)][len(places) :])[:2]
    return items[start:end] if isinstance(items, list) else _text(items[start:end])


def _truncate(_: Spend, values: Sequence[Value]) -> str:
    text, length = values
    if length < 0:
        raise ArgumentError(f"slice bounds out of range [:{length}]")
    return _text(_bytes(text)[:length])


def _pad(spend: Spend, values: Sequence[Value]) -> str:
    text, before, after = values
    if not text:
        return ""
    if min(before, after) < 0:
        raise ArgumentError("strings: negative Repeat count")
    spend(before + after)
    return f"{' ' * before}{text}{' ' * after}"


def _split(_: Spend, values: Sequence[Value]) -> list[str]:
    text, separator = values
    return text.split(separator) if separator else list(text)


def _title(text: str) -> str:
    """strings.Title: what follows neither a letter, nor a digit, nor `_` begins a word."""
    before, changed = " ", []
    for one in text:
        inside = before == "_" or before.isalnum() or not (before.isascii() or before.isspace())
        changed.append(one if inside else map_case(str.title, one))
        before = one
    return "".join(changed)


# --- the tables --------------------------------------------------------------------------------


def _of_text(change: Callable[[str], str]) -> Function:
    return Function(["string"], lambda _, values: change(values[0]))


def _of_any(change: Callable[[Value], Value]) -> Function:
    return Function(["any"], lambda _, values: change(values[0]))


def _compare(result: Callable[[Value, Value], bool]) -> Function:
    return Function(["any", "any"], lambda _, values: result(*values))


FUNCTIONS: Mapping[str, Function] = {
    # Evaluated by the executor; what stands here is how many arguments they take.
    "and": Function(["any", "...any"], lambda _, values: values[-1]),
    "or": Function(["any", "...any"], lambda _, values: values[-1]),
    "not": _of_any(lambda value: not is_true(value)),
    "eq": Function(["any", "...any"], _equal),
    "ne": _compare(lambda first, other: not _same(first, other)),
    "lt": _compare(_less),
    "le": _compare(lambda first, other: not _less(other, first)),
    "gt": _compare(lambda first, other: _less(other, first)),
    "ge": _compare(lambda first, other: not _less(first, other)),
    "len": Function(["any"], _length),
    "index": Function(["any", "...any"], _index),
    "slice": Function(["any", "...any"], _slice),
    "print": Function(["...any"], lambda _, values: _printf.print_values(values)),
    "println": Function(["...any"], lambda _, values: _printf.println(values)),
    "printf": Function(
        ["string", "...any"], lambda spend, values: _printf.printf(values[0], values[1:], spend)
    ),
    "json": _of_any(encode),
    "split": Function(["string", "string"], _split),
    "join": Function(["[]string", "string"], lambda _, values: values[1].join(values[0])),
    "title": _of_text(_title),
    "lower": _of_text(lambda text: map_case(str.lower, text)),
    "upper": _of_text(lambda text: map_case(str.upper, text)),
    "pad": Function(["string", "int", "int"], _pad),
    "truncate": Function(["string", "int"], _truncate),
}
"""Every function by its name."""

HEADER_FUNCTIONS: Mapping[str, Function] = {
    **FUNCTIONS,
    **dict.fromkeys(("json", "title", "lower", "upper"), _of_text(str)),
    "truncate": Function(["string", "int"], lambda _, values: values[0]),
}
"""The functions for a table's header, which docker leaves as it is."""

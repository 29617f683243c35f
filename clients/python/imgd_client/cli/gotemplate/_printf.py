"""Go's fmt for the values of templates: Print, Println, Printf."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ._errors import ArgumentError
from ._values import NO_VALUE, Struct, Value, type_name

__all__ = ["print_values", "printf", "println", "quote", "show"]

# Go's own bound for widths and precisions (fmt/print.go, tooLarge).
_MAX_NUMBER = 1_000_000
_VERB = re.compile(r"%([-+# 0]*)(\d*)(\.\d*)?(.)?", re.DOTALL)
_SHORT = {**dict(zip("\a\b\f\n\r\t\v", "abfnrtv", strict=True)), "\\": "\\", '"': '"'}


class _Form(NamedTuple):
    flags: str
    width: int
    precision: int | None
    verb: str

    def pad(self, text: str, sign: str = "", *, zeros: bool = False) -> str:
        """Fills up to the width, with zeros between sign and text where the flags say so."""
        if "-" in self.flags:
            return (sign + text).ljust(self.width)
        if zeros and "0" in self.flags:
            return sign + text.rjust(self.width - len(sign), "0")
        return (sign + text).rjust(self.width)

    def sign(self, negative: bool) -> str:
        """What stands before a number."""
        return "-" if negative else "+" if "+" in self.flags else " " * (" " in self.flags)


def show(value: Value) -> str:
    """A value as `{{value}}` prints it."""
    return (
        str(NO_VALUE)
        if value is None or value is NO_VALUE
        else _element(_Form("", 0, None, "v"), value)
    )


def print_values(values: Sequence[Value]) -> str:
    """fmt.Sprint: spaces between operands of which neither is a string."""
    pieces = []
    for number, value in enumerate(values):
        strings = isinstance(value, str) or (number and isinstance(values[number - 1], str))
        pieces.append(("" if strings or not number else " ") + _nil_or(value))
    return "".join(pieces)


def println(values: Sequence[Value]) -> str:
    """fmt.Sprintln: spaces between all."""
    return " ".join(map(_nil_or, values)) + "\n"


def _nil_or(value: Value) -> str:
    return "<nil>" if value is None or value is NO_VALUE else show(value)


def printf(template: str, values: Sequence[Value], spend: Callable[[int], None]) -> str:
    """fmt.Sprintf. `spend` is told of characters before they are made."""
    pieces, at, left = [], 0, deque(values)
    for found in _VERB.finditer(template):
        pieces.append(template[at : found.start()])
        at = found.end()
        flags, width, precision, verb = found.groups()
        if verb is None or verb == "%":
            pieces.append("%" if verb else "%!(NOVERB)")
            continue
        if verb in "*[":
            raise ArgumentError(f'"%{verb}" in a format is not supported here')
        bound = None if precision is None else _number(precision[1:])
        form = _Form(flags, _number(width), bound, verb)
        spend(form.width + (form.precision or 0))
        pieces.append(_element(form, left.popleft()) if left else f"%!{verb}(MISSING)")
    pieces.append(template[at:])
    if left:
        pieces.append(f"%!(EXTRA {', '.join(map(_told, left))})")
    return "".join(pieces)


def _number(digits: str) -> int:
    # Short first: Python refuses to read thousands of digits.
    if len(digits) > len(str(_MAX_NUMBER)) or int(digits or 0) > _MAX_NUMBER:
        raise ArgumentError(f"a width or precision above {_MAX_NUMBER}")
    return int(digits or 0)


def _told(value: Value) -> str:
    nothing = value is None or value is NO_VALUE
    return "<nil>" if nothing else f"{type_name(value)}={show(value)}"


def _wrong(form: _Form, value: Value) -> str:
    return f"%!{form.verb}({_told(value)})"


def _element(form: _Form, value: Value) -> str:
    if form.verb == "T":
        return form.pad(type_name(value))
    match value:
        case bool():
            shown = str(value).lower()
            return form.pad(shown) if form.verb in "tv" else _wrong(form, value)
        case str():
            return _string(form, value)
        case int():
            return _integer(form, value)
        case float():
            return _float(form, value)
        case list():
            return f"[{' '.join(_inner(form, item) for item in value)}]"
        case dict():
            pairs = (f"{_inner(form, key)}:{_inner(form, value[key])}" for key in sorted(value))
            return f"map[{' '.join(pairs)}]"
        case Struct():
            fields = (
                f"{name}:{_inner(form, item)}" if "+" in form.flags else _inner(form, item)
                for name, item in value.items()
            )
            return f"{{{' '.join(fields)}}}"
    return form.pad("<nil>") if form.verb == "v" else f"%!{form.verb}(<nil>)"


def _inner(form: _Form, value: Value) -> str:
    """A value within another, where nothing has no form but its name."""
    return "<nil>" if value is None else _element(form, value)


def _string(form: _Form, value: str) -> str:
    if form.precision is not None and form.verb in "vsq":
        value = value[: form.precision]
    match form.verb:
        case "v" if "#" in form.flags:
            return form.pad(quote(value))
        case "v" | "s":
            return form.pad(value, zeros=True)
        case "q":
            raw = "#" in form.flags and "`" not in value and value.isprintable()
            return form.pad(f"`{value}`" if raw else quote(value, ascii_only="+" in form.flags))
        case "x" | "X":
            digits = value.encode("utf-8", "surrogateescape").hex(*" " * (" " in form.flags))
            return form.pad(digits.upper() if form.verb == "X" else digits)
    return _wrong(form, value)


def _integer(form: _Form, value: int) -> str:
    match form.verb:
        case "c":
            return form.pad(_character(value))
        case "q":
            return form.pad("'" + quote(_character(value))[1:-1] + "'")
        case "U":
            return form.pad(f"U+{value:04X}")
        case "v" | "d":
            kind, prefix = "d", ""
        case "b" | "o" | "x" | "X" | "O":
            kind = form.verb.lower() if form.verb == "O" else form.verb
            wanted = "#" in form.flags or form.verb == "O"
            prefix = {"b": "0b", "o": "0", "x": "0x", "X": "0X", "O": "0o"}[form.verb] * wanted
        case _:
            return _wrong(form, value)
    digits = format(abs(value), kind).zfill(form.precision or 0)
    sign = form.sign(value < 0) + prefix
    return form.pad(digits, sign, zeros=form.precision is None)


def _character(code: int) -> str:
    valid = 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000
    return chr(code) if valid else "\ufffd"


def _float(form: _Form, value: float) -> str:
    verb = "g" if form.verb == "v" else form.verb
    if verb not in "eEfFgG":
        return _wrong(form, value)
    size = abs(value)
    if form.precision is None and verb in "gG":
        digits = _shortest(size).upper() if verb == "G" else _shortest(size)
    else:
        digits = format(size, f".{6 if form.precision is None else form.precision}{verb}")
    return form.pad(digits, form.sign(value < 0), zeros=True)


def _shortest(value: float) -> str:
    """strconv.FormatFloat with 'g' and -1: as few digits as tell it apart."""
    tries = (f"{value:.{digits}e}" for digits in range(18))
    shown = next(one for one in tries if float(one) == value)
    mantissa, _, exponent = shown.partition("e")
    if -4 <= int(exponent) < 6:
        return f"{value:.{max(0, len(mantissa.partition('.')[2]) - int(exponent))}f}"
    return shown


def quote(text: str, *, ascii_only: bool = False) -> str:
    """strconv.Quote."""
    return '"' + "".join(_quoted(one, ascii_only) for one in text) + '"'


def _quoted(one: str, ascii_only: bool) -> str:
    if one in _SHORT:
        return f"\\{_SHORT[one]}"
    if one.isprintable() and (one.isascii() or not ascii_only):
        return one
    code = ord(one)
    if 0xDC80 <= code <= 0xDCFF:
        # A byte that is no UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

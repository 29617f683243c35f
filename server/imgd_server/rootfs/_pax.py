"""Extended headers of tar archives: PAX records, and maps of sparse files.

POSIX.1-2001 (pax, "pax Extended Header"), GNU tar's manual ("Storing Sparse Files"). Where those
leave room, Go's archive/tar is followed, which reads images nearly everywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from imgd_server.rootfs._protocol import Limits, invalid, show, too_large

__all__ = [
    "Extents",
    "Records",
    "parse_decimal",
    "parse_map",
    "parse_map_lines",
    "parse_records",
    "parse_time",
    "sparse_extents",
]

Extents = list[tuple[int, int]]
"""Where a sparse file has data: (offset, length), ascending, none overlapping."""

Records = dict[bytes, bytes]
"""An extended header: the last value of each key."""

_LENGTH = re.compile(rb"(\d{1,10}) ")
_DECIMAL = re.compile(rb"0*(\d{1,19})")
_TIME = re.compile(rb"(-?)(\d{1,18})(?:\.(\d*))?")
# Whose values are names: a NUL in one would cut it short for the kernel and not for us.
_NAMES = {b"path", b"linkpath", b"GNU.sparse.name"}
# Formats 0.0 of sparse files repeats these; they are gathered as if it were 0.1.
_OFFSET, _LENGTH_OF, _MAP = b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"GNU.sparse.map"


def parse_records(data: bytes) -> Records:
    """The records of an extended header: length (counting itself), blank, key=value, newline."""
    records: Records = {}
    extents: list[bytes] = []
    position = 0
    while position < len(data):
        found = _LENGTH.match(data, position)
        if found is None:
            raise invalid("a PAX record does not begin with its length")
        end = position + int(found[1])
        key, equals, value = data[found.end() : end - 1].partition(b"=")
        if end > len(data) or end <= found.end() or data[end - 1 : end] != b"\n" or not equals:
            raise invalid("a PAX record is malformed")
        if not key or b"\0" in key or (key in _NAMES and b"\0" in value):
            raise invalid(f"a PAX record has a NUL where none may be: {show(key)}")
        position = end
        if key in (_OFFSET, _LENGTH_OF):
            if (key == _OFFSET) == bool(len(extents) % 2):
                raise invalid("a sparse file's map has offsets and lengths out of order")
            extents.append(value)
        else:
            records[key] = value
    if extents:
        records[_MAP] = b",".join(extents)
    return records


def parse_decimal(value: bytes, what: str) -> int:
    """A number of a PAX record or a sparse map: decimal, not negative, below 2^63."""
    found = _DECIMAL.fullmatch(value)
    if found is None or (number := int(found[1])) >= 1 << 63:
        raise invalid(f"{what} is not a number: {show(value)}")
    return number


def parse_time(value: bytes) -> int:
    """A PAX time, seconds with a fraction, in nanoseconds since the epoch; finer is cut off."""
    found = _TIME.fullmatch(value)
    if found is None:
        raise invalid(f"a time is not a number: {show(value)}")
    nanoseconds = int(found[2]) * 10**9 + int((found[3] or b"").ljust(9, b"0")[:9])
    return -nanoseconds if found[1] else nanoseconds


def parse_map(value: bytes, limits: Limits) -> Extents:
    """The map of formats 0.0 and 0.1: offset and length, comma between all of them."""
    fields = value.split(b",") if value else []
    if len(fields) % 2:
        raise invalid("a sparse file's map has an offset without a length")
    return _pairs((parse_decimal(field, "a sparse file's map") for field in fields), limits)


def parse_map_lines(lines: Iterator[bytes], limits: Limits) -> Extents:
    """The map of format 1.0: a count, then offset and length, a line each."""
    count = parse_decimal(next(lines), "a sparse file's map")
    _bound(count, limits)
    fields = islice(lines, 2 * count)
    return _pairs((parse_decimal(field, "a sparse file's map") for field in fields), limits)


def _pairs(numbers: Iterable[int], limits: Limits) -> Extents:
    rest = iter(numbers)
    extents: Extents = []
    for offset in rest:
        extents.append((offset, next(rest)))
        _bound(len(extents), limits)
    return extents


def _bound(extents: int, limits: Limits) -> None:
    if extents > limits.max_extents:
        raise too_large(f"a sparse file has more than {limits.max_extents} extents")


def sparse_extents(extents: Extents, stored: int, length: int, limits: Limits) -> Extents:
    """Checks a map against the bytes stored and the file's length; drops empty extents."""
    end = total = 0
    _bound(len(extents), limits)
    for offset, size in extents:
        if offset < end or offset + size > length:
            raise invalid("a sparse file's extents overlap, go backwards or pass its end")
        end = offset + size
        total += size
    if total != stored:
        raise invalid(f"a sparse file has {stored} bytes, and its map speaks of {total}")
    return [extent for extent in extents if extent[1]]

"""A reader of tar archives, made for unpacking: one pass, few operations an entry.

Reads v7, ustar, PAX, GNU and star archives as Go's archive/tar does, which most images were made to
be read by: an archive may end at any block (no end marker), also before the padding of its last
file; global PAX headers are read and ignored; links, devices and directories have no data whatever
their size says. Sources: POSIX.1-2001 (ustar, pax), GNU tar's manual ("Tar Internals").

Python's tarfile takes 3.6 s for a layer that this reads in a fraction: it makes dozens of objects
an entry, and copies the data twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from zlib import adler32

from imgd_server.errors import Error
from imgd_server.rootfs._pax import (
    Extents,
    Records,
    parse_decimal,
    parse_map,
    parse_map_lines,
    parse_records,
    parse_time,
    sparse_extents,
)
from imgd_server.rootfs._protocol import Limits, invalid, show, too_large

__all__ = [
    "BLOCK_DEVICE",
    "CHAR_DEVICE",
    "DIRECTORY",
    "FIFO",
    "LINK",
    "REGULAR",
    "SYMLINK",
    "Entry",
    "TarReader",
]

REGULAR, LINK, SYMLINK, CHAR_DEVICE, BLOCK_DEVICE, DIRECTORY, FIFO = b"0123456"
_OLD_REGULAR, _CONTIGUOUS, _GNU_SPARSE = b"\x007S"
_PAX, _PAX_GLOBAL, _GNU_NAME, _GNU_LINK = b"xgLK"
_REGULARS = frozenset((REGULAR, _OLD_REGULAR, _CONTIGUOUS, _GNU_SPARSE))

_BLOCK = 512
_ZERO = bytes(_BLOCK)
# Versions of PAX's forms of sparse files; 0.0 and 0.1 seldom say theirs.
_SPARSE_FORMS = {(None, None), (b"0", b"0"), (b"0", b"1"), (b"1", b"0")}
# Of all extended headers. They are what costs most to read, byte for byte: a minute, with this.
_MAX_EXTENDED = 1 << 30
_GNU = b"ustar  \0"
_XATTR = b"SCHILY.xattr."
# The largest number that leaves room for one more block.
_MAX_SIZE = (1 << 63) - 1 - _BLOCK
# adler32's lower half is 1 + the sum of the bytes, modulo this (RFC 1950).
_ADLER = 65521


class _Numbers(dict[bytes, int]):
    """Numeric header fields. Few differ within a layer, and a look-up is a tenth of a parse."""

    def __missing__(self, field: bytes) -> int:
        number = _parse_number(field)
        if len(self) < 8192:
            self[field] = number
        return number


def _parse_number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU: base 256, two's complement below the first bit
        number = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        number -= (field[0] & 0x40) << (8 * len(field) - 7)
        if not -(1 << 63) <= number < 1 << 63:
            raise invalid("a number in a header has more than 64 bits")
        return number
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise invalid(f"a number in a header is not octal: {show(field)}")
    return int(digits, 8)


_numbers = _Numbers()


class Entry:
    """One entry of an archive.

    `kind` is one of this module's constants. `name` and `link` are as the archive has them. `mode`
    has permission bits, setuid, setgid and sticky; `size` counts the bytes stored, `length` the
    file's with its holes; times are nanoseconds since the epoch, `atime` None where not stated.
    `extents` is None but for sparse files.
    """

    __slots__ = (
        "atime",
        "extents",
        "gid",
        "kind",
        "length",
        "link",
        "major",
        "minor",
        "mode",
        "mtime",
        "name",
        "size",
        "uid",
        "xattrs",
    )
    atime: int | None
    extents: Extents | None
    gid: int
    kind: int
    length: int
    link: bytes
    major: int
    minor: int
    mode: int
    mtime: int
    name: bytes
    size: int
    uid: int
    xattrs: dict[bytes, bytes] | None


class TarReader:
    """The entries of an archive that comes in chunks. Raises LAYER_INVALID and LAYER_TOO_LARGE."""

    def __init__(self, chunks: Iterator[bytes], limits: Limits) -> None:
        self._chunks, self._limits = chunks, limits
        self._chunk = b""
        self._position = 0
        self._left = 0  # bytes of the current entry's data not read yet
        self._padding = 0  # and of its last block
        self._extended_bytes = 0
        self.entries = 0

    def next(self) -> Entry | None:
        """The next entry, None at the end; what was not read of the former's data is passed over.

        At the end the rest of the stream is read too: it is part of what the diff ID is of.
        """
        records: Records = {}
        name = link = b""
        while True:
            block = self._header()
            if block is None:
                for _ in self._chunks:
                    pass
                return None
            kind = block[156]
            if kind == _PAX:
                records = parse_records(self._extended(block))
            elif kind == _PAX_GLOBAL:
                parse_records(self._extended(block))
            elif kind == _GNU_NAME:
                name = self._extended(block).partition(b"\0")[0]
            elif kind == _GNU_LINK:
                link = self._extended(block).partition(b"\0")[0]
            else:
                self.entries += 1
                return self._entry(block, kind, records, name, link)

    def data(self) -> Iterator[memoryview]:
        """The current entry's bytes as stored, in pieces. A piece is valid until the next."""
        while self._left:
            if self._position == len(self._chunk):
                self._more("in the middle of a file")
            view = memoryview(self._chunk)[self._position : self._position + self._left]
            self._position += len(view)
            self._left -= len(view)
            yield view

    @property
    def unread(self) -> int:
        """Bytes of the chunks taken so far that are not read yet: so what was taken less this is
        where the current entry's data go on, in the archive."""
        return len(self._chunk) - self._position

    # --- headers

    def _header(self) -> bytes | None:
        """The next header, checked; None at the end of the archive."""
        if self._left or self._padding:
            self._pass_over()
        position = self._position
        block = self._chunk[position : position + _BLOCK]
        self._position = position + len(block)
        if len(block) < _BLOCK:
            block = self._across(block)
            if not block:
                return None  # no end marker
        if not block[0] and block == _ZERO:
            again = self._across(b"")
            if again and again != _ZERO:
                raise invalid("a block of zeros is followed by more entries")
            return None
        stated = _numbers[block[148:156]]
        if (stated + sum(block[148:156]) - 255) % _ADLER != adler32(block) & 0xFFFF:
            signed = sum(byte - ((byte & 0x80) << 1) for byte in block[:148] + block[156:])
            if signed + 8 * 32 != stated:
                raise invalid("a header's checksum is wrong, or it is no tar archive")
        return block

    def _entry(self, block: bytes, kind: int, records: Records, name: bytes, link: bytes) -> Entry:
        numbers = _numbers
        entry = Entry()
        end = block.find(0, 0, 100)
        entry.name = block[:100] if end < 0 else block[:end]
        entry.mode = numbers[block[100:108]] & 0o7777
        entry.uid = numbers[block[108:116]]
        entry.gid = numbers[block[116:124]]
        entry.size = numbers[block[124:136]]
        entry.mtime = numbers[block[136:148]] * 1_000_000_000
        entry.link = block[157:257].partition(b"\0")[0]
        entry.atime = entry.extents = entry.xattrs = None
        if block[345] and (prefix := _prefix(block)):
            entry.name = b"%s/%s" % (prefix, entry.name)
        if records:
            _merge(entry, records)
        if name:
            entry.name = name
        if link:
            entry.link = link
        if kind == _OLD_REGULAR and entry.name.endswith(b"/"):
            kind = DIRECTORY
        if entry.size < 0 or entry.size > _MAX_SIZE:
            raise invalid(f"{show(entry.name)} has an impossible size")
        if kind in _REGULARS:
            entry.kind = REGULAR
            self._left = entry.length = entry.size
            self._padding = -entry.size % _BLOCK
            if kind == _GNU_SPARSE:
                self._gnu_sparse(entry, block)
            elif records:
                self._pax_sparse(entry, records)
        elif LINK <= kind <= FIFO:
            entry.kind = kind
            entry.size = entry.length = 0
            entry.major = entry.minor = 0
            if kind in (CHAR_DEVICE, BLOCK_DEVICE) and block[257:262] == b"ustar":
                entry.major, entry.minor = numbers[block[329:337]], numbers[block[337:345]]
        else:
            raise invalid(f"{show(entry.name)} is of an unknown type: {show(bytes([kind]))}")
        return entry

    def _extended(self, block: bytes) -> bytes:
        size = _numbers[block[124:136]]
        if size < 0:
            raise invalid("an extended header has an impossible size")
        if size > self._limits.max_header:
            raise too_large(f"an extended header has more than {self._limits.max_header} bytes")
        self._extended_bytes += max(size, _BLOCK)
        if self._extended_bytes > _MAX_EXTENDED:
            raise too_large(f"its extended headers have more than {_MAX_EXTENDED} bytes")
        data = self._take(size)
        self._padding = -size % _BLOCK
        return data

    # --- sparse files

    def _gnu_sparse(self, entry: Entry, block: bytes) -> None:
        """The old GNU form: four extents in the header, more in blocks behind it."""
        limits = self._limits
        entry.length = _numbers[block[483:495]]
        extents: Extents = []
        _gather(block, 386, 4, extents)
        extended = block[482]
        while extended:
            if len(extents) > limits.max_extents:
                raise too_large(f"a sparse file has more than {limits.max_extents} extents")
            block = self._take(_BLOCK)
            _gather(block, 0, 21, extents)
            extended = block[504]
        self._sparse(entry, extents)

    def _pax_sparse(self, entry: Entry, records: Records) -> None:
        """The forms of PAX archives: 0.0 and 0.1 in records, 1.0 before the data."""
        version = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
        if version == (None, None) and b"GNU.sparse.map" not in records:
            return
        if version not in _SPARSE_FORMS:
            raise invalid(f"{show(entry.name)} is sparse in a form that is not known")
        entry.name = records.get(b"GNU.sparse.name") or entry.name
        length = records.get(b"GNU.sparse.size") or records.get(b"GNU.sparse.realsize", b"")
        entry.length = parse_decimal(length, "a sparse file's length")
        if version == (b"1", b"0"):
            extents = parse_map_lines(self._map_lines(), self._limits)
            entry.size = self._left
        else:
            extents = parse_map(records.get(b"GNU.sparse.map", b""), self._limits)
        self._sparse(entry, extents)

    def _sparse(self, entry: Entry, extents: Extents) -> None:
        if not 0 <= entry.length <= self._limits.max_file_bytes:
            raise too_large(
                f"{show(entry.name)} is sparse, and longer than "
                f"{self._limits.max_file_bytes} bytes with its holes"
            )
        entry.extents = sparse_extents(extents, entry.size, entry.length, self._limits)

    def _map_lines(self) -> Iterator[bytes]:
        """The lines before a sparse file's data; they fill whole blocks."""
        rest = b""
        while True:
            if self._left < _BLOCK or len(rest) > _BLOCK:
                raise invalid("a sparse file's map is malformed")
            self._left -= _BLOCK
            *lines, rest = (rest + self._take(_BLOCK)).split(b"\n")
            yield from lines

    # --- bytes

    def _more(self, where: str) -> None:
        self._chunk, self._position = next(self._chunks, b""), 0
        if not self._chunk:
            raise invalid(f"its archive ends {where}")

    def _across(self, begun: bytes) -> bytes:
        """A block that goes on in the next chunk; b"" at the end of the stream."""
        while len(begun) < _BLOCK:
            if self._position == len(self._chunk):
                self._chunk, self._position = next(self._chunks, b""), 0
                if not self._chunk:
                    if begun:
                        raise invalid("its archive ends in the middle of a header")
                    return b""
            more = self._chunk[self._position : self._position + _BLOCK - len(begun)]
            self._position += len(more)
            begun += more
        return begun

    def _take(self, length: int) -> bytes:
        parts: list[bytes] = []
        while length:
            if self._position == len(self._chunk):
                self._more("in the middle of a header")
            part = self._chunk[self._position : self._position + length]
            self._position += len(part)
            length -= len(part)
            parts.append(part)
        return b"".join(parts)

    def _pass_over(self) -> None:
        """Goes to the next header. The padding of the last file may be missing."""
        position = self._position + self._left + self._padding
        if position <= len(self._chunk):
            self._position = position
            self._left = self._padding = 0
            return
        for _ in self.data():
            pass
        while self._padding:
            if self._position == len(self._chunk):
                self._chunk, self._position = next(self._chunks, b""), 0
                if not self._chunk:
                    self._padding = 0
                    return
            passed = min(self._padding, len(self._chunk) - self._position)
            self._position += passed
            self._padding -= passed


def _prefix(block: bytes) -> bytes:
    """The part of a long name that ustar keeps apart."""
    if block[257:263] == b"ustar\0":
        prefix = block[345:476] if block[508:] == b"tar\0" else block[345:500]
        return prefix.partition(b"\0")[0]
    if block[257:265] != _GNU or all(map(_is_number, (block[345:357], block[357:369]))):
        return b""
    # GNU has two times there. What can't be one is by Go before 1.8, which wrote images, too.
    prefix = block[345:500].partition(b"\0")[0]
    return prefix if prefix.isascii() else b""


def _is_number(field: bytes) -> bool:
    try:
        _numbers[field]
        return True
    except Error:
        return False


def _merge(entry: Entry, records: Records) -> None:
    """What a PAX header says instead of the header; an empty value says nothing."""
    for key, value in records.items():
        if key.startswith(_XATTR):
            if entry.xattrs is None:
                entry.xattrs = {}
            entry.xattrs[key[len(_XATTR) :]] = value
        elif not value:
            continue
        elif key == b"path":
            entry.name = value
        elif key == b"linkpath":
            entry.link = value
        elif key == b"size":
            entry.size = parse_decimal(value, "a size")
        elif key == b"uid":
            entry.uid = parse_decimal(value, "an owner")
        elif key == b"gid":
            entry.gid = parse_decimal(value, "a group")
        elif key == b"mtime":
            entry.mtime = parse_time(value)
        elif key == b"atime":
            entry.atime = parse_time(value)


def _gather(block: bytes, start: int, count: int, extents: Extents) -> None:
    """The extents of an old GNU header or of a block behind it; the first empty one ends them."""
    for at in range(start, start + 24 * count, 24):
        if not block[at]:
            return
        extents.append((_numbers[block[at : at + 12]], _numbers[block[at + 12 : at + 24]]))

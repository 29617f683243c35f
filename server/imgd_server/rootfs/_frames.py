"""Whether a zstd file is whole, by the heads of its frames and blocks (RFC 8878, 3.1).

Its decompressor says nothing of an end in the middle of a frame, and just ends. Where a digest of
what comes out is known that shows; where it is to be found out, what is left would be taken.
"""

from __future__ import annotations

from collections.abc import Callable

from imgd_server.rootfs._protocol import invalid, too_large

__all__ = ["check_frames"]

Pread = Callable[[int, int], bytes]

_MAGIC, _SKIPPABLE = 0xFD2FB528, 0x184D2A50
_BUFFER = 256 << 10
# A block holds up to 128 KiB; layers for lazy pulling have a frame for each file.
_MAX_BLOCKS = 16 << 20
_DICTIONARY = (0, 1, 2, 4)
_CONTENT = (0, 2, 4, 8)
_RLE = 1


def check_frames(pread: Pread, check: Callable[[], None]) -> None:
    """Goes through a zstd file from head to head. Raises LAYER_INVALID where it ends before its
    last frame does, LAYER_TOO_LARGE for more blocks than any layer has, and what `check` raises,
    which is called now and then. Blocks."""
    file = _File(pread, check)
    while not file.at_end():
        magic = file.number(4)
        if magic & ~0xF == _SKIPPABLE:
            file.skip(file.number(4))
            continue
        if magic != _MAGIC:
            raise invalid("its zstd stream is damaged")
        has_checksum = _skip_head(file)
        last = 0
        while not last:
            block = file.number(3)
            last, kind, size = block & 1, block >> 1 & 3, block >> 3
            file.skip(1 if kind == _RLE else size)
        file.skip(4 if has_checksum else 0)


def _skip_head(file: _File) -> bool:
    """A frame's head (3.1.1.1); says whether the frame ends with a checksum."""
    flags = file.number(1)
    single = flags >> 5 & 1
    content = _CONTENT[flags >> 6] or single
    file.skip((not single) + _DICTIONARY[flags & 3] + content)
    return bool(flags & 4)


class _File:
    def __init__(self, pread: Pread, check: Callable[[], None]) -> None:
        self._pread, self._check = pread, check
        self._buffer, self._start, self._offset = b"", 0, 0
        self._reads = 0

    def at_end(self) -> bool:
        """Whether all was passed over."""
        return not self._ahead(1)

    def number(self, length: int) -> int:
        """So many bytes, the least first."""
        self._reads += 1
        if self._reads > _MAX_BLOCKS:
            raise too_large(f"its zstd stream has more than {_MAX_BLOCKS} blocks")
        data = self._ahead(length)
        if len(data) < length:
            raise invalid("its zstd stream ends too early")
        self._offset += length
        return int.from_bytes(data, "little")

    def skip(self, length: int) -> None:
        """Passes bytes over, which must be there."""
        self._offset += length
        if length:
            self._offset -= 1
            if not self._ahead(1):
                raise invalid("its zstd stream ends too early")
            self._offset += 1

    def _ahead(self, length: int) -> bytes:
        place = self._offset - self._start
        if not 0 <= place <= len(self._buffer) - length:
            self._check()
            self._buffer, self._start, place = self._pread(_BUFFER, self._offset), self._offset, 0
        return self._buffer[place : place + length]

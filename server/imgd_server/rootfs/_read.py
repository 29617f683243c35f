"""One file's bytes, out of a layer's archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from imgd_server.errors import Error, Reason
from imgd_server.rootfs._index import IndexedFile
from imgd_server.rootfs._inflate import CHUNK, inflated

__all__ = ["read_file"]

_ZEROS = bytes(CHUNK)
_MAGICS = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd")

Pread = Callable[[int, int], bytes]


def read_file(pread: Pread, file: IndexedFile, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a regular file from `start` up to `end`, which is within it.

    `pread(length, offset)` reads the layer's blob. An archive that is not compressed is read where
    the file is. Another is inflated from its beginning, once, up to the last byte that is wanted,
    with what is one chunk in memory; what comes before is handed out as empty chunks, so that
    whoever has lost interest can leave. Blocks. Raises STORE_CORRUPT where the archive ends early.
    """
    stored = 0
    wanted: list[tuple[int, int, int]] = []  # where it is in the file, and in the archive; length
    for offset, length in file.parts:
        first, last = max(offset, start), min(offset + length, end)
        if first < last:
            wanted.append((first, file.place + stored + first - offset, last - first))
        stored += length
    archive = _Archive(pread)
    at = start
    for offset, place, length in wanted:
        yield from _zeros(offset - at)
        yield from archive.read(place, length)
        at = offset + length
    yield from _zeros(end - at)


def _zeros(length: int) -> Iterator[bytes]:
    while length:
        part = _ZEROS[:length]
        yield part
        length -= len(part)


class _Archive:
    """A layer's archive, read forwards."""

    def __init__(self, pread: Pread) -> None:
        self._pread = pread
        self._plain: bool | None = None
        self._chunks: Iterator[bytes] = iter(())
        self._chunk = memoryview(b"")
        self._next = 0  # where the next chunk begins

    def read(self, place: int, length: int) -> Iterator[bytes]:
        if self._plain is None:
            head = self._pread(4, 0)
            skippable = head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50
            self._plain = not (head.startswith(_MAGICS) or skippable)
            if not self._plain:
                self._chunks = inflated(_Sequential(self._pread).read)
        if self._plain:
            while length:
                data = self._pread(min(length, CHUNK), place)
                if not data:
                    raise _cut()
                yield data
                place, length = place + len(data), length - len(data)
            return
        while length:
            while self._next <= place:
                data = next(self._chunks, b"")
                if not data:
                    raise _cut()
                self._chunk = memoryview(data)
                self._next += len(data)
                if self._next <= place:
                    yield b""
            part = self._chunk[place - self._next :][:length]
            yield bytes(part)
            place, length = place + len(part), length - len(part)


class _Sequential:
    def __init__(self, pread: Pread) -> None:
        self._pread = pread
        self._offset = 0

    def read(self, size: int) -> bytes:
        data = self._pread(size, self._offset)
        self._offset += len(data)
        return data


def _cut() -> Error:
    return Error(Reason.STORE_CORRUPT, "a layer ends before its file does; run `imgd fsck`")

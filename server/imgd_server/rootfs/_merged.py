"""The one tree that layers make, read from their indexes, and what each of them did to it."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from imgd_server.errors import Error, Reason
from imgd_server.rootfs._index import FileKind, IndexedFile, LayerIndex
from imgd_server.rootfs._protocol import show

__all__ = ["Change", "Found", "MergedTree", "Met"]

# Linux's own bound.
_MAX_LINKS = 40


class Found(NamedTuple):
    """A file, and the layer that it comes from."""

    layer: int
    file: IndexedFile


class Change(NamedTuple):
    """What a layer did to a path: made it (`before` is None), removed it (`after` is None), or
    replaced it."""

    layer: int
    before: Found | None
    after: Found | None


class Met(NamedTuple):
    """A path that some layer speaks of. `found` is None where nothing is there in the end; `mask`
    has a bit for each layer that hides what those below have in it."""

    key: bytes
    found: Found | None
    mask: int
    changes: Sequence[Change]


class MergedTree:
    """Layers, lowest first, as one tree. `first` is the number of the lowest. Blocks.

    The rules are overlayfs's (see ADR-0005): a path belongs to the highest layer that has it; a
    whiteout, an opaque directory and what is no directory hide all that lower layers have in their
    place; a directory that an archive names only as a parent shows what is below it.
    """

    def __init__(self, indexes: Sequence[LayerIndex], first: int = 0) -> None:
        self._indexes, self._first = indexes, first

    def resolve(self, path: bytes, *, follow: bool) -> Met:
        """The file of a path, links followed within the tree, the last one only with `follow`.

        Raises FILE_NOT_FOUND, also for what is below no directory, and for links in a circle.
        """
        met = self._meet(b"", 0)
        above: list[Met] = []
        waiting = path.split(b"/")[::-1]
        links = 0
        while waiting:
            name = waiting.pop()
            if name in (b"", b"."):
                continue
            if met.found is None or met.found.file.kind != FileKind.DIRECTORY:
                raise _absent(path)
            if name == b"..":
                met = above.pop() if above else met
                continue
            inner = self._meet(met.key + b"\0" + name if met.key else name, met.mask)
            if inner.found is None:
                raise _absent(path)
            file = inner.found.file
            # A slash behind a link asks for what it points at.
            if file.kind == FileKind.SYMLINK and (follow or waiting):
                links += 1
                if links > _MAX_LINKS:
                    raise _absent(path, ": its links go in a circle")
                if file.link.startswith(b"/"):
                    met = above[0] if above else met
                    above.clear()
                waiting += file.link.split(b"/")[::-1]
                continue
            above.append(met)
            met = inner
        if met.found is None:
            raise _absent(path)
        return met

    def walk(self, folder: Met, *, recursive: bool, after: bytes | None = None) -> Iterator[Met]:
        """All that layers speak of below a directory, in order, behind the key `after`: also what
        is hidden in the end. Not recursive, its own entries alone."""
        base = folder.key
        start, end = (base + b"\0", base + b"\1") if base else (b"\0", b"\xff" * 4097)
        if not base:
            start = b"\1"  # behind the root's own
        above = [(base, folder.mask)]
        if after is not None:
            for key in _prefixes(base, after):
                above.append((key, self._meet(key, above[-1][1]).mask))
            start = after + (b"\0" if recursive else b"\1")
        read = LayerIndex.between if recursive else LayerIndex.children
        rows = heapq.merge(
            *(
                _numbered(number, read(index, start, end))
                for number, index in enumerate(self._indexes)
            ),
            key=lambda row: row[:2],
        )
        for key, found in _grouped(rows):
            while above[-1][0] and not key.startswith(above[-1][0] + b"\0"):
                above.pop()
            met = self._fold(key, found, above[-1][1])
            if recursive:
                above.append((key, met.mask))
            yield met

    def root(self) -> Met:
        """The root."""
        return self._meet(b"", 0)

    def _meet(self, key: bytes, mask: int) -> Met:
        found = {
            number: file
            for number, index in enumerate(self._indexes)
            if (file := index.find(key)) is not None
        }
        return self._fold(key, found, mask)

    def _fold(self, key: bytes, files: Mapping[int, IndexedFile], mask: int) -> Met:
        """What layers make of one path, from the lowest up; `mask` is its directory's."""
        first = self._first
        now: Found | None = None
        changes: list[Change] = []
        inner = mask
        for number in _layers(files, mask):
            before = now
            file = files.get(number)
            hidden = mask >> number & 1
            if hidden or (file is not None and file.kind == FileKind.WHITEOUT):
                now = None
            if (
                file is not None
                and file.kind != FileKind.WHITEOUT
                and not _is_seen_through(file, now)
            ):
                now = Found(first + number, file)
            if file is not None and (file.kind != FileKind.DIRECTORY or file.opaque):
                inner |= 1 << number
            if now is not before:
                changes.append(Change(first + number, before, now))
        return Met(key, now, inner, changes)


def _is_seen_through(file: IndexedFile, below: Found | None) -> bool:
    """Whether what is below shows in the place of a layer's own directory."""
    if file.implied == 2:
        return True
    is_directory = below is not None and below.file.kind == FileKind.DIRECTORY
    return bool(file.implied) and file.opaque < 2 and is_directory


def _numbered(
    number: int, files: Iterator[IndexedFile]
) -> Iterator[tuple[bytes, int, IndexedFile]]:
    for file in files:
        yield file.key, number, file


def _layers(files: Mapping[int, IndexedFile], mask: int) -> Sequence[int]:
    if not mask:
        return sorted(files) if len(files) > 1 else [*files]
    numbers = set(files)
    while mask:
        lowest = mask & -mask
        numbers.add(lowest.bit_length() - 1)
        mask ^= lowest
    return sorted(numbers)


def _grouped(
    rows: Iterator[tuple[bytes, int, IndexedFile]],
) -> Iterator[tuple[bytes, dict[int, IndexedFile]]]:
    key: bytes | None = None
    found: dict[int, IndexedFile] = {}
    for own, number, file in rows:
        if own != key:
            if key is not None:
                yield key, found
            key, found = own, {}
        found[number] = file
    if key is not None:
        yield key, found


def _prefixes(base: bytes, key: bytes) -> Iterator[bytes]:
    """The keys from below `base` down to `key`."""
    place = len(base) + 1 if base else 0
    while (place := key.find(b"\0", place)) >= 0:
        yield key[:place]
        place += 1
    yield key


def _absent(path: bytes, why: str = "") -> Error:
    return Error(Reason.FILE_NOT_FOUND, f"no such file in the image: {show(path)}{why}")

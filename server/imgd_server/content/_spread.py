"""Which bytes of an unfinished file are there, where they do not come in order; and the note of it
that outlives the process."""

from __future__ import annotations

import json
import os
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from imgd_server.content._files import sync_folder

__all__ = ["Note", "Ranges"]

# A note is at most a page, which the kernel writes whole whenever the writer is killed; so a writer
# notes no more ranges than surely fit, the first ones.
_MOST_BYTES = 4096
_MOST_RANGES = 60
_NOTE_MODE = 0o600


class Ranges:
    """Numbers, as ranges (start, end) that neither overlap nor touch, in order."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def total(self) -> int:
        """How many numbers there are."""
        return sum(self._ends) - sum(self._starts)

    @property
    def end(self) -> int:
        """One more than the largest."""
        return self._ends[-1] if self._ends else 0

    def add(self, start: int, end: int) -> None:
        """Adds a range, of which some may be there."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = first
        while last < len(self._starts) and self._starts[last] <= end:
            start, end = min(start, self._starts[last]), max(end, self._ends[last])
            last += 1
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def missing(self, start: int, end: int) -> list[tuple[int, int]]:
        """The parts of a range that are not there."""
        gaps: list[tuple[int, int]] = []
        for position in range(bisect_left(self._ends, start), len(self._starts)):
            if self._starts[position] >= end or start >= end:
                break
            if start < self._starts[position]:
                gaps.append((start, self._starts[position]))
            start = max(start, self._ends[position])
        if start < end:
            gaps.append((start, end))
        return gaps

    def reach(self, start: int) -> int:
        """How far the numbers go without a gap from one on; `start` where it is not there."""
        position = bisect_left(self._ends, start + 1)
        if position < len(self._starts) and self._starts[position] <= start:
            return self._ends[position]
        return start


class Note:
    """What is there of a file, written beside it: at once for whoever comes after a killed process,
    and what was synced for whoever comes after a power cut.

    It is bound to the file by its inode, and to the kernel that has the rest in its cache by the
    boot's ID. A file with gaps never is without its note: it is there before the first gap.
    """

    def __init__(self, path: Path, inode: int) -> None:
        self._path, self._inode = path, inode
        self._synced: list[tuple[int, int]] = []
        self._file = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, _NOTE_MODE
        )

    def write(self, ranges: Ranges) -> None:
        """Notes what is in the file."""
        body = json.dumps(
            {
                "file": self._inode,
                "boot": _boot(),
                "now": [*ranges][:_MOST_RANGES],
                "synced": self._synced,
            }
        ).encode()
        os.pwrite(self._file, b"%08x %s\n" % (zlib.crc32(body), body), 0)

    def sync(self, ranges: list[tuple[int, int]], now: Ranges) -> None:
        """Notes, durably, what was synced."""
        self._synced = ranges[:_MOST_RANGES]
        self.write(now)
        os.fdatasync(self._file)
        sync_folder(self._path.parent)

    def close(self) -> None:
        """Keeps it."""
        os.close(self._file)

    @staticmethod
    def read(path: Path | str, status: os.stat_result) -> Ranges | None:
        """What a note says is in a file; None where there is none of this file. Of a file that the
        note has too much of, or that is damaged, nothing is there."""
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            raw = os.pread(file, _MOST_BYTES, 0)
        finally:
            os.close(file)
        check, _, body = raw.partition(b"\n")[0].partition(b" ")
        if b"%08x" % zlib.crc32(body) != check:
            return Ranges()
        note = json.loads(body)
        if note["file"] != status.st_ino:
            return None
        found = Ranges(note["now"] if note["boot"] == _boot() else note["synced"])
        return found if found.end <= status.st_size else Ranges()

    @staticmethod
    def drop(path: Path | str) -> None:
        """Forgets a note, if there is one."""
        with suppress(FileNotFoundError):
            os.unlink(path)  # noqa: PTH108


_boot_id = ""


def _boot() -> str:
    global _boot_id
    if not _boot_id:
        with suppress(OSError):
            _boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return _boot_id

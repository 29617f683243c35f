"""Owners, times and bytes of files."""

from __future__ import annotations

import os
from collections.abc import Iterator

from imgd_server.rootfs._protocol import invalid, show
from imgd_server.rootfs._tar import Entry

__all__ = ["is_device_number", "owner", "times", "write", "write_sparse"]

# (uid_t)-1 means "leave it" to chown(2).
_MAX_ID = (1 << 32) - 2
# Of device numbers in Linux (dev_t: 12 and 20 bits).
_MAX_MAJOR, _MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1
# Where times are cut: what a 64-bit time_t surely takes. File systems cut to their own range.
_MAX_TIME = (1 << 40) * 10**9


def owner(entry: Entry) -> tuple[int, int]:
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise invalid(f"{show(entry.name)} has an impossible owner: {entry.uid}:{entry.gid}")
    return entry.uid, entry.gid


def is_device_number(entry: Entry) -> bool:
    """Whether Linux has device numbers so large; of what is no device they are 0."""
    return 0 <= entry.major <= _MAX_MAJOR and 0 <= entry.minor <= _MAX_MINOR


def times(entry: Entry) -> tuple[int, int]:
    mtime = entry.mtime
    if not -_MAX_TIME < mtime < _MAX_TIME:
        mtime = max(-_MAX_TIME, min(mtime, _MAX_TIME))
    atime = entry.atime
    if atime is None:
        return mtime, mtime
    return max(-_MAX_TIME, min(atime, _MAX_TIME)), mtime


def write(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]


def write_sparse(fd: int, data: Iterator[memoryview], entry: Entry) -> None:
    """Writes the extents where they belong, and leaves holes between them."""
    view = memoryview(b"")
    for offset, length in entry.extents or ():
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            view = view or next(data)
            part = view[:length]
            write(fd, part)
            length -= len(part)
            view = view[len(part) :]
    os.ftruncate(fd, entry.length)

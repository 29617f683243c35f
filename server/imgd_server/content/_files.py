"""What the store does with single files: reading, hashing, syncing; and what a full disk is."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest

__all__ = [
    "CHUNK",
    "NO_ROOM",
    "OpenBlob",
    "begin_write_back",
    "disk_full_told",
    "hash_file",
    "regular",
    "sync_folder",
]

CHUNK = 1 << 20
"""Bytes read at once: so many that Python's cost per read is lost beside hashing."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""The errors of a disk, or a quota, that is full."""

_SYNC_FILE_RANGE_WRITE = 2  # sync_file_range(2)
_sync_file_range = getattr(ctypes.CDLL(None), "sync_file_range", None)


class OpenBlob:
    """A `Reader` of an open blob."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size

    @property
    def size(self) -> int:
        return self._size

    def fileno(self) -> int:
        return self._descriptor

    def pread(self, length: int, offset: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()


def hash_file(file: int, algorithm: str) -> Digest:
    """The digest of an open file, read from its beginning."""
    hasher = Digest.of(b"", algorithm).hasher()
    offset = 0
    while data := os.pread(file, CHUNK, offset):
        hasher.update(data)
        offset += len(data)
    return Digest(f"{algorithm}:{hasher.hexdigest()}")


def begin_write_back(file: int, offset: int, length: int) -> None:
    """Has the kernel write a range of a file soon; its bytes are no more durable for it."""
    # A hint: where the C library or file system does not know it, nothing is lost.
    if _sync_file_range is not None:
        _sync_file_range(
            file, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE
        )


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def disk_full_told() -> Iterator[None]:
    """Tells a full disk (DISK_FULL) from the disk's other faults, which stay as they are."""
    try:
        yield
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise Error(
            Reason.DISK_FULL,
            f"no room for the blob: {os.strerror(error.errno or 0)}; free some, and try again",
        ) from error


def regular(path: Path | str) -> os.stat_result | None:
    """A file's status; None where there is none, or something else than a file of ours."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    return status if stat.S_ISREG(status.st_mode) else None

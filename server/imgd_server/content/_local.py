"""Blobs as files, in the `blobs/` folder of an OCI image layout (OCI image 1.1, image-layout.md).

A blob's way: bytes are appended to `ingest/<key>`, hashed as they come; at the end the size and
digest are compared, the file is synced, made read-only, renamed to its digest, and the folder is
synced. So whatever stops the process leaves a partial ingest or a verified blob, nothing else.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path

from imgd_server.content._files import (
    NO_ROOM,
    OpenBlob,
    disk_full_told,
    hash_file,
    regular,
    sync_folder,
)
from imgd_server.content._following import Bodies, FollowedBlob
from imgd_server.content._protocol import (
    BlobInfo,
    Followed,
    Ingest,
    PartialInfo,
    Reader,
)
from imgd_server.content._spread import Note
from imgd_server.content._writer import Writer
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.oci import Digest, FormatError

__all__ = ["LocalContentStore"]

_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,255}", re.ASCII)
_ALGORITHMS = ("sha256", "sha512")
# Commits of one digest wait for each other, and seldom those of others.
_COMMIT_LOCKS = 64
_FOLDERS = ("blobs", *(f"blobs/{one}" for one in _ALGORITHMS), "ingest", "ranges", "trash")
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
# Blobs may be private: nobody but the daemon reaches them, and nobody at all writes to them.
_FOLDER_MODE, _BLOB_MODE = 0o700, 0o444
# Freeing so many bytes takes hardly longer than moving the file away.
_SMALL = 1 << 20
# ext4 without a journal has the disk discard what a file frees, and waits for that: 100 µs, of
# which 25 are work.
_DISCARDING = 8


class LocalContentStore:
    """A `ContentStore` in a folder. One process uses it at a time: the daemon locks its root.

    Opening it makes what is not there of its folders, and changes nothing else: what a crash has
    left is for a collection. Raises DISK_FULL.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._blobs = f"{root}/blobs/"
        self._lock = threading.Lock()
        self._writing: set[str] = set()
        self.bodies = Bodies()
        self._discarding = ThreadPoolExecutor(_DISCARDING, "discard")
        self._commits = [threading.Lock() for _ in range(_COMMIT_LOCKS)]
        with disk_full_told():
            self._lay_out()

    def _lay_out(self) -> None:
        root = self._root
        root.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
        for name in _FOLDERS:
            (root / name).mkdir(exist_ok=True, mode=_FOLDER_MODE)
        layout = root / "oci-layout"
        if not layout.exists() or layout.read_bytes() != _LAYOUT:
            layout.write_bytes(_LAYOUT)
        for folder in (root / "blobs", root, root.parent):
            sync_folder(folder)

    # --- blobs

    def find(self, digest: Digest) -> BlobInfo | None:
        """See ContentStore."""
        status = regular(self._blob(digest))
        return _info(digest, status) if status else None

    def info(self, digest: Digest) -> BlobInfo:
        """See ContentStore."""
        if found := self.find(digest):
            return found
        raise _missing(digest)

    def open(self, digest: Digest) -> Reader:
        """See ContentStore."""
        self.info(digest)
        if (file := self._open_file(digest)) is None:
            raise _missing(digest)
        return OpenBlob(file)

    def _open_file(self, digest: Digest) -> int | None:
        try:
            return os.open(self._blob(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None

    def read(self, digest: Digest, limit: int) -> bytes:
        """See ContentStore."""
        with self.open(digest) as reader:
            if reader.size > limit:
                raise Error(
                    Reason.MANIFEST_TOO_LARGE,
                    f"{digest} has {reader.size} bytes, and at most {limit} are read",
                    digest=digest,
                )
            return reader.pread(reader.size, 0)

    def discard(self, digest: Digest) -> int:
        """See ContentStore."""
        blob = self._blob(digest)
        status = regular(blob)
        if status is None:
            return 0
        try:
            if status.st_size <= _SMALL:
                # Not Path.unlink: others wait meanwhile, and this is twice as fast.
                os.unlink(blob)  # noqa: PTH108
            else:
                self._move_away(blob, digest)
        except FileNotFoundError:  # somebody else was faster
            return 0
        return status.st_size

    def _move_away(self, blob: str, digest: Digest) -> None:
        # A name of its own: the same blob may come again, and go again, before the next sweep.
        trash = f"{self._root}/trash/{digest.hex}.{time.monotonic_ns()}"
        try:
            os.rename(blob, trash)  # noqa: PTH104
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            # The trash folder can't grow on a disk that is full, which is when this is wanted most.
            os.unlink(blob)  # noqa: PTH108

    def discard_all(self, digests: Sequence[Digest]) -> int:
        """See ContentStore."""

        def discard_some(some: Sequence[Digest]) -> int:
            return sum(map(self.discard, some))

        parts = [digests[one::_DISCARDING] for one in range(min(len(digests), _DISCARDING))]
        done = [self._discarding.submit(discard_some, one) for one in parts]
        wait(done)  # for all, also when one failed
        return sum(one.result() for one in done)

    def discard_seen(self, seen: BlobInfo) -> bool:
        """See ContentStore."""
        with self._commit_of(seen.digest):
            if self.find(seen.digest) != seen:
                return False
            self.discard(seen.digest)
            return True

    def sweep(self, most: int | None = None) -> int:
        """See ContentStore."""
        swept = 0
        with os.scandir(self._root / "trash") as entries:
            for entry in entries:
                if swept == most:
                    break
                if entry.is_file(follow_symlinks=False):
                    with suppress(FileNotFoundError):
                        os.unlink(entry.path)  # noqa: PTH108
                    swept += 1
        return swept

    def delete(self, digest: Digest) -> int:
        """See ContentStore."""
        size = self.discard(digest)
        self.sweep()
        return size

    def blobs(self) -> Iterator[BlobInfo]:
        """See ContentStore."""
        for digest, entry in self._entries():
            with suppress(FileNotFoundError):  # it went meanwhile
                yield _info(digest, entry.stat(follow_symlinks=False))

    def digests(self) -> Iterator[Digest]:
        """See ContentStore."""
        return (digest for digest, _ in self._entries())

    def _entries(self) -> Iterator[tuple[Digest, os.DirEntry[str]]]:
        for algorithm in _ALGORITHMS:
            with os.scandir(self._root / "blobs" / algorithm) as entries:
                for entry in entries:
                    digest = _as_digest(f"{algorithm}:{entry.name}")
                    if digest is not None and entry.is_file(follow_symlinks=False):
                        yield digest, entry

    def strays(self) -> Iterator[str]:
        """See ContentStore."""
        for folder in _FOLDERS:
            yield from self._strays_in(folder)

    def _strays_in(self, folder: str) -> Iterator[str]:
        with os.scandir(self._root / folder) as entries:
            for entry in entries:
                ours = _is_ours(folder, entry.name, entry.is_file(follow_symlinks=False))
                if not ours or self._is_left(folder, entry.name):
                    yield f"{folder}/{entry.name}"

    def _is_left(self, folder: str, name: str) -> bool:
        """Whether it is a note of unfinished bytes that are gone: a killed process drops those
        first."""
        if folder != "ranges":
            return False
        return name not in self._writing and regular(self._root / "ingest" / name) is None

    def drop_stray(self, name: str) -> bool:
        """See ContentStore."""
        folder, _, last = name.rpartition("/")
        path = self._root / name
        if folder not in _FOLDERS or last in ("", ".", ".."):
            return False
        if _is_ours(folder, last, regular(path) is not None):
            with self._lock:  # nobody begins to write meanwhile
                left = self._is_left(folder, last)
                if left:
                    Note.drop(path)
            return left
        try:
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()
        except OSError:  # not empty, a mount, or gone
            return False
        return True

    def verify(self, digest: Digest) -> bool:
        """See ContentStore."""
        with self.open(digest) as reader:
            try:
                return hash_file(reader.fileno(), digest.algorithm) == digest
            except OSError:  # a bad block, say
                return False

    # --- ingests

    def ingest(
        self,
        key: str,
        digest: Digest | None = None,
        size: int | None = None,
        *,
        resume: bool = True,
    ) -> Ingest:
        """See ContentStore."""
        self.partial_path(key)
        with self._lock:
            if key in self._writing:
                raise Error(Reason.TOO_BUSY, f"{key} is being written by another transfer")
            self._writing.add(key)
        try:
            with disk_full_told():
                writer = Writer(self, key, digest, size)
        except BaseException:
            self.release(key)
            raise
        try:
            with disk_full_told():
                if resume:
                    writer.take_up()
                else:
                    writer.restart()
        except BaseException:
            writer.close()
            raise
        return writer

    def follow(self, digest: Digest) -> Followed:
        """See ContentStore."""
        partial = str(self.partial_path(digest))
        return FollowedBlob(self.bodies, digest, partial, self.find, self._open_file)

    def partials(self) -> Iterator[PartialInfo]:
        """See ContentStore."""
        with os.scandir(self._root / "ingest") as entries:
            for entry in entries:
                if not _KEY.fullmatch(entry.name):
                    continue
                with self._lock:
                    idle = entry.name not in self._writing
                    found = self.partial(entry.name) if idle else None
                if found:
                    yield found

    def partial(self, key: str) -> PartialInfo | None:
        """See ContentStore."""
        status = regular(self.partial_path(key))
        if status is None:
            return None
        spread = Note.read(self.note_path(key), status)
        size = status.st_size if spread is None else spread.total
        return PartialInfo(key, size, status.st_mtime)

    def read_partial(self, key: str, length: int, offset: int) -> bytes:
        """See ContentStore."""
        path = self.partial_path(key)
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return b""
        try:
            spread = Note.read(self.note_path(key), os.fstat(file))
            if spread is not None:
                length = max(min(length, spread.reach(0) - offset), 0)
            return os.pread(file, length, offset)
        finally:
            os.close(file)

    def drop_partial(self, key: str) -> bool:
        """See ContentStore."""
        path = self.partial_path(key)
        with self._lock:
            if key in self._writing or self.partial(key) is None:
                return False
            with self.bodies.taken(key) as body:
                body.forget()
            path.unlink()
            Note.drop(self.note_path(key))
            return True

    def room(self) -> tuple[int, int]:
        """See ContentStore."""
        status = os.statvfs(self._root)
        return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize

    def free_bytes(self) -> int:
        """See ContentStore."""
        return self.room()[1]

    # --- for the writer

    def publish(self, file: int, partial: Path, digest: Digest) -> BlobInfo:
        """Makes a verified file the blob, durably: data, then name."""
        try:
            os.fsync(file)
        except OSError:
            # What could not be written counts as written from now on (fsync(2), "Notes"): another
            # try with this file would succeed and store nothing.
            partial.unlink(missing_ok=True)
            raise
        blob = self._blob(digest)
        with self._commit_of(digest):
            is_new = self.find(digest) is None
            partial.rename(blob)
            # Not before: a partial that a crash leaves read-only could not be gone on with.
            os.fchmod(file, _BLOB_MODE)
            try:
                sync_folder(self._root / "blobs" / digest.algorithm)
            except OSError:
                # Not what somebody else was told is stored: nobody commits it meanwhile.
                if is_new:
                    with suppress(FileNotFoundError):
                        os.unlink(blob)  # noqa: PTH108
                raise
        with self.bodies.taken(digest) as body:
            body.wake()
        return _info(digest, os.fstat(file))

    def _commit_of(self, digest: Digest) -> threading.Lock:
        """What whoever puts a name to a digest holds, or takes away what he has seen there."""
        return self._commits[int(digest.hex[:2], 16) % len(self._commits)]

    def release(self, key: str) -> None:
        """Ends the writing of a key."""
        with self._lock:
            self._writing.discard(key)

    def partial_path(self, key: str) -> Path:
        """Where a key's unfinished bytes are. Raises FIELD_INVALID for what is no key."""
        if not _KEY.fullmatch(key) or key in (".", ".."):
            raise FieldError("key", f"not a key for unfinished bytes: {key[:100]!r}")
        return self._root / "ingest" / key

    def note_path(self, key: str) -> str:
        """Where it is noted what is there of a key's unfinished bytes, if there are gaps."""
        return f"{self._root}/ranges/{key}"

    def _blob(self, digest: Digest) -> str:
        # Not a Path: making one takes longer than the call that it is for, and a collection takes
        # ten thousands.
        return self._blobs + digest.replace(":", "/")


def _is_ours(folder: str, name: str, is_file: bool) -> bool:
    """Whether what has this name in a folder of ours is what we put there."""
    if folder == "blobs":
        return name in _ALGORITHMS
    if not is_file:
        return False
    if folder == "trash":
        return True
    if folder in ("ingest", "ranges"):
        return _KEY.fullmatch(name) is not None
    return _as_digest(f"{folder.rpartition('/')[2]}:{name}") is not None


def _missing(digest: Digest) -> Error:
    return Error(Reason.BLOB_NOT_FOUND, f"no such blob: {digest}", digest=digest)


def _info(digest: Digest, status: os.stat_result) -> BlobInfo:
    return BlobInfo(digest, status.st_size, status.st_mtime, status.st_ino)


def _as_digest(text: str) -> Digest | None:
    try:
        return Digest.parse(text)
    except FormatError:
        return None

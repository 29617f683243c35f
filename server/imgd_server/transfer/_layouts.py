"""OCI image layouts as folders of this machine (OCI image 1.1, image-layout.md), where the operator
allows them. All of it blocks.

Callers name paths, so a folder is gone to step by step from the one that is allowed, and no link is
followed: neither on the way nor below it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imgd_server.content import ContentStore
from imgd_server.errors import Error, FieldError, Origin, Reason, from_format
from imgd_server.images import MAX_INDEX_DEPTH, MAX_MANIFESTS, children
from imgd_server.oci import (
    LAYOUT_DOCUMENT,
    LAYOUT_INDEX,
    MAX_MANIFEST_BYTES,
    Descriptor,
    FormatError,
    blob_path,
    layout_document,
    layout_entry,
    layout_index,
    media,
    parse_manifest,
    select_entry,
)
from imgd_server.transfer._members import MAX_FILES, Member, refused
from imgd_server.transfer._pipes import Flow

__all__ = ["LayoutFolder", "LayoutMembers", "allowed_place", "opened_layout"]

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe in the place of a blob must not hold us up.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 512 << 10
# So often it is looked whether somebody else's lock is free; seconds.
_LOOK = 0.05
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
# What is said of a path that can't be read or written, whoever tries again.
_NO_PLACE = {
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.EPERM,
    errno.EROFS,
}
# Of open(2), where O_TMPFILE is not known.
_NO_NAMELESS = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}


def allowed_place(path: str, allowed: Sequence[str], field: str) -> tuple[Path, Path]:
    """The allowed folder that a path is below, and the rest of it. `field` is where the request
    has it. Looks at no disk. Raises FIELD_INVALID."""
    place = Path(path)
    for one in map(Path, allowed):
        if ".." not in place.parts and place != one and place.is_relative_to(one):
            return one, place.relative_to(one)
    raise FieldError(field, f"{field}: is not below a folder of the daemon's layout_roots")


@contextmanager
def opened_layout(
    path: str, allowed: Sequence[str], field: str, *, create: bool = False
) -> Iterator[int]:
    """A descriptor of a folder; with `create` of one that may not be there yet. Raises
    FIELD_INVALID as `allowed_place`, and for one that is none, or behind a link; DISK_FULL."""
    root, rest = allowed_place(path, allowed, field)
    folder = -1
    try:
        folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for part in rest.parts:
            if create:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=folder)
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
    except OSError as error:
        if folder >= 0:
            os.close(folder)
        _blame(error, field, Origin.DESTINATION if create else Origin.SOURCE)
        raise
    try:
        yield folder
    finally:
        os.close(folder)


def _blame(error: OSError, field: str, origin: Origin) -> None:
    """Raises what the file system says of the folder that the caller named, which is not told
    again; returns for what the folder is not to blame for, such as a disk that fails."""
    message = f"{field}: {os.strerror(error.errno or 0)}"
    if error.errno in _NO_ROOM:
        failure = Error(Reason.DISK_FULL, message)
    elif error.errno in _NO_PLACE:
        failure = FieldError(field, message)
    else:
        return
    failure.origin = origin
    raise failure from error


def _read(folder: int, name: str) -> bytes:
    """A document of a layout. Raises ARCHIVE_INVALID where it is not there, or too large."""
    with _opened_file(folder, name) as (file, size):
        if size > MAX_MANIFEST_BYTES:
            raise refused(f"{name} has more than {MAX_MANIFEST_BYTES} bytes")
        return os.pread(file, MAX_MANIFEST_BYTES, 0)


@contextmanager
def _opened_file(folder: int, name: str) -> Iterator[tuple[int, int]]:
    """A regular file below a folder, with its size."""
    *folders, last = name.split("/")
    at = os.dup(folder)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER, dir_fd=at)
            os.close(at)
            at = inner
        file = os.open(last, _FILE, dir_fd=at)
    except OSError as error:
        raise refused(f"{name}: {os.strerror(error.errno or 0)}") from None
    finally:
        os.close(at)
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise refused(f"{name} is no regular file")
        yield file, status.st_size
    finally:
        os.close(file)


class LayoutMembers:
    """One image of a layout's folder, as the members of an archive that has it alone."""

    def __init__(self, folder: int, ref_name: str, check: Callable[[], None]) -> None:
        self._folder, self._ref_name, self._check = folder, ref_name, check
        self._now: bytes | str = b""

    def __iter__(self) -> Iterator[Member]:
        entry = self._entry()
        index = {"schemaVersion": 2, "mediaType": media.OCI_INDEX, "manifests": [entry.to_json()]}
        documents = {
            LAYOUT_DOCUMENT: _read(self._folder, LAYOUT_DOCUMENT),
            LAYOUT_INDEX: json.dumps(index).encode(),
        }
        for name, raw in documents.items():
            self._now = raw
            yield Member(name, len(raw))
        for name in self._blobs(entry):
            try:
                with _opened_file(self._folder, name) as (_, size):
                    self._now = name
            except Error as error:
                if error.reason is Reason.ARCHIVE_INVALID and not self._is_here(name):
                    # What a layout lacks is told by who reads its documents.
                    continue
                raise
            yield Member(name, size)

    def data(self) -> Iterator[memoryview]:
        """See Members."""
        if isinstance(self._now, bytes):
            yield memoryview(self._now)
            return
        with _opened_file(self._folder, self._now) as (file, size):
            offset = 0
            while offset < size:
                self._check()
                data = os.pread(file, min(_CHUNK, size - offset), offset)
                if not data:
                    raise refused(f"{self._now} became shorter while it was read")
                offset += len(data)
                yield memoryview(data)

    def resolve(self, path: str) -> str:
        """See Members; nothing in a layout means a path."""
        return path

    def _is_here(self, name: str) -> bool:
        try:
            os.stat(name, dir_fd=self._folder, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def _entry(self) -> Descriptor:
        try:
            return select_entry(_read(self._folder, LAYOUT_INDEX), self._ref_name)
        except FormatError as error:
            failure = from_format(error)
            failure.origin = Origin.SOURCE
            raise failure from error

    def _blobs(self, entry: Descriptor) -> Iterator[str]:
        """Where everything below an entry is, each once, as far as manifests can be read; whoever
        stores them finds what is wrong. Raises ARCHIVE_INVALID for too many."""
        waiting, seen, manifests = deque([(entry, 0)]), {entry.digest}, 0
        while waiting:
            # Each manifest may list thousands: not only what is taken counts.
            if len(seen) > MAX_FILES:
                raise refused(f"its image has more than {MAX_FILES} blobs")
            target, depth = waiting.popleft()
            yield blob_path(target.digest)
            known = media.is_manifest(target.media_type) or media.is_index(target.media_type)
            if not known or depth > MAX_INDEX_DEPTH or manifests > MAX_MANIFESTS:
                continue
            manifests += 1
            try:
                parsed = parse_manifest(
                    _read(self._folder, blob_path(target.digest)), target.media_type
                )
            except (FormatError, Error):
                continue
            for child in children(parsed):
                if child.digest not in seen:
                    seen.add(child.digest)
                    waiting.append((child, depth + 1))


class LayoutFolder:
    """A layout's folder that is written to. What is there stays, but for an entry of the same
    name."""

    def __init__(self, folder: int) -> None:
        self._folder = folder

    def begin(self) -> None:
        """Makes what a layout has. Raises FIELD_INVALID for a folder of other things, DISK_FULL."""
        with _told():
            found = os.listdir(self._folder)  # noqa: PTH208 - a descriptor
            # What a save that was killed has left, or one that begins beside this.
            names = [name for name in found if not _is_part(name)]
            if names and LAYOUT_DOCUMENT not in names:
                failure = FieldError(
                    "destination.layout.path",
                    "destination.layout.path: the folder is neither empty nor an OCI layout",
                )
                failure.origin = Origin.DESTINATION
                raise failure
            if not names:
                _write(self._folder, LAYOUT_DOCUMENT, layout_document())

    def put(
        self, content: ContentStore, blob: Descriptor, flow: Flow, check: Callable[[], None]
    ) -> bool:
        """Writes a blob, verified and durable; says whether it had to, for one that is there whole
        is left. Raises STORE_CORRUPT, DISK_FULL, FIELD_INVALID where it can't be written."""
        with _told(), self._blob_folder(blob) as folder:
            if self._has(folder, blob, check):
                return False
            hasher = blob.digest.hasher()
            with _new_file(folder, blob.digest.hex) as file:
                with content.open(blob.digest) as reader:
                    while data := reader.pread(_CHUNK, flow.done_bytes):
                        check()
                        hasher.update(data)
                        _write_all(file, data)
                        flow.count(len(data))
                if hasher.hexdigest() != blob.digest.hex:
                    raise Error(
                        Reason.STORE_CORRUPT,
                        f"{blob.digest} is damaged in the store: pull its image again",
                        origin=Origin.SOURCE,
                        digest=blob.digest,
                    )
            return True

    def name(self, entry: Descriptor, check: Callable[[], None]) -> None:
        """Lists an image, last of all; an entry of the same name is replaced. Raises
        ARCHIVE_INVALID and MANIFEST_INVALID for an index that is none, which stays as it is."""
        with _told():
            lock = os.open(".", _FOLDER, dir_fd=self._folder)
        try:
            # Somebody else may write the same layout.
            _lock(lock, check)
            with _told():
                try:
                    os.stat(LAYOUT_INDEX, dir_fd=self._folder, follow_symlinks=False)
                    known = _read(self._folder, LAYOUT_INDEX)
                except FileNotFoundError:
                    known = layout_index([])
                _write(self._folder, LAYOUT_INDEX, layout_entry(known, entry))
        except FormatError as error:
            failure = from_format(error)
            failure.origin = Origin.DESTINATION
            raise failure from error
        except Error as error:
            error.origin = Origin.DESTINATION
            raise
        finally:
            os.close(lock)

    @contextmanager
    def _blob_folder(self, blob: Descriptor) -> Iterator[int]:
        at = os.dup(self._folder)
        try:
            for part in ("blobs", blob.digest.algorithm):
                with suppress(FileExistsError):
                    os.mkdir(part, 0o755, dir_fd=at)
                inner = os.open(part, _FOLDER, dir_fd=at)
                os.close(at)
                at = inner
            yield at
        finally:
            os.close(at)

    def _has(self, folder: int, blob: Descriptor, check: Callable[[], None]) -> bool:
        try:
            with _opened_file(folder, blob.digest.hex) as (file, size):
                hasher, offset = blob.digest.hasher(), 0
                while size == blob.size and (data := os.pread(file, _CHUNK, offset)):
                    check()
                    hasher.update(data)
                    offset += len(data)
                return hasher.hexdigest() == blob.digest.hex
        except Error as error:
            if error.reason is Reason.ARCHIVE_INVALID:
                return False
            raise


def _lock(file: int, check: Callable[[], None]) -> None:
    """Waits for a lock that any program may hold for as long as it likes, unless `check` raises."""
    while True:
        check()
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOOK)
        else:
            return


@contextmanager
def _new_file(folder: int, name: str) -> Iterator[int]:
    """A file to write, which is there under its name, durable, when the block ends well. Until then
    it has no name where the file system can do that, so that whoever is killed leaves nothing."""
    # Several threads may write the same one.
    part = f".{name[:32]}.{os.getpid()}.{threading.get_ident()}.part"
    file = _nameless(folder)
    named = file < 0
    try:
        if named:
            _forget(folder, part)
            file = os.open(part, _NEW, 0o644, dir_fd=folder)
        yield file
        os.fsync(file)
        if not named:
            _forget(folder, part)
            os.link(f"/proc/self/fd/{file}", part, dst_dir_fd=folder, follow_symlinks=True)
        os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        _forget(folder, part)
        raise
    finally:
        if file >= 0:
            os.close(file)
    os.fsync(folder)


def _nameless(folder: int) -> int:
    """A file without a name, -1 where the file system has none such."""
    try:
        return os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o644, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_NAMELESS:
            return -1
        raise


def _forget(folder: int, name: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=folder)


def _is_part(name: str) -> bool:
    return name.startswith(".") and name.endswith(".part")


def _write(folder: int, name: str, data: bytes) -> None:
    with _new_file(folder, name) as file:
        _write_all(file, data)


def _write_all(file: int, data: Any) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


@contextmanager
def _told() -> Iterator[None]:
    """What the folder's file system says, without the folder's name."""
    try:
        yield
    except OSError as error:
        _blame(error, "destination.layout.path", Origin.DESTINATION)
        raise

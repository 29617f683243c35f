"""What a container changed: its writable directory over the layers, or its tree beside theirs."""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from imgd_server.errors import Error, Reason
from imgd_server.rootfs._protocol import Limits, show
from imgd_server.rootfs._settle import Lower, is_whiteout

__all__ = ["Change", "ChangeKind", "FileChange", "overlay_changes", "tree_changes"]

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = Limits().max_depth
_OPAQUE = "trusted.overlay.opaque"


class ChangeKind(enum.Enum):
    """Values are those of the ChangeKind enum."""

    ADDED = 1
    CHANGED = 2
    DELETED = 3


@dataclass(frozen=True, slots=True)
class FileChange:
    """A changed file. `path` is from the root, without a slash before it; `size` is 0 for what is
    no regular file, or is gone."""

    kind: ChangeKind
    path: bytes
    size: int = 0


@dataclass(frozen=True, slots=True)
class Change:
    """A change as it is met: `status` is the file's, None for what is gone; `folder` is a
    descriptor of the directory that it is in, open until the next one is asked for."""

    kind: ChangeKind
    path: bytes
    status: os.stat_result | None
    folder: int

    def told(self) -> FileChange:
        """Without what holds for the moment only."""
        size = self.status.st_size if self.status and stat.S_ISREG(self.status.st_mode) else 0
        return FileChange(self.kind, self.path, size)


def overlay_changes(upper: int, below: Sequence[Path]) -> Iterator[Change]:
    """What overlayfs's upper directory (a descriptor) changes of the layers `below`, the topmost
    first. Each directory comes before what is in it, and names in their order.

    Raises UNSUPPORTED where folders are nested deeper than layers may be. Whoever writes to it
    meanwhile may or may not be seen.
    """
    lower = Lower(below, _OPAQUE)
    walk = _Walk(upper)
    # Of the folders that are gone through: whether what the layers have below them is hidden.
    hidden: dict[bytes, bool] = {b"": False}
    for path, name, status, folder in walk:
        known = lower.has(path)
        if status is None or is_whiteout(status):
            if known:
                yield Change(ChangeKind.DELETED, path, None, folder)
            continue
        kind = ChangeKind.CHANGED if known else ChangeKind.ADDED
        yield Change(kind, path, status, folder)
        if not stat.S_ISDIR(status.st_mode):
            continue
        inner = walk.enter(path, name, folder)
        if inner is None:
            continue
        while not _is_below(path, next(reversed(hidden))):
            hidden.popitem()
        hides = hidden[path.rpartition(b"/")[0]] or lower.is_opaque(inner)
        hidden[path] = hides
        if hides:
            walk.add(lower.names(path))


def _is_below(path: bytes, folder: bytes) -> bool:
    return not folder or path.startswith(folder + b"/")


def tree_changes(tree: int, before: int) -> Iterator[Change]:
    """How a tree differs from what it was copied from (both descriptors), in the same order.

    Files with the same kind, size, mode, owner and modification time count as the same. Raises as
    `overlay_changes` does.
    """
    walk = _Walk(tree)
    old: dict[bytes, int] = {b"": os.open(b".", _OPEN, dir_fd=before)}
    try:
        walk.add(_names(old[b""]))
        for path, name, status, folder in walk:
            parent = old.get(path.rpartition(b"/")[0], -1)
            known = _status(parent, name)
            if status is None:
                if known is not None:
                    yield Change(ChangeKind.DELETED, path, None, folder)
                continue
            if known is None:
                yield Change(ChangeKind.ADDED, path, status, folder)
            elif _facts(known) != _facts(status):
                yield Change(ChangeKind.CHANGED, path, status, folder)
            if not stat.S_ISDIR(status.st_mode):
                continue
            inner = walk.enter(path, name, folder)
            while not _is_below(path, next(reversed(old))):
                os.close(old.popitem()[1])
            if inner is not None and known is not None and stat.S_ISDIR(known.st_mode):
                old[path] = os.open(name, _OPEN, dir_fd=parent)
                walk.add(_names(old[path]))
    finally:
        for descriptor in old.values():
            os.close(descriptor)


def _names(folder: int) -> set[bytes]:
    with os.scandir(folder) as entries:
        return {os.fsencode(entry.name) for entry in entries}


def _facts(status: os.stat_result) -> tuple[int, ...]:
    # A directory's own size and time change with what is in it: those are changes of their own.
    is_folder = stat.S_ISDIR(status.st_mode)
    more = () if is_folder else (status.st_size, status.st_mtime_ns, status.st_rdev)
    return status.st_mode, status.st_uid, status.st_gid, *more


def _status(folder: int, name: bytes) -> os.stat_result | None:
    if folder < 0:
        return None
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


class _Walk:
    """Goes through a tree by descriptors, without recursion: entries in order, each with its path,
    name, status (None for what is not there) and folder; what `enter` was called for comes next."""

    def __init__(self, root: int) -> None:
        self._stack: list[tuple[int, bytes, Iterator[bytes]]] = []
        self._push(os.open(b".", _OPEN, dir_fd=root), b"")

    def __iter__(self) -> Iterator[tuple[bytes, bytes, os.stat_result | None, int]]:
        try:
            while self._stack:
                folder, path, names = self._stack[-1]
                name = next(names, None)
                if name is None:
                    os.close(folder)
                    self._stack.pop()
                    continue
                inside = path + b"/" + name if path else name
                yield inside, name, _status(folder, name), folder
        finally:
            for folder, _, _ in self._stack:
                os.close(folder)

    def enter(self, path: bytes, name: bytes, folder: int) -> int | None:
        """Goes through a directory next; None when it is none any more.

        Each that is gone through is open, so how deep they are is bounded: as in layers."""
        if path.count(b"/") >= _MAX_DEPTH:
            raise Error(
                Reason.UNSUPPORTED,
                f"the container has folders nested deeper than {_MAX_DEPTH}, whose changes "
                f"can't be told: {show(path)}",
            )
        try:
            inner = os.open(name, _OPEN, dir_fd=folder)
        except OSError:
            return None
        self._push(inner, path)
        return inner

    def add(self, names: Iterable[bytes]) -> None:
        """Goes through these too in the directory that was entered last, though they are gone."""
        folder, path, own = self._stack[-1]
        self._stack[-1] = (folder, path, iter(sorted({*own, *names})))

    def _push(self, folder: int, path: bytes) -> None:
        self._stack.append((folder, path, iter(sorted(_names(folder)))))

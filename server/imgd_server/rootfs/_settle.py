"""Fits a layer's own directory onto those of the layers below it, so that overlayfs shows what
applying the layers in order would.

Layers are unpacked at once, none seeing the others; three things need the layers below, and are
done here, in order, with a few calls for each that an archive has (most have none):

- A directory that the archive names only as a parent gets the attributes of the one that it hides:
  overlayfs shows the topmost directory's. (containerd copies them when it unpacks in order.)
- A whiteout of what no layer below has is removed, and the directory that was made for it alone:
  overlayfs lists it in directories that only one layer has. So is one in an opaque directory, where
  overlayfs does the same.
- An opaque root is spelt out in whiteouts: overlayfs does not look at a layer's root.

Sources: OCI image 1.1, layer.md; overlayfs.rst ("whiteouts and opaque directories").
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

from imgd_server.rootfs._protocol import AppliedLayer, ApplyOptions
from imgd_server.rootfs._tree import Directory, Tree
from imgd_server.rootfs._xattrs import image_xattrs

__all__ = ["Lower", "is_whiteout", "settle"]

_CACHED = 4096  # paths whose layers are remembered
_LONGEST = 4000  # bytes of a path that the kernel is given; PATH_MAX is 4,096
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def is_whiteout(status: os.stat_result) -> bool:
    """Whether this is overlayfs's mark of a removed file."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def settle(layer: int, below: Sequence[Path], applied: AppliedLayer, options: ApplyOptions) -> None:
    """Fits a layer's directory (a descriptor) onto the settled ones `below`, the topmost first.

    `applied` is what unpacking it returned, `options` what it was unpacked with. Doing it twice
    changes nothing more.
    """
    tree = Tree(layer, options.limits)
    lower = Lower(below, f"{options.overlay_prefix}overlay.opaque")
    opaque, renewed = set(applied.opaque), set(applied.renewed)
    for folder, names in _by_folder(applied.whiteouts):
        _prune(tree, lower, folder, names, hidden=_covers(opaque, folder))
    # From below, for what is emptied may empty the one above it.
    for path in sorted(applied.implied, reverse=True):
        folder, _, name = path.rpartition(b"/")
        hidden = path in renewed or (path != b"" and _covers(opaque, folder))
        found = None if hidden else lower.find(path)
        if found is not None:
            directory = tree.find(path)
            if directory is not None and directory.path == path:
                _copy_attributes(found, directory, owner=options.privileged)
        elif path:
            marked = path in renewed and not _covers(opaque, folder) and lower.has(path)
            _drop_empty(tree, folder, name, marked=marked)
    if b"" in opaque:
        _white_out_root(tree, lower)


def _covers(opaque: set[bytes], path: bytes) -> bool:
    """Whether a directory, or one above it, is opaque."""
    if not opaque:
        return False
    while path not in opaque:
        if not path:
            return False
        path = path.rpartition(b"/")[0]
    return True


def _by_folder(paths: Iterable[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    folders: dict[bytes, list[bytes]] = {}
    for path in paths:
        folder, _, name = path.rpartition(b"/")
        folders.setdefault(folder, []).append(name)
    return iter(folders.items())


def _prune(tree: Tree, lower: Lower, folder: bytes, names: list[bytes], *, hidden: bool) -> None:
    directory = tree.find(folder)
    if directory is None or directory.path != folder:
        return  # replaced by a later entry
    before = os.fstat(directory.fd)
    for name in names:
        if not hidden and lower.has(directory.join(name)):
            continue
        try:
            status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if is_whiteout(status):
            os.unlink(name, dir_fd=directory.fd)
    os.utime(b".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=directory.fd)


def _drop_empty(tree: Tree, folder: bytes, name: bytes, *, marked: bool) -> None:
    """Removes a directory that only whiteouts of nothing were in; one that was itself `marked` as
    removed becomes the whiteout."""
    parent = tree.find(folder)
    if parent is None or parent.path != folder:
        return
    before = os.fstat(parent.fd)
    try:
        os.rmdir(name, dir_fd=parent.fd)
    except OSError:
        return  # it has something
    tree.forget()
    if marked:
        os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.fd)
    os.utime(b".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=parent.fd)


def _white_out_root(tree: Tree, lower: Lower) -> None:
    root = tree.root
    before = os.fstat(root.fd)
    for name in lower.names():
        try:
            status = os.stat(name, dir_fd=root.fd, follow_symlinks=False)
        except FileNotFoundError:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=root.fd)
        else:
            if stat.S_ISDIR(status.st_mode):
                os.setxattr(root.proc(name), lower.opaque, b"y")
    os.utime(b".", ns=(before.st_atime_ns, before.st_mtime_ns), dir_fd=root.fd)


def _copy_attributes(source: bytes, target: Directory, *, owner: bool) -> None:
    with _within_reach(source) as short:
        status = os.lstat(short)
        attributes = [(name, os.getxattr(short, name)) for name in image_xattrs(short)]
    if owner:
        os.chown(b".", status.st_uid, status.st_gid, dir_fd=target.fd)
    for name, value in attributes:
        os.setxattr(target.proc(), name, value)
    os.chmod(b".", stat.S_IMODE(status.st_mode), dir_fd=target.fd)
    os.utime(b".", ns=(status.st_atime_ns, status.st_mtime_ns), dir_fd=target.fd)


@contextmanager
def _within_reach(path: bytes) -> Iterator[bytes]:
    """A path of any length in a form that the kernel takes. All but its last part are directories.
    Raises FileNotFoundError."""
    held = -1
    try:
        while len(path) > _LONGEST:
            end = path.rindex(b"/", 0, _LONGEST)
            inner = os.open(path[:end], _STEP)
            if held >= 0:
                os.close(held)
            held = inner
            path = b"/proc/self/fd/%d/%s" % (held, path[end + 1 :])
        yield path
    finally:
        if held >= 0:
            os.close(held)


def _lstat(path: bytes) -> os.stat_result:
    with _within_reach(path) as short:
        return os.lstat(short)


class Lower:
    """The merged tree of the layers below, looked up as overlayfs does.

    Paths below a layer's root are used whole only after each of their directories was seen to be
    one there, and settled layers do not change: no link is followed.
    """

    def __init__(self, layers: Sequence[Path], opaque: str) -> None:
        self.opaque = opaque
        self._roots = [os.fsencode(layer) for layer in layers]
        self._cache: dict[bytes, list[bytes]] = {}

    def has(self, path: bytes) -> bool:
        """Whether the merged tree has something at a path."""
        folder, _, name = path.rpartition(b"/")
        for directory in self._directories(folder):
            try:
                status = _lstat(b"%s/%s" % (directory, name))
            except FileNotFoundError:
                continue
            return not is_whiteout(status)
        return False

    def find(self, path: bytes) -> bytes | None:
        """The topmost directory at a path, whole."""
        directories = self._directories(path)
        return directories[0] if directories else None

    def names(self, path: bytes = b"") -> set[bytes]:
        """What the merged directory at a path holds."""
        found: dict[bytes, bool] = {}
        for folder in self._directories(path):
            with _within_reach(folder) as short, os.scandir(short) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    found.setdefault(entry.name, not is_whiteout(status))
        return {name for name, visible in found.items() if visible}

    def _directories(self, path: bytes) -> list[bytes]:
        """The directories that are merged at a path, the topmost first."""
        if not path:
            return self._roots
        found = self._cache.get(path)
        if found is None:
            if len(self._cache) >= _CACHED:
                self._cache.clear()
            folder, _, name = path.rpartition(b"/")
            self._cache[path] = found = self._merge(self._directories(folder), name)
        return found

    def _merge(self, folders: list[bytes], name: bytes) -> list[bytes]:
        found: list[bytes] = []
        for folder in folders:
            directory = b"%s/%s" % (folder, name)
            try:
                status = _lstat(directory)
            except FileNotFoundError:
                continue
            if not stat.S_ISDIR(status.st_mode):
                break
            found.append(directory)
            if self.is_opaque(directory):
                break
        return found

    def is_opaque(self, directory: bytes | int) -> bool:
        """Whether a directory hides those of its name below. Not so with `x`: its whiteouts are
        attributes (overlayfs.rst)."""
        short = _within_reach(directory) if isinstance(directory, bytes) else nullcontext(directory)
        try:
            with short as reached:
                return os.getxattr(reached, self.opaque) == b"y"
        except OSError:
            return False

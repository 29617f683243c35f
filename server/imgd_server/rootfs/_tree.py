"""Directories of a tree by name, through descriptors, so that no name leads out of its root.

Every step opens one component relative to its parent's descriptor, with O_NOFOLLOW: the kernel
never follows a link, and never sees `..` or a slash. A link in the middle of a path is read and
followed here, as if the root were `/`: an absolute target begins at the root again, and `..` goes
to the parent that we came from, at the root to itself. That is openat2's RESOLVE_IN_ROOT, on every
kernel; and it yields each directory's one name without links, by which everything else is noted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator

from imgd_server.rootfs._protocol import Limits, invalid, show, too_large

__all__ = ["Directory", "Tree", "clean", "empty", "remove"]

# What the kernel allows in one look-up (path_resolution(7)).
_MAX_LINKS = 40
# Open directories. With as many more as a path has components, well below the usual limit of 1,024.
_CACHED = 256
# For a start: what a thousand paths of the greatest depth need.
_STEPS = 256_000
_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def clean(name: bytes, limits: Limits) -> bytes:
    """A name of an archive as a path below the root: no empty component, no `.`, no `..`, no slash
    at either end; b"" for the root itself.

    `..` is taken lexically, as Go's path.Clean does, and an absolute name begins at the root.
    Raises LAYER_INVALID for a name that leaves the root, LAYER_TOO_LARGE beyond the bounds.
    """
    if name[:2] == b"./":
        name = name[2:]
    if name[-1:] == b"/":
        name = name[:-1]
    if len(name) > limits.max_path:
        raise too_large(f"a name has more than {limits.max_path} bytes: {show(name)}")
    if b"/." in name or b"//" in name or name[:1] in (b".", b"/") or name[-1:] == b"/":
        kept: list[bytes] = []
        for part in name.split(b"/"):
            if part == b"..":
                if not kept:
                    raise invalid(f"a name leaves the root: {show(name)}")
                kept.pop()
            elif part and part != b".":
                kept.append(part)
        name = b"/".join(kept)
    if name.count(b"/") >= limits.max_depth:
        raise too_large(f"a name has more than {limits.max_depth} folders: {show(name)}")
    if b"\0" in name:
        raise invalid(f"a name has a NUL: {show(name)}")
    return name


class Directory:
    """An open directory below a root. Its descriptor is an O_PATH one, for the *at calls.

    Attributes:
        path: From the root, with no link in it; b"" for the root.
        parent: None for the root.
        setgid: Whether what is created in it gets its group.
    """

    __slots__ = ("fd", "parent", "path", "setgid")

    def __init__(self, fd: int, path: bytes, parent: Directory | None) -> None:
        self.fd, self.path, self.parent = fd, path, parent
        self.setgid = False

    def __del__(self) -> None:
        os.close(self.fd)

    def join(self, name: bytes) -> bytes:
        """The path of something in it."""
        return self.path + b"/" + name if self.path else name

    def proc(self, name: bytes = b"") -> bytes:
        """A path for calls that take no descriptor like this one (xattrs)."""
        return b"/proc/self/fd/%d/%s" % (self.fd, name)


class Tree:
    """The directories of one tree, which nobody else changes meanwhile.

    Subclasses decide what a missing directory means (`missing`), what happens to what is no
    directory but stands in one's place (`obstructed`), and learn of each that is opened.
    """

    def __init__(self, root: int, limits: Limits) -> None:
        self.limits = limits
        self.root = Directory(os.open(b".", _OPEN, dir_fd=root), b"", None)
        self._cache: dict[bytes, Directory] = {b"": self.root}
        self._links = 0
        self._looking = False
        # How many more directories may be gone through on the way to others.
        self.steps = _STEPS

    def directory(self, path: bytes) -> Directory:
        """The directory at a clean path, links in it followed within the root.

        Raises LAYER_INVALID for more than 40 links, LAYER_TOO_LARGE where they lead too deep.
        """
        found = self._cache.get(path)
        if found is None:
            self._links = 0
            found = self._walk(self.root, path)
        return found

    def find(self, path: bytes) -> Directory | None:
        """As `directory`, but creates and replaces nothing: None where there is none."""
        self._looking = True
        try:
            return self.directory(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        finally:
            self._looking = False

    def known(self, path: bytes) -> Directory | None:
        """The directory at a path, if it is open."""
        return self._cache.get(path)

    def forget(self) -> None:
        """Drops what is known of directories, after one (or a link) was removed or replaced."""
        self._cache = {b"": self.root}

    def missing(self, parent: Directory, name: bytes) -> None:
        """Called by `directory` for one that does not exist: creates it, or raises."""
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    def obstructed(self, parent: Directory, name: bytes) -> None:
        """Called by `directory` for what is neither directory nor link: makes it one, or raises."""
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))

    def opened(self, directory: Directory) -> None:
        """Called for each directory that was opened, perhaps again."""

    def _walk(self, start: Directory, path: bytes) -> Directory:
        """From `start` along a path that may have `..` and empty components (a link's target)."""
        current = start
        parts = path.split(b"/")
        self.steps -= len(parts)
        if self.steps < 0:
            raise too_large("its entries lead through too many directories")
        for part in parts:
            if not part or part == b".":
                continue
            current = (current.parent or current) if part == b".." else self._step(current, part)
        return current

    def _step(self, parent: Directory, name: bytes) -> Directory:
        # A link's own name may be in the cache too: it stands for where it leads.
        path = parent.join(name)
        found = self._cache.get(path)
        if found is not None:
            return found
        fd = -1
        while fd < 0:
            try:
                fd = os.open(name, _OPEN, dir_fd=parent.fd)
            except FileNotFoundError:
                if self._looking:
                    raise
                self.missing(parent, name)
            except NotADirectoryError:
                status = os.stat(name, dir_fd=parent.fd, follow_symlinks=False)
                if stat.S_ISLNK(status.st_mode):
                    return self._keep(path, self._follow(parent, name))
                if self._looking:
                    raise
                self.obstructed(parent, name)
        directory = Directory(fd, path, parent)
        if len(path) > self.limits.max_path or path.count(b"/") >= self.limits.max_depth:
            raise too_large(f"links lead to a path beyond the bounds: {show(path)}")
        self.opened(directory)
        return self._keep(path, directory)

    def _keep(self, path: bytes, directory: Directory) -> Directory:
        if len(self._cache) >= _CACHED:
            self.forget()
        self._cache[path] = directory
        return directory

    def _follow(self, parent: Directory, name: bytes) -> Directory:
        self._links += 1
        if self._links > _MAX_LINKS:
            raise invalid(f"a path goes through more than {_MAX_LINKS} links: {show(name)}")
        target = os.readlink(name, dir_fd=parent.fd)
        return self._walk(self.root if target.startswith(b"/") else parent, target)


# --- removing


def remove(parent: int, name: bytes) -> None:
    """Removes a file, or a directory with all in it. What is not there is fine."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        empty(parent, name)
        os.rmdir(name, dir_fd=parent)


def empty(parent: int, name: bytes) -> None:
    """Removes all in a directory, however deep, with two descriptors: what is below a directory in
    it is moved up first, so that no depth (which links can make unbounded) exhausts anything."""
    top = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        _own(top)
        number = 0
        while waiting := list(_directories(top)):
            for folder in waiting:
                inner = _open_own(top, folder)
                try:
                    for child in _directories(inner):
                        os.close(_open_own(inner, child))
                        moved, number = _fresh(top, number)
                        os.rename(child, moved, src_dir_fd=inner, dst_dir_fd=top)
                finally:
                    os.close(inner)
                os.rmdir(folder, dir_fd=top)
    finally:
        os.close(top)


def _fresh(folder: int, number: int) -> tuple[bytes, int]:
    while True:
        number += 1
        name = b".gone%d" % number
        try:
            os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return name, number


def _open_own(parent: int, name: bytes) -> int:
    """Opens a directory for emptying it, whatever its mode."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        folder = os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        folder = os.open(name, flags, dir_fd=parent)
    _own(folder)
    return folder


def _own(folder: int) -> None:
    if os.geteuid() and os.fstat(folder).st_mode & 0o700 != 0o700:
        os.fchmod(folder, 0o700)


def _directories(folder: int) -> Iterator[bytes]:
    """Removes the files of a directory, and yields the names of its directories."""
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_directory in names:
        raw = os.fsencode(name)
        if is_directory:
            yield raw
        else:
            os.unlink(raw, dir_fd=folder)

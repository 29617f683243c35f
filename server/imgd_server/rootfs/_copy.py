"""Copies of trees, where overlayfs can't share them; through descriptors, following no link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from imgd_server.rootfs._xattrs import image_xattrs

__all__ = ["copy_tree"]

_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK, _PIECE = 8 << 20, 1 << 20


def copy_tree(source: int, target: int, *, privileged: bool, check: Callable[[], None]) -> None:
    """Copies what is in a directory into another, which is empty, and gives it the same attributes:
    modes, times, hard links, holes, image attributes; owners and devices with privilege.

    `source` does not change meanwhile. `check` is called now and then, and may raise. Raises
    OSError.
    """
    links: dict[int, str] = {}
    # Directories get their attributes at the end, deepest first: what is made in them changes
    # their times, and their modes may forbid it.
    folders: list[str] = []
    waiting = [""]
    while waiting:
        path = waiting.pop()
        folders.append(path)
        with _opened(source, path) as old, _opened(target, path) as new:
            for name in os.listdir(old):  # noqa: PTH208 - a descriptor
                check()
                inside = f"{path}/{name}" if path else name
                status = os.stat(name, dir_fd=old, follow_symlinks=False)
                if stat.S_ISDIR(status.st_mode):
                    os.mkdir(name, 0o700, dir_fd=new)
                    waiting.append(inside)
                elif status.st_nlink > 1 and status.st_ino in links:
                    folder, _, known = links[status.st_ino].rpartition("/")
                    with _opened(target, folder) as where:
                        os.link(
                            known, name, src_dir_fd=where, dst_dir_fd=new, follow_symlinks=False
                        )
                elif _copy(name, status, old, new, privileged=privileged):
                    _set_attributes(name, status, old, new, privileged=privileged)
                    if status.st_nlink > 1:
                        links[status.st_ino] = inside
    for path in reversed(folders):
        with _opened(source, path) as old, _opened(target, path) as new:
            _set_folder(old, new, privileged=privileged)


@contextmanager
def _opened(root: int, path: str) -> Iterator[int]:
    """A directory, opened part by part: no link is followed."""
    folder = os.open(".", _OPEN, dir_fd=root)
    try:
        for part in path.split("/") if path else ():
            inner = os.open(part, _OPEN, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _copy(name: str, status: os.stat_result, old: int, new: int, *, privileged: bool) -> bool:
    mode = status.st_mode
    if stat.S_ISREG(mode):
        _copy_file(name, status.st_size, old, new)
    elif stat.S_ISLNK(mode):
        os.symlink(os.readlink(name, dir_fd=old), name, dir_fd=new)
    elif stat.S_ISFIFO(mode) or (
        privileged and (stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode))
    ):
        os.mknod(name, stat.S_IFMT(mode) | 0o600, status.st_rdev, dir_fd=new)
    else:
        return False
    return True


def _copy_file(name: str, size: int, old: int, new: int) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=old)
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        target = os.open(name, flags, 0o600, dir_fd=new)
        try:
            os.truncate(target, size)
            offset = 0
            while offset < size:
                try:
                    offset = os.lseek(source, offset, os.SEEK_DATA)
                except OSError as error:
                    if error.errno == errno.ENXIO:
                        break  # a hole to the end
                    raise
                end = os.lseek(source, offset, os.SEEK_HOLE)
                while offset < end:
                    copied = _copy_range(source, target, min(_CHUNK, end - offset), offset)
                    if not copied:
                        raise OSError(errno.EIO, "a file ends before its end")
                    offset += copied
        finally:
            os.close(target)
    finally:
        os.close(source)


def _copy_range(source: int, target: int, length: int, offset: int) -> int:
    try:
        # The kernel shares the blocks where the file system can.
        return os.copy_file_range(source, target, length, offset, offset)
    except OSError as error:
        # From overlayfs, for one, it can't.
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
    return os.pwrite(target, os.pread(source, min(length, _PIECE), offset), offset)


def _set_attributes(
    name: str, status: os.stat_result, old: int, new: int, *, privileged: bool
) -> None:
    if privileged:
        os.chown(name, status.st_uid, status.st_gid, dir_fd=new, follow_symlinks=False)
    if not stat.S_ISLNK(status.st_mode):
        for key in image_xattrs(os.fsencode(f"/proc/self/fd/{old}/{name}")):
            value = os.getxattr(f"/proc/self/fd/{old}/{name}", key, follow_symlinks=False)
            os.setxattr(f"/proc/self/fd/{new}/{name}", key, value, follow_symlinks=False)
        os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=new)
    times = (status.st_atime_ns, status.st_mtime_ns)
    os.utime(name, ns=times, dir_fd=new, follow_symlinks=False)


def _set_folder(old: int, new: int, *, privileged: bool) -> None:
    status = os.fstat(old)
    if privileged:
        os.fchown(new, status.st_uid, status.st_gid)
    for key in image_xattrs(os.fsencode(f"/proc/self/fd/{old}/.")):
        os.setxattr(new, key, os.getxattr(old, key))
    os.fchmod(new, stat.S_IMODE(status.st_mode))
    os.utime(new, ns=(status.st_atime_ns, status.st_mtime_ns))

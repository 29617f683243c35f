"""Reading single files of a tree from anybody, whose links never lead out of it."""

from __future__ import annotations

import errno
import os
import stat

from imgd_server.rootfs._protocol import Limits
from imgd_server.rootfs._tree import Tree

__all__ = ["read_inside"]

_MAX_LINKS = 40


def read_inside(root: int, path: bytes, limit: int) -> bytes | None:
    """A small regular file's bytes, links followed within the root (a descriptor); None where there
    is none, or it has more than `limit` bytes."""
    tree = Tree(root, Limits())
    for _ in range(_MAX_LINKS):
        folder, _, name = path.rpartition(b"/")
        directory = tree.find(folder)
        if directory is None or name in (b"", b".", b".."):
            return None
        try:
            # What is no regular file, such as a pipe that nobody writes to, must not hold us up.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            status = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(name, dir_fd=directory.fd)
                path = target if target.startswith(b"/") else directory.join(target)
                continue
            if not stat.S_ISREG(status.st_mode):
                return None
            file = os.open(name, flags, dir_fd=directory.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ELOOP:
                continue
            raise
        with os.fdopen(file, "rb") as opened:
            data = opened.read(limit + 1)
        return data if len(data) <= limit else None
    return None

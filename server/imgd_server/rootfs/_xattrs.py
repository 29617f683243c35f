"""Which extended attributes an image may bring."""

from __future__ import annotations

import errno
import os

__all__ = ["DEFAULT_ACL", "image_xattrs", "is_image_xattr"]

# The others belong to the host (labels, integrity), or steer overlayfs, where an image could
# redirect a directory to what is not its own.
_TAKEN = (b"user.", b"security.capability", b"system.posix_acl_")
_LEFT = b"user.overlay."
DEFAULT_ACL = b"system.posix_acl_default"
"""What is created in a directory with it gets other modes than were asked for."""


def is_image_xattr(name: bytes) -> bool:
    """Whether a file's attribute is the image's own and is kept; the others are left out."""
    return name.startswith(_TAKEN) and not name.startswith(_LEFT)


def image_xattrs(path: bytes) -> list[str]:
    """The names of those that a file has; none where the file system takes none."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return []
        raise
    return [name for name in names if is_image_xattr(os.fsencode(name))]

"""Which extended attributes an image may bring."""

from __future__ import annotations

import errno
import os
import struct

__all__ = ["DEFAULT_ACL", "MAX_NAME", "MAX_VALUE", "image_xattrs", "is_image_xattr", "is_possible"]

MAX_NAME, MAX_VALUE = 255, 65536
"""Bytes of an attribute's name and value (xattr(7))."""

# The others belong to the host (labels, integrity), or steer overlayfs, where an image could
# redirect a directory to what is not its own.
_TAKEN = (b"user.", b"security.capability", b"system.posix_acl_")
_LEFT = b"user.overlay."
DEFAULT_ACL = b"system.posix_acl_default"
"""What is created in a directory with it gets other modes than were asked for."""


_CAPABILITY, _ACCESS_ACL = b"security.capability", b"system.posix_acl_access"
# linux/capability.h: sizes by revision, the lowest bit apart; the third has a user at its end.
_CAPABILITIES = {0x02000000: 20, 0x03000000: 24}
_EFFECTIVE = 1
_NOBODY = 0xFFFFFFFF
# linux/posix_acl.h: what entries are of, in the order that they have to come in.
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = (1 << place for place in range(6))


def is_possible(name: bytes, value: bytes) -> bool:
    """Whether Linux takes an attribute that is an image's own, sizes apart: it looks into
    some."""
    if name == _CAPABILITY and value:
        kind = int.from_bytes(value[:4], "little") & ~_EFFECTIVE
        user = value[20:] or b"\0"
        return len(value) == _CAPABILITIES.get(kind) and int.from_bytes(user, "little") != _NOBODY
    if name in (_ACCESS_ACL, DEFAULT_ACL):
        return _is_acl(value)
    return name != b"user."


def _is_acl(value: bytes) -> bool:
    """As the kernel's posix_acl_valid has it. Another version is not looked into, nor taken."""
    if len(value) < 4:
        return not value
    if value[:4] != b"\2\0\0\0":
        return True
    if len(value) % 8 != 4:
        return False
    entries = [*struct.iter_unpack("<HHI", value[4:])]
    kinds = [kind for kind, _, _ in entries]
    named = _USER in kinds or _GROUP in kinds
    return not entries or (
        kinds == sorted(kinds)
        and all(kinds.count(one) == 1 for one in (_USER_OBJ, _GROUP_OBJ, _OTHER))
        and named <= kinds.count(_MASK) <= 1
        and {*kinds} <= {_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER}
        and all(rights <= 7 for _, rights, _ in entries)
        and all(one != _NOBODY for kind, _, one in entries if kind in (_USER, _GROUP))
    )


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

"""Which attributes are taken for possible, beside what the kernel does with them."""

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path

import pytest

from imgd_server.rootfs._xattrs import is_possible

NOBODY = 0xFFFFFFFF
USER_OBJ, GROUP_OBJ, OTHER = (1, 7, NOBODY), (4, 5, NOBODY), (0x20, 5, NOBODY)
MASK, USER, GROUP = (0x10, 7, NOBODY), (2, 7, 1000), (8, 7, 1000)
USUAL = (USER_OBJ, GROUP_OBJ, OTHER)


def acl(*entries: tuple[int, int, int]) -> bytes:
    return b"\2\0\0\0" + b"".join(struct.pack("<HHI", *one) for one in entries)


CAPABILITIES = [
    (b"\0\0\0\2" + bytes(16), True),
    (b"\1\0\0\2" + bytes(16), True),
    (b"\0\0\0\3" + bytes(20), True),
    (b"x", False),
    (bytes(20), False),
    (b"\3\0\0\2" + bytes(16), False),
    (b"\0\0\0\1" + bytes(8), False),  # the first revision, which is no longer written
    (b"\0\0\0\2" + bytes(15), False),
    (b"\0\0\0\2" + bytes(20), False),
    (b"\0\0\0\3" + bytes(16) + b"\xff" * 4, False),
    (b"\0\0\0\4" + bytes(16), False),
]
ACLS = [
    (acl(*USUAL), True),
    (acl(), True),
    (acl(USER_OBJ, GROUP_OBJ, MASK, OTHER), True),
    (acl(USER_OBJ, USER, USER, GROUP_OBJ, GROUP, MASK, OTHER), True),
    (b"x", False),
    (b"\2\0\0\0abc", False),
    (acl(USER_OBJ, GROUP_OBJ), False),
    (acl(GROUP_OBJ, USER_OBJ, OTHER), False),
    (acl((1, 8, NOBODY), GROUP_OBJ, OTHER), False),
    (acl(USER_OBJ, USER, GROUP_OBJ, OTHER), False),
    (acl(USER_OBJ, (2, 7, NOBODY), GROUP_OBJ, MASK, OTHER), False),
    (acl(USER_OBJ, GROUP_OBJ, MASK, MASK, OTHER), False),
    (acl(*USUAL, (0x40, 1, NOBODY)), False),
    (acl(USER_OBJ, *USUAL), False),
]
CASES = [
    *((b"security.capability", *one) for one in CAPABILITIES),
    *((b"system.posix_acl_access", *one) for one in ACLS),
    *((b"system.posix_acl_default", *one) for one in ACLS),
    (b"user.", b"x", False),
    (b"user.a", b"", True),
]


@pytest.mark.parametrize(("name", "value", "possible"), CASES)
def test_an_attribute_is_possible_where_the_kernel_takes_it(
    tmp_path: Path, name: bytes, value: bytes, possible: bool
) -> None:
    assert is_possible(name, value) == possible
    try:
        os.setxattr(tmp_path, name, value)
        code = 0
    except OSError as error:
        code = error.errno or 0
    # Without privilege, or on another file system, none may be taken at all.
    assert code != errno.EINVAL if possible else code

"""Archives made byte by byte, so that a test can make what no tool would, and trees read back."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imgd_server.errors import Error
from imgd_server.oci import Digest
from imgd_server.rootfs import AppliedLayer, ApplyOptions, Limits, Whiteouts, apply_layer

__all__ = [
    "ROOT",
    "WHITEOUT",
    "apply",
    "archive",
    "device",
    "diff_id",
    "directory",
    "entry",
    "fifo",
    "file",
    "gnu_name",
    "link",
    "opaque",
    "options",
    "pax",
    "refusal",
    "symlink",
    "tree",
    "whiteout",
]

ROOT = os.geteuid() == 0
"""Whether owners, devices and trusted attributes can be made and looked at."""

WHITEOUT = "whiteout"
USTAR = b"ustar\x0000"
GNU = b"ustar  \0"
MTIME = 1_600_000_000


def number(value: int, width: int) -> bytes:
    """A numeric field: octal, or GNU's base 256 where that does not fit."""
    if 0 <= value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return ((1 << (8 * width - 1)) | (value & ((1 << (8 * width - 1)) - 1))).to_bytes(width, "big")


def entry(
    name: bytes,
    kind: bytes = b"0",
    data: bytes = b"",
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: int = MTIME,
    to: bytes = b"",
    device: tuple[int, int] = (0, 0),
    size: int | None = None,
    magic: bytes = USTAR,
    prefix: bytes = b"",
    patch: Mapping[int, bytes] | None = None,
    checksum: bytes | None = None,
    padded: bool = True,
) -> bytes:
    """A header and its data. `patch` overwrites bytes of the header; the checksum is right unless
    it is given."""
    block = bytearray(512)
    fields = {
        0: name[:100],
        100: number(mode, 8),
        108: number(uid, 8),
        116: number(gid, 8),
        124: number(len(data) if size is None else size, 12),
        136: number(mtime, 12),
        148: b" " * 8,
        156: kind,
        157: to[:100],
        257: magic,
        329: number(device[0], 8),
        337: number(device[1], 8),
        345: prefix,
        **(patch or {}),
    }
    for at, value in fields.items():
        block[at : at + len(value)] = value
    block[148:156] = checksum or b"%06o\0 " % sum(block)
    return bytes(block) + data + (bytes(-len(data) % 512) if padded else b"")


def file(name: bytes, data: bytes = b"data", **more: Any) -> bytes:
    """A regular file."""
    return entry(name, b"0", data, **more)


def directory(name: bytes, mode: int = 0o755, **more: Any) -> bytes:
    """A directory."""
    return entry(name, b"5", mode=mode, **more)


def symlink(name: bytes, to: bytes, **more: Any) -> bytes:
    """A symbolic link."""
    return entry(name, b"2", to=to, mode=0o777, **more)


def link(name: bytes, to: bytes, **more: Any) -> bytes:
    """A hard link."""
    return entry(name, b"1", to=to, **more)


def device(name: bytes, major: int, minor: int, kind: bytes = b"3", **more: Any) -> bytes:
    """A character device, or with kind `4` a block device."""
    return entry(name, kind, device=(major, minor), **more)


def fifo(name: bytes, **more: Any) -> bytes:
    """A named pipe."""
    return entry(name, b"6", **more)


def whiteout(path: bytes) -> bytes:
    """A mark that a file of lower layers is removed."""
    folder, slash, name = path.rpartition(b"/")
    return entry(folder + slash + b".wh." + name)


def opaque(path: bytes) -> bytes:
    """A mark that a directory of lower layers has nothing left."""
    return entry(path + b"/.wh..wh..opq" if path else b".wh..wh..opq")


def pax(records: Mapping[bytes, bytes] | bytes, kind: bytes = b"x") -> bytes:
    """An extended header for the next entry; ready bytes are taken as they are."""
    if isinstance(records, bytes):
        data = records
    else:
        data = b"".join(_record(key, value) for key, value in records.items())
    return entry(b"PaxHeaders/x", kind, data)


def _record(key: bytes, value: bytes) -> bytes:
    rest = b" %s=%s\n" % (key, value)
    length = len(rest) + 1
    while len(b"%d" % length) + len(rest) != length:
        length += 1
    return b"%d%s" % (length, rest)


def gnu_name(name: bytes, kind: bytes = b"L") -> bytes:
    """GNU's long name (`L`) or link (`K`) for the next entry."""
    return entry(b"././@LongLink", kind, name + b"\0", magic=GNU)


def archive(*entries: bytes, end: bytes = bytes(1024)) -> bytes:
    """A whole archive."""
    return b"".join(entries) + end


def diff_id(data: bytes) -> Digest:
    """Its diff ID."""
    return Digest(f"sha256:{hashlib.sha256(data).hexdigest()}")


def options(whiteouts: Whiteouts = Whiteouts.OVERLAY, **limits: int) -> ApplyOptions:
    """What this user may do."""
    return ApplyOptions(
        whiteouts=whiteouts,
        limits=Limits(**limits),
        privileged=ROOT,
        overlay_prefix="trusted." if ROOT else "user.",
    )


def apply(folder: Path, data: bytes, how: ApplyOptions | None = None) -> AppliedLayer:
    """Applies an archive (with any compression) onto a folder, which is made if need be."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return apply_layer(io.BytesIO(data), descriptor, how or options())
    finally:
        os.close(descriptor)


def refusal(folder: Path, data: bytes, how: ApplyOptions | None = None) -> Error:
    """Applies what must be refused, and returns the error."""
    try:
        apply(folder, data, how)
    except Error as error:
        return error
    raise AssertionError("the archive was taken")


def tree(root: Path, *, times: bool = True) -> dict[str, Any]:
    """All that a tree's files are, by path from its root ("" is the root itself).

    Hard links are told by the first path (in order) of the same file. Whiteouts are `WHITEOUT`.
    """
    found: dict[str, Any] = {}
    first: dict[int, str] = {}
    waiting = [root]
    while waiting:
        path = waiting.pop()
        name = "" if path == root else str(path.relative_to(root))
        status = path.lstat()
        if stat.S_ISCHR(status.st_mode) and status.st_rdev == 0:
            found[name] = WHITEOUT
            continue
        facts: dict[str, Any] = {
            "mode": oct(status.st_mode),
            "owner": (status.st_uid, status.st_gid),
            "xattrs": {
                key: os.getxattr(path, key, follow_symlinks=False)
                for key in os.listxattr(path, follow_symlinks=False)
            },
        }
        if times:
            facts["mtime"] = status.st_mtime_ns
        if stat.S_ISDIR(status.st_mode):
            waiting += sorted(path.iterdir(), reverse=True)
        else:
            facts["links"] = status.st_nlink
            if status.st_nlink > 1:
                facts["same"] = first.setdefault(status.st_ino, name)
        if stat.S_ISREG(status.st_mode):
            facts["content"] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif stat.S_ISLNK(status.st_mode):
            facts["to"] = path.readlink()
        elif not stat.S_ISDIR(status.st_mode):
            facts["device"] = (os.major(status.st_rdev), os.minor(status.st_rdev))
        found[name] = facts
    return found

"""What this machine can do: overlayfs, and the rights that owners and devices need."""

from __future__ import annotations

import ctypes
import os
import stat
import tempfile
from pathlib import Path

__all__ = ["can_overlay", "is_privileged"]

_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)


def is_privileged() -> bool:
    """Whether any owner and any device can be set: root, and not of a user namespace's making."""
    identity = Path("/proc/self/uid_map")
    return os.geteuid() == 0 and identity.read_text().split() == ["0", "0", "4294967295"]


def can_overlay(folder: Path) -> bool:
    """Whether overlayfs can be mounted over layers in `folder`; found out by doing it.

    False without the right to mount, without overlayfs in the kernel, and on file systems that
    can't be below it (another overlay) or take no whiteouts.
    """
    if not is_privileged():
        return False
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=folder, prefix="probe-") as name:
        probe = Path(name)
        for part in ("lower", "upper", "work", "merged"):
            (probe / part).mkdir()
        (probe / "lower" / "file").touch()
        try:
            os.mknod(probe / "upper" / "file", stat.S_IFCHR, 0)
            os.setxattr(probe / "upper", "trusted.overlay.opaque", b"y")
        except OSError:
            return False
        options = ",".join(
            f"{key}={_escape(probe / part)}"
            for key, part in (("lowerdir", "lower"), ("upperdir", "upper"), ("workdir", "work"))
        )
        merged = os.fsencode(probe / "merged")
        if _libc.mount(b"overlay", merged, b"overlay", 0, os.fsencode(options)):
            return False
        try:
            return not (probe / "merged" / "file").exists()
        finally:
            _libc.umount2(merged, _MNT_DETACH)


def _escape(path: Path) -> str:
    """A path among overlayfs's options, where colon and comma part others."""
    text = str(path)
    for character in "\\:,":
        text = text.replace(character, f"\\{character}")
    return text

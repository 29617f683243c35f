"""What this machine can do: overlayfs, and the rights that owners and devices need."""

from __future__ import annotations

import ctypes
import os
import stat
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Overlay",
    "can_overlay",
    "is_mount",
    "is_privileged",
    "mount_bind",
    "mount_overlay",
    "see_overlay",
    "unmount",
]

_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 32, 4096
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
# Of what is only looked at: programs of anybody's making are in it.
_VIEW = _MS_RDONLY | _MS_NOSUID | _MS_NODEV
_CLONE_FS = 0x200
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


@dataclass(frozen=True, slots=True)
class Overlay:
    """What overlayfs shows: snapshots' directories, the lowest first, and on top a writable one
    with its work directory, or none."""

    lower: tuple[Path, ...]
    upper: Path | None = None
    work: Path | None = None

    def options(self, start: Path | None = None) -> list[str]:
        """As mount(8) has them; with `start` the paths are relative to it.

        A container's changes have to be seen in its own directory, whole: so files are copied when
        anything of them changes, and directories don't refer to those that they were renamed from.
        """
        parts = [("lowerdir", self.lower[::-1])]
        if self.upper and self.work:
            parts += [("upperdir", (self.upper,)), ("workdir", (self.work,))]
        shown = [
            f"{key}={':'.join(_escape(_relative(path, start)) for path in paths)}"
            for key, paths in parts
        ]
        return [*shown, "redirect_dir=off", "metacopy=off"] if self.upper else ["ro", *shown]


def mount_overlay(target: int, overlay: Overlay, start: Path) -> None:
    """Mounts on a directory (its descriptor). `start` is near to the layers: options are one page,
    so their paths are given as seen from there. Raises OSError."""
    options = overlay.options(start)
    flags = 0 if overlay.upper else _VIEW
    data = os.fsencode(",".join(one for one in options if one != "ro"))
    failed: list[int] = []

    def run() -> None:
        # A working directory of this thread's own.
        if _libc.unshare(_CLONE_FS):
            failed.append(ctypes.get_errno())
            return
        try:
            os.chdir(start)
        except OSError as error:
            failed.append(error.errno or 0)
            return
        where = b"/proc/self/fd/%d" % target
        if _libc.mount(b"overlay", where, b"overlay", flags, data):
            failed.append(ctypes.get_errno())

    thread = threading.Thread(target=run, name="mount")
    thread.start()
    thread.join()
    if failed:
        raise OSError(failed[0], os.strerror(failed[0]))


def mount_bind(folder: int, name: str, source: Path) -> None:
    """Mounts a tree on a directory of `folder` (a descriptor), read-only. Raises OSError."""
    for step in ("bind", "restrict"):
        # Opened anew, for what is mounted now; and never through a link.
        target = os.open(
            name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder
        )
        try:
            where = b"/proc/self/fd/%d" % target
            flags = _MS_BIND if step == "bind" else _MS_REMOUNT | _MS_BIND | _VIEW
            if _libc.mount(os.fsencode(source), where, None, flags, None):
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code))
        finally:
            os.close(target)


def see_overlay(place: Path, overlay: Overlay, start: Path) -> int:
    """A descriptor of the root of what an overlay shows, mounted at an empty directory and at once
    taken from there: it is gone when the descriptor is closed, whatever becomes of us. Raises
    OSError."""
    target = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mount_overlay(target, overlay, start)
    finally:
        os.close(target)
    try:
        return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    finally:
        unmount(place)


def is_mount(path: Path) -> bool:
    """Whether something is mounted there, also of the same file system."""
    try:
        return _mount_id(path, os.O_NOFOLLOW) != _mount_id(path.parent)
    except FileNotFoundError:
        return False


def _mount_id(path: Path, flags: int = 0) -> bytes:
    """The mount that a file is on (proc(5), "fdinfo")."""
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC | flags)
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().splitlines()
    finally:
        os.close(descriptor)
    return next(line for line in lines if line.startswith(b"mnt_id:"))


def unmount(path: Path) -> None:
    """Unmounts what is mounted there; what somebody still uses goes when they leave it."""
    while is_mount(path):
        if _libc.umount2(os.fsencode(path), _MNT_DETACH | _UMOUNT_NOFOLLOW):
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))


def _relative(path: Path, start: Path | None) -> Path:
    return Path(os.path.relpath(path, start)) if start else path


def _escape(path: Path) -> str:
    """A path among overlayfs's options, where colon and comma part others."""
    text = str(path)
    for character in "\\:,":
        text = text.replace(character, f"\\{character}")
    return text

"""A layer's directories while it is applied, and what its marks of removal do to them.

Sources: OCI image 1.1, layer.md ("Whiteouts"); overlayfs.rst of the Linux kernel.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from imgd_server.rootfs._protocol import ApplyOptions, Whiteouts, invalid, show, too_large
from imgd_server.rootfs._tree import Directory, Tree, remove
from imgd_server.rootfs._xattrs import DEFAULT_ACL, image_xattrs

__all__ = ["LayerTree", "is_mark", "is_meta", "lstat"]

_PREFIX = b".wh."
_OPAQUE = b".wh..wh..opq"
# Of AUFS, which the marks come from: its own files, which Docker passes over too.
_META = b".wh..wh."
# The mode of directories that no entry describes, as containerd and Docker make them.
_IMPLIED = 0o755
# Directories that each entry may be reached through. Archives in order need hardly any: the last
# one is at hand. This is for those in no order, and against those that make us walk in circles.
_STEPS = 64


class LayerTree(Tree):
    """What is known of a layer while it is applied.

    Paths are from the root, with no link in them. `name` is the entry's at hand, for messages.
    """

    def __init__(self, root: int, options: ApplyOptions) -> None:
        super().__init__(root, options.limits)
        self.name = b""
        # What AppliedLayer tells of; dicts, for their order. For APPLY, `implied` are directories
        # that this layer goes through and does not describe, and `opaque` those stripped.
        self.implied: dict[bytes, None] = {}
        self.renewed: dict[bytes, None] = {}
        self.whiteouts: dict[bytes, None] = {}
        self.opaque: dict[bytes, None] = {}
        self._options = options
        self._overlay = options.whiteouts is Whiteouts.OVERLAY
        self._privileged = options.privileged
        self._count = self._noted = 0
        # What directories get at the end, when nothing is created in them any more.
        self._times: dict[bytes, tuple[int, int]] = {}
        self._modes: dict[bytes, int] = {}
        # APPLY: what this layer made, and the directories above it, by the directory they are in;
        # its whiteouts spare them.
        self._made: dict[bytes, set[bytes]] = {}
        # The directory of the last entry, as named there; None when that may be another one by now.
        self._folder: bytes | None = None
        self._marking = False
        self._owner = (os.geteuid(), os.getegid())
        if self._overlay:
            self._times[b""] = (0, 0)
            self.implied[b""] = None
        # Whether modes come out as asked: no umask, no default ACL, nothing there before.
        self._exact = self._overlay and not _umask() and not _has_default_acl(self.root)
        self.opened(self.root)

    def count(self) -> None:
        """Counts an entry, or a directory that is made without one."""
        self._count += 1
        if self._count > self.limits.max_entries:
            raise too_large(f"it makes more than {self.limits.max_entries} files")
        self.steps += _STEPS

    def charge(self, path: bytes) -> None:
        """Counts a path that is remembered."""
        self._noted += len(path)
        if self._noted > self.limits.max_noted:
            raise too_large(
                f"its paths have more than {self.limits.max_noted} bytes, links followed"
            )

    # --- directories (see Tree)

    def forget(self) -> None:
        """See Tree."""
        super().forget()
        self._folder = None

    def missing(self, parent: Directory, name: bytes) -> None:
        """A directory that the archive has no entry for, not yet at least."""
        self.count()
        os.mkdir(name, _IMPLIED, dir_fd=parent.fd)
        if parent.setgid:
            os.chown(name, *self._owner, dir_fd=parent.fd, follow_symlinks=False)
        if parent.setgid or not self._exact:
            os.chmod(name, _IMPLIED, dir_fd=parent.fd)
        path = parent.join(name)
        self.charge(path)
        self._times[path] = (0, 0)
        self._modes.pop(path, None)
        self.implied[path] = None

    def obstructed(self, parent: Directory, name: bytes) -> None:
        """A file of a lower layer, a whiteout or an earlier entry gives way, as in umoci; but not
        to a mark, which makes no directory there."""
        if self._marking:
            super().obstructed(parent, name)
        self.clear(parent, name)
        self.missing(parent, name)
        self.begin_anew(parent, name)

    def opened(self, directory: Directory) -> None:
        """Notes whether it gives its group away, and what time it had before this layer."""
        status = os.fstat(directory.fd)
        directory.setgid = bool(status.st_mode & stat.S_ISGID)
        if not self._privileged and status.st_mode & 0o700 != 0o700:
            # Of a lower layer; it is ours, and we have to get into it until the end.
            mode = stat.S_IMODE(status.st_mode)
            Path(os.fsdecode(directory.proc())).chmod(mode | 0o700)
            self._modes.setdefault(directory.path, mode)
        if directory.path not in self._times:
            self.charge(directory.path)
            self._times[directory.path] = (status.st_atime_ns, status.st_mtime_ns)
            self.implied[directory.path] = None

    def clear(self, parent: Directory, name: bytes) -> None:
        """Removes what an entry replaces.

        What is noted of paths below a directory stays: should one come to be again, then below a
        directory that is opaque, where none of it matters, and with times of its own.
        """
        remove(parent.fd, name)
        self.forget()
        path = parent.join(name)
        self._times.pop(path, None)
        self._modes.pop(path, None)
        for noted in (self.implied, self.renewed, self.whiteouts, self.opaque):
            noted.pop(path, None)

    def begin_anew(self, parent: Directory, name: bytes) -> None:
        """A directory has nothing to do with the one of its name in lower layers."""
        directory = self._step(parent, name)
        described = directory.path not in self.implied
        if self._overlay:
            self._make_opaque(directory)
            if not described and directory.path not in self.renewed:
                self.charge(directory.path)
                self.renewed[directory.path] = None
        elif not described:
            # It was there, and this layer has no entry for it.
            if self._privileged:
                os.chown(b".", *self._owner, dir_fd=directory.fd)
            for key in image_xattrs(directory.proc()):
                os.removexattr(directory.proc(), key)
            os.chmod(b".", _IMPLIED, dir_fd=directory.fd)
            self._times[directory.path] = (0, 0)
            del self.implied[directory.path]

    def _make_opaque(self, directory: Directory) -> None:
        if directory.path not in self.opaque:
            name = f"{self._options.overlay_prefix}overlay.opaque"
            os.setxattr(directory.proc(), name, b"y")
            self.charge(directory.path)
            self.opaque[directory.path] = None

    # --- marks of removal

    def mark(self, folder: bytes, base: bytes) -> None:
        name = base[len(_PREFIX) :]
        if base == _OPAQUE:
            directory = self._marked(folder)
            if directory is None:
                return
            if self._overlay:
                self._make_opaque(directory)
            else:
                self._strip(directory)
        elif name in (b"", b".", b".."):
            raise invalid(f"a whiteout marks no file: {show(self.name)}")
        elif not base.startswith(_META):
            self.white_out(folder, name)

    def _marked(self, folder: bytes) -> Directory | None:
        """The directory that a mark is in. For overlayfs it is made; what stands in its place hides
        all that the mark speaks of."""
        if not self._overlay:
            return self.find(folder)
        self._marking = True
        try:
            return self.directory(folder)
        except NotADirectoryError:
            return None
        finally:
            self._marking = False

    def white_out(self, folder: bytes, name: bytes) -> None:
        """Removes a file of lower layers. One of this layer stays, wherever its entry is (OCI
        image, layer.md, "Whiteouts"): it is then a new file, not a changed one."""
        parent = self._marked(folder)
        if parent is None:
            return
        path = parent.join(name)
        status = lstat(parent, name)
        if self._overlay:
            if status is None:
                self.charge(path)
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.fd)
                self.whiteouts[path] = None
            elif stat.S_ISDIR(status.st_mode):
                self.begin_anew(parent, name)
        elif not self._is_made(parent, name):
            self.clear(parent, name)
        elif status is not None and stat.S_ISDIR(status.st_mode):
            self.begin_anew(parent, name)
            self._strip(self.directory(path))

    def _strip(self, directory: Directory) -> None:
        """Removes what is not of this layer from a directory of the merged tree."""
        waiting = [directory]
        while waiting:
            directory = waiting.pop()
            if directory.path in self.opaque:
                continue  # once is enough, however often it is asked for
            self.charge(directory.path)
            self.opaque[directory.path] = None
            for name in _names(directory):
                if not self._is_made(directory, name):
                    self.clear(directory, name)
                elif stat.S_ISDIR(os.lstat(name, dir_fd=directory.fd).st_mode):
                    self.begin_anew(directory, name)
                    waiting.append(self.directory(directory.join(name)))

    def spare(self, parent: Directory, base: bytes) -> None:
        folder, name = parent.path, base
        while name:
            names = self._made.get(folder)
            if names is None:
                self.charge(folder)
                names = self._made[folder] = set()
            elif name in names:
                break
            self.charge(name)
            names.add(name)
            folder, _, name = folder.rpartition(b"/")

    def _is_made(self, parent: Directory, name: bytes) -> bool:
        return name in self._made.get(parent.path, ())

    # --- the end

    def finish(self) -> None:
        """Times and modes of directories, from below: a mode may bar the way."""
        for path in sorted(self._times, reverse=True):
            folder, _, name = path.rpartition(b"/")
            parent = self.find(folder)
            if parent is None or parent.path != folder:
                continue  # replaced since
            name = name or b"."
            try:
                os.utime(name, ns=self._times[path], dir_fd=parent.fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            if path in self._modes:
                os.chmod(name, self._modes[path], dir_fd=parent.fd)


def is_mark(name: bytes) -> bool:
    """Whether a file's name makes it a mark of removal."""
    return name[:4] == _PREFIX


def is_meta(folder: bytes) -> bool:
    """Whether a directory's path has a whiteout's name in it: AUFS's own, which are passed over.
    Raises LAYER_INVALID for others."""
    if folder[:4] != _PREFIX and b"/.wh." not in folder:
        return False
    if not (b"/" + folder).rpartition(b"/.wh.")[2].startswith(b".wh."):
        raise invalid(f"an entry is below a whiteout: {show(folder)}")
    return True


def _umask() -> int:
    with Path("/proc/self/status").open("rb") as status:
        return next(int(line[6:], 8) for line in status if line.startswith(b"Umask:"))


def _has_default_acl(directory: Directory) -> bool:
    try:
        os.getxattr(directory.proc(), DEFAULT_ACL)
    except OSError:
        return False
    return True


def lstat(directory: Directory, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _names(directory: Directory) -> list[bytes]:
    fd = os.open(b".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory.fd)
    try:
        with os.scandir(fd) as entries:
            return [os.fsencode(entry.name) for entry in entries]
    finally:
        os.close(fd)

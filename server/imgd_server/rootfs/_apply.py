"""One layer's archive onto a directory.

For each entry as few system calls as its metadata allow: a file of root's with a plain mode costs
openat, write, utimensat and close. What would need more (owners, setuid, attributes, a directory
that gives its group away, a umask) is paid for by those who have it. All calls are relative to the
descriptor of the parent directory (`_tree`), and the last component is never followed.

Sources: OCI image 1.1, layer.md; overlayfs.rst of the Linux kernel. Where they are silent,
containerd's and umoci's behaviour; ADR-0005 lists where the two differ and what was chosen.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs import _tar
from imgd_server.rootfs._inflate import Inflater
from imgd_server.rootfs._protocol import (
    AppliedLayer,
    ApplyOptions,
    LayerStats,
    Stream,
    Whiteouts,
    invalid,
    show,
    too_large,
)
from imgd_server.rootfs._settle import is_whiteout
from imgd_server.rootfs._tar import Entry, TarReader
from imgd_server.rootfs._tree import Directory, Tree, clean, remove
from imgd_server.rootfs._xattrs import image_xattrs, is_image_xattr

__all__ = ["apply_layer"]

_PREFIX = b".wh."
_OPAQUE = b".wh..wh..opq"
# Of AUFS, which the marks come from: its own files, which Docker passes over too.
_META = b".wh..wh."
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# The mode of directories that no entry describes, as containerd and Docker make them.
_IMPLIED = 0o755
_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_NODES = {_tar.CHAR_DEVICE: stat.S_IFCHR, _tar.BLOCK_DEVICE: stat.S_IFBLK, _tar.FIFO: stat.S_IFIFO}
# (uid_t)-1 means "leave it" to chown(2).
_MAX_ID = (1 << 32) - 2
# Of device numbers in Linux (dev_t: 12 and 20 bits).
_MAX_MAJOR, _MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1
# Where times are cut: what a 64-bit time_t surely takes. File systems cut to their own range.
_MAX_TIME = (1 << 40) * 10**9
_DEFAULT_ACL = b"system.posix_acl_default"

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {
    errno.ENOENT: "names what is not there",
    errno.ENAMETOOLONG: "is longer than the file system takes",
    errno.ELOOP: "goes through too many links",
    errno.EINVAL: "has a name or an owner that this system does not take",
    errno.EPERM: "can't be made: not permitted",
    errno.EISDIR: "is a directory where none may be",
    errno.ENOTDIR: "is below what is no directory",
    errno.EXDEV: "is on another file system",
}
_TOO_LARGE = {errno.EFBIG: "is too large", errno.EMLINK: "has too many links"}


def apply_layer(
    stream: Stream,
    directory: int,
    options: ApplyOptions,
    diff_id: Digest | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> AppliedLayer:
    """Unpacks a layer, in any of the known compressions, into a directory.

    `directory` is a descriptor of the root: of an empty directory for OVERLAY, of the merged tree
    below this layer for APPLY. Nobody else may change it meanwhile. `on_progress` is called with
    the bytes unpacked so far, after each chunk; what it raises ends the work.

    Raises LAYER_INVALID, LAYER_TOO_LARGE, DISK_FULL, DIGEST_MISMATCH when the archive's digest is
    not `diff_id`, and what `stream` raises. Then the directory holds a part of the layer, and is to
    be thrown away.
    """
    algorithm = diff_id.algorithm if diff_id else "sha256"
    with Inflater(stream, options.limits, algorithm) as inflater:
        reader = TarReader(_reported(inflater, on_progress), options.limits)
        applier = _Applier(directory, options, reader)
        try:
            applier.run()
        except OSError as error:
            raise _refusal(error, applier.name) from error
        stats = applier.stats
        stats.packed_bytes, stats.unpacked_bytes = inflater.packed_bytes, inflater.unpacked_bytes
        stats.entries = reader.entries
        actual = inflater.digest
    if diff_id and actual != diff_id:
        raise Error(
            Reason.DIGEST_MISMATCH,
            f"the layer unpacks to {actual}, and its image's config says {diff_id}",
            digest=diff_id,
        )
    if options.whiteouts is Whiteouts.APPLY:
        return AppliedLayer(actual, stats)
    return AppliedLayer(
        actual,
        stats,
        tuple(applier.implied),
        tuple(applier.renewed),
        tuple(applier.whiteouts),
        tuple(applier.opaque),
    )


def _reported(inflater: Inflater, on_progress: Callable[[int], None] | None) -> Iterator[bytes]:
    total = 0
    for chunk in inflater:
        total += len(chunk)
        yield chunk
        if on_progress:
            on_progress(total)


def _refusal(error: OSError, name: bytes) -> BaseException:
    code = error.errno or 0
    if code in _NO_ROOM:
        return Error(
            Reason.DISK_FULL,
            f"no room to unpack the layer: {os.strerror(code)}; free some, and try again",
        )
    if code in _TOO_LARGE:
        return too_large(f"{show(name)} {_TOO_LARGE[code]}")
    if code in _REFUSED:
        return invalid(f"{show(name)} {_REFUSED[code]}")
    return error


def _umask() -> int:
    with Path("/proc/self/status").open("rb") as status:
        return next(int(line[6:], 8) for line in status if line.startswith(b"Umask:"))


class _Applier(Tree):
    """What is known of a layer while it is applied.

    Paths are from the root, with no link in them.
    """

    def __init__(self, root: int, options: ApplyOptions, reader: TarReader) -> None:
        super().__init__(root, options.limits)
        self.name = b""
        self.stats = LayerStats()
        # What AppliedLayer tells of; dicts, for their order. For APPLY, `implied` are directories
        # that this layer goes through and does not describe, and `opaque` those stripped.
        self.implied: dict[bytes, None] = {}
        self.renewed: dict[bytes, None] = {}
        self.whiteouts: dict[bytes, None] = {}
        self.opaque: dict[bytes, None] = {}
        self._reader, self._options = reader, options
        self._overlay = options.whiteouts is Whiteouts.OVERLAY
        self._privileged = options.privileged
        # What directories get at the end, when nothing is created in them any more.
        self._times: dict[bytes, tuple[int, int]] = {}
        self._modes: dict[bytes, int] = {}
        # APPLY: what this layer made, and the directories above it; its whiteouts spare them.
        self._made: set[bytes] = set()
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

    def run(self) -> None:
        """Applies every entry, then sets the directories' times."""
        reader = self._reader
        parent = self.root
        while (entry := reader.next()) is not None:
            self.name = entry.name
            path = clean(entry.name, self.limits)
            folder, _, base = path.rpartition(b"/")
            if folder != self._folder or base[:4] == _PREFIX:
                if _marks(folder):
                    continue
                if base[:4] == _PREFIX:
                    self._mark(folder, base)
                    continue
                parent, self._folder = self.directory(folder), folder
            kind = entry.kind
            if not base:
                self._root(entry)
            elif kind == _tar.REGULAR:
                self._regular(entry, parent, base)
            elif kind == _tar.DIRECTORY:
                self._directory(entry, parent, base)
            elif kind == _tar.SYMLINK:
                self._symlink(entry, parent, base)
            elif kind == _tar.LINK:
                self._link(entry, parent, base)
            else:
                self._node(entry, parent, base)
            if not self._overlay:
                self._spare(parent, base)
        self._finish()

    # --- directories (see Tree)

    def forget(self) -> None:
        """See Tree."""
        super().forget()
        self._folder = None

    def missing(self, parent: Directory, name: bytes) -> None:
        """A directory that the archive has no entry for, not yet at least."""
        os.mkdir(name, _IMPLIED, dir_fd=parent.fd)
        if parent.setgid:
            os.chown(name, *self._owner, dir_fd=parent.fd, follow_symlinks=False)
        if parent.setgid or not self._exact:
            os.chmod(name, _IMPLIED, dir_fd=parent.fd)
        path = parent.join(name)
        self._times[path] = (0, 0)
        self._modes.pop(path, None)
        self.implied[path] = None

    def obstructed(self, parent: Directory, name: bytes) -> None:
        """A file of a lower layer, a whiteout or an earlier entry gives way, as in umoci; but not
        to a mark, which makes no directory there."""
        if self._marking:
            super().obstructed(parent, name)
        self._clear(parent, name)
        self.missing(parent, name)
        self._begin_anew(parent, name)

    def opened(self, directory: Directory) -> None:
        """Notes whether it gives its group away, and what time it had before this layer."""
        status = os.fstat(directory.fd)
        directory.setgid = bool(status.st_mode & stat.S_ISGID)
        if directory.path not in self._times:
            self._times[directory.path] = (status.st_atime_ns, status.st_mtime_ns)
            self.implied[directory.path] = None

    def _clear(self, parent: Directory, name: bytes) -> None:
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

    def _begin_anew(self, parent: Directory, name: bytes) -> None:
        """A directory has nothing to do with the one of its name in lower layers."""
        directory = self._step(parent, name)
        described = directory.path not in self.implied
        if self._overlay:
            self._make_opaque(directory)
            if not described:
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
            self.opaque[directory.path] = None

    # --- entries

    def _regular(self, entry: Entry, parent: Directory, base: bytes) -> None:
        mode = entry.mode
        try:
            fd = os.open(base, _CREATE, mode, dir_fd=parent.fd)
        except FileExistsError:
            self._clear(parent, base)
            fd = os.open(base, _CREATE, mode, dir_fd=parent.fd)
        try:
            if entry.extents is None:
                for view in self._reader.data():
                    if (written := os.write(fd, view)) != len(view):
                        _write(fd, view[written:])
            else:
                _write_sparse(fd, self._reader.data(), entry)
            if self._owner_differs(entry, parent):
                os.fchown(fd, *_owner(entry))
            if entry.xattrs:
                self._set_xattrs(fd, entry.xattrs)
            # Last, for chown and write take setuid and setgid away.
            if mode & _SPECIAL or not self._exact:
                os.fchmod(fd, mode)
            os.utime(fd, ns=_entry_times(entry))
        finally:
            os.close(fd)
        self.stats.file_bytes += entry.size

    def _directory(self, entry: Entry, parent: Directory, base: bytes) -> None:
        path = parent.join(base)
        # Without privileges we have to get into it until the end.
        mode = entry.mode if self._privileged else entry.mode | 0o700
        known = False
        try:
            os.mkdir(base, mode, dir_fd=parent.fd)
        except FileExistsError:
            status = os.stat(base, dir_fd=parent.fd, follow_symlinks=False)
            known = stat.S_ISDIR(status.st_mode)
            if not known:
                self._clear(parent, base)
                os.mkdir(base, mode, dir_fd=parent.fd)
                self._begin_anew(parent, base)
        self._describe(entry, parent, base, mode, known=known)
        self._note(entry, path, mode)

    def _root(self, entry: Entry) -> None:
        if entry.kind != _tar.DIRECTORY:
            raise invalid("an entry would replace the root by a file")
        mode = entry.mode if self._privileged else entry.mode | 0o700
        self._describe(entry, self.root, b".", mode, known=True)
        self._note(entry, b"", mode)

    def _describe(
        self, entry: Entry, parent: Directory, base: bytes, mode: int, *, known: bool
    ) -> None:
        """A directory's metadata, but for its times."""
        if known:
            for name in image_xattrs(parent.proc(base)):
                os.removexattr(parent.proc(base), name, follow_symlinks=False)
        if self._owner_differs(entry, parent) or (known and self._privileged):
            os.chown(base, *_owner(entry), dir_fd=parent.fd, follow_symlinks=False)
        if entry.xattrs:
            self._set_xattrs(parent.proc(base), entry.xattrs)
        # A directory in one that gives its group away would do so, too.
        if mode & _SPECIAL or known or parent.setgid or not self._exact:
            os.chmod(base, mode, dir_fd=parent.fd)

    def _note(self, entry: Entry, path: bytes, mode: int) -> None:
        self._times[path] = _entry_times(entry)
        if mode != entry.mode:
            self._modes[path] = entry.mode
        else:
            self._modes.pop(path, None)
        self.implied.pop(path, None)
        self.renewed.pop(path, None)
        if (opened := self.known(path)) is not None:
            opened.setgid = bool(mode & stat.S_ISGID)

    def _symlink(self, entry: Entry, parent: Directory, base: bytes) -> None:
        try:
            os.symlink(entry.link, base, dir_fd=parent.fd)
        except FileExistsError:
            self._clear(parent, base)
            os.symlink(entry.link, base, dir_fd=parent.fd)
        self._dress(entry, parent, base)

    def _node(self, entry: Entry, parent: Directory, base: bytes) -> None:
        if entry.kind == _tar.CHAR_DEVICE and entry.major == entry.minor == 0:
            # overlayfs's own whiteout, from a builder that packed an upper directory as it is.
            self._white_out(parent.path, base)
            return
        if entry.kind != _tar.FIFO and not self._privileged:
            self.stats.skipped_devices += 1
            return
        if not (0 <= entry.major <= _MAX_MAJOR and 0 <= entry.minor <= _MAX_MINOR):
            raise invalid(f"{show(entry.name)} has an impossible device number")
        device = os.makedev(entry.major, entry.minor)
        kind = _NODES[entry.kind]
        try:
            os.mknod(base, kind | entry.mode, device, dir_fd=parent.fd)
        except FileExistsError:
            self._clear(parent, base)
            os.mknod(base, kind | entry.mode, device, dir_fd=parent.fd)
        self._dress(entry, parent, base)
        if entry.mode & _SPECIAL or not self._exact:
            os.chmod(base, entry.mode, dir_fd=parent.fd)

    def _dress(self, entry: Entry, parent: Directory, base: bytes) -> None:
        """Owner, attributes and times of what can't be opened."""
        if self._owner_differs(entry, parent):
            os.chown(base, *_owner(entry), dir_fd=parent.fd, follow_symlinks=False)
        if entry.xattrs:
            self._set_xattrs(parent.proc(base), entry.xattrs)
        os.utime(base, ns=_entry_times(entry), dir_fd=parent.fd, follow_symlinks=False)

    def _link(self, entry: Entry, parent: Directory, base: bytes) -> None:
        """A hard link. Its entry's own metadata is no news: it is the file's, or wrong."""
        folder, _, name = clean(entry.link, self.limits).rpartition(b"/")
        source = self.find(folder) if name else None
        status = _lstat(source, name) if source else None
        if source is None or status is None or (self._overlay and is_whiteout(status)):
            raise invalid(f"{show(entry.name)} links to {show(entry.link)}, which is not there")
        if stat.S_ISDIR(status.st_mode):
            raise invalid(f"{show(entry.name)} links to a directory: {show(entry.link)}")
        there = _lstat(parent, base)
        if there is not None:
            if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
                return
            self._clear(parent, base)
        os.link(name, base, src_dir_fd=source.fd, dst_dir_fd=parent.fd, follow_symlinks=False)

    # --- metadata

    def _owner_differs(self, entry: Entry, parent: Directory) -> bool:
        """Whether a file just made has not the owner that the entry says."""
        return self._privileged and (parent.setgid or (entry.uid, entry.gid) != self._owner)

    def _set_xattrs(self, file: int | bytes, xattrs: Mapping[bytes, bytes]) -> None:
        for key, value in xattrs.items():
            if not is_image_xattr(key):
                self.stats.skipped_xattrs += 1
                continue
            if key == _DEFAULT_ACL:
                self._exact = False
            try:
                if isinstance(file, int):
                    os.setxattr(file, key, value)
                else:
                    os.setxattr(file, key, value, follow_symlinks=False)
            except OSError as error:
                if error.errno in (errno.ENOTSUP, errno.EPERM):
                    # Of the user namespace on a link or device, or privileged and we are not.
                    self.stats.skipped_xattrs += 1
                elif error.errno in (errno.E2BIG, errno.ERANGE, errno.ENOSPC):
                    raise too_large(f"an attribute of {show(self.name)} is too large") from error
                else:
                    raise invalid(
                        f"{show(self.name)} has an impossible attribute {show(key)}"
                    ) from error

    # --- marks of removal

    def _mark(self, folder: bytes, base: bytes) -> None:
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
            self._white_out(folder, name)

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

    def _white_out(self, folder: bytes, name: bytes) -> None:
        """Removes a file of lower layers. One of this layer stays, wherever its entry is (OCI
        image, layer.md, "Whiteouts"): it is then a new file, not a changed one."""
        parent = self._marked(folder)
        if parent is None:
            return
        path = parent.join(name)
        status = _lstat(parent, name)
        if self._overlay:
            if status is None:
                os.mknod(name, stat.S_IFCHR, 0, dir_fd=parent.fd)
                self.whiteouts[path] = None
            elif stat.S_ISDIR(status.st_mode):
                self._begin_anew(parent, name)
        elif path not in self._made:
            self._clear(parent, name)
        elif status is not None and stat.S_ISDIR(status.st_mode):
            self._begin_anew(parent, name)
            self._strip(self.directory(path))

    def _strip(self, directory: Directory) -> None:
        """Removes what is not of this layer from a directory of the merged tree."""
        waiting = [directory]
        while waiting:
            directory = waiting.pop()
            if directory.path in self.opaque:
                continue  # once is enough, however often it is asked for
            self.opaque[directory.path] = None
            for name in _names(directory):
                path = directory.join(name)
                if path not in self._made:
                    self._clear(directory, name)
                elif stat.S_ISDIR(os.lstat(name, dir_fd=directory.fd).st_mode):
                    self._begin_anew(directory, name)
                    waiting.append(self.directory(path))

    def _spare(self, parent: Directory, base: bytes) -> None:
        self._made.add(parent.join(base))
        path = parent.path
        while path and path not in self._made:
            self._made.add(path)
            path = path.rpartition(b"/")[0]

    # --- the end

    def _finish(self) -> None:
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


def _marks(folder: bytes) -> bool:
    """Whether a directory's path has a whiteout's name in it: AUFS's own, which are passed over.
    Raises LAYER_INVALID for others."""
    if folder[:4] != _PREFIX and b"/.wh." not in folder:
        return False
    if not (b"/" + folder).rpartition(b"/.wh.")[2].startswith(b".wh."):
        raise invalid(f"an entry is below a whiteout: {show(folder)}")
    return True


def _has_default_acl(directory: Directory) -> bool:
    try:
        os.getxattr(directory.proc(), _DEFAULT_ACL)
    except OSError:
        return False
    return True


def _lstat(directory: Directory, name: bytes) -> os.stat_result | None:
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


def _owner(entry: Entry) -> tuple[int, int]:
    if not (0 <= entry.uid <= _MAX_ID and 0 <= entry.gid <= _MAX_ID):
        raise invalid(f"{show(entry.name)} has an impossible owner: {entry.uid}:{entry.gid}")
    return entry.uid, entry.gid


def _entry_times(entry: Entry) -> tuple[int, int]:
    mtime = entry.mtime
    if not -_MAX_TIME < mtime < _MAX_TIME:
        mtime = max(-_MAX_TIME, min(mtime, _MAX_TIME))
    atime = entry.atime
    if atime is None:
        return mtime, mtime
    return max(-_MAX_TIME, min(atime, _MAX_TIME)), mtime


def _write(fd: int, view: memoryview) -> None:
    while view:
        view = view[os.write(fd, view) :]


def _write_sparse(fd: int, data: Iterator[memoryview], entry: Entry) -> None:
    """Writes the extents where they belong, and leaves holes between them."""
    view = memoryview(b"")
    for offset, length in entry.extents or ():
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            view = view or next(data)
            part = view[:length]
            _write(fd, part)
            length -= len(part)
            view = view[len(part) :]
    os.ftruncate(fd, entry.length)

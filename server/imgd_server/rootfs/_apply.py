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

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs import _tar
from imgd_server.rootfs._inflate import Inflater
from imgd_server.rootfs._layer import LayerTree, is_mark, is_meta, lstat
from imgd_server.rootfs._metadata import is_device_number, owner, times, write, write_sparse
from imgd_server.rootfs._protocol import (
    AppliedLayer,
    ApplyOptions,
    LayerStats,
    Stream,
    Whiteouts,
    invalid,
    no_room,
    show,
    too_large,
)
from imgd_server.rootfs._settle import is_whiteout
from imgd_server.rootfs._tar import Entry, TarReader
from imgd_server.rootfs._tree import Directory, clean
from imgd_server.rootfs._xattrs import DEFAULT_ACL, image_xattrs, is_image_xattr

__all__ = ["apply_layer"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_NODES = {_tar.CHAR_DEVICE: stat.S_IFCHR, _tar.BLOCK_DEVICE: stat.S_IFBLK, _tar.FIFO: stat.S_IFIFO}

_REFUSED = {
    errno.ENOENT: "names what is not there",
    errno.ENAMETOOLONG: "is longer than the file system takes",
    errno.ELOOP: "goes through too many links",
    errno.EINVAL: "has a name or an owner that this system does not take",
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
    if (full := no_room(error)) is not None:
        return full
    if code in _TOO_LARGE:
        return too_large(f"{show(name)} {_TOO_LARGE[code]}")
    if code in _REFUSED:
        return invalid(f"{show(name)} {_REFUSED[code]}")
    return error


class _Applier(LayerTree):
    """Makes files of entries."""

    def __init__(self, root: int, options: ApplyOptions, reader: TarReader) -> None:
        super().__init__(root, options)
        self.stats = LayerStats()
        self._reader = reader

    def run(self) -> None:
        """Applies every entry, then sets the directories' times."""
        reader = self._reader
        parent = self.root
        while (entry := reader.next()) is not None:
            self.name = entry.name
            self.count()
            path = clean(entry.name, self.limits)
            folder, _, base = path.rpartition(b"/")
            if folder != self._folder or is_mark(base):
                if is_meta(folder):
                    continue
                if is_mark(base):
                    self.mark(folder, base)
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
                self.spare(parent, base)
        self.finish()

    # --- entries

    def _regular(self, entry: Entry, parent: Directory, base: bytes) -> None:
        mode = entry.mode
        try:
            fd = os.open(base, _CREATE, mode, dir_fd=parent.fd)
        except FileExistsError:
            self.clear(parent, base)
            fd = os.open(base, _CREATE, mode, dir_fd=parent.fd)
        try:
            if entry.extents is None:
                for view in self._reader.data():
                    if (written := os.write(fd, view)) != len(view):
                        write(fd, view[written:])
            else:
                write_sparse(fd, self._reader.data(), entry)
            if self._owner_differs(entry, parent):
                os.fchown(fd, *owner(entry))
            locked = False
            if entry.xattrs:
                # Who is not privileged may give none to a file that is not to be written.
                locked = not (self._privileged or mode & stat.S_IWUSR)
                if locked:
                    os.fchmod(fd, mode | stat.S_IWUSR)
                self._set_xattrs(fd, entry.xattrs)
            # Last, for chown and write take setuid and setgid away.
            if mode & _SPECIAL or not self._exact or locked:
                os.fchmod(fd, mode)
            os.utime(fd, ns=times(entry))
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
                self.clear(parent, base)
                os.mkdir(base, mode, dir_fd=parent.fd)
                self.begin_anew(parent, base)
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
            os.chown(base, *owner(entry), dir_fd=parent.fd, follow_symlinks=False)
        if entry.xattrs:
            self._set_xattrs(parent.proc(base), entry.xattrs)
        # A directory in one that gives its group away would do so, too.
        if mode & _SPECIAL or known or parent.setgid or not self._exact:
            os.chmod(base, mode, dir_fd=parent.fd)

    def _note(self, entry: Entry, path: bytes, mode: int) -> None:
        if path not in self._times:
            self.charge(path)
        self._times[path] = times(entry)
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
            self.clear(parent, base)
            os.symlink(entry.link, base, dir_fd=parent.fd)
        self._dress(entry, parent, base)

    def _node(self, entry: Entry, parent: Directory, base: bytes) -> None:
        if entry.kind == _tar.CHAR_DEVICE and entry.major == entry.minor == 0:
            # overlayfs's own whiteout, from a builder that packed an upper directory as it is.
            self.white_out(parent.path, base)
            return
        if entry.kind != _tar.FIFO and not self._privileged:
            self.stats.skipped_devices += 1
            self.clear(parent, base)  # it replaces what was there all the same
            return
        if not is_device_number(entry):
            raise invalid(f"{show(entry.name)} has an impossible device number")
        device = os.makedev(entry.major, entry.minor)
        kind = _NODES[entry.kind]
        try:
            os.mknod(base, kind | entry.mode, device, dir_fd=parent.fd)
        except FileExistsError:
            self.clear(parent, base)
            os.mknod(base, kind | entry.mode, device, dir_fd=parent.fd)
        self._dress(entry, parent, base)
        if entry.mode & _SPECIAL or not self._exact:
            os.chmod(base, entry.mode, dir_fd=parent.fd)

    def _dress(self, entry: Entry, parent: Directory, base: bytes) -> None:
        """Owner, attributes and times of what can't be opened."""
        if self._owner_differs(entry, parent):
            os.chown(base, *owner(entry), dir_fd=parent.fd, follow_symlinks=False)
        if entry.xattrs:
            self._set_xattrs(parent.proc(base), entry.xattrs)
        os.utime(base, ns=times(entry), dir_fd=parent.fd, follow_symlinks=False)

    def _link(self, entry: Entry, parent: Directory, base: bytes) -> None:
        """A hard link. Its entry's own metadata is no news: it is the file's, or wrong."""
        folder, _, name = clean(entry.link, self.limits).rpartition(b"/")
        source = self.find(folder) if name else None
        status = lstat(source, name) if source else None
        if source is None or status is None or (self._overlay and is_whiteout(status)):
            raise invalid(f"{show(entry.name)} links to {show(entry.link)}, which is not there")
        if stat.S_ISDIR(status.st_mode):
            raise invalid(f"{show(entry.name)} links to a directory: {show(entry.link)}")
        there = lstat(parent, base)
        if there is not None:
            if (there.st_dev, there.st_ino) == (status.st_dev, status.st_ino):
                return
            self.clear(parent, base)
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
            if key == DEFAULT_ACL:
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
                elif error.errno in (errno.EINVAL, errno.EACCES):
                    raise invalid(
                        f"{show(self.name)} has an impossible attribute {show(key)}"
                    ) from error
                else:
                    raise

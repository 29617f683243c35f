"""A container's changes as a layer: a tar archive that any reader of images takes.

What is gone becomes a whiteout of its own, also where overlayfs has an opaque directory: that is
the form that layers should have (OCI image 1.1, layer.md, "Opaque Whiteout"). Headers are ustar's;
what does not fit there (long names, large numbers, parts of seconds, attributes) is in PAX records,
and holes beyond a bound are left out as GNU tar's form 1.0 has it (pax, "pax Extended Header"; GNU
tar's manual, "Storing Sparse Files"), which Go's archive/tar reads.

The same changes make the same bytes: they come sorted, and nothing of the moment is written.
"""

from __future__ import annotations

import enum
import errno
import hashlib
import os
import stat
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from isal import isal_zlib

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs._changes import Change, ChangeKind
from imgd_server.rootfs._protocol import show
from imgd_server.rootfs._xattrs import image_xattrs

__all__ = ["Compression", "PackedLayer", "pack_layer"]

_BLOCK = 512
_CHUNK = 512 << 10
_WHITEOUT = b".wh."
_GZIP_WINDOW = 31  # of zlib: a gzip header around the largest window
_MAX_OCTAL_7, _MAX_OCTAL_11 = (1 << 21) - 1, (1 << 33) - 1
# So much of a layer's holes is zeros, as all is in Docker's layers: podman loads an image with the
# sparse form, but can't push it. Of more the layer would become a bomb: see Limits.ratio_floor.
_MAX_ZEROS = 512 << 20
# Beyond them: the sparse form costs three blocks.
_LEAST_HOLES = 32 << 10
# Of extents that are gone through one by one; a file with more is written whole.
_MAX_EXTENTS = 4096
# What is no longer there, or no longer a file.
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO}
_KINDS = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}


class Compression(enum.Enum):
    """How a layer is stored."""

    NONE = ""
    GZIP = "gzip"
    ZSTD = "zstd"


@dataclass(frozen=True, slots=True)
class PackedLayer:
    """A layer that was written.

    Attributes:
        digest: Of its bytes as stored.
        diff_id: Of the archive.
        size: Bytes as stored.
        entries: Of the archive, whiteouts included. Without any the archive is only its end.
        file_bytes: Bytes of regular files, without holes that were left out.
        skipped_sockets: Left out, for no archive has them.
    """

    digest: Digest
    diff_id: Digest
    size: int
    entries: int
    file_bytes: int
    skipped_sockets: int


def pack_layer(
    changes: Iterable[Change],
    write: Callable[[bytes], None],
    compression: Compression,
    *,
    newest: int | None,
    privileged: bool,
    check: Callable[[], None],
    marks: bool = True,
) -> PackedLayer:
    """Writes changes, in the order of paths, as a layer; without `marks` as an archive of files, in
    which no name is a mark of removal, and nothing is removed.

    No time in it is after `newest` (nanoseconds since the epoch, None for any), and with it the
    compression is the one whose result is the same on every processor. Without privilege, what is
    the caller's own is the image's root's. `check` is called now and then, and may raise. What
    vanishes meanwhile is left out, what shrinks is filled with zeros: of files that nobody changes
    nothing is lost.

    Raises UNSUPPORTED for a file that a layer can't hold, OSError, and what `write` raises.
    """
    sink = _Sink(write, compression, stable=newest is not None)
    packer = _Packer(sink, newest, privileged, marks)
    for change in changes:
        check()
        packer.add(change, check)
    return packer.finish()


class _Sink:
    """Bytes on their way: hashed, compressed, hashed, written."""

    def __init__(
        self, write: Callable[[bytes], None], compression: Compression, *, stable: bool
    ) -> None:
        self._write = write
        self._compressor = _compressor(compression, stable=stable)
        self._plain, self._packed = hashlib.sha256(), hashlib.sha256()
        self._waiting = bytearray()
        self.size = 0

    def add(self, data: bytes) -> None:
        """Appends to the archive."""
        self._waiting += data
        if len(self._waiting) >= _CHUNK:
            self._pass_on()

    def finish(self) -> tuple[Digest, Digest]:
        """Ends it; returns the digests of what was written, and of the archive."""
        self._pass_on()
        self._store(self._compressor.flush())
        return (
            Digest(f"sha256:{self._packed.hexdigest()}"),
            Digest(f"sha256:{self._plain.hexdigest()}"),
        )

    def _pass_on(self) -> None:
        data, self._waiting = bytes(self._waiting), bytearray()
        self._plain.update(data)
        self._store(self._compressor.compress(data))

    def _store(self, data: bytes) -> None:
        if data:
            self._packed.update(data)
            self.size += len(data)
            self._write(data)


class _Uncompressed:
    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _compressor(compression: Compression, *, stable: bool) -> Any:
    """Anything with zlib's `compress` and `flush`."""
    if compression is Compression.NONE:
        return _Uncompressed()
    if compression is Compression.ZSTD:
        import zstandard  # few layers need it

        return zstandard.ZstdCompressor().compressobj()
    if stable:
        return zlib.compressobj(6, zlib.DEFLATED, _GZIP_WINDOW)
    # Ten times as fast; but its matches depend on what the processor has.
    return isal_zlib.compressobj(2, isal_zlib.DEFLATED, _GZIP_WINDOW)


class _Packer:
    def __init__(self, sink: _Sink, newest: int | None, privileged: bool, marks: bool) -> None:
        self._sink, self._newest, self._privileged = sink, newest, privileged
        self._marks = marks
        self._links: dict[tuple[int, int], bytes] = {}
        self._folders: set[bytes] = set()
        self._entries = self._file_bytes = self._sockets = 0
        self._zeros = _MAX_ZEROS  # that may still be written for holes

    def finish(self) -> PackedLayer:
        self._sink.add(bytes(2 * _BLOCK))
        digest, diff_id = self._sink.finish()
        return PackedLayer(
            digest, diff_id, self._sink.size, self._entries, self._file_bytes, self._sockets
        )

    def add(self, change: Change, check: Callable[[], None]) -> None:
        folder, slash, name = change.path.rpartition(b"/")
        if self._marks and name.startswith(_WHITEOUT):
            raise Error(
                Reason.UNSUPPORTED,
                f"a layer can't hold {show(change.path)}: its name would mark another as removed",
            )
        try:
            if name and folder not in self._folders:
                # It may have another time since, also where nobody says that it changed.
                status = os.fstat(change.folder)
                own = Change(ChangeKind.CHANGED, folder, status, change.folder)
                self._file(own, b".", status, check)
            if change.status is None:
                self._header(folder + slash + _WHITEOUT + name, b"0", mode=0, mtime=0)
            elif stat.S_ISSOCK(change.status.st_mode):
                self._sockets += 1
            else:
                self._file(change, name or b".", change.status, check)
        except OSError as error:
            if error.errno not in _GONE:
                raise

    def _file(
        self, change: Change, name: bytes, status: os.stat_result, check: Callable[[], None]
    ) -> None:
        mode = status.st_mode
        facts: dict[str, Any] = {
            "mode": stat.S_IMODE(mode),
            "owner": self._owner(status),
            "mtime": status.st_mtime_ns,
        }
        path = change.path
        if stat.S_ISDIR(mode):
            self._folders.add(path)
            records = _attributes(change.folder, name)
            self._header(path + b"/" if path else b"./", b"5", records=records, **facts)
            return
        inode = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and inode in self._links:
            self._header(path, b"1", link=self._links[inode], **facts)
            return
        if stat.S_ISREG(mode):
            self._regular(change, name, facts, check)
        else:
            link = _target(change.folder, name) if stat.S_ISLNK(mode) else b""
            device = (os.major(status.st_rdev), os.minor(status.st_rdev))
            records = _attributes(change.folder, name)
            kind = _KINDS[stat.S_IFMT(mode)]
            self._header(path, kind, link=link, device=device, records=records, **facts)
        if status.st_nlink > 1:
            self._links[inode] = path

    def _owner(self, status: os.stat_result) -> tuple[int, int]:
        found = status.st_uid, status.st_gid
        own = (-1, -1) if self._privileged else (os.geteuid(), os.getegid())
        return (
            0 if found[0] == own[0] else found[0],
            0 if found[1] == own[1] else found[1],
        )

    def _regular(
        self, change: Change, name: bytes, facts: dict[str, Any], check: Callable[[], None]
    ) -> None:
        # One that was replaced by a pipe meanwhile must not hold us up.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(name, flags, dir_fd=change.folder)
        try:
            status = os.fstat(file)
            if not stat.S_ISREG(status.st_mode):
                return
            records = _attributes(change.folder, name)
            extents = self._extents(file, status)
            if extents is None:
                self._header(change.path, b"0", size=status.st_size, records=records, **facts)
                self._data(file, [(0, status.st_size)], check)
                return
            table = b"".join(b"%d\n%d\n" % one for one in extents)
            table = b"%d\n%s" % (len(extents), table)
            table += bytes(-len(table) % _BLOCK)
            records |= {
                b"GNU.sparse.major": b"1",
                b"GNU.sparse.minor": b"0",
                b"GNU.sparse.name": change.path,
                b"GNU.sparse.realsize": b"%d" % status.st_size,
            }
            size = len(table) + sum(length for _, length in extents)
            short = b"GNUSparseFile.0/" + name[:80]
            self._header(short, b"0", size=size, records=records, **facts)
            self._sink.add(table)
            self._data(file, extents, check)
        finally:
            os.close(file)

    def _extents(self, file: int, status: os.stat_result) -> list[tuple[int, int]] | None:
        """Where a file has data, if its holes are left out; else None."""
        holes = max(status.st_size - 512 * status.st_blocks, 0)
        if holes <= self._zeros:
            self._zeros -= holes
            return None
        return _extents(file, status.st_size) if holes >= _LEAST_HOLES else None

    def _data(
        self, file: int, extents: Iterable[tuple[int, int]], check: Callable[[], None]
    ) -> None:
        total = 0
        for offset, length in extents:
            end = offset + length
            while offset < end:
                check()
                data = os.pread(file, min(_CHUNK, end - offset), offset)
                self._sink.add(data or bytes(min(_CHUNK, end - offset)))
                offset += len(data) or min(_CHUNK, end - offset)
            total += length
        self._sink.add(bytes(-total % _BLOCK))
        self._file_bytes += total

    def _header(
        self,
        name: bytes,
        kind: bytes,
        *,
        mode: int,
        mtime: int,
        owner: tuple[int, int] = (0, 0),
        size: int = 0,
        link: bytes = b"",
        device: tuple[int, int] = (0, 0),
        records: Mapping[bytes, bytes] | None = None,
    ) -> None:
        self._entries += 1
        if self._newest is not None:
            mtime = min(mtime, self._newest)
        more = {**(records or {}), **_beyond(name, link, owner, size, mtime)}
        if more:
            base = name.rstrip(b"/").rpartition(b"/")[2]
            data = b"".join(_record(key, more[key]) for key in sorted(more))
            self._sink.add(_block(b"PaxHeaders.0/" + base[:80], b"x", 0o644, size=len(data)))
            self._sink.add(data + bytes(-len(data) % _BLOCK))
        seconds = mtime // 10**9
        self._sink.add(_block(name, kind, mode, owner, size, seconds, link, device))


def _beyond(
    name: bytes, link: bytes, owner: tuple[int, int], size: int, mtime: int
) -> dict[bytes, bytes]:
    """Records of what does not fit into a ustar header."""
    names = ((b"path", name), (b"linkpath", link))
    found = {key: value for key, value in names if len(value) > 100}
    for key, number in zip((b"uid", b"gid"), owner, strict=True):
        if number > _MAX_OCTAL_7:
            found[key] = b"%d" % number
    if size > _MAX_OCTAL_11:
        found[b"size"] = b"%d" % size
    seconds, rest = divmod(abs(mtime), 10**9)
    if rest or mtime < 0 or seconds > _MAX_OCTAL_11:
        sign, part = b"-" if mtime < 0 else b"", (b".%09d" % rest).rstrip(b"0") if rest else b""
        found[b"mtime"] = b"%s%d%s" % (sign, seconds, part)
    return found


def _record(key: bytes, value: bytes) -> bytes:
    """A PAX record, whose length counts its own digits."""
    length = len(key) + len(value) + 3
    while (whole := len(b"%d" % length) + len(key) + len(value) + 3) != length:
        length = whole
    return b"%d %s=%s\n" % (length, key, value)


def _block(
    name: bytes,
    kind: bytes,
    mode: int,
    owner: tuple[int, int] = (0, 0),
    size: int = 0,
    seconds: int = 0,
    link: bytes = b"",
    device: tuple[int, int] = (0, 0),
) -> bytes:
    block = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            b"%07o\0" % mode,
            *(b"%07o\0" % (one if one <= _MAX_OCTAL_7 else 0) for one in owner),
            b"%011o\0" % (size if size <= _MAX_OCTAL_11 else 0),
            b"%011o\0" % (seconds if 0 <= seconds <= _MAX_OCTAL_11 else 0),
            b" " * 8,
            kind,
            link[:100].ljust(100, b"\0"),
            b"ustar\x0000",
            bytes(64),  # names of owners: those of the reader's machine would be taken
            b"%07o\0%07o\0" % device,
        )
    ).ljust(_BLOCK, b"\0")
    return b"%s%06o\0 %s" % (block[:148], sum(block), block[156:])


def _attributes(folder: int, name: bytes) -> dict[bytes, bytes]:
    """The image's extended attributes of a file, as records."""
    path = b"/proc/self/fd/%d/%s" % (folder, name)
    found: dict[bytes, bytes] = {}
    for one in image_xattrs(path):
        key = os.fsencode(one)
        if b"=" in key:
            raise Error(
                Reason.UNSUPPORTED,
                f"a layer can't hold the attribute {show(key)} of {show(name)}: it has a '='",
            )
        found[b"SCHILY.xattr." + key] = os.getxattr(path, one, follow_symlinks=False)
    return found


def _target(folder: int, name: bytes) -> bytes:
    """Where a link leads. Raises FileNotFoundError for what is one no longer."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise FileNotFoundError(errno.ENOENT, "no link any more") from error
        raise


def _extents(file: int, size: int) -> list[tuple[int, int]] | None:
    """Where a file has data; None where it has hardly any holes, or too many."""
    found: list[tuple[int, int]] = []
    offset = 0
    while offset < size:
        try:
            offset = os.lseek(file, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                break  # a hole to the end
            raise
        end = min(os.lseek(file, offset, os.SEEK_HOLE), size)
        if end > offset:
            found.append((offset, end - offset))
        if len(found) > _MAX_EXTENTS:
            return None
        offset = max(end, offset + 1)
    if size - sum(length for _, length in found) < _LEAST_HOLES:
        return None
    # As GNU tar does: the map says where the file ends.
    if not found or sum(found[-1]) < size:
        found.append((size, 0))
    return found

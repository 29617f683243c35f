"""What is in a layer's archive, and where: an index that is built in one pass, without unpacking.

An index is one file, an SQLite database that is written once and only read afterwards. Its rows are
what the archive unpacks to by itself, in the order of paths: names cleaned, links in the middle of
a path followed within the layer, hard links with what they share, marks of removal as whiteouts and
opaque directories; directories that the archive names only as parents are there, and marked as
implied. What unpacking for overlayfs refuses is refused here too (see `_apply`, and ADR-0005 for
the cases that builders differ in).
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple, Self

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs import _tar
from imgd_server.rootfs._inflate import Inflater
from imgd_server.rootfs._layer import is_mark, is_meta
from imgd_server.rootfs._metadata import is_device_number, owner, times
from imgd_server.rootfs._pax import Extents
from imgd_server.rootfs._protocol import Limits, Stream, invalid, no_room, show, too_large
from imgd_server.rootfs._tar import Entry, TarReader
from imgd_server.rootfs._tree import clean
from imgd_server.rootfs._xattrs import is_image_xattr

__all__ = ["VERSION", "FileKind", "IndexedFile", "LayerIndex", "build_index", "key_of"]

VERSION = 1
"""Of the form of an index. Part of its file's name, so that another form is built anew."""

_SCHEMA = """
CREATE TABLE about (diff_id TEXT NOT NULL);
CREATE TABLE file (
    key BLOB PRIMARY KEY, kind INT, implied INT, opaque INT, shared INT, size INT, stored INT,
    mode INT, uid INT, gid INT, mtime INT, link BLOB, major INT, minor INT, xattrs TEXT,
    extents TEXT, place INT
) WITHOUT ROWID;
"""
_INSERT = "INSERT INTO file VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
_REPLACE = _INSERT.replace("INSERT", "REPLACE", 1)
_OPAQUE = b".wh..wh..opq"
_META = b".wh..wh."
# As in unpacking.
_MAX_LINKS = 40
# Linux's NAME_MAX.
_MAX_NAME = 255
# Directories that each entry may be reached through, as in unpacking.
_STEPS = 64
# Of all paths: an index must not grow beyond what its archive's own names account for.
_MAX_KEYS = 1 << 30
_MAX_CACHED = 4096


class FileKind(IntEnum):
    """Values are those of the FileKind enum, but for whiteouts, which are no files."""

    WHITEOUT = 0
    REGULAR = 1
    DIRECTORY = 2
    SYMLINK = 3
    CHAR_DEVICE = 4
    BLOCK_DEVICE = 5
    FIFO = 6


_KINDS = {
    _tar.REGULAR: FileKind.REGULAR,
    _tar.DIRECTORY: FileKind.DIRECTORY,
    _tar.SYMLINK: FileKind.SYMLINK,
    _tar.CHAR_DEVICE: FileKind.CHAR_DEVICE,
    _tar.BLOCK_DEVICE: FileKind.BLOCK_DEVICE,
    _tar.FIFO: FileKind.FIFO,
}


class IndexedFile(NamedTuple):
    """A row of an index.

    Attributes:
        key: Its path, with NUL for `/`, so that keys sort as trees are walked; b"" for the root.
        kind: A FileKind.
        implied: 1 for a directory that the archive names only as a parent, 2 for one that only
            marks of removal are in: it is there only where a lower layer has it.
        opaque: 1 for a directory that hides what lower layers have in it, 2 for one that has
            nothing to do with theirs at all.
        shared: A hard link, whose bytes count for the file that it names.
        size: Bytes, with holes; 0 for what is no regular file.
        stored: Bytes, without holes.
        mode: Permission bits, setuid, setgid and sticky.
        mtime: Nanoseconds since the epoch.
        link: A symbolic link's target, or the path that a hard link names (from `/`).
        xattrs: JSON: names and values in hexadecimal.
        extents: JSON: offset and length of each part of a sparse file; "" for others.
        place: Where its bytes begin in the archive unpacked.
    """

    key: bytes
    kind: int
    implied: int = 0
    opaque: int = 0
    shared: int = 0
    size: int = 0
    stored: int = 0
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    link: bytes = b""
    major: int = 0
    minor: int = 0
    xattrs: str = ""
    extents: str = ""
    place: int = 0

    @property
    def path(self) -> bytes:
        """From `/`."""
        return b"/" + self.key.replace(b"\0", b"/")

    @property
    def attributes(self) -> dict[str, bytes]:
        """Its extended attributes; names that are no UTF-8 with U+FFFD."""
        found: dict[str, str] = json.loads(self.xattrs) if self.xattrs else {}
        return {
            bytes.fromhex(name).decode("utf-8", "replace"): bytes.fromhex(value)
            for name, value in found.items()
        }

    @property
    def parts(self) -> Extents:
        """Where its stored bytes belong."""
        if self.extents:
            return [(offset, length) for offset, length in json.loads(self.extents)]
        return [(0, self.size)]


def key_of(path: bytes) -> bytes:
    """The key of a path that is clean."""
    return path.replace(b"/", b"\0")


def _implied(key: bytes, *, only_marks: bool = False, anew: bool = False) -> IndexedFile:
    implied, opaque = 2 if only_marks else 1, 2 if anew else 0
    return IndexedFile(key, FileKind.DIRECTORY, implied, opaque, mode=0o755)


def build_index(
    stream: Stream,
    path: Path,
    limits: Limits,
    diff_id: Digest,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Builds an index at `path`, where nothing may be yet, and makes it durable.

    Blocks. `check` is called for each chunk; what it raises ends the work. Memory does not grow
    with the layer. Raises LAYER_INVALID, LAYER_TOO_LARGE, DIGEST_MISMATCH, DISK_FULL, and what
    `stream` raises; then what is at `path` is to be thrown away.
    """
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            # Nothing is kept of one that was not finished.
            for pragma in ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE"):
                database.execute(f"PRAGMA {pragma}")
            database.executescript(_SCHEMA)
            database.execute("BEGIN")
            with Inflater(stream, limits, diff_id.algorithm) as inflater:
                _Builder(database, inflater, limits, check).run()
                if inflater.digest != diff_id:
                    raise Error(
                        Reason.DIGEST_MISMATCH,
                        f"the layer unpacks to {inflater.digest}, and its image's config says "
                        f"{diff_id}",
                        digest=diff_id,
                    )
            database.execute("INSERT INTO about VALUES (?)", (diff_id,))
            database.execute("COMMIT")
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
            raise Error(
                Reason.DISK_FULL, "no room for a layer's index; free some, and try again"
            ) from error
        raise
    try:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    except OSError as error:
        raise no_room(error) or error from None


class _Builder:
    def __init__(
        self,
        database: sqlite3.Connection,
        inflater: Inflater,
        limits: Limits,
        check: Callable[[], None],
    ) -> None:
        self._database, self._limits, self._check = database, limits, check
        self._taken = self._count = self._key_bytes = self._steps = 0
        self._folders: dict[bytes, bytes | None] = {}
        self._reader = TarReader(self._chunks(inflater), limits)

    def _chunks(self, inflater: Inflater) -> Iterator[bytes]:
        for chunk in inflater:
            self._check()
            self._taken += len(chunk)
            yield chunk

    def run(self) -> None:
        self._count_one()
        self._insert(_implied(b""))
        while (entry := self._reader.next()) is not None:
            place = self._taken - self._reader.unread
            self._count_one()
            path = clean(entry.name, self._limits)
            folder, _, base = path.rpartition(b"/")
            if is_meta(folder):
                continue
            if is_mark(base):
                self._mark(entry, folder, base)
                continue
            if not base and entry.kind != _tar.DIRECTORY:
                raise invalid("an entry would replace the root by a file")
            parent = self._folder(folder)
            assert parent is not None
            key = parent + b"\0" + base if parent else base
            if entry.kind == _tar.LINK:
                self._link(entry, key)
            elif entry.kind == _tar.CHAR_DEVICE and entry.major == entry.minor == 0:
                self._white_out(key)
            else:
                self._put(self._row(entry, key, place))

    def _row(self, entry: Entry, key: bytes, place: int) -> IndexedFile:
        device = entry.kind in (_tar.CHAR_DEVICE, _tar.BLOCK_DEVICE)
        if device and not is_device_number(entry):
            raise invalid(f"{show(entry.name)} has an impossible device number")
        symlink = entry.kind == _tar.SYMLINK
        if symlink and not (0 < len(entry.link) <= self._limits.max_path):
            raise invalid(f"{show(entry.name)} links to nothing, or to more than a path")
        uid, gid = owner(entry)
        kept = {
            name.hex(): value.hex()
            for name, value in (entry.xattrs or {}).items()
            if is_image_xattr(name)
        }
        regular = entry.kind == _tar.REGULAR
        return IndexedFile(
            key,
            _KINDS[entry.kind],
            size=entry.length if regular else 0,
            stored=entry.size if regular else 0,
            mode=entry.mode,
            uid=uid,
            gid=gid,
            mtime=times(entry)[1],
            link=entry.link if symlink else b"",
            major=entry.major if device else 0,
            minor=entry.minor if device else 0,
            xattrs=json.dumps(kept) if kept else "",
            extents=json.dumps(entry.extents) if entry.extents is not None else "",
            place=place if regular else 0,
        )

    # --- bounds

    def _count_one(self) -> None:
        self._count += 1
        self._steps += _STEPS
        if self._count > self._limits.max_entries:
            raise too_large(f"it makes more than {self._limits.max_entries} files")

    def _charge(self, key: bytes) -> None:
        self._key_bytes += len(key)
        if len(key) > self._limits.max_path or key.count(b"\0") > self._limits.max_depth:
            raise too_large("links lead to a path beyond the bounds")
        if len(key) - key.rfind(b"\0") - 1 > _MAX_NAME:
            raise invalid(f"a name has more than {_MAX_NAME} bytes")
        if self._key_bytes > _MAX_KEYS:
            raise too_large(f"its paths have more than {_MAX_KEYS} bytes, links followed")

    # --- rows

    def _find(self, key: bytes) -> IndexedFile | None:
        row = self._database.execute("SELECT * FROM file WHERE key = ?", (key,)).fetchone()
        return IndexedFile._make(row) if row else None

    def _insert(self, row: IndexedFile, statement: str = _INSERT) -> None:
        self._charge(row.key)
        self._database.execute(statement, row)

    def _put(self, row: IndexedFile) -> None:
        """Adds what an entry makes, in the place of what is there already."""
        try:
            self._insert(row)
            return
        except sqlite3.IntegrityError:
            old = self._find(row.key)
            assert old is not None
        is_directory = row.kind == FileKind.DIRECTORY
        if old.kind == FileKind.DIRECTORY:
            if is_directory:
                row = row._replace(opaque=old.opaque)
            else:
                self._clear(row.key)
        elif is_directory:
            # It has nothing to do with the one of its name in lower layers.
            row = row._replace(opaque=2)
        if old.kind == FileKind.SYMLINK or (old.kind == FileKind.DIRECTORY and not is_directory):
            self._folders.clear()
        self._insert(row, _REPLACE)

    def _clear(self, key: bytes) -> None:
        below = (key + b"\0", key + b"\1")
        self._database.execute("DELETE FROM file WHERE key >= ? AND key < ?", below)

    def _link(self, entry: Entry, key: bytes) -> None:
        """A hard link shares all that its target is, so it gets a row of the same."""
        folder, _, name = clean(entry.link, self._limits).rpartition(b"/")
        source = self._folder(folder, make=False) if name else None
        found = None
        if source is not None:
            found = self._find(source + b"\0" + name if source else name)
        if found is None or found.kind == FileKind.WHITEOUT:
            raise invalid(f"{show(entry.name)} links to {show(entry.link)}, which is not there")
        if found.kind == FileKind.DIRECTORY:
            raise invalid(f"{show(entry.name)} links to a directory: {show(entry.link)}")
        if found.key == key:
            return
        link = found.link if found.kind == FileKind.SYMLINK or found.shared else found.path
        self._put(found._replace(key=key, shared=1, link=link))

    # --- marks of removal (see `_layer`)

    def _mark(self, entry: Entry, folder: bytes, base: bytes) -> None:
        name = base[4:]
        if base != _OPAQUE and name in (b"", b".", b".."):
            raise invalid(f"a whiteout marks no file: {show(entry.name)}")
        if base.startswith(_META) and base != _OPAQUE:
            return
        parent = self._folder(folder, marking=True)
        if parent is None:
            return  # what stands in its place hides all that the mark speaks of
        if base == _OPAQUE:
            self._make_opaque(parent, 1)
        else:
            self._white_out(parent + b"\0" + name if parent else name)

    def _white_out(self, key: bytes) -> None:
        old = self._find(key)
        if old is None:
            self._insert(IndexedFile(key, FileKind.WHITEOUT))
        elif old.implied == 2:
            self._clear(key)
            self._insert(IndexedFile(key, FileKind.WHITEOUT), _REPLACE)
        elif old.kind == FileKind.DIRECTORY:
            self._make_opaque(key, 2)

    def _make_opaque(self, key: bytes, how: int) -> None:
        self._database.execute("UPDATE file SET opaque = max(opaque, ?) WHERE key = ?", (how, key))

    # --- directories

    def _folder(self, path: bytes, *, make: bool = True, marking: bool = False) -> bytes | None:
        """The key of a directory, links followed; made where it is missing. None where it can't be
        gone to, for marks and look-ups, which do not replace what stands in its place."""
        if (known := self._folders.get(path)) is not None:
            return known
        key = self._walk(path, make=make, marking=marking)
        if key is not None and not marking:
            if len(self._folders) >= _MAX_CACHED:
                self._folders.clear()
            self._folders[path] = key
        return key

    def _walk(self, path: bytes, *, make: bool, marking: bool) -> bytes | None:
        key, links = b"", 0
        waiting = path.split(b"/")[::-1]
        while waiting:
            self._steps -= 1
            if self._steps < 0:
                raise too_large("its paths go through too many directories")
            name = waiting.pop()
            if name in (b"", b"."):
                continue
            if name == b"..":
                key = key.rpartition(b"\0")[0]
                continue
            inner = key + b"\0" + name if key else name
            found = self._find(inner)
            if found is not None and found.kind == FileKind.SYMLINK:
                links += 1
                if links > _MAX_LINKS:
                    raise invalid(f"{show(path)} goes through too many links")
                if found.link.startswith(b"/"):
                    key = b""
                waiting += found.link.split(b"/")[::-1]
                continue
            if found is None or found.kind != FileKind.DIRECTORY:
                if not make or (marking and found is not None):
                    return None
                self._count_one()
                made = _implied(inner, only_marks=marking, anew=found is not None)
                self._insert(made, _REPLACE)
            elif found.implied == 2 and make and not marking:
                self._insert(found._replace(implied=1), _REPLACE)
            key = inner
        return key


class LayerIndex:
    """An index, open for reading, by one thread at a time. Blocks."""

    def __init__(self, path: Path) -> None:
        # It never changes once it has its name.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        self._database = sqlite3.connect(uri, uri=True, check_same_thread=False)
        self._database.execute("PRAGMA cache_size=-1024")

    @property
    def diff_id(self) -> str:
        """Of the archive that it is of."""
        found: str = self._database.execute("SELECT diff_id FROM about").fetchone()[0]
        return found

    def find(self, key: bytes) -> IndexedFile | None:
        """One file."""
        row = self._database.execute("SELECT * FROM file WHERE key = ?", (key,)).fetchone()
        return IndexedFile._make(row) if row else None

    def between(self, start: bytes, end: bytes) -> Iterator[IndexedFile]:
        """The files from one key up to another, which is left out, in order."""
        rows = self._database.execute(
            "SELECT * FROM file WHERE key >= ? AND key < ? ORDER BY key", (start, end)
        )
        return map(IndexedFile._make, rows)

    def children(self, start: bytes, end: bytes) -> Iterator[IndexedFile]:
        """As `between`, without what is in the directories that are met."""
        while True:
            for row in self.between(start, end):
                yield row
                if row.kind == FileKind.DIRECTORY:
                    start = row.key + b"\1"
                    break
            else:
                return

    def close(self) -> None:
        """Closes."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

"""The members of an image archive that comes as a stream, each looked at once.

Archives come from strangers: nothing here writes to a path, names are only keys, and whatever
could mean two things to two readers is refused.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from imgd_server.errors import Error, Origin, Reason
from imgd_server.rootfs import DIRECTORY, LINK, REGULAR, SYMLINK, Limits, TarReader, inflated

__all__ = ["MAX_FILES", "Member", "Members", "refused"]

MAX_FILES = 10_000
"""Files of an archive: each may be a blob, and a node that watchers see."""

# Folders, links and what older dockers put beside each layer included.
_MAX_MEMBERS = 50_000
# The longest real name is that of a sha512 blob; docker's older folders nest twice.
_MAX_NAME = 1024
_MAX_NAMES = 8 << 20
# Of links to links.
_MAX_HOPS = 8


def refused(message: str) -> Error:
    """ARCHIVE_INVALID."""
    return Error(Reason.ARCHIVE_INVALID, f"the archive is refused: {message}", origin=Origin.SOURCE)


@contextmanager
def _as_archive(first: bool = False) -> Iterator[None]:
    """Says of an archive what is said of layers, which are archives too. What is wrong with its
    first member may not be one at all."""
    advice = " (it has to be tar, plain or with gzip or zstd)" if first else ""
    try:
        yield
    except Error as error:
        if error.reason in (Reason.LAYER_INVALID, Reason.LAYER_TOO_LARGE):
            message = error.message.removeprefix("the layer is refused: ")
            raise refused(f"{message}{advice}") from error
        raise


@dataclass(frozen=True, slots=True)
class Member:
    """A regular file: its name without `.` and `/` around it, and its size in bytes."""

    name: str
    size: int


class Members:
    """The regular files of an archive, in its order; plain, gzip or zstd.

    `read` gives up to so many bytes of the stream. Everything raises ARCHIVE_INVALID for what is
    refused, and what `read` raises.
    """

    def __init__(self, read: Callable[[int], bytes], limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._read = read
        self._packed = 0
        self._reader = TarReader(self._chunks(), self._limits)
        self._names: set[str] = set()
        self._folders: set[str] = set()
        self._bytes_of_names = 0
        self._files = 0
        self._links: dict[str, str] = {}

    def __iter__(self) -> Iterator[Member]:
        while True:
            with _as_archive(self._reader.entries == 0):
                entry = self._reader.next()
            if entry is None:
                return
            if self._reader.entries > _MAX_MEMBERS:
                raise refused(f"it has more than {_MAX_MEMBERS} members")
            name = self._name(entry.name)
            if entry.kind == DIRECTORY:
                self._folders.add(name)
                continue
            self._note(name)
            if entry.kind == SYMLINK:
                self._links[name] = self._name(entry.link, posixpath.dirname(name))
            elif entry.kind == LINK:
                self._links[name] = self._name(entry.link)
            elif entry.kind != REGULAR or entry.extents is not None:
                raise refused(f"{name!r} is a device, a pipe or a file with holes")
            else:
                self._files += 1
                if self._files > MAX_FILES:
                    raise refused(f"it has more than {MAX_FILES} files")
                yield Member(name, entry.size)

    def data(self) -> Iterator[memoryview]:
        """The bytes of the member that was yielded last, in pieces; each is valid until the
        next."""
        with _as_archive():
            yield from self._reader.data()

    def resolve(self, path: str) -> str:
        """The name of the file that a document of the archive means with a path, links followed."""
        name = self._name(path.encode())
        for _ in range(_MAX_HOPS):
            if name not in self._links:
                return name
            name = self._links[name]
        raise refused(f"{path[:200]!r} is a link to a link, and so on")

    def _name(self, raw: bytes, folder: str = "") -> str:
        """A name, or where a link leads, within the archive."""
        self._bytes_of_names += len(raw)
        if len(raw) > _MAX_NAME or self._bytes_of_names > _MAX_NAMES:
            raise refused(
                f"a name has more than {_MAX_NAME} bytes, or all have more than {_MAX_NAMES}"
            )
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            raise refused("a name is not UTF-8") from None
        name = posixpath.normpath(posixpath.join(folder, text)) if text else ""
        parts = text.split("/")
        if (
            not text
            or text.startswith("/")
            or "\0" in text
            or name.startswith("../")
            or name == ".."
            or (not folder and ".." in parts)
        ):
            raise refused(f"the name {text[:200]!r} leads out of it, or nowhere")
        return name

    def _note(self, name: str) -> None:
        """Notes a file or link; each has one name of its own, and no file is also a folder."""
        if name in self._names or name in self._folders or name == ".":
            raise refused(f"it has two members with the name {name[:200]!r}")
        self._names.add(name)

    def _chunks(self) -> Iterator[bytes]:
        """The stream, unpacked, within bounds."""

        def read(size: int) -> bytes:
            data = self._read(size)
            self._packed += len(data)
            return data

        unpacked, limits = 0, self._limits
        with _as_archive():
            for chunk in inflated(read):
                unpacked += len(chunk)
                if unpacked > limits.ratio_floor and unpacked > limits.max_ratio * self._packed:
                    raise refused(f"it unpacks to more than {limits.max_ratio} times its size")
                yield chunk

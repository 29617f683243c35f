"""What an archive holds, verified and stored as it streams. Runs in one worker thread."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Origin, Reason, from_format
from imgd_server.oci import (
    DOCKER_DOCUMENT,
    LAYOUT_DOCUMENT,
    LAYOUT_INDEX,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    FormatError,
    parse_blob_path,
)
from imgd_server.transfer._members import Member, refused
from imgd_server.transfer._pipes import Flow
from imgd_server.transfer._progress import NodeState
from imgd_server.transfer._room import RESERVE

__all__ = ["Intake", "Source", "Watcher"]

_DOCUMENTS = {DOCKER_DOCUMENT, LAYOUT_DOCUMENT, LAYOUT_INDEX}
# What dockers before 25 write for dockers before 1.10, and nobody reads.
_OLD = re.compile(r"repositories|[0-9a-f]{64}/(?:json|VERSION)", re.ASCII)
# Whoever saves images names files by digests, some archives made by hand apart. Of a root file
# system each would cost two syncs of the disk, and nobody asks for it then.
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_MAX_OTHERS = 500


class Source(Protocol):
    """The members of an archive, or of what is like one; see `Members`."""

    def __iter__(self) -> Iterator[Member]: ...
    def data(self) -> Iterator[memoryview]:
        """See Members."""
        ...

    def resolve(self, path: str) -> str:
        """See Members."""
        ...


@dataclass(frozen=True, slots=True)
class Watcher:
    """Who is told of the members that are stored: that one of so many bytes begins, and what it
    turned out to be. Called in the thread."""

    begin: Callable[[Member, Flow], None]
    end: Callable[[Member, Digest, NodeState], None]


@dataclass(slots=True)
class Intake:
    """Takes an archive's members in.

    `hold` keeps a digest from being collected, from before it returns; `key` names what is
    unfinished. What came is in `documents` (by name), `files` (digests by name) and `sizes`.
    `fetched` bytes were stored anew, `reused` were here.
    """

    members: Source
    content: ContentStore
    key: str
    hold: Callable[[Digest], None]
    watcher: Watcher
    documents: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, Digest] = field(default_factory=dict)
    sizes: dict[Digest, int] = field(default_factory=dict)
    fetched: int = 0
    reused: int = 0
    _others: int = 0

    def run(self) -> None:
        """Reads the archive to its end. Raises ARCHIVE_INVALID, DIGEST_MISMATCH, DISK_FULL, and
        what the stream raises."""
        for member in self.members:
            if member.name in _DOCUMENTS:
                self.documents[member.name] = self._read(member)
            elif not _OLD.fullmatch(member.name):
                self._store(member)

    def resolve(self, path: str) -> Digest:
        """The digest of the file that a document means. Raises ARCHIVE_INVALID."""
        name = self.members.resolve(path)
        if name not in self.files:
            raise refused(f"{path[:200]!r} is not in it")
        return self.files[name]

    def keep(self, raw: bytes) -> Digest:
        """Stores what was made of the archive."""
        digest = Digest.of(raw)
        self.hold(digest)
        with self.content.ingest(self.key, digest, len(raw), resume=False) as ingest:
            ingest.write(raw)
            ingest.commit()
        self.sizes[digest] = len(raw)
        return digest

    def _read(self, member: Member) -> bytes:
        if member.size > MAX_MANIFEST_BYTES:
            raise refused(f"{member.name} has more than {MAX_MANIFEST_BYTES} bytes")
        return b"".join(bytes(piece) for piece in self.members.data())

    def _store(self, member: Member) -> None:
        try:
            expected = parse_blob_path(member.name)
        except FormatError as error:
            failure = from_format(error)
            failure.origin = Origin.SOURCE
            raise failure from error
        if not _DIGEST.search(member.name):
            self._others += 1
            if self._others > _MAX_OTHERS:
                raise refused(
                    f"it has more than {_MAX_OTHERS} files that are named by no digest, as those "
                    "of images are; a root file system is imported, not loaded"
                )
        flow = Flow()
        self.watcher.begin(member, flow)
        if expected:
            # Held first: what is here then stays.
            self.hold(expected)
            found = self.content.find(expected)
            if found and found.size == member.size:
                self._compare(expected, self._flowing(flow))
                return self._took(member, expected, NodeState.EXISTS)
        self._check_room(member)
        hasher = (expected or Digest.of(b"")).hasher()
        with self.content.ingest(self.key, expected, member.size, resume=False) as ingest:
            try:
                for piece in self._flowing(flow):
                    if expected is None:
                        hasher.update(piece)
                    ingest.write(piece)
                digest = expected or Digest(f"sha256:{hasher.hexdigest()}")
                if expected is None:
                    self.hold(digest)
            except BaseException:
                ingest.abort()
                # One that the disk ended has kept its bytes.
                self.content.drop_partial(self.key)
                raise
            ingest.commit(digest)
        return self._took(member, digest, NodeState.DONE)

    def _took(self, member: Member, digest: Digest, state: NodeState) -> None:
        self.files[member.name], self.sizes[digest] = digest, member.size
        if state is NodeState.EXISTS:
            self.reused += member.size
        else:
            self.fetched += member.size
        self.watcher.end(member, digest, state)

    def _flowing(self, flow: Flow) -> Iterator[memoryview]:
        for piece in self.members.data():
            yield piece
            flow.count(len(piece))

    def _compare(self, expected: Digest, pieces: Iterator[memoryview]) -> None:
        """Verifies what is here already: an archive is not whole because the store is."""
        hasher = expected.hasher()
        for piece in pieces:
            hasher.update(piece)
        if hasher.hexdigest() != expected.hex:
            raise Error(
                Reason.DIGEST_MISMATCH,
                f"the bytes promised as {expected} have another digest",
                origin=Origin.SOURCE,
                digest=expected,
            )

    def _check_room(self, member: Member) -> None:
        free = self.content.free_bytes()
        if member.size + RESERVE > free:
            raise Error(
                Reason.DISK_FULL,
                f"{member.name[:200]!r} has {member.size} bytes, and {free} are free, of which "
                f"{RESERVE} are kept: remove images, collect garbage, and try again",
                origin=Origin.DESTINATION,
                metadata={"needed_bytes": str(member.size + RESERVE), "free_bytes": str(free)},
            )

    def descriptor(self, digest: Digest, media_type: str) -> Descriptor:
        """A descriptor of what came."""
        return Descriptor(media_type, digest, self.sizes[digest])

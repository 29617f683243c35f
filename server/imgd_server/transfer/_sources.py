"""Where a push or a copy reads: the store, or another registry."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Origin, Reason, from_format
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    FormatError,
    Index,
    Manifest,
    Reference,
    parse_manifest,
)
from imgd_server.registry import (
    BlobStream,
    Cancellation,
    Credentials,
    NamePage,
)
from imgd_server.transfer._fetch import Fetcher
from imgd_server.transfer._flight import Flight, FlightTable
from imgd_server.transfer._outgoing import Inline, Opening, RemoteBlob, StoredBlob
from imgd_server.transfer._progress import ActivityKind, Node, NodeState, Progress

__all__ = ["MAX_TAGS", "Listing", "RegistrySource", "Source", "StoreSource", "load"]

MAX_TAGS = 1000
"""A repository with more tags is moved by parts: each is a manifest, and a node that is watched."""

_MOST = max(MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES)
# As registries page them; and what is read at the most.
_TAGS_PAGE = 1000
_MOST_TAGS = 10_000
# A copy keeps its manifests in memory: 512 of the usual size are some MiB.
_MAX_IN_MEMORY = 64 << 20


class Listing(Protocol):
    """What registries list (`registry.Lookups`)."""

    def tags(
        self,
        repository: Reference,
        after: str,
        limit: int,
        fits: Callable[[str], bool],
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> NamePage:
        """See Lookups."""
        ...

    def referrers(
        self,
        reference: Reference,
        artifact_type: str,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> list[Descriptor]:
        """See Lookups."""
        ...


class Source(Protocol):
    """Where manifests and blobs are read. `key` is equal for sources that give the same bytes.

    Errors have an origin.
    """

    @property
    def key(self) -> Hashable: ...
    @property
    def fetched(self) -> int:
        """Bytes of manifests that came over the network."""
        ...

    async def find(self, node: Node, reference: Reference) -> Descriptor:
        """What is to be moved of a reference."""
        ...

    async def read(self, node: Node, target: Descriptor) -> bytes:
        """A manifest's bytes, verified; or those of a config, which is no larger."""
        ...

    async def hold(self, targets: Sequence[Descriptor]) -> None:
        """Keeps content from being collected, where it could be."""
        ...

    async def referrers(self, node: Node, subject: Descriptor) -> Sequence[Descriptor]:
        """The manifests that refer to a manifest."""
        ...

    def open(self, flight: Flight[Any], target: Descriptor) -> Opening:
        """A blob, to be sent by a flight."""
        ...


async def load(source: Source, node: Node, target: Descriptor) -> Manifest | Index:
    """A manifest or index from a source."""
    raw = await source.read(node, target)
    try:
        return await asyncio.to_thread(parse_manifest, raw, target.media_type)
    except FormatError as error:
        failure = from_format(error, digest=target.digest)
        failure.origin = Origin.SOURCE
        raise failure from error


@dataclass(slots=True)
class StoreSource:
    """The store. `targets` are what to move, by the reference that it goes to."""

    content: ContentStore
    targets: Mapping[str, Descriptor]
    protect: Callable[[Sequence[Descriptor]], Awaitable[None]]
    find_referrers: Callable[[Descriptor], Awaitable[Sequence[Descriptor]]]

    @property
    def key(self) -> Hashable:
        """See Source."""
        return "store"

    @property
    def fetched(self) -> int:
        """See Source."""
        return 0

    async def find(self, node: Node, reference: Reference) -> Descriptor:
        """See Source."""
        return self.targets[str(reference)]

    async def read(self, node: Node, target: Descriptor) -> bytes:
        """See Source."""
        try:
            return await asyncio.to_thread(self.content.read, target.digest, _MOST)
        except Error as error:
            error.origin = Origin.SOURCE
            raise

    async def hold(self, targets: Sequence[Descriptor]) -> None:
        """See Source."""
        await self.protect(targets)

    async def referrers(self, node: Node, subject: Descriptor) -> Sequence[Descriptor]:
        """See Source."""
        return await self.find_referrers(subject)

    def open(self, flight: Flight[Any], target: Descriptor) -> Opening:
        """See Source."""
        return StoredBlob(flight, target, self.content)


@dataclass(slots=True)
class RegistrySource:
    """A registry. What it says of blobs is verified before their last bytes are handed on."""

    uid: str
    name: str
    credentials: Credentials | None
    fetcher: Fetcher
    listing: Listing
    flights: FlightTable
    progress: Progress
    fetched: int = 0
    _raw: dict[str, bytes] = field(default_factory=dict)
    _size: int = 0

    @property
    def key(self) -> Hashable:
        """See Source."""
        return self.name, self.credentials.scope if self.credentials else ""

    async def find(self, node: Node, reference: Reference) -> Descriptor:
        """See Source."""

        async def work(flight: Flight[Descriptor]) -> Descriptor:
            resolved = await self.fetcher.resolve(flight, reference, self.credentials)
            flight.host = resolved.host
            return resolved.target

        key = ("resolve", self.key, str(reference))
        async with self.flights.join(key, self.uid, work) as flight:
            self.progress.begin(node, ActivityKind.RESOLVE, flight)
            target = await flight.result()
        self.progress.end(node, NodeState.WAITING, flight.host)
        return target

    async def tags(self, most: int) -> list[str]:
        """All tags of the repository. Raises REMOTE_NOT_FOUND for none, UNSUPPORTED for more than
        `most`."""
        repository = Reference.parse(self.name)

        async def work(flight: Flight[list[str]]) -> list[str]:
            return await self.fetcher.persist(
                flight, repository, lambda: self._list_tags(repository, flight)
            )

        async with self.flights.join(("tags", self.uid), self.uid, work) as flight:
            tags = await flight.result()
        if tags and len(tags) <= most:
            return tags
        many = f"has more than {most} tags: name them one by one"
        raise Error(
            Reason.UNSUPPORTED if tags else Reason.REMOTE_NOT_FOUND,
            f"{repository.familiar_name} {many if tags else 'has no tags'}",
            origin=Origin.SOURCE,
            reference=self.name,
        )

    def _list_tags(self, repository: Reference, flight: Flight[Any]) -> list[str]:
        tags: list[str] = []
        last = ""
        while True:
            page = self.listing.tags(
                repository, last, _TAGS_PAGE, lambda _: True, self.credentials, flight.cancellation
            )
            tags += page.names
            last = page.last
            if not last or len(tags) > _MOST_TAGS:
                return tags

    async def read(self, node: Node, target: Descriptor) -> bytes:
        """See Source."""
        if (known := self._raw.get(target.digest)) is not None:
            return known
        reference = self._reference(target)

        async def work(flight: Flight[bytes]) -> bytes:
            return await self.fetcher.read(flight, reference, target, self.credentials)

        # Not shared: it is small, and kept here as long as this transfer takes.
        async with self.flights.join(("read", self.uid, target.digest), self.uid, work) as flight:
            activity = self.progress.begin(node, ActivityKind.DOWNLOAD, flight, target.size)
            raw = await flight.result()
            self.fetched += flight.moved_bytes
        self._size += len(raw)
        if self._size > _MAX_IN_MEMORY:
            raise Error(
                Reason.MANIFEST_TOO_LARGE,
                f"the manifests of {self.name} have more than {_MAX_IN_MEMORY} bytes in all",
                origin=Origin.SOURCE,
            )
        self.progress.end(node, NodeState.WAITING, flight.host, only=activity)
        self._raw[target.digest] = raw
        return raw

    async def hold(self, targets: Sequence[Descriptor]) -> None:
        """See Source. A registry keeps what its tags need."""

    async def referrers(self, node: Node, subject: Descriptor) -> Sequence[Descriptor]:
        """See Source."""
        reference = self._reference(subject)

        async def work(flight: Flight[Sequence[Descriptor]]) -> Sequence[Descriptor]:
            return await self.fetcher.persist(
                flight,
                reference,
                lambda: self.listing.referrers(
                    reference, "", self.credentials, flight.cancellation
                ),
            )

        key = ("referrers", self.uid, subject.digest)
        async with self.flights.join(key, self.uid, work) as flight:
            return await flight.result()

    def open(self, flight: Flight[Any], target: Descriptor) -> Opening:
        """See Source."""

        def stream(offset: int) -> BlobStream:
            if target.data is not None:
                return Inline(target.data, offset)
            reference = self._reference(target)
            return self.fetcher.registry.open_blob(
                reference, target, offset, self.credentials, flight.cancellation
            )

        return RemoteBlob(flight, target, stream)

    def _reference(self, target: Descriptor) -> Reference:
        return Reference.parse(f"{self.name}@{target.digest}")

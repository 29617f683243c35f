"""Pushes and copies in this process, through a transfer manager with real stores, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error
from imgd_server.images import describe
from imgd_server.metadata import ImageRecord, Name, SqliteMetadataStore, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform, Reference
from imgd_server.registry import HttpRegistryClient, HttpRegistryPusher, Lookups, RegistryConfig
from imgd_server.transfer import (
    Node,
    Outcome,
    RegistryEndpoint,
    RetryPolicy,
    StoreEndpoint,
    TransferConfig,
    TransferManager,
    TransferSpec,
    TransferState,
)
from tests.fake_images import FakeImage

__all__ = ["Pusher", "copy_spec", "push_spec", "pushing"]

_QUICK = RetryPolicy(attempts=3, first=0.001, ceiling=0.002, longest=5.0)
_AMD64 = Platform("linux", "amd64")


@dataclass
class Pusher:
    """A transfer manager with stores of its own."""

    manager: TransferManager
    metadata: SqliteMetadataStore
    content: LocalContentStore

    async def store(
        self,
        image: FakeImage,
        *names: str,
        without: Iterable[str] = (),
        learned: Iterable[str] = (),
    ) -> ImageRecord:
        """Stores an image under tags, without some digests; `learned` are its repo digests."""
        blobs = {**image.blobs, **{digest: raw for digest, (_, raw) in image.manifests.items()}}
        for digest in blobs.keys() - set(without):
            with self.content.ingest(digest, Digest(digest), len(blobs[digest])) as ingest:
                ingest.write(blobs[digest])
                ingest.commit()
        target = Descriptor(image.media_type, Digest(image.digest), len(image.raw))
        found = describe(self.content, target, _AMD64)

        def show(session: WriteSession) -> ImageRecord:
            record = session.put_image(found.record, found.platforms, found.blobs)
            for name in names:
                session.put_name(Name(name, Reference.parse(name).name), record.uid)
            for name in learned:
                session.put_name(Name(name, Reference.parse(name).name, by_digest=True), record.uid)
            kept = session.image(record.uid)
            assert kept
            return kept

        return await self.metadata.write(show)

    async def start(self, spec: TransferSpec) -> str:
        """Starts a transfer; returns its uid."""
        return (await self.manager.start(spec)).uid

    async def end(self, uid: str) -> tuple[TransferState, Outcome, dict[str, Node]]:
        """Waits for a transfer's end; its nodes by ID."""
        nodes: dict[str, Node] = {}
        async for event in self.manager.watch(uid):
            nodes.update((node.node_id, node) for node in event.nodes)
        record = await self.manager.get(uid)
        assert record.outcome
        return TransferState[record.state], Outcome.from_json(record.outcome), nodes

    async def push(self, image: str, reference: str = "", **options: Any) -> Outcome:
        """A push that succeeds."""
        return await self.succeed(push_spec(image, reference, **options))

    async def copy(self, source: str, destination: str, **options: Any) -> Outcome:
        """A copy that succeeds."""
        return await self.succeed(copy_spec(source, destination, **options))

    async def succeed(self, spec: TransferSpec) -> Outcome:
        """A transfer that succeeds."""
        state, outcome, _ = await self.end(await self.start(spec))
        assert state is TransferState.SUCCEEDED, outcome.failure and outcome.failure.to_json()
        return outcome

    async def fail(self, spec: TransferSpec) -> Error:
        """A transfer that fails."""
        state, outcome, _ = await self.end(await self.start(spec))
        assert state is TransferState.FAILED
        assert outcome.failure
        return outcome.failure

    async def leases(self) -> set[str]:
        """The digests that are held by leases, or images."""
        return await self.metadata.read(lambda session: session.held_digests(0))


def push_spec(
    image: str,
    reference: str = "",
    *,
    credentials: Any = None,
    all_tags: bool = False,
    include_referrers: bool = False,
    **options: Any,
) -> TransferSpec:
    """A push; `options` are those of TransferSpec."""
    endpoint = RegistryEndpoint(reference or image, credentials, all_tags, include_referrers)
    return TransferSpec(StoreEndpoint(image=image), endpoint, **options)


def copy_spec(
    source: str,
    destination: str,
    *,
    credentials: tuple[Any, Any] = (None, None),
    all_tags: bool = False,
    include_referrers: bool = False,
    all_platforms: bool = True,
    **options: Any,
) -> TransferSpec:
    """A copy, of all platforms unless said; `credentials` are those of both sides."""
    read = RegistryEndpoint(source, credentials[0], all_tags, include_referrers)
    written = RegistryEndpoint(destination, credentials[1])
    return TransferSpec(read, written, all_platforms=all_platforms, **options)


@asynccontextmanager
async def pushing(root: Path, client: RegistryConfig | None = None) -> AsyncIterator[Pusher]:
    """A pusher over the stores in `root`; what is there from before is kept."""
    content = LocalContentStore(root / "content")
    metadata = await SqliteMetadataStore.open(root / "metadata.db")
    registry = HttpRegistryClient(client)
    config = TransferConfig(retry=_QUICK, min_watch_interval=0.001, default_watch_interval=0.005)
    manager = TransferManager(
        metadata,
        content,
        registry,
        config,
        pusher=HttpRegistryPusher(registry),
        listing=Lookups(registry),
    )
    await manager.open()
    try:
        yield Pusher(manager, metadata, content)
    finally:
        await manager.close()
        registry.close()
        await metadata.close()

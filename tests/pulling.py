"""Pulls in this process, through a real transfer manager with real stores, for tests."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error
from imgd_server.metadata import SqliteMetadataStore
from imgd_server.oci import Digest
from imgd_server.registry import Credentials, HttpRegistryClient, RegistryConfig
from imgd_server.transfer import (
    Outcome,
    RangesConfig,
    RegistryEndpoint,
    RetryPolicy,
    StoreEndpoint,
    TransferConfig,
    TransferManager,
    TransferSpec,
    TransferState,
    WatchEventKind,
)
from tests.fake_images import FakeImage

__all__ = ["ATTEMPTS", "Puller", "noise", "pulling"]

ATTEMPTS = 3
"""How often a pull tries in a row without a byte gained."""

# Pauses that nobody notices.
_QUICK = RetryPolicy(attempts=ATTEMPTS, first=0.001, ceiling=0.002, longest=5.0)


def noise(size: int, seed: int = 7) -> bytes:
    """Bytes that do not compress, always the same."""
    return random.Random(seed).randbytes(size)


@dataclass
class Puller:
    """A transfer manager with stores of its own."""

    manager: TransferManager
    metadata: SqliteMetadataStore
    content: LocalContentStore

    async def start(
        self, reference: str, credentials: Credentials | None = None, **options: Any
    ) -> str:
        """Starts a pull; `options` are those of TransferSpec. Returns the transfer's uid."""
        source = RegistryEndpoint(reference, credentials)
        return (await self.manager.start(TransferSpec(source, StoreEndpoint(), **options))).uid

    async def end(self, uid: str) -> tuple[TransferState, Outcome]:
        """Waits for a transfer's end."""
        events = [event.kind async for event in self.manager.watch(uid)]
        assert events[-1] == WatchEventKind.FINISHED
        record = await self.manager.get(uid)
        assert record.outcome
        return TransferState[record.state], Outcome.from_json(record.outcome)

    async def pull(self, reference: str, **options: Any) -> Outcome:
        """A pull that succeeds."""
        state, outcome = await self.end(await self.start(reference, **options))
        assert state is TransferState.SUCCEEDED, outcome.failure
        return outcome

    async def fail(self, reference: str, **options: Any) -> Error:
        """A pull that fails."""
        state, outcome = await self.end(await self.start(reference, **options))
        assert state is TransferState.FAILED
        assert outcome.failure
        return outcome.failure

    async def assert_untouched(self) -> None:
        """There is no image and no name, and no blob that is not what its digest says."""
        assert await self.metadata.read(lambda session: session.count_images()) == 0
        assert await self.metadata.read(lambda session: session.repositories("", 10)) == []
        for blob in self.content.blobs():
            assert self.content.verify(blob.digest)

    async def assert_stored(self, outcome: Outcome, image: FakeImage, name: str) -> None:
        """The image is there under its name, with every byte of it."""
        found = await self.metadata.read(lambda session: session.image_by_name(name))
        assert found
        assert found.target.digest == image.digest
        assert found.uid == outcome.image
        for digest, data in image.blobs.items():
            assert self.content.read(Digest.parse(digest), len(data)) == data


@asynccontextmanager
async def pulling(
    root: Path, client: RegistryConfig | None = None, ranges: RangesConfig | None = None
) -> AsyncIterator[Puller]:
    """A puller over the stores in `root`; what is there from before is kept."""
    content = LocalContentStore(root / "content")
    metadata = await SqliteMetadataStore.open(root / "metadata.db")
    registry = HttpRegistryClient(client)
    config = TransferConfig(
        retry=_QUICK,
        min_watch_interval=0.001,
        default_watch_interval=0.005,
        ranges=ranges or RangesConfig(),
    )
    manager = TransferManager(metadata, content, registry, config)
    await manager.open()
    try:
        yield Puller(manager, metadata, content)
    finally:
        await manager.close()
        registry.close()
        await metadata.close()

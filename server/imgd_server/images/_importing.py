"""A root file system's archive on its way in, to become the one layer of an image."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imgd_server.content import ContentStore, Ingest
from imgd_server.images._leases import delete_lease
from imgd_server.images._lookup import new_uid
from imgd_server.images._preparing import lease_for
from imgd_server.metadata import MetadataStore
from imgd_server.oci import Digest
from imgd_server.threads import in_thread

__all__ = ["IncomingLayer", "incoming_layer"]


class IncomingLayer:
    """Bytes that become a blob."""

    def __init__(self, metadata: MetadataStore, key: str, ingest: Ingest) -> None:
        self._metadata, self._key, self._ingest = metadata, key, ingest
        self._hasher = Digest.of(b"").hasher()

    async def write(self, data: bytes) -> None:
        """Appends. Raises DISK_FULL."""

        def write() -> None:
            self._hasher.update(data)
            self._ingest.write(data)

        await in_thread(write)

    async def finish(self) -> Digest:
        """Makes it a blob; returns its digest. Raises DISK_FULL."""
        digest = Digest(f"sha256:{self._hasher.hexdigest()}")
        held = lease_for(self._key, _now(), digests=(digest,))
        await self._metadata.write(lambda session: session.put_lease(held))
        await in_thread(lambda: self._ingest.commit(digest))
        return digest


@asynccontextmanager
async def incoming_layer(
    metadata: MetadataStore, content: ContentStore
) -> AsyncIterator[IncomingLayer]:
    """A layer that is written and used within the block: what is not an image's by its end goes
    with the next collection."""
    key = new_uid().lower()
    lease = lease_for(key, _now())
    # It holds what is unfinished by its own name.
    await metadata.write(lambda session: session.put_lease(lease))
    try:
        ingest = await in_thread(lambda: content.ingest(lease.lease_id, resume=False))
        try:
            yield IncomingLayer(metadata, key, ingest)
        finally:
            await in_thread(ingest.abort)
    finally:
        ending = metadata.write(lambda session: delete_lease(session, lease.lease_id, _now()))
        await asyncio.shield(asyncio.ensure_future(ending))


def _now() -> int:
    return time.time_ns() // 1000

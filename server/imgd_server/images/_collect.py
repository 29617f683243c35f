"""Garbage collection: freeing content that nothing holds, beside everything else that runs.

Whoever relies on a blob holds it first, by a lease or an image, and looks whether it is there
afterwards. A sweep takes blobs away inside the metadata's write transaction, where it looks at the
holds once more: so a hold comes either before, and the blob stays, or after, and the look finds it
gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgd_server.content import BlobInfo, ContentStore, PartialInfo
from imgd_server.images._containers import expire_containers
from imgd_server.images._leases import expire_leases
from imgd_server.metadata import EventRecord, MetadataStore, WriteSession
from imgd_server.oci import Digest, FormatError

__all__ = ["Collection", "collect", "expire"]

# Taking a blob out of sight is a rename, some 20 µs: a batch keeps other writers waiting for a few
# milliseconds.
_BATCH = 128
_EXPIRED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection did, or would do. Times are in microseconds."""

    started: int
    ended: int
    examined_blobs: int
    deleted_blobs: int
    deleted_partials: int
    freed_bytes: int


async def expire(metadata: MetadataStore, clock: Callable[[], int]) -> None:
    """Ends leases whose time is over, and the containers whose heartbeat stays away."""

    def end_some(session: WriteSession) -> int:
        expire_containers(session, clock())
        return expire_leases(session, clock(), _EXPIRED_AT_ONCE)

    while await metadata.write(end_some) == _EXPIRED_AT_ONCE:
        pass


async def collect(
    metadata: MetadataStore, content: ContentStore, clock: Callable[[], int], *, dry_run: bool
) -> Collection:
    """Frees every blob and partial that no image, lease or transfer holds."""
    started = clock()
    if not dry_run:
        await expire(metadata, clock)
    # Listed before the holds are read: what comes later is of no concern.
    blobs = await asyncio.to_thread(lambda: list(content.blobs()))
    partials = await asyncio.to_thread(lambda: list(content.partials()))
    held = await metadata.read(lambda session: session.held_digests(clock()))
    free = [blob for blob in blobs if blob.digest not in held]
    loose = [one for one in partials if one.key not in held]
    if not dry_run:
        free = await _take(metadata, content, clock, free)
        await asyncio.to_thread(content.sweep)
    loose = await _drop(metadata, content, clock, loose, dry_run=dry_run)
    freed = sum(one.size for one in free) + sum(one.size for one in loose)
    report = Collection(
        started,
        clock(),
        len(blobs),
        len(free),
        len(loose),
        freed,
    )
    if not dry_run and (free or loose):
        await metadata.write(lambda session: session.add_event(_event(report)))
    return report


async def _take(
    metadata: MetadataStore,
    content: ContentStore,
    clock: Callable[[], int],
    blobs: Sequence[BlobInfo],
) -> list[BlobInfo]:
    """Takes blobs out of sight, batch by batch, unless somebody holds them by now."""
    taken: list[BlobInfo] = []
    for start in range(0, len(blobs), _BATCH):
        batch = blobs[start : start + _BATCH]

        def take(session: WriteSession) -> list[BlobInfo]:
            still = session.held_among([one.digest for one in batch], clock())  # noqa: B023
            gone = [one for one in batch if one.digest not in still]  # noqa: B023
            session.forget_links([one.digest for one in gone])
            for one in gone:
                content.discard(one.digest)
            return gone

        taken += await metadata.write(take)
    return taken


async def _drop(
    metadata: MetadataStore,
    content: ContentStore,
    clock: Callable[[], int],
    partials: Sequence[PartialInfo],
    *,
    dry_run: bool,
) -> list[PartialInfo]:
    """Drops unfinished content: of a digest that nobody holds, or of an upload whose lease, which
    has the key's name, is over."""
    dropped = []
    for partial in partials:

        def drop(session: WriteSession, partial: PartialInfo = partial) -> bool:
            now = clock()
            lease = session.lease(partial.key)
            if (lease and lease.expires > now) or (
                _is_digest(partial.key) and session.held_among([partial.key], now)
            ):
                return False
            return dry_run or content.drop_partial(partial.key) > 0

        if await metadata.write(drop):
            dropped.append(partial)
    return dropped


def _is_digest(key: str) -> bool:
    try:
        Digest.parse(key)
    except FormatError:
        return False
    return True


def _event(report: Collection) -> EventRecord:
    facts = {
        "deleted_blobs": str(report.deleted_blobs),
        "deleted_partials": str(report.deleted_partials),
        "freed_bytes": str(report.freed_bytes),
    }
    return EventRecord("COLLECTION", "collect", "", report.ended, facts)

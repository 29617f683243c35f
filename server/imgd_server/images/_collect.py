"""Garbage collection: freeing content that nothing holds, beside everything else that runs.

Whoever relies on a blob holds it first, by a lease or an image, and looks whether it is there
afterwards. A sweep takes blobs away inside the metadata's write transaction, where it looks at the
holds once more: so a hold comes either before, and the blob stays, or after, and the look finds it
gone. The transaction has its commit to itself: a release that it saw can't be undone by a crash.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imgd_server.content import BlobInfo, ContentStore, PartialInfo
from imgd_server.errors import Error, Reason
from imgd_server.images._containers import expire_containers
from imgd_server.images._indexes import LayerIndexes
from imgd_server.images._leases import expire_leases
from imgd_server.images._snapshots import collect_snapshots
from imgd_server.metadata import EventRecord, MetadataStore, ReadSession, WriteSession
from imgd_server.oci import Digest, FormatError
from imgd_server.rootfs import SnapshotStore

__all__ = ["Collection", "collect", "expire", "free_partials", "listed", "sweep_content"]

T = TypeVar("T")

# Taking a blob out of sight is a rename, some 20 µs: a batch keeps other writers waiting for a few
# milliseconds.
_BATCH = 128
# Marks of what never came, at one collection; each pull that fails leaves as many as it has blobs.
_MAX_FORGOTTEN = 10_000
_EXPIRED_AT_ONCE = 500
# A thread can't be stopped: it does so much at once (a tenth of a second) of what may take long, so
# that a stop of the daemon waits for no more.
_LISTED_AT_ONCE, _SWEPT_AT_ONCE = 5000, 500


@dataclass(frozen=True, slots=True)
class Collection:
    """What a collection did, or would do. Times are in microseconds."""

    started: int
    ended: int
    examined_blobs: int
    deleted_blobs: int
    deleted_partials: int
    freed_bytes: int
    deleted_snapshots: int = 0


async def expire(metadata: MetadataStore, clock: Callable[[], int]) -> None:
    """Ends leases whose time is over, and the containers whose heartbeat stays away."""

    def end_some(session: WriteSession) -> int:
        expire_containers(session, clock())
        return expire_leases(session, clock(), _EXPIRED_AT_ONCE)

    while await metadata.write(end_some) == _EXPIRED_AT_ONCE:
        pass


async def listed(found: Iterator[T]) -> list[T]:
    """All that a store lists, read in a thread."""
    everything: list[T] = []
    while some := await asyncio.to_thread(lambda: [*itertools.islice(found, _LISTED_AT_ONCE)]):
        everything += some
    return everything


async def collect(
    metadata: MetadataStore,
    content: ContentStore,
    clock: Callable[[], int],
    *,
    dry_run: bool,
    snapshots: Sequence[SnapshotStore] = (),
    indexes: LayerIndexes | None = None,
) -> Collection:
    """Frees every blob, partial and snapshot that no image, lease or transfer holds, and the
    indexes of layers that are gone.

    What has expired ends first. With `dry_run` it changes nothing, and tells what it would free; an
    image that goes with an expired hold is not in that.
    """
    started = clock()
    try:
        if not dry_run:
            await expire(metadata, clock)
    except Error as error:
        # What is over holds nothing, recorded or not; and a full disk is to get emptier here.
        if error.reason is not Reason.DISK_FULL:
            raise
    # Listed before the holds are read: what comes later is of no concern.
    blobs = await listed(content.blobs())
    partials = await listed(content.partials())
    held = await metadata.read(lambda session: session.held_digests(clock()))
    free = await asyncio.to_thread(lambda: [blob for blob in blobs if blob.digest not in held])
    loose = await metadata.read(lambda session: free_partials(session, content, partials, clock()))
    if not dry_run:
        free = await _take(metadata, content, clock, free)
        loose = await _drop(metadata, content, clock, loose)
        await _forget_marks(metadata, content, clock)
        await sweep_content(content)
    indexed = 0
    if indexes is not None:
        gone = {one.digest for one in free}
        indexed = await asyncio.to_thread(indexes.collect, content.find, gone, dry_run=dry_run)
    unpacked = [
        await collect_snapshots(metadata, store, clock, dry_run=dry_run) for store in snapshots
    ]
    hidden, unpacked_bytes = sum(count for count, _ in unpacked), sum(size for _, size in unpacked)
    report = Collection(
        started,
        clock(),
        len(blobs),
        len(free),
        len(loose),
        sum(one.size for one in free) + sum(one.size for one in loose) + unpacked_bytes + indexed,
        hidden,
    )
    if not dry_run and (free or loose or hidden):
        await metadata.write(lambda session: session.add_event(_event(report)))
    return report


async def sweep_content(content: ContentStore) -> None:
    """Frees the bytes of what was discarded, also by a daemon that was killed then; in steps."""
    while await asyncio.to_thread(content.sweep, _SWEPT_AT_ONCE):
        pass


async def _take(
    metadata: MetadataStore,
    content: ContentStore,
    clock: Callable[[], int],
    blobs: Sequence[BlobInfo],
) -> list[BlobInfo]:
    """Takes blobs out of sight, batch by batch, unless somebody holds them by now."""
    taken: list[BlobInfo] = []
    linked: list[BlobInfo] = []

    def take(session: WriteSession, batch: Sequence[BlobInfo]) -> list[BlobInfo]:
        held = session.held_among([one.digest for one in batch], clock())
        free = [one for one in batch if one.digest not in held]
        # A blob goes only when it is durable that no repository shows it: a crash between the two
        # leaves a blob too many, never a link to nothing.
        shown = session.forget_links([one.digest for one in free])
        gone = [one.digest for one in free if one.digest not in shown]
        for digest in gone:
            content.discard(digest)
        session.free_private(gone)
        linked.extend(one for one in free if one.digest in shown)
        return [one for one in free if one.digest not in shown]

    async def take_all(blobs: Sequence[BlobInfo]) -> None:
        for batch in _batches(blobs):
            taken.extend(await metadata.write_alone(lambda session: take(session, batch)))  # noqa: B023

    await take_all(blobs)
    again = {one.digest: one for one in linked}
    await take_all([*again.values()])
    return taken


async def _drop(
    metadata: MetadataStore,
    content: ContentStore,
    clock: Callable[[], int],
    partials: Sequence[PartialInfo],
) -> list[PartialInfo]:
    """Drops unfinished content that nobody holds by now."""
    dropped: list[PartialInfo] = []

    def drop(session: WriteSession, batch: Sequence[PartialInfo]) -> list[PartialInfo]:
        loose = free_partials(session, content, batch, clock())
        return [one for one in loose if content.drop_partial(one.key)]

    for batch in _batches(partials):
        dropped += await metadata.write_alone(lambda session: drop(session, batch))  # noqa: B023
    return dropped


async def _forget_marks(
    metadata: MetadataStore, content: ContentStore, clock: Callable[[], int]
) -> None:
    """Forgets that content is private which never came, or only in parts that are gone by now."""

    def forget(session: WriteSession, batch: Sequence[str]) -> None:
        held = session.held_among(batch, clock())
        session.free_private(
            [one for one in batch if one not in held and not _is_stored(content, one)]
        )

    found = await metadata.read(
        lambda session: session.loose_private_content(clock(), _MAX_FORGOTTEN)
    )
    for batch in _batches(found):
        await metadata.write_alone(lambda session: forget(session, batch))  # noqa: B023


def free_partials(
    session: ReadSession, content: ContentStore, partials: Sequence[PartialInfo], now: int
) -> list[PartialInfo]:
    """Unfinished content that may go: of a digest that nobody holds, or whose blob has come another
    way; of an upload whose lease, which has the key's name, is over."""
    held = session.held_among([one.key for one in partials], now)

    def is_wanted(key: str) -> bool:
        if key in held:
            return not _is_stored(content, key)
        lease = session.lease(key)
        return lease is not None and lease.expires > now

    return [one for one in partials if not is_wanted(one.key)]


def _is_stored(content: ContentStore, key: str) -> bool:
    try:
        return content.find(Digest.parse(key)) is not None
    except FormatError:
        return False


def _batches(things: Sequence[T]) -> Iterator[Sequence[T]]:
    return (things[start : start + _BATCH] for start in range(0, len(things), _BATCH))


def _event(report: Collection) -> EventRecord:
    facts = {
        "deleted_blobs": str(report.deleted_blobs),
        "deleted_partials": str(report.deleted_partials),
        "deleted_snapshots": str(report.deleted_snapshots),
        "freed_bytes": str(report.freed_bytes),
    }
    return EventRecord("COLLECTION", "collect", "", report.ended, facts)

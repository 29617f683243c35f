"""Garbage collection: freeing content that nothing holds, beside everything else that runs.

Whoever relies on a blob holds it first, by a lease or an image, and looks whether it is there
afterwards. A sweep takes blobs away inside the metadata's write transaction, where it looks at the
holds once more: so a hold comes either before, and the blob stays, or after, and the look finds it
gone. The transaction has its commit to itself: a release that it saw can't be undone by a crash.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from imgd_server.content import ContentStore, PartialInfo
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

# What is looked at, or removed, while other writers wait: some milliseconds.
_BATCH = 128
# Other writers wait while blobs are taken out of sight, each 15 to 100 µs: so many at once that it
# takes about so long, in seconds.
_LEAST, _MOST, _HOLD = 16, 1024, 0.015
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
    blobs = await listed(content.digests())
    partials = await listed(content.partials())
    held = await metadata.read(lambda session: session.held_digests(clock()))
    free = await asyncio.to_thread(lambda: [blob for blob in blobs if blob not in held])
    loose = await metadata.read(lambda session: free_partials(session, content, partials, clock()))
    if dry_run:
        deleted, freed = len(free), sum(await listed(_size(content, one) for one in free))
    else:
        deleted, freed = await _take(metadata, content, clock, free)
        loose = await _drop(metadata, content, clock, loose)
        await _forget_marks(metadata, content, clock)
        await sweep_content(content)
    indexed = 0
    if indexes is not None:
        gone = set(free) if dry_run else ()
        indexed = await asyncio.to_thread(indexes.collect, content.find, gone, dry_run=dry_run)
    unpacked = [
        await collect_snapshots(metadata, store, clock, dry_run=dry_run) for store in snapshots
    ]
    hidden, unpacked_bytes = sum(count for count, _ in unpacked), sum(size for _, size in unpacked)
    report = Collection(
        started,
        clock(),
        len(blobs),
        deleted,
        len(loose),
        freed + sum(one.size for one in loose) + unpacked_bytes + indexed,
        hidden,
    )
    if not dry_run and (deleted or loose or hidden):
        await metadata.write(lambda session: session.add_event(_event(report)))
    return report


async def sweep_content(content: ContentStore) -> None:
    """Frees the bytes of what was discarded, also by a daemon that was killed then; in steps."""
    while await asyncio.to_thread(content.sweep, _SWEPT_AT_ONCE):
        pass


@dataclass(frozen=True, slots=True)
class _Batch:
    """What came of a batch of so many: blobs out of sight, their bytes, and those that were shown
    until now; and for how many seconds others had to wait for the writer."""

    count: int
    taken: int
    freed: int
    shown: list[Digest]
    seconds: float


async def _take(
    metadata: MetadataStore,
    content: ContentStore,
    clock: Callable[[], int],
    blobs: Sequence[Digest],
) -> tuple[int, int]:
    """Takes blobs out of sight, batch by batch, unless somebody holds them by now; returns how
    many, and their bytes."""

    def take(session: WriteSession, batch: Sequence[Digest]) -> _Batch:
        began = time.monotonic()
        held = session.held_among(batch, clock())
        free = [one for one in batch if one not in held]
        # A blob goes only when it is durable that no repository shows it: a crash between the two
        # leaves a blob too many, never a link to nothing.
        linked = session.forget_links(free)
        gone = [one for one in free if one not in linked]
        freed = content.discard_all(gone)
        session.free_private(gone)
        shown = [one for one in free if one in linked]
        return _Batch(len(batch), len(gone), freed, shown, time.monotonic() - began)

    async def take_all(blobs: Sequence[Digest]) -> list[_Batch]:
        done: list[_Batch] = []
        ahead: list[asyncio.Task[_Batch]] = []
        start, most = 0, _BATCH
        try:
            while ahead or start < len(blobs):
                # The next one waits for the writer already, for the event loop may be busy.
                while len(ahead) < 2 and (batch := blobs[start : start + most]):
                    work = functools.partial(take, batch=batch)
                    ahead.append(asyncio.create_task(metadata.write_alone(work)))
                    start += len(batch)
                one = await ahead[0]
                del ahead[0]
                done.append(one)
                fitting = int(one.count * _HOLD / max(one.seconds, 1e-6))
                most = max(_LEAST, min(fitting, 2 * most, _MOST))
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)
        return done

    first = await take_all(blobs)
    done = first + await take_all([digest for one in first for digest in one.shown])
    return sum(one.taken for one in done), sum(one.freed for one in done)


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


def _size(content: ContentStore, digest: Digest) -> int:
    found = content.find(digest)
    return found.size if found else 0


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

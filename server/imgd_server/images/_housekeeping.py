"""What a daemon does by itself: ending what has expired, collecting, and making room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images._collect import Collection, collect, expire, sweep_content
from imgd_server.images._holds import delete_image, image_event
from imgd_server.images._indexes import LayerIndexes
from imgd_server.images._snapshots import sweep_snapshots
from imgd_server.images._usage import bytes_of
from imgd_server.metadata import EventFeed, ImageRecord, MetadataStore, ReadSession, WriteSession
from imgd_server.rootfs import SnapshotStore
from imgd_server.threads import in_thread

__all__ = ["Housekeeper", "HousekeepingConfig", "Water"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# Images are taken in steps of so many, with a look at the need after each.
_EVICTED_AT_ONCE = 20
# Leases and heartbeats end with this precision; seconds. A busy store changes all the time.
_PRECISION = 1.0
# After which events there may be something to collect.
_FREEING = {("IMAGE", "delete"), ("LEASE", "delete"), ("TRANSFER", "delete")}


@dataclass(frozen=True, slots=True)
class Water:
    """A mark of how full the store may be: a share of its file system (0 to 1), or bytes of all
    that is stored (blobs, unfinished content, unpacked layers); neither means no mark."""

    share: float = 0.0
    size: int = 0

    def excess(self, total: int, free: int, stored: int) -> int:
        """Bytes above the mark; 0 or less when there are none, or no mark."""
        if self.share:
            return total - free - int(total * self.share)
        return stored - self.size if self.size else 0


@dataclass(frozen=True, slots=True)
class HousekeepingConfig:
    """Times in seconds."""

    # Records end, too full a disk is noticed, and what was unpacked gets durable, with about this
    # precision.
    interval: float = 15.0
    # A removal is seldom alone: what comes within this time is collected together.
    collect_delay: float = 5.0
    collect_interval: float = 3600.0
    event_retention: float = 7 * 86400.0
    event_limit: int = 100_000
    high: Water = Water()
    low: Water = Water()
    # An image that was used so lately is not taken, however full the disk.
    grace: float = 600.0


class Housekeeper:
    """Tasks of the daemon. `clock` tells microseconds since the epoch. `snapshots` are what layers
    are unpacked to, and what they were unpacked to while the daemon had another snapshotter."""

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        clock: Callable[[], int],
        config: HousekeepingConfig | None = None,
        snapshots: Sequence[SnapshotStore] = (),
        indexes: LayerIndexes | None = None,
        on_release: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Prepares; `start` begins. `on_release` is called after leases ended."""
        self._metadata, self._content, self._clock = metadata, content, clock
        self.snapshots, self.indexes = snapshots, indexes
        self._on_release = on_release
        self.config = config or HousekeepingConfig()
        self._collecting = asyncio.Lock()
        # Collections that have not begun yet: one of each kind serves all who wait.
        self._coming: dict[bool, asyncio.Task[Collection]] = {}
        self._removed = asyncio.Event()
        self._feed = EventFeed(metadata)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False
        self._is_full = False

    def start(self) -> None:
        """Begins to work, until `close`."""
        for work in (self._tend, self._keep_time, self._follow, self._collect_removed):
            self._own(work())
        # What the last daemon took out of sight, and was killed before it was freed.
        self._own(self._safely(sweep_content(self._content)))
        for store in self.snapshots:
            # What the last daemon left half unpacked, or half removed.
            self._own(self._safely(sweep_snapshots(store)))

    async def close(self) -> None:
        """Stops, when the step under way is done: a fraction of a second."""
        self._closed = True
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._feed.close()

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def collect(self, *, dry_run: bool = False) -> Collection:
        """Collects garbage; one collection at a time, which a caller who leaves does not stop.
        Callers who come while one is under way share the next.

        Raises SHUTTING_DOWN.
        """
        work: asyncio.Task[Collection] | None = None
        if not self._closed:
            work = self._coming.get(dry_run)
            if work is None:
                work = self._coming[dry_run] = self._own(self._collect(dry_run=dry_run))
            await asyncio.wait([work])
        if work is None or work.cancelled():
            raise Error(
                Reason.SHUTTING_DOWN, "the daemon is shutting down; collect again", retry_after=1.0
            )
        return work.result()

    async def _collect(self, *, dry_run: bool) -> Collection:
        async with self._collecting:
            del self._coming[dry_run]
            report = await collect(
                self._metadata,
                self._content,
                self._clock,
                dry_run=dry_run,
                snapshots=self.snapshots,
                indexes=self.indexes,
            )
        _log.info(
            "collected",
            dry_run=dry_run,
            deleted_blobs=report.deleted_blobs,
            deleted_partials=report.deleted_partials,
            deleted_snapshots=report.deleted_snapshots,
            freed_bytes=report.freed_bytes,
        )
        return report

    async def expire(self) -> None:
        """Ends what is over: leases, heartbeats, records, answers, history."""
        await expire(self._metadata, self._clock)
        config = self.config

        def forget(session: WriteSession) -> None:
            now = self._clock()
            session.delete_expired_transfers(now)
            session.delete_expired_answers(now)
            session.delete_events(now - int(config.event_retention * 1e6), config.event_limit)

        await self._metadata.write(forget)

    async def make_room(self) -> int:
        """Takes images, the one unused for longest first, when there is more than the high mark
        permits, until there is no more than the low one does; returns how many.

        Pinned, leased and used images stay, and those that were used a moment ago.
        """
        if await self._excess(self.config.high) <= 0:
            self._is_full = False
            return 0
        if (
            self._is_full
            and not await self._metadata.read(self._unused)
            and not await self._drop_leftovers()
        ):
            return 0  # it was said already
        # What nobody holds goes before what somebody may want, and what transfers that failed have
        # left before images.
        await self.collect()
        if await self._excess(self.config.low) > 0 and await self._drop_leftovers():
            await self.collect()
        taken = 0
        while (excess := await self._excess(self.config.low)) > 0:
            evicted = await self._metadata.write(lambda session: self._evict(session, excess))
            if not evicted:
                break
            taken += len(evicted)
            for record in evicted:
                _log.info("image evicted", image=record.uid, names=[n.name for n in record.names])
            await self.collect()
        self._is_full = excess > 0
        if self._is_full:
            _log.warning("the disk is too full, and no image can be taken", excess=excess)
        return taken

    async def _drop_leftovers(self) -> int:
        return await self._metadata.write(lambda session: session.delete_transfer_leases())

    async def _excess(self, mark: Water) -> int:
        total, free = await asyncio.to_thread(self._content.room)
        # Counting takes a while in a large store.
        stored = await bytes_of(self._content, self.snapshots, self.indexes) if mark.size else 0
        return mark.excess(total, free, stored)

    def _unused(self, session: ReadSession) -> list[ImageRecord]:
        now = self._clock()
        return session.unused_images(now - int(self.config.grace * 1e6), now, _EVICTED_AT_ONCE)

    def _evict(self, session: WriteSession, needed: int) -> list[ImageRecord]:
        now = self._clock()
        freed, taken = 0, []
        for record in self._unused(session):
            if freed >= needed:
                break
            for name in record.names:
                session.add_event(image_event("untag", record, now, name=name.name))
            session.add_event(image_event("evict", record, now))
            # Its unpacked layers go too; what others need of them is counted again afterwards.
            freed += delete_image(session, record, now).freed_bytes + (record.unpacked_size or 0)
            taken.append(record)
        return taken

    # --- the daemon's tasks

    async def _tend(self) -> None:
        # Not at once: a daemon that has just come up has callers who waited for it.
        due = self.config.interval
        look = 0.0
        while True:
            await self._safely(self.expire())
            for store in self.snapshots:
                await self._safely(in_thread(store.sync))
            # Where a look takes long it comes seldom, as below.
            if (began := time.monotonic()) >= look:
                await self._safely(self.make_room())
                look = began + 10 * (time.monotonic() - began)
            if due <= 0:
                due = self.config.collect_interval
                await self._safely(self.collect())
            await asyncio.sleep(self.config.interval)
            due -= self.config.interval

    async def _keep_time(self) -> None:
        """Ends leases and containers when their time is over."""
        while True:
            change = self._metadata.next_change()
            due = await self._safely(self._expire_due())
            if due is None:
                await asyncio.sleep(self.config.interval)
                continue
            # Not wait_for: Python 3.11's loses a cancellation that comes together with the change.
            with suppress(TimeoutError):
                async with asyncio.timeout(due):
                    await change
            await asyncio.sleep(min(_PRECISION, self.config.interval))

    async def _expire_due(self) -> float:
        """Ends what is over, and tells in how many seconds more may be."""
        due = await self._metadata.read(lambda session: session.next_expiry())
        if due is not None and due <= self._clock():
            await expire(self._metadata, self._clock)
            due = await self._metadata.read(lambda session: session.next_expiry())
        wait = self.config.interval if due is None else (due - self._clock()) / 1e6
        return min(max(wait, 0.0), self.config.interval)

    async def _follow(self) -> None:
        """Notices that an image or a lease went, whoever removed it."""
        while True:
            await self._safely(self._follow_on())
            # Something failed: the history may have been cut behind a reader that was too slow.
            self._removed.set()
            await asyncio.sleep(self.config.interval)

    async def _follow_on(self) -> None:
        cursor = (await self._metadata.read(lambda session: session.event_bounds()))[1]
        while True:
            found = await self._feed.after(cursor)
            cursor = found[-1].cursor
            if any((one.kind, one.action) in _FREEING for one in found):
                self._removed.set()
            ended = any((one.kind, one.action) == ("LEASE", "delete") for one in found)
            if ended and self._on_release is not None:
                await self._on_release()

    async def _collect_removed(self) -> None:
        took = 0.0
        while True:
            await self._removed.wait()
            # Where it takes long, in a large store, it comes seldom: a tenth of the time at most.
            await asyncio.sleep(max(self.config.collect_delay, 9 * took))
            self._removed.clear()
            began = time.monotonic()
            await self._safely(self.collect())
            took = time.monotonic() - began

    async def _safely(self, work: Awaitable[T]) -> T | None:
        """One failure must not end the house-keeping: None then."""
        try:
            return await work
        except Error as error:
            _log.error("house-keeping failed; it goes on", error=error.message)
        except Exception:  # noqa: BLE001 - the task has nobody to tell
            _log.exception("house-keeping failed on a defect; it goes on")
        return None

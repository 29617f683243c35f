"""An image's layers into snapshots."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from imgd_server.content import ContentStore, Reader, StartedOverError
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs._mount import is_privileged
from imgd_server.rootfs._pool import Parent, Worker
from imgd_server.rootfs._protocol import (
    AppliedLayer,
    ApplyOptions,
    Cancellation,
    LayerSource,
    LayerStats,
    Limits,
    Whiteouts,
    no_room,
)
from imgd_server.rootfs._settle import settle
from imgd_server.rootfs._slots import Slot, Slots
from imgd_server.rootfs._store import Draft, Snapshot, SnapshotStore, chain_ids

__all__ = ["Layer", "Unpacker", "stored_layer"]

Progress = Callable[[int, int, bool], None]

# Layers in hand: being unpacked, or waiting for their bytes or their turn. Two images of the most
# layers; a thread each.
_JOBS = 256
# Layers that are unpacked while they come. Each has a process, of 5 MB or so, also while it waits
# for its bytes; one pull moves as many blobs at once by default. What comes beyond is unpacked when
# it is whole, so a registry that stands still keeps nobody from working.
_EARLY = 6
# Bytes worth waking a worker for, once it has had to wait.
_BATCH = 1 << 20
# An offset that no layer has: to wait for all of it.
_ALL = sys.maxsize


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer to unpack.

    Attributes:
        diff_id: What it must unpack to.
        open: Its bytes: a stored blob's, or those of an ingest under way, or to come. Returns at
            once; what is not there yet is waited for by `LayerSource.wait`.
        size: Of its bytes as stored, as far as known: the largest are begun first, and large ones
            before they are whole.
        digest: Of its blob, for errors to name.
    """

    diff_id: Digest
    open: Callable[[], LayerSource]
    size: int = 0
    digest: str = ""


class _Stored:
    """A stored blob as a `LayerSource`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def fileno(self) -> int:
        return self._reader.fileno()

    def wait(self, offset: int, cancellation: Cancellation) -> int:
        return self._reader.size

    def close(self) -> None:
        self._reader.close()


def stored_layer(content: ContentStore, digest: Digest, diff_id: Digest) -> Layer:
    """A layer that is in the store whole. Raises BLOB_NOT_FOUND."""
    size = content.info(digest).size
    return Layer(diff_id, lambda: _Stored(content.open(digest)), size, digest)


class _Coming:
    """A layer's bytes for a worker that is faster than they come: it has a slot while there is
    something to read, and lets others work while there is not."""

    def __init__(self, source: LayerSource, slot: Slot) -> None:
        self._source, self._slot = source, slot

    def fileno(self) -> int:
        return self._source.fileno()

    def wait(self, offset: int, cancellation: Cancellation) -> int:
        available = self._source.wait(-1, cancellation)
        if available <= offset:
            self._slot.give_back()
            available = self._source.wait(offset + _BATCH, cancellation)
            if available > offset:
                self._slot.take(cancellation)
        return available

    def close(self) -> None:
        self._source.close()


class _Job:
    """A layer that this call unpacks."""

    def __init__(self, draft: Draft, future: Future[AppliedLayer]) -> None:
        self.draft, self.future = draft, future


class _Group:
    """The cancellation of one call's layers: the caller's, or the failure of one of them."""

    def __init__(self, outer: Cancellation) -> None:
        self.failure: BaseException | None = None
        self._outer = outer
        self._lock = threading.Lock()
        self._callbacks: set[Callable[[], None]] = set()

    def fail(self, failure: BaseException) -> None:
        with self._lock:
            self.failure = self.failure or failure
            callbacks, self._callbacks = self._callbacks, set()
        for callback in callbacks:
            callback()

    def check(self) -> None:
        self._outer.check()
        if self.failure:
            raise Error(Reason.CANCELLED, "another layer failed")

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        with self._lock:
            failed = self.failure is not None
            self._callbacks.add(callback)
        if failed:
            callback()
        outer = self._outer.on_cancel(callback)

        def take_back() -> None:
            self._callbacks.discard(callback)
            outer()

        return take_back


class Unpacker:
    """Unpacks images into a store, with some worker processes that all callers share.

    With a store of kind `overlay` each layer becomes a snapshot, and layers are unpacked at once.
    With `copy` the image becomes one snapshot, of its topmost chain ID: its layers are applied in
    order.
    """

    def __init__(
        self,
        store: SnapshotStore,
        *,
        workers: int,
        limits: Limits | None = None,
        early_from: int = 1 << 20,
    ) -> None:
        """Prepares; processes are started when there is work.

        `workers` is the most layers at once. Layers with at least `early_from` stored bytes are
        unpacked while they come; smaller ones are not worth it.
        """
        self.store = store
        self._options = ApplyOptions(limits=limits or Limits(), privileged=is_privileged())
        self._executor = ThreadPoolExecutor(_JOBS, "unpack")
        self._parent = Parent()
        self._slots = Slots(workers)
        self._early = threading.BoundedSemaphore(_EARLY)
        self._early_from = early_from
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []

    def prepare(self) -> None:
        """Starts what makes the first layer begin at once, and returns without waiting for it. For
        whoever knows that there will be layers, and has to wait for them."""
        self._parent.start()

    def unpack(
        self, layers: Sequence[Layer], on_progress: Progress, cancellation: Cancellation
    ) -> list[Snapshot]:
        """Unpacks an image's layers, the lowest first, and returns their snapshots in that order;
        of a `copy` store the only one.

        Snapshots that are there are taken as they are, without opening their layers; those that
        another call is making are waited for. `on_progress(layer, bytes, done)` tells of each
        layer, by its place, the unpacked bytes so far; it is called from several threads, with
        `done` exactly once a layer, in order.

        Raises CANCELLED soon after the cancellation, LAYER_INVALID, LAYER_TOO_LARGE,
        DIGEST_MISMATCH, DISK_FULL, and what the layers' sources raise; the first failure ends the
        others. What was complete with all below it stays, and nothing else does. Durable it is
        after `SnapshotStore.sync`.
        """
        if not layers:
            return []
        try:
            if self.store.kind == "overlay":
                return self._unpack_apart(layers, on_progress, cancellation)
            return [self._unpack_onto(layers, on_progress, cancellation)]
        except OSError as error:
            if (full := no_room(error)) is not None:
                raise full from error
            raise

    @property
    def limits(self) -> Limits:
        """The bounds on each layer."""
        return self._options.limits

    def close(self) -> None:
        """Ends the processes. Calls under way must have ended."""
        self._executor.shutdown()
        for worker in self._workers:
            worker.stop()
        self._parent.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

    # --- overlay: each layer by itself

    def _unpack_apart(
        self, layers: Sequence[Layer], on_progress: Progress, cancellation: Cancellation
    ) -> list[Snapshot]:
        chains = chain_ids([layer.diff_id for layer in layers])
        group = _Group(cancellation)
        jobs: dict[int, _Job] = {}
        snapshots: list[Snapshot] = []

        def claim(place: int) -> None:
            if (draft := self.store.claim(chains[place])) is not None:
                jobs[place] = self._submit(place, layers[place], draft, on_progress, group)

        try:
            # The largest first, so that none is left alone at the end.
            for place in sorted(range(len(layers)), key=lambda place: -layers[place].size):
                claim(place)
            for place, chain_id in enumerate(chains):
                snapshot = None
                while snapshot is None and place not in jobs:
                    # It is there, or somebody's; if theirs comes to nothing, it may be ours.
                    snapshot = self.store.wait(chain_id, group)
                    if snapshot is None:
                        claim(place)
                if snapshot is None:
                    snapshot = self._settle(jobs[place], snapshots, group)
                    del jobs[place]
                on_progress(place, snapshot.stats.unpacked_bytes, True)
                snapshots.append(snapshot)
        except Error as error:
            if group.failure and error.reason is Reason.CANCELLED:
                raise group.failure from None
            raise
        finally:
            if jobs:
                group.fail(Error(Reason.CANCELLED, "cancelled"))
            for job in jobs.values():
                self._give_up(job)
        return snapshots

    def _submit(
        self, place: int, layer: Layer, draft: Draft, on_progress: Progress, group: _Group
    ) -> _Job:
        def fill(directory: int, early: bool) -> AppliedLayer:
            return self._apply(
                place, layer, directory, self._options, on_progress, group, early=early
            )

        def run() -> AppliedLayer:
            try:
                return self._fill(draft, fill)
            except BaseException as error:
                group.fail(error)
                raise

        return _Job(draft, self._executor.submit(run))

    def _settle(self, job: _Job, below: list[Snapshot], group: _Group) -> Snapshot:
        applied = _outcome(job.future, group)
        with _directory(job.draft) as directory:
            settle(directory, [one.path for one in reversed(below)], applied, self._options)
        parent = below[-1].chain_id if below else None
        return self.store.commit(job.draft, parent, applied)

    # --- copy: one tree

    def _unpack_onto(
        self, layers: Sequence[Layer], on_progress: Progress, cancellation: Cancellation
    ) -> Snapshot:
        chain_id = chain_ids([layer.diff_id for layer in layers])[-1]
        while (draft := self.store.claim(chain_id)) is None:
            if (snapshot := self.store.wait(chain_id, cancellation)) is not None:
                for place in range(len(layers)):
                    on_progress(place, 0, True)
                return snapshot
        options = replace(self._options, whiteouts=Whiteouts.APPLY)

        def fill(directory: int, early: bool) -> AppliedLayer:
            total = LayerStats()
            for place, layer in enumerate(layers):
                applied = self._apply(
                    place, layer, directory, options, on_progress, cancellation, early=early
                )
                if place not in told:
                    told.add(place)
                    on_progress(place, applied.stats.unpacked_bytes, True)
                total = total + applied.stats
            return AppliedLayer(layers[-1].diff_id, total)

        told: set[int] = set()
        job = _Job(draft, self._executor.submit(self._fill, draft, fill))
        try:
            return self.store.commit(draft, None, _outcome(job.future, cancellation))
        except BaseException:
            self._give_up(job)
            raise

    # ---

    def _give_up(self, job: _Job) -> None:
        if not job.future.cancel():
            job.future.exception()  # waits: nothing may be writing into the draft
        self.store.discard(job.draft)

    def _fill(self, draft: Draft, fill: Callable[[int, bool], AppliedLayer]) -> AppliedLayer:
        """What `fill` makes of a draft's directory while bytes come; if some of them prove to be
        worth nothing, what it makes of stored ones."""
        try:
            with _directory(draft) as directory:
                return fill(directory, True)
        except StartedOverError:
            self.store.clear(draft)
        with _directory(draft) as directory:
            return fill(directory, False)

    def _apply(
        self,
        place: int,
        layer: Layer,
        directory: int,
        options: ApplyOptions,
        on_progress: Progress,
        cancellation: Cancellation,
        *,
        early: bool,
    ) -> AppliedLayer:
        """Applies a layer whose bytes and diff ID are verified when this returns. Raises
        StartedOverError where some of what was read while it came is not of the layer."""
        cancellation.check()
        source = layer.open()
        try:
            early = early and self._may_begin(layer, source, cancellation)
        except BaseException:
            source.close()
            raise
        try:
            if not early:
                source.wait(_ALL, cancellation)
            with self._slots.take(cancellation) as slot, self._worker() as worker:
                applied = worker.apply(
                    _Coming(source, slot) if early else source,
                    directory,
                    options,
                    layer.diff_id,
                    lambda unpacked: on_progress(place, unpacked, False),
                    cancellation,
                )
            source.wait(_ALL, cancellation)
            return applied
        except (Error, RuntimeError) as error:
            # Of bytes that nobody has verified nothing can be said yet: they may prove to be wrong.
            source.wait(_ALL, cancellation)
            if isinstance(error, Error):
                error.digest = error.digest or layer.digest
            raise
        finally:
            if early:
                self._early.release()
            source.close()

    def _may_begin(self, layer: Layer, source: LayerSource, cancellation: Cancellation) -> bool:
        """Whether a layer is to be unpacked before it is whole; waits for its first byte."""
        if layer.size < self._early_from:
            return False
        if source.wait(0, cancellation) >= layer.size:
            return False
        return self._early.acquire(blocking=False)

    @contextmanager
    def _worker(self) -> Iterator[Worker]:
        """A worker for as long as it is needed, that nobody else uses."""
        try:
            worker = self._idle.pop()
        except IndexError:
            worker = Worker(self._parent)
            self._workers.append(worker)
        try:
            yield worker
        finally:
            self._idle.append(worker)


def _outcome(future: Future[AppliedLayer], cancellation: Cancellation) -> AppliedLayer:
    """What came of a layer; of one whose turn has not come, CANCELLED without waiting for it."""

    def drop() -> None:
        future.cancel()

    take_back = cancellation.on_cancel(drop)
    try:
        return future.result()
    except CancelledError:
        cancellation.check()
        raise
    finally:
        take_back()


@contextmanager
def _directory(draft: Draft) -> Iterator[int]:
    descriptor = draft.open()
    try:
        yield descriptor
    finally:
        os.close(descriptor)

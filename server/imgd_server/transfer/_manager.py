"""Transfers as the daemon runs them: started, watched, cancelled, interrupted, resumed, recorded.

A run is a task of the daemon, never of a call. Its record is written when it is accepted and when
it ends; what is in between is in memory, and is lost with the process on purpose: the bytes are on
disk, and a resumed run finds them there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import structlog

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Origin, Reason, from_format
from imgd_server.images import new_uid
from imgd_server.metadata import MetadataStore, TransferRecord, WriteSession
from imgd_server.oci import Descriptor, FormatError, Platform, Reference
from imgd_server.registry import Credentials, RegistryClient
from imgd_server.transfer import _commit
from imgd_server.transfer._fetch import Fetcher, RetryPolicy
from imgd_server.transfer._flight import FlightTable
from imgd_server.transfer._outcome import Outcome, TransferState
from imgd_server.transfer._progress import Node, Progress, now_us
from imgd_server.transfer._pull import Pull
from imgd_server.transfer._spec import PullPolicy, TransferSpec

__all__ = ["TransferConfig", "TransferManager", "TransferView", "WatchEvent", "WatchEventKind"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# 21 bits of starts and 32 of changes: sequence numbers stay below 2^53, which JavaScript can count.
_EPOCH_SHIFT = 32


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """Bounds and times, in seconds. GetCapabilities shows those that clients can meet."""

    max_running: int = 64
    # One connection rarely fills a line, and registries limit how many a client may open.
    max_concurrent_blobs: int = 6
    # Threads that move bytes, over all transfers.
    max_threads: int = 32
    retention: float = 24 * 3600.0
    # Partial content stays so long for a resume.
    partial_lifetime: float = 7 * 24 * 3600.0
    min_watch_interval: float = 0.02
    default_watch_interval: float = 0.1
    heartbeat: float = 15.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)


@dataclass(frozen=True, slots=True)
class TransferView:
    """A transfer as a watcher sees it now. Valid until the watcher next waits."""

    record: TransferRecord
    progress: Progress
    leader: str
    followers: int


class WatchEventKind:
    """What a watch event is."""

    SNAPSHOT, UPDATE, HEARTBEAT, FINISHED = range(4)


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch. `nodes` are those that the event is about."""

    kind: int
    sequence: int
    view: TransferView
    nodes: Sequence[Node] = ()


# No event holds more nodes than this, so that none exceeds 1 MiB.
_NODES_PER_EVENT = 1000


class _Run:
    """One run of a transfer."""

    def __init__(self, record: TransferRecord, spec: TransferSpec, progress: Progress) -> None:
        self.record = record
        self.spec = spec
        self.progress = progress
        self.ended = asyncio.Event()
        self.task: asyncio.Task[None] | None = None
        self.stopping = False

    @property
    def share_key(self) -> tuple[Any, ...]:
        credentials = self.spec.source.credentials
        return (
            self.spec.source.reference,
            self.spec.platforms,
            self.spec.all_platforms,
            credentials.scope if credentials else "",
        )


class TransferManager:
    """Runs transfers. Its methods belong to the event loop that it was opened in."""

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        registry: RegistryClient,
        config: TransferConfig | None = None,
    ) -> None:
        self._metadata = metadata
        self.config = config or TransferConfig()
        self._threads = ThreadPoolExecutor(self.config.max_threads, "transfer")
        self._fetcher = Fetcher(registry, content, self._threads, self.config.retry)
        self._flights = FlightTable()
        self._runs: dict[str, _Run] = {}
        self._sharing: dict[tuple[Any, ...], list[_Run]] = {}
        self._slots = asyncio.Semaphore(self.config.max_running)
        self._stopping = asyncio.Event()
        self._epoch = 0

    async def open(self) -> None:
        """Takes up the records of the last daemon: what ran then is interrupted now."""
        self._epoch = await self._metadata.write(lambda session: session.next_epoch())

        def interrupt(session: WriteSession) -> int:
            count = 0
            now = now_us()
            session.delete_expired_transfers(now)
            states = [TransferState.PENDING.name, TransferState.RUNNING.name]
            while page := session.list_transfers(states, None, 1000):
                for listed in page:
                    record = session.transfer(listed.uid)
                    assert record is not None
                    session.put_transfer(self._interrupted(record, now))
                    count += 1
            return count

        if count := await self._metadata.write(interrupt):
            _log.info("transfers interrupted by the last stop", count=count)

    async def close(self) -> None:
        """Interrupts what runs, resumably, ends every watch, and lets go of all files."""
        self._stopping.set()
        runs = list(self._runs.values())
        for run in runs:
            run.stopping = True
            if run.task:
                run.task.cancel()
        if runs:
            await asyncio.wait([run.task for run in runs if run.task])
        await self._flights.drain()
        await asyncio.to_thread(self._threads.shutdown)

    # --- starting and steering

    async def start(self, spec: TransferSpec, request_id: str = "") -> TransferRecord:
        """Accepts a transfer and returns its record at once.

        Raises REFERENCE_INVALID, PLATFORM_INVALID, REQUEST_ID_REUSED, SHUTTING_DOWN.
        """
        self._check_open()
        spec = _validated(spec)
        record = TransferRecord(
            uid=new_uid(),
            request_id=request_id,
            spec=spec.to_json(),
            state=TransferState.PENDING.name,
            attempt=1,
            created=now_us(),
        )

        def accept(session: WriteSession) -> TransferRecord:
            known = session.transfer_by_request(request_id) if request_id else None
            if known is None:
                session.put_transfer(record)
                return record
            if known.spec != record.spec:
                raise Error(
                    Reason.REQUEST_ID_REUSED,
                    f"request_id {request_id} was used before with another request",
                )
            return known

        accepted = await self._metadata.write(accept)
        if accepted is record:
            self._launch(record, spec)
        return accepted

    async def resume(self, uid: str, credentials: Credentials | None) -> TransferRecord:
        """Runs an interrupted, failed or cancelled transfer again. Raises TRANSFER_STATE."""
        self._check_open()

        def take(session: WriteSession) -> TransferRecord:
            record = session.transfer(uid)
            if record is None:
                raise _unknown(uid)
            state = TransferState[record.state]
            if not state.ended or state is TransferState.SUCCEEDED or uid in self._runs:
                raise Error(
                    Reason.TRANSFER_STATE,
                    f"transfers/{uid} is {record.state}: only one that was interrupted, failed or "
                    "cancelled can be resumed",
                )
            record = replace(
                record,
                state=TransferState.PENDING.name,
                attempt=record.attempt + 1,
                ended=None,
                expires=None,
                outcome=None,
                nodes=(),
            )
            session.put_transfer(record)
            return record

        record = await self._metadata.write(take)
        spec = TransferSpec.from_json(record.spec)
        spec = replace(spec, source=replace(spec.source, credentials=credentials))
        self._launch(record, spec)
        return record

    async def cancel(self, uid: str) -> TransferRecord:
        """Cancels a transfer and returns when it has ended; one that has ended stays as it is."""
        run = self._runs.get(uid)
        if run is None:
            return await self.get(uid)
        if run.task:
            run.task.cancel()
        await run.ended.wait()
        return run.record

    async def delete(self, uid: str) -> None:
        """Forgets the record of a transfer that has ended. Raises TRANSFER_STATE otherwise."""
        if uid in self._runs:
            raise Error(Reason.TRANSFER_STATE, f"transfers/{uid} is running: cancel it first")
        if not await self._metadata.write(lambda session: session.delete_transfer(uid)):
            raise _unknown(uid)

    # --- looking

    async def get(self, uid: str) -> TransferRecord:
        """A transfer's record. Raises TRANSFER_NOT_FOUND."""
        if run := self._runs.get(uid):
            return run.record
        record = await self._metadata.read(lambda session: session.transfer(uid))
        if record is None:
            raise _unknown(uid)
        return record

    async def list(
        self, states: Sequence[TransferState], after: tuple[int, str] | None, limit: int
    ) -> list[TransferRecord]:
        """A page of records, newest first, without nodes."""
        names = [state.name for state in states]
        found = await self._metadata.read(
            lambda session: session.list_transfers(names, after, limit)
        )
        return [self._runs[one.uid].record if one.uid in self._runs else one for one in found]

    @property
    def running(self) -> int:
        """How many transfers are under way."""
        return len(self._runs)

    async def watch(self, uid: str, interval: float | None = None) -> AsyncIterator[WatchEvent]:
        """The events of a transfer: a snapshot, updates, one end.

        Raises TRANSFER_NOT_FOUND, and SHUTTING_DOWN when the daemon stops before the end.
        """
        pause = max(
            self.config.default_watch_interval if interval is None else interval,
            self.config.min_watch_interval,
        )
        run = self._runs.get(uid) or await self._past_run(uid)
        progress = run.progress
        progress.refresh()
        # The version of the end belongs to the end, also for who comes after it.
        seen = progress.version - run.ended.is_set()
        nodes = list(progress.nodes.values())
        view = self._view(run)
        yield WatchEvent(
            WatchEventKind.SNAPSHOT, progress.base + seen, view, nodes[:_NODES_PER_EVENT]
        )
        for start in range(_NODES_PER_EVENT, len(nodes), _NODES_PER_EVENT):
            part = nodes[start : start + _NODES_PER_EVENT]
            yield WatchEvent(WatchEventKind.UPDATE, progress.base + seen, self._view(run), part)
        quiet = 0.0
        while not run.ended.is_set():
            self._check_open()
            await self._pause(run, pause)
            progress.refresh()
            latest = progress.version - run.ended.is_set()
            if latest > seen:
                changed, seen, quiet = progress.changed(seen), latest, 0.0
                yield WatchEvent(
                    WatchEventKind.UPDATE, progress.base + seen, self._view(run), changed
                )
            elif (quiet := quiet + pause) >= self.config.heartbeat:
                quiet = 0.0
                yield WatchEvent(WatchEventKind.HEARTBEAT, progress.base + seen, self._view(run))
        if run.stopping and run.record.state == TransferState.INTERRUPTED.name:
            raise _shutting_down()
        latest = progress.version - 1
        if latest > seen:
            yield WatchEvent(
                WatchEventKind.UPDATE,
                progress.base + latest,
                self._view(run),
                progress.changed(seen),
            )
        yield WatchEvent(WatchEventKind.FINISHED, progress.sequence, self._view(run))

    async def _pause(self, run: _Run, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(run.ended.wait(), seconds)

    async def _past_run(self, uid: str) -> _Run:
        record = await self.get(uid)
        if run := self._runs.get(uid):
            return run
        nodes = [Node.from_json(node) for node in record.nodes]
        progress = Progress(record.sequence - 1, nodes)
        progress.planned = record.state == TransferState.SUCCEEDED.name
        run = _Run(record, TransferSpec.from_json(record.spec), progress)
        run.ended.set()
        return run

    def _view(self, run: _Run) -> TransferView:
        sharing = self._sharing.get(run.share_key, [])
        leader = sharing[0].record.uid if sharing and sharing[0] is not run else ""
        followers = len(sharing) - 1 if sharing and sharing[0] is run else 0
        return TransferView(run.record, run.progress, leader, followers)

    # --- running

    def _launch(self, record: TransferRecord, spec: TransferSpec) -> None:
        base = max(self._epoch << _EPOCH_SHIFT, record.sequence)
        run = _Run(record, spec, Progress(base))
        self._runs[record.uid] = run
        self._sharing.setdefault(run.share_key, []).append(run)
        run.task = asyncio.create_task(self._run(run), name=f"transfer-{record.uid}")

    async def _run(self, run: _Run) -> None:
        log = _log.bind(transfer=run.record.uid, reference=run.spec.source.reference)
        try:
            record = await self._work(run)
        except asyncio.CancelledError:
            record = self._stopped(run)
        except BaseException as error:  # noqa: BLE001 - a run must leave a record, whatever happens
            record = self._failed(run, error, log)
        # Nothing below may be lost to a cancellation that comes late.
        await self._shielded(self._end(run, record))
        log.info("transfer ended", state=run.record.state)

    async def _work(self, run: _Run) -> TransferRecord:
        async with self._slots:
            run.record = replace(run.record, state=TransferState.RUNNING.name, started=now_us())
            run.progress.touch()
            reference = Reference.parse(run.spec.source.reference)
            destination = run.spec.destination
            wanted = tuple(Platform.parse(one) for one in run.spec.platforms) or (Platform.host(),)
            explicit = bool(run.spec.platforms)
            if destination.policy is not PullPolicy.ALWAYS:
                image = await self._metadata.read(
                    lambda session: _commit.present_image(
                        session,
                        reference,
                        wanted,
                        explicit=explicit,
                        all_platforms=run.spec.all_platforms,
                    )
                )
                if image:
                    return await self._commit(
                        run,
                        lambda session: _commit.commit_present(
                            session, self._sealed(run), image, destination
                        ),
                    )
                if destination.policy is PullPolicy.NEVER:
                    raise _commit.not_here(reference)

            async def protect(targets: Sequence[Descriptor]) -> None:
                lifetime = int(self.config.partial_lifetime * 1_000_000)
                await self._metadata.write(
                    lambda session: _commit.hold(session, run.record.uid, targets, lifetime)
                )

            pulled = await Pull(
                uid=run.record.uid,
                reference=reference,
                platforms=wanted,
                explicit=explicit,
                all_platforms=run.spec.all_platforms,
                credentials=run.spec.source.credentials,
                concurrency=run.spec.max_concurrency or self.config.max_concurrent_blobs,
                fetcher=self._fetcher,
                flights=self._flights,
                progress=run.progress,
                protect=protect,
            ).run()
            return await self._commit(
                run,
                lambda session: _commit.commit_pull(
                    session, self._sealed(run), pulled, reference, destination
                ),
            )

    async def _commit(
        self, run: _Run, function: Callable[[WriteSession], TransferRecord]
    ) -> TransferRecord:
        # A cancellation that comes during the commit comes too late: the tag may have moved.
        return await self._shielded(self._metadata.write(function))

    async def _shielded(self, work: Coroutine[Any, Any, T]) -> T:
        task = asyncio.ensure_future(work)
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                if task.cancelled():
                    raise
            except Exception:  # noqa: BLE001 - raised by task.result() below
                break
        return task.result()

    def _sealed(self, run: _Run) -> TransferRecord:
        """The record as it is at the end, without state and outcome."""
        now = now_us()
        return replace(
            run.record,
            ended=now,
            expires=now + int(self.config.retention * 1_000_000),
            # The end has a version of its own.
            sequence=run.progress.sequence + 1,
            nodes=tuple(node.to_json() for node in run.progress.nodes.values()),
        )

    def _settle(self, run: _Run) -> None:
        for node in run.progress.nodes.values():
            if not node.state.final and node.activities:
                run.progress.end(node)

    def _stopped(self, run: _Run) -> TransferRecord:
        self._settle(run)
        if run.stopping:
            return self._interrupted(self._sealed(run), now_us())
        failure = Error(Reason.CANCELLED, "the transfer was cancelled; it can be resumed")
        outcome = Outcome(failure=failure)
        return replace(
            self._sealed(run), state=TransferState.CANCELLED.name, outcome=outcome.to_json()
        )

    def _interrupted(self, record: TransferRecord, now: int) -> TransferRecord:
        failure = Error(
            Reason.INTERRUPTED,
            "the daemon stopped while the transfer ran; resume it to go on where it was",
            origin=Origin.DAEMON,
        )
        base = self._epoch << _EPOCH_SHIFT
        return replace(
            record,
            state=TransferState.INTERRUPTED.name,
            ended=record.ended or now,
            expires=now + int(self.config.retention * 1_000_000),
            sequence=max(record.sequence, base + 2),
            outcome=Outcome(failure=failure).to_json(),
        )

    def _failed(self, run: _Run, error: BaseException, log: Any) -> TransferRecord:
        failure = _first_error(error)
        if failure is None:
            incident = new_uid()[:12]
            log.error("transfer failed on a defect", incident=incident, exc_info=error)
            failure = Error(
                Reason.INTERNAL,
                f"a defect in the daemon; its log explains incident {incident}",
                origin=Origin.DAEMON,
            )
        self._settle(run)
        outcome = Outcome(failure=failure)
        return replace(
            self._sealed(run), state=TransferState.FAILED.name, outcome=outcome.to_json()
        )

    async def _end(self, run: _Run, record: TransferRecord) -> None:
        if record.state != TransferState.SUCCEEDED.name:
            try:
                await self._metadata.write(lambda session: session.put_transfer(record))
            except Error as error:
                # Without its record it is found as running at the next start, and interrupted.
                _log.error(
                    "the end of a transfer was not stored", transfer=record.uid, error=str(error)
                )
        run.record = record
        run.progress.touch()
        del self._runs[record.uid]
        sharing = self._sharing[run.share_key]
        sharing.remove(run)
        if not sharing:
            del self._sharing[run.share_key]
        run.ended.set()

    def _check_open(self) -> None:
        if self._stopping.is_set():
            raise _shutting_down()


def _validated(spec: TransferSpec) -> TransferSpec:
    """The spec with its names normalised; raises what is wrong with it."""
    try:
        reference = Reference.parse(spec.source.reference).with_default_tag()
        for platform in spec.platforms:
            Platform.parse(platform)
        tags = tuple(str(Reference.parse(tag).with_default_tag()) for tag in spec.destination.tags)
    except FormatError as error:
        raise from_format(error) from error
    return replace(
        spec,
        source=replace(spec.source, reference=str(reference)),
        destination=replace(spec.destination, tags=tags),
    )


def _first_error(error: BaseException) -> Error | None:
    """The failure to report: of several at once the first that is ours."""
    if isinstance(error, Error):
        return error
    if isinstance(error, FormatError):
        return from_format(error, origin=Origin.SOURCE)
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if found := _first_error(inner):
                return found
    return None


def _unknown(uid: str) -> Error:
    return Error(
        Reason.TRANSFER_NOT_FOUND, f"no such transfer: transfers/{uid}", metadata={"transfer": uid}
    )


def _shutting_down() -> Error:
    return Error(
        Reason.SHUTTING_DOWN, "the daemon is shutting down; attach again soon", retry_after=1.0
    )

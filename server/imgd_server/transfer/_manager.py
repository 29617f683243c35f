"""Transfers as the daemon runs them: started, watched, cancelled, interrupted, resumed, recorded.

A run is a task of the daemon, never of a call. Its record is written when it is accepted and when
it ends; what is in between is in memory, and is lost with the process on purpose: the bytes are on
disk, and a resumed run finds them there.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images import LayerUnpacker, new_uid
from imgd_server.metadata import MetadataStore, ReadSession, TransferRecord, WriteSession
from imgd_server.registry import Credentials, RegistryClient, RegistryPusher
from imgd_server.transfer import _commit
from imgd_server.transfer._endings import failed, interrupted, stopped
from imgd_server.transfer._engine import Engine, TransferConfig
from imgd_server.transfer._fetch import Fetcher
from imgd_server.transfer._flight import FlightTable
from imgd_server.transfer._lanes import Lanes
from imgd_server.transfer._load import load, load_layout
from imgd_server.transfer._outcome import Outcome, TransferState
from imgd_server.transfer._pipes import Inbox, Outbox
from imgd_server.transfer._progress import Progress, now_us
from imgd_server.transfer._proofs import Proofs
from imgd_server.transfer._pulling import pull
from imgd_server.transfer._pushing import push
from imgd_server.transfer._rates import Rates
from imgd_server.transfer._room import Room
from imgd_server.transfer._run import Commit, Run
from imgd_server.transfer._save import save, save_layout
from imgd_server.transfer._send import Sender
from imgd_server.transfer._sources import Listing
from imgd_server.transfer._spec import LayoutEndpoint, TransferSpec, validated
from imgd_server.transfer._watch import WatchEvent, watch

__all__ = ["TransferManager"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# 21 bits of starts and 32 of changes: sequence numbers stay below 2^53, which JavaScript can count.
_EPOCH_SHIFT = 32
_UNDER_WAY = (TransferState.PENDING.name, TransferState.RUNNING.name)


class TransferManager:
    """Runs transfers. Its methods belong to the event loop that it was opened in."""

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        registry: RegistryClient,
        config: TransferConfig | None = None,
        unpacker: LayerUnpacker | None = None,
        pusher: RegistryPusher | None = None,
        listing: Listing | None = None,
    ) -> None:
        self._metadata = metadata
        self.config = config or TransferConfig()
        threads = self.config.max_threads
        per_registry = min(self.config.max_threads_per_registry, threads)
        self._lanes = Lanes(threads, per_registry, limited=max(threads, self.config.max_running))
        retry = self.config.retry
        rates = Rates(self.config.max_bytes_per_second)
        self._engine = Engine(
            metadata,
            self.config,
            Fetcher(registry, content, metadata, self._lanes, retry, self.config.ranges, rates),
            FlightTable(rates),
            Room(content),
            unpacker,
            Sender(pusher, listing, self._lanes, retry) if pusher and listing else None,
        )
        # Every run whose end is not in the metadata yet.
        self._runs: dict[str, Run] = {}
        self._sharing: dict[tuple[Any, ...], list[Run]] = {}
        self._slots = asyncio.Semaphore(self.config.max_running)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = asyncio.Event()
        self._epoch = 0

    @property
    def fetcher(self) -> Fetcher:
        """What brings content here, for others who do: of one blob there is one writer."""
        return self._engine.fetcher

    @property
    def proofs(self) -> Proofs:
        """Who may have what is stored."""
        return self._engine.proofs

    async def open(self) -> None:
        """Takes up the records of the last daemon: what ran then is interrupted now."""
        self._epoch = await self._metadata.write(lambda session: session.next_epoch())

        def interrupt(session: WriteSession) -> int:
            count = 0
            now = now_us()
            # Above all that the daemon before this one gave: a last picture, and the end.
            sequence = (self._epoch << _EPOCH_SHIFT) + 2
            session.delete_expired_transfers(now)
            while page := session.list_transfers(_UNDER_WAY, None, 1000):
                for listed in page:
                    record = session.transfer(listed.uid)
                    assert record is not None
                    ended = interrupted(record, self.config.retention, sequence)
                    session.put_transfer(ended)
                    _commit.let_go(session, ended, self.config.partial_lifetime)
                    session.add_event(_commit.transfer_event("finish", ended, now))
                    count += 1
            return count

        if count := await self._metadata.write(interrupt):
            _log.info("transfers interrupted by the last stop", count=count)

    async def close(self) -> None:
        """Interrupts what runs, resumably, ends every watch, and lets go of all files."""
        self._stopping.set()
        for run in self._runs.values():
            run.stop(interrupted=True)
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._engine.flights.drain()
        await asyncio.to_thread(self._lanes.close)

    # --- starting and steering

    async def start(
        self, spec: TransferSpec, request_id: str = "", *, shared: bool = False
    ) -> TransferRecord:
        """Accepts a transfer and returns its record at once.

        With `shared` the caller takes a share, to be given up with `leave`; a repeated request has
        several. A caller who is cancelled meanwhile leaves either nothing or a transfer that runs.
        Raises REFERENCE_INVALID, PLATFORM_INVALID, REQUEST_ID_REUSED, SHUTTING_DOWN, TOO_BUSY,
        UNSUPPORTED.
        """
        self._check_open()
        spec = validated(spec)
        self._engine.check(spec)
        record = TransferRecord(
            uid=new_uid(),
            request_id=request_id,
            spec=spec.to_json(),
            state=TransferState.PENDING.name,
            attempt=1,
            created=now_us(),
        )

        def accept(session: WriteSession, refusal: Error | None) -> TransferRecord:
            session.delete_expired_transfers(record.created)
            known = session.transfer_by_request(request_id) if request_id else None
            if known is None:
                if refusal:
                    raise refusal
                session.put_transfer(record)
                session.add_event(_commit.transfer_event("start", record, record.created))
                return record
            if known.spec != record.spec:
                raise Error(
                    Reason.REQUEST_ID_REUSED,
                    f"request_id {request_id} was used before with another request",
                )
            return known

        run = Run(record, spec, Progress(self._epoch << _EPOCH_SHIFT))
        return await asyncio.shield(self._own(self._accept(run, accept, record, shared=shared)))

    def leave(self, uid: str) -> None:
        """Gives up a share. With the last one the transfer is cancelled, unless somebody started or
        resumed it without one."""
        if run := self._runs.get(uid):
            run.leave()

    async def resume(
        self,
        uid: str,
        source_credentials: Credentials | None = None,
        destination_credentials: Credentials | None = None,
    ) -> TransferRecord:
        """Runs an interrupted, failed or cancelled transfer again. Raises TRANSFER_NOT_FOUND,
        TRANSFER_STATE, TOO_BUSY."""
        self._check_open()
        before = await self.get(uid)
        state = TransferState[before.state]
        if not state.ended or state is TransferState.SUCCEEDED:
            raise _not_resumable(before)
        record = replace(
            before,
            state=TransferState.PENDING.name,
            attempt=before.attempt + 1,
            started=None,
            ended=None,
            expires=None,
            outcome=None,
            nodes=(),
        )

        def accept(session: WriteSession, refusal: Error | None) -> TransferRecord:
            known = session.transfer(uid)
            if known is None:
                raise _unknown(uid)
            if known.attempt != before.attempt:
                raise _not_resumable(known)
            if refusal:
                raise refusal
            session.put_transfer(record)
            session.add_event(_commit.transfer_event("start", record, now_us()))
            return record

        spec = TransferSpec.from_json(record.spec)
        if spec.is_save:
            raise Error(Reason.UNSUPPORTED, "a save can't be resumed, for its caller is gone: save")
        spec = spec.with_credentials(source_credentials, destination_credentials)
        run = Run(record, spec, Progress(max(self._epoch << _EPOCH_SHIFT, record.sequence)))
        return await asyncio.shield(self._own(self._accept(run, accept, before)))

    def pipe(self, uid: str) -> Inbox | Outbox:
        """Where the archive of a transfer goes through, for the one call that streams it. Raises
        TRANSFER_STATE for one that has another call, or none to come."""
        run = self._runs.get(uid)
        if run is None or run.pipe is None:
            raise Error(
                Reason.TRANSFER_STATE, f"transfers/{uid} waits for no archive, or is not there"
            )
        run.pipe.attach()
        return run.pipe

    async def ended(self, uid: str) -> TransferRecord:
        """A transfer's record, once it has ended. Raises TRANSFER_NOT_FOUND."""
        run = self._runs.get(uid)
        if run is None:
            return await self.get(uid)
        await run.ended.wait()
        return run.record

    def stop(self, uid: str) -> None:
        """Cancels a transfer without waiting for its end; one that has ended stays as it is."""
        if run := self._runs.get(uid):
            run.stop()

    async def cancel(self, uid: str) -> TransferRecord:
        """Cancels a transfer and returns when it has ended; one that has ended stays as it is."""
        run = self._runs.get(uid)
        if run is None:
            return await self.get(uid)
        run.stop()
        await run.ended.wait()
        return run.record

    async def delete(self, uid: str) -> None:
        """Forgets a transfer that has ended, and holds what it left unfinished no longer. Raises
        TRANSFER_STATE while it runs."""
        run = self._runs.get(uid)
        if run and not run.ended.is_set():
            raise _running(uid)

        def forget(session: WriteSession) -> bool:
            record = session.transfer(uid)
            if record and record.state in _UNDER_WAY and run is None:
                raise _running(uid)  # resumed meanwhile
            if record:
                session.delete_lease(_commit.holding_lease(uid))
                newest = run.record if run else record
                session.add_event(_commit.transfer_event("delete", newest, now_us()))
            return session.delete_transfer(uid)

        if not await self._metadata.write(forget):
            raise _unknown(uid)
        if run and self._runs.get(uid) is run:
            del self._runs[uid]

    # --- looking

    async def get(self, uid: str) -> TransferRecord:
        """A transfer's record. Raises TRANSFER_NOT_FOUND."""
        if run := self._runs.get(uid):
            return run.record
        record = await self._metadata.read(lambda session: session.transfer(uid))
        if record is None:
            raise _unknown(uid)
        return self._newest(record)

    async def list(
        self, states: Sequence[TransferState], after: tuple[int, str] | None, limit: int
    ) -> list[TransferRecord]:
        """A page of records, newest first, without nodes."""
        wanted = {state.name for state in states}
        # What is under way is PENDING in the metadata, wherever it stands by now.
        asked = sorted(wanted.union(_UNDER_WAY)) if wanted else []
        found: list[TransferRecord] = []

        def look(session: ReadSession) -> Sequence[TransferRecord]:
            return session.list_transfers(asked, after, limit)

        while len(found) < limit:
            page = await self._metadata.read(look)
            newest = map(self._newest, page)
            found += [one for one in newest if not wanted or one.state in wanted]
            if len(page) < limit:
                break
            after = (page[-1].created, page[-1].uid)
        return found[:limit]

    def _newest(self, record: TransferRecord) -> TransferRecord:
        return self._runs[record.uid].record if record.uid in self._runs else record

    @property
    def running(self) -> int:
        """How many transfers are under way."""
        return sum(not run.ended.is_set() for run in self._runs.values())

    async def watch(self, uid: str, interval: float | None = None) -> AsyncIterator[WatchEvent]:
        """The events of a transfer: a snapshot, updates, one end.

        `interval` is the shortest time between two updates, in seconds. Raises TRANSFER_NOT_FOUND,
        and SHUTTING_DOWN when the daemon stops before the end.
        """
        pause = self.config.default_watch_interval if interval is None else interval
        run = self._runs.get(uid)
        if run is None:
            record = await self.get(uid)
            # It may have been resumed meanwhile.
            run = self._runs.get(uid) or Run.past(record)
        pause = max(pause, self.config.min_watch_interval)
        async for event in watch(run, pause, self.config.heartbeat, self._check_open):
            yield event

    # --- running

    def _own(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """A task that belongs to the daemon: no caller's cancellation reaches it."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(
        self,
        run: Run,
        accept: Callable[[WriteSession, Error | None], TransferRecord],
        before: TransferRecord,
        *,
        shared: bool = False,
    ) -> TransferRecord:
        """Writes a run's record, and starts the run: nothing between the two may stop it. `accept`
        is told why a new one is to be refused, if it is.

        The run is known before, so that nobody takes a record without a run for one that ended.
        When it comes to nothing, things stand as `before`.
        """
        uid = run.record.uid
        last = self._runs.get(uid)
        if last and not last.ended.is_set():
            raise _not_resumable(last.record)
        self._runs[uid] = run
        most = self.config.max_running + self.config.max_pending
        refusal = _too_many(most) if len(self._runs) > most else None
        try:
            accepted = await self._metadata.write(lambda session: accept(session, refusal))
        except BaseException:
            self._withdraw(run, last, before)
            raise
        if accepted is not run.record:
            self._withdraw(run, last, before)
            if live := self._runs.get(accepted.uid):
                live.share(shared)
            return self._newest(accepted)
        run.share(shared)
        run.launch(self._work(run), self._sharing.setdefault(run.share_key, []))
        if self._stopping.is_set():
            run.stop(interrupted=True)
        self._own(self._conclude(run))
        return run.record

    def _withdraw(self, run: Run, last: Run | None, before: TransferRecord) -> None:
        del self._runs[run.record.uid]
        if last:
            self._runs[run.record.uid] = last
        run.progress.seal()
        run.end(before)

    async def _work(self, run: Run) -> Commit:
        if run.pipe:
            # Whoever lets it wait for bytes takes nobody's turn.
            await run.pipe.come(self.config.archive_patience)
        async with self._slots:
            run.begin()
            self._engine.flights.rates.limit(run.record.uid, run.spec.max_bytes_per_second)
            if isinstance(run.pipe, Inbox):
                return await load(self._engine, run, run.pipe)
            if isinstance(run.pipe, Outbox):
                return await save(self._engine, run, run.pipe)
            if isinstance(run.spec.source, LayoutEndpoint):
                return await load_layout(self._engine, run)
            if isinstance(run.spec.destination, LayoutEndpoint):
                return await save_layout(self._engine, run)
            return await (pull if run.spec.is_pull else push)(self._engine, run)

    async def _conclude(self, run: Run) -> None:
        """Waits for a run's work, shows what it stored, and records its end.

        A cancellation reaches the work alone: once that is done it comes too late, for the name may
        have moved.
        """
        assert run.work is not None
        await asyncio.wait([run.work])
        self._engine.flights.rates.forget(run.record.uid)
        record = await self._result(run, run.work)
        stored = record.state == TransferState.SUCCEEDED.name or await self._store(record)
        run.end(record)
        if not self._sharing[run.share_key]:
            del self._sharing[run.share_key]
        failure = Outcome.from_json(record.outcome or {}).failure
        _log.info(
            "transfer ended",
            transfer=record.uid,
            reference=run.spec.reference,
            state=record.state,
            reason=failure.reason.name if failure else "",
        )
        while not stored and not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.config.record_interval):
                    await self._stopping.wait()
            stored = await self._store(record)
        if self._runs.get(record.uid) is run:
            del self._runs[record.uid]

    async def _result(self, run: Run, work: asyncio.Task[Commit]) -> TransferRecord:
        if work.cancelled():
            return stopped(run, self.config.retention)
        error = work.exception()
        if error is None:
            commit, sealed = work.result(), run.seal(self.config.retention)
            try:
                return await self._metadata.write(lambda session: commit(session, sealed))
            except Exception as refused:  # noqa: BLE001 - a run leaves a record, whatever happens
                error = refused
        return failed(run, error, self.config.retention)

    async def _store(self, record: TransferRecord) -> bool:
        """Writes an end, unless the record was deleted, or belongs to a later run by now."""

        def put(session: WriteSession) -> None:
            known = session.transfer(record.uid)
            if known and known.attempt == record.attempt:
                session.put_transfer(record)
                _commit.let_go(session, record, self.config.partial_lifetime)
                session.add_event(_commit.transfer_event("finish", record, now_us()))

        try:
            await self._metadata.write(put)
        except Exception as error:  # noqa: BLE001 - whatever the disk or the database says
            # Until it can be written it is known from memory; a daemon that is stopped before finds
            # the transfer as running, and interrupts it.
            _log.error("the end of a transfer was not stored", transfer=record.uid, exc_info=error)
            return False
        return True

    def _check_open(self) -> None:
        if self._stopping.is_set():
            raise Error(
                Reason.SHUTTING_DOWN,
                "the daemon is shutting down; attach again soon",
                retry_after=1.0,
            )


def _unknown(uid: str) -> Error:
    return Error(
        Reason.TRANSFER_NOT_FOUND, f"no such transfer: transfers/{uid}", metadata={"transfer": uid}
    )


def _running(uid: str) -> Error:
    return Error(Reason.TRANSFER_STATE, f"transfers/{uid} is running: cancel it first")


def _too_many(most: int) -> Error:
    return Error(
        Reason.TOO_BUSY,
        f"{most} transfers run or wait already: try again when some have ended",
        retry_after=5.0,
    )


def _not_resumable(record: TransferRecord) -> Error:
    return Error(
        Reason.TRANSFER_STATE,
        f"transfers/{record.uid} is {record.state}: only one that was interrupted, failed or "
        "cancelled can be resumed",
    )

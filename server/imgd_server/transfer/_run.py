"""One run of a transfer, for as long as the daemon has it in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, Protocol, Self

from imgd_server.metadata import TransferRecord, WriteSession
from imgd_server.oci import Descriptor
from imgd_server.transfer._outcome import TransferState
from imgd_server.transfer._pipes import Inbox, Outbox
from imgd_server.transfer._progress import Node, Progress, now_us
from imgd_server.transfer._spec import TransferSpec

__all__ = ["Commit", "Moving", "Run"]

# Shows what a run stored, given the record as it is at the end but for its state and outcome;
# returns the whole record.
Commit = Callable[[WriteSession, TransferRecord], TransferRecord]


class Moving(Protocol):
    """How far a pull, push or copy came; bytes."""

    @property
    def target(self) -> Descriptor | None: ...
    @property
    def fetched(self) -> int: ...
    @property
    def reused(self) -> int: ...
    @property
    def uploaded(self) -> int: ...


class Run:
    """One run of a transfer.

    Its work is a task that may be cancelled at any time; whoever waits for its end waits for
    `ended`, which comes after the record was written.
    """

    def __init__(self, record: TransferRecord, spec: TransferSpec, progress: Progress) -> None:
        self.record = record
        self.spec = spec
        self.progress = progress
        self.ended = asyncio.Event()
        self.moving: Moving | None = None
        """What does the work, once it has begun."""
        self.given: list[str] = []
        """The names that are given before its end."""
        self.stopped = False
        """Somebody wanted it to end."""
        self.interrupted = False
        """The daemon wanted it to end."""
        self.work: asyncio.Task[Commit] | None = None
        self.pipe: Inbox | Outbox | None = None
        """Where an archive comes in or goes out."""
        if spec.is_load or spec.is_save:
            self.pipe = Inbox() if spec.is_load else Outbox()
        # Callers who want it for as long as they are there, and whether somebody wants it anyway.
        self._shares = 0
        self._kept = False
        self._sharing: list[Run] = [self]
        self._role: tuple[str, int] | None = None

    @classmethod
    def past(cls, record: TransferRecord) -> Self:
        """A run that has ended, from its record."""
        progress = Progress(0, [Node.from_json(node) for node in record.nodes])
        progress.final = record.sequence
        progress.planned = record.state == TransferState.SUCCEEDED.name
        run = cls(record, TransferSpec.from_json(record.spec), progress)
        run.ended.set()
        return run

    @property
    def share_key(self) -> tuple[Any, ...]:
        """Equal for runs that do the same work."""
        return self.spec.share_key

    @property
    def role(self) -> tuple[str, int]:
        """The uid of the run that leads this one, empty when it leads itself; and its followers."""
        if self._role:
            return self._role
        leader = self._sharing[0]
        return ("", len(self._sharing) - 1) if leader is self else (leader.record.uid, 0)

    def launch(self, work: Coroutine[Any, Any, Commit], sharing: list[Run]) -> asyncio.Task[Commit]:
        """Starts the work, beside others that do the same."""
        sharing.append(self)
        self._sharing = sharing
        self.work = asyncio.create_task(work, name=f"transfer-{self.record.uid}")
        if self.stopped:
            self.work.cancel()
        return self.work

    def share(self, shared: bool) -> None:
        """Notes one more who wants it: until it leaves, or whoever leaves."""
        self._shares += shared
        self._kept = self._kept or not shared

    def leave(self) -> None:
        """Gives a share up; stops what nobody wants."""
        self._shares -= 1
        if not self._shares and not self._kept:
            self.stop()

    def stop(self, *, interrupted: bool = False) -> None:
        """Cancels the work, also before its launch. Once it is done, this comes too late."""
        if not self.stopped:
            self.stopped, self.interrupted = True, interrupted
        if self.work:
            self.work.cancel()

    def begin(self) -> None:
        """Notes that its turn has come."""
        self.record = replace(self.record, state=TransferState.RUNNING.name, started=now_us())
        self.progress.touch()

    def seal(self, retention: float) -> TransferRecord:
        """The record as it is at the end, without state and outcome. Nothing moves any more."""
        now = now_us()
        return replace(
            self.record,
            ended=now,
            expires=now + int(retention * 1_000_000),
            sequence=self.progress.seal(),
            nodes=tuple(node.to_json() for node in self.progress.nodes.values()),
        )

    def end(self, record: TransferRecord) -> None:
        """Tells everybody who waits."""
        self.record = record
        self._role = self.role
        if self.pipe:
            self.pipe.close()
        if self in self._sharing:
            self._sharing.remove(self)
        self.ended.set()

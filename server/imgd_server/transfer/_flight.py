"""Single flight: one piece of work for all who want it, owned by none of them.

Whoever joins holds a share. The work is a task of the daemon: when somebody leaves, it goes on for
the others; when the last one leaves, it is cancelled (and what it stored stays for the next).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from weakref import WeakValueDictionary

from imgd_server.registry import Cancellation, Privacy
from imgd_server.transfer._progress import Retry
from imgd_server.transfer._rates import Rates

__all__ = ["Flight", "FlightTable", "Slots", "Turns"]

T = TypeVar("T")


class Slots:
    """So many at once; the others wait in the order of their coming, and may give up. Belongs to
    one event loop."""

    def __init__(self, at_once: int) -> None:
        self._semaphore = asyncio.Semaphore(at_once)
        self.waiting = 0
        """How many wait."""

    async def __aenter__(self) -> None:
        self.waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self.waiting -= 1

    async def __aexit__(self, *_: object) -> None:
        self._semaphore.release()

    @property
    def has_room(self) -> bool:
        """Whether the next one would not wait."""
        return not self._semaphore.locked()


class Turns:
    """One, or so many, at a time for a key. The others wait in the order of their coming, and may
    give up."""

    def __init__(self, at_once: int = 1) -> None:
        self._at_once = at_once
        # A lock lives for as long as somebody has it or waits for it.
        self._locks: WeakValueDictionary[Hashable, Slots] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, key: Hashable) -> AsyncIterator[None]:
        """Waits for the turn, and keeps it until left."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = Slots(self._at_once)
        async with lock:
            yield

    def of(self, key: Hashable) -> Slots | None:
        """How it stands with a key; None where nobody has a turn."""
        return self._locks.get(key)


@dataclass(eq=False)
class Flight(Generic[T]):
    """Work under way, as its sharers see it (a `Work`).

    Written by the thread that does the work, read by the event loop: each figure is one reference,
    so a reader sees the old or the new one. Several streams of a blob `tell` at once. `sharers` are
    in the order of joining. `stored` says that this work made the blob: where `resumed_bytes` is 0
    then, all of it came this way.
    """

    key: Hashable
    cancellation: Cancellation = field(default_factory=Cancellation)
    done_bytes: int = 0
    resumed_bytes: int = 0
    moved_bytes: int = 0
    stored: bool = False
    host: str = ""
    retry: Retry | None = None
    spare: Slots | None = None
    """Where there must be room for more than one stream."""
    rates: Rates = field(default_factory=Rates)
    sharers: list[str] = field(default_factory=list)
    task: asyncio.Task[T] | None = None
    _claimed: int = 0
    _told: dict[Privacy, None] = field(default_factory=dict)

    def tell(self, private: Privacy) -> None:
        """Notes whether a registry gave something for credentials, from any thread."""
        # Not the larger one of two: between a look and a note another thread notes its own.
        self._told[private] = None

    @property
    def private(self) -> Privacy:
        """Whether a registry answered for credentials, as far as any answer was."""
        return max([*self._told], default=Privacy.NONE)

    @property
    def limited(self) -> bool:
        """Whether all who want it have a bound of their own on bytes a second."""
        return self.rates.of(self.sharers) is not None

    def portion(self, most: int) -> int:
        """How many bytes to move at once, `most` of them at the most."""
        return self.rates.portion(self.sharers, most)

    def spend(self, count: int) -> float:
        """Waits until so many bytes were allowed to move; returns the seconds that it has waited.
        Raises CANCELLED."""
        return self.rates.spend(self.sharers, count, self.cancellation)

    async def result(self) -> T:
        """Waits for the end. Being cancelled here cancels the waiting only."""
        assert self.task is not None
        return await asyncio.shield(self.task)

    def claim(self, sharer: str) -> int:
        """The moved bytes that count for a sharer who leaves now.

        They count once: for whoever is the first of the list, from when it came to be so.
        """
        if self.sharers[0] != sharer:
            return 0
        before, self._claimed = self._claimed, self.moved_bytes
        return self._claimed - before


class FlightTable:
    """What is under way in this daemon, by key."""

    def __init__(self, rates: Rates | None = None) -> None:
        self.rates = rates or Rates()
        self._flights: dict[Hashable, Flight[Any]] = {}
        self._turns = Turns()
        self._leaving: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def join(
        self, key: Hashable, sharer: str, work: Callable[[Flight[T]], Awaitable[T]]
    ) -> AsyncIterator[Flight[T]]:
        """Takes a share in the work under `key`, which `work` begins when there is none.

        Of one key one work runs at a time: what was abandoned ends before the next begins.
        """
        known: Flight[T] | None = self._flights.get(key)
        flight: Flight[T] = known or Flight(key, rates=self.rates)
        if known is None:
            self._flights[key] = flight
            flight.task = asyncio.create_task(self._run(flight, work))
            flight.task.add_done_callback(_look_at)
        flight.sharers.append(sharer)
        try:
            yield flight
        finally:
            flight.sharers.remove(sharer)
            if not flight.sharers:
                self._abandon(flight)

    async def _run(self, flight: Flight[T], work: Callable[[Flight[T]], Awaitable[T]]) -> T:
        try:
            async with self._turns.take(flight.key):
                return await work(flight)
        finally:
            self._forget(flight)

    def _abandon(self, flight: Flight[Any]) -> None:
        assert flight.task is not None
        self._forget(flight)
        if not flight.task.done():
            flight.cancellation.cancel()
            flight.task.cancel()
            self._leaving.add(flight.task)
            flight.task.add_done_callback(self._leaving.discard)

    def _forget(self, flight: Flight[Any]) -> None:
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]

    async def drain(self) -> None:
        """Waits until whatever was abandoned has let go of its files."""
        if self._leaving:
            await asyncio.wait(self._leaving)


def _look_at(task: asyncio.Task[Any]) -> None:
    # Everybody may have left before it failed; asyncio would report that as forgotten.
    if not task.cancelled():
        task.exception()

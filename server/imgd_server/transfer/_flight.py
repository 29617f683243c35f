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

from imgd_server.registry import Cancellation
from imgd_server.transfer._progress import Retry

__all__ = ["Flight", "FlightTable"]

T = TypeVar("T")


@dataclass(eq=False)
class Flight(Generic[T]):
    """Work under way, as its sharers see it (a `Work`).

    Written by the thread that does the work, read by the event loop: each figure is one reference,
    so a reader sees the old or the new one. `sharers` are in the order of joining; the first one
    is who the moved bytes are counted for.
    """

    key: Hashable
    cancellation: Cancellation = field(default_factory=Cancellation)
    done_bytes: int = 0
    resumed_bytes: int = 0
    moved_bytes: int = 0
    host: str = ""
    retry: Retry | None = None
    sharers: list[str] = field(default_factory=list)
    task: asyncio.Task[T] | None = None

    async def result(self) -> T:
        """Waits for the end. Being cancelled here cancels the waiting only."""
        assert self.task is not None
        return await asyncio.shield(self.task)


class FlightTable:
    """What is under way in this daemon, by key."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, Flight[Any]] = {}
        self._leaving: dict[Hashable, asyncio.Task[Any]] = {}

    @asynccontextmanager
    async def join(
        self, key: Hashable, sharer: str, work: Callable[[Flight[T]], Awaitable[T]]
    ) -> AsyncIterator[Flight[T]]:
        """Takes a share in the work under `key`, which `work` begins when there is none."""
        known: Flight[T] | None = self._flights.get(key)
        flight: Flight[T] = known or Flight(key)
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

    def _abandon(self, flight: Flight[Any]) -> None:
        assert flight.task is not None
        if self._flights.get(flight.key) is flight:
            del self._flights[flight.key]
        if not flight.task.done():
            flight.cancellation.cancel()
            flight.task.cancel()
            self._leaving[flight.key] = flight.task
            flight.task.add_done_callback(lambda task: self._left(flight.key, task))

    def _left(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        if self._leaving.get(key) is task:
            del self._leaving[key]

    async def _run(self, flight: Flight[T], work: Callable[[Flight[T]], Awaitable[T]]) -> T:
        # What is still leaving holds the partial bytes that this one goes on with.
        if leaving := self._leaving.get(flight.key):
            await asyncio.wait([leaving])
        try:
            return await work(flight)
        finally:
            if self._flights.get(flight.key) is flight:
                del self._flights[flight.key]

    async def drain(self) -> None:
        """Waits until whatever was abandoned has let go of its files."""
        if self._leaving:
            await asyncio.wait(list(self._leaving.values()))


def _look_at(task: asyncio.Task[Any]) -> None:
    # Everybody may have left before it failed; asyncio would report that as forgotten.
    if not task.cancelled():
        task.exception()

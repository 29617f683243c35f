"""Threads for what transfers ask of registries, so that one that is slow holds up only its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from imgd_server.transfer._flight import Flight, Turns

__all__ = ["Lane", "Lanes"]


class Lane:
    """Threads (`executor`) of which the work of one registry gets no more than a part: whoever has
    work for it takes a turn first, and has no place before others' work while it waits."""

    def __init__(self, name: str, threads: int, per_registry: int) -> None:
        self.executor = ThreadPoolExecutor(threads, name)
        self._threads, self._taken = threads, 0
        self._turns = Turns(per_registry)

    @asynccontextmanager
    async def take(self, registry: str) -> AsyncIterator[None]:
        """One of the registry's turns, kept until left."""
        async with self._turns.take(registry):
            self._taken += 1
            try:
                yield
            finally:
                self._taken -= 1

    def has_room(self, registry: str) -> bool:
        """Whether there is a turn, and a thread, that nobody needs now."""
        turns = self._turns.of(registry)
        return self._taken < self._threads and (turns is None or turns.has_room)

    def crowded(self, registry: str) -> bool:
        """Whether somebody waits for a turn or a thread."""
        turns = self._turns.of(registry)
        return self._taken > self._threads or (turns is not None and turns.waiting > 0)


class Lanes:
    """One lane for blobs, which may take hours, and one for what is small: nobody's manifest waits
    behind another one's layers. Blobs with a bound of their own on bytes a second have a third, for
    their threads mostly wait: `limited` threads, or as many as the others."""

    def __init__(self, threads: int, per_registry: int, limited: int = 0) -> None:
        self.blobs = Lane("blob", threads, per_registry)
        self.requests = Lane("request", threads, per_registry)
        self.limited = Lane("limited", limited or threads, limited or threads)

    def of(self, flight: Flight[Any]) -> Lane:
        """The lane for a blob."""
        return self.limited if flight.limited else self.blobs

    def close(self) -> None:
        """Waits for what runs."""
        self.limited.executor.shutdown()
        self.blobs.executor.shutdown()
        self.requests.executor.shutdown()

"""Threads for what transfers ask of registries, so that one that is slow holds up only its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager

from imgd_server.transfer._flight import Turns

__all__ = ["Lane", "Lanes"]


class Lane:
    """Threads (`executor`) of which the work of one registry gets no more than a part: whoever has
    work for it takes a turn first, and has no place before others' work while it waits."""

    def __init__(self, name: str, threads: int, per_registry: int) -> None:
        self.executor = ThreadPoolExecutor(threads, name)
        self._turns = Turns(per_registry)

    def take(self, registry: str) -> AbstractAsyncContextManager[None]:
        """One of the registry's turns, kept until left."""
        return self._turns.take(registry)


class Lanes:
    """One lane for blobs, which may take hours, and one for what is small: nobody's manifest waits
    behind another one's layers."""

    def __init__(self, threads: int, per_registry: int) -> None:
        self.blobs = Lane("blob", threads, per_registry)
        self.requests = Lane("request", threads, per_registry)

    def close(self) -> None:
        """Waits for what runs."""
        self.blobs.executor.shutdown()
        self.requests.executor.shutdown()

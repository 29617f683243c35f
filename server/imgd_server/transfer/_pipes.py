"""Archives on their way between a call and a transfer, a few chunks at a time.

A call puts in what a caller sends and the transfer's thread reads it (`Inbox`), or the transfer
puts in and the call takes out (`Outbox`). Both belong to a run, which closes them at its end.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass

from imgd_server.errors import Error, Reason
from imgd_server.metadata import ImageRecord
from imgd_server.threads import ended, in_thread
from imgd_server.transfer._progress import Retry

__all__ = ["Flow", "Inbox", "Outbox", "Pipe", "written"]

# What a message of a call may hold.
_CHUNK = (1 << 20) - 1024
# Chunks ahead of the reader, each of 1 MiB at the most.
_AHEAD = 4


@dataclass(slots=True)
class Flow:
    """A blob on its way in or out of an archive, as a `Work`."""

    done_bytes: int = 0
    resumed_bytes: int = 0
    moved_bytes: int = 0
    host: str = ""
    retry: Retry | None = None

    def count(self, length: int) -> None:
        """So many bytes went by."""
        self.done_bytes += length
        self.moved_bytes += length


class Pipe:
    """What both have: one call attaches, and the run closes. Belongs to the event loop."""

    def __init__(self) -> None:
        self.attached = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False

    def attach(self) -> None:
        """Notes that a call is there. Raises TRANSFER_STATE when one is already, or was."""
        if self.attached.is_set() or self._closed:
            raise Error(
                Reason.TRANSFER_STATE,
                "the transfer's archive goes through another call, or it has ended",
            )
        self.attached.set()

    async def come(self, patience: float) -> None:
        """Waits for the call. Raises CANCELLED when it does not come within so many seconds."""
        try:
            async with asyncio.timeout(patience):
                await self.attached.wait()
        except TimeoutError:
            raise Error(
                Reason.CANCELLED, f"nobody streamed the transfer's archive within {patience:g} s"
            ) from None

    def close(self) -> None:
        """Ends it: nobody waits any more. Idempotent."""
        self._closed = True
        self._moved.set()
        self._room.set()


class Inbox(Pipe):
    """Bytes that a caller sends. `read` is for the transfer's thread, the rest for the loop."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._rest = memoryview(b"")
        self._ended = False
        self._failure: Error | None = None
        self.received = 0
        """Bytes that came."""
        self.loaded: list[ImageRecord] = []
        """What was loaded, once the transfer has succeeded."""

    async def put(self, data: bytes) -> bool:
        """Takes a chunk, when there is room for it. False once the transfer has ended: whoever
        sends need not go on."""
        while len(self._chunks) >= _AHEAD and not self._closed:
            self._moved.clear()
            # The thread may have made room before the line above.
            if len(self._chunks) >= _AHEAD:
                await self._moved.wait()
        if self._closed:
            return False
        self.received += len(data)
        if data:
            with self._changed:
                self._chunks.append(data)
                self._changed.notify_all()
        return True

    def finish(self) -> None:
        """Says that all has come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def fail(self, error: Error) -> None:
        """Makes every `read` raise, also one that waits."""
        with self._changed:
            self._failure = self._failure or error
            self._changed.notify_all()

    def check(self) -> None:
        """Raises what `fail` was given."""
        if self._failure:
            raise self._failure

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, waiting for the first; b"" at the end. Raises what `fail` was
        given."""
        with self._changed:
            while not (self._rest or self._chunks or self._ended or self._failure):
                self._changed.wait()
            if self._failure:
                raise self._failure
            if not self._rest and self._chunks:
                self._rest = memoryview(self._chunks.popleft())
                self._loop.call_soon_threadsafe(self._moved.set)
        found, self._rest = self._rest[:size], self._rest[size:]
        return bytes(found)


class Outbox(Pipe):
    """Bytes that a transfer makes; all of it belongs to the loop."""

    def __init__(self) -> None:
        super().__init__()
        self._chunks: deque[bytes] = deque()

    async def put(self, data: bytes) -> None:
        """Hands a chunk on, when there is room for it; once closed it goes nowhere."""
        while len(self._chunks) >= _AHEAD and not self._closed:
            self._room.clear()
            await self._room.wait()
        if self._closed:
            return
        self._chunks.append(data)
        self._moved.set()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """What comes, up to the transfer's end."""
        while True:
            while self._chunks:
                yield self._chunks.popleft()
                self._room.set()
            if self._closed:
                return
            self._moved.clear()
            await self._moved.wait()


async def written(
    work: Callable[[Callable[[bytes], None], Callable[[], None]], None],
) -> AsyncGenerator[bytes, None]:
    """What a function writes that blocks, piece by piece. It is given `write`, and `check`, which
    raises CANCELLED once nobody reads any more; it has ended when this ends. Raises what it
    raises."""
    outbox, stopped = Outbox(), threading.Event()
    loop = asyncio.get_running_loop()

    def check() -> None:
        if stopped.is_set():
            raise Error(Reason.CANCELLED, "cancelled")

    def write(data: bytes) -> None:
        for start in range(0, len(data), _CHUNK):
            check()
            piece = data[start : start + _CHUNK]
            asyncio.run_coroutine_threadsafe(outbox.put(piece), loop).result()

    async def run() -> None:
        try:
            await in_thread(lambda: work(write, check))
        finally:
            outbox.close()

    running = asyncio.create_task(run())
    try:
        async with aclosing(outbox.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
        await running
    finally:
        stopped.set()
        outbox.close()
        await ended(running)

"""Blobs handed on while they are fetched.

A client gets bytes before anybody knows whether they are right, so it never gets the last one
before that: until the blob is verified and durable the answer is not whole, and one that proves
wrong ends with the connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiohttp import web

from imgd_server.content import ContentStore, Reader
from imgd_server.errors import Error, Reason
from imgd_server.oci import Descriptor, Hasher
from imgd_server.threads import in_thread
from imgd_server.transfer import Flight

__all__ = ["Follower"]

_log = structlog.get_logger(__name__)

_PIECE = 1 << 20
# A flight's bytes are counted by a thread that wakes nobody; they are looked for so often, seconds.
_TICK = 0.02


class Follower:
    """Sends `start` to `end` of a blob that a flight fetches.

    All bytes from the first on are hashed as they are read, for an attempt at fetching may begin
    anew, and what was sent before must be of the blob that was verified in the end. `gone` says
    that the client has left.
    """

    def __init__(
        self,
        flight: Flight[Any],
        content: ContentStore,
        target: Descriptor,
        start: int,
        end: int,
        gone: Callable[[], bool],
    ) -> None:
        self._gone = gone
        self._flight, self._content, self._target = flight, content, target
        self._start, self._end = start, end
        self._hasher: Hasher = target.digest.hasher()
        self._read = 0
        self.sent_to = start
        """Up to where the client has it."""

    @property
    def _task(self) -> asyncio.Task[Any]:
        assert self._flight.task is not None
        return self._flight.task

    async def begin(self) -> None:
        """Waits until there is something to send. Raises what the flight does, if it fails, and
        ConnectionResetError when the client leaves."""
        while not self._task.done() and not self._flight.done_bytes:
            await self._tick()
        if self._task.done():
            await self._flight.result()

    async def send(self, response: web.StreamResponse) -> Reader:
        """Sends what comes, all but the last byte; then the blob, open, verified, and the one
        whose bytes were sent. Raises what the flight does, DIGEST_MISMATCH, and
        ConnectionResetError when the client leaves."""
        while not self._task.done():
            left = min(self._flight.done_bytes, self._target.size) - self._read
            piece = await in_thread(lambda: self._take(min(left, _PIECE))) if left > 0 else b""  # noqa: B023
            if not piece:
                await self._tick()
                continue
            # The part that is wanted of what was read now, and not the last byte.
            first = max(self._start - (self._read - len(piece)), 0)
            last = max(min(self._end - 1 - (self._read - len(piece)), len(piece)), 0)
            if part := piece[first:last]:
                await response.write(part)
                self.sent_to += len(part)
        await self._flight.result()
        reader = await in_thread(lambda: self._content.open(self._target.digest))
        try:
            await in_thread(lambda: self._check(reader))
        except BaseException:
            reader.close()
            raise
        return reader

    async def _tick(self) -> None:
        # Nothing else tells while nothing is sent, and a blob that nobody wants is not fetched.
        if self._gone():
            raise ConnectionResetError
        await asyncio.wait([self._task], timeout=_TICK)

    def _take(self, length: int) -> bytes:
        piece = self._content.read_partial(self._target.digest, length, self._read)
        self._hasher.update(piece)
        self._read += len(piece)
        return piece

    def _check(self, reader: Reader) -> None:
        """Whether what was read while it came is the beginning of what is stored."""
        offset = self._read
        while piece := reader.pread(_PIECE, offset):
            self._hasher.update(piece)
            offset += len(piece)
        if self._hasher.hexdigest() != self._target.digest.hex:
            raise Error(
                Reason.DIGEST_MISMATCH,
                f"{self._target.digest} was fetched anew, with other bytes than before",
                digest=self._target.digest,
                host=self._flight.host,
            )

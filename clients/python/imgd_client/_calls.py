"""Unary calls with a deadline and typed errors, and what has to be told when a client closes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from weakref import WeakSet

import grpc
import grpc.aio

from ._errors import from_rpc_error

__all__ = ["AsyncCalls", "AsyncStreams", "Calls", "Streams"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")

# How long a client that closes waits for the daemon to hear that a pull was left.
_PARTING = 5.0


class _Closable(Protocol):
    def close(self) -> None:
        """Ends it."""
        ...


class _AsyncClosable(Protocol):
    async def aclose(self) -> None:
        """Ends it."""
        ...


class _Gate:
    """Whether a client is closed. gRPC crashes when a closed channel is asked for a method."""

    closed = False

    def check(self) -> None:
        """Raises ValueError after the client was closed."""
        if self.closed:
            raise ValueError("this client is closed: make another")


class Streams(_Gate):
    """The streams of a client that are open, and the cancellations that are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: WeakSet[_Closable] = WeakSet()
        self._leaving: set[grpc.Future[Any]] = set()

    def add(self, stream: _Closable) -> None:
        """Remembers a stream for as long as somebody holds it. Raises as `check`."""
        self.check()
        with self._lock:
            self._open.add(stream)

    def leave(self, cancellation: grpc.Future[Any]) -> None:
        """Remembers a cancellation that nobody waits for."""
        self._leaving.add(cancellation)
        cancellation.add_done_callback(self._leaving.discard)

    def close(self) -> None:
        """Closes what is open, and lets the cancellations get through."""
        with self._lock:
            found = [*self._open]
        for stream in found:
            stream.close()
        for cancellation in [*self._leaving]:
            try:
                cancellation.result(timeout=_PARTING)
            except (grpc.RpcError, grpc.FutureTimeoutError, grpc.FutureCancelledError):
                # The daemon is gone, or knows.
                continue
        self.closed = True


class AsyncStreams(_Gate):
    """The streams of a client that are open, and the cancellations that are under way."""

    def __init__(self) -> None:
        self._open: WeakSet[_AsyncClosable] = WeakSet()
        self._leaving: set[asyncio.Task[None]] = set()

    def add(self, stream: _AsyncClosable) -> None:
        """Remembers a stream for as long as somebody holds it. Raises as `check`."""
        self.check()
        self._open.add(stream)

    def leave(self, cancellation: Coroutine[object, object, None]) -> None:
        """Runs a cancellation that nobody waits for."""
        task = asyncio.get_running_loop().create_task(cancellation)
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def aclose(self) -> None:
        """Closes what is open, and lets the cancellations get through."""
        for stream in [*self._open]:
            await stream.aclose()
        # What was let go of a moment ago has asked the loop to begin its cancellation.
        await asyncio.sleep(0)
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=_PARTING)
        self.closed = True


@dataclass(frozen=True, slots=True)
class Calls:
    """A channel and how long to wait on it."""

    open_channel: grpc.Channel
    timeout: float | None
    patience: float
    streams: Streams = field(default_factory=Streams)

    @property
    def channel(self) -> grpc.Channel:
        """The channel. Raises ValueError after the client was closed."""
        self.streams.check()
        return self.open_channel

    def unary(
        self,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        *,
        at_most: float | None = None,
    ) -> _Response:
        """Calls a method, `at_most` for so many seconds whatever the timeout. Raises ImgdError, and
        ValueError after the client was closed."""
        return self.within(_shorter(self.timeout, at_most), method, request)

    def within(
        self,
        timeout: float | None,
        method: grpc.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
    ) -> _Response:
        """Calls a method with a timeout of its own; None for no bound. Raises as `unary`."""
        self.streams.check()
        try:
            return method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


@dataclass(frozen=True, slots=True)
class AsyncCalls:
    """A channel and how long to wait on it, for asyncio."""

    open_channel: grpc.aio.Channel
    timeout: float | None
    patience: float
    streams: AsyncStreams = field(default_factory=AsyncStreams)

    @property
    def channel(self) -> grpc.aio.Channel:
        """The channel. Raises ValueError after the client was closed."""
        self.streams.check()
        return self.open_channel

    async def unary(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
        *,
        at_most: float | None = None,
    ) -> _Response:
        """Calls a method, `at_most` for so many seconds whatever the timeout. Raises ImgdError, and
        ValueError after the client was closed."""
        return await self.within(_shorter(self.timeout, at_most), method, request)

    async def within(
        self,
        timeout: float | None,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response],
        request: _Request,
    ) -> _Response:
        """Calls a method with a timeout of its own; None for no bound. Raises as `unary`."""
        self.streams.check()
        try:
            return await method(request, timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


def _shorter(one: float | None, other: float | None) -> float | None:
    return min((time for time in (one, other) if time is not None), default=None)

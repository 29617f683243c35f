"""Streams of the daemon as iterators that attach again by themselves."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

import grpc
import grpc.aio

from ._backoff import Backoff
from ._errors import Cancelled, ImgdError, Unavailable, from_rpc_error

__all__ = ["AsyncCall", "AsyncStream", "Cursor", "Stream", "SyncCall"]

_Response = TypeVar("_Response")
_Read = TypeVar("_Read", covariant=True)
_Item = TypeVar("_Item")


class SyncCall(Protocol[_Read]):
    """A streaming call of gRPC's synchronous form."""

    def __next__(self) -> _Read:
        """The next message."""
        ...

    def cancel(self) -> object:
        """Ends the call."""
        ...


class AsyncCall(Protocol):
    """A streaming call of gRPC's asyncio form."""

    def read(self) -> Awaitable[Any]:
        """The next message, or `grpc.aio.EOF`."""
        ...

    def cancel(self) -> object:
        """Ends the call."""
        ...


class Cursor(Generic[_Response, _Item]):
    """What a stream decides, without I/O: what is passed on, and when to attach again.

    Args:
        patience: Seconds for which a daemon that went away is looked for.
        attached: Whether the daemon was there. A stream that never was attached fails at once.
    """

    def __init__(self, patience: float, attached: bool = False) -> None:
        self.position = 0
        """Where to attach again."""
        self.finished = False
        """Whether there is nothing more to come."""
        self._backoff = Backoff(patience)
        self._attached = attached

    def accept(self, response: _Response) -> Sequence[_Item]:
        """What the caller gets to see of a message."""
        self._attached = True
        self._backoff.reset()
        return self._items(response)

    def _items(self, response: _Response) -> Sequence[_Item]:
        raise NotImplementedError

    def ended(self) -> ImgdError | None:
        """The daemon ended the stream well: the end, or an error where that is none."""
        self.finished = True
        return None

    def lost(self, error: ImgdError) -> float:
        """Seconds until the next attempt. Raises the error when there is to be none."""
        # A server that stops under its streams ends some of them with a bare CANCELLED.
        broken = isinstance(error, Unavailable) or (
            isinstance(error, Cancelled) and not error.reason
        )
        if not broken or not (self._attached or error.retry_delay is not None):
            raise error
        delay = self._backoff.next_delay(error.retry_delay)
        if delay is None:
            raise error
        return delay


class Stream(Generic[_Response, _Item]):
    """An iterator over a stream's items, for threads."""

    def __init__(
        self, cursor: Cursor[_Response, _Item], attach: Callable[[int], SyncCall[_Response]]
    ) -> None:
        self._cursor = cursor
        self._attach = attach
        self._waiting: deque[_Item] = deque()
        self._closed = threading.Event()
        self._call: SyncCall[_Response] | None = None

    @property
    def finished(self) -> bool:
        """Whether the end was seen."""
        return self._cursor.finished and not self._waiting

    def __iter__(self) -> Iterator[_Item]:
        return self

    def __next__(self) -> _Item:
        while not self._closed.is_set():
            if self._waiting:
                return self._waiting.popleft()
            if self._cursor.finished:
                break
            self._receive()
        raise StopIteration

    def _receive(self) -> None:
        error: ImgdError | None
        try:
            if self._call is None:
                self._call = self._attach(self._cursor.position)
                if self._closed.is_set():
                    # Whoever closed it meanwhile had no call to end.
                    self._call.cancel()
            self._waiting.extend(self._cursor.accept(next(self._call)))
            return
        except StopIteration:
            error = self._cursor.ended()
        except grpc.RpcError as raw:
            error = from_rpc_error(raw)
        self._call = None
        if error and not self._closed.is_set():
            self._closed.wait(self._cursor.lost(error))

    def close(self) -> None:
        """Ends the stream. Idempotent; may come from another thread, and ends a loop there."""
        self._closed.set()
        if self._call is not None and not self._cursor.finished:
            self._call.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Not made whole when __init__ raised; and gRPC may be gone when the interpreter ends.
        with suppress(Exception):
            self.close()


class AsyncStream(Generic[_Response, _Item]):
    """An iterator over a stream's items, for asyncio."""

    def __init__(
        self, cursor: Cursor[_Response, _Item], attach: Callable[[int], AsyncCall]
    ) -> None:
        self._cursor = cursor
        self._attach = attach
        self._waiting: deque[_Item] = deque()
        self._closed = asyncio.Event()
        self._call: AsyncCall | None = None

    @property
    def finished(self) -> bool:
        """Whether the end was seen."""
        return self._cursor.finished and not self._waiting

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> _Item:
        while not self._closed.is_set():
            if self._waiting:
                return self._waiting.popleft()
            if self._cursor.finished:
                break
            await self._receive()
        raise StopAsyncIteration

    async def _receive(self) -> None:
        error: ImgdError | None = None
        try:
            if self._call is None:
                self._call = self._attach(self._cursor.position)
            response = await self._call.read()
            if response is not grpc.aio.EOF:
                self._waiting.extend(self._cursor.accept(response))
                return
            error = self._cursor.ended()
        except grpc.RpcError as raw:
            error = from_rpc_error(raw)
        except asyncio.CancelledError:
            # A call that was cancelled here says it like a task that is being cancelled.
            task = asyncio.current_task()
            if not self._closed.is_set() or (task and task.cancelling()):
                self._cancel()
                raise
        self._call = None
        if error and not self._closed.is_set():
            delay = self._cursor.lost(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), delay)

    async def aclose(self) -> None:
        """Ends the stream. Idempotent."""
        self._cancel()

    def _cancel(self) -> None:
        self._closed.set()
        if self._call is not None and not self._cursor.finished:
            self._call.cancel()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._cancel()

    def __del__(self) -> None:
        # grpc.aio cancels nothing when a loop is left early. The event loop may be gone by now.
        with suppress(Exception):
            self._cancel()

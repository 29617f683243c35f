"""Watches: a transfer's events as an iterator that attaches again by itself."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

import grpc
import grpc.aio

from imgd.v1 import transfer_pb2, transfer_service_pb2

from ._backoff import Backoff
from ._errors import Cancelled, ImgdError, Unavailable, from_rpc_error

__all__ = ["AsyncCall", "AsyncWatch", "SyncCall", "Watch"]

_Response = transfer_service_pb2.WatchTransferResponse


class SyncCall(Protocol):
    """A WatchTransfer call of gRPC's synchronous form."""

    def __next__(self) -> _Response:
        """The next message."""
        ...

    def cancel(self) -> object:
        """Ends the call."""
        ...


AsyncCall = grpc.aio.UnaryStreamCall[transfer_service_pb2.WatchTransferRequest, _Response]


class _Cursor:
    """What a watch decides, without I/O: which events are passed on, and when to attach again."""

    def __init__(self, patience: float, heartbeats: bool, attached: bool) -> None:
        self.sequence = 0
        self.finished = False
        self._backoff = Backoff(patience)
        self._heartbeats = heartbeats
        # Whether the daemon was there. A watch that never was attached fails at once.
        self._attached = attached

    def accept(self, event: transfer_pb2.TransferEvent) -> bool:
        """Whether the caller gets to see it."""
        self._attached = True
        self._backoff.reset()
        kind = event.WhichOneof("event")
        # Nothing happened while the connection was lost.
        repeated = kind == "snapshot" and event.sequence == self.sequence != 0
        self.sequence = max(self.sequence, event.sequence)
        self.finished = kind == "finished"
        return not repeated and kind is not None and (kind != "heartbeat" or self._heartbeats)

    def lost(self, error: ImgdError | None) -> float:
        """Seconds until the next attempt. Raises the error when there is to be none."""
        error = error or Unavailable(
            "the watch ended before the transfer did", code=grpc.StatusCode.UNAVAILABLE
        )
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


class Watch:
    """A transfer's events: a snapshot, updates, and exactly one `finished` at the end.

    When the connection or the daemon goes away it attaches again, and goes on with a snapshot of
    how things stand then; sequence numbers never fall. Leaving it (`close()`, `with`, or letting go
    of it) ends the call to the daemon, and never the transfer. `close()` may come from another
    thread, and ends a loop there.
    """

    def __init__(
        self,
        attach: Callable[[int], SyncCall],
        *,
        patience: float,
        heartbeats: bool = False,
        attached: bool = False,
    ) -> None:
        self._cursor = _Cursor(patience, heartbeats, attached)
        self._closed = threading.Event()
        self._call: SyncCall | None = None
        self._attach = attach

    @property
    def sequence(self) -> int:
        """The last event's number; 0 before the first."""
        return self._cursor.sequence

    @property
    def finished(self) -> bool:
        """Whether the end was seen."""
        return self._cursor.finished

    def __iter__(self) -> Iterator[transfer_pb2.TransferEvent]:
        return self

    def __next__(self) -> transfer_pb2.TransferEvent:
        while not (self._cursor.finished or self._closed.is_set()):
            if event := self._receive():
                return event
        raise StopIteration

    def _receive(self) -> transfer_pb2.TransferEvent | None:
        error: ImgdError | None = None
        try:
            if self._call is None:
                self._call = self._attach(self._cursor.sequence)
                if self._closed.is_set():
                    # Whoever closed it meanwhile had no call to end.
                    self._call.cancel()
            event = next(self._call).event
            return event if self._cursor.accept(event) else None
        except StopIteration:
            pass
        except grpc.RpcError as raw:
            error = from_rpc_error(raw)
        self._call = None
        if not self._closed.is_set():
            self._closed.wait(self._cursor.lost(error))
        return None

    def close(self) -> None:
        """Ends the watch. Idempotent."""
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


class AsyncWatch:
    """A transfer's events, for asyncio; see `Watch`.

    Leave it with `async with` or `aclose()`; letting go of it ends the call as well.
    """

    def __init__(
        self,
        attach: Callable[[int], AsyncCall],
        *,
        patience: float,
        heartbeats: bool = False,
        attached: bool = False,
    ) -> None:
        self._cursor = _Cursor(patience, heartbeats, attached)
        self._closed = asyncio.Event()
        self._call: AsyncCall | None = None
        self._attach = attach

    @property
    def sequence(self) -> int:
        """The last event's number; 0 before the first."""
        return self._cursor.sequence

    @property
    def finished(self) -> bool:
        """Whether the end was seen."""
        return self._cursor.finished

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> transfer_pb2.TransferEvent:
        while not (self._cursor.finished or self._closed.is_set()):
            if event := await self._receive():
                return event
        raise StopAsyncIteration

    async def _receive(self) -> transfer_pb2.TransferEvent | None:
        error: ImgdError | None = None
        try:
            if self._call is None:
                self._call = self._attach(self._cursor.sequence)
            response = await self._call.read()
            if isinstance(response, _Response):
                return response.event if self._cursor.accept(response.event) else None
        except grpc.RpcError as raw:
            error = from_rpc_error(raw)
        except asyncio.CancelledError:
            # A call that was cancelled here says it like a task that is being cancelled.
            task = asyncio.current_task()
            if not self._closed.is_set() or (task and task.cancelling()):
                self._cancel()
                raise
        self._call = None
        if not self._closed.is_set():
            delay = self._cursor.lost(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closed.wait(), delay)
        return None

    async def aclose(self) -> None:
        """Ends the watch. Idempotent."""
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

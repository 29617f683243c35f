"""Watches: a transfer's events as an iterator that attaches again by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import grpc

from imgd.v1 import transfer_pb2, transfer_service_pb2

from ._errors import Cancelled, ImgdError, Unavailable, transfer_failed
from ._streams import AsyncCall, AsyncStream, Cursor, Stream, SyncCall

__all__ = ["AsyncWatch", "Watch", "outcome"]

_Response = transfer_service_pb2.WatchTransferResponse
_Event = transfer_pb2.TransferEvent


def outcome(transfer: transfer_pb2.Transfer | None) -> transfer_pb2.Transfer:
    """The record of a transfer that ended well; None for one whose end was not waited for.

    Raises:
        TransferFailed: It did not end well.
        Cancelled: Its end was not waited for.
    """
    if transfer is None:
        raise Cancelled("the transfer was left before its end", code=grpc.StatusCode.CANCELLED)
    if transfer.state != transfer_pb2.TRANSFER_STATE_SUCCEEDED:
        raise transfer_failed(transfer)
    return transfer


class _WatchCursor(Cursor[_Response, _Event]):
    def __init__(self, patience: float, heartbeats: bool, attached: bool) -> None:
        super().__init__(patience, attached)
        self._heartbeats = heartbeats
        self.transfer: transfer_pb2.Transfer | None = None
        """The record with its outcome, once it has ended."""

    def _items(self, response: _Response) -> Sequence[_Event]:
        event = response.event
        kind = event.WhichOneof("event")
        # Nothing happened while the connection was lost.
        repeated = kind == "snapshot" and event.sequence == self.position != 0
        self.position = max(self.position, event.sequence)
        self.finished = kind == "finished"
        if self.finished:
            self.transfer = event.finished.transfer
        passed = not repeated and kind is not None and (kind != "heartbeat" or self._heartbeats)
        return (event,) if passed else ()

    def ended(self) -> ImgdError:
        """Only `finished` is an end."""
        return Unavailable(
            "the watch ended before the transfer did", code=grpc.StatusCode.UNAVAILABLE
        )


class Watch(Stream[_Response, _Event]):
    """A transfer's events: a snapshot, updates, and exactly one `finished` at the end.

    When the connection or the daemon goes away it attaches again, and goes on with a snapshot of
    how things stand then; sequence numbers never fall. Leaving it (`close()`, `with`, or letting go
    of it) ends the call to the daemon, and never the transfer. `close()` may come from another
    thread, and ends a loop there.
    """

    def __init__(
        self,
        attach: Callable[[int], SyncCall[_Response]],
        *,
        patience: float,
        heartbeats: bool = False,
        attached: bool = False,
    ) -> None:
        self._events = _WatchCursor(patience, heartbeats, attached)
        super().__init__(self._events, attach)

    @property
    def sequence(self) -> int:
        """The last event's number; 0 before the first."""
        return self._cursor.position

    def result(self) -> transfer_pb2.Transfer:
        """Waits for the transfer's end and returns the record with its outcome.

        Raises:
            TransferFailed: It did not end well.
            Cancelled: The watch was closed meanwhile.
            Unavailable: The daemon went away for longer than the client's patience.
        """
        for _ in self:
            pass
        return outcome(self._events.transfer)


class AsyncWatch(AsyncStream[_Response, _Event]):
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
        self._events = _WatchCursor(patience, heartbeats, attached)
        super().__init__(self._events, attach)

    @property
    def sequence(self) -> int:
        """The last event's number; 0 before the first."""
        return self._cursor.position

    async def result(self) -> transfer_pb2.Transfer:
        """Waits for the end and returns the record with its outcome; see `Watch.result`."""
        async for _ in self:
            pass
        return outcome(self._events.transfer)

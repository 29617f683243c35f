"""EventService: the store's history and its continuation, as an iterator that attaches again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Self

from google.protobuf import timestamp_pb2

from imgd.v1 import event_pb2, event_service_pb2

from . import _requests
from ._streams import AsyncCall, AsyncStream, Cursor, Stream, SyncCall

__all__ = ["AsyncEventStream", "EventStream", "watch_events"]

_Response = event_service_pb2.WatchEventsResponse
_Event = event_pb2.StoreEvent


class _EventCursor(Cursor[_Response, _Event]):
    """`position` is -1 before the daemon said where the history stands."""

    def __init__(self, patience: float) -> None:
        super().__init__(patience)
        self.position = -1

    def _items(self, response: _Response) -> Sequence[_Event]:
        self.position = response.cursor
        return response.events


def watch_events(
    after_cursor: int,
    since: datetime | None,
    until: datetime | None,
    filters: Iterable[str],
) -> Callable[[int], event_service_pb2.WatchEventsRequest]:
    """How to attach, and to attach again at a position."""
    first = event_service_pb2.WatchEventsRequest(
        after_cursor=after_cursor,
        since=_requests.timestamp(since),
        until=_requests.timestamp(until),
        filters=_requests.strings("filters", filters),
    )

    def request(position: int) -> event_service_pb2.WatchEventsRequest:
        if position < 0:
            return first
        again = event_service_pb2.WatchEventsRequest(
            after_cursor=position, until=_requests.timestamp(until), filters=first.filters
        )
        if not position:
            # 0 alone would mean from now on, and something may have happened meanwhile.
            begin = first.since if first.HasField("since") else timestamp_pb2.Timestamp()
            again.since.CopyFrom(begin)
        return again

    return request


class EventStream(Stream[_Response, _Event]):
    """What happens in the store, in order and without gaps; it ends at `until`, or never.

    `with` waits until the daemon listens: what happens in the block is not missed. Without it the
    stream begins when it is first asked for an event. When the connection or the daemon goes away
    it attaches again where it was. Leave it with `with` or `close()`, which may come from another
    thread. Raises OutOfRange when the history does not hold the cursor any more.
    """

    def __init__(
        self, attach: Callable[[int], SyncCall[_Response]], *, patience: float, after_cursor: int
    ) -> None:
        super().__init__(_EventCursor(patience), attach)
        self._seen = after_cursor

    @property
    def cursor(self) -> int:
        """What to give as `after_cursor` to go on behind the last event that was handed out."""
        return self._seen if self._waiting else max(self._cursor.position, self._seen)

    def __enter__(self) -> Self:
        while self._cursor.position < 0 and not (self.finished or self._closed.is_set()):
            self._receive()
        return self

    def __next__(self) -> _Event:
        event = super().__next__()
        self._seen = event.cursor
        return event


class AsyncEventStream(AsyncStream[_Response, _Event]):
    """What happens in the store, for asyncio; see `EventStream`."""

    def __init__(
        self, attach: Callable[[int], AsyncCall], *, patience: float, after_cursor: int
    ) -> None:
        super().__init__(_EventCursor(patience), attach)
        self._seen = after_cursor

    @property
    def cursor(self) -> int:
        """What to give as `after_cursor` to go on behind the last event that was handed out."""
        return self._seen if self._waiting else max(self._cursor.position, self._seen)

    async def __aenter__(self) -> Self:
        while self._cursor.position < 0 and not (self.finished or self._closed.is_set()):
            await self._receive()
        return self

    async def __anext__(self) -> _Event:
        event = await super().__anext__()
        self._seen = event.cursor
        return event

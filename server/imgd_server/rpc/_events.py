"""EventService."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from itertools import dropwhile
from typing import Any, Self

import grpc.aio

from imgd.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc
from imgd_server.images import event_fits, parse_event_filters
from imgd_server.metadata import EventFeed, EventRecord, MetadataStore, ReadSession
from imgd_server.rpc import _convert
from imgd_server.transfer import now_us

__all__ = ["EventServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

# An answer goes out when its events come to so much: none may exceed a MiB.
_MAX_ANSWER_BYTES = 1 << 19


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """The store's history and its continuation.

    `heartbeat` is how long a stream is quiet at the most, in seconds.
    """

    def __init__(self, metadata: MetadataStore, heartbeat: float) -> None:
        self._metadata = metadata
        self._heartbeat = heartbeat
        self._feed = EventFeed(metadata)

    async def WatchEvents(
        self, request: event_service_pb2.WatchEventsRequest, context: Context
    ) -> AsyncIterator[event_service_pb2.WatchEventsResponse]:
        """Streams events from a cursor or time on."""
        filters = parse_event_filters(request.filters)
        since = _time(request.since) if request.HasField("since") else None
        awaited = since or 0
        until = _time(request.until) if request.HasField("until") else sys.maxsize
        cursor = await self._begin(request.after_cursor, since)
        # Says at once where the history stands, so that a client knows where to attach again.
        yield event_service_pb2.WatchEventsResponse(cursor=cursor)
        told, heard = cursor, time.monotonic()
        end: int | None = None
        with _Reader(self._feed) as reader:
            while end is None or cursor < end:
                patience = heard + self._heartbeat - time.monotonic()
                if end is None:
                    patience = min(patience, (until - now_us()) / 1e6 + 0.01)
                found = await reader.next(cursor, patience)
                if end is None and now_us() >= until:
                    # What happens from now on is too late, however much it is.
                    end = (await self._bounds())[1]
                    if cursor > end:
                        # Read no further, so that nobody else would refuse it.
                        await self._feed.after(cursor)
                cursor = found[-1].cursor if found else cursor
                young = _since(awaited, found)
                awaited = 0 if young else awaited
                shown = [one for one in young if one.time < until and event_fits(one, filters)]
                # What nobody asked for is told of no more often than that there is nothing.
                if shown or time.monotonic() >= heard + self._heartbeat:
                    for answer in _answers(shown, cursor):
                        yield answer
                    told, heard = cursor, time.monotonic()
        if told < cursor:
            yield event_service_pb2.WatchEventsResponse(cursor=cursor)

    async def stop(self) -> None:
        """Ends every stream, with a reason."""
        await self._feed.close()

    async def _bounds(self) -> tuple[int, int]:
        return await self._metadata.read(lambda session: session.event_bounds())

    async def _begin(self, after: int, since: int | None) -> int:
        """The cursor to read from on. A wrong one is refused where it is read from."""
        if after and since is None:
            return after

        def find(session: ReadSession) -> int:
            dropped, last = session.event_bounds()
            if since is None:
                return last
            # The clock may have been set back since: what is younger is all that follows.
            first = session.events(after or dropped, since, 1)
            return first[0].cursor - 1 if first else last

        return await self._metadata.read(find)


class _Reader:
    """Reads a feed on for one stream. To be left with `with`."""

    def __init__(self, feed: EventFeed) -> None:
        self._feed = feed
        self._reading: asyncio.Task[list[EventRecord]] | None = None

    async def next(self, cursor: int, patience: float) -> list[EventRecord]:
        """The next events behind a cursor; none when they are not there within `patience` seconds.

        Then they must be asked for again: only the waiting ends, and what is being read is kept,
        else a store that is slower than the patience would never be read to its end.
        """
        reading = self._reading = self._reading or asyncio.create_task(self._feed.after(cursor))
        await asyncio.wait([reading], timeout=max(patience, 0.0))
        if not reading.done():
            return []
        self._reading = None
        return reading.result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reading:
            # Nobody hears how it ends.
            self._reading.add_done_callback(lambda one: one.cancelled() or one.exception())
            self._reading.cancel()


def _since(time: int, events: Iterable[EventRecord]) -> list[EventRecord]:
    return [*dropwhile(lambda one: one.time < time, events)]


def _answers(
    events: Sequence[EventRecord], cursor: int
) -> Iterator[event_service_pb2.WatchEventsResponse]:
    """One answer, or as many as it takes to keep each small; the last one tells the cursor."""
    answer = event_service_pb2.WatchEventsResponse()
    size = 0
    for event in map(_event, events):
        if size + event.ByteSize() > _MAX_ANSWER_BYTES and answer.events:
            answer.cursor = answer.events[-1].cursor
            yield answer
            answer, size = event_service_pb2.WatchEventsResponse(), 0
        answer.events.append(event)
        size += event.ByteSize()
    answer.cursor = cursor
    yield answer


def _time(value: Any) -> int:
    return int(value.seconds * 1_000_000 + value.nanos // 1000)


def _event(record: EventRecord) -> event_pb2.StoreEvent:
    return event_pb2.StoreEvent(
        cursor=record.cursor,
        event_time=_convert.timestamp(record.time),
        subject_kind=event_pb2.SubjectKind.Value(f"SUBJECT_KIND_{record.kind}"),
        action=record.action,
        subject=record.subject,
        attributes=record.attributes,
    )

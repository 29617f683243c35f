"""EventService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc.aio

from imgd.v1 import event_pb2, event_service_pb2, event_service_pb2_grpc
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images import LABEL
from imgd_server.metadata import EventFeed, EventRecord, MetadataStore
from imgd_server.rpc import _convert
from imgd_server.transfer import now_us

__all__ = ["EventServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

_KINDS = frozenset(event_pb2.SubjectKind.keys())
_KEYS = ("container", "event", "image", "label", "type")


class EventServicer(event_service_pb2_grpc.EventServiceServicer):
    """The store's history and its continuation.

    `heartbeat` is how long a stream is quiet at the most, in seconds.
    """

    def __init__(self, metadata: MetadataStore, heartbeat: float) -> None:
        self._metadata = metadata
        self._heartbeat = heartbeat
        self._feed = EventFeed(metadata)
        self._stopping = asyncio.Event()

    async def WatchEvents(
        self, request: event_service_pb2.WatchEventsRequest, context: Context
    ) -> AsyncIterator[event_service_pb2.WatchEventsResponse]:
        """Streams events from a cursor or time on."""
        filters = _parse_filters(request.filters)
        since = _time(request.since) if request.HasField("since") else None
        until = _time(request.until) if request.HasField("until") else None
        cursor = await self._begin(request.after_cursor, since)
        # Says at once where the history stands, so that a client knows where to attach again.
        yield event_service_pb2.WatchEventsResponse(cursor=cursor)
        while until is None or now_us() < until or await self._has_more(cursor):
            found = await self._next(cursor, since, until)
            shown = [
                one for one in found if (until is None or one.time < until) and _fits(one, filters)
            ]
            cursor = found[-1].cursor if found else cursor
            yield event_service_pb2.WatchEventsResponse(events=map(_event, shown), cursor=cursor)

    async def stop(self) -> None:
        """Ends every stream, with a reason."""
        self._stopping.set()
        await self._feed.close()

    async def _begin(self, after: int, since: int | None) -> int:
        dropped, last = await self._metadata.read(lambda session: session.event_bounds())
        if after == 0:
            return dropped if since is not None else last
        if not dropped <= after <= last:
            raise Error(
                Reason.CURSOR_EXPIRED,
                f"the history kept begins behind cursor {dropped} and ends at {last}, and does not "
                f"hold {after}: list anew, and watch from now on",
                metadata={"first_cursor": str(dropped), "last_cursor": str(last)},
            )
        return after

    async def _has_more(self, cursor: int) -> bool:
        _, last = await self._metadata.read(lambda session: session.event_bounds())
        return last > cursor

    async def _next(self, cursor: int, since: int | None, until: int | None) -> list[EventRecord]:
        """The next events; none when it stays quiet for long, or `until` comes."""
        patience = self._heartbeat
        if until is not None:
            patience = min(patience, max(until - now_us(), 0) / 1e6 + 0.01)
        reading = asyncio.ensure_future(self._feed.after(cursor, since))
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait(
                [reading, stopping], timeout=patience, return_when=asyncio.FIRST_COMPLETED
            )
            if self._stopping.is_set():
                raise Error(
                    Reason.SHUTTING_DOWN,
                    "the daemon is shutting down; attach again soon",
                    retry_after=1.0,
                )
            return reading.result() if reading.done() else []
        finally:
            reading.cancel()
            stopping.cancel()


def _parse_filters(texts: Any) -> dict[str, set[str]]:
    """Values by key. Raises FILTER_INVALID."""
    filters: dict[str, set[str]] = {}
    for position, text in enumerate(texts):
        key, equals, value = text.partition("=")
        key = key.strip().lower()
        wrong = ""
        if not equals or key not in _KEYS:
            wrong = f"a filter is key=value, and the keys are {', '.join(_KEYS)}"
        elif key == "type" and f"SUBJECT_KIND_{value.upper()}" not in _KINDS:
            wrong = "the types are image, container, lease, transfer and collection"
        if wrong:
            raise FieldError(
                f"filters[{position}]",
                f"filters[{position}]: {text[:200]!r}: {wrong}",
                reason=Reason.FILTER_INVALID,
            )
        value = value.strip().lower() if key == "type" else value.strip()
        filters.setdefault(key, set()).add(value)
    return filters


def _fits(event: EventRecord, filters: Mapping[str, set[str]]) -> bool:
    return all(not wanted.isdisjoint(_words(event, key)) for key, wanted in filters.items())


def _words(event: EventRecord, key: str) -> set[str]:
    """What a filter's value can be for it to fit the event."""
    facts = event.attributes
    if key == "type":
        return {event.kind.lower()}
    if key == "event":
        return {event.action}
    if key == "container":
        is_own = event.kind == "CONTAINER"
        return {event.subject, event.subject.partition("/")[2]} if is_own else set()
    if key == "label":
        labels = [(one.removeprefix(LABEL), facts[one]) for one in facts if one.startswith(LABEL)]
        return {name for name, _ in labels} | {f"{name}={value}" for name, value in labels}
    image = event.subject if event.kind == "IMAGE" else facts.get("image", "")
    return {image, *(facts.get(one, "") for one in ("name", "familiar", "digest", "image_id"))}


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

"""The store's events: in order, without gaps, over lost connections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from imgd.v1.event_service_pb2 import WatchEventsRequest
from imgd_client import OutOfRange, Unavailable
from tests.scripted import (
    HOLD,
    Abort,
    Face,
    ScriptedDaemon,
    details,
    happened,
    lost,
    shutting_down,
    within,
)

Connect = Callable[..., Face]
_SINCE = datetime(2026, 1, 2, 3, 4, 5, 6, UTC)


async def test_passes_on_what_happens_up_to_the_end(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.events = [[happened(upto=3), happened(4, 5), happened(6, upto=9)]]
    face = connect()

    stream = face.client.events(
        after_cursor=3, since=_SINCE, until=_SINCE, filters=["type=image", "event=tag"]
    )
    events = await face.rest(stream)

    assert [event.cursor for event in events] == [4, 5, 6]
    assert stream.finished
    assert stream.cursor == 9
    assert await face.next(stream) is None
    time = Timestamp(seconds=int(_SINCE.timestamp()), nanos=6000)
    assert daemon.requests("WatchEvents") == [
        WatchEventsRequest(
            after_cursor=3, since=time, until=time, filters=["type=image", "event=tag"]
        )
    ]


@pytest.mark.parametrize("broken", [lost(), shutting_down()], ids=["lost", "shutting down"])
async def test_attaches_again_behind_what_it_saw(
    daemon: ScriptedDaemon, connect: Connect, broken: Abort
) -> None:
    daemon.events = [[happened(4, 5, upto=7), broken], [happened(upto=7), happened(8)]]
    face = connect()

    events = await face.rest(face.client.events(since=_SINCE, filters=["type=image"]))

    assert [event.cursor for event in events] == [4, 5, 8]
    _, again = daemon.requests("WatchEvents")
    # What was filtered out is not asked for again, and neither is what is older than `since`.
    assert again == WatchEventsRequest(after_cursor=7, filters=["type=image"])


@pytest.mark.parametrize("since", [None, _SINCE], ids=["from now on", "since"])
async def test_a_history_that_was_empty_is_read_from_its_beginning(
    daemon: ScriptedDaemon, connect: Connect, since: datetime | None
) -> None:
    daemon.events = [[happened(upto=0), lost()], [happened(1)]]
    face = connect()

    events = await face.rest(face.client.events(since=since))

    assert [event.cursor for event in events] == [1]
    _, again = daemon.requests("WatchEvents")
    # A cursor of 0 alone would leave out what happened meanwhile.
    assert again.HasField("since")
    assert again.since.seconds == (int(since.timestamp()) if since else 0)


async def test_tells_where_to_go_on(daemon: ScriptedDaemon, connect: Connect) -> None:
    daemon.events = [[happened(upto=3), happened(4, 5, upto=7), HOLD]]
    face = connect()
    stream = face.client.events(after_cursor=2)

    assert stream.cursor == 2
    assert (await face.next(stream)).cursor == 4
    # The second of the answer is not handed out yet.
    assert stream.cursor == 4
    await face.next(stream)
    assert stream.cursor == 7
    await face.close(stream)
    await daemon.was_left("WatchEvents")


async def test_a_block_begins_when_the_daemon_listens(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    listens = asyncio.Event()
    daemon.events = [[listens, happened(upto=3), happened(4), HOLD]]
    face = connect()
    stream = face.client.events()

    entering = asyncio.create_task(
        face.call(getattr(stream, "__enter__", None) or stream.__aenter__)
    )
    await daemon.called("WatchEvents")
    assert not entering.done()
    listens.set()

    assert await within(entering) is stream
    assert stream.cursor == 3
    assert (await face.next(stream)).cursor == 4


async def test_a_block_cannot_begin_without_a_daemon(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.events = [[lost()]]
    face = connect(patience=60)

    with pytest.raises(Unavailable):
        async with face.using(face.client.events()):
            pass


async def test_closing_the_client_ends_it(daemon: ScriptedDaemon, connect: Connect) -> None:
    daemon.events = [[happened(4), HOLD]]
    face = connect()
    stream = face.client.events()
    await face.next(stream)

    await face.close(face.client)

    assert await face.next(stream) is None


async def test_a_daemon_that_was_never_there_is_told_of_at_once(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.events = [[lost()]]
    face = connect(patience=60)

    with pytest.raises(Unavailable):
        await face.next(face.client.events())
    assert len(daemon.requests("WatchEvents")) == 1


async def test_a_cursor_that_the_history_does_not_hold(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    info = error_details_pb2.ErrorInfo(
        domain="imgd.dev", reason="CURSOR_EXPIRED", metadata={"last_cursor": "9"}
    )
    daemon.events = [[Abort(grpc.StatusCode.OUT_OF_RANGE, "gone", details(info))]]
    face = connect()

    with pytest.raises(OutOfRange) as caught:
        await face.next(face.client.events(after_cursor=3))
    assert caught.value.reason == "CURSOR_EXPIRED"
    assert caught.value.metadata == {"last_cursor": "9"}

"""Watches: they attach again by themselves, end once, and end the call when they are left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import grpc
import pytest

from imgd.v1 import transfer_pb2
from imgd_client import (
    AsyncClient,
    Cancelled,
    InvalidArgument,
    NotFound,
    TransferFailed,
    Unavailable,
)
from tests.scripted import (
    HOLD,
    NAME,
    Abort,
    Face,
    ScriptedDaemon,
    finished,
    heartbeat,
    lost,
    node,
    sequences,
    shutting_down,
    snapshot,
    unknown_arm,
    update,
    within,
)

Connect = Callable[..., Face]


async def test_passes_on_what_happens_up_to_the_end(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.watches = [[snapshot(1, node()), update(2, node()), finished(3)]]
    face = connect()

    watch = face.client.watch("T1", min_interval=0.25)
    events = await face.rest(watch)

    assert sequences(events) == [1, 2, 3]
    assert [event.WhichOneof("event") for event in events] == ["snapshot", "update", "finished"]
    assert watch.finished
    assert await face.next(watch) is None
    (request,) = daemon.requests("WatchTransfer")
    assert (request.name, request.after_sequence) == (NAME, 0)
    assert request.min_interval.ToMilliseconds() == 250


@pytest.mark.parametrize("read", [False, True])
async def test_has_the_result(daemon: ScriptedDaemon, connect: Connect, read: bool) -> None:
    failed = finished(3, transfer_pb2.TRANSFER_STATE_FAILED, code=5, message="no such manifest")
    daemon.watches = [[snapshot(1), finished(3)], [snapshot(1), failed], [snapshot(1), HOLD]]
    face = connect()
    well, badly, left = (face.client.watch(NAME) for _ in range(3))
    if read:
        for watch in (well, badly):
            assert len(await face.rest(watch)) == 2

    assert (await face.call(well.result)).name == NAME
    with pytest.raises(TransferFailed, match="no such manifest") as caught:
        await face.call(badly.result)
    assert caught.value.code is grpc.StatusCode.NOT_FOUND
    await face.next(left)
    await face.close(left)
    with pytest.raises(Cancelled, match="left before its end"):
        await face.call(left.result)


@pytest.mark.parametrize(
    "broken",
    [
        lost(),
        shutting_down(),
        # A server that stops under its streams.
        Abort(grpc.StatusCode.CANCELLED, "CANCELLED"),
    ],
    ids=["lost", "shutting down", "cancelled"],
)
async def test_attaches_again_where_it_was(
    daemon: ScriptedDaemon, connect: Connect, broken: Abort
) -> None:
    daemon.watches = [
        [snapshot(10, node()), update(11, node()), broken],
        [snapshot(15, node()), broken],
        [snapshot(16, node()), finished(17)],
    ]
    face = connect()

    events = await face.rest(face.client.watch(NAME))

    # Every attach begins with a snapshot, and the end comes once.
    assert sequences(events) == [10, 11, 15, 16, 17]
    after = [request.after_sequence for request in daemon.requests("WatchTransfer")]
    assert after == [0, 11, 15]


async def test_an_end_without_the_end_is_a_lost_connection(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.watches = [[snapshot(1)], [snapshot(2), finished(3)]]
    face = connect()

    assert sequences(await face.rest(face.client.watch(NAME))) == [1, 2, 3]


async def test_bridges_a_restart(daemon: ScriptedDaemon, connect: Connect) -> None:
    stop = asyncio.Event()
    daemon.watches = [
        [snapshot(10), stop, shutting_down(0.3)],
        [snapshot(1 << 40), finished(1 << 41)],
    ]
    face = connect()
    watch = face.client.watch(NAME)
    assert (await face.next(watch)).sequence == 10

    rest = asyncio.ensure_future(face.rest(watch))
    stop.set()
    await daemon.called("WatchTransfer")
    await daemon.stop()
    await daemon.start()

    assert sequences(await within(rest)) == [1 << 40, 1 << 41]


async def test_a_snapshot_of_what_is_known_is_not_passed_on(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.watches = [[snapshot(5), lost()], [snapshot(5), update(6), finished(7)]]
    face = connect()

    assert sequences(await face.rest(face.client.watch(NAME))) == [5, 6, 7]


async def test_passes_over_heartbeats_and_what_it_does_not_know(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    script = [snapshot(1), heartbeat(1), unknown_arm(2), update(3), finished(4)]
    daemon.watches = [script]
    face = connect()

    assert sequences(await face.rest(face.client.watch(NAME))) == [1, 3, 4]
    beating = await face.rest(face.client.watch(NAME, heartbeats=True))
    assert sequences(beating) == [1, 1, 3, 4]


async def test_what_it_does_not_know_still_counts_as_seen(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.watches = [[snapshot(1), unknown_arm(7), lost()], [snapshot(8), finished(9)]]
    face = connect()

    await face.rest(face.client.watch(NAME))

    assert daemon.requests("WatchTransfer")[1].after_sequence == 7


async def test_gives_up_when_its_patience_ends(daemon: ScriptedDaemon, connect: Connect) -> None:
    daemon.watches = [[snapshot(1), lost()], [lost()]]
    face = connect(patience=0.4)
    watch = face.client.watch(NAME)
    await face.next(watch)

    with pytest.raises(Unavailable) as caught:
        await within(face.next(watch))

    assert caught.value.message == "Socket closed"
    assert len(daemon.requests("WatchTransfer")) >= 2


async def test_patience_starts_anew_with_every_event(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.watches = [[snapshot(number), lost()] for number in range(1, 9)]
    daemon.watches.append([snapshot(9), finished(10)])
    face = connect(patience=0.15)

    assert sequences(await within(face.rest(face.client.watch(NAME)))) == [*range(1, 11)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Abort(grpc.StatusCode.NOT_FOUND, "no such transfer"), NotFound),
        (Abort(grpc.StatusCode.INVALID_ARGUMENT, "no name"), InvalidArgument),
        # Nobody was ever there: to wait for a daemon that is not started helps nobody.
        (lost(), Unavailable),
    ],
    ids=["not found", "invalid", "not there"],
)
async def test_fails_at_once_where_waiting_helps_nobody(
    daemon: ScriptedDaemon, connect: Connect, answer: Abort, error: type[Exception]
) -> None:
    daemon.watches = [[answer]]
    face = connect()

    with pytest.raises(error):
        await within(face.next(face.client.watch(NAME)))

    assert len(daemon.requests("WatchTransfer")) == 1


async def test_waits_for_a_daemon_that_says_when_it_is_back(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.watches = [[shutting_down()], [snapshot(1), finished(2)]]
    face = connect()

    assert sequences(await within(face.rest(face.client.watch(NAME)))) == [1, 2]


class TestLeaving:
    """A watch that is left ends its call, and never the transfer."""

    async def test_by_break(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()

        event = await face.leave_after_first(lambda: face.client.watch(NAME))

        assert event.sequence == 1
        gc.collect()
        await daemon.was_left("WatchTransfer")
        assert not daemon.requests("CancelTransfer")

    async def test_by_letting_go(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()
        watch = face.client.watch(NAME)
        await face.next(watch)

        del watch
        gc.collect()

        await daemon.was_left("WatchTransfer")

    async def test_by_a_context(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()

        async with face.using(face.client.watch(NAME)) as watch:
            await face.next(watch)
            assert daemon.left.empty()

        await daemon.was_left("WatchTransfer")
        assert await face.next(watch) is None

    async def test_by_closing_it_elsewhere(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()
        watch = face.client.watch(NAME)
        await face.next(watch)

        waiting = asyncio.ensure_future(face.next(watch))
        await daemon.called("WatchTransfer")
        await face.close(watch)

        assert await within(waiting) is None
        await daemon.was_left("WatchTransfer")
        assert not watch.finished

    async def test_by_closing_it_between_two_attempts(
        self, daemon: ScriptedDaemon, connect: Connect
    ) -> None:
        daemon.watches = [[snapshot(1), shutting_down(50)]]
        face = connect()
        watch = face.client.watch(NAME)
        await face.next(watch)

        waiting = asyncio.ensure_future(face.next(watch))
        await asyncio.sleep(0)
        await face.close(watch)

        # Not after the 50 seconds that the daemon asked for.
        assert await asyncio.wait_for(waiting, 90) is None

    async def test_by_closing_the_client(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()
        watch = face.client.watch(NAME)
        await face.next(watch)

        waiting = asyncio.ensure_future(face.next(watch))
        await daemon.called("WatchTransfer")
        await face.close(face.client)

        # Not an error, and no attempt to attach through a closed channel.
        assert await within(waiting) is None
        await daemon.was_left("WatchTransfer")
        assert len(daemon.requests("WatchTransfer")) == 1

    async def test_before_it_began(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        face = connect()
        watch = face.client.watch(NAME)

        await face.close(watch)
        await face.close(watch)

        assert await face.next(watch) is None
        assert not daemon.calls

    async def test_after_its_end_ends_nothing(
        self, daemon: ScriptedDaemon, connect: Connect
    ) -> None:
        daemon.watches = [[snapshot(1), finished(2)]]
        face = connect()
        watch = face.client.watch(NAME)
        await face.rest(watch)

        await face.close(watch)
        await face.close(face.client)

        assert daemon.left.empty()


async def test_a_cancelled_task_ends_the_call(daemon: ScriptedDaemon) -> None:
    daemon.watches = [[snapshot(1), HOLD]]
    async with AsyncClient(daemon.address) as client:
        watch = client.watch(NAME)
        await anext(watch)

        task = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await daemon.was_left("WatchTransfer")

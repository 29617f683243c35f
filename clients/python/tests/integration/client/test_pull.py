"""Pulls: they belong to their caller, who cancels them by leaving."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import grpc
import pytest

from imgd.v1 import errors_pb2, transfer_pb2, transfer_service_pb2
from imgd_client import (
    AsyncClient,
    Cancelled,
    Client,
    InvalidArgument,
    ResourceExhausted,
    TransferFailed,
)
from tests.scripted import (
    HOLD,
    NAME,
    Abort,
    AsyncFace,
    Face,
    ScriptedDaemon,
    finished,
    heartbeat,
    lost,
    node,
    sequences,
    snapshot,
    update,
    within,
)

Connect = Callable[..., Face]
_REFERENCE = "127.0.0.1:5000/app:1"


def _script() -> list[transfer_pb2.TransferEvent]:
    return [snapshot(1, node()), heartbeat(1), update(2, node()), finished(3)]


async def test_starts_watches_and_ends(daemon: ScriptedDaemon, connect: Connect) -> None:
    daemon.watches = [_script()]
    face = connect()

    pull = await face.call(face.client.pull, _REFERENCE, min_interval=0.5)
    events = await face.rest(pull)
    transfer = await face.call(pull.result)

    assert sequences(events) == [1, 2, 3]
    assert transfer.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
    assert pull.name == transfer.name == NAME
    (request,) = daemon.requests("StartTransfer")
    assert request.source.registry.reference == _REFERENCE
    assert request.destination.HasField("store")
    assert request.request_id
    assert daemon.requests("WatchTransfer")[0].min_interval.ToMilliseconds() == 500
    # It ended by itself.
    await face.close(pull)
    assert not daemon.requests("CancelTransfer")


async def test_goes_on_after_a_lost_connection(daemon: ScriptedDaemon, connect: Connect) -> None:
    # Lost before the first event, too: the daemon took the pull, so it was there.
    daemon.watches = [[lost()], [snapshot(1), lost()], [snapshot(2), finished(3)]]
    face = connect()

    pull = await face.call(face.client.pull, _REFERENCE)

    assert (await face.call(pull.result)).name == NAME
    assert len(daemon.requests("StartTransfer")) == 1


async def test_a_failure_is_an_error_of_its_own(daemon: ScriptedDaemon, connect: Connect) -> None:
    end = finished(
        2,
        transfer_pb2.TRANSFER_STATE_FAILED,
        code=5,
        reason=errors_pb2.ERROR_REASON_REMOTE_NOT_FOUND,
        message="no such manifest",
        host="127.0.0.1:5000",
    )
    daemon.watches = [[snapshot(1), end]]
    face = connect()
    pull = await face.call(face.client.pull, _REFERENCE)

    with pytest.raises(TransferFailed) as caught:
        await face.call(pull.result)

    error = caught.value
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "REMOTE_NOT_FOUND")
    assert error.failure.host == "127.0.0.1:5000"
    assert error.transfer.state == transfer_pb2.TRANSFER_STATE_FAILED
    assert not daemon.requests("CancelTransfer")


async def test_what_is_wrong_with_the_request_is_told_at_once(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.answers["StartTransfer"] = [Abort(grpc.StatusCode.INVALID_ARGUMENT, "bad reference")]
    face = connect()

    with pytest.raises(InvalidArgument, match="bad reference"):
        await face.call((await face.call(face.client.pull, "x@")).result)

    assert not daemon.requests("WatchTransfer")


class TestLeaving:
    async def test_by_break(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()

        await face.leave_after_first(lambda: face.client.pull(_REFERENCE))
        gc.collect()

        (request,) = await daemon.called("CancelTransfer")
        assert request.name == NAME
        await daemon.was_left("WatchTransfer")

    async def test_by_break_and_closing_the_client_at_once(
        self, daemon: ScriptedDaemon, connect: Connect
    ) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()

        await face.leave_after_first(lambda: face.client.pull(_REFERENCE))
        gc.collect()
        await face.close(face.client)

        # The daemon has heard of it before the connection went.
        assert len(daemon.requests("CancelTransfer")) == 1

    async def test_by_a_context(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()

        pull = await face.call(face.client.pull, _REFERENCE)
        async with face.using(pull):
            await face.next(pull)
            assert not daemon.requests("CancelTransfer")

        assert len(daemon.requests("CancelTransfer")) == 1

    async def test_by_closing_the_client(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()
        pull = await face.call(face.client.pull, _REFERENCE)
        await face.next(pull)

        waiting = asyncio.ensure_future(face.call(pull.result))
        await daemon.called("WatchTransfer")
        await face.close(face.client)

        with pytest.raises(Cancelled, match="left before its end"):
            await within(waiting)
        assert len(daemon.requests("CancelTransfer")) == 1

    async def test_twice_cancels_once(self, daemon: ScriptedDaemon, connect: Connect) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()
        pull = await face.call(face.client.pull, _REFERENCE)
        await face.next(pull)

        await face.close(pull)
        await face.close(pull)
        del pull
        gc.collect()
        await face.close(face.client)

        assert len(daemon.requests("CancelTransfer")) == 1

    @pytest.mark.parametrize("how", ["from the start", "later"])
    async def test_does_not_cancel_what_is_detached(
        self, daemon: ScriptedDaemon, connect: Connect, how: str
    ) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()
        pull = await face.call(face.client.pull, _REFERENCE, detach=how == "from the start")
        await face.next(pull)
        if how == "later":
            pull.detach()

        await face.close(pull)
        del pull
        gc.collect()
        await face.close(face.client)

        await daemon.was_left("WatchTransfer")
        assert not daemon.requests("CancelTransfer")

    async def test_a_daemon_that_is_gone_is_no_error(
        self, daemon: ScriptedDaemon, connect: Connect
    ) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        face = connect()
        pull = await face.call(face.client.pull, _REFERENCE)
        await face.next(pull)

        await daemon.stop()

        await within(face.close(pull))

    async def test_an_error_while_waiting_cancels(
        self, daemon: ScriptedDaemon, connect: Connect
    ) -> None:
        daemon.watches = [[snapshot(1), lost()], [lost()]]
        face = connect(patience=0.1)
        pull = await face.call(face.client.pull, _REFERENCE)

        with pytest.raises(Exception, match="Socket closed"):
            await within(face.call(pull.result))

        assert len(daemon.requests("CancelTransfer")) == 1


@pytest.mark.parametrize("detach", [False, True])
async def test_ctrl_c_while_it_starts_cancels_what_the_daemon_took(
    daemon: ScriptedDaemon, monkeypatch: pytest.MonkeyPatch, detach: bool
) -> None:
    with Client(daemon.address) as client:
        start, interrupted = client.transfers.start, False

        def interrupt(request: transfer_service_pb2.StartTransferRequest) -> transfer_pb2.Transfer:
            nonlocal interrupted
            transfer = start(request)
            if not interrupted:
                interrupted = True
                raise KeyboardInterrupt
            return transfer

        monkeypatch.setattr(client.transfers, "start", interrupt)

        def pull() -> bool:
            try:
                client.pull(_REFERENCE, detach=detach)
            except KeyboardInterrupt:
                # Not through the thread's future, which would end the test run.
                return True
            return False

        assert await asyncio.to_thread(pull)

    if detach:
        assert not daemon.requests("CancelTransfer")
        return
    # The same request_id finds the transfer that was begun.
    first, second = daemon.requests("StartTransfer")
    assert first.request_id == second.request_id
    assert daemon.requests("CancelTransfer")[0].name == NAME


async def test_follows_a_transfer_that_was_resumed(daemon: ScriptedDaemon) -> None:
    daemon.watches = [[snapshot(1), finished(2)]]

    def follow() -> transfer_pb2.Transfer:
        with Client(daemon.address) as client:
            return client.transfers.follow(client.transfers.resume("T1")).result()

    assert (await asyncio.to_thread(follow)).name == NAME
    assert daemon.requests("ResumeTransfer")[0].name == NAME


class TestAsyncio:
    """What only a task can do: be cancelled."""

    async def test_starts_with_its_first_use(self, daemon: ScriptedDaemon) -> None:
        daemon.watches = [_script()]
        async with AsyncClient(daemon.address) as client:
            pull = client.pull(_REFERENCE)
            assert not daemon.calls
            assert not pull.name

            await pull.start()
            await pull.start()

            assert len(daemon.requests("StartTransfer")) == 1
            assert (await pull.result()).name == NAME

    async def test_a_task_cancelled_while_it_waits_cancels_the_pull(
        self, daemon: ScriptedDaemon
    ) -> None:
        daemon.watches = [[snapshot(1), HOLD]]
        async with AsyncClient(daemon.address) as client:
            task = asyncio.ensure_future(client.pull(_REFERENCE).result())
            await daemon.called("WatchTransfer")
            task.cancel()

            with pytest.raises(asyncio.CancelledError):
                await within(task)
            assert len(daemon.requests("CancelTransfer")) == 1

    async def test_a_task_cancelled_while_it_starts_cancels_the_pull(
        self, daemon: ScriptedDaemon
    ) -> None:
        go_on = asyncio.Event()
        daemon.gates["StartTransfer"] = go_on
        async with AsyncClient(daemon.address) as client:
            task = asyncio.ensure_future(client.pull(_REFERENCE).result())
            await daemon.called("StartTransfer")
            task.cancel()
            go_on.set()

            with pytest.raises(asyncio.CancelledError):
                await within(task)
            # The daemon had accepted it.
            assert daemon.requests("CancelTransfer")[0].name == NAME

    async def test_closing_it_while_it_starts_elsewhere_cancels_the_pull(
        self, daemon: ScriptedDaemon
    ) -> None:
        go_on = asyncio.Event()
        daemon.gates["StartTransfer"] = go_on
        async with AsyncClient(daemon.address) as client:
            pull = client.pull(_REFERENCE)
            tasks = [asyncio.ensure_future(pull.result()) for _ in range(2)]
            await daemon.called("StartTransfer")
            closing = asyncio.ensure_future(pull.aclose())
            await asyncio.sleep(0)
            go_on.set()
            await within(closing)

            for task in tasks:
                with pytest.raises(Cancelled):
                    await within(task)
            assert len(daemon.requests("StartTransfer")) == 1
            assert len(daemon.requests("CancelTransfer")) == 1

    async def test_a_start_that_failed_can_be_tried_again(self, daemon: ScriptedDaemon) -> None:
        daemon.answers["StartTransfer"] = [
            Abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy"),
            transfer_service_pb2.StartTransferResponse(transfer=transfer_pb2.Transfer(name=NAME)),
        ]
        async with AsyncClient(daemon.address) as client:
            pull = client.pull(_REFERENCE)
            with pytest.raises(ResourceExhausted):
                await pull.start()
            assert (await pull.start()).name == NAME
            await pull.aclose()

    async def test_two_faces_share_no_loop(self, daemon: ScriptedDaemon) -> None:
        daemon.watches = [_script()]

        async def pull() -> str:
            face = AsyncFace(daemon.address)
            async with face.client as client:
                name: str = (await client.pull(_REFERENCE).result()).name
            return name

        found = await asyncio.to_thread(asyncio.run, pull())

        assert found == NAME

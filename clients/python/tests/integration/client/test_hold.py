"""Holds: taken, kept alive, let go, and honest about having been lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from imgd.v1 import container_pb2, lease_pb2
from imgd.v1 import container_service_pb2 as containers_pb2
from imgd.v1 import lease_service_pb2 as leases_pb2
from imgd_client import AsyncClient, FailedPrecondition, NotFound, Unavailable
from imgd_client._calls import Streams
from imgd_client._hold import Hold
from tests.scripted import Abort, Face, ScriptedDaemon, details, lost, within

Connect = Callable[..., Face]
_LEASE = lease_pb2.Lease(name="leases/mine")
_RENEWED = lease_pb2.Lease(name="leases/mine", digests=["sha256:renewed"])
_CONTAINER = container_pb2.Container(name="containers/web")


def _refused(code: grpc.StatusCode, reason: str) -> Abort:
    info = error_details_pb2.ErrorInfo(domain="imgd.dev", reason=reason)
    return Abort(code, "no", details(info))


_GONE = _refused(grpc.StatusCode.NOT_FOUND, "LEASE_NOT_FOUND")
_EXITED = _refused(grpc.StatusCode.FAILED_PRECONDITION, "CONTAINER_STATE")


@pytest.fixture
def daemon(daemon: ScriptedDaemon) -> ScriptedDaemon:
    """A daemon that gives what it is asked for."""
    daemon.answers = {
        "CreateLease": [leases_pb2.CreateLeaseResponse(lease=_LEASE)],
        "RenewLease": [leases_pb2.RenewLeaseResponse(lease=_RENEWED)],
        "CreateContainer": [containers_pb2.CreateContainerResponse(container=_CONTAINER)],
        "StartContainer": [containers_pb2.StartContainerResponse(container=_CONTAINER)],
        "HeartbeatContainer": [containers_pb2.HeartbeatContainerResponse(container=_CONTAINER)],
    }
    return daemon


async def _enter(face: Face, hold: Any) -> None:
    await face.call(getattr(hold, "__enter__", None) or hold.__aenter__)


async def _leave(face: Face, hold: Any, error: BaseException | None = None) -> None:
    leave = getattr(hold, "__exit__", None) or hold.__aexit__
    await face.call(leave, type(error) if error else None, error, None)


async def _until(condition: Callable[[], object]) -> None:
    # A renewal may fail where the machine pauses; the next one does not.
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_lease_is_renewed_and_given_back(daemon: ScriptedDaemon, connect: Connect) -> None:
    face = connect()

    hold = face.client.leases.hold(
        ["redis"], digests=["sha256:x"], lease_id="mine", ttl=0.3, labels={"a": "b"}
    )
    assert not daemon.calls
    async with face.using(hold):
        assert hold.name == "leases/mine"
        first, second = (await daemon.called("RenewLease", 2))[:2]
        await _until(lambda: hold.record == _RENEWED)
        assert not daemon.requests("DeleteLease")

    (taken,) = daemon.requests("CreateLease")
    assert ([*taken.images], [*taken.digests], taken.lease_id) == (["redis"], ["sha256:x"], "mine")
    assert taken.labels == {"a": "b"}
    assert taken.ttl.ToMilliseconds() == 300
    assert first == second == leases_pb2.RenewLeaseRequest(name="leases/mine", ttl=taken.ttl)
    assert daemon.requests("DeleteLease") == [leases_pb2.DeleteLeaseRequest(name="leases/mine")]
    assert hold.lost is None


async def test_a_container_runs_lives_and_is_removed(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    face = connect()

    async with face.using(
        face.client.containers.hold(
            "redis", container_id="web", labels={"a": "b"}, platform="linux/386", heartbeat=0.1
        )
    ) as hold:
        await daemon.called("HeartbeatContainer", 2)
        assert hold.record == _CONTAINER

    methods = [method for method, _ in daemon.calls]
    assert methods[:2] == ["CreateContainer", "StartContainer"]
    assert set(methods[2:-1]) == {"HeartbeatContainer"}
    (taken,) = daemon.requests("CreateContainer")
    assert (taken.image, taken.container_id, taken.platform) == ("redis", "web", "linux/386")
    assert taken.labels == {"a": "b"}
    assert taken.heartbeat_interval.ToMilliseconds() == 100
    assert daemon.calls[-1] == (
        "RemoveContainer",
        containers_pb2.RemoveContainerRequest(name="containers/web", force=True),
    )


async def test_a_daemon_that_is_away_is_asked_again(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.answers["RenewLease"] = [
        *[lost()] * 4,
        _refused(grpc.StatusCode.INTERNAL, "INTERNAL"),
        leases_pb2.RenewLeaseResponse(lease=_RENEWED),
    ]
    face = connect()

    async with face.using(face.client.leases.hold(["redis"], ttl=0.3)) as hold:
        await _until(lambda: hold.record == _RENEWED)
        assert len(daemon.requests("RenewLease")) >= 6

    assert hold.lost is None
    assert len(daemon.requests("DeleteLease")) == 1


async def test_a_hold_that_somebody_ended_says_so_at_the_end(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.answers["RenewLease"] = [_GONE]
    daemon.answers["DeleteLease"] = [_GONE]
    face = connect()
    hold, other = (face.client.leases.hold(["redis"], ttl=0.3) for _ in range(2))
    for one in (hold, other):
        await _enter(face, one)
    await _until(lambda: hold.lost and other.lost)

    with pytest.raises(NotFound) as caught:
        await _leave(face, hold)
    # What the block raises is not hidden.
    await _leave(face, other, ValueError())

    assert caught.value is hold.lost
    assert caught.value.reason == "LEASE_NOT_FOUND"


async def test_a_container_that_was_stopped_holds_until_the_end(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.answers["HeartbeatContainer"] = [_EXITED]
    face = connect()

    async with face.using(face.client.containers.hold("redis", heartbeat=0.1)) as hold:
        await daemon.called("HeartbeatContainer")

    assert hold.lost is None
    assert len(daemon.requests("RemoveContainer")) == 1


async def test_a_container_that_cannot_start_is_not_left_behind(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.answers["StartContainer"] = [_EXITED]
    daemon.answers["RemoveContainer"] = [lost()]
    face = connect()

    with pytest.raises(FailedPrecondition):
        await _enter(face, face.client.containers.hold("redis"))

    (request,) = daemon.requests("RemoveContainer")
    assert request.force


async def test_a_container_that_cannot_be_removed_is_told_of(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    # A lease ends by itself; a container does not.
    daemon.answers["DeleteLease"] = daemon.answers["RemoveContainer"] = [lost()]
    face = connect()
    lease = face.client.leases.hold(["redis"])
    first, second = (face.client.containers.hold("redis") for _ in range(2))
    for hold in (lease, first, second):
        await _enter(face, hold)

    await _leave(face, lease)
    with pytest.raises(Unavailable):
        await _leave(face, first)
    await _leave(face, second, ValueError())

    assert len(daemon.requests("RemoveContainer")) == 2


async def test_a_container_that_somebody_removed_says_so_at_the_end(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    # Since the last heartbeat, so that nobody noticed.
    gone = _refused(grpc.StatusCode.NOT_FOUND, "CONTAINER_NOT_FOUND")
    daemon.answers["RemoveContainer"] = [gone]
    face = connect()
    hold, other = (face.client.containers.hold("redis") for _ in range(2))
    for one in (hold, other):
        await _enter(face, one)

    with pytest.raises(NotFound):
        await _leave(face, hold)
    await face.close(other)
    await _leave(face, other)


async def test_it_can_be_let_go_early(daemon: ScriptedDaemon, connect: Connect) -> None:
    face = connect()

    async with face.using(face.client.leases.hold(["redis"])) as hold:
        await face.close(hold)
        assert len(daemon.requests("DeleteLease")) == 1
        await face.close(hold)

    assert len(daemon.requests("DeleteLease")) == 1


async def test_closing_the_client_lets_everything_go(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    face = connect()
    for hold in (face.client.leases.hold(["redis"]), face.client.containers.hold("redis")):
        await _enter(face, hold)

    await face.close(face.client)

    assert len(daemon.requests("DeleteLease")) == 1
    assert len(daemon.requests("RemoveContainer")) == 1


async def test_a_hold_that_cannot_be_taken(daemon: ScriptedDaemon, connect: Connect) -> None:
    daemon.answers["CreateLease"] = [_refused(grpc.StatusCode.NOT_FOUND, "IMAGE_NOT_FOUND")]
    face = connect()
    hold = face.client.leases.hold(["nope"])

    with pytest.raises(NotFound):
        await _enter(face, hold)
    await face.close(hold)

    assert [method for method, _ in daemon.calls] == ["CreateLease"]
    with pytest.raises(ValueError, match="no record before"):
        _ = hold.record


@pytest.mark.parametrize("ttl", [0, -1])
async def test_a_lease_needs_a_time(connect: Connect, ttl: float) -> None:
    face = connect()

    with pytest.raises(ValueError, match=str(ttl)):
        face.client.leases.hold(["redis"], ttl=ttl)


async def test_a_task_that_is_cancelled_while_it_takes_one_leaves_nothing(
    daemon: ScriptedDaemon,
) -> None:
    daemon.gates["CreateLease"] = asyncio.Event()

    async with AsyncClient(daemon.address) as client:
        hold = client.leases.hold(["redis"])
        task = asyncio.create_task(hold.__aenter__())
        await daemon.called("CreateLease")
        task.cancel()
        await asyncio.sleep(0)
        daemon.gates["CreateLease"].set()
        with pytest.raises(asyncio.CancelledError):
            await within(task)

    assert len(daemon.requests("DeleteLease")) == 1


async def test_ctrl_c_while_it_is_taken_leaves_nothing(daemon: ScriptedDaemon) -> None:
    taken: list[str] = []
    released: list[str] = []

    def take() -> lease_pb2.Lease:
        taken.append("take")
        if len(taken) == 1:
            raise KeyboardInterrupt
        return _LEASE

    hold = Hold(take, lambda _: _LEASE, released.append, 60, Streams())
    with pytest.raises(KeyboardInterrupt):
        hold.__enter__()

    assert released == ["leases/mine"]

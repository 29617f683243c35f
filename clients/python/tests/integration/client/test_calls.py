"""Calls that answer once: deadlines, errors, pages, and which of them are tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2

from imgd.v1 import image_pb2, image_service_pb2, transfer_pb2, transfer_service_pb2
from imgd_client import (
    AsyncClient,
    Cancelled,
    DeadlineExceeded,
    InUse,
    NotFound,
    Unavailable,
    Unimplemented,
)
from tests.scripted import (
    HOLD,
    NAME,
    Abort,
    Face,
    ScriptedDaemon,
    SyncFace,
    details,
    lost,
    within,
)

Connect = Callable[..., Face]


async def test_a_deadline_ends_a_call(daemon: ScriptedDaemon, connect: Connect) -> None:
    daemon.answers["GetImage"] = [HOLD]
    face = connect(timeout=0.2)

    with pytest.raises(DeadlineExceeded):
        await within(face.call(face.client.images.get, "redis"))

    await daemon.was_left("GetImage")


_SLOW: dict[str, tuple[str, Callable[..., Any]]] = {
    "collect": ("CollectGarbage", lambda client, **more: client.system.collect(**more)),
    "prune": ("PruneImages", lambda client, **more: client.images.prune(**more)),
    "bundle": (
        "CreateContainer",
        lambda client, **more: client.containers.create_bundle("redis", **more),
    ),
    "root file system": (
        "CreateContainer",
        lambda client, **more: client.containers.create("redis", prepare_rootfs=True, **more),
    ),
    "diff": ("DiffContainer", lambda client, **more: client.containers.diff("web", **more)),
}


@pytest.mark.parametrize("name", _SLOW)
async def test_what_waits_for_a_disk_has_a_deadline_of_its_own(
    daemon: ScriptedDaemon, connect: Connect, name: str
) -> None:
    method, call = _SLOW[name]
    face = connect(timeout=100.0)
    options: list[dict[str, float]] = [{}, {"timeout": 500.0}]
    for more in options:
        if name == "diff":
            await within(face.rest(call(face.client, **more)))
        else:
            await within(face.call(call, face.client, **more))

    unbound, bound = daemon.deadlines[method]
    assert unbound is None
    assert bound is not None
    assert bound > 200


async def test_a_record_alone_has_the_clients_deadline(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    face = connect(timeout=500.0)
    await within(face.call(face.client.containers.create, "redis"))
    (bound,) = daemon.deadlines["CreateContainer"]
    assert bound is not None
    assert 200 < bound < 600


async def test_closing_the_client_ends_a_call(daemon: ScriptedDaemon) -> None:
    daemon.answers["GetImage"] = [HOLD]
    face = SyncFace(daemon.address)
    waiting = asyncio.ensure_future(face.call(face.client.images.get, "redis"))
    await daemon.called("GetImage")

    await face.close(face.client)

    with pytest.raises(Cancelled):
        await within(waiting)


@pytest.mark.parametrize("used", [False, True])
async def test_a_closed_client_says_so(
    daemon: ScriptedDaemon, connect: Connect, used: bool
) -> None:
    """gRPC crashes the process when a closed channel is asked for a method."""
    face = connect()
    client = face.client
    daemon.answers["GetImage"] = [image_service_pb2.GetImageResponse()]
    if used:
        await face.call(client.images.get, "redis")
    for _ in range(2):
        await face.close(client)

    async def pull() -> None:
        await face.next(await face.call(client.pull, "redis"))

    async def look() -> None:
        await face.call(client.images.get, "redis")

    async def watch() -> None:
        await face.next(client.watch("T1"))

    async def listen() -> None:
        await face.next(client.events())

    async def hold() -> None:
        async with face.using(client.leases.hold(["redis"])):
            pass

    async def reach() -> None:
        assert client.channel

    for call in (pull, look, watch, listen, hold, reach):
        with pytest.raises(ValueError, match="this client is closed"):
            await call()
    assert len(daemon.calls) == used


async def test_a_cancelled_task_ends_a_call(daemon: ScriptedDaemon) -> None:
    daemon.answers["GetImage"] = [HOLD]
    async with AsyncClient(daemon.address) as client:
        task = asyncio.ensure_future(client.images.get("redis"))
        await daemon.called("GetImage")
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task
        await daemon.was_left("GetImage")


async def test_an_error_has_what_the_daemon_told(daemon: ScriptedDaemon, connect: Connect) -> None:
    info = error_details_pb2.ErrorInfo(domain="imgd.dev", reason="IMAGE_IN_USE")
    holders = error_details_pb2.PreconditionFailure()
    holders.violations.add(type="container", subject="containers/web", description="running")
    daemon.answers["RemoveImage"] = [
        Abort(grpc.StatusCode.FAILED_PRECONDITION, "in use", details(info, holders))
    ]
    face = connect()

    with pytest.raises(InUse) as caught:
        await face.call(face.client.images.remove, "redis")

    assert caught.value.preconditions == (("container", "containers/web", "running"),)
    # gRPC's own error, with all that a traceback would say of it, is not shown.
    assert caught.value.__suppress_context__


async def test_a_daemon_that_is_not_there(daemon: ScriptedDaemon, connect: Connect) -> None:
    await daemon.stop()
    face = connect()

    with pytest.raises(Unavailable) as caught:
        await within(face.call(face.client.images.get, "redis"))

    assert not caught.value.reason


async def test_a_method_that_the_daemon_does_not_know(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    # gRPC's own answer, which has no details.
    daemon.answers["GetInfo"] = [Abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")]
    face = connect()

    with pytest.raises(Unimplemented) as caught:
        await face.call(face.client.system.info)

    assert not caught.value.reason


_SAFE: dict[str, Callable[[Any], Any]] = {
    "GetImage": lambda client: client.images.get("redis"),
    "GetTransfer": lambda client: client.transfers.get(NAME),
    "CancelTransfer": lambda client: client.transfers.cancel(NAME),
    # It carries a request_id, so that a second one finds the first one's transfer.
    "StartTransfer": lambda client: client.transfers.start_pull("redis"),
}
_UNSAFE: dict[str, Callable[[Any], Any]] = {
    "ResumeTransfer": lambda client: client.transfers.resume(NAME),
    "DeleteTransfer": lambda client: client.transfers.delete(NAME),
    "RemoveImage": lambda client: client.images.remove("redis"),
}


@pytest.mark.parametrize("method", _SAFE)
async def test_tries_again_what_is_safe(
    daemon: ScriptedDaemon, connect: Connect, method: str
) -> None:
    usual: dict[str, Any] = {
        "GetImage": image_service_pb2.GetImageResponse(),
        "GetTransfer": transfer_service_pb2.GetTransferResponse(),
        "CancelTransfer": transfer_service_pb2.CancelTransferResponse(),
        "StartTransfer": transfer_service_pb2.StartTransferResponse(),
    }
    daemon.answers[method] = [lost(), usual[method]]
    face = connect()

    await within(face.call(_SAFE[method], face.client))

    first, second = daemon.requests(method)
    assert first == second


@pytest.mark.parametrize("method", _UNSAFE)
async def test_sends_what_is_not_safe_once(
    daemon: ScriptedDaemon, connect: Connect, method: str
) -> None:
    daemon.answers[method] = [lost()]
    face = connect()

    with pytest.raises(Unavailable):
        await within(face.call(_UNSAFE[method], face.client))

    assert len(daemon.requests(method)) == 1


async def test_tries_again_a_few_times_only(daemon: ScriptedDaemon, connect: Connect) -> None:
    daemon.answers["GetImage"] = [lost()]
    face = connect()

    with pytest.raises(Unavailable):
        await within(face.call(face.client.images.get, "redis"))

    assert len(daemon.requests("GetImage")) == 3


async def test_does_not_try_again_what_was_answered(
    daemon: ScriptedDaemon, connect: Connect
) -> None:
    daemon.answers["GetImage"] = [Abort(grpc.StatusCode.NOT_FOUND, "none")]
    face = connect()

    with pytest.raises(NotFound):
        await face.call(face.client.images.get, "redis")

    assert len(daemon.requests("GetImage")) == 1


async def test_lists_page_by_page(daemon: ScriptedDaemon, connect: Connect) -> None:
    def page(names: str, token: str) -> image_service_pb2.ListImagesResponse:
        images = [image_pb2.Image(name=f"images/{name}") for name in names]
        return image_service_pb2.ListImagesResponse(images=images, next_page_token=token)

    # A page may be empty and yet not the last.
    daemon.answers["ListImages"] = [page("AB", "one"), page("", "two"), page("C", "")]
    face = connect()

    found = await face.rest(face.client.images.list(filters=["dangling=true"], page_size=2))

    assert [image.name for image in found] == ["images/A", "images/B", "images/C"]
    requests = daemon.requests("ListImages")
    assert [request.page_token for request in requests] == ["", "one", "two"]
    assert {(*request.filters, request.page_size) for request in requests} == {("dangling=true", 2)}


async def test_lists_transfers_page_by_page(daemon: ScriptedDaemon, connect: Connect) -> None:
    first = transfer_service_pb2.ListTransfersResponse(next_page_token="more")
    first.transfers.add(name="transfers/A")
    last = transfer_service_pb2.ListTransfersResponse()
    last.transfers.add(name="transfers/B")
    daemon.answers["ListTransfers"] = [first, last]
    face = connect()

    found = await face.rest(face.client.transfers.list(page_size=1))

    assert [transfer.name for transfer in found] == ["transfers/A", "transfers/B"]
    assert [one.page_token for one in daemon.requests("ListTransfers")] == ["", "more"]


async def test_asks_for_a_page_when_it_is_needed(daemon: ScriptedDaemon, connect: Connect) -> None:
    more = transfer_service_pb2.ListTransfersResponse(next_page_token="more")
    more.transfers.add(name=NAME)
    daemon.answers["ListTransfers"] = [more]
    face = connect()

    found = face.client.transfers.list(states=[transfer_pb2.TRANSFER_STATE_RUNNING])
    first = await face.next(found)

    assert first.name == NAME
    assert len(daemon.requests("ListTransfers")) == 1


async def test_finds_a_daemon_that_came_back(daemon: ScriptedDaemon, connect: Connect) -> None:
    face = connect()
    await face.call(face.client.images.get, "redis")

    await daemon.stop()
    with pytest.raises(Unavailable):
        await within(face.call(face.client.images.get, "redis"))
    await daemon.start()

    # gRPC waits at most two seconds before it looks again.
    async with asyncio.timeout(60):
        while True:
            try:
                await face.call(face.client.images.get, "redis")
                break
            except Unavailable:
                continue

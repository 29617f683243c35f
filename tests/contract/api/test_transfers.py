"""Starting, watching, steering and listing transfers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from imgd.v1 import image_service_pb2, transfer_pb2, transfer_service_pb2
from imgd_server.metadata import TransferRecord
from imgd_server.transfer import RegistryEndpoint, StoreEndpoint, TransferSpec
from tests.contract.api.served import Api, read, refusal, serve
from tests.fake_images import make_image
from tests.hostile import HostileRegistry, stall

# A net under what should happen by itself.
PATIENCE = 60.0
LAYERS = [bytes([number]) * 300_000 for number in range(3)]
IMAGE = make_image(LAYERS, layer_type="application/vnd.oci.image.layer.v1.tar")

State = transfer_pb2.TransferState
transfers: Any = transfer_service_pb2
parts: Any = transfer_pb2


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.add("app", IMAGE, "1")
        yield registry


@pytest.fixture
def held(registry: HostileRegistry) -> HostileRegistry:
    """The registry, which holds the layers back until `behave`."""
    registry.on("GET .*/blobs/", stall(after=1000))
    return registry


def start(reference: str, **more: Any) -> transfer_service_pb2.StartTransferRequest:
    request: transfer_service_pb2.StartTransferRequest = transfers.StartTransferRequest(
        source=parts.TransferSource(registry={"reference": reference}),
        destination=parts.TransferDestination(store=more.pop("store", {})),
        **more,
    )
    return request


def pull(reference: str, **more: Any) -> transfer_service_pb2.PullRequest:
    request: transfer_service_pb2.PullRequest = transfers.PullRequest(reference=reference, **more)
    return request


async def end_of(api: Api, name: str) -> transfer_pb2.Transfer:
    """Watches a transfer to its end; returns its record."""
    async with asyncio.timeout(PATIENCE):
        answers = await read(
            api.transfers.WatchTransfer(transfer_service_pb2.WatchTransferRequest(name=name))
        )
    return answers[-1].event.finished.transfer


async def get(api: Api, name: str) -> transfer_pb2.Transfer:
    answer = await api.transfers.GetTransfer(transfer_service_pb2.GetTransferRequest(name=name))
    return answer.transfer


async def until_moving(call: Any) -> str:
    """Reads a watch or pull until some bytes of a layer are here; returns the transfer's name."""
    name = ""
    async with asyncio.timeout(PATIENCE):
        async for answer in call:
            event = answer.event
            part = event.snapshot if event.HasField("snapshot") else event.update
            name = name or part.transfer.name
            for node in part.nodes:
                if node.kind == transfer_pb2.NODE_KIND_LAYER and any(
                    activity.current_bytes for activity in node.activities
                ):
                    return name
    raise AssertionError("it ended before")


# --- the main way


async def test_start_watch_get(api: Api, registry: HostileRegistry) -> None:
    request = start(f"{registry.host}/app:1")
    accepted = (await api.transfers.StartTransfer(request)).transfer
    assert accepted.name.startswith("transfers/")
    assert accepted.state == State.TRANSFER_STATE_PENDING
    assert not accepted.HasField("outcome")
    ended = await end_of(api, accepted.name)
    assert ended.state == State.TRANSFER_STATE_SUCCEEDED
    assert ended.outcome.target.digest == IMAGE.digest
    assert ended.outcome.pull_result == transfer_pb2.PULL_RESULT_DOWNLOADED
    assert list(ended.outcome.references) == [f"{registry.host}/app:1"]
    assert await get(api, accepted.name) == ended
    found = await api.images.GetImage(
        image_service_pb2.GetImageRequest(image=f"{registry.host}/app:1")
    )
    assert found.image.name == ended.outcome.image


async def test_every_watch_is_a_snapshot_updates_and_one_end(
    api: Api, registry: HostileRegistry
) -> None:
    answers = await read(api.transfers.Pull(pull(f"{registry.host}/app:1", min_interval={})))
    events = [answer.event for answer in answers]
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[0] == "snapshot"
    assert kinds[-1] == "finished"
    assert set(kinds[1:-1]) <= {"update", "heartbeat"}
    numbers = [event.sequence for event in events]
    assert numbers == sorted(set(numbers))
    nodes = {node.node_id: node for event in events for node in event.update.nodes}
    nodes |= {node.node_id: node for node in events[0].snapshot.nodes if node.node_id not in nodes}
    assert {transfer_pb2.NodeState.Name(node.state) for node in nodes.values()} == {
        "NODE_STATE_DONE"
    }
    # Afterwards, from any cursor: the same picture, and the end.
    again = await read(
        api.transfers.WatchTransfer(
            transfer_service_pb2.WatchTransferRequest(
                name=events[-1].finished.transfer.name, after_sequence=2**53
            )
        )
    )
    assert [one.event.WhichOneof("event") for one in again] == ["snapshot", "finished"]
    assert again[-1].event.finished.transfer == events[-1].finished.transfer
    assert {node.node_id for node in again[0].event.snapshot.nodes} == set(nodes)


async def test_a_failure_is_data_and_the_watch_ends_well(
    api: Api, registry: HostileRegistry
) -> None:
    answers = await read(api.transfers.Pull(pull(f"{registry.host}/none:1")))
    ended = answers[-1].event.finished.transfer
    assert ended.state == State.TRANSFER_STATE_FAILED
    failure = ended.outcome.failure
    assert (failure.code, failure.host, failure.http_status) == (5, registry.host, 404)
    assert failure.origin == 1
    assert failure.registry_code == "NAME_UNKNOWN"


async def test_credentials_go_to_the_registry_and_nowhere_else(
    api: Api, registry: HostileRegistry
) -> None:
    registry.require_basic("user", "hunter2")
    credentials = {"user_password": {"user": "user", "password": "hunter2"}}
    request = start(f"{registry.host}/app:1")
    request.source.registry.credentials.user_password.user = "user"
    request.source.registry.credentials.user_password.password = "hunter2"
    accepted = (await api.transfers.StartTransfer(request)).transfer
    ended = await end_of(api, accepted.name)
    assert ended.state == State.TRANSFER_STATE_SUCCEEDED
    answers = await read(
        api.transfers.Pull(pull(f"{registry.host}/app:1", credentials=credentials))
    )
    assert answers[-1].event.finished.transfer.outcome.pull_result == (
        transfer_pb2.PULL_RESULT_UP_TO_DATE
    )
    lease = {"lease_id": "held", "ttl": {"seconds": 60}}
    leased = await read(
        api.transfers.Pull(pull(f"{registry.host}/app:1", credentials=credentials, lease=lease))
    )
    assert leased[-1].event.finished.transfer.outcome.lease == "leases/held"
    anonymous = await read(api.transfers.Pull(pull(f"{registry.host}/app:1")))
    failure = anonymous[-1].event.finished.transfer.outcome.failure
    assert failure.code == grpc.StatusCode.UNAUTHENTICATED.value[0]
    listed = await api.transfers.ListTransfers(transfer_service_pb2.ListTransfersRequest())
    for message in (accepted, ended, listed, *answers, *anonymous):
        assert "hunter2" not in str(message)
        assert "credentials {" not in str(message)


# --- what is refused at once


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (start("A B"), "REFERENCE_INVALID", "source.registry.reference"),
        (
            transfer_service_pb2.StartTransferRequest(
                destination=transfer_pb2.TransferDestination(store=transfer_pb2.StoreEndpoint())
            ),
            "FIELD_INVALID",
            "source",
        ),
        (
            start("redis", platforms={"platforms": ["linux"], "all": True}),
            "FIELD_INVALID",
            "platforms.all",
        ),
        (
            start("redis", store={"tags": ["x@sha256:" + "00" * 32]}),
            "REFERENCE_INVALID",
            "destination.store.tags[0]",
        ),
    ],
)
async def test_a_bad_request_is_answered_at_once(
    api: Api, request_: Any, reason: str, field: str
) -> None:
    found = await refusal(api.transfers.StartTransfer(request_))
    assert (found.code, found.reason, found.field) == ("INVALID_ARGUMENT", reason, field)
    listed = await api.transfers.ListTransfers(transfer_service_pb2.ListTransfersRequest())
    assert not listed.transfers


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (
            transfers.StartTransferRequest(
                source=parts.TransferSource(store={"image": "a"}),
                destination=parts.TransferDestination(archive={}),
            ),
            "from store to archive",
        ),
        (
            transfers.StartTransferRequest(
                source=parts.TransferSource(archive={}),
                destination=parts.TransferDestination(store={"unpack": True}),
            ),
            "unpack",
        ),
        (start("redis", store={"unpack": True}), "unpack"),
        (
            transfers.StartTransferRequest(
                source=parts.TransferSource(layout={"path": "/srv/a"}),
                destination=parts.TransferDestination(store={}),
                limits={"max_bytes_per_second": 1 << 20},
            ),
            "max_bytes_per_second",
        ),
    ],
)
async def test_what_is_not_implemented_is_refused_and_not_ignored(
    api: Api, request_: Any, says: str
) -> None:
    found = await refusal(api.transfers.StartTransfer(request_))
    assert (found.code, found.reason) == ("UNIMPLEMENTED", "UNSUPPORTED")
    assert says in found.message


async def test_a_transfer_that_is_not_there(api: Api) -> None:
    name = "transfers/" + "Z" * 26
    for call in (
        api.transfers.GetTransfer(transfer_service_pb2.GetTransferRequest(name=name)),
        api.transfers.WatchTransfer(transfer_service_pb2.WatchTransferRequest(name=name)),
        api.transfers.CancelTransfer(transfer_service_pb2.CancelTransferRequest(name=name)),
        api.transfers.ResumeTransfer(transfer_service_pb2.ResumeTransferRequest(name=name)),
        api.transfers.DeleteTransfer(transfer_service_pb2.DeleteTransferRequest(name=name)),
    ):
        found = await refusal(call)
        assert (found.code, found.reason) == ("NOT_FOUND", "TRANSFER_NOT_FOUND")
        assert "Z" * 26 in found.message


# --- steering


async def test_cancel_resume_delete(api: Api, held: HostileRegistry) -> None:
    name = (await api.transfers.StartTransfer(start(f"{held.host}/app:1"))).transfer.name
    watch = api.transfers.WatchTransfer(transfer_service_pb2.WatchTransferRequest(name=name))
    await until_moving(watch)
    for call in (
        api.transfers.ResumeTransfer(transfer_service_pb2.ResumeTransferRequest(name=name)),
        api.transfers.DeleteTransfer(transfer_service_pb2.DeleteTransferRequest(name=name)),
    ):
        found = await refusal(call)
        assert (found.code, found.reason) == ("FAILED_PRECONDITION", "TRANSFER_STATE")
    cancelling = transfer_service_pb2.CancelTransferRequest(name=name)
    cancelled = (await api.transfers.CancelTransfer(cancelling)).transfer
    assert cancelled.state == State.TRANSFER_STATE_CANCELLED
    assert cancelled.outcome.failure.reason == 103
    assert (await api.transfers.CancelTransfer(cancelling)).transfer == cancelled
    # The watch that was open ends well, with the end.
    assert (await read(watch))[-1].event.finished.transfer == cancelled
    held.behave()
    useless = transfer_service_pb2.ResumeTransferRequest(name=name)
    useless.destination_credentials.registry_token = "secret"
    found = await refusal(api.transfers.ResumeTransfer(useless))
    assert (found.reason, found.field) == ("FIELD_INVALID", "destination_credentials")
    resumed = (
        await api.transfers.ResumeTransfer(transfer_service_pb2.ResumeTransferRequest(name=name))
    ).transfer
    assert (resumed.name, resumed.attempt) == (name, 2)
    assert (await end_of(api, name)).state == State.TRANSFER_STATE_SUCCEEDED
    deleting = transfer_service_pb2.DeleteTransferRequest(name=name)
    await api.transfers.DeleteTransfer(deleting)
    assert (await refusal(api.transfers.DeleteTransfer(deleting))).reason == "TRANSFER_NOT_FOUND"


async def test_a_repeated_request_finds_the_first_transfer(
    api: Api, registry: HostileRegistry
) -> None:
    first = (
        await api.transfers.StartTransfer(start(f"{registry.host}/app:1", request_id="r"))
    ).transfer
    second = (
        await api.transfers.StartTransfer(start(f"{registry.host}/app:1", request_id="r"))
    ).transfer
    assert second.name == first.name
    found = await refusal(
        api.transfers.StartTransfer(start(f"{registry.host}/app:2", request_id="r"))
    )
    assert (found.code, found.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    listed = await api.transfers.ListTransfers(transfer_service_pb2.ListTransfersRequest())
    assert [one.name for one in listed.transfers] == [first.name]


# --- leaving a pull


async def test_leaving_a_pull_cancels_it_resumably(api: Api, held: HostileRegistry) -> None:
    call = api.transfers.Pull(pull(f"{held.host}/app:1"))
    name = await until_moving(call)
    call.cancel()
    ended = await end_of(api, name)
    assert ended.state == State.TRANSFER_STATE_CANCELLED
    held.behave()
    await api.transfers.ResumeTransfer(transfer_service_pb2.ResumeTransferRequest(name=name))
    ended = await end_of(api, name)
    assert ended.state == State.TRANSFER_STATE_SUCCEEDED
    assert ended.outcome.fetched_bytes < IMAGE_BYTES


IMAGE_BYTES = sum(len(layer) for layer in LAYERS)


async def test_a_detached_pull_goes_on(api: Api, held: HostileRegistry) -> None:
    call = api.transfers.Pull(pull(f"{held.host}/app:1", detach=True))
    name = await until_moving(call)
    call.cancel()
    # Whoever asks later than the leaving was noticed finds it running: another call ended likewise.
    other = api.transfers.Pull(pull(f"{held.host}/app:1"))
    gone = await until_moving(other)
    other.cancel()
    assert (await end_of(api, gone)).state == State.TRANSFER_STATE_CANCELLED
    assert (await get(api, name)).state == State.TRANSFER_STATE_RUNNING
    held.behave()
    assert (await end_of(api, name)).state == State.TRANSFER_STATE_SUCCEEDED


async def test_leaving_hurts_nobody_who_pulls_the_same(api: Api, held: HostileRegistry) -> None:
    first = api.transfers.Pull(pull(f"{held.host}/app:1"))
    leaving = await until_moving(first)
    second = api.transfers.Pull(pull(f"{held.host}/app:1"))
    staying = await until_moving(second)
    assert staying != leaving
    first.cancel()
    assert (await end_of(api, leaving)).state == State.TRANSFER_STATE_CANCELLED
    held.behave()
    ended = (await read(second))[-1].event.finished.transfer
    assert ended.state == State.TRANSFER_STATE_SUCCEEDED
    assert len(held.matching("GET .*/blobs/")) <= len(IMAGE.blobs) * 2


@pytest.mark.parametrize("kept_by", ["another pull", "a detached pull", "a start"])
async def test_a_repeated_pull_has_a_share_of_its_own(
    api: Api, held: HostileRegistry, kept_by: str
) -> None:
    reference = f"{held.host}/app:1"
    if kept_by == "a start":
        await api.transfers.StartTransfer(start(reference, request_id="r"))
    first = api.transfers.Pull(pull(reference, request_id="r"))
    name = await until_moving(first)
    second = None
    if kept_by != "a start":
        detach = kept_by == "a detached pull"
        second = api.transfers.Pull(pull(reference, request_id="r", detach=detach))
        assert await until_moving(second) == name
    first.cancel()
    # Noticed for certain once a later call was noticed to leave.
    other = api.transfers.Pull(pull(reference))
    gone = await until_moving(other)
    other.cancel()
    assert (await end_of(api, gone)).state == State.TRANSFER_STATE_CANCELLED
    assert (await get(api, name)).state == State.TRANSFER_STATE_RUNNING
    if kept_by == "another pull":
        assert second
        second.cancel()
        assert (await end_of(api, name)).state == State.TRANSFER_STATE_CANCELLED
    else:
        held.behave()
        assert (await end_of(api, name)).state == State.TRANSFER_STATE_SUCCEEDED


async def test_a_caller_who_never_reads_can_leave_too(api: Api, held: HostileRegistry) -> None:
    options = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    async with grpc.aio.insecure_channel(api.address, options=options) as channel:
        call: Any = channel.unary_stream(
            "/imgd.v1.TransferService/Pull",
            request_serializer=transfer_service_pb2.PullRequest.SerializeToString,
        )(pull(f"{held.host}/app:1", min_interval={}))
        await call.initial_metadata()
        await asyncio.to_thread(held.wait_for, "GET .*/blobs/")
        listed = await api.transfers.ListTransfers(transfer_service_pb2.ListTransfersRequest())
        (running,) = listed.transfers
        call.cancel()
        assert (await end_of(api, running.name)).state == State.TRANSFER_STATE_CANCELLED


async def test_a_connection_that_is_lost_is_a_caller_who_left(
    api: Api, held: HostileRegistry
) -> None:
    channel = grpc.aio.insecure_channel(api.address)
    call: Any = channel.unary_stream(
        "/imgd.v1.TransferService/Pull",
        request_serializer=transfer_service_pb2.PullRequest.SerializeToString,
        response_deserializer=transfer_service_pb2.PullResponse.FromString,
    )(pull(f"{held.host}/app:1"))
    name = await until_moving(call)
    await channel.close()
    assert (await end_of(api, name)).state == State.TRANSFER_STATE_CANCELLED


async def moving_until_a_deadline(api: Api, reference: str) -> tuple[Any, str]:
    """A pull that moves, and ends with its deadline; and its transfer's name."""
    # Where the machine is slow, a short one comes before any byte does.
    for seconds in (2.0, 8.0, 40.0):
        call = api.transfers.Pull(pull(reference), timeout=seconds)
        with contextlib.suppress(grpc.aio.AioRpcError):
            return call, await until_moving(call)
    raise AssertionError("nothing moved")


async def test_a_deadline_ends_the_call_and_with_it_the_pull(
    api: Api, held: HostileRegistry
) -> None:
    call, name = await moving_until_a_deadline(api, f"{held.host}/app:1")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(call)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await end_of(api, name)).state == State.TRANSFER_STATE_CANCELLED


async def test_leaving_a_watch_leaves_the_transfer_alone(api: Api, held: HostileRegistry) -> None:
    name = (await api.transfers.StartTransfer(start(f"{held.host}/app:1"))).transfer.name
    watches = [
        api.transfers.WatchTransfer(transfer_service_pb2.WatchTransferRequest(name=name))
        for _ in range(3)
    ]
    for watch in watches:
        await until_moving(watch)
        watch.cancel()
    held.behave()
    assert (await end_of(api, name)).state == State.TRANSFER_STATE_SUCCEEDED


# --- listing


@pytest.fixture
async def stocked(tmp_path: Path) -> AsyncIterator[Api]:
    """An API with 25 old transfers, one in five of them failed."""
    async with serve(tmp_path) as api:
        for number in range(25):
            await put(api, number, "FAILED" if number % 5 == 0 else "SUCCEEDED")
        yield api


async def put(api: Api, number: int, state: str, tags: tuple[str, ...] = ()) -> None:
    spec = TransferSpec(RegistryEndpoint(f"h.io/a:{number}"), StoreEndpoint(tags))
    # Several in one microsecond: the order must be whole.
    record = TransferRecord(
        uid=f"T{number:025}",
        request_id="",
        spec=spec.to_json(),
        state=state,
        attempt=1,
        created=1_000_000 + number // 3,
        expires=2**62,
    )
    await api.metadata.write(lambda session: session.put_transfer(record))


async def pages(api: Api, size: int, *states: int) -> list[list[str]]:
    found, token = [], ""
    while True:
        answer = await api.transfers.ListTransfers(
            transfers.ListTransfersRequest(page_size=size, page_token=token, states=states)
        )
        assert answer.ByteSize() < 1 << 20
        found.append([one.name for one in answer.transfers])
        token = answer.next_page_token
        if not token:
            return found


@pytest.mark.parametrize("size", [1, 3, 5, 24, 25, 26])
async def test_transfers_are_listed_newest_first_each_once(stocked: Api, size: int) -> None:
    found = await pages(stocked, size)
    names = [name for page in found for name in page]
    assert names == [f"transfers/T{number:025}" for number in reversed(range(25))]
    assert all(len(page) == size for page in found[:-1])
    assert found[-1]


async def test_transfers_are_listed_by_state(stocked: Api) -> None:
    failed = await pages(stocked, 2, State.TRANSFER_STATE_FAILED)
    assert [len(page) for page in failed] == [2, 2, 1]
    both = await pages(stocked, 100, State.TRANSFER_STATE_FAILED, State.TRANSFER_STATE_SUCCEEDED)
    assert len(both[0]) == 25
    assert await pages(stocked, 100, State.TRANSFER_STATE_RUNNING) == [[]]


async def test_a_list_of_transfers_is_stable_while_others_come(stocked: Api) -> None:
    listed: list[str] = []
    token = ""
    for number in range(100, 200):
        answer = await stocked.transfers.ListTransfers(
            transfer_service_pb2.ListTransfersRequest(page_size=4, page_token=token)
        )
        listed += [one.name for one in answer.transfers]
        token = answer.next_page_token
        if not token:
            break
        await put(stocked, number, "SUCCEEDED")
    assert listed == [f"transfers/T{number:025}" for number in reversed(range(25))]


async def test_a_token_is_of_its_states(stocked: Api) -> None:
    failed = State.TRANSFER_STATE_FAILED
    answer = await stocked.transfers.ListTransfers(
        transfer_service_pb2.ListTransfersRequest(page_size=1, states=[failed])
    )
    found = await refusal(
        stocked.transfers.ListTransfers(
            transfer_service_pb2.ListTransfersRequest(page_token=answer.next_page_token)
        )
    )
    assert (found.reason, found.field) == ("PAGE_TOKEN_INVALID", "page_token")
    # The order in which states are named means nothing.
    twice = await stocked.transfers.ListTransfers(
        transfer_service_pb2.ListTransfersRequest(
            page_token=answer.next_page_token, states=[failed, failed]
        )
    )
    assert len(twice.transfers) == 4


async def test_pages_of_large_transfers_stay_below_a_mebibyte(stocked: Api) -> None:
    tags = tuple(f"{'h' * 3000}.io/a:{number}" for number in range(100))
    for number in range(30, 36):
        await put(stocked, number, "SUCCEEDED", tags)
    found = await pages(stocked, 1000)
    assert len(found) > 1
    assert sum(len(page) for page in found) == 31


async def test_an_unknown_state_is_refused(api: Api) -> None:
    found = await refusal(api.transfers.ListTransfers(transfers.ListTransfersRequest(states=[99])))
    assert (found.code, found.field) == ("INVALID_ARGUMENT", "states[0]")


# --- while the daemon stops


async def test_a_stop_ends_watches_with_a_reason_and_refuses_what_is_new(
    api: Api, held: HostileRegistry
) -> None:
    name = (await api.transfers.StartTransfer(start(f"{held.host}/app:1"))).transfer.name
    watch = api.transfers.WatchTransfer(transfer_service_pb2.WatchTransferRequest(name=name))
    await until_moving(watch)
    await api.manager.close()
    for call in (
        watch,
        api.transfers.StartTransfer(start(f"{held.host}/app:1")),
        api.transfers.Pull(pull(f"{held.host}/app:1")),
        api.transfers.ResumeTransfer(transfer_service_pb2.ResumeTransferRequest(name=name)),
    ):
        found = await refusal(call)
        assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
        assert any(one.type_url.endswith("RetryInfo") for one in found.status.details)
    assert (await get(api, name)).state == State.TRANSFER_STATE_INTERRUPTED

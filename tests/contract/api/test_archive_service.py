"""ArchiveService: streams bound to transfers, their rules, and what comes of leaving them."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from imgd.v1 import archive_service_pb2, transfer_pb2, transfer_service_pb2
from imgd.v1.archive_service_pb2_grpc import ArchiveServiceStub
from imgd_client import AsyncClient, FailedPrecondition, NotFound, Unimplemented
from tests.contract.api.served import Api, read, refusal
from tests.fake_images import make_layer
from tests.unit.transfer.fakes import layered
from tests.unit.transfer.image_archives import FULL_NAME, layout, tar

# A net under what should happen by itself.
PATIENCE = 60.0
NAME = "registry.test/team/app:1"
IMAGE = layered(3_000_000, 500)
ARCHIVE = tar(layout((IMAGE, {FULL_NAME: NAME})))

archives: Any = archive_service_pb2
transfers: Any = transfer_service_pb2
parts: Any = transfer_pb2


def stub(api: Api) -> Any:
    return ArchiveServiceStub(api.channel)


def sent(content: bytes = ARCHIVE, **first: Any) -> Iterator[Any]:
    yield archives.LoadImagesRequest(**first)
    for start in range(0, len(content), 1 << 20):
        yield archives.LoadImagesRequest(data=content[start : start + (1 << 20)])


async def listed(api: Api) -> list[transfer_pb2.Transfer]:
    answer = await api.transfers.ListTransfers(transfers.ListTransfersRequest())
    return [*answer.transfers]


async def test_what_is_saved_is_told_of_first_and_can_be_loaded(api: Api) -> None:
    await api.store(IMAGE, NAME)
    first, *rest = await read(stub(api).SaveImages(archives.SaveImagesRequest(images=[NAME])))
    assert (first.data, first.transfer[:10]) == (b"", "transfers/")
    assert all(one.data and not one.transfer for one in rest)
    assert all(one.ByteSize() <= 1 << 20 for one in rest)
    (transfer,) = await listed(api)
    assert transfer.name == first.transfer
    assert transfer.state == transfer_pb2.TRANSFER_STATE_SUCCEEDED
    assert [*transfer.destination.archive.images] == [NAME]
    assert transfer.source.WhichOneof("source") == "store"
    data = b"".join(one.data for one in rest)
    answer = await stub(api).LoadImages(sent(data, tags=["test.com/again:1"]))
    (image,) = answer.images
    assert sorted(image.tags) == [NAME, "test.com/again:1"]
    assert image.target.digest == IMAGE.digest
    loaded, _ = await listed(api)
    assert loaded.name == answer.transfer
    assert [*loaded.source.archive.images] == ["test.com/again:1"]
    assert loaded.outcome.references == ["test.com/again:1"]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (archives.SaveImagesRequest(), "images"),
        (archives.SaveImagesRequest(images=["a"] * 1001), "images"),
        (archives.SaveImagesRequest(images=["a" * 4097]), "images[0]"),
        (archives.SaveImagesRequest(images=["a"], format=9), "format"),
        (
            archives.SaveImagesRequest(
                images=["a"], platforms=parts.PlatformSelection(platforms=["/"])
            ),
            "platforms.platforms[0]",
        ),
    ],
)
async def test_a_save_that_is_no_request(api: Api, request_: Any, field: str) -> None:
    found = await refusal(stub(api).SaveImages(request_))
    assert (found.code, found.field) == ("INVALID_ARGUMENT", field)


@pytest.mark.parametrize(
    ("first", "data", "field"),
    [
        ({}, b"", "data"),
        ({"tags": ["Not A Tag"]}, b"", "tags[0]"),
        ({"tags": [f"a@{IMAGE.digest}"]}, b"", "tags[0]"),
        (
            {"platforms": parts.PlatformSelection(platforms=["/"])},
            b"",
            "platforms.platforms[0]",
        ),
        ({"data": bytes((1 << 20) + 1)}, b"", "data"),
        ({"transfer": "transfers/" + "Z" * 26, "tags": ["a"]}, ARCHIVE, "transfer"),
    ],
)
async def test_a_load_that_is_no_request(api: Api, first: Any, data: bytes, field: str) -> None:
    found = await refusal(stub(api).LoadImages(sent(data, **first)))
    assert (found.code, found.field) == ("INVALID_ARGUMENT", field)
    running = [one for one in await listed(api) if one.state < 3]
    assert running == []


async def test_an_empty_stream_is_no_archive(api: Api) -> None:
    found = await refusal(stub(api).LoadImages(iter([])))
    assert (found.code, found.field) == ("INVALID_ARGUMENT", "data")
    assert await listed(api) == []


async def test_failures_are_statuses_and_outcomes(api: Api) -> None:
    found = await refusal(stub(api).LoadImages(sent(b"no archive" * 200)))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "ARCHIVE_INVALID")
    for image, code, reason in (
        ("absent", "NOT_FOUND", "IMAGE_NOT_FOUND"),
        ("UPPER case", "INVALID_ARGUMENT", "REFERENCE_INVALID"),
    ):
        found = await refusal(stub(api).SaveImages(archives.SaveImagesRequest(images=[image])))
        assert (found.code, found.reason) == (code, reason)
    for transfer in await listed(api):
        assert transfer.state == transfer_pb2.TRANSFER_STATE_FAILED
        assert transfer.outcome.failure.origin == 1


async def test_a_transfer_that_waits_for_no_archive(api: Api) -> None:
    found = await refusal(stub(api).LoadImages(sent(transfer="transfers/" + "Z" * 26)))
    assert (found.code, found.reason) == ("NOT_FOUND", "TRANSFER_NOT_FOUND")
    await api.store(IMAGE, NAME)
    await read(stub(api).SaveImages(archives.SaveImagesRequest(images=[NAME])))
    (save,) = await listed(api)
    found = await refusal(stub(api).LoadImages(sent(transfer=save.name)))
    assert (found.code, found.field) == ("INVALID_ARGUMENT", "transfer")
    done = await stub(api).LoadImages(sent())
    found = await refusal(stub(api).LoadImages(sent(transfer=done.transfer)))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "TRANSFER_STATE")


async def test_a_load_that_was_started_takes_its_archive_and_its_wishes(api: Api) -> None:
    started = await api.transfers.StartTransfer(
        transfers.StartTransferRequest(
            source=parts.TransferSource(archive={"images": ["test.com/mine:1"]}),
            destination=parts.TransferDestination(store={"lease": {"lease_id": "mine"}}),
        )
    )
    name = started.transfer.name
    answer = await stub(api).LoadImages(sent(transfer=name))
    assert answer.transfer == name
    assert [*answer.images[0].tags] == ["test.com/mine:1"]
    outcome = (await listed(api))[0].outcome
    assert outcome.lease == "leases/mine"


async def ended(api: Api, name: str) -> transfer_pb2.Transfer:
    async with asyncio.timeout(PATIENCE):
        request = transfers.WatchTransferRequest(name=name)
        async for answer in api.transfers.WatchTransfer(request):
            if answer.event.HasField("finished"):
                found: transfer_pb2.Transfer = answer.event.finished.transfer
                return found
    raise AssertionError


async def test_whoever_leaves_ends_the_transfer(api: Api) -> None:
    await api.store(layered(20 << 20, seed=3), "test.com/large:1")
    call = stub(api).SaveImages(archives.SaveImagesRequest(images=["test.com/large:1"]))
    first = await call.read()
    await call.read()
    call.cancel()
    assert (await ended(api, first.transfer)).state == transfer_pb2.TRANSFER_STATE_CANCELLED

    begun = asyncio.Event()

    async def slow() -> AsyncIterator[Any]:
        yield archives.LoadImagesRequest(data=ARCHIVE[:1_000_000])
        begun.set()
        await asyncio.Event().wait()

    loading = stub(api).LoadImages(slow())
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
        while not (running := [one for one in await listed(api) if one.state < 3]):
            await asyncio.sleep(0)
    loading.cancel()
    with pytest.raises((asyncio.CancelledError, grpc.aio.AioRpcError)):
        await loading
    assert (await ended(api, running[0].name)).state == transfer_pb2.TRANSFER_STATE_CANCELLED


async def test_a_second_call_for_an_archive_does_not_end_the_first(api: Api) -> None:
    started = await api.transfers.StartTransfer(
        transfers.StartTransferRequest(
            source=parts.TransferSource(archive={}), destination=parts.TransferDestination(store={})
        )
    )
    name = started.transfer.name
    go_on = asyncio.Event()

    async def slow() -> AsyncIterator[Any]:
        yield archives.LoadImagesRequest(transfer=name, data=ARCHIVE[:1_000_000])
        await go_on.wait()
        for start in range(1_000_000, len(ARCHIVE), 1_000_000):
            yield archives.LoadImagesRequest(data=ARCHIVE[start : start + 1_000_000])

    loading = stub(api).LoadImages(slow())
    async with asyncio.timeout(PATIENCE):
        request = transfers.WatchTransferRequest(name=name)
        async for answer in api.transfers.WatchTransfer(request):
            if answer.event.snapshot.nodes or answer.event.update.nodes:
                break  # the first is being read
    found = await refusal(stub(api).LoadImages(sent(transfer=name)))
    assert (found.code, found.reason) == ("FAILED_PRECONDITION", "TRANSFER_STATE")
    go_on.set()
    answer = await loading
    assert [image.tags[0] for image in answer.images] == [NAME]


async def test_a_broken_archive_ends_the_call_before_all_is_sent(api: Api) -> None:
    """Nobody has to send terabytes to learn that the first member is refused."""

    def endless() -> Iterator[Any]:
        while True:
            yield archives.LoadImagesRequest(data=b"no archive" * 50_000)

    def load() -> grpc.StatusCode:
        # Not of grpc.aio, whose clients don't see the status of a call that ends while they send.
        with grpc.insecure_channel(api.address) as channel:
            call: Any = ArchiveServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                call.LoadImages(endless(), timeout=PATIENCE)
        error: Any = caught.value
        code: grpc.StatusCode = error.code()
        return code

    assert await asyncio.to_thread(load) is grpc.StatusCode.FAILED_PRECONDITION


async def test_the_async_client_saves_and_loads(api: Api) -> None:
    await api.store(IMAGE, NAME)
    async with AsyncClient(api.address) as client:
        chunks = [chunk async for chunk in client.archives.save([NAME])]

        async def again() -> AsyncIterator[bytes]:
            for chunk in chunks:
                yield chunk

        for source in (again(), [b"".join(chunks)], io.BytesIO(b"".join(chunks))):
            answer = await client.archives.load(source, tags=["test.com/again:1"])
            assert answer.images[0].target.digest == IMAGE.digest
        with pytest.raises(FailedPrecondition) as caught:
            await client.archives.load([b"no archive" * 100])
        assert caught.value.reason == "ARCHIVE_INVALID"
        with pytest.raises(NotFound):
            await anext(client.archives.save(["absent"]))
        with pytest.raises(TypeError):
            await anext(client.archives.save("absent"))
        made = await client.archives.import_image(
            [make_layer({"a": b"b"})],
            tag="test.com/made:1",
            changes=["ENV a=b"],
            platform="linux/arm64",
        )
        assert [*made.tags] == ["test.com/made:1"]
        assert made.platform.architecture == "arm64"
        with pytest.raises(Unimplemented):
            await anext(client.archives.export("containers/any"))

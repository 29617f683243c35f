"""Uploading blobs: in one stream or in several, held, bounded, refused."""

from __future__ import annotations

import io
import random
from collections.abc import Iterable
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.duration_pb2 import Duration

from imgd.v1 import content_pb2, content_service_pb2, transfer_pb2
from imgd_client import AsyncClient, ImgdError
from imgd_server.images import collect
from imgd_server.oci import Digest
from imgd_server.transfer import now_us
from tests.contract.api.served import Api, refusal

DATA = random.Random(7).randbytes(300_000)
DIGEST = str(Digest.of(DATA))
OTHER = "sha256:" + "11" * 32


async def start(api: Api, **fields: Any) -> content_service_pb2.StartUploadResponse:
    request = content_service_pb2.StartUploadRequest(**fields)
    answer: content_service_pb2.StartUploadResponse = await api.contents.StartUpload(request)
    return answer


def write(api: Api, upload: str, messages: Iterable[dict[str, Any]]) -> Any:
    requests = [content_service_pb2.WriteBlobRequest(**one) for one in messages]
    requests[0].upload = upload
    return api.contents.WriteBlob(iter(requests))


def whole(**more: Any) -> list[dict[str, Any]]:
    data, half = DATA, len(DATA) // 2
    return [
        {"data": data[:half]},
        {"offset": half, "data": data[half:]},
        {"offset": len(data), "finish": True, **more},
    ]


async def stands(api: Api, upload: str) -> content_pb2.BlobUpload:
    request = content_service_pb2.GetUploadRequest(name=upload)
    return (await api.contents.GetUpload(request)).upload


async def held(api: Api) -> bool:
    """Whether a collection leaves the blob."""
    await collect(api.metadata, api.content, now_us, dry_run=False)
    return api.content.find(Digest(DIGEST)) is not None


@pytest.mark.parametrize("known", [True, False])
async def test_a_blob_in_one_stream(api: Api, known: bool) -> None:
    promised = {"digest": DIGEST, "total_size": len(DATA)} if known else {}
    upload = (await start(api, **promised)).upload
    assert (upload.offset, upload.digest) == (0, DIGEST if known else "")
    assert upload.HasField("total_size") == known
    more = {} if known else {"digest": DIGEST}
    answer = await write(api, upload.name, whole(**more))
    assert (answer.blob.digest, answer.blob.size) == (DIGEST, len(DATA))
    assert api.content.read(Digest(DIGEST), 1 << 20) == DATA
    # Held for an hour; and there is no such upload any more.
    assert await held(api)
    assert (await refusal(stands(api, upload.name))).reason == "UPLOAD_NOT_FOUND"
    # Nothing is written of what is there.
    again = await start(api, digest=DIGEST)
    assert again.existing == answer.blob


async def test_a_blob_in_several_streams(api: Api) -> None:
    upload = (await start(api, digest=DIGEST, ttl=Duration(seconds=60))).upload
    first = await write(api, upload.name, [{"data": DATA[:100_000]}])
    assert (first.upload.name, first.upload.offset) == (upload.name, 100_000)
    assert first.upload.expire_time.seconds >= upload.expire_time.seconds
    # A collection leaves what somebody may go on with.
    await collect(api.metadata, api.content, now_us, dry_run=False)
    assert await stands(api, upload.name) == first.upload
    assert (await start(api, upload=upload.name)).upload == first.upload
    wrong = await refusal(write(api, upload.name, [{"offset": 99_999, "data": b"x"}]))
    assert (wrong.code, wrong.reason) == ("OUT_OF_RANGE", "OFFSET_MISMATCH")
    assert wrong.field == "offset"
    assert wrong.metadata["offset"] == "100000"
    assert api.content.find(Digest(DIGEST)) is None
    answer = await write(
        api, upload.name, [{"offset": 100_000, "data": DATA[100_000:], "finish": True}]
    )
    assert answer.blob.digest == DIGEST


async def test_a_lease_of_the_callers(api: Api) -> None:
    spec = transfer_pb2.LeaseSpec(lease_id="mine", ttl=Duration(seconds=7200))
    upload = (await start(api, lease=spec)).upload
    await write(api, upload.name, whole(digest=DIGEST))
    # The lease holds it, also when the upload's own hold is over.
    own = f"upload:{upload.name.removeprefix('uploads/')}"
    await api.metadata.write(lambda session: session.delete_lease(own))
    assert await held(api)
    lease = await api.metadata.read(lambda session: session.lease("mine"))
    assert lease is not None
    assert lease.digests == (DIGEST,)
    # Another one of a blob that is there.
    spec = transfer_pb2.LeaseSpec(lease_id="other")
    assert (await start(api, digest=DIGEST, lease=spec)).existing.digest == DIGEST
    await api.metadata.write(lambda session: session.delete_lease("mine"))
    assert await held(api)
    await api.metadata.write(lambda session: session.delete_lease("other"))
    for lease in await api.metadata.read(lambda session: session.expired_leases(1 << 62, 9)):
        await api.metadata.write(
            lambda session, one=lease.lease_id: session.delete_lease(one)  # type: ignore[misc]
        )
    assert not await held(api)


async def test_bytes_that_are_not_what_was_promised(api: Api) -> None:
    upload = (await start(api, digest=OTHER)).upload
    found = await refusal(write(api, upload.name, whole()))
    assert (found.code, found.reason) == ("DATA_LOSS", "DIGEST_MISMATCH")
    assert (await refusal(stands(api, upload.name))).reason == "UPLOAD_NOT_FOUND"
    upload = (await start(api, digest=DIGEST, total_size=len(DATA) - 1)).upload
    found = await refusal(write(api, upload.name, whole()))
    assert found.reason == "SIZE_MISMATCH"
    upload = (await start(api, digest=DIGEST, total_size=len(DATA) + 1)).upload
    found = await refusal(write(api, upload.name, whole()))
    assert found.reason == "SIZE_MISMATCH"
    assert [*api.content.blobs()] == []
    await collect(api.metadata, api.content, now_us, dry_run=False)


async def test_refusals(api: Api) -> None:
    upload = (await start(api)).upload
    found = await refusal(write(api, upload.name, whole()))
    assert (found.reason, found.field) == ("FIELD_INVALID", "digest")
    # What came is there yet.
    assert (await stands(api, upload.name)).offset == len(DATA)
    here: dict[str, Any] = {"offset": len(DATA)}
    two = [here, {"upload": "uploads/another", **here}]
    assert (await refusal(write(api, upload.name, two))).field == "upload"
    assert (await refusal(write(api, "", [{"data": b"x"}]))).field == "upload"
    assert (await refusal(write(api, "uploads/none", [{}]))).reason == "UPLOAD_NOT_FOUND"
    assert (await refusal(start(api, upload="uploads/none"))).reason == "UPLOAD_NOT_FOUND"
    promised = (await start(api, digest=DIGEST)).upload
    found = await refusal(write(api, promised.name, whole(digest=OTHER)))
    assert (found.reason, found.field) == ("FIELD_INVALID", "digest")
    with api.content.ingest(f"upload:{upload.name.removeprefix('uploads/')}"):
        assert (await refusal(write(api, upload.name, [{}]))).reason == "TOO_BUSY"
        abort = content_service_pb2.AbortUploadRequest(name=upload.name)
        assert (await refusal(api.contents.AbortUpload(abort))).reason == "TOO_BUSY"


async def test_what_is_given_up_is_gone(api: Api) -> None:
    upload = (await start(api, digest=DIGEST)).upload
    await write(api, upload.name, whole()[:2])
    for _ in range(2):
        await api.contents.AbortUpload(content_service_pb2.AbortUploadRequest(name=upload.name))
    assert [*api.content.partials()] == []
    assert (await refusal(stands(api, upload.name))).reason == "UPLOAD_NOT_FOUND"
    # Nor does one stay that nobody goes on with.
    upload = (await start(api)).upload
    await write(api, upload.name, whole()[:2])
    report = await collect(
        api.metadata, api.content, lambda: now_us() + 25 * 3600 * 10**6, dry_run=False
    )
    assert report.deleted_partials == 1
    assert (await refusal(stands(api, upload.name))).reason == "UPLOAD_NOT_FOUND"


async def test_a_stream_that_breaks_leaves_what_came(api: Api) -> None:
    upload = (await start(api, digest=DIGEST)).upload
    call = api.contents.WriteBlob()
    await call.write(content_service_pb2.WriteBlobRequest(upload=upload.name, data=DATA[:1000]))
    while (await stands(api, upload.name)).offset < 1000:
        pass
    call.cancel()
    rest = [{"offset": 1000, "data": DATA[1000:], "finish": True}]
    answer = None
    while answer is None:
        try:
            answer = await write(api, upload.name, rest)
        except grpc.aio.AioRpcError as error:
            # The daemon has not seen yet that the caller is gone.
            if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
    assert answer.blob.digest == DIGEST


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_client_that_knows_the_digest(api: Api, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    async with AsyncClient(api.address) as client:
        wrong = client.contents.upload(io.BytesIO(DATA[1:]), digest=str(digest))
        with pytest.raises(ImgdError) as caught:
            await wrong
        assert caught.value.reason == "DIGEST_MISMATCH"
        blob = await client.contents.upload(io.BytesIO(DATA), digest=str(digest))
    assert blob.digest == str(digest)
    assert api.content.read(digest, 1 << 20) == DATA


async def test_a_refusal_while_more_is_sent_is_told_as_one(api: Api) -> None:
    data = bytes(8 << 20)
    async with AsyncClient(api.address) as client:
        for _ in range(5):
            with pytest.raises(ImgdError) as caught:
                await client.contents.upload(io.BytesIO(data), size=1)
            assert caught.value.reason == "SIZE_MISMATCH"

"""Reading blobs."""

from __future__ import annotations

import asyncio
import queue
import random
import threading
from typing import Any

import grpc.aio
import pytest

from imgd.v1 import content_service_pb2, system_service_pb2
from tests.contract.api.served import Api, read, refusal
from tests.fake_images import make_image

MIB = 1 << 20
DATA = random.Random(1).randbytes(3 * MIB + 77)
ABSENT = "sha256:" + "00" * 32


def reading(digest: str, **fields: Any) -> content_service_pb2.ReadBlobRequest:
    return content_service_pb2.ReadBlobRequest(digest=digest, **fields)


async def test_a_blobs_size_and_time(api: Api) -> None:
    digest = api.put(b"hello")
    found = (await api.contents.GetBlob(content_service_pb2.GetBlobRequest(digest=digest))).blob
    assert (found.digest, found.size) == (digest, 5)
    assert found.store_time.ToMicroseconds() == int(api.content.info(digest).stored_at * 1e6)


@pytest.mark.parametrize(
    ("offset", "limit"),
    [
        (0, 0),
        (0, 1),
        (1, 0),
        (5, 7),
        (MIB - 1024, 1),
        (MIB - 1025, 2),
        (MIB, MIB),
        (len(DATA) - 1, 0),
        (len(DATA) - 1, 100),
        (len(DATA), 0),
        (len(DATA), 5),
        (0, len(DATA)),
        (0, 2**63 - 1),
    ],
)
async def test_a_blob_or_a_range_of_it(api: Api, offset: int, limit: int) -> None:
    digest = api.put(DATA)
    answers = await read(api.contents.ReadBlob(reading(digest, offset=offset, limit=limit)))
    end = offset + limit if limit else None
    assert b"".join(one.data for one in answers) == DATA[offset:end]
    place = offset
    for one in answers:
        assert one.offset == place
        assert one.ByteSize() < MIB
        place += len(one.data)
    assert [one.total_size for one in answers] == [len(DATA)] + [0] * (len(answers) - 1)


async def test_an_empty_blob_has_one_answer(api: Api) -> None:
    (answer,) = await read(api.contents.ReadBlob(reading(api.put(b""))))
    assert answer == content_service_pb2.ReadBlobResponse()


async def test_beyond_the_end(api: Api) -> None:
    found = await refusal(api.contents.ReadBlob(reading(api.put(b"hello"), offset=6)))
    assert (found.code, found.reason) == ("OUT_OF_RANGE", "OFFSET_MISMATCH")
    assert found.field == "offset"


@pytest.mark.parametrize(
    ("digest", "code", "reason"),
    [
        (ABSENT, "NOT_FOUND", "BLOB_NOT_FOUND"),
        ("", "INVALID_ARGUMENT", "FIELD_INVALID"),
        ("sha256:../../../etc/passwd", "INVALID_ARGUMENT", "DIGEST_INVALID"),
        ("md5:" + "00" * 16, "INVALID_ARGUMENT", "DIGEST_UNSUPPORTED"),
        ("SHA256:" + "00" * 32, "INVALID_ARGUMENT", "DIGEST_INVALID"),
        ("sha256:" + "00" * 31, "INVALID_ARGUMENT", "DIGEST_INVALID"),
        ("sha512:" + "00" * 64, "NOT_FOUND", "BLOB_NOT_FOUND"),
    ],
)
async def test_no_such_blob(api: Api, digest: str, code: str, reason: str) -> None:
    for call in (
        api.contents.ReadBlob(reading(digest)),
        api.contents.GetBlob(content_service_pb2.GetBlobRequest(digest=digest)),
    ):
        found = await refusal(call)
        assert (found.code, found.reason) == (code, reason)


async def test_the_resource_that_is_missing_is_named(api: Api) -> None:
    found = await refusal(api.contents.ReadBlob(reading(ABSENT)))
    assert found.metadata["digest"] == ABSENT


async def test_a_reader_who_leaves_lets_go_of_the_file(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = api.put(DATA)
    opened: list[Any] = []
    inner = api.content.open

    def noted(wanted: Any) -> Any:
        opened.append(inner(wanted))
        return opened[-1]

    monkeypatch.setattr(api.content, "open", noted)
    for _ in range(3):
        call = api.contents.ReadBlob(reading(digest))
        assert await call.read() is not grpc.aio.EOF
        call.cancel()
    # Answered after them: the daemon has noticed by then, or notices while it stops.
    await read(api.contents.ReadBlob(reading(digest)))
    await api.server.stop(5)
    assert len(opened) == 4
    for reader in opened:
        with pytest.raises(OSError, match="Bad file descriptor"):
            reader.pread(1, 0)


async def test_a_reader_who_leaves_before_the_file_is_open_leaves_none(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = api.put(DATA)
    inner = api.content.open
    reached, goes_on = threading.Event(), threading.Event()
    opened: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def slow(wanted: Any) -> Any:
        reached.set()
        assert goes_on.wait(60)
        reader = inner(wanted)
        opened.put(reader)
        return reader

    monkeypatch.setattr(api.content, "open", slow)
    call = api.contents.ReadBlob(reading(digest))
    reader = asyncio.ensure_future(read(call))
    assert await asyncio.to_thread(reached.wait, 60)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader
    # The handler is gone before the thread has opened the file.
    await api.server.stop(5)
    goes_on.set()
    late = await asyncio.to_thread(opened.get)
    while late.fileno() >= 0:
        await asyncio.sleep(0)
    with pytest.raises(OSError, match="Bad file descriptor"):
        late.pread(1, 0)


async def test_a_blob_that_shrank_on_the_disk_does_not_loop(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = api.put(b"x" * 1000)
    inner = api.content.open

    class Short:
        """A reader of a file that somebody cut."""

        def __init__(self, reader: Any) -> None:
            self._reader = reader
            self.size = reader.size + 10

        def __getattr__(self, name: str) -> Any:
            return getattr(self._reader, name)

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None:
            self._reader.close()

    monkeypatch.setattr(api.content, "open", lambda digest: Short(inner(digest)))
    found = await refusal(api.contents.ReadBlob(reading(digest)))
    assert (found.code, found.reason) == ("DATA_LOSS", "STORE_CORRUPT")


async def test_a_check_finds_what_is_wrong(api: Api) -> None:
    fake = make_image([b"layer"])
    await api.store(fake, "h.io/a:1")

    async def check(**fields: bool) -> list[system_service_pb2.CheckStoreResponse]:
        return await read(api.system.CheckStore(system_service_pb2.CheckStoreRequest(**fields)))

    (clean,) = await check(verify_content=True)
    assert not clean.problems
    assert clean.checked_blobs == clean.total_blobs == 3
    api.content.delete(api.put(fake.blobs[fake.document["layers"][0]["digest"]]))
    *found, last = await check()
    (problem,) = [one for answer in found for one in answer.problems]
    assert problem.subject.startswith("images/")
    assert fake.document["layers"][0]["digest"] in problem.message
    assert last.total_blobs == 2

"""Answers that are kept as they go over the wire."""

from __future__ import annotations

import asyncio

import pytest

from imgd.v1.image_pb2 import Image
from imgd.v1.image_service_pb2 import ListImagesRequest, ListImagesResponse
from imgd_server.rpc._encoded import EncodedAnswers, serializer


class Maker:
    """Makes answers of any size, and counts; waits while `go` is not set."""

    def __init__(self, kept: EncodedAnswers) -> None:
        self.kept = kept
        self.made = 0
        self.go = asyncio.Event()
        self.go.set()
        self.error: Exception | None = None

    async def make(self, size: int) -> bytes:
        self.made += 1
        await self.go.wait()
        if self.error:
            raise self.error
        return answer(size)

    async def get(self, text: str, version: int | None = 1, size: int = 5) -> bytes:
        request = ListImagesRequest(page_token=text)
        return await self.kept.get(request, version, lambda: self.make(size))


def answer(size: int) -> bytes:
    return ListImagesResponse(images=[Image(name="x" * size)]).SerializeToString()


@pytest.fixture
async def maker() -> Maker:
    return Maker(EncodedAnswers(3500))


async def test_an_answer_is_kept_for_its_request_and_version(maker: Maker) -> None:
    for _ in range(2):
        assert await maker.get("a") == answer(5)
    assert maker.made == 1
    assert await maker.get("b", size=6) == answer(6)
    assert await maker.get("a", 2, size=7) == answer(7)
    assert await maker.get("a", 2) == answer(7)
    assert await maker.get("b", 2, size=8) == answer(8)
    assert maker.made == 4


async def test_an_empty_answer_is_one(maker: Maker) -> None:
    async def make() -> bytes:
        maker.made += 1
        return b""

    # Each taken for a new one would leave room for less and less.
    for _ in range(1000):
        assert await maker.kept.get(ListImagesRequest(), 1, make) == b""
    assert maker.made == 1


async def test_without_a_version_nothing_is_kept(maker: Maker) -> None:
    await maker.get("a")
    for size in (6, 7):
        assert await maker.get("a", None, size) == answer(size)
    assert await maker.get("a") == answer(5)


async def test_the_oldest_make_room(maker: Maker) -> None:
    for text in "abacd":
        await maker.get(text, size=1000)
    assert maker.made == 4
    for text in "bcd":
        await maker.get(text, size=1000)
    assert maker.made == 4
    # One that is too large on its own leaves no other.
    await maker.get("big", size=4000)
    await maker.get("d", size=1000)
    await maker.get("d", size=1000)
    assert maker.made == 6


async def waiting(*tasks: asyncio.Task[bytes]) -> None:
    """Lets tasks get to where they wait."""
    for _ in range(5):
        await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


async def test_callers_at_once_share_one_and_may_leave(maker: Maker) -> None:
    maker.go.clear()
    tasks = [asyncio.create_task(maker.get("a")) for _ in range(5)]
    await waiting(*tasks)
    tasks[0].cancel()
    maker.go.set()
    assert await asyncio.gather(*tasks[1:]) == [answer(5)] * 4
    assert tasks[0].cancelled()
    assert maker.made == 1


async def test_what_was_begun_before_a_change_is_no_answer_behind_it(maker: Maker) -> None:
    maker.go.clear()
    before = asyncio.create_task(maker.get("a", 1, size=6))
    await waiting(before)
    after = asyncio.create_task(maker.get("a", 2, size=7))
    await waiting(before, after)
    maker.go.set()
    assert (await before, await after) == (answer(6), answer(7))
    assert await maker.get("a", 2) == answer(7)
    assert maker.made == 2


async def test_a_failure_is_every_callers_and_not_kept(maker: Maker) -> None:
    maker.error = ValueError()
    callers = (maker.get("a"), maker.get("a"))
    failures: list[object] = [*await asyncio.gather(*callers, return_exceptions=True)]
    assert failures == [maker.error] * 2
    assert maker.made == 1
    maker.error = None
    assert await maker.get("a") == answer(5)


def test_what_is_encoded_passes_the_serializer() -> None:
    encode = serializer(ListImagesResponse.SerializeToString)
    assert encode(ListImagesResponse.FromString(answer(3))) == answer(3)
    # gRPC takes nothing but bytes themselves.
    assert type(encode(answer(3))) is bytes
    assert encode(answer(3)) == answer(3)

"""Archives between a call and a transfer: in order, and no more of them in memory than a few."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.transfer import Inbox, Outbox, written

# A net under whatever should happen by itself.
PATIENCE = 90.0


async def settle() -> None:
    """Lets every task go as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_whoever_sends_waits_for_whoever_reads() -> None:
    inbox = Inbox()
    sending = [asyncio.create_task(inbox.put(bytes([number]) * 3)) for number in range(10)]
    await settle()
    assert [task.done() for task in sending] == [True] * 4 + [False] * 6
    async with asyncio.timeout(PATIENCE):
        first = await asyncio.to_thread(inbox.read, 2)
        assert await sending[4]
        await settle()
        assert not sending[5].done()
        got = first
        while len(got) < 30:
            got += await asyncio.to_thread(inbox.read, 100)
        assert [await task for task in sending] == [True] * 10
    assert got == b"".join(bytes([number]) * 3 for number in range(10))
    assert inbox.received == 30
    inbox.finish()
    assert await asyncio.to_thread(inbox.read, 1) == b""


async def test_whoever_sends_is_let_go_when_the_transfer_ends() -> None:
    inbox = Inbox()
    sending = [asyncio.create_task(inbox.put(b"x")) for _ in range(6)]
    await settle()
    inbox.close()
    async with asyncio.timeout(PATIENCE):
        assert [await task for task in sending] == [True] * 4 + [False] * 2
    assert not await inbox.put(b"x")
    assert inbox.received == 4


async def test_a_reader_that_waits_is_told_of_a_failure() -> None:
    inbox = Inbox()
    reading = asyncio.create_task(asyncio.to_thread(inbox.read, 1))
    await settle()
    inbox.fail(Error(Reason.CANCELLED, "first"))
    inbox.fail(Error(Reason.INTERNAL, "second"))
    for read in (reading, asyncio.to_thread(inbox.read, 1)):
        with pytest.raises(Error, match="first"):
            async with asyncio.timeout(PATIENCE):
                await read


async def test_what_goes_out_waits_for_whoever_takes_it() -> None:
    outbox = Outbox()
    sent: list[int] = []

    async def send() -> None:
        for number in range(10):
            await outbox.put(bytes([number]))
            sent.append(number)
        outbox.close()

    sending = asyncio.create_task(send())
    await settle()
    assert len(sent) == 4
    async with asyncio.timeout(PATIENCE):
        taken = [chunk async for chunk in outbox.chunks()]
        await sending
    assert taken == [bytes([number]) for number in range(10)]


async def test_a_pipe_is_for_one_call_and_a_call_must_come() -> None:
    outbox = Outbox()
    with pytest.raises(Error, match="nobody"):
        await outbox.come(0.001)
    outbox.attach()
    await outbox.come(PATIENCE)
    with pytest.raises(Error) as caught:
        outbox.attach()
    assert caught.value.reason is Reason.TRANSFER_STATE
    ended = Outbox()
    ended.close()
    with pytest.raises(Error):
        ended.attach()


async def test_what_a_thread_writes_comes_in_pieces_that_fit_a_message() -> None:
    large = bytes(range(256)) * 10_000

    def work(write: Callable[[bytes], None], check: Callable[[], None]) -> None:
        write(b"first")
        write(large)

    async with asyncio.timeout(PATIENCE):
        chunks = [chunk async for chunk in written(work)]
    assert b"".join(chunks) == b"first" + large
    assert all(0 < len(chunk) < 1 << 20 for chunk in chunks)


async def test_what_a_thread_raises_comes_after_what_it_wrote() -> None:
    def work(write: Callable[[bytes], None], check: Callable[[], None]) -> None:
        write(b"first")
        raise Error(Reason.STORE_CORRUPT, "broken")

    chunks = written(work)
    assert await anext(chunks) == b"first"
    with pytest.raises(Error, match="broken"):
        await anext(chunks)


async def test_a_thread_whose_reader_left_has_ended_when_the_stream_is_closed() -> None:
    ended = threading.Event()

    def work(write: Callable[[bytes], None], check: Callable[[], None]) -> None:
        try:
            while True:
                write(b"more")
        finally:
            ended.set()

    chunks = written(work)
    async with asyncio.timeout(PATIENCE):
        assert await anext(chunks) == b"more"
        await chunks.aclose()
    assert ended.is_set()

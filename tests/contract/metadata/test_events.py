"""The store's history, and the feed that many read it by."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.metadata import EventFeed, EventRecord, MetadataStore, WriteSession
from imgd_server.metadata import _feed as feeding
from tests.contract.metadata.conftest import Opener
from tests.records import BusyWriter

# A net for a reader that hangs.
PATIENCE = 90.0


def event(number: int, time: int | None = None) -> EventRecord:
    return EventRecord("IMAGE", "pull", f"images/{number}", time or number, {"name": f"n{number}"})


async def add(store: MetadataStore, *numbers: int) -> None:
    def write(session: WriteSession) -> None:
        for number in numbers:
            session.add_event(event(number))

    await store.write(write)


def subjects(found: list[EventRecord]) -> list[int]:
    return [int(one.subject.removeprefix("images/")) for one in found]


@asynccontextmanager
async def open_feed(store: MetadataStore) -> AsyncIterator[EventFeed]:
    feed = EventFeed(store)
    try:
        async with asyncio.timeout(PATIENCE):
            yield feed
    finally:
        await feed.close()


async def waits(feed: EventFeed, cursor: int) -> asyncio.Task[list[EventRecord]]:
    """A reader that has looked, and found nothing yet."""
    reader = asyncio.create_task(feed.after(cursor))
    while feed._reading is None or feed._reading.done() or feed._last is None:
        await asyncio.sleep(0)
    assert not reader.done()
    return reader


async def test_cursors_rise_and_outlive_what_they_stood_for(opener: Opener) -> None:
    store = await opener()
    await add(store, 1, 2, 3)
    assert await store.read(lambda session: session.event_bounds()) == (0, 3)
    assert await store.write(lambda session: session.delete_events(3, 100)) == 2
    assert await store.read(lambda session: session.event_bounds()) == (2, 3)
    assert await store.write(lambda session: session.delete_events(100, 100)) == 1
    await store.close()
    store = await opener()
    await add(store, 4)
    assert await store.read(lambda session: session.event_bounds()) == (3, 4)
    [found] = await store.read(lambda session: session.events(0, None, 10))
    assert (found.cursor, found.attributes) == (4, {"name": "n4"})


async def test_only_the_newest_are_kept(store: MetadataStore) -> None:
    await add(store, *range(1, 11))
    assert await store.write(lambda session: session.delete_events(0, 4)) == 6
    assert await store.write(lambda session: session.delete_events(0, 4)) == 0
    found = await store.read(lambda session: session.events(0, None, 10))
    assert subjects(found) == [7, 8, 9, 10]


async def test_an_event_of_a_change_that_failed_did_not_happen(store: MetadataStore) -> None:
    def fail(session: WriteSession) -> None:
        session.add_event(event(1))
        raise LookupError

    with pytest.raises(LookupError):
        await store.write(fail)
    await add(store, 2)
    [found] = await store.read(lambda session: session.events(0, None, 10))
    assert (found.cursor, found.subject) == (1, "images/2")


async def test_the_history_can_be_read_from_a_time_on(store: MetadataStore) -> None:
    await add(store, 10, 20, 30)
    found = await store.read(lambda session: session.events(1, 25, 10))
    assert subjects(found) == [30]
    assert subjects(await store.read(lambda session: session.events(0, 20, 1))) == [20]


# --- the feed


async def test_a_reader_gets_what_was_and_what_comes(store: MetadataStore) -> None:
    await add(store, 1, 2)
    async with open_feed(store) as feed:
        assert subjects(await feed.after(0)) == [1, 2]
        assert subjects(await feed.after(1)) == [2]
        reader = await waits(feed, 2)
        await add(store, 3)
        assert subjects(await reader) == [3]
        await add(store, 4, 5)
        assert subjects(await feed.after(3)) == [4, 5]
        # From memory, and from before it.
        assert subjects(await feed.after(2)) == [3, 4, 5]
        assert subjects(await feed.after(1)) == [2, 3, 4, 5]


async def test_no_event_is_lost_or_told_twice(
    store: MetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Readers that begin at any time, and are slow or quick, beside several writers."""
    monkeypatch.setattr(feeding, "_PAGE", 7)
    monkeypatch.setattr(feeding, "_RECENT", 20)
    count = 200

    async def read_all(feed: EventFeed, pauses: int) -> list[int]:
        cursor, cursors = 0, []
        while cursor < count:
            found = await feed.after(cursor)
            assert len(found) <= 7
            cursors += [one.cursor for one in found]
            cursor = cursors[-1]
            for _ in range(pauses):
                await asyncio.sleep(0)
        return cursors

    async with open_feed(store) as feed:
        readers = [asyncio.create_task(read_all(feed, number * 7)) for number in range(20)]
        await asyncio.gather(*(add(store, number) for number in range(1, count + 1)))
        for cursors in await asyncio.gather(*readers):
            assert cursors == list(range(1, count + 1))


async def test_many_readers_cost_one_query(
    store: MetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = 0
    read = store.read

    async def count(function: object) -> object:
        nonlocal reads
        reads += 1
        return await read(function)  # type: ignore[arg-type]

    async with open_feed(store) as feed:
        first = await waits(feed, 0)
        await add(store, 1)
        await first
        # From here on all that is new is in memory.
        monkeypatch.setattr(store, "read", count)
        readers = [asyncio.create_task(feed.after(1)) for _ in range(500)]
        await waits(feed, 1)
        await add(store, 2)
        for found in await asyncio.gather(*readers):
            assert subjects(found) == [2]
    # One that found nothing, one that found it, and one for each commit that told nothing.
    assert reads <= 4


async def test_who_leaves_leaves_the_others_alone(store: MetadataStore) -> None:
    async with open_feed(store) as feed:
        first, second = await waits(feed, 0), await waits(feed, 0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await add(store, 1)
        assert subjects(await second) == [1]


@pytest.mark.parametrize("cursor", [0, 1, 5, -1])
async def test_a_place_that_the_history_does_not_hold(store: MetadataStore, cursor: int) -> None:
    await add(store, 1, 2, 3, 4)
    await store.write(lambda session: session.delete_events(3, 100))
    async with open_feed(store) as feed:
        assert subjects(await feed.after(2)) == [3, 4]
        with pytest.raises(Error) as caught:
            await feed.after(cursor)
    assert caught.value.reason is Reason.CURSOR_EXPIRED
    assert caught.value.metadata == {"first_cursor": "2", "last_cursor": "4"}


async def test_a_feed_that_closes_tells_whoever_waits(store: MetadataStore) -> None:
    async with open_feed(store) as feed:
        reader = await waits(feed, 0)
        await feed.close()
        for late in (reader, feed.after(0)):
            with pytest.raises(Error) as caught:
                await late
            assert caught.value.reason is Reason.SHUTTING_DOWN
            assert caught.value.retry_after


async def test_a_failure_reaches_who_waits_and_the_next_reads_on(
    store: MetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_feed(store) as feed:
        reader = await waits(feed, 0)

        async def fail(_: object) -> object:
            raise Error(Reason.STORE_CORRUPT, "the disk fails")

        with monkeypatch.context() as patch:
            patch.setattr(store, "read", fail)
            await add(store, 1)
            with pytest.raises(Error, match="the disk fails"):
                await reader
        assert subjects(await feed.after(0)) == [1]


async def test_a_change_is_told_to_all_who_wait(store: MetadataStore) -> None:
    first, second = store.next_change(), store.next_change()
    await add(store, 1)
    await asyncio.gather(first, second)
    third = asyncio.ensure_future(store.next_change())
    await asyncio.sleep(0)
    assert not third.done()
    third.cancel()
    await add(store, 2)


@pytest.mark.parametrize("alone", [False, True])
async def test_who_writes_alone_sees_what_is_durable(store: MetadataStore, alone: bool) -> None:
    loop = asyncio.get_running_loop()

    def seen(session: WriteSession) -> tuple[int, int]:
        """The events that the function sees, and those that anybody else does."""
        durable = asyncio.run_coroutine_threadsafe(
            store.read(lambda session: session.event_bounds()), loop
        ).result(PATIENCE)
        return session.event_bounds()[1], durable[1]

    write = store.write_alone if alone else store.write
    async with BusyWriter(store):
        adding = [asyncio.create_task(add(store, number)) for number in (1, 2)]
        await asyncio.sleep(0)
        looking = asyncio.create_task(write(seen))
        await asyncio.sleep(0)
        adding.append(asyncio.create_task(add(store, 3)))
        await asyncio.sleep(0)
    await asyncio.gather(*adding)
    assert await looking == (2, 2 if alone else 0)
    assert await store.read(lambda session: session.event_bounds()) == (0, 3)

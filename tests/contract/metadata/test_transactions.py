"""Transactions of any metadata store: alone, together, cancelled, closed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.metadata import MetadataStore, ReadSession, WriteSession
from tests.records import BusyWriter, image_record, tag

Opener = Callable[[], Awaitable[MetadataStore]]
# A net for a store that hangs.
PATIENCE = 60.0


async def names(store: MetadataStore) -> list[str]:
    def look(session: ReadSession) -> list[str]:
        return [name.name for _, image in session.list_images(None, 1000) for name in image.names]

    return sorted(await store.read(look))


def adding(content: str) -> Callable[[WriteSession], str]:
    def add(session: WriteSession) -> str:
        image = session.put_image(image_record(content, names=(tag(f"a.b/x:{content}"),)), (), ())
        return image.uid

    return add


async def test_a_function_gets_its_answer(store: MetadataStore) -> None:
    assert await store.write(adding("1")) == "UID1"
    assert await store.read(lambda session: session.count_images()) == 1


async def test_what_is_written_is_read_at_once_and_again_later(opener: Opener) -> None:
    store = await opener()
    await store.write(adding("1"))
    assert await names(store) == ["a.b/x:1"]
    assert await names(await opener()) == ["a.b/x:1"]
    await store.close()
    assert await names(await opener()) == ["a.b/x:1"]


async def test_what_raises_changes_nothing(store: MetadataStore) -> None:
    await store.write(adding("1"))
    failure = RuntimeError("the caller's own")

    def fail(session: WriteSession) -> None:
        session.delete_image("UID1")
        adding("2")(session)
        raise failure

    with pytest.raises(RuntimeError) as caught:
        await store.write(fail)
    assert caught.value is failure
    assert await names(store) == ["a.b/x:1"]


async def test_what_raises_undoes_only_its_own_changes(store: MetadataStore) -> None:
    def fail(session: WriteSession) -> None:
        session.delete_image("UID1")
        adding("3")(session)
        raise Error(Reason.DIGEST_CHANGED, "of this caller")

    async with BusyWriter(store):
        answers = asyncio.gather(
            *map(store.write, [adding("1"), fail, adding("2"), fail]), return_exceptions=True
        )
        await asyncio.sleep(0)  # they are asked for now, and wait together
    first, second, third, fourth = await answers
    assert (first, third) == ("UID1", "UID2")
    assert isinstance(second, Error)
    assert isinstance(fourth, Error)
    # Callers add facts to the errors that they get.
    assert second is not fourth
    assert await names(store) == ["a.b/x:1", "a.b/x:2"]


async def test_a_later_function_sees_the_changes_of_an_earlier_one(store: MetadataStore) -> None:
    async with BusyWriter(store):
        answers = asyncio.gather(*(store.write(lambda one: one.next_epoch()) for _ in range(5)))
        await asyncio.sleep(0)
    assert await answers == [1, 2, 3, 4, 5]


async def test_many_writers_and_readers(store: MetadataStore) -> None:
    """Each moves one name to an image of its own and counts: nothing is lost or seen half done."""
    writers = 100

    def move(number: int) -> Callable[[WriteSession], int]:
        def run(session: WriteSession) -> int:
            image = session.put_image(image_record(str(number)), (), ())
            session.put_name(tag("a.b/x:moves"), image.uid)
            session.put_name(tag(f"a.b/x:{number}"), image.uid)
            return session.next_epoch()

        return run

    def look(session: ReadSession) -> None:
        images = [image for _, image in session.list_images(None, 1000)]
        assert len(images) == session.count_images()
        assert sum(len(image.names) for image in images) == len(images) + bool(images)

    async def watch() -> None:
        while not written.done():
            await store.read(look)

    written = asyncio.gather(*(store.write(move(number)) for number in range(writers)))
    await asyncio.gather(watch(), watch(), written)
    assert sorted(written.result()) == list(range(1, writers + 1))
    await store.read(look)
    holder = await store.read(lambda session: session.image_by_name("a.b/x:moves"))
    assert holder is not None


async def test_a_read_sees_one_state(store: MetadataStore) -> None:
    begun, written = threading.Event(), threading.Event()

    def look_twice(session: ReadSession) -> tuple[int, int]:
        first = session.count_images()
        begun.set()
        assert written.wait(PATIENCE)
        return first, session.count_images()

    reading = asyncio.ensure_future(store.read(look_twice))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    await store.write(adding("1"))
    written.set()
    assert await reading == (0, 0)
    assert await store.read(lambda session: session.count_images()) == 1


async def test_a_read_that_raises(store: MetadataStore) -> None:
    failure = RuntimeError("the caller's own")

    def fail(session: ReadSession) -> None:
        session.count_images()
        raise failure

    for _ in range(8):  # no reader is lost by it
        with pytest.raises(RuntimeError) as caught:
            await store.read(fail)
        assert caught.value is failure
    assert await store.read(lambda session: session.count_images()) == 0


async def test_a_write_that_waits_can_be_cancelled(store: MetadataStore) -> None:
    async with BusyWriter(store):
        cancelled = asyncio.ensure_future(store.write(adding("1")))
        kept = asyncio.ensure_future(store.write(adding("2")))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
    await kept
    assert await names(store) == ["a.b/x:2"]


async def test_a_write_that_has_begun_ends_also_when_nobody_waits(store: MetadataStore) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(session: WriteSession) -> None:
        adding("1")(session)
        begun.set()
        assert go.wait(PATIENCE)

    writing = asyncio.ensure_future(store.write(slow))
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    go.set()
    await store.write(adding("2"))
    assert await names(store) == ["a.b/x:1", "a.b/x:2"]


async def test_close_finishes_what_was_asked_for(opener: Opener) -> None:
    store = await opener()
    async with BusyWriter(store):
        writes = asyncio.gather(*(store.write(adding(str(number))) for number in range(5)))
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(store.close())
        await asyncio.sleep(0)
    await closing
    assert len(await writes) == 5
    assert len(await names(await opener())) == 5


async def test_a_closed_store_refuses(store: MetadataStore) -> None:
    await store.close()
    calls: list[Awaitable[object]] = [
        store.write(adding("1")),
        store.read(lambda session: session.count_images()),
        store.verify(),
    ]
    for call in calls:
        with pytest.raises(Error) as caught:
            await call
        assert caught.value.reason is Reason.SHUTTING_DOWN
    await store.close()


async def test_a_commit_is_told(store: MetadataStore) -> None:
    before = [store.next_change(), store.next_change()]
    async with BusyWriter(store):
        after = asyncio.ensure_future(store.next_change())
        left = asyncio.ensure_future(store.next_change())
        await asyncio.sleep(0)
        left.cancel()
        writing = asyncio.ensure_future(store.write(adding("1")))
    # All who wait are told, and who leaves takes it from nobody.
    await asyncio.wait_for(asyncio.gather(*before, after), PATIENCE)
    await writing
    later = asyncio.ensure_future(store.next_change())
    await names(store)
    assert not later.done()
    await store.write(adding("2"))
    await asyncio.wait_for(later, PATIENCE)


async def test_a_healthy_store_has_no_faults(store: MetadataStore) -> None:
    await store.write(adding("1"))
    assert await store.verify() == []

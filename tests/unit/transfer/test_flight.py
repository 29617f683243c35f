"""Single flight, in every order of coming, leaving, finishing and failing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.transfer._flight import Flight, FlightTable, Turns


@dataclass
class Sharer:
    """A caller in a task of its own."""

    name: str
    key: str
    task: asyncio.Task[str]
    left: bool = False


@dataclass
class Story:
    """What happened, and what must be true of it at any time."""

    table: FlightTable = field(default_factory=FlightTable)
    running: dict[str, list[int]] = field(default_factory=dict)
    ends: dict[int, asyncio.Future[str]] = field(default_factory=dict)
    shares: dict[int, set[str]] = field(default_factory=dict)
    sharers: list[Sharer] = field(default_factory=list)
    cancelled_with_sharers: list[int] = field(default_factory=list)
    works: int = 0

    async def work(self, flight: Flight[str]) -> str:
        number, self.works = self.works, self.works + 1
        mine = self.running.setdefault(str(flight.key), [])
        mine.append(number)
        assert len(mine) == 1, "two works of one key at a time"
        end = self.ends[number] = asyncio.get_running_loop().create_future()
        try:
            return await asyncio.shield(end)
        except asyncio.CancelledError:
            if flight.sharers:
                self.cancelled_with_sharers.append(number)
            assert flight.cancellation.cancelled
            # A thread that has to let go of its files first.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            raise
        finally:
            mine.remove(number)

    async def share(self, name: str, key: str) -> str:
        async with self.table.join(key, name, self.work) as flight:
            return await flight.result()

    def join(self, key: str) -> None:
        name = f"sharer-{len(self.sharers)}"
        self.sharers.append(Sharer(name, key, asyncio.create_task(self.share(name, key))))

    def leave(self, pick: int) -> None:
        if waiting := [one for one in self.sharers if not one.task.done()]:
            sharer = waiting[pick % len(waiting)]
            sharer.left = True
            sharer.task.cancel()

    def finish(self, pick: int, error: Error | None) -> None:
        if going := [number for numbers in self.running.values() for number in numbers]:
            end = self.ends[going[pick % len(going)]]
            if not end.done():
                end.set_exception(error) if error else end.set_result("done")


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["join", "join", "leave", "leave", "finish", "fail", "pause", "pause"]),
        st.integers(0, 10),
    ),
    max_size=60,
)


@given(steps=STEPS)
def test_any_order(steps: list[tuple[str, int]]) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[str, int]]) -> None:
    story = Story()
    for step, pick in steps:
        match step:
            case "join":
                story.join("ab"[pick % 2])
            case "leave":
                story.leave(pick)
            case "finish":
                story.finish(pick, None)
            case "fail":
                story.finish(pick, Error(Reason.REGISTRY_TIMEOUT, "slow"))
            case _:
                for _ in range(pick % 3 + 1):
                    await asyncio.sleep(0)
    async with asyncio.timeout(90):
        while not all(one.task.done() for one in story.sharers):
            story.finish(0, None)
            await asyncio.sleep(0)
        await story.table.drain()
    assert not story.cancelled_with_sharers
    for sharer in story.sharers:
        if sharer.task.cancelled():
            assert sharer.left, "somebody who stayed was thrown out"
        elif error := sharer.task.exception():
            assert isinstance(error, Error)
            assert error.reason is Reason.REGISTRY_TIMEOUT
        else:
            assert sharer.task.result() == "done"
    assert not story.table._flights
    assert not story.table._leaving


async def test_who_comes_after_the_last_one_left_waits_for_the_files() -> None:
    """However many come and leave while the first is still letting go."""
    table = FlightTable()
    held = asyncio.Event()
    let_go = asyncio.Event()
    order: list[str] = []

    async def stubborn(_: Flight[None]) -> None:
        order.append("first begins")
        try:
            await asyncio.Event().wait()
        finally:
            held.set()
            await let_go.wait()
            order.append("first ends")

    async def quick(_: Flight[None]) -> None:
        order.append("another begins")

    async def share(work: Callable[[Flight[None]], Awaitable[None]]) -> None:
        async with table.join("key", "me", work) as flight:
            await flight.result()

    first = asyncio.create_task(share(stubborn))
    await asyncio.sleep(0.0)
    await asyncio.sleep(0.0)
    first.cancel()
    await held.wait()
    for _ in range(3):
        given_up = asyncio.create_task(share(quick))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
    last = asyncio.create_task(share(quick))
    for _ in range(5):
        await asyncio.sleep(0)
    assert order == ["first begins"]
    let_go.set()
    await last
    assert order == ["first begins", "first ends", "another begins"]
    await table.drain()


async def test_bytes_count_once_for_whoever_is_first() -> None:
    table = FlightTable()

    async def work(_: Flight[None]) -> None:
        await asyncio.Event().wait()

    async with table.join("key", "third", work) as flight:
        flight.moved_bytes = 5
        assert flight.claim("third") == 5
        assert flight.claim("third") == 0
    async with (
        table.join("key", "first", work) as flight,
        table.join("key", "second", work) as same,
    ):
        assert same is flight
        flight.moved_bytes = 100
        assert flight.claim("second") == 0
        assert flight.claim("first") == 100
        flight.sharers.remove("first")
        flight.moved_bytes = 130
        assert flight.claim("second") == 30
        flight.sharers.append("first")
    await table.drain()


async def test_turns_are_taken_in_order_and_can_be_given_up() -> None:
    turns = Turns()
    order: list[int] = []
    go = asyncio.Event()

    async def take(number: int) -> None:
        async with turns.take("key"):
            order.append(number)
            await go.wait()

    tasks = [asyncio.create_task(take(number)) for number in range(4)]
    await asyncio.sleep(0)
    async with turns.take("another key"):
        pass
    await asyncio.sleep(0)
    tasks[1].cancel()
    assert order == [0]
    go.set()
    await asyncio.wait(tasks)
    assert order == [0, 2, 3]
    del tasks
    gc.collect()
    assert not turns._locks, "nothing is kept of a key that nobody wants"

"""Work in threads, and callers that are cancelled meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from threading import Event, current_thread

import pytest

from imgd_server.threads import in_thread

# A net for what hangs.
PATIENCE = 60.0


class Work:
    """A function that blocks until it is let go, and may fail then."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go_on = Event(), Event()
        self.ended = False
        self._error = error

    def __call__(self) -> None:
        self.begun.set()
        self.go_on.wait(PATIENCE)
        self.ended = True
        if self._error:
            raise self._error


@pytest.fixture(params=["the loop's", "its own"])
def executor(request: pytest.FixtureRequest) -> Iterator[Executor | None]:
    """An executor to name, or none."""
    with ThreadPoolExecutor(1) as pool:
        yield pool if request.param == "its own" else None


async def test_its_result_and_its_error_are_the_functions(executor: Executor | None) -> None:
    assert await in_thread(lambda: current_thread().name, executor) != current_thread().name
    with pytest.raises(ZeroDivisionError):
        await in_thread(lambda: 1 / 0, executor)


@pytest.mark.parametrize("error", [None, OSError("too late to tell anybody")])
async def test_what_began_is_waited_for_however_often_it_is_cancelled(
    executor: Executor | None, error: Exception | None
) -> None:
    """Whoever was cancelled closes files next; a thread that still wrote to them would do harm."""
    work = Work(error)
    task = asyncio.create_task(in_thread(work, executor))
    try:
        assert await asyncio.to_thread(work.begun.wait, PATIENCE)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not task.done()
    finally:
        work.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.ended


async def test_what_did_not_begin_never_does() -> None:
    first, second = Work(), Work()
    with ThreadPoolExecutor(1) as executor:
        running = asyncio.create_task(in_thread(first, executor))
        waiting = asyncio.create_task(in_thread(second, executor))
        try:
            assert await asyncio.to_thread(first.begun.wait, PATIENCE)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            assert not running.done()
        finally:
            first.go_on.set()
            second.go_on.set()
        await running
    assert not second.begun.is_set()

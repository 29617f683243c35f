"""Blocking work for the event loop, and waiting for what must have ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import CancelledError, Executor
from contextlib import suppress
from threading import Lock
from typing import TypeVar

__all__ = ["ended", "in_thread"]

T = TypeVar("T")


async def in_thread(
    function: Callable[[], T],
    executor: Executor | None = None,
    stop: Callable[[], object] = lambda: None,
) -> T:
    """Runs a blocking function in a thread, of the loop's executor unless another is given.

    Once it began, does not return before it ended, however often it is cancelled: it works on files
    that the caller closes next. What did not begin when it is cancelled never does. `stop`, called
    in the event loop, makes what may block for long end when this is cancelled.
    """
    turn = Lock()

    def run() -> T:
        if not turn.acquire(blocking=False):
            raise CancelledError
        return function()

    future = asyncio.get_running_loop().run_in_executor(executor, run)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if turn.acquire(blocking=False):
            future.cancel()
            raise
        stop()
        await ended(future)
        raise


async def ended(future: asyncio.Future[T]) -> None:
    """Waits until a future is done, however often this is cancelled; what became of it is nobody's
    concern any more."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()

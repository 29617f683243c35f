"""More streams for a blob that comes by parts, while nobody else needs what they take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from imgd_server.threads import in_thread
from imgd_server.transfer._flight import Flight
from imgd_server.transfer._lanes import Lane
from imgd_server.transfer._ranges import Ranges

__all__ = ["Widening"]

# So often it is looked whether there is room; seconds. A stream more matters for what takes longer.
_LOOK = 0.05


class Widening:
    """Adds helpers to what is fetched as `ranges` now, if anything is: one at a time, while the
    lane, the transfer's slots and the host (`has_room`) have room."""

    def __init__(
        self, flight: Flight[Any], lane: Lane, registry: str, has_room: Callable[[], bool]
    ) -> None:
        self._flight, self._lane, self._registry = flight, lane, registry
        self._has_room = has_room
        self.ranges: Ranges | None = None

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Looks for room until left, and then waits for the helpers' ends."""
        helpers: set[asyncio.Task[None]] = set()
        looking = asyncio.create_task(self._look(helpers))
        try:
            yield
        finally:
            tasks = [looking, *helpers]
            # One that still waits for a slot, which another blob took first, has nothing to do.
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _look(self, helpers: set[asyncio.Task[None]]) -> None:
        while True:
            await asyncio.sleep(_LOOK)
            if (ranges := self.ranges) is not None and self.admits(ranges):
                helper = asyncio.create_task(self._help(ranges))
                helpers.add(helper)
                helper.add_done_callback(helpers.discard)

    def admits(self, ranges: Ranges) -> bool:
        """Whether one more stream may come; tells those that are there when they are in the way."""
        spare = self._flight.spare
        ranges.crowded = self._lane.crowded(self._registry) or (
            spare is not None and spare.waiting > 0
        )
        # One stream brings what a bound allows.
        free = not self._flight.limited and (spare is None or spare.has_room)
        free = free and self._lane.has_room(self._registry)
        return free and self._has_room() and ranges.wants()

    async def _help(self, ranges: Ranges) -> None:
        async with AsyncExitStack() as stack:
            if self._flight.spare:
                await stack.enter_async_context(self._flight.spare)
            await stack.enter_async_context(self._lane.take(self._registry))
            await in_thread(ranges.help, self._lane.executor)

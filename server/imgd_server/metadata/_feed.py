"""The store's history as it grows, for any number of readers."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from imgd_server.metadata._events import EventRecord
from imgd_server.metadata._protocol import MetadataStore

__all__ = ["EventFeed"]

# So many events are read at once, and so many new ones are remembered: a thousand readers that
# follow the history cost one query, not a thousand.
_PAGE = 500
_RECENT = 4096


class EventFeed:
    """Reads the history for its readers. It belongs to one event loop."""

    def __init__(self, metadata: MetadataStore) -> None:
        self._metadata = metadata
        self._recent: deque[EventRecord] = deque(maxlen=_RECENT)
        self._last: int | None = None
        self._reading: asyncio.Task[None] | None = None

    async def after(self, cursor: int, since: int | None = None) -> list[EventRecord]:
        """The next events behind a cursor, at least one; waits for it as long as need be.

        `since` leaves out what is older (microseconds since the epoch).
        """
        while True:
            if self._recent and self._recent[0].cursor <= cursor + 1:
                found = [
                    one
                    for one in self._recent
                    if one.cursor > cursor and (since is None or one.time >= since)
                ][:_PAGE]
            else:
                found = await self._metadata.read(
                    lambda session: session.events(cursor, since, _PAGE)
                )
            if found:
                return found
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read_on())
            # Others wait for the same: who leaves must not end it.
            await asyncio.shield(self._reading)

    async def _read_on(self) -> None:
        """Reads what is new, and waits until there is something."""
        if self._last is None:
            self._last = (await self._metadata.read(lambda session: session.event_bounds()))[1]
            return
        while True:
            last = self._last
            change = self._metadata.next_change()
            found = await self._metadata.read(lambda session: session.events(last, None, _PAGE))  # noqa: B023
            if found:
                self._recent.extend(found)
                self._last = found[-1].cursor
                return
            await change

    async def close(self) -> None:
        """Stops reading; whoever waits is cancelled."""
        if self._reading:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading

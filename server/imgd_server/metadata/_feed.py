"""The store's history as it grows, for any number of readers."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from itertools import takewhile

from imgd_server.errors import Error, Reason
from imgd_server.metadata._events import EventRecord
from imgd_server.metadata._protocol import MetadataStore, ReadSession

__all__ = ["EventFeed"]

# So many events are read at once, and so many new ones are remembered: a thousand readers that
# follow the history cost one query, not a thousand.
_PAGE = 500
_RECENT = 4096


class EventFeed:
    """Reads the history for its readers. It belongs to one event loop."""

    def __init__(self, metadata: MetadataStore) -> None:
        self._metadata = metadata
        # Without gaps, up to `_last`.
        self._recent: deque[EventRecord] = deque(maxlen=_RECENT)
        self._last: int | None = None
        self._reading: asyncio.Task[None] | None = None
        self._closed = False

    async def after(self, cursor: int) -> list[EventRecord]:
        """The next events behind a cursor, at least one; waits for it as long as need be.

        Raises CURSOR_EXPIRED for a cursor at which the history does not stand any more, or not yet,
        and SHUTTING_DOWN once the feed is closed.
        """
        while True:
            if self._closed:
                raise Error(
                    Reason.SHUTTING_DOWN,
                    "the daemon is shutting down; attach again soon",
                    retry_after=1.0,
                )
            if found := await self._look(cursor):
                return found
            reading = self._reading
            if reading is None or reading.done():
                reading = self._reading = asyncio.create_task(self._read_on())
            # Others wait for the same: who leaves must not end it, nor does its end cancel them.
            await asyncio.wait([reading])
            if not reading.cancelled() and (failure := reading.exception()):
                raise failure

    async def _look(self, cursor: int) -> list[EventRecord]:
        if self._recent and self._recent[0].cursor <= cursor + 1 <= self._recent[-1].cursor + 1:
            # From the newest on: who keeps up looks at what is new alone.
            newer = [*takewhile(lambda one: one.cursor > cursor, reversed(self._recent))]
            return newer[: -_PAGE - 1 : -1]

        def read(session: ReadSession) -> list[EventRecord]:
            dropped, last = session.event_bounds()
            if not dropped <= cursor <= last:
                raise Error(
                    Reason.CURSOR_EXPIRED,
                    f"the history kept begins behind cursor {dropped} and ends at {last}, and does "
                    f"not hold {cursor}: list anew, and watch from now on",
                    metadata={"first_cursor": str(dropped), "last_cursor": str(last)},
                )
            return session.events(cursor, None, _PAGE)

        return await self._metadata.read(read)

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
                if self._recent and found[0].cursor != self._recent[-1].cursor + 1:
                    self._recent.clear()  # some were dropped before they were read
                self._recent.extend(found)
                self._last = found[-1].cursor
                return
            await change

    async def close(self) -> None:
        """Stops reading, and tells whoever waits."""
        self._closed = True
        if self._reading:
            self._reading.cancel()
            with suppress(asyncio.CancelledError, Error):
                await self._reading

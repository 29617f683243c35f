"""Whether the disk has room for a pull, asked before its first layer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Origin, Reason
from imgd_server.oci import Descriptor, Digest

__all__ = ["RESERVE", "Room"]

RESERVE = 64 << 20
"""Bytes that a pull leaves free: the metadata grow as well, and somebody else writes meanwhile."""

_Sizes = dict[Digest, int]


class Room:
    """What all running pulls still fetch, each blob once. It belongs to one event loop."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._wanted: dict[object, _Sizes] = {}
        # Two pulls that come at once must not both see the room that is left for one.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def claim(self, targets: Sequence[Descriptor]) -> AsyncIterator[None]:
        """Counts what a pull is about to fetch, until left.

        Raises DISK_FULL, with `needed_bytes` and `free_bytes`, when it does not fit beside what
        others fetch. A pull that needs nothing more is never refused.
        """
        own = {target.digest: target.size for target in targets}
        claim = object()
        async with self._turn:
            all_sizes = dict(own)
            for sizes in self._wanted.values():
                all_sizes.update(sizes)
            await asyncio.to_thread(self._check, own, all_sizes)
            self._wanted[claim] = own
        try:
            yield
        finally:
            del self._wanted[claim]

    def _check(self, own: _Sizes, all_sizes: _Sizes) -> None:
        missing = self._missing(own)
        if missing == 0:
            return
        needed = self._missing(all_sizes) + RESERVE
        free = self._content.free_bytes()
        if needed > free:
            raise Error(
                Reason.DISK_FULL,
                f"{missing} bytes are still to fetch, and {free} are free, of which other pulls "
                f"need {needed - RESERVE - missing} and {RESERVE} are kept: remove images, or "
                "transfers that failed and what they hold, collect garbage, and try again",
                origin=Origin.DESTINATION,
                metadata={"needed_bytes": str(needed), "free_bytes": str(free)},
            )

    def _missing(self, sizes: _Sizes) -> int:
        missing = 0
        for digest, size in sizes.items():
            if self._content.find(digest) is None:
                partial = self._content.partial(digest)
                missing += max(size - (partial.size if partial else 0), 0)
        return missing

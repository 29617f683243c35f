"""Images as lists show them, kept encoded: a list after a change costs what changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from imgd_server.images._details import LEAST, PAGE, Place
from imgd_server.images._filters import Filters, Patterns
from imgd_server.metadata import ImageRecord, ImageVersion, ReadSession

__all__ = ["ShownImages"]

# Some twenty thousand images.
_MOST_BYTES = 16 << 20
# What an entry takes beside its bytes: its key and its place among the others.
_ENTRY = 300
# So many are read and encoded at once; an image with thousands of tags has a MB of them.
_AT_ONCE = 128


class ShownImages:
    """Encoded images by version. For any number of threads.

    `encode` may look at all of a record but what versions leave out (see ImageVersion), and at
    nothing else.
    """

    def __init__(self, encode: Callable[[ImageRecord], bytes], most: int = _MOST_BYTES) -> None:
        self._encode = encode
        self._most = most
        self._lock = threading.Lock()
        # By the patterns that narrow the names, those used last being last; None for an image that
        # they leave out. What is of an earlier version comes before what is of a later one.
        self._kept: dict[Patterns, dict[ImageVersion, bytes | None]] = {}
        self._size = 0

    def page(
        self, session: ReadSession, filters: Filters, after: Place | None, limit: int, room: int
    ) -> tuple[list[bytes], Place | None]:
        """The images that fit, as `fitting_images` has them, encoded: `limit` at the most, in no
        more than `room` bytes, and one at least. With the place of the last if there are more."""
        taken: list[bytes] = []
        last: Place | None = None
        size = min(limit + 1, PAGE)
        while True:
            asof, versions = session.list_versions(after, size, filters.query)
            for start in range(0, len(versions), _AT_ONCE):
                some = versions[start : start + _AT_ONCE]
                for version, one in zip(some, self._show(session, filters, some), strict=True):
                    if one is None:
                        continue
                    room -= len(one)
                    if taken and (len(taken) == limit or room < 0):
                        return taken, last
                    taken.append(one)
                    last = (asof, version[0])
            if len(versions) < size:
                return taken, None
            after = (asof, versions[-1][0])
            size = min(max(limit + 1 - len(taken), LEAST if filters.narrows else 1), PAGE)

    def _show(
        self, session: ReadSession, filters: Filters, versions: Sequence[ImageVersion]
    ) -> list[bytes | None]:
        with self._lock:
            kept = self._kept[filters.patterns] = self._kept.pop(filters.patterns, {})
            found = {one: kept[one] for one in versions if one in kept}
        if len(found) < len(versions):
            missing = [version for version in versions if version not in found]
            for version, record in zip(missing, session.images_of(missing), strict=True):
                narrowed = filters.narrow(record)
                found[version] = None if narrowed is None else self._encode(narrowed)
                self._keep(filters.patterns, version, found[version])
        return [found[version] for version in versions]

    def _keep(self, patterns: Patterns, version: ImageVersion, shown: bytes | None) -> None:
        with self._lock:
            kept = self._kept.setdefault(patterns, {})
            if version in kept:
                return  # another thread was faster
            kept[version] = shown
            self._size += _cost(patterns, shown)
            while self._size > self._most:
                patterns = next(iter(self._kept))
                kept = self._kept[patterns]
                self._size -= _cost(patterns, kept.pop(next(iter(kept))))
                if not kept:
                    del self._kept[patterns]


def _cost(patterns: Patterns, shown: bytes | None) -> int:
    return _ENTRY + len(shown or b"") + sum(len(text) for texts in patterns for text in texts)

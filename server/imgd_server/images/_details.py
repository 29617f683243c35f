"""What the FULL view adds to an image: what holds it, and what it shares with others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from imgd_server.images._filters import Filters
from imgd_server.images._holds import Holds, holds_of
from imgd_server.metadata import ImageRecord, PlatformRecord, ReadSession

__all__ = ["Details", "details_of", "fitting_images"]

# What filters leave for us to judge is read in pages of this size at the most.
_PAGE = 1024
# A page that lacks few may find them among many.
_LEAST = 128


@dataclass(frozen=True, slots=True)
class Details:
    """Facts that are volatile, or that must be computed. Sizes are in bytes of stored content."""

    platforms: tuple[PlatformRecord, ...]
    holds: Holds
    shared_size: int
    unique_size: int


def details_of(session: ReadSession, record: ImageRecord, now: int) -> Details:
    """The details of one image."""
    unique = sum(blob.size for blob in session.exclusive_blobs(record.uid))
    return Details(
        tuple(session.image_platforms(record.uid)),
        holds_of(session, record, now),
        max(record.content_size - unique, 0),
        unique,
    )


def fitting_images(
    session: ReadSession, filters: Filters, after: tuple[int, int] | None, limit: int = sys.maxsize
) -> Iterator[tuple[tuple[int, int], ImageRecord]]:
    """The images that fit, in the order of lists, with their places; behind `after`, and `limit` at
    the most."""
    narrows = bool(filters.wanted or filters.unwanted)
    size = min(limit, _PAGE)
    while page := session.list_images(after, size, filters.query):
        for place, record in page:
            if narrowed := filters.narrow(record):
                yield place, narrowed
                limit -= 1
                if not limit:
                    return
            after = place
        if len(page) < size:
            return
        size = min(max(limit, _LEAST) if narrows else limit, _PAGE)

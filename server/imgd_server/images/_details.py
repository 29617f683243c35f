"""What the FULL view adds to an image: what holds it, and what it shares with others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from imgd_server.images._filters import Filters
from imgd_server.images._holds import Holds, holds_of
from imgd_server.metadata import ImageRecord, PlatformRecord, ReadSession

__all__ = ["LEAST", "PAGE", "Details", "Place", "details_of", "fitting_images"]

Place = tuple[int, int]
"""Where an image stands in a list: see ReadSession.list_images."""

PAGE = 1024
"""What filters leave for us to judge is read in pages of this size at the most."""
LEAST = 128
"""A page that lacks few may find them among many."""


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
    session: ReadSession, filters: Filters, after: Place | None, limit: int = sys.maxsize
) -> Iterator[tuple[Place, ImageRecord]]:
    """The images that fit, in the order of lists, with their places; behind `after`, and `limit` at
    the most."""
    size = min(limit, PAGE)
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
        size = min(max(limit, LEAST) if filters.narrows else limit, PAGE)

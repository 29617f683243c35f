"""An `ImageQuery` as SQL."""

# Conditions are put together from constants and "?" marks only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from imgd_server.metadata._query import ImageQuery, LabelCondition

__all__ = ["conditions_of"]

_SIZE = "coalesce(unpacked_size, content_size)"
_USED = "coalesce(last_used, stored)"
# Digits of a digest or ID; "g" follows "f", so that a range finds all that start so.
_DIGEST = (
    "row IN (SELECT row FROM images WHERE digest >= ? AND digest < ? "
    "UNION SELECT row FROM images WHERE image_id >= ? AND image_id < ? "
    "UNION SELECT image FROM image_platforms WHERE digest >= ? AND digest < ? "
    "UNION SELECT image FROM image_platforms WHERE image_id >= ? AND image_id < ?)"
)
_PLATFORM = (
    "EXISTS (SELECT 1 FROM image_platforms AS one "
    "WHERE one.image = images.row AND one.platform = ? AND one.complete)"
)

_FREE = (
    "NOT EXISTS (SELECT 1 FROM lease_images JOIN leases USING (lease_id) "
    "WHERE lease_images.image = images.row AND expires > ?)"
)

_Condition = tuple[str, tuple[object, ...]]


def conditions_of(query: ImageQuery) -> tuple[list[str], list[Any]]:
    """Conditions to be joined by AND, and the values of their marks."""
    found = list(_all(query))
    return [text for text, _ in found], [value for _, values in found for value in values]


def _all(query: ImageQuery) -> Iterator[_Condition]:
    if query.dangling is not None:
        no = "NOT " if query.dangling else ""
        yield f"{no}EXISTS (SELECT 1 FROM names WHERE image = images.row)", ()
    if query.in_use is not None:
        no = "" if query.in_use else "NOT "
        yield f"{no}EXISTS (SELECT 1 FROM containers WHERE image = images.row)", ()
    if query.free_at is not None:
        yield _FREE, (query.free_at,)
    if query.pinned is not None:
        yield "pinned = ?", (query.pinned,)
    if query.kind is not None:
        yield "kind = ?", (query.kind,)
    for bound, value in (
        ("created < ?", query.created_before),
        ("created > ?", query.created_after),
        ("stored < ?", query.stored_before),
        (f"{_USED} < ?", query.used_before),
        (f"{_SIZE} >= ?", query.min_size),
        (f"{_SIZE} <= ?", query.max_size),
    ):
        if value is not None:
            yield bound, (value,)
    yield from map(_label, query.labels)
    for digest in query.digests:
        yield _DIGEST, (digest, f"{digest}g") * 4
    for platform in query.platforms:
        yield _PLATFORM, (platform,)
    if query.name_globs:
        yield _names(query.name_globs)


def _label(condition: LabelCondition) -> _Condition:
    no = "NOT " if condition.negated else ""
    test = "SELECT image FROM image_labels WHERE key = ?"
    if condition.value is None:
        return f"row {no}IN ({test})", (condition.key,)
    return f"row {no}IN ({test} AND value = ?)", (condition.key, condition.value)


def _names(globs: tuple[str, ...]) -> _Condition:
    """Names and repo digests that match; where a pattern begins plainly, by range in the index."""
    # A table and not a SELECT for each: SQLite joins 500 of these at the most.
    values: list[str] = []
    for glob in globs:
        start = next((place for place, one in enumerate(glob) if one in "*?["), len(glob))
        # U+007F follows every character that a name can hold.
        values += (glob[:start], f"{glob[:start]}\x7f", glob)
    rows = ",".join(["(?, ?, ?)"] * len(globs))
    found = " UNION ".join(
        f"SELECT image FROM globs CROSS JOIN {table} "
        "WHERE name >= low AND name < high AND name GLOB glob"
        for table in ("names", "repo_digests")
    )
    return f"row IN (WITH globs (low, high, glob) AS (VALUES {rows}) {found})", tuple(values)

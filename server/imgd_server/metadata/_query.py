"""What a list of images is to hold: conditions that a database can judge."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ImageQuery", "LabelCondition"]


@dataclass(frozen=True, slots=True)
class LabelCondition:
    """A label that must be there, with this value unless `value` is None; or, negated, must not."""

    key: str
    value: str | None = None
    negated: bool = False


@dataclass(frozen=True, slots=True)
class ImageQuery:
    """Conditions on images; all must hold, and what is None or empty demands nothing.

    Times are microseconds since the epoch and bounds are strict. An image without a create time
    fits no bound of that time. Sizes are Docker's (unpacked where known), and inclusive.
    """

    dangling: bool | None = None
    pinned: bool | None = None
    in_use: bool | None = None
    """Whether a container uses it, in any state."""
    free_at: int | None = None
    """No lease that is unexpired then holds it."""
    kind: str | None = None
    created_before: int | None = None
    created_after: int | None = None
    stored_before: int | None = None
    used_before: int | None = None
    """Last used, or else stored, before then."""
    min_size: int | None = None
    max_size: int | None = None
    labels: tuple[LabelCondition, ...] = ()
    digests: tuple[str, ...] = ()
    """Each a digest, or its start, of the target or of a platform's manifest or ID."""
    platforms: tuple[str, ...] = ()
    """Each a normalised platform for which all content is stored."""
    name_globs: tuple[str, ...] = ()
    """A name or a repo digest must match one of these patterns (SQLite's GLOB: `*`, `?`, `[…]`)."""

"""Removing and pruning images, as Docker does (behaviour: remove, prune)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imgd_server.errors import Error, HeldError, Reason
from imgd_server.images._details import fitting_images
from imgd_server.images._filters import parse_filters
from imgd_server.images._holds import delete_image, holds_of, image_event
from imgd_server.images._lookup import find_image, find_images_by_id, is_id
from imgd_server.images._naming import find_name
from imgd_server.metadata import ImageRecord, ReadSession, WriteSession

__all__ = ["Pruned", "Removal", "prune_images", "remove_image"]


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal did: names taken, digests deleted, bytes that nothing needs any more."""

    record: ImageRecord
    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    freed_bytes: int = 0


def remove_image(session: WriteSession, text: str, *, force: bool, now: int) -> list[Removal]:
    """Removes a name or an image; several images only when they share the ID and with force.

    By name: while other names remain, that name goes; the last one goes with the image, unless a
    container, a lease or a pin holds it. By ID: all names go with the image; several need force, as
    a pin or an idle container does, and a running container or a lease refuses even that.
    What is forced while it is held stays without names until the last hold is gone.

    Raises IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, IMAGE_IN_USE, IMAGE_HAS_NAMES; then nothing changed.
    """
    name = _as_name(session, text)
    if name is not None:
        record = find_image(session, text)
        if len(record.names) > 1:
            return [_untag(session, record, name, now)]
        return [_remove_last(session, record, text, force=force, now=now)]
    records = find_images_by_id(session, text)
    if not force and (len(records) > 1 or not _has_single_name(records[0])):
        names = [one.name for record in records for one in record.names]
        shown = ", ".join(names[:5])
        raise HeldError(
            Reason.IMAGE_HAS_NAMES,
            f"{text[:200]} has {len(names)} names"
            + (f" on {len(records)} images" if len(records) > 1 else "")
            + f" ({shown}): remove them one by one, or use force",
            names[:50],
            len(names),
        )
    for record in records if force else ():
        holds = holds_of(session, record, now)
        if holds.running or holds.leases:
            raise replace(holds, idle=(), pinned=False).refusal(text)
    return [_remove_last(session, one, text, force=force, now=now) for one in records]


def _as_name(session: ReadSession, text: str) -> str | None:
    """The name that a text means, if an image has it."""
    if is_id(text):
        return None
    try:
        name, record = find_name(session, text)
    except Error:
        return None
    return name if record else None


def _has_single_name(record: ImageRecord) -> bool:
    """Docker's rule: one tag, and references by digest in the same repository, count as one."""
    tags = [one for one in record.names if not one.by_digest]
    return len(tags) <= 1 and len({one.repository for one in record.names}) <= 1


def _untag(session: WriteSession, record: ImageRecord, name: str, now: int) -> Removal:
    session.delete_name(name)
    session.add_event(image_event("untag", record, now, name=name))
    return Removal(record, (name,))


def _remove_last(
    session: WriteSession, record: ImageRecord, text: str, *, force: bool, now: int
) -> Removal:
    """Removes an image with all its names, or, forced while it is held, only the names."""
    holds = holds_of(session, record, now)
    if holds.names() and not force:
        raise holds.refusal(text)
    names = tuple(one.name for one in record.names)
    for name in names:
        _untag(session, record, name, now)
    if holds.containers or holds.leases:
        session.set_pinned(record.uid, False)
        session.set_doomed(record.uid, True)
        return Removal(record, names)
    gone = delete_image(session, record, now)
    # Docker names the repository's digests among what was untagged.
    learned = tuple(one for one in record.repo_digests if one not in names)
    return Removal(record, (*names, *learned), gone.digests, gone.freed_bytes)


# --- prune


@dataclass(frozen=True, slots=True)
class Pruned:
    """What pruning did, or would do."""

    removals: tuple[Removal, ...]

    @property
    def freed_bytes(self) -> int:
        """Bytes that nothing needs any more."""
        return sum(one.freed_bytes for one in self.removals)


def prune_images(
    session: WriteSession, *, all_images: bool, filters: Sequence[str], now: int
) -> Pruned:
    """Removes dangling images, or with `all_images` every one that no container uses; pinned and
    leased ones stay.

    Raises FILTER_INVALID, IMAGE_NOT_FOUND (of a filter's image).
    """
    wanted = parse_filters(session, filters, now)
    # Docker's word here: `dangling=false` widens to all images, as `all` does.
    everything = wanted.query.dangling is False or (all_images and wanted.query.dangling is None)
    query = replace(wanted.query, dangling=None if everything else True, in_use=False, pinned=False)
    if wanted.query.in_use or wanted.query.pinned:
        return Pruned(())
    fitting = fitting_images(session, replace(wanted, query=query), None)
    # Narrowed images lack names: the whole one is removed.
    found = [session.image(record.uid) for _, record in fitting]
    return Pruned(
        tuple(
            _remove_last(session, record, record.uid, force=False, now=now)
            for record in found
            if record and not holds_of(session, record, now).names()
        )
    )

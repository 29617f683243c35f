"""Removing images, as Docker does (behaviour: remove)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from imgd_server.errors import Error, HeldError, Reason
from imgd_server.images._holds import (
    Deletion,
    delete_image,
    holds_of,
    image_event,
)
from imgd_server.images._lookup import find_images_by_id, is_id
from imgd_server.images._naming import find_name
from imgd_server.metadata import ImageRecord, ReadSession, WriteSession

__all__ = ["Removal", "removal_of", "remove_free", "remove_image"]


@dataclass(frozen=True, slots=True)
class Removal:
    """What a removal did: names taken, digests deleted, bytes that nothing needs any more."""

    record: ImageRecord
    untagged: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    freed_bytes: int = 0


def remove_image(session: WriteSession, text: str, *, force: bool, now: int) -> list[Removal]:
    """Removes a name or an image; several images only when they share the ID and with force.

    By name: while other names remain, that name goes, and with a repository's last tag the repo
    digests learned there; a learned repo digest goes alone. The last name goes with the image,
    unless a container, a lease or a pin holds it. By ID: all names go with the image; several need
    force, as a pin or an idle container does, and a running container or a lease refuses even that.
    What is forced while it is held stays without names until the last hold is gone.

    Raises IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, IMAGE_IN_USE, IMAGE_HAS_NAMES; then nothing changed.
    """
    if named := _by_name(session, text):
        name, record = named
        if any(one.name != name for one in record.names):
            return [_untag(session, record, name, now)]
        return [_remove_last(session, record, text, force=force, now=now)]
    records = find_images_by_id(session, text)
    if not force and (len(records) > 1 or not _has_single_name(records[0])):
        names = [
            name
            for record in records
            for name in [one.name for one in record.names] or [record.target.digest]
        ]
        shown = ", ".join(names[:5])
        raise HeldError(
            Reason.IMAGE_HAS_NAMES,
            f"{text[:200]} means {len(names)} names"
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


def _by_name(session: ReadSession, text: str) -> tuple[str, ImageRecord] | None:
    """The name, or learned repo digest, that a text means, and the image that has it."""
    if is_id(text):
        return None
    try:
        name, record = find_name(session, text)
    except Error:
        return None
    if record is None and "@" in name:
        record = next(iter(session.images_by_repo_digest(name)), None)
    return (name, record) if record else None


def _has_single_name(record: ImageRecord) -> bool:
    """Docker's rule: one tag, and references by digest in the same repository, count as one."""
    tags = [one for one in record.names if not one.by_digest]
    return len(tags) <= 1 and len({one.repository for one in record.names}) <= 1


def _untag(session: WriteSession, record: ImageRecord, name: str, now: int) -> Removal:
    """Takes away one of several names. Docker keeps no digest of a repository without a tag."""
    tags = [one for one in record.names if not one.by_digest]
    repositories = {one.repository for one in tags if one.name == name}
    repositories -= {one.repository for one in tags if one.name != name}
    # A digest reference that was asked for may have been learned, too: to Docker they are one.
    session.delete_name(name)
    session.forget_repo_digest(name)
    session.add_event(image_event("untag", record, now, name=name))
    learned = [one for one in _learned(record) if one.partition("@")[0] in repositories]
    for one in learned:
        session.forget_repo_digest(one)
    return Removal(record, (name, *learned))


def _learned(record: ImageRecord) -> tuple[str, ...]:
    """The repo digests that are no names."""
    names = {one.name for one in record.names}
    return tuple(one for one in record.repo_digests if one not in names)


def _remove_last(
    session: WriteSession, record: ImageRecord, text: str, *, force: bool, now: int
) -> Removal:
    """Removes an image with all its names, or, forced while it is held, only the names."""
    holds = holds_of(session, record, now)
    if holds.names() and not force:
        raise holds.refusal(text)
    if not (holds.containers or holds.leases):
        return remove_free(session, record, now)
    for name in record.names:
        session.delete_name(name.name)
    for learned in record.repo_digests:
        session.forget_repo_digest(learned)
    _tell_untagged(session, record, now)
    session.set_pinned(record.uid, False)
    session.set_doomed(record.uid, True)
    return removal_of(record, Deletion((), 0))


def remove_free(session: WriteSession, record: ImageRecord, now: int) -> Removal:
    """Removes an image that nothing holds, with its names."""
    _tell_untagged(session, record, now)
    return removal_of(record, delete_image(session, record, now))


def removal_of(record: ImageRecord, gone: Deletion) -> Removal:
    """What is told of an image that lost all its names. Docker names digests among what was
    untagged."""
    untagged = (*(one.name for one in record.names), *_learned(record))
    return Removal(record, untagged, gone.digests, gone.freed_bytes)


def _tell_untagged(session: WriteSession, record: ImageRecord, now: int) -> None:
    for name in record.names:
        session.add_event(image_event("untag", record, now, name=name.name))

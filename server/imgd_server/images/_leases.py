"""Leases: holds on images and blobs that end by themselves (behaviour: words)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from imgd_server.errors import Error, Reason
from imgd_server.images._holds import release
from imgd_server.images._lookup import find_image, new_uid
from imgd_server.metadata import EventRecord, LeaseRecord, ReadSession, WriteSession
from imgd_server.oci import Digest

__all__ = [
    "NewLease",
    "create_lease",
    "delete_lease",
    "expire_leases",
    "find_lease",
    "renew_lease",
    "take_lease",
]

_DEFAULT_TTL = 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class NewLease:
    """What a caller asks for. `ttl` is in microseconds; 0 means an hour."""

    lease_id: str = ""
    ttl: int = 0
    images: Sequence[str] = ()
    digests: Sequence[Digest] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def create_lease(session: WriteSession, wanted: NewLease, now: int) -> LeaseRecord:
    """Takes a lease. Raises LEASE_EXISTS, IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS.

    A digest that is not stored yet is held from the moment it is.
    """
    lease_id = wanted.lease_id or new_uid().lower()
    known = session.lease(lease_id)
    if known and known.expires > now:
        raise Error(
            Reason.LEASE_EXISTS,
            f"a lease named {lease_id} exists: renew it, or use another name",
            metadata={"lease": f"leases/{lease_id}"},
        )
    if known:
        delete_lease(session, lease_id, now)
    record = LeaseRecord(
        lease_id,
        now,
        now + (wanted.ttl or _DEFAULT_TTL),
        wanted.labels,
        tuple(wanted.digests),
        tuple(
            dict.fromkeys(
                find_image(session, image, f"images[{position}]").uid
                for position, image in enumerate(wanted.images)
            )
        ),
    )
    session.put_lease(record)
    _tell(session, "create", record, now)
    return record


def take_lease(
    session: WriteSession,
    lease_id: str,
    ttl: int,
    image: str,
    now: int,
    *,
    digests: Sequence[Digest] = (),
) -> LeaseRecord:
    """Holds an image (uid, "" for none) and blobs with a lease that is made, or that exists and is
    then added to and lasts no shorter than it would have."""
    lease_id = lease_id or new_uid().lower()
    known = session.lease(lease_id)
    if known and known.expires <= now:
        delete_lease(session, lease_id, now)
        known = None
    if known is None:
        known = LeaseRecord(lease_id, now, now)
        _tell(session, "create", known, now)
    record = replace(
        known,
        expires=max(known.expires, now + (ttl or _DEFAULT_TTL)),
        digests=tuple(dict.fromkeys((*known.digests, *digests))),
        images=tuple(dict.fromkeys((*known.images, *([image] if image else [])))),
    )
    session.put_lease(record)
    return record


def find_lease(session: ReadSession, lease_id: str, now: int) -> LeaseRecord:
    """The lease. Raises LEASE_NOT_FOUND, also for one that has expired."""
    record = session.lease(lease_id)
    if record is None or record.expires <= now or record.is_own:
        raise Error(
            Reason.LEASE_NOT_FOUND,
            f"no such lease: {lease_id}; it may have expired",
            metadata={"lease": f"leases/{lease_id}"},
        )
    return record


def renew_lease(session: WriteSession, lease_id: str, ttl: int, now: int) -> LeaseRecord:
    """Sets when it ends, counted from now. Raises LEASE_NOT_FOUND."""
    record = replace(find_lease(session, lease_id, now), expires=now + (ttl or _DEFAULT_TTL))
    session.put_lease(record)
    return record


def delete_lease(session: WriteSession, lease_id: str, now: int) -> bool:
    """Gives a lease back. Says whether there was one."""
    record = session.lease(lease_id)
    if record is None:
        return False
    _end(session, record, now)
    return True


def expire_leases(session: WriteSession, now: int, limit: int) -> int:
    """Ends leases whose time is over, at most so many; returns how many."""
    over = session.expired_leases(now, limit)
    for record in over:
        _end(session, record, now)
    return len(over)


def _end(session: WriteSession, record: LeaseRecord, now: int) -> None:
    session.delete_lease(record.lease_id)
    _tell(session, "delete", record, now)
    release(session, record.images, now)


def _tell(session: WriteSession, action: str, record: LeaseRecord, now: int) -> None:
    if not record.is_own:
        facts = {"expires_us": str(record.expires)}
        subject = f"leases/{record.lease_id}"
        session.add_event(EventRecord("LEASE", action, subject, now, facts))

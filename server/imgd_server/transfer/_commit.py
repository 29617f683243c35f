"""A pull's end as one transaction, and whether a pull is needed at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import Unpacked, find_image, image_event, record_unpacked, take_lease
from imgd_server.metadata import (
    TRANSFER_LEASE,
    EventRecord,
    ImageRecord,
    LeaseRecord,
    Name,
    PlatformRecord,
    ReadSession,
    TransferRecord,
    WriteSession,
)
from imgd_server.oci import (
    Descriptor,
    Digest,
    FormatError,
    Platform,
    Reference,
    select_platforms,
)
from imgd_server.transfer._outcome import Outcome, PullResult, TransferState
from imgd_server.transfer._progress import now_us
from imgd_server.transfer._pull import Pulled
from imgd_server.transfer._push import Pushed
from imgd_server.transfer._spec import StoreEndpoint, TransferSpec

__all__ = [
    "Show",
    "commit_push",
    "end_pull",
    "hold",
    "holding_lease",
    "joined",
    "let_go",
    "names_of",
    "not_here",
    "present_image",
    "show_present",
    "show_pulled",
    "transfer_event",
]

# Shows one image of a pull, with its names and its lease; returns what came of it.
Show = Callable[[WriteSession], Outcome]


# A transfer takes holds as it goes on. One that waited longer for its next step would not end.
_HELD = 30 * 86400 * 1_000_000
# Of a thousand tags each may have something to say.
_MAX_WARNINGS = 100


def holding_lease(uid: str) -> str:
    """The lease with which a transfer holds what it fetches, until its image holds it.

    The colon keeps it apart from callers' leases, whose IDs have none.
    """
    return f"{TRANSFER_LEASE}{uid}"


def names_of(reference: Reference, destination: StoreEndpoint) -> list[Name]:
    """The names that a pull gives: those asked for, else the reference itself.

    Tag and digest together: the digest decides, and the tag is neither made nor moved.
    """
    references = [Reference.parse(tag) for tag in destination.tags] or [reference]
    return [
        Name(f"{one.name}@{one.digest}", one.name, by_digest=True)
        if one.digest
        else Name(str(one.with_default_tag()), one.name)
        for one in references
    ]


def present_image(
    session: ReadSession,
    reference: Reference,
    wanted: Sequence[Platform],
    *,
    explicit: bool,
    all_platforms: bool,
) -> ImageRecord | None:
    """The stored image that the reference names, if it is here for every wanted platform."""
    try:
        record = find_image(session, str(reference))
    except Error as error:
        if error.reason is Reason.IMAGE_NOT_FOUND:
            return None
        raise
    if record.complete and (all_platforms or not explicit):
        return record
    if all_platforms:
        return None
    platforms = session.image_platforms(record.uid)
    complete = {one.manifest.digest for one in platforms if one.complete}
    stated = [
        replace(one.manifest, platform=platform)
        for one in platforms
        if (platform := _platform_of(one))
    ]
    # The best one counts, as when it is pulled: one that would do is no reason to leave it out.
    best = [select_platforms(stated, one)[:1] for one in wanted]
    return record if all(one and one[0].digest in complete for one in best) else None


def _platform_of(record: PlatformRecord) -> Platform | None:
    """The platform that the index states, or else the config."""
    if record.manifest.platform or not record.platform:
        return record.manifest.platform
    try:
        return Platform.parse(record.platform)
    except FormatError:
        return None


def show_present(
    session: WriteSession,
    *,
    present: Callable[[ReadSession], ImageRecord | None],
    reference: Reference,
    destination: StoreEndpoint,
    unpacked: Sequence[Unpacked] = (),
) -> Outcome:
    """Shows an image that is here, where there was nothing to do but to give names, or to unpack.
    Raises IMAGE_NOT_FOUND when the image that `present` finds has gone meanwhile."""
    image = present(session)
    if image is None:
        raise not_here(reference)
    session.touch_image(image.uid, now_us())
    record_unpacked(session, image.uid, unpacked)
    return _show(session, image, reference, destination, reused_bytes=image.content_size)


def show_pulled(
    session: WriteSession,
    *,
    pulled: Pulled,
    reference: Reference,
    destination: StoreEndpoint,
) -> Outcome:
    """Shows what a pull stored: image, what refers to it, names and lease."""
    now = now_us()
    description = pulled.description
    image = session.put_image(
        replace(
            description.record,
            last_used=now,
            repo_digests=(f"{reference.name}@{pulled.target.digest}",),
        ),
        description.platforms,
        description.blobs,
    )
    record_unpacked(session, image.uid, pulled.unpacked)
    for referrer in pulled.referrers:
        session.link_manifest(
            reference.name, referrer.target, subject=referrer.subject, blobs=referrer.blobs
        )
    pulled.proven.record(session)
    # Nobody resumes what is here, and it would be held long after the image is gone.
    session.delete_transfer_leases(pulled.target.digest)
    return _show(
        session,
        image,
        reference,
        destination,
        fetched_bytes=pulled.fetched_bytes,
        reused_bytes=pulled.reused_bytes,
        warnings=pulled.warnings,
    )


def _show(
    session: WriteSession,
    image: ImageRecord,
    reference: Reference,
    destination: StoreEndpoint,
    **facts: Any,
) -> Outcome:
    """Names an image and takes the lease; `facts` are more of the outcome."""
    names = names_of(reference, destination)
    digest, now = image.target.digest, now_us()
    before = []
    for name in names:
        before.append(session.put_name(name, image.uid))
        if before[-1] not in (None, digest) and (former := session.image_by_target(before[-1])):
            session.add_event(image_event("untag", former, now, name=name.name))
        session.add_event(image_event("pull", image, now, name=name.name))
    if all(known == digest for known in before):
        result = PullResult.UP_TO_DATE
    elif any(known not in (None, digest) for known in before):
        result = PullResult.UPDATED
    else:
        result = PullResult.DOWNLOADED
    lease = ""
    if wanted := destination.lease:
        ttl = int(wanted.ttl * 1_000_000)
        lease = take_lease(session, wanted.lease_id, ttl, image.uid, now).lease_id
    return Outcome(
        result,
        image.target,
        image.uid,
        image.image_id,
        tuple(name.name for name in names),
        lease=lease,
        **facts,
    )


def end_pull(
    session: WriteSession, record: TransferRecord, *, show: Show, before: Outcome | None = None
) -> TransferRecord:
    """Shows the last, or only, image of a pull, and ends it, all or nothing; `before` is what came
    of those that were shown before."""
    outcome = joined(before, show(session))
    session.delete_lease(holding_lease(record.uid))
    record = replace(record, state=TransferState.SUCCEEDED.name, outcome=outcome.to_json())
    session.put_transfer(record)
    session.add_event(transfer_event("finish", record, now_us()))
    return record


def joined(before: Outcome | None, last: Outcome) -> Outcome:
    """What came of several images, of which `last` was the last."""
    if before is None:
        return last
    results = (before.pull_result, last.pull_result)
    return replace(
        last,
        pull_result=next(
            (one for one in (PullResult.UPDATED, PullResult.DOWNLOADED) if one in results),
            PullResult.UP_TO_DATE,
        ),
        references=before.references + last.references,
        fetched_bytes=before.fetched_bytes + last.fetched_bytes,
        reused_bytes=before.reused_bytes + last.reused_bytes,
        warnings=(before.warnings + last.warnings)[:_MAX_WARNINGS],
    )


def commit_push(
    session: WriteSession,
    record: TransferRecord,
    *,
    pushed: Pushed,
    images: Mapping[str, str],
) -> TransferRecord:
    """Notes what a push or copy wrote, and ends it. `images` are the stored ones (uids) by the name
    that they went to; one that was removed meanwhile is not brought back."""
    now = now_us()
    image: ImageRecord | None = None
    target: Descriptor | None = None
    for name, target in pushed.targets.items():
        image = session.image(images[name]) if name in images else None
        if image is None:
            continue
        # Of a part of an index the registry knows nothing that this image could be asked for by.
        if image.target.digest == target.digest:
            learned = f"{Reference.parse(name).name}@{target.digest}"
            session.put_image(replace(image, names=(), repo_digests=(learned,)), (), ())
        session.touch_image(image.uid, now)
        session.add_event(image_event("push", image, now, name=name))
    outcome = Outcome(
        target=target,
        image=image.uid if image else "",
        image_id=image.image_id if image else "",
        references=tuple(pushed.targets),
        fetched_bytes=pushed.fetched_bytes,
        reused_bytes=pushed.reused_bytes,
        uploaded_bytes=pushed.uploaded_bytes,
        warnings=pushed.warnings,
    )
    record = replace(record, state=TransferState.SUCCEEDED.name, outcome=outcome.to_json())
    session.put_transfer(record)
    session.delete_lease(holding_lease(record.uid))
    session.add_event(transfer_event("finish", record, now))
    return record


def let_go(session: WriteSession, record: TransferRecord, lifetime: float) -> None:
    """Ends the hold of a push that did not succeed. What a pull has left unfinished is held for
    `lifetime` seconds more."""
    lease_id = holding_lease(record.uid)
    if not TransferSpec.from_json(record.spec).is_pull:
        session.delete_lease(lease_id)
    elif lease := session.lease(lease_id):
        expires = (record.ended or now_us()) + int(lifetime * 1_000_000)
        session.put_lease(replace(lease, expires=expires, digests=()))


def transfer_event(action: str, record: TransferRecord, now: int) -> EventRecord:
    """An event about a transfer: `start`, for each of its attempts, `finish`, or `delete`."""
    name = TransferSpec.from_json(record.spec).reference
    facts = _named(name)
    if action == "start":
        facts["attempt"] = str(record.attempt)
    else:
        outcome = Outcome.from_json(record.outcome or {})
        facts |= {"state": record.state.lower(), "fetched_bytes": str(outcome.fetched_bytes)}
        if outcome.uploaded_bytes:
            facts["uploaded_bytes"] = str(outcome.uploaded_bytes)
        if outcome.target:
            facts["digest"] = outcome.target.digest
        if outcome.image:
            facts |= {"image": f"images/{outcome.image}", "image_id": outcome.image_id}
        if outcome.failure:
            facts["reason"] = outcome.failure.reason.name
    return EventRecord("TRANSFER", action, f"transfers/{record.uid}", now, facts)


def _named(name: str) -> dict[str, str]:
    """What an event says of what a transfer is about: a reference, an ID, or nothing."""
    if not name:
        return {}
    try:
        return {"name": name, "familiar": Reference.parse(name).familiar()}
    except FormatError:
        return {"name": name, "familiar": name}


def hold(session: WriteSession, uid: str, digests: Sequence[Digest]) -> None:
    """Holds what a transfer is about to store: blobs, and snapshots by their chain IDs."""
    now = now_us()
    session.put_lease(
        LeaseRecord(holding_lease(uid), created=now, expires=now + _HELD, digests=tuple(digests))
    )


def not_here(reference: Reference) -> Error:
    """The refusal of a pull that may not ask the registry."""
    return Error(
        Reason.IMAGE_NOT_FOUND,
        f"{reference.familiar()} is not here for the wanted platform, and the pull policy did not "
        "let the registry be asked",
        origin=Origin.DESTINATION,
        reference=str(reference),
    )

"""What holds images, and what becomes of an image when the last hold is gone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from imgd_server.errors import HeldError, Reason
from imgd_server.images._describe import is_document
from imgd_server.images._patterns import familiar
from imgd_server.metadata import BlobRef, EventRecord, ImageRecord, ReadSession, WriteSession
from imgd_server.oci import media

__all__ = [
    "LABEL",
    "Deletion",
    "Holds",
    "delete_image",
    "deletion_of",
    "holds_of",
    "image_event",
    "label_facts",
    "release",
]

LABEL = "label:"
"""What an attribute of an event begins with that tells a label of its subject."""

# Events are kept for long: what a subject's labels may add to each, in characters.
_MAX_LABELS = 2048

# So many holders are named in a refusal; the total is told beside them.
_MAX_NAMED = 100


@dataclass(frozen=True, slots=True)
class Holds:
    """What holds one image: IDs of containers and leases, and whether it is pinned."""

    running: tuple[str, ...]
    idle: tuple[str, ...]
    leases: tuple[str, ...]
    pinned: bool

    @property
    def containers(self) -> tuple[str, ...]:
        """Containers in any state."""
        return (*self.running, *self.idle)

    def names(self) -> list[str]:
        """The holders by resource name; `pin` for a pin."""
        return [
            *(f"containers/{one}" for one in self.containers),
            *(f"leases/{one}" for one in self.leases),
            *(["pin"] if self.pinned else []),
        ]

    def refusal(self, image: str) -> HeldError:
        """The error for whoever wants the image gone."""
        names = self.names()
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        return HeldError(
            Reason.IMAGE_IN_USE,
            f"{image[:200]} is held by {shown}: remove what holds it first",
            names[:_MAX_NAMED],
            len(names),
        )


@dataclass(frozen=True, slots=True)
class Deletion:
    """What went with an image: digests in Docker's order, and bytes that nothing else needs."""

    digests: tuple[str, ...]
    freed_bytes: int


def holds_of(session: ReadSession, record: ImageRecord, now: int) -> Holds:
    """What holds an image at this moment (microseconds since the epoch)."""
    running, idle = session.image_containers(record.uid)
    return Holds(
        tuple(running), tuple(idle), tuple(session.image_leases(record.uid, now)), record.pinned
    )


def delete_image(session: WriteSession, record: ImageRecord, now: int) -> Deletion:
    """Deletes an image's record. Its bytes go with the next collection."""
    alone = session.exclusive_blobs(record.uid, now)
    session.delete_image(record.uid)
    session.add_event(image_event("delete", record, now))
    return deletion_of(record, alone)


def deletion_of(record: ImageRecord, alone: Iterable[BlobRef]) -> Deletion:
    """What goes with an image that has these blobs alone."""
    blobs = list(alone)
    # What holds an image's layers together Docker does not name.
    layers = sorted(
        blob.digest
        for blob in blobs
        if not (is_document(blob.media_type) or blob.media_type == media.OCI_EMPTY)
    )
    return Deletion((record.image_id, *layers), sum(blob.size for blob in blobs))


def release(session: WriteSession, images: Iterable[str], now: int) -> None:
    """Deletes those of the images (uids) whose removal was forced while they were held, and that
    nothing holds any more."""
    for uid in images:
        record = session.image(uid)
        if record is None or not record.doomed or record.names:
            continue
        if not holds_of(session, record, now).names():
            delete_image(session, record, now)


def image_event(action: str, record: ImageRecord, now: int, **attributes: str) -> EventRecord:
    """An event about an image."""
    facts = {"digest": str(record.target.digest), "image_id": record.image_id, **attributes}
    if "name" in facts:
        facts["familiar"] = familiar(facts["name"])
    facts |= label_facts(record.labels)
    return EventRecord("IMAGE", action, f"images/{record.uid}", now, facts)


def label_facts(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels as attributes of an event: in their order, those that fit beside what came before."""
    facts: dict[str, str] = {}
    room = _MAX_LABELS
    for key, value in labels.items():
        size = len(key) + len(value)
        if size <= room:
            room -= size
            facts[f"{LABEL}{key}"] = value
    return facts

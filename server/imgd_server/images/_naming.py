"""Giving names and taking them away (behaviour: tag, untag)."""

from __future__ import annotations

from dataclasses import dataclass

from imgd_server.errors import Error, FieldError, Reason, from_format
from imgd_server.images._holds import image_event
from imgd_server.images._lookup import find_image
from imgd_server.metadata import ImageRecord, Name, ReadSession, WriteSession
from imgd_server.oci import FormatError, Reference

__all__ = ["Tagged", "find_name", "new_name", "tag_image", "untag_image"]


# Docker refuses these as names, too.
_ALGORITHMS = ("sha256", "sha512")


@dataclass(frozen=True, slots=True)
class Tagged:
    """An image with its new name; `previous` is the digest that the name left, or empty."""

    image: ImageRecord
    previous: str


def tag_image(
    session: WriteSession, image: str, tag: str, expected: str | None, now: int
) -> Tagged:
    """Gives an image one more name; a name in use moves. Idempotent.

    `expected` is the digest that the name must point at now: "" for none yet, None for any.
    Raises REFERENCE_INVALID, IMAGE_NOT_FOUND, DIGEST_CHANGED.
    """
    name = new_name(tag)
    former = session.image_by_name(name.name)
    _check_expected(name.name, former, expected)
    record = find_image(session, image)
    session.touch_image(record.uid, now)
    if former and former.uid == record.uid:
        return Tagged(record, "")
    session.put_name(name, record.uid)
    if former:
        session.add_event(image_event("untag", former, now, name=name.name))
    session.add_event(image_event("tag", record, now, name=name.name))
    named = session.image(record.uid)
    assert named is not None
    return Tagged(named, former.target.digest if former else "")


def new_name(tag: str) -> Name:
    """A tag that can be given to an image. Raises REFERENCE_INVALID."""
    reference = _parse(tag, "tag").with_default_tag()
    if reference.digest:
        raise FieldError(
            "tag",
            f"tag: a new name is a tag, and {tag[:200]} holds a digest",
            reason=Reason.REFERENCE_INVALID,
        )
    if reference.familiar().partition(":")[0] in _ALGORITHMS:
        raise FieldError(
            "tag",
            f"tag: {tag[:200]} would be taken for an image's ID",
            reason=Reason.REFERENCE_INVALID,
        )
    return Name(str(reference), reference.name)


def untag_image(session: WriteSession, reference: str, expected: str, now: int) -> ImageRecord:
    """Takes one name away, and never content. Returns the image without it.

    `expected` is the digest that the name must point at now; empty for any. Raises
    REFERENCE_INVALID, IMAGE_NOT_FOUND, DIGEST_CHANGED.
    """
    name, record = find_name(session, reference)
    if record is None:
        raise Error(
            Reason.IMAGE_NOT_FOUND, f"no such name: {name}", metadata={"image": reference[:200]}
        )
    _check_expected(name, record, expected or None)
    session.delete_name(name)
    session.add_event(image_event("untag", record, now, name=name))
    left = session.image(record.uid)
    assert left is not None
    return left


def find_name(session: ReadSession, text: str) -> tuple[str, ImageRecord | None]:
    """The full name that a text means, and the image that has it. Raises REFERENCE_INVALID."""
    reference = _parse(text, "reference").with_default_tag()
    # Tag and digest: the digest decides.
    name = f"{reference.name}@{reference.digest}" if reference.digest else str(reference)
    return name, session.image_by_name(name)


def _parse(text: str, field: str) -> Reference:
    try:
        return Reference.parse(text)
    except FormatError as error:
        found = from_format(error)
        raise FieldError(field, f"{field}: {found.message}", reason=found.reason) from error


def _check_expected(name: str, current: ImageRecord | None, expected: str | None) -> None:
    actual = str(current.target.digest) if current else ""
    if expected is not None and expected != actual:
        raise Error(
            Reason.DIGEST_CHANGED,
            f"{name} points at {actual or 'nothing'}, not at {expected or 'nothing'}: look again",
            metadata={"name": name, "expected": expected, "actual": actual},
        )

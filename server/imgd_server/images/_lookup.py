"""Looking images up as people name them (behaviour: references, look-up)."""

from __future__ import annotations

import re
import secrets

from imgd_server.errors import Error, FieldError, Reason
from imgd_server.metadata import ImageRecord, ReadSession
from imgd_server.oci import FormatError, Reference

__all__ = ["find_image", "find_images_by_id", "is_id", "new_uid"]

# Crockford's alphabet: upper-case, and no letters that look like digits.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_UID = re.compile(rf"images/([{_ALPHABET}]{{26}})", re.ASCII)
_ID_PREFIX = re.compile(
    r"(?:sha256:[0-9a-f]{4,64}|sha512:[0-9a-f]{4,128}|[0-9a-f]{4,128})", re.ASCII
)
# Too few digits to be the start of an ID.
_SHORT = re.compile(r"(?:sha(?:256|512):)?[0-9a-f]{1,3}", re.ASCII)
# In full it is an ID and nothing else, although `sha256:…` could also be a repository and its tag
# (distribution/reference, ParseAnyReference).
_ID = re.compile(r"(?:sha256:)?[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)
# How many images may share an ID, or its start; more can't be told apart here.
_MAX_SAME = 1000
# How many candidates an ambiguous prefix names: enough to choose from, and far below 4 KiB.
_MAX_CANDIDATES = 10


def new_uid() -> str:
    """A fresh, unguessable uid: 26 upper-case characters, the first a letter.

    References are lower case, so `images/{uid}` can't be one.
    """
    return secrets.choice(_ALPHABET[10:]) + "".join(secrets.choice(_ALPHABET) for _ in range(25))


def is_id(text: str) -> bool:
    """Whether a text is an image ID in full, which no name can be."""
    return _ID.fullmatch(text) is not None


def find_image(session: ReadSession, text: str, field: str = "image") -> ImageRecord:
    """The image that `text` names: a reference, an ID or repo digest in full, a unique ID prefix of
    at least 4 hex digits, or a resource name. A tag wins over a prefix that looks the same, and an
    image's own ID over that of another image's platform. `field` is where the request says it.

    Raises IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, REFERENCE_INVALID, DIGEST_*.
    """
    if match := _UID.fullmatch(text):
        if record := session.image(match[1]):
            return record
        raise _not_found(text)
    is_prefix = _ID_PREFIX.fullmatch(text)
    if not is_id(text):
        try:
            reference = Reference.parse(text).with_default_tag()
        except FormatError as error:
            if not is_prefix:
                raise FieldError(field, f"{field}: {error}", reason=Reason[error.reason]) from error
        else:
            if record := _by_reference(session, reference):
                return record
    if is_prefix and (record := _by_prefix(session, text, field)):
        return record
    raise _not_found(text)


def find_images_by_id(session: ReadSession, text: str) -> list[ImageRecord]:
    """The images that `text` means as `find_image` has it; all of them where it is an ID, or the
    start of one, that several share. Raises as `find_image` does."""
    record = find_image(session, text)
    if _UID.fullmatch(text) or not _ID_PREFIX.fullmatch(text):
        return [record]
    found = session.images_by_id_prefix(record.image_id, _MAX_SAME)
    same = [one for one in found if one.image_id == record.image_id]
    # The target's own digest means that image alone.
    starts = (text,) if ":" in text else (f"sha256:{text}", f"sha512:{text}")
    exact = [one for one in same if one.target.digest.startswith(starts)]
    return exact if len(exact) == 1 else same


def _by_reference(session: ReadSession, reference: Reference) -> ImageRecord | None:
    if reference.digest is None:
        return session.image_by_name(str(reference))
    # Tag and digest: the digest decides.
    repo_digest = f"{reference.name}@{reference.digest}"
    if record := session.image_by_name(repo_digest):
        return record
    known = session.images_by_repo_digest(repo_digest)
    return known[0] if known else None


def _by_prefix(session: ReadSession, prefix: str, field: str) -> ImageRecord | None:
    found = session.images_by_id_prefix(prefix, _MAX_SAME)
    # Two images can share a whole ID; then the newer one is as good as the other.
    ids = sorted({record.image_id for record in found})
    if len(ids) > 1:
        candidates = ", ".join(ids[:_MAX_CANDIDATES])
        raise FieldError(
            field,
            f"{prefix} fits {len(ids)} images; give more digits, or one of: {candidates}",
            reason=Reason.IMAGE_AMBIGUOUS,
            metadata={"candidates": candidates, "candidates_total": str(len(ids))},
        )
    return found[0] if found else None


def _not_found(text: str) -> Error:
    advice = "pull it first, or list what is here"
    if _SHORT.fullmatch(text):
        advice = f"the start of an ID has at least 4 digits; else {advice}"
    return Error(
        Reason.IMAGE_NOT_FOUND,
        f"no such image: {text[:200]}; {advice}",
        metadata={"image": text[:200]},
    )

"""Checking that what the metadata promise is there (`imgd fsck`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images._describe import describe
from imgd_server.metadata import BlobRef, ImageRecord, MetadataStore, ReadSession
from imgd_server.oci import Digest, Platform

__all__ = ["Problem", "check_store"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong; `subject` is a digest or resource name."""

    reason: Reason
    subject: str
    message: str


async def check_store(
    metadata: MetadataStore, content: ContentStore, *, verify_content: bool
) -> AsyncIterator[tuple[int, list[Problem]]]:
    """Checks every image, then every blob, and yields (blobs checked so far, new problems).

    An image's blobs must be there with their sizes, and its graph must read as recorded. With
    `verify_content` every stored blob is read again and compared with its digest.
    """
    after: tuple[int, int] | None = None
    while True:
        place = after

        def page(session: ReadSession) -> list[tuple[tuple[int, int], ImageRecord, list[BlobRef]]]:
            found = session.list_images(place, _PAGE)  # noqa: B023 - called before it changes
            return [(at, one, session.image_blobs(one.uid)) for at, one in found]

        rows = await metadata.read(page)
        for at, record, blobs in rows:
            yield 0, await asyncio.to_thread(_check_image, content, record, blobs)
            after = at
        if len(rows) < _PAGE:
            break
    infos = await asyncio.to_thread(lambda: list(content.blobs()))
    for checked, info in enumerate(infos, 1):
        yield (
            checked,
            await asyncio.to_thread(_check_blob, content, info.digest) if verify_content else [],
        )


def _check_image(content: ContentStore, record: ImageRecord, blobs: list[BlobRef]) -> list[Problem]:
    name = f"images/{record.uid}"
    problems = []
    for blob in blobs:
        if not blob.stored:
            continue
        found = content.find(blob.digest)
        if found is None:
            problems.append(Problem(Reason.BLOB_NOT_FOUND, name, f"{blob.digest} is missing"))
        elif found.size != blob.size:
            problems.append(
                Problem(
                    Reason.SIZE_MISMATCH,
                    name,
                    f"{blob.digest} has {found.size} bytes instead of {blob.size}",
                )
            )
    if problems:
        return problems
    try:
        seen = {blob.digest for blob in describe(content, record.target, Platform.host()).blobs}
    except Error as error:
        return [Problem(error.reason, name, error.message)]
    if lost := seen - {blob.digest for blob in blobs}:
        return [Problem(Reason.STORE_CORRUPT, name, f"{sorted(lost)[0]} is used and not recorded")]
    if record.complete and any(not blob.stored for blob in blobs):
        return [Problem(Reason.STORE_CORRUPT, name, "recorded as complete, and it is not")]
    return []


def _check_blob(content: ContentStore, digest: Digest) -> list[Problem]:
    try:
        if content.verify(digest):
            return []
    except Error as error:
        if error.reason is Reason.BLOB_NOT_FOUND:
            return []  # deleted meanwhile
        return [Problem(error.reason, digest, error.message)]
    return [
        Problem(
            Reason.DIGEST_MISMATCH,
            digest,
            # A pull alone would find a file of that name and size, and be content with it.
            "its bytes do not have its digest; delete its file, then pull an image that has it",
        )
    ]

"""Checking that what the metadata promise is there (`imgd fsck`)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images._describe import Only, describe
from imgd_server.metadata import BlobRef, ImageRecord, MetadataStore, ReadSession
from imgd_server.oci import Digest, Platform

__all__ = ["Problem", "check_store"]

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong; `subject` is a digest, a resource name, `metadata`, or a name in the content
    store."""

    reason: Reason
    subject: str
    message: str


async def check_store(
    metadata: MetadataStore, content: ContentStore, *, verify_content: bool
) -> AsyncIterator[tuple[int, list[Problem]]]:
    """Checks the metadata, every image, then every blob, and yields (blobs checked so far, new
    problems). Others may use the store meanwhile.

    An image's blobs must be there with their sizes, and its graph must read as recorded. With
    `verify_content` every stored blob is read again and compared with its digest.
    """
    yield 0, [Problem(Reason.STORE_CORRUPT, "metadata", one) for one in await metadata.verify()]
    try:
        async for problems in _check_images(metadata, content):
            yield 0, problems
    except Error as error:
        yield 0, [Problem(error.reason, "metadata", error.message)]
    yield 0, await asyncio.to_thread(_check_strays, content)
    infos = await asyncio.to_thread(lambda: list(content.blobs()))
    for checked, info in enumerate(infos, 1):
        yield (
            checked,
            await asyncio.to_thread(_check_blob, content, info.digest) if verify_content else [],
        )


async def _check_images(
    metadata: MetadataStore, content: ContentStore
) -> AsyncIterator[list[Problem]]:
    after: tuple[int, int] | None = None
    while True:
        place = after

        def page(session: ReadSession) -> list[tuple[tuple[int, int], ImageRecord, list[BlobRef]]]:
            found = session.list_images(place, _PAGE)  # noqa: B023 - called before it changes
            return [(at, one, session.image_blobs(one.uid)) for at, one in found]

        rows = await metadata.read(page)
        for at, record, blobs in rows:
            after = at
            problems = await asyncio.to_thread(_check_image, content, record, blobs)
            if problems and await _is_there(metadata, record.uid):
                yield problems
        if len(rows) < _PAGE:
            return


async def _is_there(metadata: MetadataStore, uid: str) -> bool:
    """Whether an image is still there: the content of one that was deleted may be gone."""
    return await metadata.read(lambda session: session.image(uid) is not None)


def _check_strays(content: ContentStore) -> list[Problem]:
    message = "is no blob, and imgd did not put it there: move it away"
    strays = itertools.islice(content.strays(), _PAGE)
    return [Problem(Reason.STORE_CORRUPT, one, message) for one in strays]


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
    # What a pull under way, or cut off, has brought besides is not the image's yet.
    recorded = Only(content, frozenset(blob.digest for blob in blobs if blob.stored))
    try:
        seen = {blob.digest for blob in describe(recorded, record.target, Platform.host()).blobs}
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
    except Error:  # deleted meanwhile
        return []
    return [
        Problem(
            Reason.DIGEST_MISMATCH,
            digest,
            # A pull alone would find a file of that name and size, and be content with it.
            "its bytes do not have its digest; delete its file, then pull an image that has it",
        )
    ]

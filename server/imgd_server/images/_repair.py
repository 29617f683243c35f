"""Repairing what a check of the store finds, where that is safe: nothing that is whole is lost.

What is not stored is recorded as not stored, so that a pull fetches it; what is stored and is not
what its digest says goes, for the same reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from imgd_server.content import BlobInfo, ContentStore
from imgd_server.errors import Error
from imgd_server.images._describe import Description, describe, is_document
from imgd_server.metadata import BlobRef, MetadataStore, ReadSession, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform

__all__ = ["drop_blob", "forget_link", "repair_image"]


async def repair_image(metadata: MetadataStore, content: ContentStore, uid: str) -> None:
    """Brings an image's record in line with what is stored of it; drops what is spoilt of it, where
    its size or a document of it is wrong."""

    def look(session: ReadSession) -> tuple[Descriptor, list[BlobRef]] | None:
        record = session.image(uid)
        return (record.target, session.image_blobs(uid)) if record else None

    found = await metadata.read(look)
    if found is None:
        return
    target, blobs = found
    lost, spoilt = await asyncio.to_thread(_sort, content, blobs)

    def lose(session: WriteSession) -> None:
        dropped = [one.digest for one in spoilt if content.discard_seen(one)]
        session.forget_links(dropped)
        session.lose_blobs(uid, [*lost, *dropped])

    await metadata.write_alone(lose)
    try:
        description = await asyncio.to_thread(describe, content, target, Platform.host())
    except Error:  # a document that is gone or does not read: no more is known
        return
    await metadata.write(lambda session: _record(session, content, uid, description))


def _sort(content: ContentStore, blobs: Collection[BlobRef]) -> tuple[set[Digest], list[BlobInfo]]:
    """Of what is recorded as stored: what is not there, and what is and should not be."""
    lost: set[Digest] = set()
    spoilt: list[BlobInfo] = []
    for blob in blobs:
        found = content.find(blob.digest) if blob.stored else None
        if found is None:
            lost.add(blob.digest)
        elif (found.size != blob.size or is_document(blob.media_type)) and not _is_whole(
            content, blob.digest
        ):
            spoilt.append(found)
    return lost, spoilt


def _is_whole(content: ContentStore, digest: Digest) -> bool:
    try:
        return content.verify(digest)
    except Error:  # gone meanwhile
        return False


def _record(
    session: WriteSession, content: ContentStore, uid: str, description: Description
) -> None:
    record = session.image(uid)
    if record is None or record.target.digest != description.record.target.digest:
        return
    # Not all of it was held while it was looked at; here no collection comes between.
    if all(content.find(one.digest) for one in description.blobs if one.stored):
        session.put_image(description.record, description.platforms, description.blobs)


async def drop_blob(metadata: MetadataStore, content: ContentStore, digest: Digest) -> bool:
    """Drops a blob whose bytes are wrong, and records that its images lack it. Says whether it
    did: it may have come anew meanwhile."""
    # Before it is read: one that is committed meanwhile is another one than this.
    seen = await asyncio.to_thread(content.find, digest)
    if seen is None or await asyncio.to_thread(_is_whole, content, digest):
        return False

    def drop(session: WriteSession) -> list[str] | None:
        if not content.discard_seen(seen):
            return None
        session.forget_links([digest])
        return session.images_with_blob(digest)

    images = await metadata.write_alone(drop)
    if images is None:
        return False
    for uid in images:
        await repair_image(metadata, content, uid)
    await asyncio.to_thread(content.sweep)
    return True


async def forget_link(metadata: MetadataStore, content: ContentStore, digest: Digest) -> None:
    """Hides what is shown and not stored, unless it is stored by now."""

    def forget(session: WriteSession) -> None:
        if content.find(digest) is None:
            session.forget_links([digest])

    await metadata.write(forget)

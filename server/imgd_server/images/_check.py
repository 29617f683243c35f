"""Checking that what the metadata promise is there (`imgd fsck`)."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images._collect import listed
from imgd_server.images._describe import Only, describe
from imgd_server.images._patterns import familiar
from imgd_server.images._repair import drop_blob, forget_link, repair_image
from imgd_server.images._snapshots import broken_snapshots
from imgd_server.metadata import BlobRef, ImageRecord, MetadataStore, ReadSession
from imgd_server.oci import Digest, Platform
from imgd_server.rootfs import SnapshotStore

__all__ = ["Problem", "check_store"]

_PAGE = 500
# So many of the images that a blob is of are named.
_NAMED = 5
_TO_DO = "repair the store, then pull an image that has it"
_DONE = "deleted; pull an image that has it"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong; `subject` is a digest, a resource name, `metadata`, or a name in the content
    store. Where it is an image's, the message says what people call it."""

    reason: Reason
    subject: str
    message: str
    repaired: bool = False


async def check_store(
    metadata: MetadataStore,
    content: ContentStore,
    *,
    verify_content: bool,
    repair: bool = False,
    snapshots: SnapshotStore | None = None,
) -> AsyncIterator[tuple[int, list[Problem]]]:
    """Checks the metadata, every image, every link, every snapshot, then every blob, and yields
    (blobs checked so far, new problems). Others may use the store meanwhile.

    An image's blobs must be there with their sizes, and its graph must read as recorded. With
    `verify_content` every stored blob is read again and compared with its digest. With `repair`
    what is missing is recorded as missing, and what is spoilt goes, so that the next pull fetches
    it; what nobody knows goes too.
    """
    yield 0, [Problem(Reason.STORE_CORRUPT, "metadata", one) for one in await metadata.verify()]
    try:
        async for problems in _check_images(metadata, content, repair=repair):
            yield 0, problems
        async for problems in _check_links(metadata, content, repair=repair):
            yield 0, problems
    except Error as error:
        yield 0, [Problem(error.reason, "metadata", error.message)]
    strays = content.strays()
    while some := await asyncio.to_thread(lambda: [*itertools.islice(strays, _PAGE)]):
        yield 0, await asyncio.to_thread(_check_strays, content, some, repair)
    if snapshots is not None:
        yield 0, await asyncio.to_thread(_check_snapshots, snapshots, repair)
    infos = await listed(content.blobs())
    for checked, info in enumerate(infos, 1):
        problems = []
        if verify_content:
            problems = await asyncio.to_thread(_check_blob, content, info.digest)
        if problems and (users := await _users(metadata, info.digest)):
            problems = [replace(one, message=f"{users}: {one.message}") for one in problems]
        if problems and repair and await drop_blob(metadata, content, info.digest):
            problems = [
                replace(one, message=one.message.replace(_TO_DO, _DONE), repaired=True)
                for one in problems
            ]
        yield checked, problems


async def _check_images(
    metadata: MetadataStore, content: ContentStore, *, repair: bool
) -> AsyncIterator[list[Problem]]:
    after: tuple[int, int] | None = None
    while True:
        place = after
        rows = await metadata.read(lambda session: session.list_images(place, _PAGE))  # noqa: B023
        for at, record in rows:
            after = at
            problems = await _check_one(metadata, content, record.uid)
            if problems and repair:
                await repair_image(metadata, content, record.uid)
                left = await _check_one(metadata, content, record.uid)
                done = await _outcome(metadata, record)
                yield [
                    replace(one, message=f"{one.message}: {done}", repaired=True)
                    for one in problems
                    if one not in left
                ] + left
            elif problems:
                yield problems
        if len(rows) < _PAGE:
            return


async def _outcome(metadata: MetadataStore, before: ImageRecord) -> str:
    """What became of an image that was repaired, in words."""
    now = await metadata.read(lambda session: session.image(before.uid))
    lacks = now is not None and now.content_size < before.content_size
    return "recorded as it is" + ("; pull it again for what it lacks" if lacks else "")


async def _check_one(metadata: MetadataStore, content: ContentStore, uid: str) -> list[Problem]:
    """An image's problems; none when it is gone, for then its content may be gone too."""

    def look(session: ReadSession) -> tuple[ImageRecord | None, list[BlobRef]]:
        return session.image(uid), session.image_blobs(uid)

    record, blobs = await metadata.read(look)
    if record is None:
        return []
    problems = await asyncio.to_thread(_check_image, content, record, blobs)
    if problems and (await metadata.read(look))[0] is None:
        return []
    return problems


async def _check_links(
    metadata: MetadataStore, content: ContentStore, *, repair: bool
) -> AsyncIterator[list[Problem]]:
    after = ""
    message = "is shown in a repository, and not stored"
    while True:
        place = after

        def page(session: ReadSession) -> list[Digest]:
            return session.linked_digests(place, _PAGE)  # noqa: B023 - called before it changes

        digests = await metadata.read(page)
        lost = await asyncio.to_thread(lambda: [one for one in digests if not content.find(one)])  # noqa: B023
        # What is collected is hidden before it goes.
        still = {*await metadata.read(page)} if lost else set()
        for digest in lost:
            if digest in still and repair:
                await forget_link(metadata, content, digest)
                hidden = f"{message}: hidden"
                yield [Problem(Reason.BLOB_NOT_FOUND, digest, hidden, repaired=True)]
            elif digest in still:
                yield [Problem(Reason.BLOB_NOT_FOUND, digest, message)]
        if len(digests) < _PAGE:
            return
        after = digests[-1]


async def _users(metadata: MetadataStore, digest: Digest) -> str:
    """Which images have a blob, in words; empty where none does, or nobody can tell."""

    def look(session: ReadSession) -> list[str]:
        images = session.images_with_blob(digest)
        found = [session.image(uid) for uid in images[:_NAMED]]
        more = [f"{len(images) - _NAMED} more"] if len(images) > _NAMED else []
        return [_called(one) for one in found if one] + more

    try:
        return ", ".join(await metadata.read(look))
    except Error:  # told before
        return ""


def _check_strays(content: ContentStore, strays: list[str], repair: bool) -> list[Problem]:
    message = "is no blob, and imgd did not put it there"
    problems = []
    for one in strays:
        # A file's name may be no text.
        shown = one.encode(errors="backslashreplace").decode()
        if repair and content.drop_stray(one):
            gone = f"{message}: deleted"
            problems.append(Problem(Reason.STORE_CORRUPT, shown, gone, repaired=True))
        else:
            left = f"{message}: move it away"
            problems.append(Problem(Reason.STORE_CORRUPT, shown, left))
    return problems


def _check_snapshots(store: SnapshotStore, repair: bool) -> list[Problem]:
    what = "removed; it is unpacked again when it is needed" if repair else "repair the store"
    return [
        Problem(Reason.STORE_CORRUPT, chain_id, f"of this snapshot {why}: {what}", repaired=repair)
        for chain_id, why in broken_snapshots(store, repair=repair)
    ]


def _check_image(content: ContentStore, record: ImageRecord, blobs: list[BlobRef]) -> list[Problem]:
    name, called = f"images/{record.uid}", _called(record)
    problems = []
    for blob in blobs:
        if not blob.stored:
            continue
        found = content.find(blob.digest)
        if found is None:
            missing = f"{called}: {blob.digest} is missing"
            problems.append(Problem(Reason.BLOB_NOT_FOUND, name, missing))
        elif found.size != blob.size:
            problems.append(
                Problem(
                    Reason.SIZE_MISMATCH,
                    name,
                    f"{called}: {blob.digest} has {found.size} bytes instead of {blob.size}",
                )
            )
    if problems:
        return problems
    # What a pull under way, or cut off, has brought besides is not the image's yet.
    recorded = Only(content, frozenset(blob.digest for blob in blobs if blob.stored))
    try:
        seen = {blob.digest for blob in describe(recorded, record.target, Platform.host()).blobs}
    except Error as error:
        return [Problem(error.reason, name, f"{called}: {error.message}")]
    if lost := seen - {blob.digest for blob in blobs}:
        unknown = f"{called}: {sorted(lost)[0]} is used and not recorded"
        return [Problem(Reason.STORE_CORRUPT, name, unknown)]
    if record.complete and any(not blob.stored for blob in blobs):
        untrue = f"{called}: recorded as complete, and it is not"
        return [Problem(Reason.STORE_CORRUPT, name, untrue)]
    return []


def _called(record: ImageRecord) -> str:
    """What lists show of an image: its first name, else the start of its ID."""
    names = [one.name for one in record.names] or list(record.repo_digests)
    return familiar(names[0]) if names else record.image_id.partition(":")[2][:12]


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
            f"its bytes do not have its digest; {_TO_DO}",
        )
    ]

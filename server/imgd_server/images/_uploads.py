"""Blobs that callers upload, in one stream or in several, also across restarts.

An upload is a lease of the daemon's own, whose labels say what was promised, and an unfinished
ingest under the same key, which that lease keeps from the collector.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from imgd_server.content import BlobInfo, ContentStore, Ingest
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images._leases import delete_lease, take_lease
from imgd_server.images._lookup import new_uid
from imgd_server.metadata import LeaseRecord, MetadataStore, WriteSession
from imgd_server.oci import Digest
from imgd_server.threads import in_thread

__all__ = ["BlobUploads", "NewUpload", "Upload", "UploadWriter"]

_PREFIX = "upload:"
_TTL = 24 * 3600 * 1_000_000
# What is here is held for so long after the end, unless the caller has a lease for it.
_AFTER = 3600 * 1_000_000
# So many are unfinished at once, the registry's among them: each has a file and a lease.
_MAX_UNFINISHED = 4096


@dataclass(frozen=True, slots=True)
class NewUpload:
    """What a caller promises and asks for. `digest` and `size` (bytes) are None while not known;
    `ttl` and `lease_ttl` are in microseconds, 0 for the usual; `lease_id` is the caller's lease
    that holds the blob once it is here, None for none."""

    digest: Digest | None = None
    size: int | None = None
    ttl: int = 0
    lease_id: str | None = None
    lease_ttl: int = 0


@dataclass(frozen=True, slots=True)
class Upload:
    """An unfinished upload. `offset` is where the next write begins, `expires` in microseconds
    since the epoch."""

    uid: str
    wanted: NewUpload
    offset: int
    expires: int


class BlobUploads:
    """Uploads of callers. Its methods belong to the event loop."""

    def __init__(self, metadata: MetadataStore, content: ContentStore) -> None:
        self._metadata, self._content = metadata, content

    async def start(self, wanted: NewUpload) -> Upload | BlobInfo:
        """Begins one, or says that the blob is here, and held as it would be at the end. Raises
        TOO_BUSY while too many are unfinished."""
        uid = new_uid().lower()
        await in_thread(self._check_room)
        if (digest := wanted.digest) is not None:
            # Held, then looked at.
            await self._metadata.write(lambda session: _hold(session, uid, digest))
            if found := await in_thread(lambda: self._content.find(digest)):
                await self._metadata.write(lambda session: _lease(session, wanted, digest))
                return found
        expires = _now() + (wanted.ttl or _TTL)
        await self._metadata.write(lambda session: _keep(session, uid, wanted, expires))
        return Upload(uid, wanted, 0, expires)

    async def get(self, uid: str) -> Upload:
        """One of them. Raises UPLOAD_NOT_FOUND."""
        record = await self._metadata.read(lambda session: session.lease(_PREFIX + uid))
        if record is None or record.expires <= _now() or not record.labels:
            raise Error(
                Reason.UPLOAD_NOT_FOUND,
                f"no such upload: uploads/{uid}; it was finished, or given up",
                metadata={"upload": f"uploads/{uid}"},
            )
        partial = await in_thread(lambda: self._content.partial(_PREFIX + uid))
        return Upload(uid, _promised(record), partial.size if partial else 0, record.expires)

    async def abort(self, uid: str) -> None:
        """Gives one up. Raises TOO_BUSY while somebody writes it."""
        key = _PREFIX + uid

        def drop() -> None:
            if self._content.partial(key) and not self._content.drop_partial(key):
                raise Error(Reason.TOO_BUSY, "the upload is being written: end that first")

        await in_thread(drop)
        await self._metadata.write(lambda session: delete_lease(session, key, _now()))

    @asynccontextmanager
    async def writing(self, uid: str) -> AsyncIterator[UploadWriter]:
        """Writes on, alone. What was written stays, however it ends. Raises UPLOAD_NOT_FOUND,
        TOO_BUSY while another writes it."""
        upload = await self.get(uid)
        wanted, key = upload.wanted, _PREFIX + uid
        ingest = await in_thread(lambda: self._content.ingest(key, wanted.digest, wanted.size))
        try:
            yield UploadWriter(self._metadata, upload, ingest)
        finally:
            ingest.close()

    def _check_room(self) -> None:
        unfinished = sum(one.key.startswith(_PREFIX) for one in self._content.partials())
        if unfinished >= _MAX_UNFINISHED:
            raise Error(
                Reason.TOO_BUSY,
                f"{unfinished} uploads are unfinished: finish or abort some",
            )


class UploadWriter:
    """An upload that is being written, by one caller."""

    def __init__(self, metadata: MetadataStore, upload: Upload, ingest: Ingest) -> None:
        self._metadata, self._upload, self._ingest = metadata, upload, ingest

    async def write(self, offset: int, data: bytes) -> None:
        """Appends. Raises OFFSET_MISMATCH where that is not behind what is here, SIZE_MISMATCH
        beyond what was promised, DISK_FULL."""
        ingest = self._ingest
        if offset != ingest.offset:
            raise FieldError(
                "offset",
                f"offset: {offset} is not where the upload goes on, at {ingest.offset}",
                reason=Reason.OFFSET_MISMATCH,
                metadata={"offset": str(ingest.offset)},
            )
        if data:
            await in_thread(lambda: ingest.write(data))

    async def rest(self) -> Upload:
        """Ends writing for now; the upload has its time anew."""
        upload = self._upload
        expires = _now() + (upload.wanted.ttl or _TTL)
        await self._metadata.write(
            lambda session: _keep(session, upload.uid, upload.wanted, expires)
        )
        return replace(upload, offset=self._ingest.offset, expires=expires)

    async def finish(self, digest: Digest | None) -> BlobInfo:
        """Makes it a blob, held as the caller wanted. Raises FIELD_INVALID where nobody said its
        digest, or two different ones; DIGEST_MISMATCH and SIZE_MISMATCH, after which the upload is
        gone; DISK_FULL."""
        upload, ingest = self._upload, self._ingest
        wanted = upload.wanted
        known = digest or wanted.digest
        if known is None:
            raise FieldError("digest", "digest: is required, for the upload was begun without one")
        if digest and wanted.digest and digest != wanted.digest:
            raise FieldError("digest", f"digest: is {wanted.digest}, as the upload was begun with")
        await self._metadata.write(lambda session: _hold(session, upload.uid, known))
        try:
            found = await in_thread(lambda: ingest.commit(known))
        except Error as error:
            if error.reason in (Reason.DIGEST_MISMATCH, Reason.SIZE_MISMATCH):
                await self._metadata.write(
                    lambda session: delete_lease(session, _PREFIX + upload.uid, _now())
                )
            else:
                await self.rest()
            raise
        await self._metadata.write(lambda session: _lease(session, wanted, known))
        return found


def _keep(session: WriteSession, uid: str, wanted: NewUpload, expires: int) -> None:
    now = _now()
    labels = {
        "digest": wanted.digest or "",
        "size": "" if wanted.size is None else str(wanted.size),
        "ttl": str(wanted.ttl),
        "lease_ttl": str(wanted.lease_ttl),
    }
    if wanted.lease_id is not None:
        labels["lease_id"] = wanted.lease_id
    session.put_lease(LeaseRecord(_PREFIX + uid, now, expires, labels))


def _promised(record: LeaseRecord) -> NewUpload:
    labels = record.labels
    return NewUpload(
        Digest(labels["digest"]) if labels["digest"] else None,
        int(labels["size"]) if labels["size"] else None,
        int(labels["ttl"]),
        labels.get("lease_id"),
        int(labels["lease_ttl"]),
    )


def _hold(session: WriteSession, uid: str, digest: Digest) -> None:
    """Holds a blob by what the upload leaves: a lease without labels, which is no upload."""
    now = _now()
    session.put_lease(LeaseRecord(_PREFIX + uid, now, now + _AFTER, digests=(digest,)))


def _lease(session: WriteSession, wanted: NewUpload, digest: Digest) -> None:
    if wanted.lease_id is not None:
        take_lease(session, wanted.lease_id, wanted.lease_ttl, "", _now(), digests=(digest,))


def _now() -> int:
    return time.time_ns() // 1000

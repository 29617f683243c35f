"""ContentService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from imgd.v1 import content_pb2, content_service_pb2, content_service_pb2_grpc
from imgd_server.content import BlobInfo, ContentStore, Reader
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images import BlobUploads, NewUpload, Upload, new_uid
from imgd_server.oci import Digest
from imgd_server.rpc import _convert
from imgd_server.rpc._hearing import heard_out

__all__ = ["ContentServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

# One message stays below 1 MiB with its framing.
_CHUNK = (1 << 20) - 1024


class ContentServicer(content_service_pb2_grpc.ContentServiceServicer):
    """Blobs by digest."""

    def __init__(self, content: ContentStore, uploads: BlobUploads) -> None:
        self._content, self._uploads = content, uploads

    async def GetBlob(
        self, request: content_service_pb2.GetBlobRequest, context: Context
    ) -> content_service_pb2.GetBlobResponse:
        """Returns a blob's size and time."""
        info = await asyncio.to_thread(self._content.info, Digest.parse(request.digest))
        return content_service_pb2.GetBlobResponse(blob=_blob(info))

    async def ReadBlob(
        self, request: content_service_pb2.ReadBlobRequest, context: Context
    ) -> AsyncIterator[content_service_pb2.ReadBlobResponse]:
        """Streams a blob or a range of it."""
        with await self._open(Digest.parse(request.digest)) as reader:
            if request.offset > reader.size:
                raise FieldError(
                    "offset",
                    f"offset: {request.offset} is beyond the blob's {reader.size} bytes",
                    reason=Reason.OFFSET_MISMATCH,
                )
            offset, end = request.offset, reader.size
            if request.limit:
                end = min(end, offset + request.limit)
            first = True
            while first or offset < end:
                length = min(_CHUNK, end - offset)
                data = await asyncio.to_thread(reader.pread, length, offset) if length else b""
                if len(data) < length:
                    raise Error(
                        Reason.STORE_CORRUPT,
                        f"{request.digest} ends at byte {offset + len(data)}; run `imgd fsck`",
                        digest=request.digest,
                    )
                yield content_service_pb2.ReadBlobResponse(
                    offset=offset, data=data, total_size=reader.size if first else 0
                )
                first = False
                offset += len(data)

    async def StartUpload(
        self, request: content_service_pb2.StartUploadRequest, context: Context
    ) -> content_service_pb2.StartUploadResponse:
        """Begins an upload, or goes on with one."""
        if request.upload:
            going_on = await self._uploads.get(_uid(request.upload))
            return content_service_pb2.StartUploadResponse(upload=_upload(going_on))
        has_lease = request.HasField("lease")
        found = await self._uploads.start(
            NewUpload(
                Digest.parse(request.digest) if request.digest else None,
                request.total_size if request.HasField("total_size") else None,
                _convert.microseconds(request.ttl),
                (request.lease.lease_id or new_uid().lower()) if has_lease else None,
                _convert.microseconds(request.lease.ttl),
            )
        )
        if isinstance(found, Upload):
            return content_service_pb2.StartUploadResponse(upload=_upload(found))
        return content_service_pb2.StartUploadResponse(existing=_blob(found))

    async def WriteBlob(
        self,
        request_iterator: AsyncIterator[content_service_pb2.WriteBlobRequest],
        context: Context,
    ) -> content_service_pb2.WriteBlobResponse:
        """Writes an upload, and ends it when asked to."""
        async with heard_out(request_iterator):
            return await self._write(request_iterator)

    async def _write(
        self, request_iterator: AsyncIterator[content_service_pb2.WriteBlobRequest]
    ) -> content_service_pb2.WriteBlobResponse:
        request = await anext(request_iterator, None)
        if request is None or not request.upload:
            raise FieldError("upload", "upload: is required in the first message")
        name = request.upload
        async with self._uploads.writing(_uid(name)) as writer:
            while request is not None:
                if request.upload not in ("", name):
                    raise FieldError("upload", f"upload: was {name} in the first message")
                await writer.write(request.offset, request.data)
                if request.finish:
                    digest = Digest.parse(request.digest) if request.digest else None
                    blob = await writer.finish(digest)
                    return content_service_pb2.WriteBlobResponse(blob=_blob(blob))
                request = await anext(request_iterator, None)
            return content_service_pb2.WriteBlobResponse(upload=_upload(await writer.rest()))

    async def GetUpload(
        self, request: content_service_pb2.GetUploadRequest, context: Context
    ) -> content_service_pb2.GetUploadResponse:
        """Returns where an upload stands."""
        found = await self._uploads.get(_uid(request.name))
        return content_service_pb2.GetUploadResponse(upload=_upload(found))

    async def AbortUpload(
        self, request: content_service_pb2.AbortUploadRequest, context: Context
    ) -> content_service_pb2.AbortUploadResponse:
        """Gives an upload up."""
        await self._uploads.abort(_uid(request.name))
        return content_service_pb2.AbortUploadResponse()

    async def _open(self, digest: Digest) -> Reader:
        opening = asyncio.ensure_future(asyncio.to_thread(self._content.open, digest))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread goes on without us, and nobody else would close what it opens.
            opening.add_done_callback(_close)
            raise


def _uid(name: str) -> str:
    return name.removeprefix("uploads/")


def _blob(info: BlobInfo) -> content_pb2.BlobInfo:
    return content_pb2.BlobInfo(
        digest=info.digest,
        size=info.size,
        store_time=_convert.timestamp(int(info.stored_at * 1_000_000)),
    )


def _upload(one: Upload) -> content_pb2.BlobUpload:
    return content_pb2.BlobUpload(
        name=f"uploads/{one.uid}",
        digest=one.wanted.digest or "",
        offset=one.offset,
        total_size=one.wanted.size,
        expire_time=_convert.timestamp(one.expires),
    )


def _close(opening: asyncio.Future[Reader]) -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().close()

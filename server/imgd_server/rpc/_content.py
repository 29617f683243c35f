"""ContentService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from imgd.v1 import content_pb2, content_service_pb2, content_service_pb2_grpc
from imgd_server.content import ContentStore, Reader
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.oci import Digest
from imgd_server.rpc import _convert

__all__ = ["ContentServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

# One message stays below 1 MiB with its framing.
_CHUNK = (1 << 20) - 1024


class ContentServicer(content_service_pb2_grpc.ContentServiceServicer):
    """Blobs by digest."""

    def __init__(self, content: ContentStore) -> None:
        self._content = content

    async def GetBlob(
        self, request: content_service_pb2.GetBlobRequest, context: Context
    ) -> content_service_pb2.GetBlobResponse:
        """Returns a blob's size and time."""
        info = await asyncio.to_thread(self._content.info, Digest.parse(request.digest))
        return content_service_pb2.GetBlobResponse(
            blob=content_pb2.BlobInfo(
                digest=info.digest,
                size=info.size,
                store_time=_convert.timestamp(int(info.stored_at * 1_000_000)),
            )
        )

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

    async def _open(self, digest: Digest) -> Reader:
        opening = asyncio.ensure_future(asyncio.to_thread(self._content.open, digest))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            # The thread goes on without us, and nobody else would close what it opens.
            opening.add_done_callback(_close)
            raise


def _close(opening: asyncio.Future[Reader]) -> None:
    if not opening.cancelled() and not opening.exception():
        opening.result().close()

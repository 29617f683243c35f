"""ContentService."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from typing import Protocol

import grpc

from imgd.v1 import content_pb2, content_service_pb2, content_service_pb2_grpc, transfer_pb2

from . import _requests
from ._calls import AsyncCalls, Calls
from ._errors import from_rpc_error

__all__ = ["AsyncContents", "Contents"]

# A message stays below 1 MiB with its framing.
_CHUNK = (1 << 20) - 1024


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes:
        """Up to so many bytes; b"" at the end."""
        ...


class _Sent:
    """The messages of an upload, whose digest is found out on the way unless it was promised. Where
    the source fails they end without its end: the daemon keeps what came."""

    def __init__(self, upload: str, source: _Readable, promised: str) -> None:
        self._upload, self._source, self._promised = upload, source, promised
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[content_service_pb2.WriteBlobRequest]:
        offset, hasher = 0, hashlib.sha256()
        yield content_service_pb2.WriteBlobRequest(upload=self._upload)
        while data := self._read():
            hasher.update(data)
            yield content_service_pb2.WriteBlobRequest(offset=offset, data=data)
            offset += len(data)
        if self.failure is None:
            # One that was promised may be of another algorithm; the daemon compares.
            digest = "" if self._promised else f"sha256:{hasher.hexdigest()}"
            yield content_service_pb2.WriteBlobRequest(offset=offset, finish=True, digest=digest)

    def _read(self) -> bytes:
        try:
            return self._source.read(_CHUNK)
        except Exception as error:  # noqa: BLE001 - raised where the caller is
            self.failure = error
            return b""


def _start(
    digest: str, size: int | None, lease: str, lease_ttl: float | None
) -> content_service_pb2.StartUploadRequest:
    spec = None
    if lease:
        ttl = None if lease_ttl is None else _requests.duration(lease_ttl)
        spec = transfer_pb2.LeaseSpec(lease_id=lease.removeprefix("leases/"), ttl=ttl)
    return content_service_pb2.StartUploadRequest(digest=digest, total_size=size, lease=spec)


class Contents:
    """Blobs by digest."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = content_service_pb2_grpc.ContentServiceStub(calls.channel)

    def get(self, digest: str) -> content_pb2.BlobInfo:
        """A blob's size and when it was stored."""
        request = content_service_pb2.GetBlobRequest(digest=digest)
        return self._calls.unary(self._stub.GetBlob, request).blob

    def read(self, digest: str, *, offset: int = 0, limit: int = 0) -> Iterator[bytes]:
        """A blob's bytes from `offset`, in pieces; `limit` 0 means up to the end."""
        request = content_service_pb2.ReadBlobRequest(digest=digest, offset=offset, limit=limit)
        call = self._stub.ReadBlob(request)
        try:
            for answer in call:
                if answer.data:
                    yield answer.data
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    def upload(
        self,
        source: _Readable,
        *,
        digest: str = "",
        size: int | None = None,
        lease: str = "",
        lease_ttl: float | None = None,
        timeout: float | None = None,
    ) -> content_pb2.BlobInfo:
        """Stores a blob, which is held for an hour, and by a lease if one is named.

        It takes as long as there is to send: the client's timeout does not apply.

        Args:
            source: A file that is open for reading bytes.
            digest: Its digest, where it is known: then nothing is sent of a blob that is there.
            size: Its size in bytes, where it is known.
            lease: The lease that is to hold it; made, if there is none.
            lease_ttl: How long that holds, in seconds; None for an hour.
            timeout: Seconds; None for no bound.
        """
        begun = self._calls.unary(self._stub.StartUpload, _start(digest, size, lease, lease_ttl))
        if begun.HasField("existing"):
            return begun.existing
        sent = _Sent(begun.upload.name, source, digest)
        try:
            answer = self._stub.WriteBlob(iter(sent), timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        if sent.failure:
            raise sent.failure
        return answer.blob


class AsyncContents:
    """Blobs by digest, for asyncio; see `Contents`."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = content_service_pb2_grpc.ContentServiceStub(calls.channel)

    async def get(self, digest: str) -> content_pb2.BlobInfo:
        """A blob's size and when it was stored."""
        request = content_service_pb2.GetBlobRequest(digest=digest)
        return (await self._calls.unary(self._stub.GetBlob, request)).blob

    async def read(self, digest: str, *, offset: int = 0, limit: int = 0) -> AsyncIterator[bytes]:
        """A blob's bytes, in pieces; see `Contents.read`."""
        request = content_service_pb2.ReadBlobRequest(digest=digest, offset=offset, limit=limit)
        call = self._stub.ReadBlob(request)
        try:
            async for answer in call:
                if answer.data:
                    yield answer.data
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def upload(
        self,
        source: _Readable,
        *,
        digest: str = "",
        size: int | None = None,
        lease: str = "",
        lease_ttl: float | None = None,
        timeout: float | None = None,
    ) -> content_pb2.BlobInfo:
        """Stores a blob; see `Contents.upload`. Reading `source` blocks the event loop."""
        wanted = _start(digest, size, lease, lease_ttl)
        begun = await self._calls.unary(self._stub.StartUpload, wanted)
        if begun.HasField("existing"):
            return begun.existing
        sent = _Sent(begun.upload.name, source, digest)
        try:
            answer = await self._stub.WriteBlob(iter(sent), timeout=timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        if sent.failure:
            raise sent.failure
        return answer.blob

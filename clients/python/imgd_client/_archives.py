"""ArchiveService."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from contextlib import aclosing
from typing import Any, Protocol, TypeAlias, TypeVar

import grpc

from imgd.v1 import (
    archive_service_pb2,
    archive_service_pb2_grpc,
    image_pb2,
    image_service_pb2,
    transfer_pb2,
)

from . import _requests
from ._calls import AsyncCalls, Calls
from ._errors import from_rpc_error

__all__ = ["Archives", "AsyncArchives"]

_Format: TypeAlias = archive_service_pb2.ArchiveFormat.ValueType
_BOTH = archive_service_pb2.ARCHIVE_FORMAT_UNSPECIFIED
# A message stays below 1 MiB with its framing.
_CHUNK = (1 << 20) - 1024

_Request = TypeVar("_Request")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


Source: TypeAlias = "Iterable[bytes] | _Readable"


def _pieces(source: Source) -> Iterator[bytes]:
    """The bytes of a file or of chunks, in pieces that fit a message."""
    if hasattr(source, "read"):
        while data := source.read(_CHUNK):
            yield data
        return
    for chunk in source:
        for start in range(0, len(chunk), _CHUNK):
            yield chunk[start : start + _CHUNK]


async def _async_pieces(
    source: Source | AsyncIterable[bytes],
) -> AsyncGenerator[bytes, None]:
    if hasattr(source, "read"):
        # A file may be slow, or a pipe: whoever waits for it must not keep the loop from all else.
        while data := await asyncio.to_thread(source.read, _CHUNK):
            yield data
        return
    if not isinstance(source, AsyncIterable):
        for piece in _pieces(source):
            yield piece
        return
    async for chunk in source:
        for piece in _pieces([chunk]):
            yield piece


def _save(
    images: Iterable[str], platforms: Iterable[str], form: _Format, require_complete: bool
) -> archive_service_pb2.SaveImagesRequest:
    if isinstance(images, str):
        raise TypeError("images: a list of names, and not one")
    wanted = transfer_pb2.PlatformSelection(platforms=platforms, require_complete=require_complete)
    return archive_service_pb2.SaveImagesRequest(images=images, platforms=wanted, format=form)


def _load(
    platforms: Iterable[str], tags: Iterable[str], transfer: str
) -> archive_service_pb2.LoadImagesRequest:
    wanted = transfer_pb2.PlatformSelection(platforms=platforms)
    return archive_service_pb2.LoadImagesRequest(
        platforms=wanted if wanted.platforms else None, tags=tags, transfer=transfer
    )


def _import(
    tag: str, changes: Iterable[str], platform: str, comment: str
) -> archive_service_pb2.ImportImageRequest:
    if isinstance(changes, str):
        raise TypeError("changes: a list of instructions, and not one")
    wanted = image_service_pb2.ConfigChanges(instructions=changes)
    return archive_service_pb2.ImportImageRequest(
        tag=tag, changes=wanted, platform=platform, comment=comment
    )


def _export(container: str) -> archive_service_pb2.ExportContainerRequest:
    return archive_service_pb2.ExportContainerRequest(container=_requests.container_name(container))


class Archives:
    """Images as archives.

    What is read may be a file that is open for reading bytes, or chunks of bytes. Streams take as
    long as they take: no timeout of the client ends them.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = archive_service_pb2_grpc.ArchiveServiceStub(calls.channel)

    def save(
        self,
        images: Iterable[str],
        *,
        platforms: Iterable[str] = (),
        form: _Format = _BOTH,
        require_complete: bool = False,
    ) -> Iterator[bytes]:
        """An archive of images, in pieces, for the platforms named or all that are stored. Leaving
        it early ends the transfer."""
        yield from self._receive(
            self._stub.SaveImages, _save(images, platforms, form, require_complete)
        )

    def load(
        self,
        source: Source,
        *,
        platforms: Iterable[str] = (),
        tags: Iterable[str] = (),
        transfer: str = "",
    ) -> archive_service_pb2.LoadImagesResponse:
        """Loads the images of an archive, all or none. `tags` are names to give to its only image
        instead of its own; `transfer` is one that was started for this archive, if one was."""
        first = _load(platforms, tags, transfer)
        answer: archive_service_pb2.LoadImagesResponse = self._send(
            self._stub.LoadImages, first, source, archive_service_pb2.LoadImagesRequest
        )
        return answer

    def import_image(
        self,
        source: Source,
        *,
        tag: str = "",
        changes: Iterable[str] = (),
        platform: str = "",
        comment: str = "",
    ) -> image_pb2.Image:
        """Makes an image of one layer from a root file system's tar, plain, gzip or zstd. `changes`
        are Dockerfile instructions such as `ENV a=b`."""
        first = _import(tag, changes, platform, comment)
        answer: archive_service_pb2.ImportImageResponse = self._send(
            self._stub.ImportImage, first, source, archive_service_pb2.ImportImageRequest
        )
        return answer.image

    def export(self, container: str) -> Iterator[bytes]:
        """All files of a container as a tar, in pieces."""
        yield from self._receive(self._stub.ExportContainer, _export(container))

    def _receive(self, method: Callable[..., Any], request: Any) -> Iterator[bytes]:
        call = method(request)
        try:
            for answer in call:
                if answer.data:
                    yield answer.data
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    def _send(self, method: Any, first: Any, source: Source, message: Callable[..., Any]) -> Any:
        self._calls.streams.check()
        begun = threading.Event()
        failures: list[BaseException] = []

        def requests() -> Iterator[Any]:
            yield first
            try:
                for piece in _pieces(source):
                    yield message(data=piece)
            except Exception as error:  # noqa: BLE001 - raised where the caller is
                failures.append(error)
                # To end here would tell the daemon that this was all.
                begun.wait()
                future.cancel()

        future = method.future(requests())
        begun.set()
        try:
            return future.result()
        except grpc.FutureCancelledError:
            if failures:
                raise failures[0] from None
            raise
        except grpc.RpcError as error:
            if failures:
                raise failures[0] from None
            raise from_rpc_error(error) from None
        finally:
            future.cancel()


class AsyncArchives:
    """See `Archives`. What is read may also be chunks that come asynchronously. Files are read in
    threads; chunks of an ordinary iterator are taken in the loop."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = archive_service_pb2_grpc.ArchiveServiceStub(calls.channel)

    async def save(
        self,
        images: Iterable[str],
        *,
        platforms: Iterable[str] = (),
        form: _Format = _BOTH,
        require_complete: bool = False,
    ) -> AsyncIterator[bytes]:
        """See `Archives.save`."""
        request = _save(images, platforms, form, require_complete)
        async for data in self._receive(self._stub.SaveImages, request):
            yield data

    async def load(
        self,
        source: Source | AsyncIterable[bytes],
        *,
        platforms: Iterable[str] = (),
        tags: Iterable[str] = (),
        transfer: str = "",
    ) -> archive_service_pb2.LoadImagesResponse:
        """See `Archives.load`."""
        first = _load(platforms, tags, transfer)
        answer: archive_service_pb2.LoadImagesResponse = await self._send(
            self._stub.LoadImages, first, source, archive_service_pb2.LoadImagesRequest
        )
        return answer

    async def import_image(
        self,
        source: Source | AsyncIterable[bytes],
        *,
        tag: str = "",
        changes: Iterable[str] = (),
        platform: str = "",
        comment: str = "",
    ) -> image_pb2.Image:
        """See `Archives.import_image`."""
        first = _import(tag, changes, platform, comment)
        answer: archive_service_pb2.ImportImageResponse = await self._send(
            self._stub.ImportImage, first, source, archive_service_pb2.ImportImageRequest
        )
        return answer.image

    async def export(self, container: str) -> AsyncIterator[bytes]:
        """See `Archives.export`."""
        async for data in self._receive(self._stub.ExportContainer, _export(container)):
            yield data

    async def _receive(self, method: Callable[..., Any], request: Any) -> AsyncIterator[bytes]:
        call = method(request)
        try:
            async for answer in call:
                if answer.data:
                    yield answer.data
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def _send(
        self,
        method: Any,
        first: Any,
        source: Source | AsyncIterable[bytes],
        message: Callable[..., Any],
    ) -> Any:
        self._calls.streams.check()
        call = method()
        try:
            await call.write(first)
            async with aclosing(_async_pieces(source)) as pieces:
                async for piece in pieces:
                    # Who refuses it does not wait for all of it, and gRPC takes no more then.
                    if call.done():
                        break
                    await call.write(message(data=piece))
            await call.done_writing()
            return await call
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

"""ArchiveService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc.aio

from imgd.v1 import archive_service_pb2, archive_service_pb2_grpc, transfer_pb2
from imgd_server.content import ContentStore
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images import (
    ConfigChanges,
    ImageBuilder,
    NewAppend,
    RootfsManager,
    Shown,
    find_container,
    incoming_layer,
)
from imgd_server.metadata import (
    ContainerRecord,
    ImageRecord,
    MetadataStore,
    ReadSession,
    TransferRecord,
)
from imgd_server.oci import Platform
from imgd_server.rpc import _convert
from imgd_server.rpc._building import config_changes
from imgd_server.rpc._hearing import heard_out
from imgd_server.rpc._pages import fitting
from imgd_server.transfer import (
    ArchiveEndpoint,
    ArchiveForm,
    Inbox,
    Outbox,
    Outcome,
    StoreEndpoint,
    TransferManager,
    TransferSpec,
    now_us,
    written,
)

__all__ = ["ArchiveServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

_FORMS = {
    archive_service_pb2.ARCHIVE_FORMAT_UNSPECIFIED: ArchiveForm.BOTH,
    archive_service_pb2.ARCHIVE_FORMAT_OCI: ArchiveForm.OCI,
    archive_service_pb2.ARCHIVE_FORMAT_DOCKER: ArchiveForm.DOCKER,
}


class ArchiveServicer(archive_service_pb2_grpc.ArchiveServiceServicer):
    """Archives as streams, each of a transfer that ends with its call."""

    def __init__(
        self,
        manager: TransferManager,
        metadata: MetadataStore,
        content: ContentStore,
        builder: ImageBuilder | None = None,
        rootfs: RootfsManager | None = None,
    ) -> None:
        self._manager = manager
        self._metadata, self._content = metadata, content
        self._builder, self._rootfs = builder, rootfs

    async def SaveImages(
        self, request: archive_service_pb2.SaveImagesRequest, context: Context
    ) -> AsyncIterator[archive_service_pb2.SaveImagesResponse]:
        """Streams an archive of images."""
        spec = TransferSpec(
            StoreEndpoint(),
            ArchiveEndpoint(tuple(request.images), _FORMS[request.format]),
            **_platforms(request.platforms),
        )
        async with self._started(spec) as (uid, outbox):
            assert isinstance(outbox, Outbox)
            yield archive_service_pb2.SaveImagesResponse(transfer=f"transfers/{uid}")
            async with aclosing(outbox.chunks()) as chunks:
                async for data in chunks:
                    yield archive_service_pb2.SaveImagesResponse(data=data)
            await self._succeeded(uid)

    async def LoadImages(
        self,
        request_iterator: AsyncIterator[archive_service_pb2.LoadImagesRequest],
        context: Context,
    ) -> archive_service_pb2.LoadImagesResponse:
        """Loads the archive that is streamed."""
        async with heard_out(request_iterator):
            return await self._load(request_iterator)

    async def _load(
        self, requests: AsyncIterator[archive_service_pb2.LoadImagesRequest]
    ) -> archive_service_pb2.LoadImagesResponse:
        first = await _first(requests)
        spec = TransferSpec(
            ArchiveEndpoint(tuple(first.tags)), StoreEndpoint(), **_platforms(first.platforms)
        )
        known = first.transfer.removeprefix("transfers/")
        if known and (first.tags or first.HasField("platforms")):
            raise FieldError("transfer", "transfer: has tags and platforms of its own")
        async with self._started(spec, known) as (uid, inbox):
            assert isinstance(inbox, Inbox)
            await _pour(first, requests, inbox)
            if not inbox.received:
                await self._manager.cancel(uid)
                raise FieldError("data", "data: is required; no byte of an archive was sent")
            await self._succeeded(uid)
            return archive_service_pb2.LoadImagesResponse(
                transfer=f"transfers/{uid}", images=fitting(map(_convert.image, inbox.loaded))
            )

    async def ImportImage(
        self,
        request_iterator: AsyncIterator[archive_service_pb2.ImportImageRequest],
        context: Context,
    ) -> archive_service_pb2.ImportImageResponse:
        """Makes an image of the root file system that is streamed."""
        async with heard_out(request_iterator):
            if self._builder is None:
                raise Error(Reason.UNSUPPORTED, "this daemon does not make images")
            return await self._import(request_iterator, self._builder)

    async def _import(
        self,
        requests: AsyncIterator[archive_service_pb2.ImportImageRequest],
        builder: ImageBuilder,
    ) -> archive_service_pb2.ImportImageResponse:
        first = await _first(requests)
        wanted = NewAppend(
            tag=first.tag,
            platform=Platform.parse(first.platform) if first.platform else None,
            comment=first.comment,
            changes=config_changes(first.changes) if first.HasField("changes") else ConfigChanges(),
            created_by="imgd import",
        )
        builder.check(wanted)
        async with incoming_layer(self._metadata, self._content) as layer:
            received = len(first.data)
            await layer.write(first.data)
            async for request in requests:
                received += len(request.data)
                await layer.write(request.data)
            if not received:
                raise FieldError("data", "data: is required; no byte of an archive was sent")
            digest = await layer.finish()
            image = await builder.append(replace(wanted, layers=[digest]), self._show)
        return archive_service_pb2.ImportImageResponse(image=_convert.image(image))

    async def _show(self, show: Shown) -> ImageRecord:
        return await self._metadata.write(lambda session: show(session, now_us()))

    async def ExportContainer(
        self, request: archive_service_pb2.ExportContainerRequest, context: Context
    ) -> AsyncIterator[archive_service_pb2.ExportContainerResponse]:
        """Streams a container's files."""
        container_id = request.container.removeprefix("containers/")

        def find(session: ReadSession) -> ContainerRecord:
            return find_container(session, container_id)

        if self._rootfs is None:
            raise Error(Reason.UNSUPPORTED, "this daemon does not prepare root file systems")
        record = await self._metadata.read(find)
        export = await self._rootfs.exporter(record)
        async with aclosing(written(export)) as chunks:
            async for data in chunks:
                yield archive_service_pb2.ExportContainerResponse(data=data)
        if (await self._metadata.read(find)).rootfs != record.rootfs:
            raise Error(
                Reason.CONTAINER_NOT_FOUND,
                f"{request.container} was removed while it was exported",
                metadata={"container": request.container},
            )

    @asynccontextmanager
    async def _started(
        self, spec: TransferSpec, known: str = ""
    ) -> AsyncIterator[tuple[str, Inbox | Outbox]]:
        """The uid of a transfer, of one that is `known` or of a new one, and where its archive goes
        through. It is this call's: when that ends early, so does the transfer."""
        if known:
            record = await self._manager.get(known)
            if "images" not in record.spec["source"]:
                raise FieldError("transfer", f"transfer: transfers/{known} reads no archive")
            # Raises for one that is another call's, and stays it.
            pipe = self._manager.pipe(known)
            try:
                yield known, pipe
            finally:
                self._manager.stop(known)
            return
        starting = asyncio.ensure_future(self._manager.start(spec, shared=True))
        try:
            # A caller who leaves while it is accepted must not leave it behind.
            uid = (await asyncio.shield(starting)).uid
            yield uid, self._manager.pipe(uid)
        finally:
            starting.add_done_callback(self._stop)

    def _stop(self, starting: asyncio.Future[TransferRecord]) -> None:
        if not starting.cancelled() and not starting.exception():
            self._manager.stop(starting.result().uid)

    async def _succeeded(self, uid: str) -> None:
        """Waits for a transfer's end. Raises its failure."""
        record = await self._manager.ended(uid)
        if failure := Outcome.from_json(record.outcome or {}).failure:
            raise failure


def _platforms(selection: transfer_pb2.PlatformSelection) -> dict[str, Any]:
    return {
        "platforms": tuple(selection.platforms),
        "all_platforms": selection.all,
        "require_complete": selection.require_complete,
    }


async def _first(requests: AsyncIterator[Any]) -> Any:
    async for request in requests:
        return request
    raise FieldError("data", "data: is required; no byte of an archive was sent")


async def _pour(first: Any, requests: AsyncIterator[Any], inbox: Inbox) -> None:
    """Hands on what is sent, for as long as the transfer wants it."""
    wanted = await inbox.put(first.data)
    while wanted:
        request = await anext(requests, None)
        if request is None:
            break
        wanted = await inbox.put(request.data)
    if inbox.received:
        inbox.finish()

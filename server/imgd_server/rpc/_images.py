"""ImageService."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from typing import Any, cast

import grpc.aio

from imgd.v1 import image_pb2, image_service_pb2
from imgd_server.content import ContentStore
from imgd_server.images import (
    Details,
    ImageBuilder,
    Inspection,
    ShownImages,
    choose_target,
    details_of,
    find_image,
    fitting_images,
    inspect,
    parse_filters,
    unpacked_sizes,
)
from imgd_server.metadata import ImageRecord, MetadataStore, ReadSession
from imgd_server.oci import Platform, Reference
from imgd_server.rootfs import SnapshotStore
from imgd_server.rpc import _convert
from imgd_server.rpc._encoded import EncodedAnswers
from imgd_server.rpc._image_changes import ImageChanges
from imgd_server.rpc._image_config import config_message
from imgd_server.rpc._limits import MAX_ANSWER_BYTES, check_answer
from imgd_server.rpc._pages import decode_token, encode_token, fitting, page_size
from imgd_server.transfer import now_us

__all__ = ["ImageServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class ImageServicer(ImageChanges):
    """The images of the store."""

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        own_hosts: Collection[str],
        builder: ImageBuilder | None = None,
        snapshots: SnapshotStore | None = None,
    ) -> None:
        self._metadata, self._builder = metadata, builder
        self._content, self._snapshots = content, snapshots
        self._own_hosts = own_hosts
        self._kept = EncodedAnswers()
        self._shown = ShownImages(lambda record: _list_of([_convert.image(record)]))

    async def ListImages(
        self, request: image_service_pb2.ListImagesRequest, context: Context
    ) -> image_service_pb2.ListImagesResponse:
        """Lists a page."""
        # Asked for before the page is read: what comes in between only makes it useless.
        version = self._metadata.listing_version() if _can_be_kept(request) else None
        encoded = await self._kept.get(request, version, lambda: self._list(request))
        return cast(image_service_pb2.ListImagesResponse, encoded)

    async def _list(self, request: image_service_pb2.ListImagesRequest) -> bytes:
        query = ["ListImages", list(request.filters)]
        after = None
        if request.page_token:
            after = decode_token(query, request.page_token, (int, int))
        limit = page_size(request.page_size)
        full = request.view == image_pb2.IMAGE_VIEW_FULL

        def page(session: ReadSession) -> bytes:
            now = now_us()
            filters = parse_filters(session, list(request.filters), now)
            if full:
                rows = list(fitting_images(session, filters, after, limit + 1))
                images = fitting(
                    _convert.image(one, details_of(session, one, now)) for _, one in rows[:limit]
                )
                parts = [_list_of(images)]
                last = rows[len(images) - 1][0] if len(images) < len(rows) else None
            else:
                parts, last = self._shown.page(session, filters, after, limit, MAX_ANSWER_BYTES)
            if last is not None:
                token = encode_token(query, last)
                end = image_service_pb2.ListImagesResponse(next_page_token=token)
                parts.append(end.SerializeToString())
            return b"".join(parts)

        # In the reader's thread: a thousand images that were not listed before take it 40 ms.
        return await self._metadata.read(page)

    async def GetImage(
        self, request: image_service_pb2.GetImageRequest, context: Context
    ) -> image_service_pb2.GetImageResponse:
        """Returns one."""
        if request.view == image_pb2.IMAGE_VIEW_FULL:
            record, details = await self._find(request.image)
            return image_service_pb2.GetImageResponse(image=_convert.image(record, details))
        record = await self._metadata.read(lambda session: find_image(session, request.image))
        return image_service_pb2.GetImageResponse(image=_convert.image(record))

    async def InspectImage(
        self, request: image_service_pb2.InspectImageRequest, context: Context
    ) -> image_service_pb2.InspectImageResponse:
        """Returns one and its config."""
        record, details, found = await self._inspect(request.image, request.platform)
        answer = image_service_pb2.InspectImageResponse(
            image=_convert.image(record, details),
            manifest=_convert.descriptor(found.target),
            config_blob=_convert.descriptor(found.manifest.config),
            layers=[_convert.descriptor(layer) for layer in found.manifest.layers],
            annotations=found.manifest.annotations,
        )
        if config := found.config:
            answer.platform.CopyFrom(_convert.platform(config.platform))
            answer.config.CopyFrom(config_message(found))
            answer.author = config.author
            answer.diff_ids.extend(config.diff_ids)
            answer.comment = config.history[-1].comment if config.history else ""
        check_answer(answer, found.target.digest, found.manifest.config.digest)
        return answer

    async def GetImageHistory(
        self, request: image_service_pb2.GetImageHistoryRequest, context: Context
    ) -> image_service_pb2.GetImageHistoryResponse:
        """Returns its steps."""
        record, details, found = await self._inspect(request.image, request.platform)
        answer = image_service_pb2.GetImageHistoryResponse()
        # The image's own size is that of the platform served by default.
        default = choose_target(record, details.platforms, None)
        total = record.unpacked_size if found.target.digest == default.digest else None
        sizes = await asyncio.to_thread(unpacked_sizes, self._snapshots, found.diff_ids, total)
        layers = iter(zip(found.manifest.layers, found.diff_ids, sizes, strict=False))
        for entry in found.config.history if found.config else ():
            step = answer.entries.add(
                created_by=entry.created_by,
                author=entry.author,
                comment=entry.comment,
                empty_layer=entry.empty_layer,
            )
            if entry.created:
                step.create_time.CopyFrom(_convert.timestamp_of(entry.created))
            if not entry.empty_layer and (one := next(layers, None)):
                layer, step.diff_id, size = one
                step.layer.CopyFrom(_convert.descriptor(layer))
                if size is not None:
                    step.unpacked_size = size
        check_answer(answer, found.target.digest, found.manifest.config.digest)
        if answer.entries:
            room = _convert.Room(MAX_ANSWER_BYTES - answer.ByteSize())
            tags = (name.name for name in record.names if not name.by_digest)
            answer.entries[-1].tags.extend(room.take(tags))
        return answer

    async def ParseReference(
        self, request: image_service_pb2.ParseReferenceRequest, context: Context
    ) -> image_service_pb2.ParseReferenceResponse:
        """Returns a reference's parts."""
        parsed = Reference.parse(request.text).with_default_tag()
        return image_service_pb2.ParseReferenceResponse(
            reference=_convert.reference(parsed, self._own_hosts)
        )

    async def _find(self, text: str) -> tuple[ImageRecord, Details]:
        def find(session: ReadSession) -> tuple[ImageRecord, Details]:
            record = find_image(session, text)
            return record, details_of(session, record, now_us())

        return await self._metadata.read(find)

    async def _inspect(self, text: str, platform: str) -> tuple[ImageRecord, Details, Inspection]:
        record, details = await self._find(text)
        wanted = Platform.parse(platform) if platform else None
        found = await asyncio.to_thread(inspect, self._content, record, details.platforms, wanted)
        return record, details, found


# Filters whose images change by themselves, or with what no list shows.
_VOLATILE = ("in-use", "last-used", "until")


def _list_of(images: Iterable[image_pb2.Image]) -> bytes:
    """Images as an encoded list. Such lists behind one another are the list of all (protobuf.dev,
    Encoding, "Last One Wins": repeated fields are appended)."""
    return image_service_pb2.ListImagesResponse(images=images).SerializeToString()


def _can_be_kept(request: image_service_pb2.ListImagesRequest) -> bool:
    return request.view != image_pb2.IMAGE_VIEW_FULL and not any(
        text.strip().lower().startswith(_VOLATILE) for text in request.filters
    )

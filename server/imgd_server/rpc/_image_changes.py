"""ImageService's changes: naming, removing, keeping."""

from __future__ import annotations

from typing import Any

import grpc.aio

from imgd.v1 import image_service_pb2, image_service_pb2_grpc
from imgd_server.errors import Error, Reason
from imgd_server.images import (
    ImageBuilder,
    Pruned,
    Removal,
    find_image,
    image_event,
    prune_images,
    remove_image,
    tag_image,
    untag_image,
)
from imgd_server.metadata import ImageRecord, MetadataStore, WriteSession
from imgd_server.rpc import _convert
from imgd_server.rpc._answers import change, change_in_steps
from imgd_server.rpc._building import append_image
from imgd_server.rpc._convert import Room
from imgd_server.rpc._limits import MAX_ANSWER_BYTES
from imgd_server.transfer import now_us

__all__ = ["ImageChanges"]

Context = grpc.aio.ServicerContext[Any, Any]


class ImageChanges(image_service_pb2_grpc.ImageServiceServicer):
    """The methods that change what the store has; `ImageServicer` adds those that look."""

    _metadata: MetadataStore
    _builder: ImageBuilder | None

    async def TagImage(
        self, request: image_service_pb2.TagImageRequest, context: Context
    ) -> image_service_pb2.TagImageResponse:
        """Gives an image one more name."""
        expected = request.expected_digest if request.HasField("expected_digest") else None

        def tag(session: WriteSession, now: int) -> image_service_pb2.TagImageResponse:
            tagged = tag_image(session, request.image, request.tag, expected, now)
            return image_service_pb2.TagImageResponse(
                image=_convert.image(tagged.image), previous_digest=tagged.previous
            )

        return await change(self._metadata, request, tag)

    async def UntagImage(
        self, request: image_service_pb2.UntagImageRequest, context: Context
    ) -> image_service_pb2.UntagImageResponse:
        """Takes a name away."""

        def untag(session: WriteSession, now: int) -> image_service_pb2.UntagImageResponse:
            record = untag_image(session, request.reference, request.expected_digest, now)
            return image_service_pb2.UntagImageResponse(image=_convert.image(record))

        return await change(self._metadata, request, untag)

    async def RemoveImage(
        self, request: image_service_pb2.RemoveImageRequest, context: Context
    ) -> image_service_pb2.RemoveImageResponse:
        """Removes a name or an image."""

        def remove(session: WriteSession, now: int) -> image_service_pb2.RemoveImageResponse:
            return _removed(remove_image(session, request.image, force=request.force, now=now))

        return await change(self._metadata, request, remove)

    async def PruneImages(
        self, request: image_service_pb2.PruneImagesRequest, context: Context
    ) -> image_service_pb2.PruneImagesResponse:
        """Removes what nobody needs."""

        async def prune() -> image_service_pb2.PruneImagesResponse:
            pruned = await prune_images(
                self._metadata,
                now_us,
                all_images=request.all,
                filters=list(request.filters),
                dry_run=request.dry_run,
            )
            return _pruned(pruned)

        if request.dry_run:
            return await prune()
        return await change_in_steps(self._metadata, request, prune)

    async def PinImage(
        self, request: image_service_pb2.PinImageRequest, context: Context
    ) -> image_service_pb2.PinImageResponse:
        """Pins an image."""

        def pin(session: WriteSession, now: int) -> image_service_pb2.PinImageResponse:
            record = _pin(session, request.image, now, pinned=True)
            return image_service_pb2.PinImageResponse(image=_convert.image(record))

        return await change(self._metadata, request, pin)

    async def UnpinImage(
        self, request: image_service_pb2.UnpinImageRequest, context: Context
    ) -> image_service_pb2.UnpinImageResponse:
        """Takes a pin away."""

        def unpin(session: WriteSession, now: int) -> image_service_pb2.UnpinImageResponse:
            record = _pin(session, request.image, now, pinned=False)
            return image_service_pb2.UnpinImageResponse(image=_convert.image(record))

        return await change(self._metadata, request, unpin)

    async def AppendImage(
        self, request: image_service_pb2.AppendImageRequest, context: Context
    ) -> image_service_pb2.AppendImageResponse:
        """Makes an image of a base and of layers."""
        if self._builder is None:
            raise Error(Reason.UNSUPPORTED, "this daemon does not make images")
        return await append_image(self._metadata, self._builder, request)


def _pin(session: WriteSession, text: str, now: int, *, pinned: bool) -> ImageRecord:
    record = find_image(session, text)
    if record.pinned == pinned:
        return record
    session.set_pinned(record.uid, pinned)
    if pinned:
        # Whoever pins it wants it kept, also behind a removal that waits for its holders.
        session.set_doomed(record.uid, False)
    session.add_event(image_event("pin" if pinned else "unpin", record, now))
    return find_image(session, f"images/{record.uid}")


def _removed(removals: list[Removal]) -> image_service_pb2.RemoveImageResponse:
    room = Room(MAX_ANSWER_BYTES)
    return image_service_pb2.RemoveImageResponse(
        untagged=room.take(name for one in removals for name in one.untagged),
        deleted=room.take(digest for one in removals for digest in one.deleted),
        freed_bytes=sum(one.freed_bytes for one in removals),
    )


def _pruned(pruned: Pruned) -> image_service_pb2.PruneImagesResponse:
    answer = image_service_pb2.PruneImagesResponse(
        pruned_count=pruned.count, freed_bytes=pruned.freed_bytes
    )
    room = Room(MAX_ANSWER_BYTES)
    for one in pruned.removals:
        ids = list(room.take([one.record.image_id, one.record.target.digest]))
        if room.full:
            break
        answer.pruned.add(
            image_id=ids[0],
            digest=ids[1],
            untagged=room.take(one.untagged),
            deleted=room.take(one.deleted),
        )
    return answer

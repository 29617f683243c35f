"""ImageService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import TypeAlias, Unpack

from imgd.v1 import image_pb2, image_service_pb2, image_service_pb2_grpc

from . import _building
from ._calls import AsyncCalls, Calls

__all__ = ["AsyncImages", "Images"]

_View: TypeAlias = image_pb2.ImageView.ValueType
_BASIC = image_pb2.IMAGE_VIEW_BASIC


class Images:
    """The images of the daemon's store.

    An `image` is a reference, an ID, a repo digest, a unique ID prefix of 4 digits or more, or a
    resource name.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = image_service_pb2_grpc.ImageServiceStub(calls.channel)

    def list(
        self, *, filters: Iterable[str] = (), view: _View = _BASIC, page_size: int = 0
    ) -> Iterator[image_pb2.Image]:
        """Images, newest first, page by page as they are asked for. Filters are `key=value`."""
        request = image_service_pb2.ListImagesRequest(
            filters=filters, view=view, page_size=page_size
        )
        while True:
            page = self._calls.unary(self._stub.ListImages, request)
            yield from page.images
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def get(self, image: str, *, view: _View = _BASIC) -> image_pb2.Image:
        """One image."""
        request = image_service_pb2.GetImageRequest(image=image, view=view)
        return self._calls.unary(self._stub.GetImage, request).image

    def inspect(self, image: str, *, platform: str = "") -> image_service_pb2.InspectImageResponse:
        """An image with its parsed config, for one platform."""
        request = image_service_pb2.InspectImageRequest(image=image, platform=platform)
        return self._calls.unary(self._stub.InspectImage, request)

    def history(self, image: str, *, platform: str = "") -> Sequence[image_pb2.HistoryEntry]:
        """The steps that made an image, oldest first."""
        request = image_service_pb2.GetImageHistoryRequest(image=image, platform=platform)
        return [*self._calls.unary(self._stub.GetImageHistory, request).entries]

    def parse_reference(self, text: str) -> image_pb2.Reference:
        """A reference's parts, without looking anything up."""
        request = image_service_pb2.ParseReferenceRequest(text=text)
        return self._calls.unary(self._stub.ParseReference, request).reference

    def tag(
        self, image: str, tag: str, *, expected_digest: str | None = None, request_id: str = ""
    ) -> image_service_pb2.TagImageResponse:
        """Gives an image one more name; see TagImageRequest for `expected_digest`."""
        request = image_service_pb2.TagImageRequest(
            image=image, tag=tag, expected_digest=expected_digest, request_id=request_id
        )
        return self._calls.unary(self._stub.TagImage, request)

    def untag(
        self, reference: str, *, expected_digest: str = "", request_id: str = ""
    ) -> image_pb2.Image:
        """Takes one name away, and never content. Returns the image that lost it."""
        request = image_service_pb2.UntagImageRequest(
            reference=reference, expected_digest=expected_digest, request_id=request_id
        )
        return self._calls.unary(self._stub.UntagImage, request).image

    def remove(
        self, image: str, *, force: bool = False, request_id: str = ""
    ) -> image_service_pb2.RemoveImageResponse:
        """Removes a name or an image, as `docker rmi` does. Raises InUse when it is held."""
        request = image_service_pb2.RemoveImageRequest(
            image=image, force=force, request_id=request_id
        )
        return self._calls.unary(self._stub.RemoveImage, request)

    def prune(
        self,
        *,
        all: bool = False,  # noqa: A002
        filters: Iterable[str] = (),
        dry_run: bool = False,
        request_id: str = "",
        timeout: float | None = None,
    ) -> image_service_pb2.PruneImagesResponse:
        """Removes dangling images, or with `all` every image that nothing holds.

        It takes as long as there are images: the client's timeout does not apply. `timeout` is in
        seconds; None for no bound.
        """
        request = image_service_pb2.PruneImagesRequest(
            all=all, filters=filters, dry_run=dry_run, request_id=request_id
        )
        return self._calls.within(timeout, self._stub.PruneImages, request)

    def append(
        self,
        base: str = "",
        layers: Iterable[str] = (),
        tag: str = "",
        *,
        timeout: float | None = None,
        **options: Unpack[_building.AppendOptions],
    ) -> image_pb2.Image:
        """Makes an image of a base, or of nothing, with layers on top.

        The layers are read once: the client's timeout does not apply.

        Args:
            base: The base; empty for none.
            layers: Digests of archives that `contents.upload` brought, the lowest first.
            tag: The new image's name; empty for none. An image that has it loses it.
            timeout: Seconds; None for no bound.
            options: See `AppendOptions`.
        """
        request = _building.append(base, layers, tag, **options)
        return self._calls.within(timeout, self._stub.AppendImage, request).image

    def pin(self, image: str) -> image_pb2.Image:
        """Keeps an image from prune and collection. Idempotent."""
        request = image_service_pb2.PinImageRequest(image=image)
        return self._calls.unary(self._stub.PinImage, request).image

    def unpin(self, image: str) -> image_pb2.Image:
        """Takes a pin away. Idempotent."""
        request = image_service_pb2.UnpinImageRequest(image=image)
        return self._calls.unary(self._stub.UnpinImage, request).image


class AsyncImages:
    """The images of the daemon's store, for asyncio; see `Images`."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = image_service_pb2_grpc.ImageServiceStub(calls.channel)

    async def list(
        self, *, filters: Iterable[str] = (), view: _View = _BASIC, page_size: int = 0
    ) -> AsyncIterator[image_pb2.Image]:
        """Images, newest first, page by page as they are asked for. Filters are `key=value`."""
        request = image_service_pb2.ListImagesRequest(
            filters=filters, view=view, page_size=page_size
        )
        while True:
            page = await self._calls.unary(self._stub.ListImages, request)
            for image in page.images:
                yield image
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get(self, image: str, *, view: _View = _BASIC) -> image_pb2.Image:
        """One image."""
        request = image_service_pb2.GetImageRequest(image=image, view=view)
        return (await self._calls.unary(self._stub.GetImage, request)).image

    async def inspect(
        self, image: str, *, platform: str = ""
    ) -> image_service_pb2.InspectImageResponse:
        """An image with its parsed config, for one platform."""
        request = image_service_pb2.InspectImageRequest(image=image, platform=platform)
        return await self._calls.unary(self._stub.InspectImage, request)

    async def history(self, image: str, *, platform: str = "") -> Sequence[image_pb2.HistoryEntry]:
        """The steps that made an image, oldest first."""
        request = image_service_pb2.GetImageHistoryRequest(image=image, platform=platform)
        return [*(await self._calls.unary(self._stub.GetImageHistory, request)).entries]

    async def parse_reference(self, text: str) -> image_pb2.Reference:
        """A reference's parts, without looking anything up."""
        request = image_service_pb2.ParseReferenceRequest(text=text)
        return (await self._calls.unary(self._stub.ParseReference, request)).reference

    async def tag(
        self, image: str, tag: str, *, expected_digest: str | None = None, request_id: str = ""
    ) -> image_service_pb2.TagImageResponse:
        """Gives an image one more name; see TagImageRequest for `expected_digest`."""
        request = image_service_pb2.TagImageRequest(
            image=image, tag=tag, expected_digest=expected_digest, request_id=request_id
        )
        return await self._calls.unary(self._stub.TagImage, request)

    async def untag(
        self, reference: str, *, expected_digest: str = "", request_id: str = ""
    ) -> image_pb2.Image:
        """Takes one name away, and never content. Returns the image that lost it."""
        request = image_service_pb2.UntagImageRequest(
            reference=reference, expected_digest=expected_digest, request_id=request_id
        )
        return (await self._calls.unary(self._stub.UntagImage, request)).image

    async def remove(
        self, image: str, *, force: bool = False, request_id: str = ""
    ) -> image_service_pb2.RemoveImageResponse:
        """Removes a name or an image, as `docker rmi` does. Raises InUse when it is held."""
        request = image_service_pb2.RemoveImageRequest(
            image=image, force=force, request_id=request_id
        )
        return await self._calls.unary(self._stub.RemoveImage, request)

    async def prune(
        self,
        *,
        all: bool = False,  # noqa: A002
        filters: Iterable[str] = (),
        dry_run: bool = False,
        request_id: str = "",
        timeout: float | None = None,
    ) -> image_service_pb2.PruneImagesResponse:
        """Removes images; see `Images.prune`."""
        request = image_service_pb2.PruneImagesRequest(
            all=all, filters=filters, dry_run=dry_run, request_id=request_id
        )
        return await self._calls.within(timeout, self._stub.PruneImages, request)

    async def append(
        self,
        base: str = "",
        layers: Iterable[str] = (),
        tag: str = "",
        *,
        timeout: float | None = None,
        **options: Unpack[_building.AppendOptions],
    ) -> image_pb2.Image:
        """Makes an image of a base and of layers; see `Images.append`."""
        request = _building.append(base, layers, tag, **options)
        return (await self._calls.within(timeout, self._stub.AppendImage, request)).image

    async def pin(self, image: str) -> image_pb2.Image:
        """Keeps an image from prune and collection. Idempotent."""
        request = image_service_pb2.PinImageRequest(image=image)
        return (await self._calls.unary(self._stub.PinImage, request)).image

    async def unpin(self, image: str) -> image_pb2.Image:
        """Takes a pin away. Idempotent."""
        request = image_service_pb2.UnpinImageRequest(image=image)
        return (await self._calls.unary(self._stub.UnpinImage, request)).image

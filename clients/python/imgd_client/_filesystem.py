"""FilesystemService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import grpc

from imgd.v1 import (
    container_pb2,
    filesystem_pb2,
    filesystem_service_pb2,
    filesystem_service_pb2_grpc,
)

from . import _requests
from ._calls import AsyncCalls, Calls
from ._errors import from_rpc_error

__all__ = ["AsyncFiles", "Files"]


def _tree(image: str, platform: str, layer: int | None) -> filesystem_service_pb2.TreeSelector:
    return filesystem_service_pb2.TreeSelector(image=image, platform=platform, layer_index=layer)


def _raw(path: str | bytes) -> bytes | None:
    """A path whose names are no UTF-8: as bytes, or as `os.fsdecode` makes a text of it."""
    raw = path if isinstance(path, bytes) else path.encode("utf-8", "surrogateescape")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return raw
    return None


def _text(path: str | bytes) -> str:
    """A path, where `_raw` is none."""
    if _raw(path) is not None:
        return ""
    return path.decode() if isinstance(path, bytes) else path


def _mounting(
    image: str, target: str, platform: str, lease_id: str, ttl: float | None
) -> filesystem_service_pb2.MountImageRequest:
    return filesystem_service_pb2.MountImageRequest(
        image=image,
        platform=platform,
        lease_id=lease_id,
        ttl=None if ttl is None else _requests.duration(ttl),
        target_path=target,
    )


class Files:
    """The files of images, without unpacking them. `layer` is one alone, counted from 0 for the
    lowest; None is the tree that all of them make. A path may be bytes (`FileInfo.raw_path`), for
    not every name is UTF-8."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = filesystem_service_pb2_grpc.FilesystemServiceStub(calls.channel)

    def list(
        self,
        image: str,
        path: str | bytes = "/",
        *,
        recursive: bool = False,
        pattern: str = "",
        platform: str = "",
        layer: int | None = None,
        page_size: int = 0,
    ) -> Iterator[filesystem_pb2.FileInfo]:
        """A directory's files in the order of paths, page by page as they are asked for; with
        `pattern` those that fit this shell pattern, in which `**` crosses `/`."""
        request = filesystem_service_pb2.ListFilesRequest(
            tree=_tree(image, platform, layer),
            path=_text(path),
            raw_path=_raw(path),
            recursive=recursive,
            pattern=pattern,
            page_size=page_size,
        )
        while True:
            page = self._calls.unary(self._stub.ListFiles, request)
            yield from page.files
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def get(
        self,
        image: str,
        path: str | bytes,
        *,
        follow: bool = False,
        platform: str = "",
        layer: int | None = None,
    ) -> filesystem_pb2.FileInfo:
        """A file's attributes; `follow` follows symbolic links, within the image."""
        request = filesystem_service_pb2.GetFileRequest(
            tree=_tree(image, platform, layer), path=_text(path), raw_path=_raw(path), follow=follow
        )
        return self._calls.unary(self._stub.GetFile, request).file

    def read(
        self,
        image: str,
        path: str | bytes,
        *,
        offset: int = 0,
        limit: int = 0,
        platform: str = "",
        layer: int | None = None,
    ) -> Iterator[bytes]:
        """A regular file's bytes from `offset`, in pieces; `limit` 0 means up to the end."""
        request = filesystem_service_pb2.ReadFileRequest(
            tree=_tree(image, platform, layer),
            path=_text(path),
            raw_path=_raw(path),
            offset=offset,
            limit=limit,
        )
        call = self._stub.ReadFile(request)
        try:
            for answer in call:
                if answer.data:
                    yield answer.data
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    def layers(
        self, image: str, *, platform: str = ""
    ) -> filesystem_service_pb2.ListLayersResponse:
        """What each layer does, lowest first, and what is wasted."""
        request = filesystem_service_pb2.ListLayersRequest(image=image, platform=platform)
        return self._calls.unary(self._stub.ListLayers, request)

    def changes(
        self, image: str, layer: int, *, platform: str = ""
    ) -> Iterator[container_pb2.FileChange]:
        """What a layer adds, changes and removes, in the order of paths."""
        request = filesystem_service_pb2.ListLayerChangesRequest(
            image=image, platform=platform, layer_index=layer
        )
        call = self._stub.ListLayerChanges(request)
        try:
            for answer in call:
                yield from answer.changes
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    def mount(
        self,
        image: str,
        target: str = "",
        *,
        platform: str = "",
        lease_id: str = "",
        ttl: float | None = None,
        timeout: float | None = None,
    ) -> filesystem_service_pb2.MountImageResponse:
        """Prepares a read-only view of an image, which lasts as long as its lease: `leases.renew`
        keeps it, `leases.delete` ends it. It may unpack the image: the client's timeout does not
        apply.

        Args:
            image: The image.
            target: Where the daemon mounts it, an absolute path below one of its `mount_roots`;
                empty for the caller to mount it: `mounts`.
            platform: `os/architecture[/variant]`; empty for the one served by default.
            lease_id: The lease's ID; generated, if not said.
            ttl: How long the lease holds, in seconds; an hour if not said.
            timeout: Seconds; None for no bound.
        """
        request = _mounting(image, target, platform, lease_id, ttl)
        return self._calls.within(timeout, self._stub.MountImage, request)


class AsyncFiles:
    """See `Files`."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = filesystem_service_pb2_grpc.FilesystemServiceStub(calls.channel)

    async def list(
        self,
        image: str,
        path: str | bytes = "/",
        *,
        recursive: bool = False,
        pattern: str = "",
        platform: str = "",
        layer: int | None = None,
        page_size: int = 0,
    ) -> AsyncIterator[filesystem_pb2.FileInfo]:
        """See `Files.list`."""
        request = filesystem_service_pb2.ListFilesRequest(
            tree=_tree(image, platform, layer),
            path=_text(path),
            raw_path=_raw(path),
            recursive=recursive,
            pattern=pattern,
            page_size=page_size,
        )
        while True:
            page = await self._calls.unary(self._stub.ListFiles, request)
            for file in page.files:
                yield file
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def get(
        self,
        image: str,
        path: str | bytes,
        *,
        follow: bool = False,
        platform: str = "",
        layer: int | None = None,
    ) -> filesystem_pb2.FileInfo:
        """See `Files.get`."""
        request = filesystem_service_pb2.GetFileRequest(
            tree=_tree(image, platform, layer), path=_text(path), raw_path=_raw(path), follow=follow
        )
        return (await self._calls.unary(self._stub.GetFile, request)).file

    async def read(
        self,
        image: str,
        path: str | bytes,
        *,
        offset: int = 0,
        limit: int = 0,
        platform: str = "",
        layer: int | None = None,
    ) -> AsyncIterator[bytes]:
        """See `Files.read`."""
        request = filesystem_service_pb2.ReadFileRequest(
            tree=_tree(image, platform, layer),
            path=_text(path),
            raw_path=_raw(path),
            offset=offset,
            limit=limit,
        )
        call = self._stub.ReadFile(request)
        try:
            async for answer in call:
                if answer.data:
                    yield answer.data
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def layers(
        self, image: str, *, platform: str = ""
    ) -> filesystem_service_pb2.ListLayersResponse:
        """See `Files.layers`."""
        request = filesystem_service_pb2.ListLayersRequest(image=image, platform=platform)
        return await self._calls.unary(self._stub.ListLayers, request)

    async def changes(
        self, image: str, layer: int, *, platform: str = ""
    ) -> AsyncIterator[container_pb2.FileChange]:
        """See `Files.changes`."""
        request = filesystem_service_pb2.ListLayerChangesRequest(
            image=image, platform=platform, layer_index=layer
        )
        call = self._stub.ListLayerChanges(request)
        try:
            async for answer in call:
                for change in answer.changes:
                    yield change
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def mount(
        self,
        image: str,
        target: str = "",
        *,
        platform: str = "",
        lease_id: str = "",
        ttl: float | None = None,
        timeout: float | None = None,
    ) -> filesystem_service_pb2.MountImageResponse:
        """See `Files.mount`."""
        request = _mounting(image, target, platform, lease_id, ttl)
        return await self._calls.within(timeout, self._stub.MountImage, request)

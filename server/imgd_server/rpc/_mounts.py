"""Read-only views of images, for callers without a container."""

from __future__ import annotations

from typing import Any

import grpc.aio

from imgd.v1 import container_pb2, filesystem_service_pb2, filesystem_service_pb2_grpc
from imgd_server.images import RootfsManager
from imgd_server.oci import Platform
from imgd_server.rpc import _convert
from imgd_server.rpc._container_files import no_rootfs

__all__ = ["MountServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class MountServicer(filesystem_service_pb2_grpc.FilesystemServiceServicer):
    """The part of FilesystemService that needs unpacked layers."""

    def __init__(self, rootfs: RootfsManager | None = None) -> None:
        self._rootfs = rootfs

    async def MountImage(
        self, request: filesystem_service_pb2.MountImageRequest, context: Context
    ) -> filesystem_service_pb2.MountImageResponse:
        """Prepares a view, which goes with its lease."""
        if self._rootfs is None:
            raise no_rootfs()
        view = await self._rootfs.mount(
            request.image,
            Platform.parse(request.platform) if request.platform else None,
            request.lease_id,
            _convert.microseconds(request.ttl) if request.HasField("ttl") else 0,
            request.target_path,
        )
        return filesystem_service_pb2.MountImageResponse(
            mounts=[container_pb2.Mount(**view.mount)] if view.mount else [],
            lease=f"leases/{view.lease_id}",
            platform=_convert.platform(view.platform),
        )

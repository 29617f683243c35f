"""Read-only views of images, for callers without a container."""

from __future__ import annotations

from typing import Any

import grpc.aio

from imgd.v1 import container_pb2, filesystem_service_pb2, filesystem_service_pb2_grpc
from imgd_server.errors import Error, Reason
from imgd_server.images import RootfsManager, take_lease
from imgd_server.metadata import MetadataStore, WriteSession
from imgd_server.oci import Platform
from imgd_server.rpc import _convert
from imgd_server.rpc._container_files import no_rootfs, to_its_end
from imgd_server.transfer import now_us

__all__ = ["MountServicer"]

Context = grpc.aio.ServicerContext[Any, Any]


class MountServicer(filesystem_service_pb2_grpc.FilesystemServiceServicer):
    """The part of FilesystemService that needs unpacked layers."""

    def __init__(self, metadata: MetadataStore, rootfs: RootfsManager | None = None) -> None:
        self._mount_metadata, self._rootfs = metadata, rootfs

    async def MountImage(
        self, request: filesystem_service_pb2.MountImageRequest, context: Context
    ) -> filesystem_service_pb2.MountImageResponse:
        """Prepares a view, which goes with its lease."""
        if self._rootfs is None:
            raise no_rootfs()
        if request.target_path:
            raise Error(
                Reason.UNSUPPORTED,
                "target_path: this daemon does not mount views of images yet; leave it out, and "
                "mount what the answer says",
            )
        return await to_its_end(self._mount(self._rootfs, request))

    async def _mount(
        self, rootfs: RootfsManager, request: filesystem_service_pb2.MountImageRequest
    ) -> filesystem_service_pb2.MountImageResponse:
        platform = Platform.parse(request.platform) if request.platform else None
        prepared = await rootfs.unpack(request.image, platform, now_us())
        ttl = _convert.microseconds(request.ttl) if request.HasField("ttl") else 0

        def hold(session: WriteSession) -> str:
            now = now_us()
            lease = take_lease(session, request.lease_id, ttl, prepared.image.uid, now)
            rootfs.finish(session, prepared, now)
            return lease.lease_id

        try:
            mount = await rootfs.view(prepared)
            lease_id = await self._mount_metadata.write(hold)
        except BaseException:
            await rootfs.give_up(prepared)
            raise
        config = prepared.inspection.config
        return filesystem_service_pb2.MountImageResponse(
            mounts=[container_pb2.Mount(**mount)],
            lease=f"leases/{lease_id}",
            platform=_convert.platform(
                platform or (config.platform if config else Platform.host())
            ),
        )

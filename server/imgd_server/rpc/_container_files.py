"""Containers with files: root file systems, bundles, changes."""

from __future__ import annotations

from imgd.v1 import container_pb2, container_service_pb2
from imgd_server.errors import Error, Reason
from imgd_server.images import BundleRequest, NewContainer, Rootfs, RootfsManager
from imgd_server.metadata import ContainerRecord, MetadataStore
from imgd_server.rootfs import FileChange
from imgd_server.rpc import _convert
from imgd_server.rpc._answers import change

__all__ = ["container_message", "create_with_rootfs", "file_change", "no_rootfs"]


async def create_with_rootfs(
    metadata: MetadataStore,
    rootfs: RootfsManager | None,
    request: container_service_pb2.CreateContainerRequest,
    wanted: NewContainer,
) -> container_service_pb2.CreateContainerResponse:
    """Registers a container, and makes its root file system and bundle first."""
    if rootfs is None:
        raise no_rootfs()
    bundle = _bundle(request.bundle) if request.HasField("bundle") else None
    return await rootfs.create(
        wanted,
        bundle,
        lambda register: change(
            metadata, request, lambda session, now: _created(register(session, now))
        ),
    )


def _created(record: ContainerRecord) -> container_service_pb2.CreateContainerResponse:
    return container_service_pb2.CreateContainerResponse(
        container=container_message(record), bundle_path=Rootfs.from_json(record.rootfs).bundle
    )


def _bundle(message: container_service_pb2.BundleSpec) -> BundleRequest:
    return BundleRequest(
        message.path,
        tuple(message.args),
        tuple(message.env),
        message.working_dir,
        message.user,
        message.terminal,
        message.read_only,
    )


def no_rootfs() -> Error:
    """The refusal of a daemon that can't."""
    return Error(Reason.UNSUPPORTED, "this daemon does not prepare root file systems")


def file_change(one: FileChange) -> container_pb2.FileChange:
    """A change on the wire. Bytes that are no UTF-8 are shown as U+FFFD."""
    return container_pb2.FileChange(
        kind=container_pb2.ChangeKind.ValueType(one.kind.value),
        path=f"/{one.path.decode('utf-8', 'replace')}",
        size=one.size,
    )


def container_message(record: ContainerRecord) -> container_pb2.Container:
    """A container on the wire."""
    message = container_pb2.Container(
        name=f"containers/{record.container_id}",
        image=f"images/{record.image}",
        image_reference=record.image_reference,
        image_id=record.image_id,
        state=container_pb2.ContainerState.Value(f"CONTAINER_STATE_{record.state}"),
        labels=record.labels,
        create_time=_convert.timestamp(record.created),
        exit_status=record.exit_status,
        platform=record.platform,
        mounts=[container_pb2.Mount(**one) for one in Rootfs.from_json(record.rootfs).mounts]
        if record.rootfs
        else [],
    )
    if record.started is not None:
        message.start_time.CopyFrom(_convert.timestamp(record.started))
    if record.stopped is not None:
        message.stop_time.CopyFrom(_convert.timestamp(record.stopped))
    if record.heartbeat is not None:
        message.heartbeat_interval.CopyFrom(_convert.duration(record.heartbeat / 1e6))
    return message

"""Containers with files: root file systems, bundles, changes."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from imgd.v1 import container_pb2, container_service_pb2
from imgd_server.errors import Error, Reason
from imgd_server.images import (
    BundleRequest,
    NewContainer,
    Rootfs,
    RootfsManager,
    create_container,
)
from imgd_server.metadata import ContainerRecord, MetadataStore, ReadSession, WriteSession
from imgd_server.oci import Platform
from imgd_server.rootfs import FileChange
from imgd_server.rpc import _convert
from imgd_server.rpc._answers import change, known_answer
from imgd_server.transfer import now_us

__all__ = ["container_message", "create_with_rootfs", "file_change", "no_rootfs", "to_its_end"]

T = TypeVar("T")


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Runs work that takes things back when it is cancelled: a caller who leaves cancels it, and it
    gets the time to."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()
        raise


async def create_with_rootfs(
    metadata: MetadataStore,
    rootfs: RootfsManager | None,
    request: container_service_pb2.CreateContainerRequest,
    wanted: NewContainer,
) -> container_service_pb2.CreateContainerResponse:
    """Registers a container, and makes its root file system and bundle first."""
    if rootfs is None:
        raise no_rootfs()
    known: container_service_pb2.CreateContainerResponse | None = await known_answer(
        metadata, request
    )
    if known is not None:
        return known
    return await to_its_end(_create(metadata, rootfs, request, wanted))


async def _create(
    metadata: MetadataStore,
    rootfs: RootfsManager,
    request: container_service_pb2.CreateContainerRequest,
    wanted: NewContainer,
) -> container_service_pb2.CreateContainerResponse:
    await metadata.read(lambda session: _check_free(session, wanted.container_id))
    platform = Platform.parse(wanted.platform) if wanted.platform else None
    bundle = _bundle(request.bundle) if request.HasField("bundle") else None
    prepared = await rootfs.prepare(wanted.image, platform, bundle, wanted.container_id, now_us())
    made = prepared.rootfs
    assert made is not None
    config = prepared.inspection.config
    stated = wanted.platform or (str(config.platform) if config else "")
    complete = replace(wanted, uid=prepared.image.uid, rootfs=made.to_json(), platform=stated)
    shown: list[str] = []

    def create(session: WriteSession, now: int) -> container_service_pb2.CreateContainerResponse:
        record = create_container(session, complete, now)
        rootfs.finish(session, prepared, now)
        shown.append(record.container_id)
        return container_service_pb2.CreateContainerResponse(
            container=container_message(record), bundle_path=made.bundle
        )

    try:
        # A caller who leaves now comes too late: it is there, or it is not, with its record.
        answer = await asyncio.shield(change(metadata, request, create))
    except Error:
        await rootfs.give_up(prepared)
        raise
    if not shown:  # somebody else has sent the same request, and was faster
        await rootfs.give_up(prepared)
    rootfs.settled(prepared)
    return answer


def _check_free(session: ReadSession, container_id: str) -> None:
    """Before the work; the transaction at the end decides."""
    if container_id and session.container(container_id):
        raise Error(
            Reason.CONTAINER_EXISTS,
            f"a container named {container_id} exists: remove it, or use another name",
            metadata={"container": f"containers/{container_id}"},
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

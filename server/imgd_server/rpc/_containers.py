"""ContainerService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import grpc.aio
from google.protobuf.message import Message

from imgd.v1 import container_pb2, container_service_pb2, container_service_pb2_grpc
from imgd_server.images import (
    ImageBuilder,
    NewContainer,
    RootfsManager,
    beat_container,
    create_container,
    find_container,
    find_image,
    pause_container,
    remove_container,
    start_container,
    stop_container,
)
from imgd_server.metadata import ContainerRecord, MetadataStore, ReadSession, WriteSession
from imgd_server.oci import Platform
from imgd_server.rpc import _convert
from imgd_server.rpc._answers import change, known_answer
from imgd_server.rpc._building import commit_container
from imgd_server.rpc._container_files import (
    container_message,
    create_with_rootfs,
    file_change,
    no_rootfs,
)
from imgd_server.rpc._pages import decode_token, encode_token, fitting, page_size
from imgd_server.transfer import Proofs, now_us

__all__ = ["ContainerServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

_Answer = TypeVar("_Answer", bound=Message)


class ContainerServicer(container_service_pb2_grpc.ContainerServiceServicer):
    """Registered uses of images."""

    def __init__(
        self,
        metadata: MetadataStore,
        rootfs: RootfsManager | None = None,
        builder: ImageBuilder | None = None,
        proofs: Proofs | None = None,
    ) -> None:
        self._metadata, self._rootfs, self._builder = metadata, rootfs, builder
        self._proofs = proofs

    async def CreateContainer(
        self, request: container_service_pb2.CreateContainerRequest, context: Context
    ) -> container_service_pb2.CreateContainerResponse:
        """Registers one."""
        given = request.HasField("credentials")
        credentials = _convert.credentials(request.credentials) if given else None
        # What is kept of the request, to tell a repeated one, is not to depend on a secret.
        request.ClearField("credentials")
        known: container_service_pb2.CreateContainerResponse | None = await known_answer(
            self._metadata, request
        )
        if known is not None:
            return known
        platform = Platform.parse(request.platform) if request.platform else None
        uid, manifest = "", None
        if self._proofs:
            uid, manifest = await self._proofs.admit_named(request.image, credentials, platform)
        wanted = NewContainer(
            request.image,
            request.container_id,
            dict(request.labels),
            str(platform) if platform else "",
            _convert.microseconds(request.heartbeat_interval)
            if request.HasField("heartbeat_interval")
            else None,
            uid=uid,
            manifest=manifest,
        )
        if request.prepare_rootfs or request.HasField("bundle"):
            return await create_with_rootfs(self._metadata, self._rootfs, request, wanted)
        return await self._change(
            request,
            container_service_pb2.CreateContainerResponse,
            lambda session, now: create_container(session, wanted, now),
        )

    async def GetContainer(
        self, request: container_service_pb2.GetContainerRequest, context: Context
    ) -> container_service_pb2.GetContainerResponse:
        """Returns one."""
        record = await self._metadata.read(
            lambda session: find_container(session, _id(request.name))
        )
        return container_service_pb2.GetContainerResponse(container=container_message(record))

    async def ListContainers(
        self, request: container_service_pb2.ListContainersRequest, context: Context
    ) -> container_service_pb2.ListContainersResponse:
        """Lists a page."""
        states = sorted(
            container_pb2.ContainerState.Name(state).removeprefix("CONTAINER_STATE_")
            for state in set(request.states)
            if state
        )
        labels = [_label(one) for one in request.labels]
        query = ["ListContainers", request.image, states, labels]
        after = None
        if request.page_token:
            after = decode_token(query, request.page_token, (int, str))
        limit = page_size(request.page_size)

        def page(session: ReadSession) -> list[ContainerRecord]:
            image = find_image(session, request.image).uid if request.image else None
            return session.list_containers(image, states, labels, after, limit + 1)

        found = await self._metadata.read(page)
        answer = container_service_pb2.ListContainersResponse(
            containers=fitting(container_message(record) for record in found[:limit])
        )
        if len(answer.containers) < len(found):
            last = found[len(answer.containers) - 1]
            answer.next_page_token = encode_token(query, [last.created, last.container_id])
        return answer

    async def StartContainer(
        self, request: container_service_pb2.StartContainerRequest, context: Context
    ) -> container_service_pb2.StartContainerResponse:
        """Records that one runs."""
        return await self._change(
            request,
            container_service_pb2.StartContainerResponse,
            lambda session, now: start_container(session, _id(request.name), now),
        )

    async def PauseContainer(
        self, request: container_service_pb2.PauseContainerRequest, context: Context
    ) -> container_service_pb2.PauseContainerResponse:
        """Records that one is paused or goes on."""
        return await self._change(
            request,
            container_service_pb2.PauseContainerResponse,
            lambda session, now: pause_container(
                session, _id(request.name), now, resume=request.resume
            ),
        )

    async def StopContainer(
        self, request: container_service_pb2.StopContainerRequest, context: Context
    ) -> container_service_pb2.StopContainerResponse:
        """Records that one stopped."""
        status = request.exit_status if request.HasField("exit_status") else None
        return await self._change(
            request,
            container_service_pb2.StopContainerResponse,
            lambda session, now: stop_container(session, _id(request.name), status, now),
        )

    async def HeartbeatContainer(
        self, request: container_service_pb2.HeartbeatContainerRequest, context: Context
    ) -> container_service_pb2.HeartbeatContainerResponse:
        """Records a sign of life."""
        return await self._change(
            request,
            container_service_pb2.HeartbeatContainerResponse,
            lambda session, now: beat_container(session, _id(request.name), now),
        )

    async def RemoveContainer(
        self, request: container_service_pb2.RemoveContainerRequest, context: Context
    ) -> container_service_pb2.RemoveContainerResponse:
        """Forgets one."""
        record = await self._metadata.write(
            lambda session: remove_container(
                session, _id(request.name), now_us(), force=request.force
            )
        )
        if self._rootfs:
            await self._rootfs.remove(record)
        return container_service_pb2.RemoveContainerResponse()

    async def DiffContainer(
        self, request: container_service_pb2.DiffContainerRequest, context: Context
    ) -> AsyncIterator[container_service_pb2.DiffContainerResponse]:
        """Streams what one changed."""
        record = await self._metadata.read(
            lambda session: find_container(session, _id(request.name))
        )
        if self._rootfs is None:
            raise no_rootfs()
        async for changes in self._rootfs.changes(record):
            yield container_service_pb2.DiffContainerResponse(
                changes=[file_change(one) for one in changes]
            )

    async def CommitContainer(
        self, request: container_service_pb2.CommitContainerRequest, context: Context
    ) -> container_service_pb2.CommitContainerResponse:
        """Makes an image of what one changed."""
        if self._builder is None:
            raise no_rootfs()
        return await commit_container(self._metadata, self._builder, request)

    async def _change(
        self,
        request: Any,
        answer: Callable[..., _Answer],
        function: Callable[[WriteSession, int], ContainerRecord],
    ) -> _Answer:
        return await change(
            self._metadata,
            request,
            lambda session, now: answer(container=container_message(function(session, now))),
        )


def _id(name: str) -> str:
    return name.removeprefix("containers/")


def _label(text: str) -> tuple[str, str | None]:
    key, equals, value = text.partition("=")
    return key, value if equals else None

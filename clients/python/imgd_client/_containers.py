"""ContainerService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TypeAlias, Unpack

import grpc

from imgd.v1 import (
    container_pb2,
    container_service_pb2,
    container_service_pb2_grpc,
    image_pb2,
    transfer_pb2,
)

from . import _building, _requests
from ._calls import AsyncCalls, Calls
from ._errors import ImgdError, from_rpc_error
from ._hold import AsyncHold, Hold

__all__ = ["AsyncContainers", "Containers"]

_State: TypeAlias = container_pb2.ContainerState.ValueType

# In seconds. The daemon waits for three of them.
_BEAT = 10.0


class Containers:
    """Registered uses of images. A container goes by its resource name, or its ID alone."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = container_service_pb2_grpc.ContainerServiceStub(calls.channel)

    def create(
        self,
        image: str,
        *,
        container_id: str = "",
        labels: Mapping[str, str] | None = None,
        platform: str = "",
        heartbeat: float | None = None,
        prepare_rootfs: bool = False,
        credentials: transfer_pb2.RegistryCredentials | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> container_pb2.Container:
        """Registers a use of an image, which holds the image until it is removed.

        Args:
            image: The image.
            container_id: Its ID; generated, if not said.
            labels: Labels.
            platform: `os/architecture[/variant]`; empty for the one served by default.
            heartbeat: Seconds between two heartbeats, without which it counts as exited; at least
                1. None for a container that needs none.
            prepare_rootfs: Make a writable root file system, for the caller to mount: `mounts`.
            credentials: The caller's for the image's registry, which an image that came with
                credentials wants; None for the daemon's configuration.
            request_id: For safe retries; generated, if not said.
            timeout: Seconds; None for the client's timeout, and for no bound where a root file
                system is prepared, which may unpack the image.
        """
        request = _creation(
            image, container_id, labels, platform, heartbeat, credentials, request_id
        )
        request.prepare_rootfs = prepare_rootfs
        bound = timeout if prepare_rootfs or timeout is not None else self._calls.timeout
        return self._calls.within(bound, self._stub.CreateContainer, request).container

    def create_bundle(
        self,
        image: str,
        bundle: container_service_pb2.BundleSpec | None = None,
        *,
        container_id: str = "",
        labels: Mapping[str, str] | None = None,
        platform: str = "",
        heartbeat: float | None = None,
        credentials: transfer_pb2.RegistryCredentials | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> container_service_pb2.CreateContainerResponse:
        """As `create`, with a bundle that an OCI runtime runs: its folder is `bundle_path`.
        `bundle` says where it is to be, and what differs from the image's defaults. It may unpack
        the image: the client's timeout does not apply, and `timeout` is None for no bound."""
        request = _creation(
            image, container_id, labels, platform, heartbeat, credentials, request_id
        )
        request.bundle.CopyFrom(bundle or container_service_pb2.BundleSpec())
        return self._calls.within(timeout, self._stub.CreateContainer, request)

    def diff(
        self, name: str, *, timeout: float | None = None
    ) -> Iterator[container_pb2.FileChange]:
        """What a container changed in its root file system, in the order of paths.

        It comes as fast as it is read here and from the disk: the client's timeout does not apply.
        `timeout` is in seconds, for all of it; None for no bound.
        """
        request = container_service_pb2.DiffContainerRequest(name=_requests.container_name(name))
        call = self._stub.DiffContainer(request, timeout=timeout)
        try:
            for answer in call:
                yield from answer.changes
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    def commit(
        self,
        name: str,
        tag: str = "",
        *,
        timeout: float | None = None,
        **options: Unpack[_building.CommitOptions],
    ) -> image_pb2.Image:
        """Makes an image of what a container, which does not run, changed in its root file system.

        It takes as long as there is to write: the client's timeout does not apply.

        Args:
            name: The container.
            tag: The new image's name; empty for none. An image that has it loses it.
            timeout: Seconds; None for no bound.
            options: See `CommitOptions`.
        """
        request = _building.commit(name, tag, **options)
        return self._calls.within(timeout, self._stub.CommitContainer, request).image

    def hold(
        self,
        image: str,
        *,
        container_id: str = "",
        labels: Mapping[str, str] | None = None,
        platform: str = "",
        heartbeat: float = _BEAT,
        credentials: transfer_pb2.RegistryCredentials | None = None,
    ) -> Hold[container_pb2.Container]:
        """A running container for the length of a `with` block, removed at the end; see `create`.

        When this process is killed it counts as exited after three heartbeats, and still holds its
        image; a lease ends by itself.
        """
        request = _creation(image, container_id, labels, platform, heartbeat, credentials, "")

        def take() -> container_pb2.Container:
            made = self._calls.unary(self._stub.CreateContainer, request).container
            try:
                return self.start(made.name)
            except ImgdError:
                with suppress(ImgdError):
                    self.remove(made.name, force=True)
                raise

        def renew(name: str) -> container_pb2.Container:
            wanted = container_service_pb2.HeartbeatContainerRequest(name=name)
            found = self._calls.unary(self._stub.HeartbeatContainer, wanted, at_most=heartbeat)
            return found.container

        def release(name: str) -> None:
            self.remove(name, force=True)

        return Hold(take, renew, release, heartbeat, self._calls.streams)

    def get(self, name: str) -> container_pb2.Container:
        """A container."""
        request = container_service_pb2.GetContainerRequest(name=_requests.container_name(name))
        return self._calls.unary(self._stub.GetContainer, request).container

    def list(
        self,
        *,
        image: str = "",
        states: Iterable[_State] = (),
        labels: Iterable[str] = (),
        page_size: int = 0,
    ) -> Iterator[container_pb2.Container]:
        """Containers, newest first, page by page as they are asked for; `labels` are `key` or
        `key=value`."""
        request = container_service_pb2.ListContainersRequest(
            image=image, states=states, labels=labels, page_size=page_size
        )
        while True:
            page = self._calls.unary(self._stub.ListContainers, request)
            yield from page.containers
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def start(self, name: str) -> container_pb2.Container:
        """Records that it runs. Idempotent."""
        request = container_service_pb2.StartContainerRequest(name=_requests.container_name(name))
        return self._calls.unary(self._stub.StartContainer, request).container

    def pause(self, name: str) -> container_pb2.Container:
        """Records that it is paused. Idempotent."""
        request = container_service_pb2.PauseContainerRequest(name=_requests.container_name(name))
        return self._calls.unary(self._stub.PauseContainer, request).container

    def unpause(self, name: str) -> container_pb2.Container:
        """Records that it goes on. Idempotent."""
        request = container_service_pb2.PauseContainerRequest(
            name=_requests.container_name(name), resume=True
        )
        return self._calls.unary(self._stub.PauseContainer, request).container

    def stop(self, name: str, *, exit_status: int | None = None) -> container_pb2.Container:
        """Records that it stopped. Idempotent."""
        request = container_service_pb2.StopContainerRequest(
            name=_requests.container_name(name), exit_status=exit_status
        )
        return self._calls.unary(self._stub.StopContainer, request).container

    def heartbeat(self, name: str) -> container_pb2.Container:
        """Says that its owner lives."""
        request = container_service_pb2.HeartbeatContainerRequest(
            name=_requests.container_name(name)
        )
        return self._calls.unary(self._stub.HeartbeatContainer, request).container

    def remove(self, name: str, *, force: bool = False) -> None:
        """Forgets it and lets its image go; with `force` also when it runs."""
        request = container_service_pb2.RemoveContainerRequest(
            name=_requests.container_name(name), force=force
        )
        self._calls.unary(self._stub.RemoveContainer, request)


class AsyncContainers:
    """Registered uses of images, for asyncio; see `Containers`."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = container_service_pb2_grpc.ContainerServiceStub(calls.channel)

    async def create(
        self,
        image: str,
        *,
        container_id: str = "",
        labels: Mapping[str, str] | None = None,
        platform: str = "",
        heartbeat: float | None = None,
        prepare_rootfs: bool = False,
        credentials: transfer_pb2.RegistryCredentials | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> container_pb2.Container:
        """Registers a use of an image; see `Containers.create`."""
        request = _creation(
            image, container_id, labels, platform, heartbeat, credentials, request_id
        )
        request.prepare_rootfs = prepare_rootfs
        bound = timeout if prepare_rootfs or timeout is not None else self._calls.timeout
        return (await self._calls.within(bound, self._stub.CreateContainer, request)).container

    async def create_bundle(
        self,
        image: str,
        bundle: container_service_pb2.BundleSpec | None = None,
        *,
        container_id: str = "",
        labels: Mapping[str, str] | None = None,
        platform: str = "",
        heartbeat: float | None = None,
        credentials: transfer_pb2.RegistryCredentials | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> container_service_pb2.CreateContainerResponse:
        """As `create`, with a bundle; see `Containers.create_bundle`."""
        request = _creation(
            image, container_id, labels, platform, heartbeat, credentials, request_id
        )
        request.bundle.CopyFrom(bundle or container_service_pb2.BundleSpec())
        return await self._calls.within(timeout, self._stub.CreateContainer, request)

    async def diff(
        self, name: str, *, timeout: float | None = None
    ) -> AsyncIterator[container_pb2.FileChange]:
        """What a container changed; see `Containers.diff`."""
        request = container_service_pb2.DiffContainerRequest(name=_requests.container_name(name))
        call = self._stub.DiffContainer(request, timeout=timeout)
        try:
            async for answer in call:
                for change in answer.changes:
                    yield change
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def commit(
        self,
        name: str,
        tag: str = "",
        *,
        timeout: float | None = None,
        **options: Unpack[_building.CommitOptions],
    ) -> image_pb2.Image:
        """Makes an image of a container's changes; see `Containers.commit`."""
        request = _building.commit(name, tag, **options)
        return (await self._calls.within(timeout, self._stub.CommitContainer, request)).image

    def hold(
        self,
        image: str,
        *,
        container_id: str = "",
        labels: Mapping[str, str] | None = None,
        platform: str = "",
        heartbeat: float = _BEAT,
        credentials: transfer_pb2.RegistryCredentials | None = None,
    ) -> AsyncHold[container_pb2.Container]:
        """A running container for the length of an `async with` block; see `Containers.hold`."""
        request = _creation(image, container_id, labels, platform, heartbeat, credentials, "")

        async def take() -> container_pb2.Container:
            made = (await self._calls.unary(self._stub.CreateContainer, request)).container
            try:
                return await self.start(made.name)
            except ImgdError:
                with suppress(ImgdError):
                    await self.remove(made.name, force=True)
                raise

        async def renew(name: str) -> container_pb2.Container:
            wanted = container_service_pb2.HeartbeatContainerRequest(name=name)
            method = self._stub.HeartbeatContainer
            return (await self._calls.unary(method, wanted, at_most=heartbeat)).container

        async def release(name: str) -> None:
            await self.remove(name, force=True)

        return AsyncHold(take, renew, release, heartbeat, self._calls.streams)

    async def get(self, name: str) -> container_pb2.Container:
        """A container."""
        request = container_service_pb2.GetContainerRequest(name=_requests.container_name(name))
        return (await self._calls.unary(self._stub.GetContainer, request)).container

    async def list(
        self,
        *,
        image: str = "",
        states: Iterable[_State] = (),
        labels: Iterable[str] = (),
        page_size: int = 0,
    ) -> AsyncIterator[container_pb2.Container]:
        """Containers, newest first, page by page as they are asked for; `labels` are `key` or
        `key=value`."""
        request = container_service_pb2.ListContainersRequest(
            image=image, states=states, labels=labels, page_size=page_size
        )
        while True:
            page = await self._calls.unary(self._stub.ListContainers, request)
            for container in page.containers:
                yield container
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def start(self, name: str) -> container_pb2.Container:
        """Records that it runs. Idempotent."""
        request = container_service_pb2.StartContainerRequest(name=_requests.container_name(name))
        return (await self._calls.unary(self._stub.StartContainer, request)).container

    async def pause(self, name: str) -> container_pb2.Container:
        """Records that it is paused. Idempotent."""
        request = container_service_pb2.PauseContainerRequest(name=_requests.container_name(name))
        return (await self._calls.unary(self._stub.PauseContainer, request)).container

    async def unpause(self, name: str) -> container_pb2.Container:
        """Records that it goes on. Idempotent."""
        request = container_service_pb2.PauseContainerRequest(
            name=_requests.container_name(name), resume=True
        )
        return (await self._calls.unary(self._stub.PauseContainer, request)).container

    async def stop(self, name: str, *, exit_status: int | None = None) -> container_pb2.Container:
        """Records that it stopped. Idempotent."""
        request = container_service_pb2.StopContainerRequest(
            name=_requests.container_name(name), exit_status=exit_status
        )
        return (await self._calls.unary(self._stub.StopContainer, request)).container

    async def heartbeat(self, name: str) -> container_pb2.Container:
        """Says that its owner lives."""
        request = container_service_pb2.HeartbeatContainerRequest(
            name=_requests.container_name(name)
        )
        return (await self._calls.unary(self._stub.HeartbeatContainer, request)).container

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Forgets it and lets its image go; with `force` also when it runs."""
        request = container_service_pb2.RemoveContainerRequest(
            name=_requests.container_name(name), force=force
        )
        await self._calls.unary(self._stub.RemoveContainer, request)


def _creation(
    image: str,
    container_id: str,
    labels: Mapping[str, str] | None,
    platform: str,
    heartbeat: float | None,
    credentials: transfer_pb2.RegistryCredentials | None,
    request_id: str,
) -> container_service_pb2.CreateContainerRequest:
    return container_service_pb2.CreateContainerRequest(
        image=image,
        container_id=container_id,
        labels=labels,
        platform=platform,
        heartbeat_interval=None if heartbeat is None else _requests.duration(heartbeat),
        credentials=credentials,
        request_id=request_id or _requests.new_request_id(),
    )

"""The gRPC server: servicers, standard services, addresses, stop."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

import grpc.aio
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from imgd.v1.archive_service_pb2_grpc import (
    ArchiveServiceServicer,
    add_ArchiveServiceServicer_to_server,
)
from imgd.v1.container_service_pb2_grpc import (
    ContainerServiceServicer,
    add_ContainerServiceServicer_to_server,
)
from imgd.v1.content_service_pb2_grpc import (
    ContentServiceServicer,
    add_ContentServiceServicer_to_server,
)
from imgd.v1.event_service_pb2_grpc import EventServiceServicer, add_EventServiceServicer_to_server
from imgd.v1.filesystem_service_pb2_grpc import (
    FilesystemServiceServicer,
    add_FilesystemServiceServicer_to_server,
)
from imgd.v1.image_service_pb2_grpc import ImageServiceServicer, add_ImageServiceServicer_to_server
from imgd.v1.lease_service_pb2_grpc import LeaseServiceServicer, add_LeaseServiceServicer_to_server
from imgd.v1.registry_service_pb2_grpc import (
    RegistryServiceServicer,
    add_RegistryServiceServicer_to_server,
)
from imgd.v1.system_service_pb2_grpc import (
    SystemServiceServicer,
    add_SystemServiceServicer_to_server,
)
from imgd.v1.transfer_service_pb2_grpc import (
    TransferServiceServicer,
    add_TransferServiceServicer_to_server,
)
from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images import (
    BlobUploads,
    Housekeeper,
    ImageBuilder,
    LayerUnpacker,
    Looker,
    RootfsManager,
)
from imgd_server.metadata import MetadataStore
from imgd_server.registry import Lookups
from imgd_server.rpc._archives import ArchiveServicer
from imgd_server.rpc._containers import ContainerServicer
from imgd_server.rpc._content import ContentServicer
from imgd_server.rpc._events import EventServicer
from imgd_server.rpc._filesystem import FilesystemServicer
from imgd_server.rpc._images import ImageServicer
from imgd_server.rpc._interceptor import GuardInterceptor
from imgd_server.rpc._leases import LeaseServicer
from imgd_server.rpc._limits import MAX_MESSAGE_BYTES, MIN_KEEPALIVE_SECONDS
from imgd_server.rpc._listen import Claim, claim
from imgd_server.rpc._registry import RegistryServicer
from imgd_server.rpc._system import RegistryInside, SystemServicer
from imgd_server.rpc._transfers import TransferServicer
from imgd_server.transfer import TransferManager

__all__ = ["GrpcServer"]

_OPTIONS = (
    # Two daemons on one port would each get half of the calls.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", int(MIN_KEEPALIVE_SECONDS * 1000)),
    ("grpc.keepalive_permit_without_calls", 1),
    # Finds watchers that vanished without a word.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)
# A socket's owner and group may call, and no one else.
_SOCKET_UMASK = 0o117
# Health watchers are told of a stop; one that does not read must not hold it up.
_ANNOUNCE_SECONDS = 1.0
_FLUSH_SECONDS = 0.5

# The base class of each service, which refuses what is not implemented, and how it is added.
_SERVICES: Mapping[str, tuple[type, Callable[[Any, grpc.aio.Server], None]]] = {
    "ArchiveService": (ArchiveServiceServicer, add_ArchiveServiceServicer_to_server),
    "ContainerService": (ContainerServiceServicer, add_ContainerServiceServicer_to_server),
    "ContentService": (ContentServiceServicer, add_ContentServiceServicer_to_server),
    "EventService": (EventServiceServicer, add_EventServiceServicer_to_server),
    "FilesystemService": (FilesystemServiceServicer, add_FilesystemServiceServicer_to_server),
    "ImageService": (ImageServiceServicer, add_ImageServiceServicer_to_server),
    "LeaseService": (LeaseServiceServicer, add_LeaseServiceServicer_to_server),
    "RegistryService": (RegistryServiceServicer, add_RegistryServiceServicer_to_server),
    "SystemService": (SystemServiceServicer, add_SystemServiceServicer_to_server),
    "TransferService": (TransferServiceServicer, add_TransferServiceServicer_to_server),
}


class _Accepting:
    """A server as generated code sees it, which adds methods by their handlers alone.

    For each method that is registered besides, grpc.aio (since 1.83) has a task that waits for
    calls, and looks at all of them at each call: a fifth of a call's time for our eighty methods
    (grpc/grpc pull request 43461).
    """

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, service: str, handlers: object) -> None:
        """Leaves it at the handlers that were added."""


class GrpcServer:
    """Serves imgd.v1 with health, reflection and channelz."""

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        manager: TransferManager,
        housekeeper: Housekeeper,
        inside: RegistryInside,
        own_hosts: Collection[str],
        unpacker: LayerUnpacker | None = None,
        rootfs: RootfsManager | None = None,
        lookups: Lookups | None = None,
        looker: Looker | None = None,
        builder: ImageBuilder | None = None,
    ) -> None:
        snapshots = unpacker.store if unpacker else None
        system = SystemServicer(metadata, content, manager, housekeeper, inside, snapshots)
        self._events = EventServicer(metadata, manager.config.heartbeat)
        served: dict[str, object] = {
            "ContainerService": ContainerServicer(metadata, rootfs, builder, manager.proofs),
            "ContentService": ContentServicer(content, BlobUploads(metadata, content)),
            "EventService": self._events,
            "FilesystemService": FilesystemServicer(rootfs, looker),
            "ArchiveService": ArchiveServicer(manager, metadata, content, builder, rootfs),
            "ImageService": ImageServicer(metadata, content, own_hosts, builder, snapshots),
            "LeaseService": LeaseServicer(metadata),
            "SystemService": system,
            "TransferService": TransferServicer(manager),
        }
        self._registry = RegistryServicer(lookups, own_hosts) if lookups else None
        if self._registry:
            served["RegistryService"] = self._registry
        system.methods = sorted(
            f"{name}/{method}"
            for name, servicer in served.items()
            for method in _implemented(servicer, _SERVICES[name][0])
        )
        self._guard = GuardInterceptor(system.methods)
        self._server = grpc.aio.server(interceptors=[self._guard], options=_OPTIONS)
        self._claims: list[Claim] = []
        accepting = cast(grpc.aio.Server, _Accepting(self._server))
        for name, (base, add) in _SERVICES.items():
            add(served.get(name) or base(), accepting)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, accepting)
        self._names = [f"imgd.v1.{name}" for name in sorted(served)]
        reflection.enable_server_reflection(
            [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], accepting
        )
        channelz.add_channelz_servicer(accepting)

    async def start(self, addresses: Sequence[str]) -> list[str]:
        """Listens on every address (`unix:PATH`, `HOST:PORT`) or on none; returns those bound.

        Raises FIELD_INVALID for an address that can't be served, TOO_BUSY for one that is taken.
        """
        try:
            for address in addresses:
                self._claims.append(claim(address))
            bound = [self._bind(taken) for taken in self._claims]
            for name in ["", *self._names]:
                await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
            await self._server.start()
        except BaseException:
            await self.stop(0)
            raise
        return bound

    def _bind(self, taken: Claim) -> str:
        umask = os.umask(_SOCKET_UMASK)
        try:
            port = self._server.add_insecure_port(taken.target)
        except RuntimeError:
            raise Error(
                Reason.TOO_BUSY, f"listen: can't bind {taken.target}; another process may have it"
            ) from None
        finally:
            os.umask(umask)
        return taken.target if taken.path else f"{taken.target.rpartition(':')[0]}:{port}"

    async def announce_stop(self) -> None:
        """Tells health watchers that no new work should come, and refuses it; ends the streams of
        events."""
        self._guard.close()
        await self._events.stop()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._health.enter_graceful_shutdown(), _ANNOUNCE_SECONDS)

    async def stop(self, grace: float) -> None:
        """Lets the open calls end for `grace` seconds, and stops."""
        self._guard.close()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._guard.drained(), grace)
        # What has just ended has to be sent; health watches never end by themselves.
        await self._server.stop(min(grace, _FLUSH_SECONDS))
        if self._registry:
            self._registry.close()
        for taken in self._claims:
            taken.release()
        self._claims.clear()


def _implemented(servicer: object, base: type) -> list[str]:
    """The methods that a servicer overrides; the base class refuses them."""
    return [
        name
        for name in vars(base)
        if name[0].isupper() and getattr(type(servicer), name) is not getattr(base, name)
    ]

"""The gRPC server: servicers, standard services, addresses, stop."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import grpc.aio
from grpc_channelz.v1 import channelz
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from imgd.v1 import (
    archive_service_pb2_grpc,
    container_service_pb2_grpc,
    content_service_pb2_grpc,
    event_service_pb2_grpc,
    filesystem_service_pb2_grpc,
    image_service_pb2_grpc,
    lease_service_pb2_grpc,
    registry_service_pb2_grpc,
    system_service_pb2_grpc,
    transfer_service_pb2_grpc,
)
from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.metadata import MetadataStore
from imgd_server.rpc._content import ContentServicer
from imgd_server.rpc._images import ImageServicer
from imgd_server.rpc._interceptor import GuardInterceptor
from imgd_server.rpc._limits import MAX_MESSAGE_BYTES, MIN_KEEPALIVE_SECONDS
from imgd_server.rpc._listen import Claim, claim
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


class GrpcServer:
    """Serves imgd.v1 with health, reflection and channelz."""

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        manager: TransferManager,
        inside: RegistryInside,
        own_hosts: Collection[str],
    ) -> None:
        self._server = grpc.aio.server(interceptors=[GuardInterceptor()], options=_OPTIONS)
        self._claims: list[Claim] = []
        services: dict[str, object] = {}
        # The base classes answer UNIMPLEMENTED, with a reason, for what is still to come.
        archive = archive_service_pb2_grpc.ArchiveServiceServicer()
        container = container_service_pb2_grpc.ContainerServiceServicer()
        event = event_service_pb2_grpc.EventServiceServicer()
        filesystem = filesystem_service_pb2_grpc.FilesystemServiceServicer()
        lease = lease_service_pb2_grpc.LeaseServiceServicer()
        registry = registry_service_pb2_grpc.RegistryServiceServicer()
        images = ImageServicer(metadata, content, own_hosts)
        transfers = TransferServicer(manager)
        contents = ContentServicer(content)
        system = SystemServicer(metadata, content, manager, inside, services)
        services |= {
            "ContentService": contents,
            "ImageService": images,
            "SystemService": system,
            "TransferService": transfers,
        }
        server = self._server
        archive_service_pb2_grpc.add_ArchiveServiceServicer_to_server(archive, server)
        container_service_pb2_grpc.add_ContainerServiceServicer_to_server(container, server)
        content_service_pb2_grpc.add_ContentServiceServicer_to_server(contents, server)
        event_service_pb2_grpc.add_EventServiceServicer_to_server(event, server)
        filesystem_service_pb2_grpc.add_FilesystemServiceServicer_to_server(filesystem, server)
        image_service_pb2_grpc.add_ImageServiceServicer_to_server(images, server)
        lease_service_pb2_grpc.add_LeaseServiceServicer_to_server(lease, server)
        registry_service_pb2_grpc.add_RegistryServiceServicer_to_server(registry, server)
        system_service_pb2_grpc.add_SystemServiceServicer_to_server(system, server)
        transfer_service_pb2_grpc.add_TransferServiceServicer_to_server(transfers, server)
        self._health = health.aio.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        self._names = [f"imgd.v1.{name}" for name in sorted(services)]
        reflection.enable_server_reflection(
            [*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME], server
        )
        channelz.add_channelz_servicer(server)

    async def start(self, addresses: Sequence[str]) -> list[str]:
        """Listens on every address (`unix:PATH`, `HOST:PORT`) or on none; returns those bound."""
        bound = []
        try:
            for address in addresses:
                taken = claim(address)
                self._claims.append(taken)
                port = self._server.add_insecure_port(taken.target)
                bound.append(
                    taken.target if taken.path else f"{taken.target.rpartition(':')[0]}:{port}"
                )
            await self._server.start()
        except RuntimeError as error:
            self._release()
            raise Error(Reason.TOO_BUSY, f"can't listen on {addresses}: {error}") from None
        except Error:
            self._release()
            raise
        for taken in self._claims:
            taken.protect()
        for name in ["", *self._names]:
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        return bound

    async def announce_stop(self) -> None:
        """Tells health watchers that no new work should come."""
        await self._health.enter_graceful_shutdown()

    async def stop(self, grace: float) -> None:
        """Refuses new calls, lets the open ones end for `grace` seconds, and stops."""
        await self._server.stop(grace)
        self._release()

    def _release(self) -> None:
        for taken in self._claims:
            taken.release()
        self._claims.clear()

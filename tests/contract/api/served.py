"""The API as any client meets it: a server in this process, on a socket, over real stores."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc
import grpc.aio
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from imgd.v1.content_service_pb2_grpc import ContentServiceStub
from imgd.v1.filesystem_service_pb2_grpc import FilesystemServiceStub
from imgd.v1.image_service_pb2_grpc import ImageServiceStub
from imgd.v1.registry_service_pb2_grpc import RegistryServiceStub
from imgd.v1.system_service_pb2_grpc import SystemServiceStub
from imgd.v1.transfer_service_pb2_grpc import TransferServiceStub
from imgd_server.content import LocalContentStore
from imgd_server.images import Housekeeper, ImageBuilder, LayerIndexes, Looker, describe
from imgd_server.metadata import ImageRecord, Name, SqliteMetadataStore, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform, Reference
from imgd_server.registry import HttpRegistryClient, Lookups, RegistryConfig
from imgd_server.rootfs import Limits
from imgd_server.rpc import GrpcServer, RegistryInside
from imgd_server.transfer import RetryPolicy, TransferConfig, TransferManager, now_us
from tests.fake_images import FakeImage

if TYPE_CHECKING:
    from imgd.v1.content_service_pb2_grpc import ContentServiceAsyncStub
    from imgd.v1.filesystem_service_pb2_grpc import FilesystemServiceAsyncStub
    from imgd.v1.image_service_pb2_grpc import ImageServiceAsyncStub
    from imgd.v1.registry_service_pb2_grpc import RegistryServiceAsyncStub
    from imgd.v1.system_service_pb2_grpc import SystemServiceAsyncStub
    from imgd.v1.transfer_service_pb2_grpc import TransferServiceAsyncStub

__all__ = ["AMD64", "Api", "Refusal", "read", "refusal", "serve"]

AMD64 = Platform("linux", "amd64")
OWN_HOST = "images.test"

M = TypeVar("M", bound=Message)
T = TypeVar("T")


@dataclass
class Api:
    """A running server, its stores, and stubs on one channel."""

    address: str
    server: GrpcServer
    metadata: SqliteMetadataStore
    content: LocalContentStore
    manager: TransferManager
    channel: grpc.aio.Channel
    logs: list[MutableMapping[str, Any]] = field(default_factory=list)
    """What it logged; a test that provokes an error takes it out."""
    files: FilesystemServiceAsyncStub = field(init=False)
    images: ImageServiceAsyncStub = field(init=False)
    contents: ContentServiceAsyncStub = field(init=False)
    transfers: TransferServiceAsyncStub = field(init=False)
    system: SystemServiceAsyncStub = field(init=False)
    registry: RegistryServiceAsyncStub = field(init=False)

    def __post_init__(self) -> None:
        self.files = FilesystemServiceStub(self.channel)
        self.images = ImageServiceStub(self.channel)
        self.contents = ContentServiceStub(self.channel)
        self.transfers = TransferServiceStub(self.channel)
        self.system = SystemServiceStub(self.channel)
        self.registry = RegistryServiceStub(self.channel)

    async def store(
        self, image: FakeImage, *names: str, without: Iterable[str] = ()
    ) -> ImageRecord:
        """Stores an image under names, without the blobs or manifests of some digests."""
        blobs = {**image.blobs, **{digest: raw for digest, (_, raw) in image.manifests.items()}}
        for digest in blobs.keys() - set(without):
            self.put(blobs[digest])
        target = Descriptor(image.media_type, Digest(image.digest), len(image.raw))
        described = describe(self.content, target, AMD64)

        def show(session: WriteSession) -> ImageRecord:
            record = session.put_image(described.record, described.platforms, described.blobs)
            for name in names:
                parsed = Reference.parse(name)
                session.put_name(
                    Name(name, parsed.name, by_digest=parsed.digest is not None), record.uid
                )
            found = session.image(record.uid)
            assert found
            return found

        return await self.metadata.write(show)

    def put(self, data: bytes) -> Digest:
        """Stores a blob."""
        digest = Digest.of(data)
        with self.content.ingest(digest, digest, len(data)) as ingest:
            ingest.write(data)
            ingest.commit()
        return digest


@asynccontextmanager
async def serve(
    folder: Path, *, search_host: str = "search.invalid", **transfers: Any
) -> AsyncIterator[Api]:
    """Serves from `folder` on a socket in it; `transfers` are settings of TransferConfig."""
    metadata = await SqliteMetadataStore.open(folder / "metadata.db")
    content = LocalContentStore(folder / "content")
    registry = HttpRegistryClient(RegistryConfig())
    settings = {"max_bytes_per_second": 1 << 40, **transfers}
    config = TransferConfig(retry=RetryPolicy(first=0.001, ceiling=0.001), **settings)
    manager = TransferManager(metadata, content, registry, config)
    await manager.open()
    inside = RegistryInside("127.0.0.1:9", OWN_HOST, [f"{OWN_HOST}/samples/python"])
    looker = Looker(metadata, content, LayerIndexes(folder / "indexes"))
    server = GrpcServer(
        metadata,
        content,
        manager,
        Housekeeper(metadata, content, now_us),
        inside,
        [OWN_HOST],
        lookups=Lookups(registry, search_host),
        looker=looker,
        builder=ImageBuilder(metadata, content, None, Limits()),
    )
    try:
        (address,) = await server.start([f"unix:{folder / 'imgd.sock'}"])
        async with grpc.aio.insecure_channel(address) as channel:
            yield Api(address, server, metadata, content, manager, channel)
    finally:
        await server.announce_stop()
        await manager.close()
        await server.stop(1)
        looker.close()
        registry.close()
        await metadata.close()


@dataclass(frozen=True)
class Refusal:
    """A failed call, read as a client reads it."""

    code: str
    reason: str
    message: str
    metadata: dict[str, str]
    status: status_pb2.Status

    @classmethod
    def of(cls, error: grpc.aio.AioRpcError) -> Self:
        """The refusal in an error of ours. Fails where it is not as errors.proto says."""
        raw = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
        assert isinstance(raw, bytes), error
        assert len(raw) < 4096
        status = status_pb2.Status.FromString(raw)
        code: tuple[int, str] = error.code().value
        assert (status.code, status.message) == (code[0], error.details())
        info = error_details_pb2.ErrorInfo()
        assert status.details[0].Unpack(info)
        assert info.domain == "imgd.dev"
        return cls(error.code().name, info.reason, status.message, dict(info.metadata), status)

    def detail(self, kind: type[M]) -> M:
        """The detail of a kind."""
        found = kind()
        assert any(one.Unpack(found) for one in self.status.details), self.status
        return found

    @property
    def field(self) -> str:
        """The field that BadRequest names."""
        return self.detail(error_details_pb2.BadRequest).field_violations[0].field


async def refusal(call: Any) -> Refusal:
    """The refusal of a call (a stream is read to it)."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await (read(call) if hasattr(call, "__aiter__") else call)
    return Refusal.of(caught.value)


async def read(call: AsyncIterable[T]) -> list[T]:
    """All that a stream holds."""
    return [answer async for answer in call]

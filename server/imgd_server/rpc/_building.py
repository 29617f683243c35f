"""New images: commit and append."""

from __future__ import annotations

from typing import Any

from google.protobuf import timestamp_pb2

from imgd.v1 import container_service_pb2, image_service_pb2
from imgd_server.images import ConfigChanges, ImageBuilder, NewAppend, NewCommit, Shown
from imgd_server.metadata import MetadataStore
from imgd_server.oci import Digest, Platform
from imgd_server.rootfs import Compression
from imgd_server.rpc import _convert
from imgd_server.rpc._answers import change, known_answer

__all__ = ["append_image", "commit_container", "config_changes"]

_COMPRESSIONS = {
    image_service_pb2.LAYER_COMPRESSION_UNSPECIFIED: Compression.GZIP,
    image_service_pb2.LAYER_COMPRESSION_GZIP: Compression.GZIP,
    image_service_pb2.LAYER_COMPRESSION_ZSTD: Compression.ZSTD,
}


async def commit_container(
    metadata: MetadataStore,
    builder: ImageBuilder,
    request: container_service_pb2.CommitContainerRequest,
) -> container_service_pb2.CommitContainerResponse:
    """Makes an image of a container's changes."""
    known: container_service_pb2.CommitContainerResponse | None = await known_answer(
        metadata, request
    )
    if known is not None:
        return known
    wanted = NewCommit(
        request.name.removeprefix("containers/"),
        request.tag,
        request.author,
        request.message,
        config_changes(request.changes),
        request.allow_running,
        _microseconds(request.create_time) if request.HasField("create_time") else None,
        _COMPRESSIONS[request.compression],
    )
    answer = container_service_pb2.CommitContainerResponse
    return await builder.commit(wanted, _recorder(metadata, request, answer))


async def append_image(
    metadata: MetadataStore,
    builder: ImageBuilder,
    request: image_service_pb2.AppendImageRequest,
) -> image_service_pb2.AppendImageResponse:
    """Makes an image of a base and of layers."""
    known: image_service_pb2.AppendImageResponse | None = await known_answer(metadata, request)
    if known is not None:
        return known
    wanted = NewAppend(
        request.base,
        [Digest.parse(one) for one in request.layers],
        request.tag,
        Platform.parse(request.platform) if request.platform else None,
        request.author,
        request.comment,
        config_changes(request.changes),
        _microseconds(request.create_time) if request.HasField("create_time") else None,
    )
    answer = image_service_pb2.AppendImageResponse
    return await builder.append(wanted, _recorder(metadata, request, answer))


def _recorder(metadata: MetadataStore, request: Any, answer: Any) -> Any:
    """What runs the end of the work once, however often it is asked for."""

    async def record(show: Shown) -> Any:
        return await change(
            metadata,
            request,
            lambda session, now: answer(image=_convert.image(show(session, now))),
        )

    return record


def config_changes(message: Any) -> ConfigChanges:
    """Changes of a config, off the wire (a ConfigChanges message)."""

    def words(name: str) -> tuple[str, ...] | None:
        return tuple(getattr(message, name).words) if message.HasField(name) else None

    def text(name: str) -> str | None:
        return getattr(message, name) if message.HasField(name) else None

    return ConfigChanges(
        cmd=words("cmd"),
        entrypoint=words("entrypoint"),
        env=dict(message.env),
        exposed_ports=tuple(message.exposed_ports),
        labels=dict(message.labels),
        user=text("user"),
        volumes=tuple(message.volumes),
        working_dir=text("working_dir"),
        stop_signal=text("stop_signal"),
        on_build=tuple(message.on_build),
        health_check=words("health_check"),
        instructions=tuple(message.instructions),
    )


def _microseconds(moment: timestamp_pb2.Timestamp) -> int:
    return moment.seconds * 1_000_000 + moment.nanos // 1000

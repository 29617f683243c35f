"""What is implemented, and how what is not says so."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor

from imgd.v1 import (
    archive_service_pb2,
    container_service_pb2,
    content_service_pb2,
    event_service_pb2,
    filesystem_service_pb2,
    image_service_pb2,
    lease_service_pb2,
    registry_service_pb2,
    system_service_pb2,
    transfer_service_pb2,
)
from imgd_server.oci import MAX_MANIFEST_BYTES, Platform
from tests.contract.api.served import Api, refusal

METHODS: list[MethodDescriptor] = [
    method
    for module in (
        archive_service_pb2,
        container_service_pb2,
        content_service_pb2,
        event_service_pb2,
        filesystem_service_pb2,
        image_service_pb2,
        lease_service_pb2,
        registry_service_pb2,
        system_service_pb2,
        transfer_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
]


def short(method: MethodDescriptor) -> str:
    return f"{method.containing_service.name}/{method.name}"


# A net for what never answers.
PATIENCE = 60.0


async def call(channel: grpc.aio.Channel, method: MethodDescriptor) -> None:
    """Calls with an empty request, and reads what comes first: some streams never end."""
    request = message_factory.GetMessageClass(method.input_type)
    answer: Any = message_factory.GetMessageClass(method.output_type)
    shape = f"{'stream' if method.client_streaming else 'unary'}_" + (
        "stream" if method.server_streaming else "unary"
    )
    make = getattr(channel, shape)(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=request.SerializeToString,
        response_deserializer=answer.FromString,
    )
    asked = iter([request()]) if method.client_streaming else request()
    started = make(asked, timeout=PATIENCE)
    if method.server_streaming:
        await started.read()
        started.cancel()
    else:
        await started


def test_there_are_services_to_look_at() -> None:
    assert len({method.containing_service for method in METHODS}) == 10
    assert len(METHODS) > 50


@pytest.mark.parametrize("method", [pytest.param(one, id=short(one)) for one in METHODS])
async def test_a_method_is_either_listed_or_refused(api: Api, method: MethodDescriptor) -> None:
    asked = await api.system.GetCapabilities(system_service_pb2.GetCapabilitiesRequest())
    if short(method) in asked.capabilities.methods:
        try:
            await call(api.channel, method)
            code = grpc.StatusCode.OK
        except grpc.aio.AioRpcError as error:
            code = error.code()
        # Some want more than an empty request.
        assert code in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)
    else:
        found = await refusal(call(api.channel, method))
        assert (found.code, found.reason) == ("UNIMPLEMENTED", "UNSUPPORTED")
        assert short(method) in found.message


async def test_capabilities(api: Api) -> None:
    answer = await api.system.GetCapabilities(system_service_pb2.GetCapabilitiesRequest())
    found = answer.capabilities
    assert list(found.methods) == sorted(found.methods)
    assert set(found.methods) <= {short(method) for method in METHODS}
    assert set(found.methods) >= {
        "ContentService/ReadBlob",
        "ImageService/ListImages",
        "SystemService/GetCapabilities",
        "TransferService/Pull",
        "TransferService/WatchTransfer",
    }
    assert list(found.transfers) == [
        "registry>store",
        "store>registry",
        "registry>registry",
        "archive>store",
        "layout>store",
        "store>layout",
    ]
    limits = found.limits
    assert limits.max_manifest_bytes == MAX_MANIFEST_BYTES
    assert limits.min_keepalive_interval.seconds == 10
    config = api.manager.config
    assert limits.max_running_transfers == config.max_running
    assert limits.max_concurrent_blobs == config.max_concurrent_blobs
    assert limits.max_pending_transfers == config.max_pending
    assert limits.max_bytes_per_second == config.max_bytes_per_second == 1 << 40
    assert limits.transfer_retention.seconds == config.retention
    assert limits.heartbeat_interval.seconds == config.heartbeat
    for bound in (
        limits.max_message_bytes,
        limits.max_index_depth,
        limits.max_manifests,
        limits.max_open_calls,
    ):
        assert bound > 0
    assert limits.min_watch_interval.ToMicroseconds() == round(config.min_watch_interval * 1e6)


async def test_the_largest_message_is_the_one_that_is_stated(api: Api) -> None:
    answer = await api.system.GetCapabilities(system_service_pb2.GetCapabilitiesRequest())
    most = answer.capabilities.limits.max_message_bytes
    request = image_service_pb2.ParseReferenceRequest
    envelope = len(request(text="x" * most).SerializeToString()) - most
    # Too long as a text, and that is what the daemon says: it has read the message.
    within = request(text="x" * (most - envelope))
    assert (await refusal(api.images.ParseReference(within))).field == "text"
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await api.images.ParseReference(request(text="x" * (most - envelope + 1)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_info(api: Api) -> None:
    info = (await api.system.GetInfo(system_service_pb2.GetInfoRequest())).info
    assert info.version == importlib.metadata.version("imgd")
    assert list(info.api_versions) == ["imgd.v1"]
    assert info.default_platform.architecture == Platform.host().architecture
    assert (info.image_count, info.running_transfer_count) == (0, 0)
    assert info.disk_free_bytes > 0
    assert info.start_time.seconds > 1_600_000_000
    assert info.registry_inside.host == "images.test"
    assert list(info.registry_inside.samples) == ["images.test/samples/python"]


async def test_a_method_that_does_not_exist_has_grpcs_own_error(api: Api) -> None:
    unknown: Any = api.channel.unary_unary("/imgd.v1.ImageService/NoSuchMethod")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await unknown(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "grpc-status-details-bin" not in dict(caught.value.trailing_metadata() or ())


@pytest.mark.parametrize(
    "raw",
    [
        # A text that is not UTF-8, a length beyond the end, a wire type that there is not.
        b"\x0a\x01\xff",
        b"\x0a\x7fabc",
        b"\x0f\x01",
    ],
)
@pytest.mark.parametrize("method", ["ImageService/GetImage", "TransferService/Pull"])
async def test_bytes_that_are_no_message_are_the_callers_mistake(
    api: Api, method: str, raw: bytes
) -> None:
    streams = method.endswith("Pull")
    shape = api.channel.unary_stream if streams else api.channel.unary_unary
    call: Any = shape(f"/imgd.v1.{method}")
    found = await refusal(call(raw))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FIELD_INVALID")
    assert "protobuf" not in found.message


@pytest.mark.parametrize("streams", [False, True])
async def test_a_defect_shows_an_incident_and_nothing_else(
    api: Api, monkeypatch: pytest.MonkeyPatch, streams: bool
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("/var/lib/imgd: hunter2")

    monkeypatch.setattr(api.content, "open" if streams else "info", fail)
    digest = "sha256:" + "00" * 32
    call: Any = (
        api.contents.ReadBlob(content_service_pb2.ReadBlobRequest(digest=digest))
        if streams
        else api.contents.GetBlob(content_service_pb2.GetBlobRequest(digest=digest))
    )
    found = await refusal(call)
    assert (found.code, found.reason) == ("INTERNAL", "INTERNAL")
    assert "hunter2" not in str(found)
    assert "Traceback" not in str(found)
    (entry,) = api.logs
    assert entry["incident"] in found.message
    assert "hunter2" in str(entry["exc_info"])
    api.logs.clear()

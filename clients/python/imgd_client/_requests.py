"""Requests that both clients build alike."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TypedDict, Unpack

from google.protobuf import duration_pb2, timestamp_pb2

from imgd.v1 import transfer_pb2, transfer_service_pb2

__all__ = [
    "CopyOptions",
    "PullOptions",
    "PushOptions",
    "container_name",
    "duration",
    "lease_name",
    "new_request_id",
    "selection",
    "start_copy",
    "start_pull",
    "start_push",
    "strings",
    "timestamp",
    "transfer_name",
    "watch",
    "with_request_id",
]


def new_request_id() -> str:
    """A fresh ID for a request that must not be carried out twice."""
    return uuid.uuid4().hex


def duration(seconds: float) -> duration_pb2.Duration:
    """Seconds as a message."""
    whole = int(seconds)
    return duration_pb2.Duration(seconds=whole, nanos=int((seconds - whole) * 1e9))


def transfer_name(name: str) -> str:
    """A transfer's resource name, of itself or of the ID alone."""
    return _resource("transfers", name)


def container_name(name: str) -> str:
    """A container's resource name, of itself or of the ID alone."""
    return _resource("containers", name)


def lease_name(name: str) -> str:
    """A lease's resource name, of itself or of the ID alone."""
    return _resource("leases", name)


def _resource(collection: str, name: str) -> str:
    return name if "/" in name else f"{collection}/{name}"


def timestamp(time: datetime | None) -> timestamp_pb2.Timestamp | None:
    """A time as a message. One without a zone is of the local one."""
    if time is None:
        return None
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(time.astimezone(UTC))
    return found


def strings(name: str, values: Iterable[str]) -> list[str]:
    """The values. Raises TypeError for a string, whose letters are hardly what was meant."""
    if isinstance(values, str):
        raise TypeError(f"{name} is a list of strings, such as [{values!r}]")
    return [*values]


def selection(
    platforms: Iterable[str], all_platforms: bool
) -> transfer_pb2.PlatformSelection | None:
    """The platforms to move; None for the daemon's own."""
    wanted = list(platforms)
    if not wanted and not all_platforms:
        return None
    return transfer_pb2.PlatformSelection(platforms=wanted, all=all_platforms)


class PullOptions(TypedDict, total=False):
    """What a pull can be told."""

    platforms: Iterable[str]
    """`os/architecture[/variant]` each; none for the daemon's own."""
    all_platforms: bool
    """Every platform that the index has."""
    policy: transfer_pb2.PullPolicy.ValueType
    """When to ask the registry; always, if not said."""
    credentials: transfer_pb2.RegistryCredentials | None
    """Credentials for this pull; None for the daemon's configuration."""
    all_tags: bool
    """Every tag of the repository that the reference then names."""
    include_referrers: bool
    """Also fetch signatures, attestations and what else refers to the image."""
    tags: Iterable[str]
    """Names to give to the image instead of its own."""
    unpack: bool
    """Also unpack the layers."""
    lease: transfer_pb2.LeaseSpec | None
    """A lease to take on the image."""
    limits: transfer_pb2.TransferLimits | None
    """Bounds for this transfer."""
    request_id: str
    """For safe retries; generated, if not said."""


def start_pull(
    reference: str, **options: Unpack[PullOptions]
) -> transfer_service_pb2.StartTransferRequest:
    """A pull as a transfer from a registry to the store."""
    platforms = strings("platforms", options.get("platforms", ()))
    source = transfer_pb2.RegistryEndpoint(
        reference=reference,
        credentials=options.get("credentials"),
        all_tags=options.get("all_tags", False),
        include_referrers=options.get("include_referrers", False),
    )
    destination = transfer_pb2.StoreEndpoint(
        tags=options.get("tags", ()),
        policy=options.get("policy", transfer_pb2.PULL_POLICY_UNSPECIFIED),
        unpack=options.get("unpack", False),
        lease=options.get("lease"),
    )
    return transfer_service_pb2.StartTransferRequest(
        source=transfer_pb2.TransferSource(registry=source),
        destination=transfer_pb2.TransferDestination(store=destination),
        platforms=selection(platforms, options.get("all_platforms", False)),
        limits=options.get("limits"),
        request_id=options.get("request_id") or new_request_id(),
    )


class PushOptions(TypedDict, total=False):
    """What a push can be told."""

    platforms: Iterable[str]
    """`os/architecture[/variant]` each; none for all that is stored."""
    all_platforms: bool
    """The whole index, or nothing."""
    require_complete: bool
    """Fail rather than push only what is stored of an index."""
    credentials: transfer_pb2.RegistryCredentials | None
    """Credentials for this push; None for the daemon's configuration."""
    all_tags: bool
    """Every tag of the repository that `image` then names."""
    include_referrers: bool
    """Also push signatures, attestations and what else refers to the image."""
    limits: transfer_pb2.TransferLimits | None
    """Bounds for this transfer."""
    request_id: str
    """For safe retries; generated, if not said."""


def start_push(
    image: str, reference: str = "", **options: Unpack[PushOptions]
) -> transfer_service_pb2.StartTransferRequest:
    """A push as a transfer from the store to a registry, by default to the image's own name."""
    destination = transfer_pb2.RegistryEndpoint(
        reference=reference or image,
        credentials=options.get("credentials"),
        all_tags=options.get("all_tags", False),
        include_referrers=options.get("include_referrers", False),
    )
    platforms = strings("platforms", options.get("platforms", ()))
    wanted = selection(platforms, options.get("all_platforms", False))
    if options.get("require_complete"):
        wanted = wanted or transfer_pb2.PlatformSelection()
        wanted.require_complete = True
    return transfer_service_pb2.StartTransferRequest(
        source=transfer_pb2.TransferSource(store=transfer_pb2.StoreEndpoint(image=image)),
        destination=transfer_pb2.TransferDestination(registry=destination),
        platforms=wanted,
        limits=options.get("limits"),
        request_id=options.get("request_id") or new_request_id(),
    )


class CopyOptions(TypedDict, total=False):
    """What a copy can be told."""

    platforms: Iterable[str]
    """`os/architecture[/variant]` each; none for the daemon's own."""
    all_platforms: bool
    """Every platform that the index has."""
    source_credentials: transfer_pb2.RegistryCredentials | None
    """Credentials for reading; None for the daemon's configuration."""
    destination_credentials: transfer_pb2.RegistryCredentials | None
    """Credentials for writing; None for the daemon's configuration."""
    all_tags: bool
    """Every tag of the repository that the source then names."""
    include_referrers: bool
    """Also copy signatures, attestations and what else refers to the image."""
    limits: transfer_pb2.TransferLimits | None
    """Bounds for this transfer."""
    request_id: str
    """For safe retries; generated, if not said."""


def start_copy(
    source: str, destination: str, **options: Unpack[CopyOptions]
) -> transfer_service_pb2.StartTransferRequest:
    """A copy as a transfer from a registry to a registry."""
    platforms = strings("platforms", options.get("platforms", ()))
    read = transfer_pb2.RegistryEndpoint(
        reference=source,
        credentials=options.get("source_credentials"),
        all_tags=options.get("all_tags", False),
        include_referrers=options.get("include_referrers", False),
    )
    written = transfer_pb2.RegistryEndpoint(
        reference=destination, credentials=options.get("destination_credentials")
    )
    return transfer_service_pb2.StartTransferRequest(
        source=transfer_pb2.TransferSource(registry=read),
        destination=transfer_pb2.TransferDestination(registry=written),
        platforms=selection(platforms, options.get("all_platforms", False)),
        limits=options.get("limits"),
        request_id=options.get("request_id") or new_request_id(),
    )


def with_request_id(
    request: transfer_service_pb2.StartTransferRequest,
) -> transfer_service_pb2.StartTransferRequest:
    """The request, with an ID if it has none."""
    if request.request_id:
        return request
    copy = transfer_service_pb2.StartTransferRequest()
    copy.CopyFrom(request)
    copy.request_id = new_request_id()
    return copy


def watch(
    name: str, after_sequence: int, min_interval: float | None
) -> transfer_service_pb2.WatchTransferRequest:
    """A watch, attached again after the given event when there was one."""
    return transfer_service_pb2.WatchTransferRequest(
        name=name,
        after_sequence=after_sequence,
        min_interval=None if min_interval is None else duration(min_interval),
    )

"""Our values as messages. Pure; one function a message."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf import duration_pb2, timestamp_pb2

from imgd.v1 import descriptor_pb2, errors_pb2, image_pb2, transfer_pb2
from imgd_server.errors import Error
from imgd_server.images import Details
from imgd_server.metadata import ImageRecord, PlatformRecord, TransferRecord
from imgd_server.oci import Descriptor, FormatError, Platform, Reference
from imgd_server.registry import Credentials
from imgd_server.rpc._limits import MAX_ANSWER_BYTES
from imgd_server.rpc._status import cut
from imgd_server.transfer import (
    Activity,
    ArchiveEndpoint,
    Endpoint,
    LayoutEndpoint,
    Node,
    NodeState,
    Outcome,
    PullPolicy,
    RegistryEndpoint,
    TransferSpec,
    TransferState,
    TransferView,
    WatchEvent,
    WatchEventKind,
    now_us,
)

__all__ = [
    "Room",
    "credentials",
    "descriptor",
    "duration",
    "image",
    "microseconds",
    "platform",
    "reference",
    "timestamp",
    "transfer",
    "transfer_event",
]


def timestamp(microseconds: int) -> timestamp_pb2.Timestamp:
    """Microseconds since the epoch as a Timestamp; times before it keep positive nanos."""
    seconds, rest = divmod(microseconds, 1_000_000)
    return timestamp_pb2.Timestamp(seconds=seconds, nanos=rest * 1000)


def timestamp_of(moment: datetime.datetime) -> timestamp_pb2.Timestamp:
    """An aware datetime as a Timestamp."""
    return timestamp(round(moment.timestamp() * 1_000_000))


def duration(seconds: float) -> duration_pb2.Duration:
    """Seconds as a Duration."""
    whole, rest = divmod(round(seconds * 1_000_000), 1_000_000)
    return duration_pb2.Duration(seconds=whole, nanos=rest * 1000)


def microseconds(value: duration_pb2.Duration) -> int:
    """A Duration in microseconds."""
    return value.seconds * 1_000_000 + value.nanos // 1000


# Media types have at most 255 characters (RFC 6838, 4.2), and parts of platforms fewer. Manifests
# are strangers' work: longer ones are cut, so that an answer holds them.
_MAX_WORD = 255


def platform(value: Platform) -> descriptor_pb2.Platform:
    """A platform."""
    return descriptor_pb2.Platform(
        os=cut(value.os, _MAX_WORD),
        architecture=cut(value.architecture, _MAX_WORD),
        variant=cut(value.variant, _MAX_WORD),
        os_version=cut(value.os_version, _MAX_WORD),
        os_features=[cut(feature, _MAX_WORD) for feature in value.os_features[:16]],
    )


def descriptor(value: Descriptor, *, brief: bool = False) -> descriptor_pb2.Descriptor:
    """A descriptor; `brief` leaves out what can be long (annotations, URLs), and always data."""
    message = descriptor_pb2.Descriptor(
        media_type=cut(value.media_type, _MAX_WORD),
        digest=value.digest,
        size=value.size,
        artifact_type=cut(value.artifact_type, _MAX_WORD),
    )
    if not brief:
        message.urls.extend(value.urls)
        message.annotations.update(value.annotations)
    if value.platform:
        message.platform.CopyFrom(platform(value.platform))
    return message


def reference(value: Reference, own_hosts: Iterable[str]) -> image_pb2.Reference:
    """A parsed reference."""
    kind = value.classify(tuple(own_hosts)).name
    return image_pb2.Reference(
        full=str(value),
        familiar=value.familiar(),
        domain=value.domain,
        path=value.path,
        tag=value.tag or "",
        digest=value.digest or "",
        reference_class=image_pb2.ReferenceClass.Value(f"REFERENCE_CLASS_{kind}"),
    )


# As in a status: for people to read, and never long.
_MAX_TEXT = 1024


def failure(error: Error) -> errors_pb2.Failure:
    """An error as data."""
    message = errors_pb2.Failure(
        code=error.kind.value,
        reason=errors_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason.name}"),
        message=cut(error.message, _MAX_TEXT),
        origin=errors_pb2.FailureOrigin.Name(error.origin.value),  # type: ignore[arg-type]
        reference=cut(error.reference, _MAX_TEXT),
        digest=cut(error.digest, _MAX_TEXT),
        host=cut(error.host, _MAX_TEXT),
        http_status=error.http_status,
        registry_code=cut(error.registry_code, _MAX_TEXT),
        metadata={key: cut(value, _MAX_TEXT) for key, value in error.metadata.items()},
    )
    if error.retry_after is not None:
        message.retry_delay.CopyFrom(duration(error.retry_after))
    return message


def credentials(message: transfer_pb2.RegistryCredentials) -> Credentials:
    """What a message says of how to authenticate."""
    kind = message.WhichOneof("credentials")
    if kind == "user_password":
        return Credentials(message.user_password.user, message.user_password.password)
    return Credentials(
        identity_token=message.identity_token,
        registry_token=message.registry_token,
        anonymous=kind == "anonymous",
    )


# --- images


def image(record: ImageRecord, details: Details | None = None) -> image_pb2.Image:
    """An image; in the FULL view with its details. What a message can't hold is left out."""
    unpacked = record.unpacked_size
    message = image_pb2.Image(
        name=f"images/{record.uid}",
        image_id=record.image_id,
        target=descriptor(record.target, brief=True),
        dangling=not record.names,
        kind=image_pb2.ImageKind.Value(f"IMAGE_KIND_{record.kind.upper()}"),
        artifact_type=cut(record.artifact_type, _MAX_WORD),
        store_time=timestamp(record.stored),
        size=record.content_size if unpacked is None else unpacked,
        content_size=record.content_size,
        unpacked_size=unpacked,
        pinned=record.pinned,
        complete=record.complete,
    )
    if record.created is not None:
        message.create_time.CopyFrom(timestamp(record.created))
    if record.platform:
        message.platform.CopyFrom(stored_platform(record.platform))
    room = Room(MAX_ANSWER_BYTES - message.ByteSize() - _ENVELOPE)
    message.tags.extend(room.take(name.name for name in record.names if not name.by_digest))
    by_digest = (name.name for name in record.names if name.by_digest)
    message.digest_references.extend(room.take(by_digest))
    message.repo_digests.extend(room.take(record.repo_digests))
    if details:
        if record.last_used is not None:
            message.last_use_time.CopyFrom(timestamp(record.last_used))
        message.platforms.extend(room.take(_image_platform(one) for one in details.platforms))
        message.labels.update(room.take(record.labels.items()))
        _hold(message, details)
    message.truncated = room.full
    return message


def _hold(message: image_pb2.Image, details: Details) -> None:
    holds = details.holds
    holders = [
        *((image_pb2.ImageHolder.KIND_CONTAINER, f"containers/{one}") for one in holds.containers),
        *((image_pb2.ImageHolder.KIND_LEASE, f"leases/{one}") for one in holds.leases),
        *([(image_pb2.ImageHolder.KIND_PIN, "")] if holds.pinned else []),
    ]
    for kind, name in holders[:_MAX_HOLDERS]:
        message.holders.add(kind=kind, name=name)
    message.holder_count = len(holders)
    message.container_count = len(holds.containers)
    message.shared_size = details.shared_size
    message.unique_size = details.unique_size


# As Image promises.
_MAX_HOLDERS = 100

# What surrounds an image's lists in an answer.
_ENVELOPE = 1024

T = TypeVar("T", str, tuple[str, str], image_pb2.ImagePlatform)


class Room:
    """How many bytes a message may still take; `full` once something did not fit."""

    def __init__(self, size: int) -> None:
        self._left = size
        self.full = False

    def take(self, values: Iterable[T]) -> Iterator[T]:
        """The first values, as many as there is room for."""
        for value in values:
            self._left -= _size(value) + 16
            if self._left < 0:
                self.full = True
                return
            yield value


def _size(value: str | tuple[str, str] | image_pb2.ImagePlatform) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, tuple):
        return sum(len(part.encode()) for part in value)
    return value.ByteSize()


def _image_platform(value: PlatformRecord) -> image_pb2.ImagePlatform:
    message = image_pb2.ImagePlatform(
        manifest=descriptor(value.manifest, brief=True),
        image_id=value.image_id,
        complete=value.complete,
        content_size=value.content_size,
    )
    if value.platform:
        message.platform.CopyFrom(stored_platform(value.platform))
    return message


@lru_cache(256)
def stored_platform(text: str) -> descriptor_pb2.Platform:
    """A platform as a manifest or config states it, which may be anything. To be copied from."""
    try:
        return platform(Platform.parse(text))
    except FormatError:
        os, _, rest = text.partition("/")
        architecture, _, variant = rest.partition("/")
        return platform(Platform(os, architecture, variant))


# --- transfers


def transfer(record: TransferRecord) -> transfer_pb2.Transfer:
    """A transfer's record."""
    spec = TransferSpec.from_json(record.spec)
    message = transfer_pb2.Transfer(
        name=f"transfers/{record.uid}",
        source=transfer_pb2.TransferSource(**_endpoint(spec.source)),
        destination=transfer_pb2.TransferDestination(**_endpoint(spec.destination)),
        platforms=transfer_pb2.PlatformSelection(
            platforms=spec.platforms,
            all=spec.all_platforms,
            require_complete=spec.require_complete,
        ),
        limits=transfer_pb2.TransferLimits(
            max_concurrency=spec.max_concurrency,
            max_bytes_per_second=spec.max_bytes_per_second,
        ),
        state=_state(record.state),
        create_time=timestamp(record.created),
        attempt=record.attempt,
    )
    for name in ("start", "end", "expire"):
        moment = {"start": record.started, "end": record.ended, "expire": record.expires}[name]
        if moment is not None:
            getattr(message, f"{name}_time").CopyFrom(timestamp(moment))
    if record.outcome is not None:
        message.outcome.CopyFrom(_outcome(Outcome.from_json(record.outcome)))
    return message


def _endpoint(value: Endpoint) -> dict[str, Any]:
    """An endpoint without credentials, under the name of its kind."""
    if isinstance(value, RegistryEndpoint):
        registry = transfer_pb2.RegistryEndpoint(
            reference=value.reference,
            all_tags=value.all_tags,
            include_referrers=value.include_referrers,
        )
        return {"registry": registry}
    if isinstance(value, ArchiveEndpoint):
        return {"archive": transfer_pb2.ArchiveEndpoint(images=value.images)}
    if isinstance(value, LayoutEndpoint):
        layout = transfer_pb2.LayoutEndpoint(path=value.path, ref_name=value.ref_name)
        return {"layout": layout}
    store = transfer_pb2.StoreEndpoint(
        image=value.image, tags=value.tags, policy=_policy(value.policy), unpack=value.unpack
    )
    if value.lease:
        store.lease.lease_id = value.lease.lease_id
        store.lease.ttl.CopyFrom(duration(value.lease.ttl))
    return {"store": store}


def _policy(value: PullPolicy) -> transfer_pb2.PullPolicy.ValueType:
    return transfer_pb2.PullPolicy.Value(f"PULL_POLICY_{value.name}")


def _state(name: str) -> transfer_pb2.TransferState.ValueType:
    return transfer_pb2.TransferState.Value(f"TRANSFER_STATE_{name}")


def _outcome(value: Outcome) -> transfer_pb2.TransferOutcome:
    message = transfer_pb2.TransferOutcome(
        pull_result=transfer_pb2.PullResult.Value(f"PULL_RESULT_{value.pull_result.name}"),
        image=f"images/{value.image}" if value.image else "",
        image_id=value.image_id,
        references=value.references,
        fetched_bytes=value.fetched_bytes,
        reused_bytes=value.reused_bytes,
        uploaded_bytes=value.uploaded_bytes,
        lease=f"leases/{value.lease}" if value.lease else "",
        warnings=value.warnings,
    )
    if value.target:
        message.target.CopyFrom(descriptor(value.target, brief=True))
    if value.failure:
        message.failure.CopyFrom(failure(value.failure))
    return message


def transfer_event(event: WatchEvent) -> transfer_pb2.TransferEvent:
    """One event of a watch."""
    message = transfer_pb2.TransferEvent(sequence=event.sequence, event_time=timestamp(now_us()))
    view = event.view
    if event.kind == WatchEventKind.HEARTBEAT:
        message.heartbeat.SetInParent()
        return message
    if event.kind == WatchEventKind.SNAPSHOT:
        part: transfer_pb2.TransferSnapshot | transfer_pb2.TransferUpdate = message.snapshot
        message.snapshot.transfer.CopyFrom(transfer(view.record))
    elif event.kind == WatchEventKind.UPDATE:
        part = message.update
        message.update.state = _state(view.record.state)
    else:
        message.finished.transfer.CopyFrom(transfer(view.record))
        message.finished.progress.CopyFrom(_progress(view))
        return message
    part.nodes.extend(_node(node) for node in event.nodes)
    part.progress.CopyFrom(_progress(view))
    return message


def _progress(view: TransferView) -> transfer_pb2.TransferProgress:
    progress = view.progress
    role = transfer_pb2.TRANSFER_ROLE_FOLLOWER if view.leader else transfer_pb2.TRANSFER_ROLE_LEADER
    message = transfer_pb2.TransferProgress(
        current_bytes=progress.current_bytes,
        total_bytes=progress.total_bytes,
        moved_bytes=progress.moved_bytes,
        bytes_per_second=progress.rate,
        done_nodes=progress.done_nodes,
        total_nodes=len(progress.nodes),
        role=role,
        leader=f"transfers/{view.leader}" if view.leader else "",
        follower_count=view.followers,
    )
    remaining = progress.remaining
    if remaining is not None and not TransferState[view.record.state].ended:
        message.estimated_remaining.CopyFrom(duration(remaining))
    return message


def _node(value: Node) -> transfer_pb2.TransferNode:
    message = transfer_pb2.TransferNode(
        node_id=value.node_id,
        kind=transfer_pb2.NodeKind.Value(f"NODE_KIND_{value.kind.name}"),
        parent_id=value.parent_id,
        layer_index=value.layer_index,
        state=transfer_pb2.NodeState.Value(f"NODE_STATE_{value.state.name}"),
        activities=[_activity(activity) for activity in value.activities],
        host=value.host,
        label=value.label,
    )
    if value.target:
        message.blob.CopyFrom(descriptor(value.target, brief=True))
    if value.retry and value.state is NodeState.RETRYING:
        message.retry.attempt = value.retry.attempt
        message.retry.next_time.CopyFrom(timestamp(value.retry.next_time))
        message.retry.failure.CopyFrom(failure(value.retry.failure))
    if value.failure:
        message.failure.CopyFrom(failure(value.failure))
    return message


def _activity(value: Activity) -> transfer_pb2.Activity:
    message = transfer_pb2.Activity(
        kind=transfer_pb2.ActivityKind.Value(f"ACTIVITY_KIND_{value.kind.name}"),
        current_bytes=value.current,
        total_bytes=value.total,
        start_time=timestamp(value.started),
        resumed_bytes=value.resumed,
    )
    if value.ended is not None:
        message.end_time.CopyFrom(timestamp(value.ended))
    return message

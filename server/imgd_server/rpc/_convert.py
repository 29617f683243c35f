"""Our values as messages. Pure; one function a message."""

from __future__ import annotations

import datetime
from collections.abc import Iterable

from google.protobuf import duration_pb2, timestamp_pb2

from imgd.v1 import descriptor_pb2, errors_pb2, image_pb2, transfer_pb2
from imgd_server.errors import Error
from imgd_server.metadata import ImageRecord, PlatformRecord, TransferRecord
from imgd_server.oci import Descriptor, Platform, Reference
from imgd_server.transfer import (
    Activity,
    Node,
    NodeState,
    Outcome,
    PullPolicy,
    TransferSpec,
    TransferState,
    TransferView,
    WatchEvent,
    WatchEventKind,
    now_us,
)

__all__ = [
    "descriptor",
    "duration",
    "image",
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


def platform(value: Platform) -> descriptor_pb2.Platform:
    """A platform."""
    return descriptor_pb2.Platform(
        os=value.os,
        architecture=value.architecture,
        variant=value.variant,
        os_version=value.os_version,
        os_features=value.os_features,
    )


def descriptor(value: Descriptor, *, brief: bool = False) -> descriptor_pb2.Descriptor:
    """A descriptor; `brief` leaves out what can be long (annotations, URLs), and always data."""
    message = descriptor_pb2.Descriptor(
        media_type=value.media_type,
        digest=value.digest,
        size=value.size,
        artifact_type=value.artifact_type,
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


def failure(error: Error) -> errors_pb2.Failure:
    """An error as data."""
    message = errors_pb2.Failure(
        code=error.kind.value,
        reason=errors_pb2.ErrorReason.Value(f"ERROR_REASON_{error.reason.name}"),
        message=error.message,
        origin=errors_pb2.FailureOrigin.Name(error.origin.value),  # type: ignore[arg-type]
        reference=error.reference,
        digest=error.digest,
        host=error.host,
        http_status=error.http_status,
        registry_code=error.registry_code,
        metadata=error.metadata,
    )
    if error.retry_after is not None:
        message.retry_delay.CopyFrom(duration(error.retry_after))
    return message


# --- images


def image(
    record: ImageRecord, platforms: Iterable[PlatformRecord] = (), *, full: bool = False
) -> image_pb2.Image:
    """An image; the FULL view wants its platforms."""
    unpacked = record.unpacked_size
    message = image_pb2.Image(
        name=f"images/{record.uid}",
        image_id=record.image_id,
        target=descriptor(record.target),
        tags=[name.name for name in record.names if not name.by_digest],
        digest_references=[name.name for name in record.names if name.by_digest],
        repo_digests=record.repo_digests,
        dangling=not record.names,
        kind=image_pb2.ImageKind.Value(f"IMAGE_KIND_{record.kind.upper()}"),
        artifact_type=record.artifact_type,
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
        message.platform.CopyFrom(platform(Platform.parse(record.platform)))
    if full:
        message.labels.update(record.labels)
        if record.last_used is not None:
            message.last_use_time.CopyFrom(timestamp(record.last_used))
        message.platforms.extend(_image_platform(one) for one in platforms)
    return message


def _image_platform(value: PlatformRecord) -> image_pb2.ImagePlatform:
    message = image_pb2.ImagePlatform(
        manifest=descriptor(value.manifest, brief=True),
        image_id=value.image_id,
        complete=value.complete,
        content_size=value.content_size,
    )
    if value.platform:
        message.platform.CopyFrom(platform(Platform.parse(value.platform)))
    return message


# --- transfers


def transfer(record: TransferRecord) -> transfer_pb2.Transfer:
    """A transfer's record."""
    spec = TransferSpec.from_json(record.spec)
    message = transfer_pb2.Transfer(
        name=f"transfers/{record.uid}",
        source=transfer_pb2.TransferSource(
            registry=transfer_pb2.RegistryEndpoint(reference=spec.source.reference)
        ),
        destination=transfer_pb2.TransferDestination(store=_store_endpoint(spec)),
        platforms=transfer_pb2.PlatformSelection(platforms=spec.platforms, all=spec.all_platforms),
        limits=transfer_pb2.TransferLimits(max_concurrency=spec.max_concurrency),
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


def _store_endpoint(spec: TransferSpec) -> transfer_pb2.StoreEndpoint:
    destination = spec.destination
    message = transfer_pb2.StoreEndpoint(tags=destination.tags, policy=_policy(destination.policy))
    if destination.lease:
        message.lease.lease_id = destination.lease.lease_id
        message.lease.ttl.CopyFrom(duration(destination.lease.ttl))
    return message


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

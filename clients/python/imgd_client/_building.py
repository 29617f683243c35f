"""Requests for new images."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TypeAlias, TypedDict, Unpack

from imgd.v1 import container_service_pb2, image_service_pb2

from . import _requests

__all__ = ["AppendOptions", "CommitOptions", "append", "commit"]

_Compression: TypeAlias = image_service_pb2.LayerCompression.ValueType
_Changes: TypeAlias = "image_service_pb2.ConfigChanges | Iterable[str]"


class CommitOptions(TypedDict, total=False):
    """What a commit can be told."""

    author: str
    """Recorded in the image."""
    message: str
    """Recorded in its history."""
    changes: _Changes
    """Changes of its config: Dockerfile instructions such as `ENV a=b`, or the message."""
    allow_running: bool
    """Also while it runs, though its files may change meanwhile."""
    create_time: datetime | None
    """To record, for reproducible images: no file in the layer is newer. None for now."""
    compression: _Compression
    """Of the new layer; gzip, if not said."""
    request_id: str
    """For safe retries; generated, if not said."""


def commit(
    name: str, tag: str, **options: Unpack[CommitOptions]
) -> container_service_pb2.CommitContainerRequest:
    """A commit of a container."""
    return container_service_pb2.CommitContainerRequest(
        name=_requests.container_name(name),
        tag=tag,
        author=options.get("author", ""),
        message=options.get("message", ""),
        changes=_changes(options.get("changes", ())),
        allow_running=options.get("allow_running", False),
        create_time=_requests.timestamp(options.get("create_time")),
        compression=options.get("compression", image_service_pb2.LAYER_COMPRESSION_UNSPECIFIED),
        request_id=options.get("request_id") or _requests.new_request_id(),
    )


class AppendOptions(TypedDict, total=False):
    """What an append can be told."""

    author: str
    """Recorded in the image."""
    comment: str
    """Recorded in its history."""
    changes: _Changes
    """Changes of its config: Dockerfile instructions such as `ENV a=b`, or the message."""
    platform: str
    """`os/architecture[/variant]` of the base, or where there is none of the image."""
    create_time: datetime | None
    """To record, for reproducible images. None for now."""
    request_id: str
    """For safe retries; generated, if not said."""


def append(
    base: str, layers: Iterable[str], tag: str, **options: Unpack[AppendOptions]
) -> image_service_pb2.AppendImageRequest:
    """An append to a base."""
    return image_service_pb2.AppendImageRequest(
        base=base,
        layers=_requests.strings("layers", layers),
        changes=_changes(options.get("changes", ())),
        tag=tag,
        platform=options.get("platform", ""),
        author=options.get("author", ""),
        comment=options.get("comment", ""),
        create_time=_requests.timestamp(options.get("create_time")),
        request_id=options.get("request_id") or _requests.new_request_id(),
    )


def _changes(changes: _Changes) -> image_service_pb2.ConfigChanges:
    if isinstance(changes, image_service_pb2.ConfigChanges):
        return changes
    return image_service_pb2.ConfigChanges(instructions=_requests.strings("changes", changes))

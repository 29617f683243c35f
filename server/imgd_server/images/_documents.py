"""The config and the manifest of an image that is made here, from a base or from nothing.

All that is made is OCI's. What a base's config has and is not spoken of stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from imgd_server.errors import Error, Reason
from imgd_server.images._instructions import ConfigChanges, change_config
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    Descriptor,
    Digest,
    FormatError,
    Manifest,
    Platform,
    media,
    parse_config,
)

__all__ = ["MAX_IMAGE_LAYERS", "Base", "NewImage", "NewLayer", "write_config", "write_manifest"]

MAX_IMAGE_LAYERS = 125
"""Docker's own bound, and what overlayfs's options take."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OF_OCI = {
    media.DOCKER_LAYER: media.OCI_LAYER_GZIP,
    media.DOCKER_LAYER_PLAIN: media.OCI_LAYER,
    media.DOCKER_LAYER_ZSTD: media.OCI_LAYER_ZSTD,
    media.DOCKER_FOREIGN_LAYER: media.OCI_LAYER_NONDIST_GZIP,
    media.DOCKER_FOREIGN_LAYER_PLAIN: media.OCI_LAYER_NONDIST,
}


@dataclass(frozen=True, slots=True)
class Base:
    """What an image is made on: its manifest, and its config's bytes, which were parsed before."""

    manifest: Manifest
    config: bytes


@dataclass(frozen=True, slots=True)
class NewLayer:
    """A layer that is added."""

    descriptor: Descriptor
    diff_id: Digest


@dataclass(frozen=True, slots=True)
class NewImage:
    """What is made.

    Attributes:
        base: None for none.
        layers: Above the base's, the lowest first.
        platform: Where there is no base.
        changes: Of the config.
        created: Microseconds since the epoch.
        created_by: What the history says made it.
        author: Recorded in the history, and of the image unless it is empty.
        comment: Of the history's last entry.
    """

    base: Base | None
    layers: Sequence[NewLayer]
    platform: Platform
    changes: ConfigChanges
    created: int
    created_by: str
    author: str = ""
    comment: str = ""


def write_config(image: NewImage) -> bytes:
    """The config. The same image makes the same bytes.

    Raises FIELD_INVALID for changes that can't be, CONFIG_INVALID for a config that would be beyond
    what a config may be, UNSUPPORTED for too many layers.
    """
    document: dict[str, Any] = json.loads(image.base.config) if image.base else {}
    if image.base is None:
        document |= {key: value for key, value in image.platform.to_json().items() if value}
    of_base = len(image.base.manifest.layers) if image.base else 0
    if of_base + len(image.layers) > MAX_IMAGE_LAYERS:
        raise Error(
            Reason.UNSUPPORTED,
            f"the image would have {of_base + len(image.layers)} layers, and {MAX_IMAGE_LAYERS} "
            "is the most",
        )
    created = (_EPOCH + timedelta(microseconds=image.created)).isoformat().replace("+00:00", "Z")
    document["created"] = created
    if image.author:
        document["author"] = image.author
    document["config"] = change_config(document.get("config") or {}, image.changes)
    rootfs = document.get("rootfs") or {}
    diff_ids = [*(rootfs.get("diff_ids") or ()), *(one.diff_id for one in image.layers)]
    document["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    known = _padded(document.get("history") or (), of_base)
    document["history"] = [*known, *_steps(image, created)]
    raw = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    try:
        parse_config(raw)
    except FormatError as error:
        what = f"more than {MAX_CONFIG_BYTES} bytes" if len(raw) > MAX_CONFIG_BYTES else str(error)
        raise Error(Reason.CONFIG_INVALID, f"the config that would be made: {what}") from error
    return raw


def write_manifest(image: NewImage, config: Descriptor) -> bytes:
    """The manifest."""
    layers = [_of_oci(one) for one in image.base.manifest.layers] if image.base else []
    document = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [one.to_json() for one in (*layers, *(new.descriptor for new in image.layers))],
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def _of_oci(layer: Descriptor) -> Descriptor:
    kind = media.essence(layer.media_type)
    return replace(layer, media_type=_OF_OCI.get(kind, kind), data=None)


def _padded(history: Sequence[Mapping[str, Any]], layers: int) -> list[Mapping[str, Any]]:
    """A history with a step for each layer: of one that is too short, nobody would know which of
    them a later step means."""
    known = sum(not one.get("empty_layer") for one in history)
    return [*history, *({} for _ in range(layers - known))]


def _steps(image: NewImage, created: str) -> list[dict[str, Any]]:
    step: dict[str, Any] = {"created": created, "created_by": image.created_by}
    if image.author:
        step["author"] = image.author
    steps = [dict(step) for _ in image.layers] or [{**step, "empty_layer": True}]
    if image.comment:
        steps[-1]["comment"] = image.comment
    return steps

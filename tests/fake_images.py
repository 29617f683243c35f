"""Small images made in memory, byte by byte, so that a test can also make wrong ones."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "FakeImage",
    "descriptor",
    "digest_of",
    "make_document",
    "make_image",
    "make_index",
    "make_layer",
]

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest_of(data: bytes) -> str:
    """The sha256 digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
    """A descriptor of bytes, as JSON values."""
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


@dataclass(frozen=True)
class FakeImage:
    """A manifest or index, and every blob below it (child manifests are in `manifests`)."""

    raw: bytes
    media_type: str
    blobs: Mapping[str, bytes] = field(default_factory=dict)
    manifests: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    """By digest: media type and bytes, this image's own included."""

    @property
    def digest(self) -> str:
        """The target's digest."""
        return digest_of(self.raw)

    @property
    def document(self) -> dict[str, Any]:
        """The manifest or index, parsed."""
        parsed: dict[str, Any] = json.loads(self.raw)
        return parsed

    @property
    def image_id(self) -> str:
        """The config's digest (of a manifest)."""
        found: str = self.document["config"]["digest"]
        return found


def make_layer(files: Mapping[str, bytes]) -> bytes:
    """A tar archive, not compressed; the same files make the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o644
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def make_image(
    layers: Iterable[bytes] = (b"",),
    *,
    os: str = "linux",
    architecture: str = "amd64",
    variant: str = "",
    created: str | None = "2024-05-06T07:08:09Z",
    config: Mapping[str, Any] | None = None,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    manifest_type: str = OCI_MANIFEST,
    config_type: str = OCI_CONFIG,
    layer_type: str = OCI_LAYER_GZIP,
) -> FakeImage:
    """An image of one platform. `layers` are uncompressed; they are gzipped where the type says."""
    archives = list(layers)
    packed = [gzip.compress(one, 1, mtime=0) if "gzip" in layer_type else one for one in archives]
    document: dict[str, Any] = {
        "os": os,
        "architecture": architecture,
        "config": {"Cmd": ["true"], **({"Labels": labels} if labels else {}), **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in archives]},
        "history": [{"created_by": f"layer {number}"} for number in range(len(archives))],
    }
    if variant:
        document["variant"] = variant
    if created:
        document["created"] = created
    raw_config = json.dumps(document).encode()
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": manifest_type,
        "config": descriptor(raw_config, config_type),
        "layers": [descriptor(one, layer_type) for one in packed],
    }
    if annotations:
        manifest["annotations"] = annotations
    raw = json.dumps(manifest).encode()
    blobs = {digest_of(data): data for data in (raw_config, *packed)}
    return FakeImage(raw, manifest_type, blobs, {digest_of(raw): (manifest_type, raw)})


def make_index(
    children: Iterable[tuple[FakeImage, Mapping[str, str] | None]],
    *,
    media_type: str = OCI_INDEX,
) -> FakeImage:
    """An index of images, each with the platform to state (os, architecture, …) or None."""
    entries = []
    blobs: dict[str, bytes] = {}
    manifests: dict[str, tuple[str, bytes]] = {}
    for child, platform in children:
        more = {"platform": dict(platform)} if platform else {}
        entries.append(descriptor(child.raw, child.media_type, **more))
        blobs.update(child.blobs)
        manifests.update(child.manifests)
    raw = json.dumps({"schemaVersion": 2, "mediaType": media_type, "manifests": entries}).encode()
    manifests[digest_of(raw)] = (media_type, raw)
    return FakeImage(raw, media_type, blobs, manifests)


def make_document(
    value: object,
    media_type: str = OCI_MANIFEST,
    *,
    blobs: Mapping[str, bytes] | None = None,
    manifests: Mapping[str, tuple[str, bytes]] | None = None,
) -> FakeImage:
    """Anything served as a manifest: bytes as they are, other values as JSON."""
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    below = {**(manifests or {}), digest_of(raw): (media_type, raw)}
    return FakeImage(raw, media_type, blobs or {}, below)

"""From stored manifests to an image's record: platforms, blobs, ID, times."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason, from_format
from imgd_server.images._lookup import new_uid
from imgd_server.metadata import BlobRef, ImageRecord, PlatformRecord
from imgd_server.oci import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    FormatError,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    is_attestation,
    media,
    parse_config,
    parse_manifest,
    select_platforms,
)

__all__ = ["MAX_INDEX_DEPTH", "MAX_MANIFESTS", "Description", "children", "describe"]

# Real indexes are one deep, two where builders nest them; the rest is an attack or a mistake.
MAX_INDEX_DEPTH = 4
# One target may reach so many manifests: the largest public indexes have some dozens.
MAX_MANIFESTS = 512


@dataclass(frozen=True, slots=True)
class Description:
    """What the store needs to know of an image. The record's names are empty."""

    record: ImageRecord
    platforms: tuple[PlatformRecord, ...]
    blobs: tuple[BlobRef, ...]


def children(node: Manifest | Index) -> tuple[Descriptor, ...]:
    """What a manifest (config first, then layers) or an index refers to; not its subject."""
    return node.manifests if isinstance(node, Index) else (node.config, *node.layers)


@dataclass(slots=True)
class _Walk:
    content: ContentStore
    blobs: dict[str, BlobRef] = field(default_factory=dict)
    platforms: list[PlatformRecord] = field(default_factory=list)
    leaves: list[tuple[Descriptor, Manifest, ImageConfig | None]] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def add(self, target: Descriptor) -> bool:
        found = self.content.find(target.digest)
        self.blobs[target.digest] = BlobRef(
            target.digest, found.size if found else target.size, target.media_type, bool(found)
        )
        return found is not None

    def visit(self, target: Descriptor, depth: int) -> None:
        if target.digest in self.seen:
            return
        self.seen.add(target.digest)
        if depth > MAX_INDEX_DEPTH or len(self.seen) > MAX_MANIFESTS:
            raise Error(
                Reason.INDEX_TOO_DEEP,
                f"{target.digest} nests indexes deeper than {MAX_INDEX_DEPTH} "
                f"or reaches more than {MAX_MANIFESTS} manifests",
                digest=target.digest,
            )
        if not self.add(target):
            self.note_absent(target)
            return
        node = _parse(self.content, target)
        if isinstance(node, Index):
            for child in node.manifests:
                self.visit(child, depth + 1)
        else:
            self.visit_manifest(target, node)

    def note_absent(self, target: Descriptor) -> None:
        if media.is_index(target.media_type) or is_attestation(target):
            return
        platform = str(target.platform) if target.platform else ""
        self.platforms.append(PlatformRecord(platform, target, "", False, 0))

    def visit_manifest(self, target: Descriptor, manifest: Manifest) -> None:
        stored = [self.add(child) for child in children(manifest)]
        if is_attestation(target):
            return
        config = None
        if stored[0] and media.is_image_config(manifest.config.media_type):
            raw = self.content.read(manifest.config.digest, MAX_MANIFEST_BYTES)
            try:
                config = parse_config(raw)
            except FormatError as error:
                raise from_format(error, digest=manifest.config.digest) from error
        self.leaves.append((target, manifest, config))
        platform = target.platform or (config.platform if config else None)
        own = {target.digest: None} | {child.digest: None for child in children(manifest)}
        self.platforms.append(
            PlatformRecord(
                str(platform) if platform else "",
                target,
                manifest.config.digest if config else target.digest,
                all(stored),
                sum(self.blobs[digest].size for digest in own if self.blobs[digest].stored),
            )
        )


def _parse(content: ContentStore, target: Descriptor) -> Manifest | Index:
    raw = content.read(target.digest, MAX_MANIFEST_BYTES)
    try:
        return parse_manifest(raw, target.media_type)
    except FormatError as error:
        raise from_format(error, digest=target.digest) from error


def describe(content: ContentStore, target: Descriptor, default: Platform) -> Description:
    """Describes the image that `target` (a stored manifest or index) is.

    `default` is the platform that is served by default. Blocks. Raises BLOB_NOT_FOUND when the
    target itself is not stored, MANIFEST_*, CONFIG_INVALID, INDEX_TOO_DEEP.
    """
    content.info(target.digest)
    walk = _Walk(content)
    walk.visit(target, 0)
    leaf = _default_leaf(walk.leaves, default)
    config = leaf[2] if leaf else None
    artifact_type = _artifact_type(leaf[1]) if leaf and not config else ""
    platform = leaf[0].platform or (config.platform if config else None) if leaf else None
    blobs = tuple(walk.blobs.values())
    created = config.created if config else None
    return Description(
        ImageRecord(
            uid=new_uid(),
            target=target,
            image_id=leaf[1].config.digest if leaf and config else target.digest,
            kind="artifact" if leaf and not _has_image_config(leaf[1]) else "image",
            artifact_type=artifact_type,
            created=round(created.timestamp() * 1_000_000) if created else None,
            stored=time.time_ns() // 1000,
            last_used=None,
            content_size=sum(blob.size for blob in blobs if blob.stored),
            unpacked_size=None,
            pinned=False,
            complete=all(blob.stored for blob in blobs),
            platform=str(platform) if platform and config else "",
            labels=config.labels if config else {},
        ),
        tuple(walk.platforms),
        blobs,
    )


def _has_image_config(manifest: Manifest) -> bool:
    return media.is_image_config(manifest.config.media_type) and not manifest.artifact_type


def _artifact_type(manifest: Manifest) -> str:
    # OCI image 1.1: an artifact without a type of its own has its config's media type.
    if manifest.artifact_type or media.is_image_config(manifest.config.media_type):
        return manifest.artifact_type
    return manifest.config.media_type


def _default_leaf(
    leaves: Iterable[tuple[Descriptor, Manifest, ImageConfig | None]], default: Platform
) -> tuple[Descriptor, Manifest, ImageConfig | None] | None:
    leaves = list(leaves)
    by_digest = {leaf[0].digest: leaf for leaf in leaves}
    fitting = select_platforms([leaf[0] for leaf in leaves if leaf[0].platform], default)
    if fitting:
        return by_digest[fitting[0].digest]
    return leaves[0] if leaves else None

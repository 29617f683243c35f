"""From stored manifests to an image's record: platforms, blobs, ID, times."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

from imgd_server.content import BlobInfo
from imgd_server.errors import Error, Reason, from_format
from imgd_server.images._lookup import new_uid
from imgd_server.metadata import BlobRef, ImageRecord, PlatformRecord
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
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

__all__ = [
    "MAX_INDEX_DEPTH",
    "MAX_MANIFESTS",
    "Blobs",
    "Description",
    "Only",
    "children",
    "describe",
    "describe_held",
    "is_document",
    "read_manifest",
]

# Real indexes are one deep, two where builders nest them; the rest is an attack or a mistake.
MAX_INDEX_DEPTH = 4
# One target may reach so many manifests: the largest public indexes have some dozens.
MAX_MANIFESTS = 512

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Blobs(Protocol):
    """What is looked at to describe an image: a ContentStore, or a part of one."""

    def find(self, digest: Digest) -> BlobInfo | None:
        """See ContentStore."""
        ...

    def read(self, digest: Digest, limit: int) -> bytes:
        """See ContentStore."""
        ...


@dataclass(frozen=True, slots=True)
class Description:
    """What the store needs to know of an image. The record's names are empty."""

    record: ImageRecord
    platforms: tuple[PlatformRecord, ...]
    blobs: tuple[BlobRef, ...]


def children(node: Manifest | Index) -> tuple[Descriptor, ...]:
    """What a manifest (config first, then layers) or an index refers to; not its subject."""
    return node.manifests if isinstance(node, Index) else (node.config, *node.layers)


def is_document(media_type: str) -> bool:
    """Whether a blob of this type is read to know what an image is: a manifest, index or config."""
    return (
        media.is_manifest(media_type)
        or media.is_index(media_type)
        or media.is_image_config(media_type)
    )


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A stored manifest; `target` has the platform that its index or else its config states."""

    target: Descriptor
    manifest: Manifest
    config: ImageConfig | None


@dataclass(slots=True)
class _Walk:
    content: Blobs
    blobs: dict[str, BlobRef] = field(default_factory=dict)
    platforms: list[PlatformRecord] = field(default_factory=list)
    leaves: list[_Leaf] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    artifact_type: str = ""

    def add(self, target: Descriptor) -> bool:
        found = self.content.find(target.digest)
        if found and found.size != target.size:
            raise Error(
                Reason.SIZE_MISMATCH,
                f"{target.digest} has {found.size} bytes, and what refers to it says {target.size}",
                digest=target.digest,
            )
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
        stored = self.add(target)
        if depth and not (
            media.is_manifest(target.media_type) or media.is_index(target.media_type)
        ):
            # OCI image 1.1, image-index.md, "mediaType": one that is not known is no error.
            return
        if not stored:
            self.note_absent(target)
            return
        node = read_manifest(self.content, target)
        if isinstance(node, Index):
            self.artifact_type = self.artifact_type if depth else node.artifact_type
            for child in node.manifests:
                # Inline data are a copy of what is, or may be, stored.
                self.visit(replace(child, data=None), depth + 1)
        else:
            self.visit_manifest(target, node)

    def note_absent(self, target: Descriptor) -> None:
        if media.is_index(target.media_type) or is_attestation(target):
            return
        self.platforms.append(PlatformRecord(_text(target.platform), target, "", False, 0))

    def visit_manifest(self, target: Descriptor, manifest: Manifest) -> None:
        stored = [self.add(child) for child in children(manifest)]
        if is_attestation(target):
            return
        config = None
        if stored[0] and media.is_image_config(manifest.config.media_type):
            raw = self.content.read(manifest.config.digest, MAX_CONFIG_BYTES)
            try:
                config = parse_config(raw)
            except FormatError as error:
                raise from_format(error, digest=manifest.config.digest) from error
        platform = target.platform or (config.platform if config else None)
        self.leaves.append(_Leaf(replace(target, platform=platform), manifest, config))
        own = {target.digest: None} | {child.digest: None for child in children(manifest)}
        self.platforms.append(
            PlatformRecord(
                _text(platform),
                target,
                manifest.config.digest if config else target.digest,
                all(stored),
                sum(self.blobs[digest].size for digest in own if self.blobs[digest].stored),
            )
        )


def read_manifest(content: Blobs, target: Descriptor) -> Manifest | Index:
    """A stored manifest or index. Blocks. Raises BLOB_NOT_FOUND, MANIFEST_*."""
    raw = content.read(target.digest, MAX_MANIFEST_BYTES)
    try:
        return parse_manifest(raw, target.media_type)
    except FormatError as error:
        raise from_format(error, digest=target.digest) from error


def describe(content: Blobs, target: Descriptor, default: Platform) -> Description:
    """Describes the image that `target` (a stored manifest or index) is.

    `default` is the platform that is served by default. Blocks. Raises BLOB_NOT_FOUND when the
    target itself is not stored, MANIFEST_*, CONFIG_INVALID, INDEX_TOO_DEEP, and SIZE_MISMATCH where
    something refers to a stored blob with another size than it has.
    """
    if content.find(target.digest) is None:
        raise Error(Reason.BLOB_NOT_FOUND, f"no such blob: {target.digest}", digest=target.digest)
    target = replace(target, data=None)
    walk = _Walk(content)
    walk.visit(target, 0)
    leaf = _default_leaf(walk.leaves, default)
    config = leaf.config if leaf else None
    artifact_type = walk.artifact_type or (_artifact_type(leaf.manifest) if leaf else "")
    blobs = tuple(walk.blobs.values())
    created = config.created if config else None
    return Description(
        ImageRecord(
            uid=new_uid(),
            target=target,
            image_id=leaf.manifest.config.digest if leaf and config else target.digest,
            kind="artifact" if artifact_type else "image",
            artifact_type=artifact_type,
            created=(created - _EPOCH) // timedelta(microseconds=1) if created else None,
            stored=time.time_ns() // 1000,
            last_used=None,
            content_size=sum(blob.size for blob in blobs if blob.stored),
            unpacked_size=None,
            pinned=False,
            complete=all(blob.stored for blob in blobs),
            platform=_text(leaf.target.platform) if leaf and config else "",
            labels=config.labels if config else {},
        ),
        tuple(walk.platforms),
        blobs,
    )


@dataclass(frozen=True, slots=True)
class Only:
    """Of a store only what is among some digests."""

    content: Blobs
    digests: Collection[str]

    def find(self, digest: Digest) -> BlobInfo | None:
        """See ContentStore."""
        return self.content.find(digest) if digest in self.digests else None

    def read(self, digest: Digest, limit: int) -> bytes:
        """See ContentStore."""
        return self.content.read(digest, limit)


async def describe_held(
    content: Blobs,
    target: Descriptor,
    default: Platform,
    held: Collection[str],
    hold: Callable[[Sequence[Descriptor]], Awaitable[None]],
) -> Description:
    """Describes an image that is about to be shown, in a thread. All that it says is stored is
    held, so that no collection takes it before.

    `held` are the digests that are held already, those of `hold` included once it returns. What
    others left here of the same index (other platforms, from a pull that was cut off or an image
    that was removed) is held too, and counts where it is still there then.
    """
    try:
        found = await asyncio.to_thread(describe, content, target, default)
    except Error as error:
        if error.reason is not Reason.BLOB_NOT_FOUND or error.digest in held:
            raise
        # A collection took what nobody held between a look at it and the next.
        return await asyncio.to_thread(describe, Only(content, frozenset(held)), target, default)
    loose = [
        Descriptor(one.media_type, one.digest, one.size)
        for one in found.blobs
        if one.stored and one.digest not in held
    ]
    if not loose:
        return found
    await hold(loose)
    return await asyncio.to_thread(describe, Only(content, frozenset(held)), target, default)


def _text(platform: Platform | None) -> str:
    """A platform in its canonical spelling, as filters ask for it; empty where it is none.

    Signatures have configs without one, and nothing checks what an index says of its children.
    """
    if platform is None or not (platform.os and platform.architecture):
        return ""
    try:
        return str(Platform.parse(str(platform)))
    except FormatError:
        return ""


def _artifact_type(manifest: Manifest) -> str:
    """An artifact's type; empty for an image.

    OCI image 1.1, manifest.md: without a type of its own it has its config's media type.
    """
    if manifest.artifact_type or media.is_image_config(manifest.config.media_type):
        return manifest.artifact_type
    return manifest.config.media_type


def _default_leaf(leaves: list[_Leaf], default: Platform) -> _Leaf | None:
    """What is served by default: what fits the platform best, else the first image, else the
    first of all."""
    if fitting := select_platforms([leaf.target for leaf in leaves], default):
        return next(leaf for leaf in leaves if leaf.target == fitting[0])
    return next((leaf for leaf in leaves if leaf.config), leaves[0] if leaves else None)

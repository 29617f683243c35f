"""The manifests below a reference: which of them are wanted, and what they are made of.

The same for every transfer, wherever it reads: a `Ground` gives it what manifests hold.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from imgd_server.errors import Error, Origin, Reason, from_format
from imgd_server.images import MAX_INDEX_DEPTH, MAX_MANIFESTS, children
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    Descriptor,
    FormatError,
    Index,
    Manifest,
    Platform,
    Reference,
    is_attestation,
    media,
    parse_config,
    select_platforms,
)
from imgd_server.transfer._progress import Node, NodeKind, Progress, outline

__all__ = ["MAX_REFERRER_DEPTH", "Chosen", "Ground", "Walk"]

MAX_REFERRER_DEPTH = 3
"""Signatures of signatures; no tool makes deeper ones."""

# All that the manifests of one target may refer to: a single one may have 4,096 layers, and real
# indexes of many platforms reach some hundred. Each is a request, and a node that watchers see.
_MAX_NODES = 10_000

# The children of an index that are wanted, by digest, and for which platforms.
Chosen = dict[str, tuple[Descriptor, tuple[Platform, ...]]]


class Ground(Protocol):
    """Where a walk reads. What a method raises is the node's failure already."""

    async def load(self, node: Node, target: Descriptor) -> Manifest | Index:
        """A manifest or index, verified and read."""
        ...

    async def load_config(self, node: Node, target: Descriptor) -> bytes:
        """An image's config, verified."""
        ...

    async def hold(self, targets: Sequence[Descriptor]) -> None:
        """Keeps what is about to be read, or to come, from being collected."""
        ...

    def found(self, target: Descriptor, manifest: Manifest) -> None:
        """Takes note of a manifest whose blobs are nodes now."""
        ...


@dataclass(slots=True)
class Walk:
    """A walk from one or several references of a repository down.

    `explicit` says that the caller named the platforms. `blobs` are what the manifests are made
    of, and `below` the manifests and indexes under the roots, each behind what it lists itself.
    """

    reference: Reference
    platforms: tuple[Platform, ...]
    explicit: bool
    all_platforms: bool
    progress: Progress
    ground: Ground
    blobs: dict[str, tuple[Node, Descriptor]] = field(default_factory=dict)
    below: dict[str, tuple[Node, Descriptor]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    _manifests: int = 0

    async def plan(
        self, node: Node, target: Descriptor, wanted: tuple[Platform, ...], depth: int = 0
    ) -> Manifest | Index:
        """Walks from one manifest or index, for the wanted platforms. Raises Error, or a group."""
        self._count(node, depth)
        parsed = await self.ground.load(node, target)
        if isinstance(parsed, Index):
            if node.kind is not NodeKind.INDEX:
                # Its media type did not say so.
                node.kind = NodeKind.INDEX
                self.progress.touch(node)
            await self._plan_index(node, parsed, depth, wanted)
        else:
            await self._plan_manifest(node, target, parsed)
        if depth:
            self.below[target.digest] = node, target
        return parsed

    def _count(self, node: Node, depth: int) -> None:
        self._manifests += 1
        if depth > MAX_INDEX_DEPTH or self._manifests > MAX_MANIFESTS:
            raise self.refuse(
                node,
                Error(
                    Reason.INDEX_TOO_DEEP,
                    f"{self.reference.familiar()} nests indexes deeper than {MAX_INDEX_DEPTH} "
                    f"or reaches more than {MAX_MANIFESTS} manifests",
                ),
            )

    async def _plan_index(
        self, node: Node, index: Index, depth: int, wanted: tuple[Platform, ...]
    ) -> None:
        if self.all_platforms:
            chosen: Chosen = {child.digest: (child, ()) for child in _known(index)}
            self._warn_of_unknown(index)
        else:
            chosen = await self.choose(node, index, depth, wanted)
        await self.ground.hold([child for child, _ in chosen.values()])
        # All nodes before the first request, so that they stand in the index's order.
        nodes = [(self.child_node(node, child), child, some) for child, some in chosen.values()]
        async with asyncio.TaskGroup() as group:
            for child_node, child, platforms in nodes:
                group.create_task(self.plan(child_node, child, platforms, depth + 1))

    def _warn_of_unknown(self, index: Index) -> None:
        known = {child.digest for child in _known(index)}
        if left_out := [one for one in index.manifests if one.digest not in known]:
            one = left_out[0]
            more = f", and {len(left_out) - 1} more" if len(left_out) > 1 else ""
            self.warnings.append(
                f"left out of the index what is no manifest: {one.digest} "
                f"({one.media_type[:100]}){more}"
            )

    def child_node(self, parent: Node, child: Descriptor) -> Node:
        kind = NodeKind.INDEX if media.is_index(child.media_type) else NodeKind.MANIFEST
        shown = outline(child)
        label = str(shown.platform) if shown.platform else ""
        return self.progress.add(
            Node(child.digest, kind, shown, parent_id=parent.node_id, label=label)
        )

    async def choose(
        self, node: Node, index: Index, depth: int, wanted: tuple[Platform, ...]
    ) -> Chosen:
        """For each wanted platform the best child; nested indexes are chosen from in their turn."""
        stated, unstated = _candidates(index)
        chosen: Chosen = {}
        missing: list[Platform] = []
        for platform in wanted:
            if fitting := select_platforms(stated, platform):
                _, others = chosen.get(fitting[0].digest, (None, ()))
                chosen[fitting[0].digest] = (fitting[0], (*others, platform))
            else:
                missing.append(platform)
        if missing and unstated:
            missing = await self._choose_unstated(node, unstated, depth, missing, chosen)
        if missing:
            here = ", ".join(dict.fromkeys(str(child.platform) for child in stated))
            raise self.refuse(
                node,
                Error(
                    Reason.REMOTE_PLATFORM_NOT_FOUND,
                    f"{self.reference.familiar()} has no image for {missing[0]}; "
                    f"it has: {here[:500] or 'none stated'}",
                    metadata={"wanted": str(missing[0]), "platforms": here[:500]},
                ),
            )
        return chosen

    async def _choose_unstated(
        self,
        node: Node,
        unstated: list[Descriptor],
        depth: int,
        missing: list[Platform],
        chosen: Chosen,
    ) -> list[Platform]:
        """Looks into children whose platform the index does not state; returns what is still
        missing."""
        known: list[Descriptor] = []
        for child in unstated:
            self._count(node, depth + 1)
            child_node = self.child_node(node, child)
            parsed = await self.ground.load(child_node, child)
            if isinstance(parsed, Index):
                # Nested indexes rarely state a platform: whoever nests them means all of them.
                absent = await self._absent(child_node, parsed, depth + 1, missing)
                if fitting := tuple(one for one in missing if one not in absent):
                    chosen[child.digest] = (child, fitting)
                    missing = absent
            elif media.is_image_config(parsed.config.media_type):
                config = await self._config_platform(child_node, parsed)
                known.append(replace(child, platform=config))
        still = []
        for platform in missing:
            if fitting_children := select_platforms(known, platform):
                chosen[fitting_children[0].digest] = (
                    replace(fitting_children[0], platform=None),
                    (),
                )
            else:
                still.append(platform)
        return still

    async def _absent(
        self, node: Node, index: Index, depth: int, wanted: list[Platform]
    ) -> list[Platform]:
        """Those of the wanted platforms that a nested index has not, however deep."""
        stated, unstated = _candidates(index)
        missing = [one for one in wanted if not select_platforms(stated, one)]
        if missing and unstated:
            missing = await self._choose_unstated(node, unstated, depth, missing, {})
        return missing

    async def _plan_manifest(self, node: Node, target: Descriptor, manifest: Manifest) -> None:
        parts = children(manifest)
        if len(self.progress.nodes) + len(parts) > _MAX_NODES:
            raise self.refuse(
                node,
                Error(
                    Reason.INDEX_TOO_DEEP,
                    f"{self.reference.familiar()} is made of more than {_MAX_NODES} blobs",
                ),
            )
        self._check_config_size(node, manifest.config)
        for position, child in enumerate(parts):
            kind = NodeKind.LAYER if position else NodeKind.CONFIG
            if position and not media.is_layer(child.media_type):
                kind = NodeKind.BLOB
            found = self.progress.add(
                Node(
                    child.digest,
                    kind,
                    outline(child),
                    parent_id=node.node_id,
                    layer_index=position - 1 if position else None,
                )
            )
            # Another manifest may bring the same blob along, or not.
            if child.digest not in self.blobs or child.data is not None:
                self.blobs[child.digest] = (found, child)
        await self.ground.hold(parts)
        self.ground.found(target, manifest)

    def _check_config_size(self, node: Node, config: Descriptor) -> None:
        # It is read into memory later; an artifact's is a blob like any other.
        if media.is_image_config(config.media_type) and config.size > MAX_CONFIG_BYTES:
            raise self.refuse(
                node,
                Error(
                    Reason.MANIFEST_TOO_LARGE,
                    f"the config {config.digest} has {config.size} bytes, "
                    f"and {MAX_CONFIG_BYTES} is the most",
                    digest=config.digest,
                ),
            )

    async def check_platform(self, node: Node, manifest: Manifest) -> None:
        """A single manifest is pulled whatever it is for, unless the caller named a platform."""
        if not media.is_image_config(manifest.config.media_type):
            return
        platform = await self._config_platform(node, manifest)
        if not platform.os or not platform.architecture:
            return
        stated = replace(manifest.config, platform=platform)
        for one in self.platforms:
            if select_platforms([stated], one):
                continue
            shown = str(outline(stated).platform)
            if self.explicit:
                raise self.refuse(
                    node,
                    Error(
                        Reason.REMOTE_PLATFORM_NOT_FOUND,
                        f"{self.reference.familiar()} is for {shown}, not for {one}",
                        metadata={"wanted": str(one), "platforms": shown},
                    ),
                )
            self.warnings.append(f"the image is for {shown}, and this machine is {one}")

    async def _config_platform(self, node: Node, manifest: Manifest) -> Platform:
        config = manifest.config
        self._check_config_size(node, config)
        child = self.progress.add(
            Node(config.digest, NodeKind.CONFIG, outline(config), parent_id=node.node_id)
        )
        raw = await self.ground.load_config(child, config)
        try:
            return (await asyncio.to_thread(parse_config, raw)).platform
        except FormatError as error:
            raise self.refuse(node, from_format(error, digest=config.digest)) from error

    def refuse(self, node: Node, error: Error) -> Error:
        """Marks a node as failed by what was found there, and returns the error to raise."""
        if error.origin is Origin.UNSPECIFIED:
            error.origin = Origin.SOURCE
        error.reference = error.reference or str(self.reference)
        self.progress.fail(node, error)
        return error


def _known(index: Index) -> list[Descriptor]:
    """What an index lists, but for what is no manifest.

    OCI image 1.1, image-index.md, "mediaType": one that is not known must not be an error. Docker's
    schema 1 is known, and refused by name.
    """
    return [
        one
        for one in index.manifests
        if media.is_manifest(one.media_type)
        or media.is_index(one.media_type)
        or media.is_schema1(one.media_type)
    ]


def _candidates(index: Index) -> tuple[list[Descriptor], list[Descriptor]]:
    """What can be chosen from an index: children whose platform it states, and the others."""
    found = [one for one in _known(index) if not is_attestation(one)]
    return [one for one in found if one.platform], [one for one in found if not one.platform]

"""A pull, from a reference to a description of what is now stored.

Nothing here changes metadata: the manager does that at the end, in one transaction, so that a pull
that fails or dies shows nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Origin, Reason, from_format
from imgd_server.images import MAX_INDEX_DEPTH, MAX_MANIFESTS, Description, children, describe
from imgd_server.oci import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    FormatError,
    Index,
    Manifest,
    Platform,
    Reference,
    is_attestation,
    media,
    parse_config,
    parse_manifest,
    select_platforms,
)
from imgd_server.registry import Credentials
from imgd_server.transfer._fetch import Fetcher
from imgd_server.transfer._flight import Flight, FlightTable
from imgd_server.transfer._progress import (
    ActivityKind,
    Node,
    NodeKind,
    NodeState,
    Progress,
)

__all__ = ["Pull", "Pulled"]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull stored: its target, its description, and how its bytes came."""

    target: Descriptor
    description: Description
    fetched_bytes: int
    reused_bytes: int
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Pull:
    """One caller's pull. `protect` must hold the digests that it is given before it returns."""

    uid: str
    reference: Reference
    platforms: tuple[Platform, ...]
    explicit: bool
    all_platforms: bool
    credentials: Credentials | None
    concurrency: int
    fetcher: Fetcher
    flights: FlightTable
    progress: Progress
    protect: Callable[[Sequence[Descriptor]], Awaitable[None]]
    _fetched: int = 0
    _reused: int = 0
    _manifests: int = 0
    _warnings: list[str] = field(default_factory=list)
    _blobs: dict[str, Node] = field(default_factory=dict)

    @property
    def _content(self) -> ContentStore:
        return self.fetcher.content

    @property
    def _scope(self) -> tuple[str, str]:
        """What shared work is keyed by, beside the digest."""
        scope = self.credentials.scope if self.credentials else ""
        return self.reference.name, scope

    async def run(self) -> Pulled:
        """Pulls. Raises Error, with its origin set."""
        root = self.progress.add(
            Node(str(self.reference), NodeKind.MANIFEST, None, label=self.reference.familiar())
        )
        target = await self._resolve(root)
        await self._plan(root, target, 0, self.platforms)
        self.progress.planned = True
        self.progress.touch()
        await self._fetch_blobs()
        description = await asyncio.to_thread(
            describe,
            self._content,
            target,
            self.platforms[0] if self.platforms else Platform.host(),
        )
        return Pulled(target, description, self._fetched, self._reused, tuple(self._warnings))

    # --- planning: names and manifests

    async def _resolve(self, root: Node) -> Descriptor:
        key = ("resolve", *self._scope, self.reference.tag, self.reference.digest)

        async def work(flight: Flight[Descriptor]) -> Descriptor:
            resolved = await self.fetcher.resolve(flight, self.reference, self.credentials)
            flight.host = resolved.host
            return resolved.target

        async with self.flights.join(key, self.uid, work) as flight:
            self.progress.begin(root, ActivityKind.RESOLVE, flight)
            try:
                root.target = await flight.result()
            except Error as error:
                self.progress.fail(root, error)
                raise
        self.progress.end(root, host=flight.host)
        if media.is_index(root.target.media_type):
            root.kind = NodeKind.INDEX
        return root.target

    async def _plan(
        self, node: Node, target: Descriptor, depth: int, wanted: tuple[Platform, ...]
    ) -> Manifest | Index:
        self._manifests += 1
        if depth > MAX_INDEX_DEPTH or self._manifests > MAX_MANIFESTS:
            raise self._refuse(
                node,
                Error(
                    Reason.INDEX_TOO_DEEP,
                    f"{self.reference.familiar()} nests indexes deeper than {MAX_INDEX_DEPTH} "
                    f"or reaches more than {MAX_MANIFESTS} manifests",
                ),
            )
        await self._get(node, target, self.fetcher.manifest)
        parsed = await self._parse(node, target)
        if isinstance(parsed, Index):
            node.kind = NodeKind.INDEX
            await self._plan_index(node, parsed, depth, wanted)
        else:
            await self._plan_manifest(node, parsed, wanted)
        return parsed

    async def _plan_index(
        self, node: Node, index: Index, depth: int, wanted: tuple[Platform, ...]
    ) -> None:
        chosen: list[tuple[Descriptor, tuple[Platform, ...]]]
        if self.all_platforms:
            chosen = [(child, ()) for child in index.manifests]
        else:
            chosen = await self._choose(node, index, depth, wanted)
        nodes = [(self._child_node(node, child), child, platforms) for child, platforms in chosen]
        async with asyncio.TaskGroup() as group:
            for child_node, child, platforms in nodes:
                group.create_task(self._plan(child_node, child, depth + 1, platforms))

    def _child_node(self, parent: Node, child: Descriptor) -> Node:
        kind = NodeKind.INDEX if media.is_index(child.media_type) else NodeKind.MANIFEST
        label = str(child.platform) if child.platform else ""
        return self.progress.add(
            Node(child.digest, kind, child, parent_id=parent.node_id, label=label)
        )

    async def _choose(
        self, node: Node, index: Index, depth: int, wanted: tuple[Platform, ...]
    ) -> list[tuple[Descriptor, tuple[Platform, ...]]]:
        """For each wanted platform the best child; nested indexes are chosen from in their turn."""
        candidates = [child for child in index.manifests if not is_attestation(child)]
        stated = [child for child in candidates if child.platform]
        unstated = [child for child in candidates if not child.platform]
        chosen: dict[str, tuple[Descriptor, tuple[Platform, ...]]] = {}
        missing: list[Platform] = []
        for platform in wanted:
            if fitting := select_platforms(stated, platform):
                chosen[fitting[0].digest] = (fitting[0], (platform,))
            else:
                missing.append(platform)
        if missing and unstated:
            missing = await self._choose_unstated(node, unstated, depth, missing, chosen)
        if missing:
            here = (
                ", ".join(dict.fromkeys(str(child.platform) for child in stated)) or "none stated"
            )
            raise self._refuse(
                node,
                Error(
                    Reason.REMOTE_PLATFORM_NOT_FOUND,
                    f"{self.reference.familiar()} has no image for {missing[0]}; "
                    f"it has: {here[:500]}",
                    metadata={"wanted": str(missing[0]), "platforms": here[:500]},
                ),
            )
        return list(chosen.values())

    async def _choose_unstated(
        self,
        node: Node,
        unstated: list[Descriptor],
        depth: int,
        missing: list[Platform],
        chosen: dict[str, tuple[Descriptor, tuple[Platform, ...]]],
    ) -> list[Platform]:
        """Looks into children whose platform the index does not state; returns what is still
        missing."""
        known: list[Descriptor] = []
        for child in unstated:
            self._manifests += 1
            child_node = self._child_node(node, child)
            await self._get(child_node, child, self.fetcher.manifest)
            parsed = await self._parse(child_node, child)
            if isinstance(parsed, Index):
                # Nested indexes rarely state a platform: whoever nests them means all of them.
                inside = [
                    one for one in parsed.manifests if one.platform and not is_attestation(one)
                ]
                fitting = tuple(one for one in missing if select_platforms(inside, one))
                if fitting and depth < MAX_INDEX_DEPTH:
                    chosen[child.digest] = (child, fitting)
                    missing = [one for one in missing if one not in fitting]
            elif media.is_image_config(parsed.config.media_type):
                await self._get_now(child_node, parsed.config)
                config = await self._config_platform(child_node, parsed.config)
                known.append(replace(child, platform=config))
        still = []
        for platform in missing:
            if fitting_children := select_platforms(known, platform):
                found = fitting_children[0]
                original = next(child for child in unstated if child.digest == found.digest)
                chosen[found.digest] = (original, ())
            else:
                still.append(platform)
        return still

    async def _plan_manifest(
        self, node: Node, manifest: Manifest, wanted: tuple[Platform, ...]
    ) -> None:
        for position, child in enumerate(children(manifest)):
            kind = NodeKind.LAYER if position else NodeKind.CONFIG
            if position and not media.is_layer(child.media_type):
                kind = NodeKind.BLOB
            self._blobs[child.digest] = self.progress.add(
                Node(
                    child.digest,
                    kind,
                    replace(child, data=None),
                    parent_id=node.node_id,
                    layer_index=position - 1 if position else None,
                )
            )
        await self.protect(
            [node.target, *children(manifest)] if node.target else children(manifest)
        )
        for child in children(manifest):
            if child.data is not None and (found := self._blobs.pop(child.digest, None)):
                await self._get(found, child, self.fetcher.blob)
        if node.parent_id == "" and wanted and media.is_image_config(manifest.config.media_type):
            await self._check_platform(node, manifest, wanted)

    async def _check_platform(
        self, node: Node, manifest: Manifest, wanted: tuple[Platform, ...]
    ) -> None:
        """A single manifest is pulled whatever it is for, unless the caller named a platform."""
        await self._get_now(node, manifest.config)
        platform = await self._config_platform(node, manifest.config)
        if not platform.os or not platform.architecture:
            return
        stated = replace(manifest.config, platform=platform)
        for one in wanted:
            if select_platforms([stated], one):
                continue
            if self.explicit:
                raise self._refuse(
                    node,
                    Error(
                        Reason.REMOTE_PLATFORM_NOT_FOUND,
                        f"{self.reference.familiar()} is for {platform}, not for {one}",
                        metadata={"wanted": str(one), "platforms": str(platform)},
                    ),
                )
            self._warnings.append(f"the image is for {platform}, and this machine is {one}")

    async def _get_now(self, parent: Node, target: Descriptor) -> None:
        child = self.progress.add(
            Node(target.digest, NodeKind.CONFIG, target, parent_id=parent.node_id)
        )
        await self.protect([target])
        self._blobs.pop(target.digest, None)
        await self._get(child, target, self.fetcher.blob)

    async def _config_platform(self, node: Node, target: Descriptor) -> Platform:
        raw = await asyncio.to_thread(self._content.read, target.digest, MAX_MANIFEST_BYTES)
        try:
            return parse_config(raw).platform
        except FormatError as error:
            raise self._refuse(node, from_format(error, digest=target.digest)) from error

    async def _parse(self, node: Node, target: Descriptor) -> Manifest | Index:
        raw = await asyncio.to_thread(self._content.read, target.digest, MAX_MANIFEST_BYTES)
        try:
            return parse_manifest(raw, target.media_type)
        except FormatError as error:
            raise self._refuse(node, from_format(error, digest=target.digest)) from error

    def _refuse(self, node: Node, error: Error) -> Error:
        error.origin = Origin.SOURCE
        error.reference = error.reference or str(self.reference)
        self.progress.fail(node, error)
        return error

    # --- fetching

    async def _fetch_blobs(self) -> None:
        slots = asyncio.Semaphore(self.concurrency)

        async def fetch(node: Node) -> None:
            assert node.target is not None
            async with slots:
                await self._get(node, node.target, self.fetcher.blob)

        async with asyncio.TaskGroup() as group:
            for node in self._blobs.values():
                if not node.state.final:
                    group.create_task(fetch(node))

    async def _get(
        self,
        node: Node,
        target: Descriptor,
        fetch: Callable[[Flight[None], Reference, Descriptor, Credentials | None], Awaitable[None]],
    ) -> None:
        """Brings one descriptor's content here, alone or with others who want it."""
        if node.state.final:
            return
        if await self._exists(node, target):
            return

        async def work(flight: Flight[None]) -> None:
            # Another flight may have landed between the look and the join.
            if not await asyncio.to_thread(self._content.find, target.digest):
                await fetch(flight, self.reference, target, self.credentials)

        key = ("blob", *self._scope, target.digest)
        async with self.flights.join(key, self.uid, work) as flight:
            self.progress.begin(node, ActivityKind.DOWNLOAD, flight, target.size)
            try:
                await flight.result()
            except Error as error:
                error.reference = error.reference or str(self.reference)
                error.digest = error.digest or target.digest
                self.progress.fail(node, error)
                raise
            moved = flight.moved_bytes if flight.sharers[0] == self.uid else 0
            self.progress.end(node, NodeState.DONE, flight.host)
        self._fetched += moved
        self._reused += max(target.size - moved, 0)

    async def _exists(self, node: Node, target: Descriptor) -> bool:
        found = await asyncio.to_thread(self._content.find, target.digest)
        if found is None:
            return False
        if found.size != target.size:
            raise self._refuse(
                node,
                Error(
                    Reason.SIZE_MISMATCH,
                    f"{target.digest} has {found.size} bytes, "
                    f"and its descriptor says {target.size}",
                    digest=target.digest,
                ),
            )
        self._reused += found.size
        self.progress.end(node, NodeState.EXISTS)
        return True

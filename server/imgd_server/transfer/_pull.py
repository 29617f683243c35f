"""A pull, from a reference to a description of what is now stored.

Nothing here changes images and names: the manager does that at the end, in one transaction, so that
a pull that fails or dies shows nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Origin, Reason, from_format
from imgd_server.images import (
    MAX_INDEX_DEPTH,
    MAX_MANIFESTS,
    Description,
    Unpacked,
    children,
    describe_held,
)
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
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
from imgd_server.transfer._fetch import Fetcher, blame, is_here
from imgd_server.transfer._flight import Flight, FlightTable, Turns
from imgd_server.transfer._progress import (
    ActivityKind,
    Node,
    NodeKind,
    NodeState,
    Progress,
    outline,
)
from imgd_server.transfer._room import Room
from imgd_server.transfer._unpack import Unpacking

__all__ = ["Pull", "Pulled"]

# All that the manifests of one target may refer to: a single one may have 4,096 layers, and real
# indexes of many platforms reach some hundred. Each is a request, and a node that watchers see.
_MAX_NODES = 10_000

_Fetch = Callable[[Flight[None], Reference, Descriptor, Credentials | None], Awaitable[None]]
# The children of an index to pull, by digest, and for which platforms.
_Chosen = dict[str, tuple[Descriptor, tuple[Platform, ...]]]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull stored: its target, its description, and how its bytes came."""

    target: Descriptor
    description: Description
    fetched_bytes: int
    reused_bytes: int
    warnings: tuple[str, ...]
    unpacked: tuple[Unpacked, ...] = ()


@dataclass(slots=True)
class Pull:
    """One caller's pull. `protect` must hold the digests that it is given before it returns.

    `target`, `fetched` and `reused` (bytes) tell how far it came, also when it fails.
    """

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
    room: Room
    protect: Callable[[Sequence[Descriptor]], Awaitable[None]]
    unpacking: Unpacking | None = None
    target: Descriptor | None = None
    fetched: int = 0
    reused: int = 0
    _manifests: int = 0
    _warnings: list[str] = field(default_factory=list)
    _blobs: dict[str, tuple[Node, Descriptor]] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)
    _here: set[str] = field(default_factory=set)
    _turns: Turns = field(default_factory=Turns)
    _slots: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.concurrency)

    @property
    def _content(self) -> ContentStore:
        return self.fetcher.content

    @property
    def _scope(self) -> tuple[str, str]:
        """What shared work is keyed by, beside the digest."""
        scope = self.credentials.scope if self.credentials else ""
        return self.reference.name, scope

    async def run(self) -> Pulled:
        """Pulls. Raises Error, with its origin set, or a group of them."""
        root = self.progress.add(
            Node(str(self.reference), NodeKind.MANIFEST, None, label=self.reference.familiar())
        )
        target = await self._find(root)
        parsed = await self._plan(root, target, 0, self.platforms)
        single = parsed if isinstance(parsed, Manifest) else None
        if single and self.explicit:
            await self._check_platform(root, single)
        self.progress.planned = True
        self.progress.touch()
        await self._fetch_blobs()
        if single and not self.explicit and not self.all_platforms:
            await self._check_platform(root, single)
        description = await describe_held(
            self._content, target, Platform.host(), self._held, self._hold
        )
        self._check_stored(description)
        return Pulled(
            target,
            description,
            self.fetched,
            self.reused,
            tuple(self._warnings),
            tuple(self.unpacking.unpacked) if self.unpacking else (),
        )

    # --- planning: names and manifests

    async def _find(self, root: Node) -> Descriptor:
        """The target, with its manifest stored.

        Between the two requests a tag may move, and the registry may collect what it pointed at:
        then the name is asked once more.
        """
        while True:
            before, target = self.target, await self._resolve(root)
            try:
                await self._get(
                    root, target, self.fetcher.manifest, forgiven=Reason.REMOTE_NOT_FOUND
                )
                return target
            except Error as error:
                if error.reason is not Reason.REMOTE_NOT_FOUND:
                    raise
                if self.reference.digest:
                    raise self._refuse(root, error) from None
                if before:
                    raise self._refuse(root, self._changed(target, error)) from error

    def _changed(self, target: Descriptor, error: Error) -> Error:
        return Error(
            Reason.REMOTE_CHANGED,
            f"{error.host} says that {self.reference.familiar()} is {target.digest}, and has no "
            "such manifest: the tag is being moved; pull it again",
            digest=target.digest,
            host=error.host,
            http_status=error.http_status,
            registry_code=error.registry_code,
        )

    async def _resolve(self, root: Node) -> Descriptor:
        key = ("resolve", *self._scope, self.reference.tag, self.reference.digest)

        async def work(flight: Flight[Descriptor]) -> Descriptor:
            resolved = await self.fetcher.resolve(flight, self.reference, self.credentials)
            flight.host = resolved.host
            return resolved.target

        async with self.flights.join(key, self.uid, work) as flight:
            self.progress.begin(root, ActivityKind.RESOLVE, flight)
            try:
                self.target = target = await flight.result()
            except Error as error:
                raise self._refuse(root, self._own(error)) from error
        root.target = outline(target)
        root.kind = NodeKind.INDEX if media.is_index(target.media_type) else NodeKind.MANIFEST
        self.progress.end(root, NodeState.WAITING, flight.host)
        return target

    async def _plan(
        self, node: Node, target: Descriptor, depth: int, wanted: tuple[Platform, ...]
    ) -> Manifest | Index:
        self._count(node, depth)
        await self._get(node, target, self.fetcher.manifest)
        parsed = await self._parse(node, target)
        if isinstance(parsed, Index):
            if node.kind is not NodeKind.INDEX:
                # Its media type did not say so.
                node.kind = NodeKind.INDEX
                self.progress.touch(node)
            await self._plan_index(node, parsed, depth, wanted)
        else:
            await self._plan_manifest(node, parsed)
        return parsed

    def _count(self, node: Node, depth: int) -> None:
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

    async def _plan_index(
        self, node: Node, index: Index, depth: int, wanted: tuple[Platform, ...]
    ) -> None:
        if self.all_platforms:
            chosen: _Chosen = {child.digest: (child, ()) for child in index.manifests}
        else:
            chosen = await self._choose(node, index, depth, wanted)
        await self._hold([child for child, _ in chosen.values()])
        # All nodes before the first request, so that they stand in the index's order.
        nodes = [(self._child_node(node, child), child, some) for child, some in chosen.values()]
        async with asyncio.TaskGroup() as group:
            for child_node, child, platforms in nodes:
                group.create_task(self._plan(child_node, child, depth + 1, platforms))

    def _child_node(self, parent: Node, child: Descriptor) -> Node:
        kind = NodeKind.INDEX if media.is_index(child.media_type) else NodeKind.MANIFEST
        shown = outline(child)
        label = str(shown.platform) if shown.platform else ""
        return self.progress.add(
            Node(child.digest, kind, shown, parent_id=parent.node_id, label=label)
        )

    async def _choose(
        self, node: Node, index: Index, depth: int, wanted: tuple[Platform, ...]
    ) -> _Chosen:
        """For each wanted platform the best child; nested indexes are chosen from in their turn."""
        candidates = [child for child in index.manifests if not is_attestation(child)]
        stated = [child for child in candidates if child.platform]
        unstated = [child for child in candidates if not child.platform]
        chosen: _Chosen = {}
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
            raise self._refuse(
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
        chosen: _Chosen,
    ) -> list[Platform]:
        """Looks into children whose platform the index does not state; returns what is still
        missing."""
        known: list[Descriptor] = []
        for child in unstated:
            self._count(node, depth + 1)
            child_node = self._child_node(node, child)
            await self._get(child_node, child, self.fetcher.manifest)
            parsed = await self._parse(child_node, child)
            if isinstance(parsed, Index):
                # Nested indexes rarely state a platform: whoever nests them means all of them.
                inside = [
                    one for one in parsed.manifests if one.platform and not is_attestation(one)
                ]
                fitting = tuple(one for one in missing if select_platforms(inside, one))
                if fitting:
                    chosen[child.digest] = (child, fitting)
                    missing = [one for one in missing if one not in fitting]
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

    async def _plan_manifest(self, node: Node, manifest: Manifest) -> None:
        parts = children(manifest)
        if len(self.progress.nodes) + len(parts) > _MAX_NODES:
            raise self._refuse(
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
            if child.digest not in self._blobs or child.data is not None:
                self._blobs[child.digest] = (found, child)
        await self._hold(parts)
        if self.unpacking and node.target and not is_attestation(node.target):
            self.unpacking.plan(node.target.digest, manifest)

    def _check_config_size(self, node: Node, config: Descriptor) -> None:
        # It is read into memory later; an artifact's is a blob like any other.
        if media.is_image_config(config.media_type) and config.size > MAX_CONFIG_BYTES:
            raise self._refuse(
                node,
                Error(
                    Reason.MANIFEST_TOO_LARGE,
                    f"the config {config.digest} has {config.size} bytes, "
                    f"and {MAX_CONFIG_BYTES} is the most",
                    digest=config.digest,
                ),
            )

    async def _check_platform(self, node: Node, manifest: Manifest) -> None:
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
                raise self._refuse(
                    node,
                    Error(
                        Reason.REMOTE_PLATFORM_NOT_FOUND,
                        f"{self.reference.familiar()} is for {shown}, not for {one}",
                        metadata={"wanted": str(one), "platforms": shown},
                    ),
                )
            self._warnings.append(f"the image is for {shown}, and this machine is {one}")

    async def _config_platform(self, node: Node, manifest: Manifest) -> Platform:
        config = manifest.config
        self._check_config_size(node, config)
        child = self.progress.add(
            Node(config.digest, NodeKind.CONFIG, outline(config), parent_id=node.node_id)
        )
        await self._get(child, config, self.fetcher.blob)

        def read() -> Platform:
            return parse_config(self._content.read(config.digest, MAX_CONFIG_BYTES)).platform

        try:
            return await asyncio.to_thread(read)
        except FormatError as error:
            raise self._refuse(node, from_format(error, digest=config.digest)) from error

    async def _parse(self, node: Node, target: Descriptor) -> Manifest | Index:
        def read() -> Manifest | Index:
            raw = self._content.read(target.digest, MAX_MANIFEST_BYTES)
            return parse_manifest(raw, target.media_type)

        try:
            return await asyncio.to_thread(read)
        except FormatError as error:
            raise self._refuse(node, from_format(error, digest=target.digest)) from error

    def _refuse(self, node: Node, error: Error) -> Error:
        """Marks a node as failed, and returns the error to raise."""
        blame(error)
        error.reference = error.reference or str(self.reference)
        self.progress.fail(node, error)
        return error

    def _own(self, error: Error) -> Error:
        """An error of shared work for this caller, whose reference may be another."""
        own = Error.from_json(error.to_json())
        own.reference = str(self.reference)
        return own

    # --- fetching

    async def _fetch_blobs(self) -> None:
        wanted = [child for node, child in self._blobs.values() if not node.state.final]
        try:
            async with self.room.claim(wanted), asyncio.TaskGroup() as group:
                if self.unpacking:
                    group.create_task(self.unpacking.run())
                for node, child in self._blobs.values():
                    group.create_task(self._get(node, child, self.fetcher.blob))
        except Error as error:
            error.reference = error.reference or str(self.reference)
            raise

    async def _hold(self, targets: Sequence[Descriptor]) -> None:
        fresh = [target for target in targets if target.digest not in self._held]
        if fresh:
            await self.protect(fresh)
            self._held.update(target.digest for target in fresh)

    async def _get(
        self, node: Node, target: Descriptor, fetch: _Fetch, *, forgiven: Reason | None = None
    ) -> None:
        """Brings one descriptor's content here, alone or with others who want it.

        A failure is the node's as well, unless it has the reason `forgiven`.
        """
        await self._hold([target])
        # Several manifests of one image may refer to it.
        async with self._slots, self._turns.take(node.node_id):
            if node.failure:
                raise node.failure
            if node.node_id in self._here or node.state.final:
                return
            if not await self._exists(node, target):
                await self._share(node, target, fetch, forgiven)

    async def _share(
        self, node: Node, target: Descriptor, fetch: _Fetch, forgiven: Reason | None
    ) -> None:
        async def work(flight: Flight[None]) -> None:
            await fetch(flight, self.reference, target, self.credentials)

        # Whoever says something else of a digest is not to harm those who are right.
        key = (fetch.__name__, *self._scope, target.digest, target.size, target.urls)
        claimed = 0
        async with self.flights.join(key, self.uid, work) as flight:
            activity = self.progress.begin(node, ActivityKind.DOWNLOAD, flight, target.size)
            try:
                await flight.result()
            except Error as error:
                own = self._own(error)
                own.digest = own.digest or target.digest
                if own.reason is forgiven:
                    self.progress.end(node, NodeState.WAITING)
                    raise own from error
                raise self._refuse(node, own) from error
            finally:
                claimed = flight.claim(self.uid)
                self.fetched += claimed
        self.progress.end(node, NodeState.DONE, flight.host, only=activity)
        self._arrived(node, target, NodeState.DONE)
        self.reused += max(target.size - claimed, 0)

    async def _exists(self, node: Node, target: Descriptor) -> bool:
        try:
            here = await asyncio.to_thread(is_here, self._content, target)
        except Error as error:
            raise self._refuse(node, error) from None
        if here:
            self.reused += target.size
            self.progress.end(node, NodeState.EXISTS)
            self._arrived(node, target, NodeState.EXISTS)
        return here

    def _arrived(self, node: Node, target: Descriptor, state: NodeState) -> None:
        """A blob is here; its node may have more to do."""
        self._here.add(node.node_id)
        if self.unpacking:
            self.unpacking.arrived(target, state)

    def _check_stored(self, description: Description) -> None:
        """The last look before a name may point here."""
        stored = {blob.digest for blob in description.blobs if blob.stored}
        for node in self.progress.nodes.values():
            if node.target and node.target.digest not in stored:
                raise Error(
                    Reason.STORE_CORRUPT,
                    f"{node.target.digest} was taken away while its image was pulled; pull it "
                    "again",
                    origin=Origin.DESTINATION,
                    digest=node.target.digest,
                )

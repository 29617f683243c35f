"""The part of a pull that unpacks: each layer while it comes, several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from imgd_server.content import ContentStore
from imgd_server.errors import Error, from_format
from imgd_server.images import (
    LayerUnpacker,
    Unpacked,
    children,
    choose_target,
    is_unpackable,
    layers_of,
    read_manifest,
)
from imgd_server.metadata import ImageRecord, ReadSession
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    Descriptor,
    Digest,
    FormatError,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    parse_config,
)
from imgd_server.rootfs import Layer, chain_ids
from imgd_server.transfer._progress import (
    Activity,
    ActivityKind,
    Node,
    NodeKind,
    NodeState,
    Progress,
    Retry,
    outline,
)

__all__ = ["Unpacking", "stored_manifests", "unpack_stored"]

Hold = Callable[[Sequence[Digest]], Awaitable[None]]


@dataclass(eq=False)
class _Part:
    """A layer's blob, as a `Work` whose figures other threads write. `left` says at how many places
    of manifests it is still to be unpacked."""

    node: Node
    left: int = 0
    state: NodeState | None = None
    """How it came, once it did."""
    activity: Activity | None = None
    wanted: bool = False
    """Whether it is really to be unpacked: what others have unpacked is taken as it is."""
    places: dict[tuple[str, int], int] = field(default_factory=dict)
    done_bytes: int = 0
    """Bytes unpacked, at all places."""
    resumed_bytes: int = 0
    moved_bytes: int = 0
    host: str = ""
    retry: Retry | None = None


class Unpacking:
    """Unpacks what one pull brings. Used from the event loop.

    `hold` must hold the chain IDs that it is given before it returns. `unpacked` is what came of
    it, when `run` has returned.
    """

    def __init__(
        self,
        unpacker: LayerUnpacker,
        content: ContentStore,
        progress: Progress,
        hold: Hold,
    ) -> None:
        self._unpacker, self._content = unpacker, content
        self._progress, self._hold = progress, hold
        self._manifests: dict[Digest, Manifest] = {}
        self._parts: dict[str, _Part] = {}
        self._configs: dict[str, asyncio.Event] = {}
        self.unpacked: list[Unpacked] = []

    def plan(self, manifest: Digest, parsed: Manifest) -> None:
        """Adds a manifest, whose blobs have nodes already; what is no root file system is passed
        over."""
        if manifest in self._manifests or not is_unpackable(parsed):
            return
        self._unpacker.prepare()
        self._manifests[manifest] = parsed
        self._configs.setdefault(parsed.config.digest, asyncio.Event())
        for layer in parsed.layers:
            node = self._progress.nodes[layer.digest]
            part = self._parts.setdefault(layer.digest, _Part(node))
            part.left += 1
            if node.state.final and part.state is None:
                part.state = node.state
            self._wait(part)

    def arrived(self, target: Descriptor, state: NodeState) -> None:
        """Takes note that a blob is there, and that its node has ended in `state`: it waits now, if
        there is more to do."""
        if event := self._configs.get(target.digest):
            event.set()
        if part := self._parts.get(target.digest):
            part.state = state
            if part.left:
                self._wait(part)
            else:
                self._finish(part)

    async def run(self) -> None:
        """Unpacks all, while blobs arrive. Raises Error, or a group of them."""
        async with asyncio.TaskGroup() as group:
            for digest, manifest in self._manifests.items():
                group.create_task(self._unpack(digest, manifest))

    async def _unpack(self, digest: Digest, manifest: Manifest) -> None:
        if self._content.find(manifest.config.digest) is None:
            await self._configs[manifest.config.digest].wait()
        config = await asyncio.to_thread(self._read_config, manifest.config)
        layers = layers_of(manifest, config)
        diff_ids = [diff_id for _, diff_id in layers]
        await self._hold(self._unpacker.chains(diff_ids))
        self._expect(layers, chain_ids(diff_ids))
        loop = asyncio.get_running_loop()

        def on_progress(place: int, done: int, ended: bool) -> None:
            part = self._parts[layers[place][0].digest]
            part.places[digest, place] = max(done, part.places.get((digest, place), 0))
            before, part.done_bytes = part.done_bytes, sum([*part.places.values()])
            if not before and part.done_bytes:
                loop.call_soon_threadsafe(self._begin, part)
            if ended:
                loop.call_soon_threadsafe(self._end, part)

        try:
            snapshots = await self._unpacker.unpack(
                [self._layer(layer, diff_id) for layer, diff_id in layers], on_progress
            )
        except Error as error:
            blobs = {diff_id: layer.digest for layer, diff_id in layers}
            blob = blobs.get(Digest(error.digest), error.digest) if error.digest else ""
            if part := self._parts.get(blob):
                self._progress.fail(part.node, error)
            raise
        self.unpacked.append(Unpacked(digest, snapshots))

    def _read_config(self, target: Descriptor) -> ImageConfig:
        try:
            return parse_config(self._content.read(target.digest, MAX_CONFIG_BYTES))
        except FormatError as error:
            raise from_format(error, digest=target.digest) from error

    def _layer(self, layer: Descriptor, diff_id: Digest) -> Layer:
        source = partial(self._content.follow, layer.digest)
        return Layer(diff_id, source, layer.size, layer.digest)

    def _expect(
        self, layers: Sequence[tuple[Descriptor, Digest]], chains: Sequence[Digest]
    ) -> None:
        """Begins the activity of layers that are to be unpacked, as far as their blobs are here;
        that of others begins with the first bytes unpacked."""
        store = self._unpacker.store
        whole = store.kind == "copy" and bool(chains) and store.has(chains[-1])
        for (layer, _), chain_id in zip(layers, chains, strict=True):
            if not whole and not store.has(chain_id):
                part = self._parts[layer.digest]
                part.wanted = True
                self._begin(part)

    def _wait(self, part: _Part) -> None:
        here = part.state is not None and not part.node.failure
        if here and part.left and part.activity is None:
            part.node.state = NodeState.WAITING
            self._progress.touch(part.node)
            self._begin(part)

    def _begin(self, part: _Part) -> None:
        begun = part.state is not None or part.done_bytes
        if begun and part.wanted and part.activity is None and part.left and not part.node.failure:
            part.activity = self._progress.begin(part.node, ActivityKind.UNPACK, part)

    def _end(self, part: _Part) -> None:
        """One place more of a layer is unpacked."""
        part.left -= 1
        self._finish(part)

    def _finish(self, part: _Part) -> None:
        """Ends the node of a layer that is here, and unpacked at all places."""
        if part.left or part.state is None or part.node.failure:
            return
        state = part.state
        if part.activity is not None:
            part.activity.total = part.done_bytes
            state = NodeState.DONE
        self._progress.end(part.node, state)


def stored_manifests(
    session: ReadSession,
    image: ImageRecord,
    wanted: Sequence[Platform],
    *,
    explicit: bool,
    all_platforms: bool,
) -> list[Descriptor]:
    """The manifests of a stored image that a pull of it is for. Raises PLATFORM_NOT_FOUND."""
    platforms = session.image_platforms(image.uid)
    if all_platforms:
        return [one.manifest for one in platforms if one.complete]
    asked: Sequence[Platform | None] = wanted if explicit else (None,)
    found = [choose_target(image, platforms, one) for one in asked]
    return [*{target.digest: target for target in found}.values()]


async def unpack_stored(
    unpacking: Unpacking,
    progress: Progress,
    content: ContentStore,
    targets: Sequence[Descriptor],
    hold: Hold,
) -> tuple[Unpacked, ...]:
    """Unpacks what is stored already. Raises as `Unpacking.run`, and BLOB_NOT_FOUND."""
    for target in targets:
        await hold([target.digest])
        parsed = await asyncio.to_thread(read_manifest, content, target)
        if isinstance(parsed, Index):
            continue
        await hold([child.digest for child in children(parsed)])
        for child in children(parsed):
            await asyncio.to_thread(content.info, child.digest)
        exists = partial(Node, state=NodeState.EXISTS)
        progress.add(exists(target.digest, NodeKind.MANIFEST, outline(target)))
        for position, child in enumerate(children(parsed)):
            progress.add(
                exists(
                    child.digest,
                    NodeKind.LAYER if position else NodeKind.CONFIG,
                    outline(child),
                    parent_id=target.digest,
                    layer_index=position - 1 if position else None,
                )
            )
        unpacking.plan(target.digest, parsed)
    progress.planned = True
    await unpacking.run()
    return tuple(unpacking.unpacked)

"""An image's layers as files: which they are, and unpacking them into the snapshots it keeps."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import structlog

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images._inspect import choose_target
from imgd_server.metadata import WriteSession
from imgd_server.oci import Descriptor, Digest, ImageConfig, Manifest, media
from imgd_server.registry import Cancellation
from imgd_server.rootfs import (
    Layer,
    Limits,
    Snapshot,
    SnapshotStore,
    Unpacker,
    chain_ids,
    diff_id_of,
)
from imgd_server.threads import in_thread

__all__ = ["LayerUnpacker", "Unpacked", "is_unpackable", "layers_of", "record_unpacked"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# Calls that wait for their layers; they need no processor. More than transfers at once by default.
_CALLS = 128
# Layers that were seen to unpack to what their image says; two digests each.
_MAX_SEEN = 100_000


@dataclass(frozen=True, slots=True)
class Unpacked:
    """A manifest's layers, unpacked. `snapshots` are the lowest first; of a `copy` store the whole
    tree alone."""

    manifest: Digest
    snapshots: tuple[Snapshot, ...]

    @property
    def size(self) -> int:
        """Bytes of the layers' files, as Docker counts them."""
        return sum(one.stats.file_bytes for one in self.snapshots)


def is_unpackable(manifest: Manifest) -> bool:
    """Whether a manifest is of a root file system: an image's config, and layers alone."""
    return media.is_image_config(manifest.config.media_type) and all(
        media.is_layer(layer.media_type) for layer in manifest.layers
    )


def layers_of(manifest: Manifest, config: ImageConfig) -> list[tuple[Descriptor, Digest]]:
    """The layers with their diff IDs, lowest first.

    Raises UNSUPPORTED for what is no root file system, CONFIG_INVALID where the config does not
    have a diff ID for each layer.
    """
    if not is_unpackable(manifest):
        raise Error(Reason.UNSUPPORTED, "this is no image of a root file system: it has no layers")
    if len(manifest.layers) != len(config.diff_ids):
        raise Error(
            Reason.CONFIG_INVALID,
            f"the config has {len(config.diff_ids)} diff IDs for {len(manifest.layers)} layers",
            digest=manifest.config.digest,
        )
    return list(zip(manifest.layers, config.diff_ids, strict=True))


class LayerUnpacker:
    """Unpacks in threads and processes of its own, for callers on the event loop."""

    def __init__(self, unpacker: Unpacker) -> None:
        self._unpacker = unpacker
        self._calls = ThreadPoolExecutor(_CALLS, "unpacking")
        # A layer's digest and what it unpacks to.
        self._seen: set[tuple[str, Digest]] = set()

    @property
    def store(self) -> SnapshotStore:
        """Where snapshots are."""
        return self._unpacker.store

    def prepare(self) -> None:
        """Makes the first layer begin at once, without waiting for it. May be called from the
        event loop."""
        self._calls.submit(self._unpacker.prepare)

    def chains(self, diff_ids: Sequence[Digest]) -> list[Digest]:
        """The chain IDs of the snapshots that layers become: what to hold before they are made."""
        chains = chain_ids(diff_ids)
        return chains if self.store.kind == "overlay" else chains[-1:]

    async def unpack(
        self, layers: Sequence[Layer], on_progress: Callable[[int, int, bool], None]
    ) -> tuple[Snapshot, ...]:
        """See `Unpacker.unpack`. Whoever calls holds the layers' `chains`, by a lease or an image,
        or a collection may take them. Once cancelled, returns when nothing is written any more."""
        applied: set[int] = set()

        def note(place: int, done: int, ended: bool) -> None:
            # Of a snapshot that was there nothing is unpacked.
            if done:
                applied.add(place)
            on_progress(place, done, ended)

        snapshots = await self._run(
            lambda cancellation: tuple(self._unpacker.unpack(layers, note, cancellation))
        )
        self._note([layers[place] for place in applied])
        return snapshots

    async def sync(self, snapshots: Sequence[Snapshot]) -> None:
        """Makes what was unpacked durable: for what does not come back by unpacking again. Raises
        as `SnapshotStore.sync` does."""
        await in_thread(lambda: self.store.sync([one.chain_id for one in snapshots]))

    async def prove(self, content: ContentStore, layers: Sequence[Layer]) -> None:
        """Makes sure that stored layers unpack to their diff IDs also where their snapshots were
        there: an image's config may name what others' layers unpack to (ADR-0013).

        Raises DIGEST_MISMATCH, LAYER_INVALID, LAYER_TOO_LARGE, BLOB_NOT_FOUND.
        """
        unseen = [
            one
            for one in layers
            if one.digest != one.diff_id and (one.digest, one.diff_id) not in self._seen
        ]
        for layer in unseen:
            await self._run(
                lambda cancellation: _check(content, layer, self._unpacker.limits, cancellation)  # noqa: B023
            )
        self._note(unseen)

    def _note(self, layers: Sequence[Layer]) -> None:
        if len(self._seen) + len(layers) > _MAX_SEEN:
            self._seen.clear()
        self._seen.update((one.digest, one.diff_id) for one in layers)

    async def _run(self, work: Callable[[Cancellation], T]) -> T:
        """Work in a thread; once cancelled, however often, returns when it has ended."""
        cancellation = Cancellation()
        return await in_thread(lambda: work(cancellation), self._calls, cancellation.cancel)

    def close(self) -> None:
        """Ends the processes. Calls under way must have ended."""
        self._calls.shutdown()
        self._unpacker.close()
        # Or a machine that is shut down in good order would lose what was unpacked last.
        try:
            self.store.sync()
        except (OSError, Error) as error:
            _log.warning("what was unpacked is not on the disk", why=str(error))


def _check(content: ContentStore, layer: Layer, limits: Limits, cancellation: Cancellation) -> None:
    with content.open(Digest(layer.digest)) as reader:
        descriptor = reader.fileno()
        found = diff_id_of(
            lambda size, offset: os.pread(descriptor, size, offset),
            layer.diff_id.algorithm,
            limits,
            cancellation.check,
        )
    if found != layer.diff_id:
        raise Error(
            Reason.DIGEST_MISMATCH,
            f"the layer {layer.digest} unpacks to {found}, and its image's config says "
            f"{layer.diff_id}",
            digest=layer.diff_id,
        )


def record_unpacked(session: WriteSession, uid: str, unpacked: Sequence[Unpacked]) -> None:
    """Lets an image hold its snapshots, and tells its size unpacked: that of the platform served by
    default. Passes over an image that is gone."""
    record = session.image(uid)
    if record is None:
        return
    default = choose_target(record, session.image_platforms(uid), None).digest
    for one in unpacked:
        session.add_snapshots(uid, [snapshot.chain_id for snapshot in one.snapshots])
        if one.manifest == default and record.unpacked_size != one.size:
            session.set_unpacked_size(uid, one.size)

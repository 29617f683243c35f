"""The space that the store uses, as `docker system df` counts it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from imgd_server.content import ContentStore
from imgd_server.images._collect import free_partials, listed
from imgd_server.images._indexes import LayerIndexes
from imgd_server.images._snapshots import size_of
from imgd_server.metadata import MetadataStore, ReadSession
from imgd_server.rootfs import SnapshotStore

__all__ = ["StoreUsage", "Usage", "bytes_of", "usage_of"]


@dataclass(frozen=True, slots=True)
class Usage:
    """One kind of thing. Sizes in bytes; what is shared counts once."""

    count: int = 0
    active: int = 0
    total: int = 0
    reclaimable: int = 0


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """All kinds."""

    images: Usage
    containers: Usage
    blobs: Usage
    partials: Usage
    snapshots: Usage = Usage()
    indexes: Usage = Usage()


async def usage_of(
    metadata: MetadataStore,
    content: ContentStore,
    now: int,
    snapshots: Sequence[SnapshotStore] = (),
    indexes: LayerIndexes | None = None,
) -> StoreUsage:
    """Counts images, containers, blobs (those of no image too), unfinished content, unpacked
    layers and layers' indexes."""
    infos = await listed(content.blobs())
    partials = await listed(content.partials())

    def count(session: ReadSession) -> tuple[Usage, Usage, set[str], list[int]]:
        used, in_use = session.content_bytes(), session.content_bytes(in_use=True)
        images = Usage(session.count_images(), session.count_used_images(), used, used - in_use)
        containers = Usage(
            session.count_containers(()), session.count_containers(("RUNNING", "PAUSED"))
        )
        loose = [one.size for one in free_partials(session, content, partials, now)]
        return images, containers, session.held_digests(now), loose

    images, containers, held, loose = await metadata.read(count)
    free = [one.size for one in infos if one.digest not in held]
    return StoreUsage(
        images,
        containers,
        Usage(len(infos), len(infos) - len(free), sum(one.size for one in infos), sum(free)),
        Usage(
            len(partials), len(partials) - len(loose), sum(one.size for one in partials), sum(loose)
        ),
        await _unpacked(metadata, snapshots, now),
        await _indexed(indexes, held, {one.digest for one in infos}) if indexes else Usage(),
    )


async def bytes_of(
    content: ContentStore,
    snapshots: Sequence[SnapshotStore] = (),
    indexes: LayerIndexes | None = None,
) -> int:
    """What the store takes up: all blobs, unfinished content, unpacked layers and layers' indexes,
    whoever holds them."""
    total = sum(one.size for one in await listed(content.blobs()))
    total += sum(one.size for one in await listed(content.partials()))
    sizes = (size_of(store, one) for store in snapshots for one in store.snapshots())
    total += sum(await listed(sizes))
    if indexes is not None:
        total += sum(one.size for one in await listed(indexes.kept()))
    return total


async def _unpacked(metadata: MetadataStore, stores: Sequence[SnapshotStore], now: int) -> Usage:
    """Those in use are held by an image or a lease."""
    found = [(store, one) for store in stores for one in store.snapshots()]
    chains = [one for _, one in found]
    held = await metadata.read(lambda session: session.held_snapshots(chains, now))
    sizes = await listed((one, size_of(store, one)) for store, one in found)
    loose = [size for one, size in sizes if one not in held]
    total = sum(size for _, size in sizes)
    return Usage(len(sizes), len(sizes) - len(loose), total, sum(loose))


async def _indexed(indexes: LayerIndexes, held: Collection[str], stored: Collection[str]) -> Usage:
    """Those in use are of layers that are here and held."""
    kept = await listed(indexes.kept())
    used = [one for one in kept if one.usable and one.digest in held and one.digest in stored]
    total = sum(one.size for one in kept)
    return Usage(len(kept), len(used), total, total - sum(one.size for one in used))

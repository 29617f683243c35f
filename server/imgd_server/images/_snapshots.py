"""Snapshots beside the images that keep them: collecting, counting and checking them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from imgd_server.errors import Error
from imgd_server.metadata import MetadataStore, WriteSession
from imgd_server.oci import Digest
from imgd_server.rootfs import SnapshotStore, chain_ids

__all__ = [
    "broken_snapshots",
    "collect_snapshots",
    "size_of",
    "sweep_snapshots",
    "unpacked_sizes",
]

# Taking a snapshot out of sight is an unlink; a batch ends with a sync of the folder.
_BATCH = 128


async def collect_snapshots(
    metadata: MetadataStore, store: SnapshotStore, clock: Callable[[], int], *, dry_run: bool
) -> tuple[int, int]:
    """Removes the snapshots that no image and no lease holds; returns how many, and the bytes of
    their files. With `dry_run` it removes nothing, and tells what it would.

    As with blobs: whoever relies on a snapshot holds it first, and looks whether it is there
    afterwards; what is hidden is hidden in a transaction that looks at the holds once more.
    """
    chains = store.snapshots()
    held = await metadata.read(lambda session: session.held_snapshots(chains, clock()))
    free = [one for one in chains if one not in held]
    sizes = await asyncio.to_thread(lambda: {one: size_of(store, one) for one in free})
    gone = set(free)
    if not dry_run:
        gone = await _hide(metadata, store, clock, free)
        await sweep_snapshots(store)
    return len(gone), sum(sizes[one] for one in gone)


async def _hide(
    metadata: MetadataStore, store: SnapshotStore, clock: Callable[[], int], free: list[Digest]
) -> set[Digest]:
    gone: set[Digest] = set()

    def hide(session: WriteSession, batch: list[Digest]) -> list[Digest]:
        held = session.held_snapshots(batch, clock())
        return store.hide(one for one in batch if one not in held)

    while True:
        before = len(gone)
        for start in range(0, len(free), _BATCH):
            batch = free[start : start + _BATCH]
            gone.update(await metadata.write_alone(lambda session: hide(session, batch)))  # noqa: B023
        # One that others stand on goes in the next round, after them.
        free = [one for one in free if one not in gone]
        if not free or len(gone) == before:
            return gone


async def sweep_snapshots(store: SnapshotStore) -> None:
    """Frees what was hidden, and what interrupted runs left; a layer at a time, so that a stop of
    the daemon waits for no more."""
    while await asyncio.to_thread(store.collect, 1):
        pass


def size_of(store: SnapshotStore, chain_id: Digest) -> int:
    """The bytes of a snapshot's files; 0 for one that can't be read, or is gone."""
    try:
        found = store.find(chain_id)
    except Error:
        return 0
    return found.stats.file_bytes if found else 0


def unpacked_sizes(
    store: SnapshotStore | None, diff_ids: Sequence[Digest], total: int | None
) -> list[int | None]:
    """Bytes of each layer's files, lowest first; None where that is not known: of one that is not
    unpacked, and of a tree of several, which are only known together. Where the `total` is known,
    so is the last of them. Blocks."""
    sizes: list[int | None] = [None] * len(diff_ids)
    if store is not None and (store.kind != "copy" or len(diff_ids) == 1):
        chains = chain_ids(diff_ids)
        sizes = [size_of(store, one) if store.has(one) else None for one in chains]
    if total is not None and sizes.count(None) == 1:
        sizes[sizes.index(None)] = max(total - sum(one or 0 for one in sizes), 0)
    return sizes


def broken_snapshots(store: SnapshotStore, *, repair: bool) -> list[tuple[Digest, str]]:
    """Snapshots that can't be used, and why; with `repair` they go, with all that stand on them,
    and are made again when they are needed. Blocks."""
    broken: dict[Digest, str] = {}
    for chain_id in store.snapshots():
        try:
            found = store.find(chain_id)
        except Error:
            broken[chain_id] = "its record can't be read"
            continue
        if found is None:
            continue  # collected meanwhile
        if not found.path.is_dir():
            broken[chain_id] = "its files are gone"
        elif found.parent is not None and not store.has(found.parent):
            broken[chain_id] = "the one that it stands on is gone"
    if repair and broken:
        store.hide(store.above(broken))
    return list(broken.items())

"""What is known of layers' sizes."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgd_server.images import unpacked_sizes
from imgd_server.oci import Digest
from imgd_server.rootfs import AppliedLayer, LayerStats, SnapshotStore, chain_ids

DIFF_IDS = [Digest.of(bytes([number])) for number in range(3)]


def overlay(folder: Path, sizes: list[int]) -> SnapshotStore:
    """A store in which so many of the layers are unpacked, the lowest first."""
    store = SnapshotStore(folder, "overlay")
    parent = None
    for diff_id, chain, size in zip(DIFF_IDS, chain_ids(DIFF_IDS), sizes, strict=False):
        draft = store.claim(chain)
        assert draft is not None
        store.commit(draft, parent, AppliedLayer(diff_id, LayerStats(file_bytes=size)))
        parent = chain
    return store


@pytest.mark.parametrize(
    ("known", "total", "found"),
    [
        ([5, 7], None, [5, 7, None]),
        ([5, 7], 20, [5, 7, 8]),
        ([5, 7], 11, [5, 7, 0]),
        ([5], 20, [5, None, None]),
        ([5, 7, 9], 20, [5, 7, 9]),
    ],
)
def test_of_one_layer_that_is_not_known_the_image_tells(
    tmp_path: Path, known: list[int], total: int | None, found: list[int | None]
) -> None:
    assert unpacked_sizes(overlay(tmp_path, known), DIFF_IDS, total) == found


def test_without_snapshots_of_layers_one_alone_is_known(tmp_path: Path) -> None:
    copy = SnapshotStore(tmp_path, "copy")
    for store in (None, copy):
        assert unpacked_sizes(store, DIFF_IDS, 20) == [None] * 3
        assert unpacked_sizes(store, DIFF_IDS[:1], 20) == [20]
        assert unpacked_sizes(store, DIFF_IDS[:1], None) == [None]
        assert unpacked_sizes(store, [], 0) == []

"""What keeps snapshots, what collects them, and which layers an image has."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import zstandard

from imgd_server.errors import Error, Reason
from imgd_server.images import (
    LayerUnpacker,
    Unpacked,
    collect,
    layers_of,
    record_unpacked,
    usage_of,
)
from imgd_server.images._snapshots import broken_snapshots, collect_snapshots
from imgd_server.metadata import SqliteMetadataStore, WriteSession
from imgd_server.oci import Digest, Manifest, media, parse_config, parse_manifest
from imgd_server.rootfs import (
    AppliedLayer,
    LayerStats,
    Limits,
    Snapshot,
    SnapshotStore,
    chain_ids,
    stored_layer,
)
from tests.fake_images import FakeImage, make_image, make_layer
from tests.records import image_record, lease_record
from tests.unit.images.conftest import Shelf

DIFFS = [Digest.of(b"layer %d" % number) for number in range(3)]
CHAINS = chain_ids(DIFFS)
NOW = 1000


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    yield store
    await store.close()


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "snapshots", "overlay")


def make(store: SnapshotStore, count: int = 3) -> list[Snapshot]:
    made = []
    for place in range(count):
        draft = store.claim(CHAINS[place])
        assert draft is not None
        (draft.path / "file").write_bytes(b"x" * (place + 1))
        applied = AppliedLayer(DIFFS[place], LayerStats(file_bytes=place + 1))
        made.append(store.commit(draft, CHAINS[place - 1] if place else None, applied))
    return made


def on_disk(store: SnapshotStore) -> int:
    return len([*store.layers.iterdir()])


async def test_what_nobody_holds_goes_and_its_bases_after_it(
    metadata: SqliteMetadataStore, store: SnapshotStore
) -> None:
    make(store)
    assert await collect_snapshots(metadata, store, lambda: NOW, dry_run=True) == (3, 6)
    assert on_disk(store) == 3
    await metadata.write(lambda session: session.put_lease(lease_record("l", digests=CHAINS[:1])))
    assert await collect_snapshots(metadata, store, lambda: NOW - 1, dry_run=False) == (2, 5)
    assert store.snapshots() == CHAINS[:1]
    assert on_disk(store) == 1
    assert await collect_snapshots(metadata, store, lambda: NOW, dry_run=False) == (1, 1)
    assert on_disk(store) == 0


async def test_a_hold_that_comes_before_the_sweep_keeps_its_snapshot(
    metadata: SqliteMetadataStore, store: SnapshotStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever holds first and looks afterwards finds either nothing, or what stays."""
    make(store)
    alone = metadata.write_alone

    async def held_meanwhile(function: object) -> object:
        await metadata.write(lambda session: session.put_lease(lease_record("l", digests=CHAINS)))
        return await alone(function)  # type: ignore[arg-type]

    monkeypatch.setattr(metadata, "write_alone", held_meanwhile)
    assert await collect_snapshots(metadata, store, lambda: NOW - 1, dry_run=False) == (0, 0)
    assert set(store.snapshots()) == set(CHAINS)


async def test_a_collection_reports_and_usage_counts_them(
    metadata: SqliteMetadataStore, store: SnapshotStore, shelf: Shelf
) -> None:
    make(store)

    def put(session: WriteSession) -> None:
        session.put_image(image_record("a"), (), ())
        session.add_snapshots("UIDa", CHAINS[:2])

    await metadata.write(put)
    usage = (await usage_of(metadata, shelf, NOW, [store])).snapshots
    assert (usage.count, usage.active, usage.total, usage.reclaimable) == (3, 2, 6, 3)
    report = await collect(metadata, shelf, lambda: NOW, dry_run=False, snapshots=[store])
    assert (report.deleted_snapshots, report.freed_bytes) == (1, 3)
    assert set(store.snapshots()) == set(CHAINS[:2])


async def test_an_image_tells_the_size_of_its_default_platform(
    metadata: SqliteMetadataStore, store: SnapshotStore
) -> None:
    snapshots = tuple(make(store))
    record = image_record("a")
    await metadata.write(lambda session: session.put_image(record, (), ()))
    other = Unpacked(Digest.of(b"another manifest"), snapshots[:1])
    await metadata.write(lambda session: record_unpacked(session, "UIDa", [other]))
    known = await metadata.read(lambda session: session.image("UIDa"))
    assert known is not None
    assert known.unpacked_size == record.unpacked_size
    own = Unpacked(record.target.digest, snapshots)
    await metadata.write(lambda session: record_unpacked(session, "UIDa", [own]))
    known = await metadata.read(lambda session: session.image("UIDa"))
    assert known is not None
    assert known.unpacked_size == own.size == 6
    held = await metadata.read(lambda session: session.held_snapshots(CHAINS, NOW))
    assert held == set(CHAINS)
    # The image may be gone by then.
    await metadata.write(lambda session: record_unpacked(session, "nobody", [own]))


def test_broken_snapshots_go_with_all_above_them(store: SnapshotStore) -> None:
    snapshots = make(store)
    assert broken_snapshots(store, repair=True) == []
    (snapshots[1].path / "file").unlink()
    snapshots[1].path.rmdir()
    found = broken_snapshots(store, repair=False)
    assert found == [(CHAINS[1], "its files are gone")]
    assert set(store.snapshots()) == set(CHAINS)
    assert broken_snapshots(store, repair=True) == found
    assert store.snapshots() == CHAINS[:1]
    (snapshots[0].path.parent / "snapshot.json").write_text("{")
    assert broken_snapshots(store, repair=True) == [(CHAINS[0], "its record can't be read")]
    assert store.snapshots() == []


def parsed(image: FakeImage) -> Manifest:
    found = parse_manifest(image.raw, image.media_type)
    assert isinstance(found, Manifest)
    return found


def test_which_layers_an_image_has() -> None:
    archives = [make_layer({"a": b"1"}), make_layer({"b": b"2"})]
    image = make_image(archives)
    manifest, config = parsed(image), parse_config(image.blobs[image.image_id])
    layers = layers_of(manifest, config)
    assert [diff_id for _, diff_id in layers] == [Digest.of(one) for one in archives]
    assert [layer for layer, _ in layers] == [*manifest.layers]
    with pytest.raises(Error) as caught:
        layers_of(manifest, replace(config, diff_ids=config.diff_ids[:1]))
    assert caught.value.reason is Reason.CONFIG_INVALID
    artifact = replace(manifest, config=replace(manifest.config, media_type=media.OCI_EMPTY))
    with pytest.raises(Error) as caught:
        layers_of(artifact, config)
    assert caught.value.reason is Reason.UNSUPPORTED


# --- whether layers are what their image says


@pytest.fixture
async def unpacker(tmp_path: Path) -> AsyncIterator[LayerUnpacker]:
    """One that unpacks nothing: it tells of the first layer alone that it did."""

    class First:
        store = SnapshotStore(tmp_path / "first", "copy")
        limits = Limits()

        def unpack(
            self, _: object, on_progress: Callable[[int, int, bool], None], __: object
        ) -> list[Snapshot]:
            on_progress(0, 10, True)
            on_progress(1, 0, True)
            return []

        def close(self) -> None:
            pass

    made = LayerUnpacker(cast(Any, First()))
    yield made
    made.close()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress, bytes])
async def test_a_layer_is_looked_into_where_its_snapshot_was_there(
    unpacker: LayerUnpacker, shelf: Shelf, pack: Callable[[bytes], bytes]
) -> None:
    archive, other = make_layer({"a": b"mine"}), make_layer({"a": b"somebody's"})
    digest, diff_id = shelf.put(pack(archive)), Digest.of(archive)
    await unpacker.prove(shelf, [stored_layer(shelf, digest, diff_id)])
    with pytest.raises(Error, match="and its image's config says") as caught:
        await unpacker.prove(shelf, [stored_layer(shelf, digest, Digest.of(other))])
    assert caught.value.reason is Reason.DIGEST_MISMATCH


async def test_what_was_unpacked_here_is_known(unpacker: LayerUnpacker, shelf: Shelf) -> None:
    wrong = Digest.of(b"something else")
    layers = [stored_layer(shelf, shelf.put(make_layer({"a": one})), wrong) for one in (b"1", b"2")]
    told: list[tuple[int, int, bool]] = []
    await unpacker.unpack(layers, lambda *facts: told.append(facts))
    assert told == [(0, 10, True), (1, 0, True)]
    # The first was verified as it was unpacked; of the second a snapshot was taken as it was.
    await unpacker.prove(shelf, layers[:1])
    with pytest.raises(Error) as caught:
        await unpacker.prove(shelf, layers)
    assert caught.value.reason is Reason.DIGEST_MISMATCH

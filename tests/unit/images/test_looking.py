"""Looking inside images: how indexes are built, shared, kept and collected."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import (
    LayerIndexes,
    Looker,
    collect,
    describe,
    usage_of,
)
from imgd_server.images import _looking as looking
from imgd_server.metadata import LeaseRecord, Name, SqliteMetadataStore, WriteSession
from imgd_server.oci import Digest, Platform
from imgd_server.rootfs import build_index
from tests.fake_images import FakeImage, make_image, make_layer
from tests.unit.images.conftest import Shelf
from tests.unit.rootfs.archives import archive, file, whiteout

LAYERS = [make_layer({"low": b"1" * 100}), make_layer({"high": b"2" * 50})]
APP = make_image(LAYERS)
NAME = "h.io/app:1"
NOW = time.time_ns() // 1000
# A net for what never comes.
PATIENCE = 60.0


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    yield store
    await store.close()


@pytest.fixture
def indexes(tmp_path: Path) -> LayerIndexes:
    return LayerIndexes(tmp_path / "indexes")


@pytest.fixture
async def looker(
    metadata: SqliteMetadataStore, shelf: Shelf, indexes: LayerIndexes
) -> AsyncIterator[Looker]:
    await add(metadata, shelf, APP)
    looker = Looker(metadata, shelf, indexes)
    yield looker
    await asyncio.to_thread(looker.close)


async def add(metadata: SqliteMetadataStore, shelf: Shelf, image: FakeImage) -> None:
    described = describe(shelf, shelf.add(image), Platform("linux", "amd64"))

    def show(session: WriteSession) -> None:
        record = session.put_image(described.record, described.platforms, described.blobs)
        session.put_name(Name(NAME, "h.io/app"), record.uid)

    await metadata.write(show)


async def names(looker: Looker) -> list[bytes]:
    async with looker.open(NAME, None, None) as tree:
        page = await looker.run(lambda: tree.page(b"/", "", 100, None, recursive=True))
    return [one.file.path for one in page.files]


async def leases(metadata: SqliteMetadataStore) -> list[LeaseRecord]:
    return [*await metadata.read(lambda session: session.expired_leases(1 << 62, 100))]


async def remove_and_collect(
    metadata: SqliteMetadataStore, shelf: Shelf, indexes: LayerIndexes
) -> int:
    """Removes the image, and returns how many blobs went."""
    await metadata.write(delete_all)
    report = await collect(metadata, shelf, lambda: NOW, dry_run=False, indexes=indexes)
    return report.deleted_blobs


def delete_all(session: WriteSession) -> None:
    for _, record in session.list_images(None, 100):
        session.delete_image(record.uid)


class Builds:
    """Builds that wait for the test, and are counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.begun, self.go_on = threading.Event(), threading.Event()
        build = build_index

        def wait(*words: Any) -> Any:
            self.count += 1
            self.begun.set()
            assert self.go_on.wait(60)
            return build(*words)

        monkeypatch.setattr(looking, "build_index", wait)


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Builds]:
    builds = Builds(monkeypatch)
    yield builds
    builds.go_on.set()


async def test_an_index_is_built_once_for_all_who_wait(looker: Looker, builds: Builds) -> None:
    looks = [asyncio.create_task(names(looker)) for _ in range(5)]
    await asyncio.to_thread(builds.begun.wait, 60)
    # One of them leaves, the first: the others get what it began.
    looks[0].cancel()
    builds.go_on.set()
    found = await asyncio.gather(*looks, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert found[1:] == [[b"/high", b"/low"]] * 4
    assert builds.count == 2
    assert await names(looker) == [b"/high", b"/low"]
    assert builds.count == 2


async def test_what_everybody_left_is_there_the_next_time(
    looker: Looker, metadata: SqliteMetadataStore, builds: Builds, indexes: LayerIndexes
) -> None:
    look = asyncio.create_task(names(looker))
    await asyncio.to_thread(builds.begun.wait, 60)
    assert [one.is_own for one in await leases(metadata)] == [True]
    look.cancel()
    with pytest.raises(asyncio.CancelledError):
        await look
    assert await leases(metadata) == []
    builds.go_on.set()
    assert await names(looker) == [b"/high", b"/low"]
    assert builds.count == 2
    assert len([*indexes.kept()]) == 2


async def test_a_collection_meanwhile_takes_nothing_of_what_is_looked_at(
    looker: Looker,
    metadata: SqliteMetadataStore,
    shelf: Shelf,
    indexes: LayerIndexes,
    builds: Builds,
) -> None:
    look = asyncio.create_task(names(looker))
    await asyncio.to_thread(builds.begun.wait, 60)
    assert await remove_and_collect(metadata, shelf, indexes) == 2  # manifest and config
    builds.go_on.set()
    assert await look == [b"/high", b"/low"]
    assert await leases(metadata) == []
    freed = sum(one.size for one in indexes.kept())
    report = await collect(metadata, shelf, lambda: NOW, dry_run=False, indexes=indexes)
    assert report.deleted_blobs == 2
    assert report.freed_bytes == freed + sum(one["size"] for one in APP.document["layers"])
    assert [*indexes.kept()] == []


async def test_a_file_is_read_to_its_end(
    looker: Looker, metadata: SqliteMetadataStore, shelf: Shelf, indexes: LayerIndexes
) -> None:
    await names(looker)
    async with looker.open(NAME, None, None, reads=True) as tree:
        await remove_and_collect(metadata, shelf, indexes)
        found = tree.find(b"/low", follow=True)
        with tree.open(found) as reader:
            assert b"".join(tree.read(reader, found, 0, 0)) == b"1" * 100
    assert await leases(metadata) == []


async def test_a_list_goes_on_without_its_index(
    looker: Looker, metadata: SqliteMetadataStore, shelf: Shelf, indexes: LayerIndexes
) -> None:
    await names(looker)
    async with looker.open(NAME, None, None) as tree:
        assert await leases(metadata) == []
        await remove_and_collect(metadata, shelf, indexes)
        assert [*indexes.kept()] == []
        assert tree.find(b"/low", follow=True).file.size == 100
    with pytest.raises(Error) as caught:
        await names(looker)
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND


async def test_what_a_dry_run_tells_is_what_is_freed(
    looker: Looker, metadata: SqliteMetadataStore, shelf: Shelf, indexes: LayerIndexes
) -> None:
    await names(looker)
    kept = sum(one.size for one in indexes.kept())
    used = (await usage_of(metadata, shelf, NOW, (), indexes)).indexes
    assert (used.count, used.active, used.total, used.reclaimable) == (2, 2, kept, 0)
    await metadata.write(delete_all)
    free = (await usage_of(metadata, shelf, NOW, (), indexes)).indexes
    assert (free.count, free.active, free.total, free.reclaimable) == (2, 0, kept, kept)
    plan = await collect(metadata, shelf, lambda: NOW, dry_run=True, indexes=indexes)
    assert len([*indexes.kept()]) == 2
    done = await collect(metadata, shelf, lambda: NOW, dry_run=False, indexes=indexes)
    assert plan.freed_bytes == done.freed_bytes > kept
    assert [*indexes.kept()] == []


async def test_a_start_ends_what_was_under_way(
    looker: Looker,
    metadata: SqliteMetadataStore,
    indexes: LayerIndexes,
    tmp_path: Path,
) -> None:
    await names(looker)
    (tmp_path / "indexes" / "abc.tmp").write_bytes(b"half")
    (tmp_path / "indexes" / "abc.tmp-journal").write_bytes(b"half")
    (tmp_path / "indexes" / "README").write_text("somebody else's")
    other = tmp_path / "indexes" / (indexes.path(Digest.of(b"x")).stem + ".0")
    other.write_bytes(b"of an earlier version")
    held = LeaseRecord("look:1", 1, 1 << 61, digests=(Digest.of(b"x"),))
    others = LeaseRecord("mine", 1, 1 << 61)
    for one in (held, others):
        await metadata.write(lambda session, one=one: session.put_lease(one))  # type: ignore[misc]
    await looker.recover()
    assert [one.lease_id for one in await leases(metadata)] == ["mine"]
    left = {path.name for path in (tmp_path / "indexes").iterdir()}
    assert "abc.tmp" not in left
    assert "abc.tmp-journal" not in left
    assert await asyncio.to_thread(indexes.collect, looker._content.find, dry_run=False) > 0
    assert {path.name for path in (tmp_path / "indexes").iterdir()} == {
        "README",
        *(indexes.path(Digest(one["digest"])).name for one in APP.document["layers"]),
    }
    assert await names(looker) == [b"/high", b"/low"]


async def test_a_stop_ends_what_is_being_built(
    looker: Looker, builds: Builds, tmp_path: Path
) -> None:
    look = asyncio.create_task(names(looker))
    await asyncio.to_thread(builds.begun.wait, 60)
    closing = asyncio.create_task(asyncio.to_thread(looker.close))
    await asyncio.to_thread(looker._stopped.wait, 60)
    builds.go_on.set()
    await closing
    with pytest.raises(Error) as caught:
        await look
    assert caught.value.reason is Reason.SHUTTING_DOWN
    assert [*(tmp_path / "indexes").iterdir()] == []


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ([archive(file(b"../out"))], Reason.LAYER_INVALID),
        ([archive(whiteout(b".."))], Reason.LAYER_INVALID),
        ([b"no archive at all" * 100], Reason.LAYER_INVALID),
    ],
)
async def test_a_broken_layer_is_told_each_time_and_leaves_nothing(
    metadata: SqliteMetadataStore,
    shelf: Shelf,
    indexes: LayerIndexes,
    tmp_path: Path,
    layers: list[bytes],
    reason: Reason,
) -> None:
    image = make_image(layers)
    await add(metadata, shelf, image)
    looker = Looker(metadata, shelf, indexes)
    for _ in range(2):
        with pytest.raises(Error) as caught:
            await names(looker)
        assert caught.value.reason is reason
        assert caught.value.digest == image.document["layers"][0]["digest"]
    assert [*(tmp_path / "indexes").iterdir()] == []
    assert await leases(metadata) == []
    await asyncio.to_thread(looker.close)


async def test_a_layer_that_went_before_it_was_held(
    looker: Looker, metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    gone = Digest(APP.document["layers"][1]["digest"])
    shelf.delete(gone)
    with pytest.raises(Error) as caught:
        await names(looker)
    assert (caught.value.reason, caught.value.digest) == (Reason.BLOB_NOT_FOUND, gone)
    assert await leases(metadata) == []


async def test_names_that_are_no_utf_8(
    metadata: SqliteMetadataStore, shelf: Shelf, indexes: LayerIndexes
) -> None:
    await add(metadata, shelf, make_image([archive(file(b"d\xff/f\xfe", b"found"))]))
    looker = Looker(metadata, shelf, indexes)
    async with looker.open(NAME, None, None, reads=True) as tree:
        page = tree.page(b"/d\xff", "", 10, None, recursive=False)
        assert [one.file.path for one in page.files] == [b"/d\xff/f\xfe"]
        found = tree.find(b"/d\xff/f\xfe", follow=False)
        with tree.open(found) as reader:
            assert b"".join(tree.read(reader, found, 0, 0)) == b"found"
        with pytest.raises(Error) as caught:
            tree.find(b"/d\xff/f", follow=False)
        assert caught.value.reason is Reason.FILE_NOT_FOUND
    await asyncio.to_thread(looker.close)


async def test_layers_sums_are_remembered(looker: Looker, monkeypatch: pytest.MonkeyPatch) -> None:
    first = await looker.usage(NAME, None)
    assert [(one.added, one.unpacked) for one in first.layers] == [(1, 100), (1, 50)]
    assert (first.wasted, first.efficiency) == (0, 1.0)

    def never(*_: object) -> Callable[[], None]:
        raise AssertionError("it was summed again")

    monkeypatch.setattr(looking.FileTree, "usage", never)
    assert await looker.usage(NAME, None) is first


@pytest.mark.parametrize("layer", [-1, 2])
async def test_a_layer_that_there_is_not(looker: Looker, layer: int) -> None:
    with pytest.raises(Error) as caught:
        async with looker.open(NAME, None, layer):
            pass
    assert caught.value.reason is Reason.FIELD_INVALID


async def test_who_is_cancelled_twice_leaves_no_thread_in_a_tree(looker: Looker) -> None:
    reading, go_on = threading.Event(), threading.Event()

    def read() -> None:
        reading.set()
        go_on.wait(PATIENCE)

    async def look() -> bool:
        try:
            await looker.run(read)
        finally:
            left.append(go_on.is_set())
        return True

    left: list[bool] = []
    looking_ = asyncio.create_task(look())
    assert await asyncio.to_thread(reading.wait, PATIENCE)
    for _ in range(2):
        looking_.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await looking_
    assert left == [True]

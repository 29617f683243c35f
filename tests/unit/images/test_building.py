"""Making images: what is held meanwhile, and what stays when somebody leaves."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import (
    Description,
    ImageBuilder,
    NewAppend,
    NewCommit,
    NewContainer,
    Shown,
    collect,
    create_container,
    describe,
    remove_container,
    remove_image,
    start_container,
    stop_container,
)
from imgd_server.metadata import (
    ContainerRecord,
    ImageRecord,
    Name,
    SqliteMetadataStore,
    WriteSession,
)
from imgd_server.oci import Digest, Platform
from imgd_server.rootfs import Compression, Limits, PackedLayer
from tests.fake_images import make_image, make_index, make_layer
from tests.unit.images.conftest import Shelf

IMAGE = "h.io/app:1"
LAYER = make_layer({"file": b"x"})


class Packing:
    """A container's files, which are packed when the test says so."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.data = LAYER

    async def packer(self, record: ContainerRecord) -> Any:
        return self.pack

    def pack(
        self,
        write: Callable[[bytes], None],
        compression: Compression,
        newest: int | None,
        check: Callable[[], None],
    ) -> PackedLayer:
        write(self.data)
        self.begun.set()
        while not self.go_on.wait(0.01):
            check()
        return PackedLayer(Digest.of(self.data), Digest.of(self.data), len(self.data), 1, 1, 0)


@pytest.fixture
async def metadata(tmp_path: Path, shelf: Shelf) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    target = shelf.add(make_image([make_layer({"base": b"b"})]))
    described = describe(shelf, target, Platform("linux", "amd64"))

    def show(session: Any) -> None:
        record = session.put_image(described.record, described.platforms, described.blobs)
        session.put_name(Name(IMAGE, "h.io/app"), record.uid)
        create_container(session, NewContainer(IMAGE, "web", rootfs='{"key": 1}'), 1)

    await store.write(show)
    yield store
    await store.close()


@pytest.fixture
def packing() -> Packing:
    return Packing()


@pytest.fixture
def builder(metadata: SqliteMetadataStore, shelf: Shelf, packing: Packing) -> ImageBuilder:
    return ImageBuilder(metadata, shelf, cast(Any, packing), Limits())


def recorder(metadata: SqliteMetadataStore) -> Any:
    async def record(show: Shown) -> ImageRecord:
        return await metadata.write(lambda session: show(session, 2))

    return record


async def begun(packing: Packing) -> None:
    assert await asyncio.to_thread(packing.begun.wait, 60)


async def leases(metadata: SqliteMetadataStore) -> list[str]:
    found = await metadata.read(lambda session: session.expired_leases(1 << 62, 9))
    return [one.lease_id for one in found]


async def images(metadata: SqliteMetadataStore) -> int:
    return await metadata.read(lambda session: session.count_images())


async def swept(metadata: SqliteMetadataStore, shelf: Shelf) -> None:
    await collect(metadata, shelf, lambda: 3, dry_run=False)


async def test_the_base_stays_while_an_image_is_made_of_it(
    metadata: SqliteMetadataStore, shelf: Shelf, packing: Packing, builder: ImageBuilder
) -> None:
    """Also when its container goes, and its removal is forced."""
    making = asyncio.create_task(builder.commit(NewCommit("web"), recorder(metadata)))
    await begun(packing)
    await metadata.write(lambda session: remove_container(session, "web", 2, force=True))
    with pytest.raises(Error) as caught:
        await metadata.write(lambda session: remove_image(session, IMAGE, force=False, now=2))
    assert caught.value.reason is Reason.IMAGE_IN_USE
    await metadata.write(lambda session: remove_image(session, IMAGE, force=True, now=2))
    await swept(metadata, shelf)
    assert await images(metadata) == 1
    packing.go_on.set()
    # The files may have gone before they were all read.
    with pytest.raises(Error) as gone:
        await making
    assert gone.value.reason is Reason.CONTAINER_NOT_FOUND
    # What was forced is done now.
    assert await images(metadata) == 0
    await swept(metadata, shelf)
    assert [*shelf.blobs(), *shelf.partials()] == []
    assert await leases(metadata) == []


@pytest.mark.parametrize("how", ["runs", "ran", "anew"])
async def test_a_container_that_is_used_meanwhile_fails_it(
    metadata: SqliteMetadataStore,
    shelf: Shelf,
    packing: Packing,
    builder: ImageBuilder,
    how: str,
) -> None:
    making = asyncio.create_task(builder.commit(NewCommit("web"), recorder(metadata)))
    await begun(packing)

    def use(session: Any) -> None:
        if how == "anew":
            remove_container(session, "web", 2, force=False)
            create_container(session, NewContainer(IMAGE, "web", rootfs='{"key": 2}'), 2)
            return
        start_container(session, "web", 2)
        if how == "ran":
            stop_container(session, "web", 0, 2)

    await metadata.write(use)
    packing.go_on.set()
    with pytest.raises(Error) as caught:
        await making
    assert caught.value.reason is Reason.CONTAINER_STATE
    assert await images(metadata) == 1
    assert await leases(metadata) == []


async def test_a_collection_takes_nothing_that_is_being_made(
    metadata: SqliteMetadataStore, shelf: Shelf, packing: Packing, builder: ImageBuilder
) -> None:
    stored: list[bool] = []

    async def record(show: Shown) -> ImageRecord:
        # All is stored, and nothing shown.
        await swept(metadata, shelf)
        stored.append(shelf.find(Digest.of(LAYER)) is not None)
        return await metadata.write(lambda session: show(session, 2))

    making = asyncio.create_task(builder.commit(NewCommit("web", "h.io/new:1"), record))
    await begun(packing)
    await swept(metadata, shelf)
    packing.go_on.set()
    made = await making
    assert stored == [True]
    await swept(metadata, shelf)
    assert made.complete
    described = describe(shelf, made.target, Platform("linux", "amd64"))
    assert described.record.complete
    assert await leases(metadata) == []


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("when", ["packing", "recording"])
async def test_who_leaves_leaves_nothing(
    metadata: SqliteMetadataStore,
    shelf: Shelf,
    packing: Packing,
    builder: ImageBuilder,
    when: str,
    times: int,
) -> None:
    """However often he is cancelled: once his call has ended, all of it has."""
    recording, go_on = asyncio.Event(), asyncio.Event()

    async def record(show: Shown) -> ImageRecord:
        recording.set()
        await go_on.wait()
        return await metadata.write(lambda session: show(session, 2))

    making = asyncio.create_task(builder.commit(NewCommit("web", "h.io/new:1"), record))
    await begun(packing)
    if when == "recording":
        packing.go_on.set()
        await recording.wait()
    for _ in range(times):
        making.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    # A write that has begun goes on.
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert await leases(metadata) == []
    await swept(metadata, shelf)
    shown = when == "recording"
    assert await images(metadata) == (2 if shown else 1)
    assert (shelf.find(Digest.of(LAYER)) is not None) == shown
    assert [*shelf.partials()] == []


async def test_of_an_index_the_base_is_what_the_container_was_made_of(
    metadata: SqliteMetadataStore, shelf: Shelf, packing: Packing, builder: ImageBuilder
) -> None:
    """Also where another manifest of its platform, which would be chosen first, has come since."""
    packing.go_on.set()
    platform = {"os": "linux", "architecture": "amd64"}
    first, second = (make_image([make_layer({name: b"x"})]) for name in ("first", "second"))
    index = make_index([(first, platform), (second, platform)])

    def show(described: Description) -> Callable[[WriteSession], str]:
        return lambda session: (
            session.put_image(described.record, described.platforms, described.blobs).uid
        )

    target = shelf.add(index, without=(*first.blobs, first.digest))
    host = Platform("linux", "amd64")
    uid = await metadata.write(show(describe(shelf, target, host)))
    wanted = NewContainer(f"images/{uid}", "of-two", platform="linux/amd64", rootfs='{"key": 2}')
    made = await metadata.write(lambda session: create_container(session, wanted, 1))
    assert made.image_id == second.image_id
    shelf.add(first)
    assert await metadata.write(show(describe(shelf, target, host))) == uid
    image = await builder.commit(NewCommit("of-two"), recorder(metadata))
    manifest = json.loads(shelf.read(image.target.digest, 1 << 20))
    assert manifest["layers"][0]["digest"] == second.document["layers"][0]["digest"]


async def test_a_request_that_was_answered_before_makes_nothing(
    metadata: SqliteMetadataStore, shelf: Shelf, packing: Packing, builder: ImageBuilder
) -> None:
    packing.go_on.set()

    async def record(show: Shown) -> str:
        return "the answer"

    assert await builder.commit(NewCommit("web"), record) == "the answer"
    await swept(metadata, shelf)
    assert shelf.find(Digest.of(LAYER)) is None
    assert await images(metadata) == 1
    assert await leases(metadata) == []


async def test_an_image_whose_removal_waits_is_wanted_again(
    metadata: SqliteMetadataStore, shelf: Shelf, packing: Packing, builder: ImageBuilder
) -> None:
    """The same image is made while a container keeps it from going."""
    packing.go_on.set()
    wanted = NewCommit("web", created=0)
    made = await builder.commit(wanted, recorder(metadata))
    name = f"images/{made.uid}"

    def force(session: Any) -> None:
        create_container(session, NewContainer(name, "user"), 2)
        remove_image(session, IMAGE, force=True, now=2)
        remove_image(session, made.image_id, force=True, now=2)

    await metadata.write(force)
    again = await builder.commit(wanted, recorder(metadata))
    assert again.uid == made.uid
    await metadata.write(lambda session: remove_container(session, "user", 2, force=True))
    assert await metadata.read(lambda session: session.image(made.uid)) is not None


async def test_what_breaks_off_is_taken_back(
    metadata: SqliteMetadataStore, shelf: Shelf, packing: Packing, builder: ImageBuilder
) -> None:
    packing.go_on.set()

    def pack(write: Callable[[bytes], None], *_: object) -> PackedLayer:
        write(LAYER)
        raise OSError(5, "a bad block")

    packing.pack = pack  # type: ignore[method-assign,assignment]
    with pytest.raises(OSError, match="bad block"):
        await builder.commit(NewCommit("web"), recorder(metadata))
    assert [*shelf.partials()] == []
    assert await leases(metadata) == []
    none = ImageBuilder(metadata, shelf, None, Limits())
    with pytest.raises(Error) as caught:
        await none.commit(NewCommit("web"), recorder(metadata))
    assert caught.value.reason is Reason.UNSUPPORTED


async def test_layers_that_others_are_about_to_lose(
    metadata: SqliteMetadataStore, shelf: Shelf, builder: ImageBuilder
) -> None:
    """An append holds them before it looks at them."""
    digest = shelf.put(LAYER)

    async def record(show: Shown) -> ImageRecord:
        await swept(metadata, shelf)
        return await metadata.write(lambda session: show(session, 2))

    made = await builder.append(NewAppend(layers=(digest,)), record)
    assert made.complete
    assert shelf.find(digest) is not None
    shelf.put(other := make_layer({"other": b"o"}))
    await swept(metadata, shelf)
    with pytest.raises(Error) as caught:
        await builder.append(NewAppend(layers=(Digest.of(other),)), record)
    assert caught.value.reason is Reason.BLOB_NOT_FOUND
    assert replace(made, last_used=None).platform == str(Platform.host())

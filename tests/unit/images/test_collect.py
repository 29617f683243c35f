"""What a collection takes and what it leaves, and what comes in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest

from imgd_server.content import BlobInfo
from imgd_server.errors import Error, Reason
from imgd_server.images import Collection, collect, describe
from imgd_server.images import _collect as collecting
from imgd_server.metadata import (
    EventRecord,
    ImageRecord,
    MetadataStore,
    SqliteMetadataStore,
    WriteSession,
)
from imgd_server.oci import Descriptor, Digest, Platform, media
from tests.fake_images import FakeImage, make_image
from tests.records import BusyWriter, lease_record, tag
from tests.unit.images.conftest import Shelf

NOW = 1000
NAME = tag("registry.test/app:1")


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    yield store
    await store.close()


async def add(metadata: MetadataStore, shelf: Shelf, image: FakeImage) -> ImageRecord:
    """Stores an image and shows it."""
    found = describe(shelf, shelf.add(image), Platform("linux", "amd64"))
    return await metadata.write(
        lambda session: session.put_image(found.record, found.platforms, found.blobs)
    )


def leave(shelf: Shelf, key: str, data: bytes = b"half") -> None:
    with shelf.ingest(key) as ingest:
        ingest.write(data)


def stored(shelf: Shelf) -> set[str]:
    return {info.digest for info in shelf.blobs()}


async def run(
    metadata: MetadataStore, shelf: Shelf, now: int = NOW, *, dry_run: bool = False
) -> Collection:
    return await collect(metadata, shelf, lambda: now, dry_run=dry_run)


async def events(metadata: MetadataStore, kind: str) -> list[EventRecord]:
    found = await metadata.read(lambda session: session.events(0, None, 1000))
    return [one for one in found if one.kind == kind]


async def test_what_is_held_stays_and_the_rest_goes(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    image = make_image((b"kept",))
    await add(metadata, shelf, image)
    held, over, free = (shelf.put(data) for data in (b"held", b"over", b"free"))

    def hold(session: WriteSession) -> None:
        session.put_lease(lease_record("transfer:1", NOW + 1, digests=(held,)))
        session.put_lease(lease_record("transfer:2", NOW, digests=(over,)))

    await metadata.write(hold)
    dry = await run(metadata, shelf, dry_run=True)
    assert {over, free} < stored(shelf)
    assert await events(metadata, "COLLECTION") == []
    report = await run(metadata, shelf)
    assert stored(shelf) == {image.digest, *image.blobs, held}
    assert report == dry
    assert (report.examined_blobs, report.deleted_blobs, report.freed_bytes) == (6, 2, 8)
    # The bytes are gone, not only out of sight.
    assert list((shelf.partial_path("x").parent.parent / "trash").iterdir()) == []
    (told,) = await events(metadata, "COLLECTION")
    assert (told.action, told.attributes) == (
        "collect",
        {
            "deleted_blobs": "2",
            "deleted_partials": "0",
            "deleted_snapshots": "0",
            "freed_bytes": "8",
        },
    )
    # Nothing to do is nothing to tell.
    assert (await run(metadata, shelf)).freed_bytes == 0
    assert len(await events(metadata, "COLLECTION")) == 1


async def test_unfinished_content_goes_with_its_hold(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    wanted, unwanted = Digest.of(b"wanted"), Digest.of(b"unwanted")
    for key in (wanted, unwanted, "upload:a:1", "upload:a:2"):
        leave(shelf, key)
    leave(shelf, "upload:a:3", b"")

    def hold(session: WriteSession) -> None:
        session.put_lease(lease_record("transfer:1", NOW + 1, digests=(wanted,)))
        session.put_lease(lease_record("upload:a:1", NOW + 1))
        session.put_lease(lease_record("upload:a:2", NOW))

    await metadata.write(hold)
    with shelf.ingest("upload:a:4") as busy:
        busy.write(b"being written, and held by nobody")
        dry = await run(metadata, shelf, dry_run=True)
        assert await run(metadata, shelf) == dry
        # Three: the empty one counts too.
        assert (dry.deleted_partials, dry.freed_bytes) == (3, 8)
        assert {one.key for one in shelf.partials()} == {wanted, "upload:a:1"}
        assert busy.commit(Digest.of(b"being written, and held by nobody")).size == 33


async def test_unfinished_content_goes_when_the_blob_has_come_another_way(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    come, wanted = shelf.put(b"come"), Digest.of(b"wanted")
    for key in (come, wanted):
        leave(shelf, key)
    await metadata.write(
        lambda session: session.put_lease(lease_record("l", NOW + 1, digests=(come, wanted)))
    )
    dry = await run(metadata, shelf, dry_run=True)
    assert {one.key for one in shelf.partials()} == {come, wanted}
    assert await run(metadata, shelf) == dry
    assert dry.deleted_partials == 1
    assert {one.key for one in shelf.partials()} == {wanted}
    assert shelf.find(come)


async def test_more_than_a_batch(
    metadata: SqliteMetadataStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("_BATCH", 3), ("_LISTED_AT_ONCE", 4), ("_SWEPT_AT_ONCE", 2)):
        monkeypatch.setattr(collecting, name, value)
    free = [shelf.put(b"%d" % number) for number in range(8)]
    for number in range(7):
        leave(shelf, f"upload:{number}")
    held = free.pop()
    await metadata.write(
        lambda session: session.put_lease(lease_record("transfer:1", NOW + 1, digests=(held,)))
    )
    report = await run(metadata, shelf)
    assert (report.deleted_blobs, report.deleted_partials) == (7, 7)
    assert stored(shelf) == {held}


@pytest.mark.parametrize("kind", ["blob", "partial"])
async def test_a_hold_that_comes_before_the_sweep_wins(
    metadata: SqliteMetadataStore, shelf: Shelf, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = shelf.put(b"free") if kind == "blob" else Digest.of(b"free")
    if kind == "partial":
        leave(shelf, digest)
    read = metadata.read

    async def hold_after(function: Callable[..., object]) -> object:
        found = await read(function)
        # The collection has seen that nobody holds it. Somebody does from here on.
        await metadata.write(
            lambda session: session.put_lease(lease_record("x", NOW + 1, digests=(digest,)))
        )
        return found

    monkeypatch.setattr(metadata, "read", hold_after)
    report = await run(metadata, shelf)
    assert (report.deleted_blobs, report.deleted_partials) == (0, 0)
    assert shelf.find(digest) or shelf.partial(digest)


async def test_a_hold_that_shares_the_sweeps_commit_wins(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    digest = shelf.put(b"free")
    async with BusyWriter(metadata):
        holding = asyncio.ensure_future(
            metadata.write(
                lambda session: session.put_lease(lease_record("x", NOW + 1, digests=(digest,)))
            )
        )
        await asyncio.sleep(0)
        taking = asyncio.ensure_future(collecting._take(metadata, shelf, lambda: NOW, [digest]))
        await asyncio.sleep(0)
    await holding
    assert await taking == (0, 0)
    assert shelf.find(digest)


async def test_a_blob_is_out_of_sight_before_the_next_hold_looks(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    digest = shelf.put(b"free")
    seen: list[BlobInfo | None] = []

    def hold(session: WriteSession) -> None:
        session.put_lease(lease_record("x", NOW + 1, digests=(digest,)))
        seen.append(shelf.find(digest))

    async with BusyWriter(metadata):
        taking = asyncio.ensure_future(collecting._take(metadata, shelf, lambda: NOW, [digest]))
        await asyncio.sleep(0)
        holding = asyncio.ensure_future(metadata.write(hold))
        await asyncio.sleep(0)
    await asyncio.gather(taking, holding)
    assert seen == [None]


async def test_a_shown_blob_is_hidden_durably_before_it_goes(
    metadata: SqliteMetadataStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = shelf.put(b"pushed long ago")
    await metadata.write(lambda session: session.link_blob("registry.test/app", digest))
    discard_all = shelf.discard_all
    shown: list[bool] = []

    def look(digests: Sequence[Digest]) -> int:
        if not digests:
            return 0
        # What a crash at this moment would leave: another connection sees what is committed.
        shown.append(
            asyncio.run_coroutine_threadsafe(
                metadata.read(lambda session: session.any_repository_has_blob(digest)), loop
            ).result(30)
        )
        return discard_all(digests)

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(shelf, "discard_all", look)
    assert (await run(metadata, shelf)).deleted_blobs == 1
    assert shown == [False]
    assert stored(shelf) == set()


async def test_referrers_are_held_with_their_subject(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    image = make_image()
    record = await add(metadata, shelf, image)
    signature = shelf.put(b"a signature")

    def link(session: WriteSession) -> None:
        session.link_manifest(
            "registry.test/app",
            Descriptor(media.OCI_MANIFEST, signature, 11),
            subject=image.digest,
            blobs=[signature],
        )

    await metadata.write(link)
    assert (await run(metadata, shelf)).deleted_blobs == 0
    await metadata.write(lambda session: session.delete_image(record.uid))
    assert (await run(metadata, shelf)).deleted_blobs == 4


@pytest.mark.parametrize("reason", [Reason.DISK_FULL, Reason.STORE_CORRUPT])
async def test_a_full_disk_is_no_reason_not_to_collect(
    metadata: SqliteMetadataStore, shelf: Shelf, reason: Reason, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object) -> None:
        raise Error(reason, "no")

    digest = shelf.put(b"free")
    monkeypatch.setattr(collecting, "expire", refuse)
    if reason is Reason.DISK_FULL:
        assert (await run(metadata, shelf)).deleted_blobs == 1
    else:
        with pytest.raises(Error):
            await run(metadata, shelf)
        assert shelf.find(digest)


async def test_leases_end_in_any_number(
    metadata: SqliteMetadataStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collecting, "_EXPIRED_AT_ONCE", 2)
    image = await add(metadata, shelf, make_image())

    def hold(session: WriteSession) -> None:
        for number in range(5):
            session.put_lease(lease_record(f"l{number}", NOW, images=(image.uid,)))
        session.set_doomed(image.uid, True)

    await metadata.write(hold)
    # Its removal was forced while leases held it: it goes with the last, and its bytes at once.
    assert (await run(metadata, shelf)).deleted_blobs == 3
    assert await metadata.read(lambda session: session.count_images()) == 0
    assert len(await events(metadata, "LEASE")) == 5

"""What a repair of the store does, and that nothing is left to be found afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from imgd_server.content import ContentStore
from imgd_server.errors import Reason
from imgd_server.images import Problem, check_store, collect, describe
from imgd_server.images import _check as checking
from imgd_server.images import _repair as repairing
from imgd_server.metadata import ImageRecord, SqliteMetadataStore, WriteSession
from imgd_server.oci import Digest, Platform
from tests.fake_images import FakeImage, make_image, make_index
from tests.unit.images.conftest import Shelf

AMD64 = Platform("linux", "amd64")
ARCHITECTURES = ("amd64", "s390x")
CHILDREN = [make_image([b"shared", one.encode()], architecture=one) for one in ARCHITECTURES]
INDEX = make_index(
    [
        (child, {"os": "linux", "architecture": one})
        for child, one in zip(CHILDREN, ARCHITECTURES, strict=True)
    ]
)
SHARED, OWN = (one["digest"] for one in CHILDREN[0].document["layers"])
OTHER = make_image([b"shared", b"other"])


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    yield store
    await store.close()


async def record(metadata: SqliteMetadataStore, shelf: Shelf, image: FakeImage) -> ImageRecord:
    found = describe(shelf, shelf.add(image), AMD64)
    return await metadata.write(
        lambda session: session.put_image(found.record, found.platforms, found.blobs)
    )


async def check(
    metadata: SqliteMetadataStore, shelf: Shelf, *, repair: bool = False
) -> list[Problem]:
    found = check_store(metadata, shelf, verify_content=True, repair=repair)
    return [problem async for _, problems in found for problem in problems]


async def repair(metadata: SqliteMetadataStore, shelf: Shelf) -> list[Problem]:
    """Repairs, and makes sure that all is well then."""
    problems = await check(metadata, shelf, repair=True)
    assert problems
    assert all(problem.repaired for problem in problems)
    assert await check(metadata, shelf) == []
    return problems


async def complete(metadata: SqliteMetadataStore, uid: str) -> tuple[bool, list[bool], int]:
    """Whether an image is complete, which of its platforms are, and its size."""
    image = await metadata.read(lambda session: session.image(uid))
    assert image
    platforms = await metadata.read(lambda session: session.image_platforms(uid))
    return image.complete, [one.complete for one in platforms], image.content_size


def damage(shelf: Shelf, digest: str, change: Callable[[bytes], bytes]) -> None:
    root = shelf.partial_path("x").parent.parent
    path = root / "blobs" / "sha256" / digest.removeprefix("sha256:")
    path.chmod(0o600)
    path.write_bytes(change(path.read_bytes()))


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def cut(data: bytes) -> bytes:
    return data[:-1]


@pytest.mark.parametrize("change", [None, flip, cut], ids=["missing", "flipped", "cut"])
@pytest.mark.parametrize(
    ("digest", "platforms"),
    [
        (SHARED, [False, False]),
        (OWN, [False, True]),
        (CHILDREN[0].image_id, [False, True]),
        (CHILDREN[0].digest, [False, True]),
    ],
    ids=["shared layer", "layer", "config", "manifest"],
)
async def test_what_is_lost_or_spoilt_is_fetched_by_the_next_pull(
    metadata: SqliteMetadataStore,
    shelf: Shelf,
    digest: str,
    platforms: list[bool],
    change: Callable[[bytes], bytes] | None,
) -> None:
    image = await record(metadata, shelf, INDEX)
    other = await record(metadata, shelf, OTHER)
    whole = await complete(metadata, image.uid)
    size = shelf.info(Digest(digest)).size
    await metadata.write(lambda session: session.link_blob("registry.test/app", digest))
    if change:
        damage(shelf, digest, change)
    else:
        shelf.delete(Digest(digest))
    problems = await repair(metadata, shelf)
    assert {one.reason for one in problems} <= {
        Reason.BLOB_NOT_FOUND,
        Reason.SIZE_MISMATCH,
        Reason.DIGEST_MISMATCH,
        Reason.MANIFEST_INVALID,
        Reason.CONFIG_INVALID,
    }
    assert shelf.find(Digest(digest)) is None
    assert await complete(metadata, image.uid) == (False, platforms, whole[2] - size)
    assert (await complete(metadata, other.uid))[0] == (digest != SHARED)
    shown = await metadata.read(lambda session: session.any_repository_has_blob(digest))
    assert not shown
    # What is whole is kept, and what a pull brings makes all good.
    assert (await collect(metadata, shelf, lambda: 0, dry_run=False)).deleted_blobs == 0
    await record(metadata, shelf, INDEX)
    assert await complete(metadata, image.uid) == whole


async def test_an_image_without_its_target_keeps_what_is_left(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    image = await record(metadata, shelf, INDEX)
    shelf.delete(Digest(INDEX.digest))
    problems = await check(metadata, shelf, repair=True)
    # It can't be used until it is pulled again, so it goes on being told.
    assert [one.reason for one in problems if not one.repaired] == [Reason.BLOB_NOT_FOUND]
    assert [one.reason for one in await check(metadata, shelf)] == [Reason.BLOB_NOT_FOUND]
    assert (await collect(metadata, shelf, lambda: 0, dry_run=False)).deleted_blobs == 0
    await record(metadata, shelf, INDEX)
    assert await check(metadata, shelf) == []
    assert (await complete(metadata, image.uid))[0]


def alter(tmp_path: Path, statement: str, *values: object) -> None:
    other = sqlite3.connect(tmp_path / "metadata.db")
    other.execute(statement, values)
    other.commit()
    other.close()


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE image_blobs SET size = size + 1 WHERE digest = ?", Reason.SIZE_MISMATCH),
        ("DELETE FROM image_blobs WHERE digest = ?", Reason.STORE_CORRUPT),
    ],
    ids=["size", "not recorded"],
)
async def test_a_record_that_is_wrong_is_made_right(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path, statement: str, reason: Reason
) -> None:
    image = await record(metadata, shelf, INDEX)
    whole = await complete(metadata, image.uid)
    alter(tmp_path, statement, OWN)
    assert [one.reason for one in await repair(metadata, shelf)] == [reason]
    assert await complete(metadata, image.uid) == whole
    assert shelf.find(Digest(OWN))


async def test_complete_is_set_right(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path
) -> None:
    image = await record(metadata, shelf, INDEX)
    alter(tmp_path, "UPDATE image_blobs SET stored = 0 WHERE digest = ?", OWN)
    shelf.delete(Digest(OWN))
    [problem] = await repair(metadata, shelf)
    assert problem.reason is Reason.STORE_CORRUPT
    assert (await complete(metadata, image.uid))[:2] == (False, [False, True])


async def test_a_link_to_nothing_is_hidden(
    metadata: SqliteMetadataStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_PAGE", 2)
    there = shelf.put(b"there")
    gone = [Digest.of(b"%d" % number) for number in range(5)]

    def link(session: WriteSession) -> None:
        for digest in (there, *gone):
            session.link_blob("registry.test/app", digest)

    await metadata.write(link)
    told = await check(metadata, shelf)
    assert [(one.reason, one.subject, one.repaired) for one in told] == [
        (Reason.BLOB_NOT_FOUND, digest, False) for digest in sorted(gone)
    ]
    assert len(await repair(metadata, shelf)) == 5
    assert await metadata.read(lambda session: session.linked_digests("", 10)) == [there]


async def test_strays_go_where_they_may(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path
) -> None:
    folder = tmp_path / "content" / "blobs"
    (folder / "notes.txt").touch()
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()
    problems = await check(metadata, shelf, repair=True)
    assert {one.subject: one.repaired for one in problems} == {
        "blobs/notes.txt": True,
        "blobs/full": False,
    }
    assert [one.subject for one in await check(metadata, shelf)] == ["blobs/full"]


async def test_damaged_metadata_are_not_repaired(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path
) -> None:
    await record(metadata, shelf, INDEX)
    alter(tmp_path, "INSERT INTO lease_digests VALUES ('none', 'sha256:00')")
    [problem] = await check(metadata, shelf, repair=True)
    assert (problem.subject, problem.repaired) == ("metadata", False)


async def test_a_blob_of_no_image_goes_when_it_is_spoilt(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    digest = shelf.put(b"pushed, and in no image yet")
    damage(shelf, digest, flip)
    [problem] = await repair(metadata, shelf)
    assert (problem.reason, problem.subject) == (Reason.DIGEST_MISMATCH, digest)


@pytest.mark.parametrize("of_image", [False, True])
async def test_what_is_pushed_while_a_spoilt_blob_is_read_stays(
    metadata: SqliteMetadataStore,
    shelf: Shelf,
    monkeypatch: pytest.MonkeyPatch,
    of_image: bool,
) -> None:
    image = await record(metadata, shelf, INDEX)
    digest = CHILDREN[0].digest if of_image else shelf.put(b"of no image")
    data = shelf.read(Digest(digest), 1 << 20)
    damage(shelf, digest, flip)
    is_whole = repairing._is_whole

    def look(content: ContentStore, which: Digest) -> bool:
        found = is_whole(content, which)
        if which == digest and not found:
            shelf.put(data)
        return found

    monkeypatch.setattr(repairing, "_is_whole", look)
    await metadata.write(lambda session: session.link_blob("registry.test/app", digest))
    await check(metadata, shelf, repair=True)
    assert shelf.verify(Digest(digest))
    assert await metadata.read(lambda session: session.any_repository_has_blob(digest))
    assert (await complete(metadata, image.uid))[0]
    assert await check(metadata, shelf) == []

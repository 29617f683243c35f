"""Checking that what the metadata promise is there."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import Problem, check_store, describe
from imgd_server.images import _check as room
from imgd_server.metadata import ImageRecord, ReadSession, SqliteMetadataStore, WriteSession
from imgd_server.oci import Digest, Platform
from tests.fake_images import FakeImage, make_image, make_index, make_layer
from tests.records import tag
from tests.unit.images.conftest import Shelf

AMD64 = Platform("linux", "amd64")


def for_architecture(architecture: str) -> FakeImage:
    return make_image([make_layer({"name": architecture.encode()})], architecture=architecture)


CHILDREN = [for_architecture("amd64"), for_architecture("arm64")]
INDEX = make_index(
    [
        (one, {"os": "linux", "architecture": name})
        for one, name in zip(CHILDREN, ("amd64", "arm64"), strict=True)
    ]
)
INDEX_ID = CHILDREN[0].image_id
LAYERS = [one.document["layers"][0]["digest"] for one in CHILDREN]


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    yield store
    await store.close()


async def record(
    metadata: SqliteMetadataStore, shelf: Shelf, image: FakeImage, *, without: tuple[str, ...] = ()
) -> ImageRecord:
    """Stores an image as a pull does."""
    found = describe(shelf, shelf.add(image, without=without), AMD64)
    return await metadata.write(
        lambda session: session.put_image(found.record, found.platforms, found.blobs)
    )


async def check(
    metadata: SqliteMetadataStore, shelf: Shelf, *, verify_content: bool = False
) -> list[Problem]:
    found = check_store(metadata, shelf, verify_content=verify_content)
    return [problem async for _, problems in found for problem in problems]


def damage(shelf: Shelf, tmp_path: Path, digest: str, change: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "content" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(change(data))
    assert shelf.find(Digest(digest))


def flip(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


async def test_nothing_is_wrong(metadata: SqliteMetadataStore, shelf: Shelf) -> None:
    assert await check(metadata, shelf) == []
    await record(metadata, shelf, INDEX)
    await record(metadata, shelf, for_architecture("s390x"), without=())
    # What no image has (a pull under way, an upload) is no problem.
    shelf.put(b"nobody's")
    with shelf.ingest("upload:1") as ingest:
        ingest.write(b"half")
    progress = [one async for one in check_store(metadata, shelf, verify_content=True)]
    assert [problem for _, problems in progress for problem in problems] == []
    assert [checked for checked, _ in progress if checked] == list(range(1, 12))


async def test_a_part_of_an_image_is_enough(metadata: SqliteMetadataStore, shelf: Shelf) -> None:
    absent = (CHILDREN[1].digest, *CHILDREN[1].blobs)
    stored = await record(metadata, shelf, INDEX, without=absent)
    assert not stored.complete
    assert await check(metadata, shelf, verify_content=True) == []


async def test_what_a_pull_left_besides_is_no_problem(
    metadata: SqliteMetadataStore, shelf: Shelf
) -> None:
    """Killed in the middle of pulling another platform: its manifest is here, its layers not."""
    absent = (CHILDREN[1].digest, *CHILDREN[1].blobs)
    await record(metadata, shelf, INDEX, without=absent)
    shelf.put(CHILDREN[1].raw)
    assert await check(metadata, shelf, verify_content=True) == []


@pytest.mark.parametrize("verify_content", [False, True])
async def test_a_missing_blob(
    metadata: SqliteMetadataStore, shelf: Shelf, verify_content: bool
) -> None:
    stored = await record(metadata, shelf, INDEX)
    gone = [LAYERS[0], CHILDREN[1].digest]
    for digest in gone:
        shelf.delete(Digest(digest))
    problems = await check(metadata, shelf, verify_content=verify_content)
    assert {(one.reason, one.subject) for one in problems} == {
        (Reason.BLOB_NOT_FOUND, f"images/{stored.uid}")
    }
    assert len(problems) == 2
    assert all(any(digest in one.message for one in problems) for digest in gone)


async def test_a_blob_of_another_size(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path
) -> None:
    stored = await record(metadata, shelf, INDEX)
    damage(shelf, tmp_path, LAYERS[0], lambda data: data[:-1])
    [problem] = await check(metadata, shelf)
    assert (problem.reason, problem.subject) == (Reason.SIZE_MISMATCH, f"images/{stored.uid}")
    assert LAYERS[0] in problem.message


async def test_a_flipped_bit_is_found_when_content_is_read(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path
) -> None:
    await record(metadata, shelf, INDEX)
    damage(shelf, tmp_path, LAYERS[0], flip)
    assert await check(metadata, shelf) == []
    [problem] = await check(metadata, shelf, verify_content=True)
    assert (problem.reason, problem.subject) == (Reason.DIGEST_MISMATCH, LAYERS[0])


@pytest.mark.parametrize(
    ("digest", "reason"),
    [
        (INDEX.digest, Reason.MANIFEST_INVALID),
        (CHILDREN[0].digest, Reason.MANIFEST_INVALID),
        (CHILDREN[0].image_id, Reason.CONFIG_INVALID),
    ],
    ids=["index", "manifest", "config"],
)
async def test_a_document_that_does_not_read(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path, digest: str, reason: Reason
) -> None:
    stored = await record(metadata, shelf, INDEX)
    damage(shelf, tmp_path, digest, flip)
    [problem] = await check(metadata, shelf)
    assert (problem.reason, problem.subject) == (reason, f"images/{stored.uid}")


async def test_a_blob_that_is_not_recorded(metadata: SqliteMetadataStore, shelf: Shelf) -> None:
    """Nothing would hold it: the next collection would break the image."""
    found = describe(shelf, shelf.add(INDEX), AMD64)
    kept = [blob for blob in found.blobs if blob.digest != LAYERS[0]]
    stored = await metadata.write(
        lambda session: session.put_image(found.record, found.platforms, kept)
    )
    [problem] = await check(metadata, shelf)
    assert (problem.reason, problem.subject) == (Reason.STORE_CORRUPT, f"images/{stored.uid}")
    assert LAYERS[0] in problem.message


async def test_a_target_that_is_not_recorded(metadata: SqliteMetadataStore, shelf: Shelf) -> None:
    found = describe(shelf, shelf.add(INDEX), AMD64)
    await metadata.write(lambda session: session.put_image(found.record, (), found.blobs[1:]))
    [problem] = await check(metadata, shelf)
    assert problem.reason is Reason.BLOB_NOT_FOUND
    assert INDEX.digest in problem.message


async def test_complete_is_not_what_it_says(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path
) -> None:
    stored = await record(metadata, shelf, INDEX, without=(CHILDREN[1].digest,))
    other = sqlite3.connect(tmp_path / "metadata.db")
    other.execute("UPDATE images SET complete = 1")
    other.commit()
    other.close()
    [problem] = await check(metadata, shelf)
    assert (problem.reason, problem.subject) == (Reason.STORE_CORRUPT, f"images/{stored.uid}")
    assert "complete" in problem.message


async def test_strays_are_told(metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path) -> None:
    (tmp_path / "content" / "blobs" / "sha256" / "notes.txt").touch()
    [problem] = await check(metadata, shelf, verify_content=True)
    assert problem.reason is Reason.STORE_CORRUPT
    assert problem.subject == "blobs/sha256/notes.txt"


@pytest.mark.parametrize("repair", [False, True])
async def test_every_stray_is_told(
    metadata: SqliteMetadataStore,
    shelf: Shelf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    repair: bool,
) -> None:
    monkeypatch.setattr(room, "_PAGE", 2)
    names = [b"1", b"2", b"3", b"4", b"5", b"no text: \xff"]
    for name in names:
        (tmp_path / "content" / "ingest" / os.fsdecode(b"a stray " + name)).touch()
    problems: list[Problem] = []
    async for _, some in check_store(metadata, shelf, verify_content=False, repair=repair):
        assert len(some) <= 2
        problems += some
    assert sorted(one.subject for one in problems) == [
        *(f"ingest/a stray {number}" for number in range(1, 6)),
        "ingest/a stray no text: \\udcff",
    ]
    assert {one.repaired for one in problems} == {repair}
    assert len([*shelf.strays()]) == (0 if repair else 6)


@pytest.mark.parametrize(
    ("names", "called"),
    [
        (("docker.io/library/web:1", "h.io/web:2"), "web:1: "),
        (("h.io/a/web:2",), "h.io/a/web:2: "),
        ((), f"{INDEX_ID[7:19]}: "),
    ],
)
async def test_what_is_wrong_is_told_by_the_name_that_lists_show(
    metadata: SqliteMetadataStore,
    shelf: Shelf,
    tmp_path: Path,
    names: tuple[str, ...],
    called: str,
) -> None:
    stored = await record(metadata, shelf, INDEX)
    for name in names:
        await metadata.write(lambda session: session.put_name(tag(name), stored.uid))  # noqa: B023
    damage(shelf, tmp_path, LAYERS[1], flip)
    [spoilt] = await check(metadata, shelf, verify_content=True)
    assert spoilt.message.startswith(called)
    shelf.delete(Digest(LAYERS[0]))
    [missing] = await check(metadata, shelf)
    assert missing.message == f"{called}{LAYERS[0]} is missing"
    found = check_store(metadata, shelf, verify_content=True, repair=True)
    mended = [problem.message async for _, problems in found for problem in problems]
    assert mended == [
        f"{called}{LAYERS[0]} is missing: recorded as it is; pull it again for what it lacks",
        f"{called}its bytes do not have its digest; deleted; pull an image that has it",
    ]


async def test_damaged_metadata_are_told(
    metadata: SqliteMetadataStore, shelf: Shelf, tmp_path: Path
) -> None:
    await record(metadata, shelf, INDEX)
    shelf.put(b"a blob is checked all the same")
    other = sqlite3.connect(tmp_path / "metadata.db")
    other.execute("UPDATE image_blobs SET image = 99 WHERE digest = ?", (LAYERS[0],))
    other.commit()
    other.close()
    problems = await check(metadata, shelf)
    assert {(one.reason, one.subject) for one in problems[:1]} == {
        (Reason.STORE_CORRUPT, "metadata")
    }
    assert "image_blobs" in problems[0].message


async def test_metadata_that_can_not_be_read(
    metadata: SqliteMetadataStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.put(b"a blob is checked all the same")

    async def fail(_: Callable[[ReadSession], object]) -> object:
        raise Error(Reason.STORE_CORRUPT, "the metadata file is damaged")

    monkeypatch.setattr(metadata, "read", fail)
    progress = [one async for one in check_store(metadata, shelf, verify_content=True)]
    problems = [problem for _, problems in progress for problem in problems]
    assert [(one.reason, one.subject) for one in problems] == [(Reason.STORE_CORRUPT, "metadata")]
    assert progress[-1][0] == 1


async def test_an_image_that_goes_meanwhile(metadata: SqliteMetadataStore, shelf: Shelf) -> None:
    """A daemon that runs may check itself."""
    uids = [
        (await record(metadata, shelf, for_architecture(name))).uid for name in ("amd64", "arm64")
    ]
    for info in list(shelf.blobs()):
        shelf.delete(info.digest)
    subjects: set[str] = set()
    async for _, problems in check_store(metadata, shelf, verify_content=False):
        if problems and not subjects:

            def delete_all(session: WriteSession) -> None:
                for uid in uids:
                    session.delete_image(uid)

            await metadata.write(delete_all)
        subjects |= {problem.subject for problem in problems}
    assert len(subjects) == 1


async def test_a_blob_that_goes_meanwhile(metadata: SqliteMetadataStore, shelf: Shelf) -> None:
    for number in range(3):
        shelf.put(bytes([number]))
    problems: list[Problem] = []
    async for checked, found in check_store(metadata, shelf, verify_content=True):
        problems += found
        if checked == 1:
            for info in list(shelf.blobs()):
                shelf.delete(info.digest)
    assert problems == []


async def test_every_page_of_images_is_checked(
    metadata: SqliteMetadataStore, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_PAGE", 2)
    image = for_architecture("amd64")
    stored = await record(metadata, shelf, image)
    shelf.delete(stored.target.digest)

    def copies(session: WriteSession) -> None:
        blobs = session.image_blobs(stored.uid)
        for number in range(4):
            target = replace(stored.target, digest=Digest.of(bytes([number])))
            session.put_image(replace(stored, uid=f"COPY{number}", target=target), (), blobs)

    await metadata.write(copies)
    assert len({problem.subject for problem in await check(metadata, shelf)}) == 5

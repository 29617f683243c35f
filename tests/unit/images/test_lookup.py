"""Looking images up as people name them (behaviour.md, 2)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import find_image, new_uid
from imgd_server.images._lookup import find_images_by_id
from imgd_server.metadata import (
    ImageRecord,
    Name,
    PlatformRecord,
    SqliteMetadataStore,
    WriteSession,
)
from imgd_server.oci import Descriptor, Digest, media
from tests.records import image_record, manifest_target


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    yield store
    await store.close()


def digest(start: str) -> Digest:
    return Digest(f"sha256:{start.ljust(64, '7')}")


def image(
    text: str, image_id: str = "", target: str = "", names: tuple[str, ...] = (), **fields: object
) -> ImageRecord:
    """An image with an ID and a target that start so, and tags."""
    if target:
        fields["target"] = Descriptor(media.OCI_MANIFEST, digest(target), 1)
    if image_id:
        fields["image_id"] = digest(image_id)
    tags = tuple(Name(name, name.rpartition(":")[0]) for name in names)
    return image_record(text, names=tags, **fields)


async def put(store: SqliteMetadataStore, *records: ImageRecord) -> None:
    def run(session: WriteSession) -> None:
        for record in records:
            session.put_image(record, (), ())

    await store.write(run)


async def find(store: SqliteMetadataStore, text: str) -> str:
    found = await store.read(lambda session: find_image(session, text))
    return found.uid.removeprefix("UID")


async def refused(store: SqliteMetadataStore, text: str) -> Error:
    with pytest.raises(Error) as caught:
        await find(store, text)
    return caught.value


HUB = "docker.io/library/app"


@pytest.mark.parametrize(
    "text",
    [
        "app",
        "app:latest",
        "library/app",
        "docker.io/app",
        "docker.io/library/app:latest",
        "index.docker.io/library/app",
    ],
)
async def test_by_reference(store: SqliteMetadataStore, text: str) -> None:
    await put(store, image("hub", names=(f"{HUB}:latest",)), image("old", names=(f"{HUB}:1",)))
    await put(store, image("host", names=("localhost/app:latest", "a.b:5000/app:latest")))
    assert await find(store, text) == "hub"
    assert await find(store, "app:1") == "old"
    assert await find(store, "localhost/app") == await find(store, "a.b:5000/app") == "host"


@pytest.mark.parametrize(
    "text", ["app:2", "other", "a.b/app", "app/app", "localhost:5000/app", "app@sha256:" + "0" * 64]
)
async def test_by_a_reference_that_nothing_has(store: SqliteMetadataStore, text: str) -> None:
    await put(store, image("hub", names=(f"{HUB}:latest",)))
    error = await refused(store, text)
    assert error.reason is Reason.IMAGE_NOT_FOUND
    assert error.metadata == {"image": text}
    assert text in error.message


async def test_by_repo_digest(store: SqliteMetadataStore) -> None:
    asked, learned = manifest_target("asked").digest, manifest_target("learned").digest
    by_digest = Name(f"{HUB}@{asked}", HUB, by_digest=True)
    await put(
        store,
        image_record("asked", names=(by_digest,)),
        image_record("learned", repo_digests=(f"{HUB}@{learned}",)),
        image("tag", names=(f"{HUB}:1",)),
    )
    assert await find(store, f"app@{asked}") == "asked"
    assert await find(store, f"docker.io/library/app@{learned}") == "learned"
    # The digest decides; the tag is information only.
    assert await find(store, f"app:1@{learned}") == "learned"
    assert await find(store, f"app:none@{asked}") == "asked"
    # Of another repository nobody has learned it.
    assert (await refused(store, f"other@{asked}")).reason is Reason.IMAGE_NOT_FOUND


async def test_by_id_and_its_start(store: SqliteMetadataStore) -> None:
    await put(store, image("a", "ab12cd34", "dd11"), image("b", "ab12ef", "dd22"))
    for text in ("ab12c", "sha256:ab12c", "ab12cd34", digest("ab12cd34"), digest("ab12cd34").hex):
        assert await find(store, text) == "a"
    # The target's digest as well.
    for text in ("dd22", "sha256:dd22", digest("dd22"), digest("dd22").hex):
        assert await find(store, text) == "b"
    sha512 = Digest.of(b"x", "sha512")
    await put(store, image_record("c", target=Descriptor(media.OCI_INDEX, sha512, 1)))
    for text in (sha512.hex[:12], sha512, sha512.hex, f"sha512:{sha512.hex[:4]}"):
        assert await find(store, text) == "c"


@pytest.mark.parametrize("text", ["ab1", "ab13", "sha256:ab13", "sha512:ab12", digest("ab13")])
async def test_by_an_id_that_nothing_has(store: SqliteMetadataStore, text: str) -> None:
    await put(store, image("a", "ab12"))
    # Three digits are no ID: they are a repository that is not here.
    assert (await refused(store, text)).reason is Reason.IMAGE_NOT_FOUND


async def test_by_the_id_of_another_platform(store: SqliteMetadataStore) -> None:
    def put_index(session: WriteSession) -> None:
        child = PlatformRecord("linux/arm64", manifest_target("child"), digest("cc11"), True, 1)
        session.put_image(image("index", "aa11", "bb11"), (child,), ())

    await store.write(put_index)
    assert await find(store, "cc11") == "index"
    # The platform pulled alone is an image of its own, and wins.
    await put(store, image("alone", "cc11", "dd11"))
    assert await find(store, "cc11") == "alone"
    assert await find(store, digest("cc11")) == "alone"


async def test_an_id_that_two_images_share(store: SqliteMetadataStore) -> None:
    """gzip and zstd of one build; the newer here is as good as the other."""
    await put(
        store, image("gzip", "aa11", "bb11", stored=5), image("zstd", "aa11", "bb22", stored=4)
    )
    assert await find(store, "aa11") == await find(store, digest("aa11")) == "gzip"
    assert await find(store, "bb22") == "zstd"

    async def same(text: str) -> list[str]:
        found = await store.read(lambda session: find_images_by_id(session, text))
        return sorted(one.uid.removeprefix("UID") for one in found)

    assert await same("aa11") == await same(digest("aa11")) == ["gzip", "zstd"]
    assert await same("bb22") == ["zstd"]
    uid = new_uid()
    await put(store, image("named", "aa11", "dd11", ("docker.io/library/app:1",), uid=uid))
    assert await same(f"images/{uid}") == await same("app:1") == [uid]
    many = [image(f"n{number}", "aa11", f"cc{number:02}") for number in range(20)]
    await put(store, *many)
    assert len(await same("aa11")) == 23


async def test_an_ambiguous_prefix_lists_the_candidates(store: SqliteMetadataStore) -> None:
    numbers = [f"{number:02}" for number in range(25)]
    await put(store, *(image(f"i{one}", f"abcd{one}", f"ff{one}") for one in numbers))
    await put(store, image("same", "abcd00", "ee"))
    error = await refused(store, "abcd")
    assert error.reason is Reason.IMAGE_AMBIGUOUS
    assert error.metadata["candidates_total"] == "25"
    candidates = error.metadata["candidates"].split(", ")
    assert candidates == [digest(f"abcd{one}") for one in numbers[:10]]
    assert "25 images" in error.message
    assert len(error.message) < 2000
    # A candidate does.
    assert await find(store, candidates[3]) == "i03"
    # One by its ID, the other by its target: as ambiguous.
    await put(store, image("x", "1111", "aaaa"), image("y", "aaaa", "2222"))
    assert (await refused(store, "aaaa")).metadata["candidates_total"] == "2"


async def test_a_tag_wins_over_a_prefix(store: SqliteMetadataStore) -> None:
    await put(
        store,
        image("id", "abcd"),
        image("other", "abce"),
        image("tag", names=("docker.io/library/abcd:latest", "docker.io/library/sha256:abce")),
    )
    assert await find(store, "abcd") == "tag"
    assert await find(store, "sha256:abcd") == "id"
    assert await find(store, "sha256:abce") == "tag"
    assert await find(store, "abcd7") == "id"
    # Also over one that is ambiguous.
    await put(store, image("id2", "abcd1"))
    assert await find(store, "abcd") == "tag"


async def test_an_id_in_full_is_no_name(store: SqliteMetadataStore) -> None:
    """Whoever names a repository `sha256` could pass an image off as any other."""
    theirs = f"docker.io/library/{digest('abcd')}"
    await put(store, image("false", names=(theirs,)))
    assert (await refused(store, digest("abcd"))).reason is Reason.IMAGE_NOT_FOUND
    await put(store, image("true", "abcd"))
    assert await find(store, digest("abcd")) == await find(store, digest("abcd").hex) == "true"
    assert await find(store, theirs) == "false"


async def test_by_resource_name(store: SqliteMetadataStore) -> None:
    uid = new_uid()
    await put(store, image("x", uid=uid))
    assert await find(store, f"images/{uid}") == uid
    error = await refused(store, f"images/{new_uid()}")
    assert error.reason is Reason.IMAGE_NOT_FOUND
    # What only looks like one is a reference, or nothing.
    assert (await refused(store, f"images/{uid}\n")).reason is Reason.REFERENCE_INVALID
    assert (await refused(store, f"images/{uid.lower()}")).reason is Reason.IMAGE_NOT_FOUND


@pytest.mark.parametrize("text", ["a", "55c", "sha256:55c"])
async def test_too_short_a_prefix_is_told(store: SqliteMetadataStore, text: str) -> None:
    await put(store, image("one"))
    error = await refused(store, text)
    assert error.reason is Reason.IMAGE_NOT_FOUND
    assert "at least 4 digits" in error.message
    assert "4 digits" not in (await refused(store, f"{text}0000")).message
    assert "4 digits" not in (await refused(store, "xyz")).message


def test_uids() -> None:
    uids = {new_uid() for _ in range(100)}
    assert len(uids) == 100
    assert all(len(uid) == 26 and uid == uid.upper() and uid[0].isalpha() for uid in uids)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", Reason.REFERENCE_INVALID),
        ("App", Reason.REFERENCE_INVALID),
        ("ABCD", Reason.REFERENCE_INVALID),
        ("app:", Reason.REFERENCE_INVALID),
        ("abcd\n", Reason.REFERENCE_INVALID),
        ("abcd ", Reason.REFERENCE_INVALID),
        ("ａｂｃｄ", Reason.REFERENCE_INVALID),
        ("a" * 100_000, Reason.REFERENCE_INVALID),
        ("sha256:" + "A" * 64, Reason.IMAGE_NOT_FOUND),  # a repository and a tag
        ("app@sha256:00", Reason.DIGEST_INVALID),
        ("app@md5:" + "0" * 32, Reason.DIGEST_UNSUPPORTED),
        ("0" * 63, Reason.IMAGE_NOT_FOUND),
        ("0" * 64, Reason.IMAGE_NOT_FOUND),
        ("0" * 65, Reason.IMAGE_NOT_FOUND),
    ],
)
async def test_what_is_no_name(store: SqliteMetadataStore, text: str, reason: Reason) -> None:
    error = await refused(store, text)
    assert error.reason is reason
    assert len(error.message) < 1000

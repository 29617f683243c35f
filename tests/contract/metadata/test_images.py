"""Images, their names and their parts in any metadata store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.metadata import (
    BlobRef,
    ImageRecord,
    MetadataStore,
    PlatformRecord,
    ReadSession,
    WriteSession,
)
from imgd_server.oci import Descriptor, Digest, Platform, media
from tests.records import blob_ref, by_digest, image_record, lease_record, manifest_target, tag


def platform_record(content: str, platform: str = "", **fields: object) -> PlatformRecord:
    record = PlatformRecord(
        platform, manifest_target(content), Digest.of(f"{content} config".encode()), True, 10
    )
    return replace(record, **fields)  # type: ignore[arg-type]


async def put(
    store: MetadataStore,
    record: ImageRecord,
    platforms: Sequence[PlatformRecord] = (),
    blobs: Sequence[BlobRef] = (),
) -> ImageRecord:
    return await store.write(lambda session: session.put_image(record, platforms, blobs))


async def get(store: MetadataStore, uid: str) -> ImageRecord:
    record = await store.read(lambda session: session.image(uid))
    assert record is not None
    return record


FULL = image_record(
    "full",
    target=Descriptor(
        media.OCI_INDEX,
        Digest.of(b"full"),
        4,
        annotations={"key": "välue\n"},
        artifact_type="a/b",
        platform=Platform("linux", "arm", "v7"),
    ),
    kind="artifact",
    artifact_type="application/x.y",
    created=-1_234_567,
    stored=2**53,
    last_used=3,
    unpacked_size=2**40,
    pinned=True,
    platform="linux/arm/v7",
    labels={"label": "välue", "empty": "", "nul\0": "\U0001f4e6"},
    names=(tag("a.b/x:1"), by_digest("a.b/x", "full")),
    repo_digests=("a.b/x@sha256:" + "1" * 64, "c.d/y@sha256:" + "1" * 64),
)


async def test_an_image_is_found_with_all_that_is_known_of_it(store: MetadataStore) -> None:
    stored = await put(store, FULL, (), (blob_ref("one", 7), blob_ref("two", 8)))
    assert stored == replace(FULL, content_size=15)

    def look(session: ReadSession) -> list[ImageRecord | None]:
        return [
            session.image(FULL.uid),
            session.image_by_target(FULL.target.digest),
            session.image_by_name("a.b/x:1"),
            session.image_by_name(f"a.b/x@{FULL.target.digest}"),
            *session.images_by_repo_digest(FULL.repo_digests[0]),
            *session.images_by_id_prefix(FULL.image_id, 10),
            *(image for _, image in session.list_images(None, 10)),
        ]

    found = await store.read(look)
    assert len(found) == 7
    assert all(one == stored for one in found)


async def test_what_is_not_there(store: MetadataStore) -> None:
    await put(store, FULL)

    def look(session: ReadSession) -> list[object]:
        return [
            session.image("UID"),
            session.image_by_target(Digest.of(b"")),
            session.image_by_name("a.b/x:2"),
            session.image_by_name("a.b/x:1 "),
            session.images_by_repo_digest("a.b/x@sha256:" + "2" * 64),
            session.images_by_id_prefix("0000", 10),
            session.image_platforms("UID"),
            session.image_blobs("UID"),
            session.exclusive_blobs("UID", 0),
            session.image_leases("UID", 0),
        ]

    assert await store.read(look) == [None, None, None, None, [], [], [], [], [], []]


async def test_a_blob_counts_once_and_only_when_stored(store: MetadataStore) -> None:
    blobs = (blob_ref("one", 7), blob_ref("two", 2**62, stored=False))
    stored = await put(store, image_record("1"), (), blobs)
    assert (stored.content_size, stored.complete) == (7, False)
    found = await store.read(lambda session: session.image_blobs(stored.uid))
    assert sorted(found, key=lambda one: one.size) == [*blobs]
    assert (await put(store, image_record("2"), (), blobs[:1])).complete


async def test_an_image_that_comes_again_is_brought_up_to_date(store: MetadataStore) -> None:
    known = await put(store, FULL, (), (blob_ref("one"), blob_ref("two", stored=False)))
    await put(store, image_record("other", names=(tag("a.b/other:1"),)))
    again = replace(
        FULL,
        uid="ANOTHER",
        image_id=Digest.of(b"another config"),
        kind="image",
        artifact_type="",
        created=7,
        stored=8,
        last_used=None,
        unpacked_size=None,
        pinned=False,
        platform="linux/amd64",
        labels={"label": "new"},
        names=(tag("a.b/x:2"),),
        repo_digests=("e.f/z@sha256:" + "1" * 64,),
    )
    now = await put(store, again, (), (blob_ref("one", stored=False), blob_ref("two")))
    assert now == replace(
        again,
        uid=known.uid,
        stored=known.stored,
        last_used=known.last_used,
        unpacked_size=known.unpacked_size,
        pinned=True,
        content_size=20,
        complete=True,
        names=tuple(sorted((*known.names, *again.names), key=lambda one: one.name)),
        repo_digests=tuple(sorted((*known.repo_digests, *again.repo_digests))),
    )
    newer = await put(store, replace(again, last_used=9, unpacked_size=10))
    assert (newer.last_used, newer.unpacked_size) == (9, 10)
    assert await store.read(lambda session: session.count_images()) == 2


async def test_platforms_are_merged(store: MetadataStore) -> None:
    absent = platform_record("arm", "linux/arm64", image_id="", complete=False, content_size=0)
    unstated = platform_record("any", "", image_id="", complete=False, content_size=0)
    first = (platform_record("amd", "linux/amd64"), absent, unstated)
    uid = (await put(store, image_record("1"), first)).uid

    async def platforms() -> list[PlatformRecord]:
        return await store.read(lambda session: session.image_platforms(uid))

    assert await platforms() == [*first]
    # Two pulls at once: each saw only its own part stored, and both are.
    second = (
        replace(first[0], image_id="", complete=False, content_size=0),
        platform_record("arm", "linux/arm64"),
        platform_record("any", "linux/s390x"),
    )
    await put(store, image_record("1"), second)
    await put(store, image_record("1"), first)
    assert await platforms() == [first[0], *second[1:]]
    # They are in the order of the index.
    await put(store, image_record("1"), first[::-1])
    assert [one.platform for one in await platforms()] == [
        "linux/s390x",
        "linux/arm64",
        "linux/amd64",
    ]


# --- names


async def test_a_name_moves(store: MetadataStore) -> None:
    first, second = await put(store, image_record("1")), await put(store, image_record("2"))

    def name(uid: str) -> object:
        return store.write(lambda session: session.put_name(tag("a.b/x:1"), uid))

    assert await name(first.uid) is None  # type: ignore[misc]
    assert await name(first.uid) == first.target.digest  # type: ignore[misc]
    await store.write(lambda session: session.put_name(tag("a.b/x:2"), first.uid))
    assert await name(second.uid) == first.target.digest  # type: ignore[misc]
    assert (await get(store, first.uid)).names == (tag("a.b/x:2"),)
    assert (await get(store, second.uid)).names == (tag("a.b/x:1"),)


async def test_names_are_sorted(store: MetadataStore) -> None:
    names = [tag("c.d/x:1"), by_digest("a.b/x", "1"), tag("a.b/x:2"), tag("a.b/x-y:1")]
    stored = await put(store, image_record("1", names=names))
    assert [one.name for one in stored.names] == sorted(one.name for one in names)


async def test_a_name_needs_an_image(store: MetadataStore) -> None:
    await put(store, image_record("1", names=(tag("a.b/x:1"),)))
    with pytest.raises(Error) as caught:
        await store.write(lambda session: session.put_name(tag("a.b/x:1"), "UID"))
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND
    assert (await get(store, "UID1")).names == (tag("a.b/x:1"),)


async def test_a_name_is_taken_away(store: MetadataStore) -> None:
    stored = await put(store, image_record("1", names=(tag("a.b/x:1"), by_digest("a.b/x", "1"))))
    assert await store.write(lambda session: session.delete_name("a.b/x:1")) is True
    assert await store.write(lambda session: session.delete_name("a.b/x:1")) is False
    assert (await get(store, stored.uid)).names == (by_digest("a.b/x", "1"),)


async def test_a_name_saves_a_doomed_image(store: MetadataStore) -> None:
    uid = (await put(store, image_record("1"))).uid
    await store.write(lambda session: session.set_doomed(uid, True))
    assert (await get(store, uid)).doomed
    await store.write(lambda session: session.put_name(tag("a.b/x:1"), uid))
    assert not (await get(store, uid)).doomed


async def test_an_image_goes_with_all_its_parts(store: MetadataStore) -> None:
    uid = (await put(store, FULL, (platform_record("p"),), (blob_ref("one"),))).uid
    kept = await put(store, image_record("2", names=(tag("a.b/x:2"),)), (), (blob_ref("two"),))
    lease = lease_record("lease", images=(uid, kept.uid))

    def delete(session: WriteSession) -> None:
        session.put_lease(lease)
        session.delete_image(uid)
        session.delete_image("UID")

    await store.write(delete)

    def look(session: ReadSession) -> list[object]:
        held = session.lease("lease")
        return [
            session.image(uid),
            session.image_by_name("a.b/x:1"),
            session.images_by_repo_digest(FULL.repo_digests[0]),
            session.image_platforms(uid),
            session.image_blobs(uid),
            session.held_digests(0),
            held.images if held else None,
            [image for _, image in session.list_images(None, 10)],
        ]

    digest = blob_ref("two").digest
    assert await store.read(look) == [None, None, [], [], [], {digest}, (kept.uid,), [kept]]
    # It can come again, as another one.
    assert (await put(store, replace(FULL, uid="AGAIN"))).uid == "AGAIN"


async def test_facts_change_one_by_one(store: MetadataStore) -> None:
    record = await put(store, image_record("1"))

    def change(session: WriteSession, uid: str) -> None:
        session.touch_image(uid, 5)
        session.set_pinned(uid, True)
        session.set_unpacked_size(uid, 6)
        session.set_doomed(uid, True)

    await store.write(lambda session: change(session, record.uid))
    changed = replace(record, last_used=5, pinned=True, unpacked_size=6, doomed=True)
    assert await get(store, record.uid) == changed
    # Of an image that is gone there is nothing to change, and nothing to complain of.
    await store.write(lambda session: change(session, "UID"))
    await store.write(lambda session: session.set_pinned(record.uid, False))
    assert await get(store, record.uid) == replace(changed, pinned=False)


# --- looking up


def digest(start: str, algorithm: str = "sha256") -> Digest:
    return Digest(f"{algorithm}:{start.ljust(64 if algorithm == 'sha256' else 128, '7')}")


async def test_look_up_by_the_start_of_an_id(store: MetadataStore) -> None:
    def target(start: str, algorithm: str = "sha256") -> Descriptor:
        return Descriptor(media.OCI_INDEX, digest(start, algorithm), 1)

    await put(store, image_record("a", image_id=digest("aa11"), target=target("bb"), stored=1))
    await put(store, image_record("b", image_id=digest("aa12"), target=target("bc"), stored=3))
    await put(store, image_record("c", image_id=digest("aa11"), target=target("cc"), stored=2))
    await put(store, image_record("d", image_id=digest("dd"), target=target("aa13", "sha512")))
    parts = [platform_record("p", image_id=digest(start)) for start in ("ee11", "ffff")]
    await put(store, image_record("e", image_id=digest("ee"), target=target("ed")), parts[:1])
    platforms = [replace(parts[1], manifest=manifest_target("q"))]
    await put(store, image_record("f", image_id=digest("ee12"), target=target("ef")), platforms)

    async def find(prefix: str, limit: int = 10) -> str:
        found = await store.read(lambda session: session.images_by_id_prefix(prefix, limit))
        return "".join(one.uid.removeprefix("UID") for one in found)

    # By ID and by target, of any algorithm unless one is named; the newest here first.
    assert await find("aa11") == "ca"
    assert await find("sha256:aa1") == "bca"
    assert await find("aa1") == "dbca"
    assert await find("sha512:aa1") == "d"
    assert await find("bb") == "a"
    assert await find("aa1", 2) == "db"
    assert await find(digest("aa12")) == "b"
    # By the ID of another platform only where no image's own fits.
    assert await find("ee11") == "e"
    assert await find("ee1") == "f"
    assert await find("ffff") == "f"
    # No wildcards.
    assert await find("a%") == await find("a_11") == await find("aa1%") == ""


async def test_look_up_by_repo_digest(store: MetadataStore) -> None:
    asked = await put(store, image_record("1", names=(by_digest("a.b/x", "1"),)))
    learned = await put(store, image_record("2", repo_digests=("a.b/x@sha256:" + "1" * 64,)))

    async def find(repo_digest: str) -> list[ImageRecord]:
        return await store.read(lambda session: session.images_by_repo_digest(repo_digest))

    assert await find(by_digest("a.b/x", "1").name) == [asked]
    assert await find("a.b/x@sha256:" + "1" * 64) == [learned]
    assert await find("a.b/y@sha256:" + "1" * 64) == []


async def test_what_only_one_image_has(store: MetadataStore) -> None:
    shared, leased, over = blob_ref("shared"), blob_ref("leased"), blob_ref("over")
    own = (blob_ref("own", 5), blob_ref("absent", stored=False), shared, leased, over)
    uid = (await put(store, image_record("1"), (), own)).uid
    await put(store, image_record("2"), (), (shared, blob_ref("own", 5, stored=False)))

    def lease(session: WriteSession) -> None:
        session.put_lease(lease_record("lease", expires=11, digests=(leased.digest,)))
        session.put_lease(lease_record("over", expires=10, digests=(over.digest,)))

    await store.write(lease)
    found = await store.read(lambda session: session.exclusive_blobs(uid, 10))
    assert set(found) == {own[0], over}

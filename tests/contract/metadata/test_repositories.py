"""What a repository of the registry inside shows, in any metadata store."""

from __future__ import annotations

from typing import TypeVar

import pytest

from imgd_server.metadata import BlobRef, MetadataStore, PlatformRecord, ReadSession, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform, media
from tests.records import blob_ref, by_digest, image_record, manifest_target, tag

T = TypeVar("T")

HERE, THERE = "host.local/here", "host.local/there"


async def test_tags_of_a_repository(store: MetadataStore) -> None:
    names = [tag(f"{HERE}:{one}") for one in ("b", "a.1", "a", "A", "1", "_")]
    others = [by_digest(HERE, "1"), tag(f"{HERE}-too:z"), tag(f"{HERE}/below:y"), tag(f"{THERE}:x")]

    def put(session: WriteSession) -> None:
        session.put_image(image_record("1", names=(*names, *others)), (), ())

    await store.write(put)

    async def tags(after: str = "", limit: int = 10) -> list[str]:
        return await store.read(lambda session: session.repository_tags(HERE, after, limit))

    assert await tags() == ["1", "A", "_", "a", "a.1", "b"]
    assert await tags("a", 1) == ["a.1"]
    assert await tags("a.0") == ["a.1", "b"]
    assert await tags("b") == []
    assert await store.read(lambda session: session.repository_tags("host.local/no", "", 1)) == []


async def test_repositories_have_a_name_or_a_link(store: MetadataStore) -> None:
    def put(session: WriteSession) -> None:
        names = (tag("b.c/x:1"), tag("b.c/x:2"), by_digest("c.d/y", "1"))
        learned = ("z.z/learned@sha256:" + "1" * 64,)
        session.put_image(image_record("1", names=names, repo_digests=learned), (), ())
        session.link_blob("a.b/blob", Digest.of(b"blob"))
        session.link_manifest("d.e/manifest", manifest_target("2"))
        session.link_blob("b.c/x", Digest.of(b"blob"))

    await store.write(put)

    async def repositories(after: str = "", limit: int = 10) -> list[str]:
        return await store.read(lambda session: session.repositories(after, limit))

    assert await repositories() == ["a.b/blob", "b.c/x", "c.d/y", "d.e/manifest"]
    assert await repositories("a.b/blob", 2) == ["b.c/x", "c.d/y"]
    assert await repositories("d.e/manifest") == []


TARGET = manifest_target("index", media.OCI_INDEX)
CHILD = manifest_target("child")
SPARSE = manifest_target("sparse")
NESTED = manifest_target("nested", media.DOCKER_MANIFEST_LIST)
LAYER, ABSENT = blob_ref("layer"), blob_ref("absent", stored=False)


def put_index(session: WriteSession) -> None:
    """An index with one platform that is stored, one that is not, and an index within."""
    blobs = [
        BlobRef(one.digest, one.size, one.media_type, stored=one is not SPARSE)
        for one in (TARGET, CHILD, SPARSE, NESTED)
    ]
    platforms = [
        PlatformRecord("linux/amd64", CHILD, Digest.of(b"config"), True, 10),
        PlatformRecord("linux/arm64", SPARSE, "", False, 0),
    ]
    session.put_image(image_record("index", target=TARGET), platforms, [*blobs, LAYER, ABSENT])


def shown(session: ReadSession, repository: str) -> dict[str, bool]:
    manifests = {"index": TARGET, "child": CHILD, "nested": NESTED}
    found = {
        name: session.repository_manifest(repository, one.digest) == one
        for name, one in manifests.items()
    }
    return {**found, "layer": session.repository_has_blob(repository, LAYER.digest)}


@pytest.mark.parametrize("how", ["tag", "digest", "learned"])
async def test_an_image_is_shown_where_it_has_a_name(store: MetadataStore, how: str) -> None:
    def name(session: WriteSession) -> None:
        put_index(session)
        if how == "learned":
            learned = (f"{HERE}@{TARGET.digest}",)
            again = image_record("index", target=TARGET, repo_digests=learned)
            session.put_image(again, (), ())
        else:
            given = tag(f"{HERE}:1") if how == "tag" else by_digest(HERE, "index")
            session.put_name(given, "UIDindex")

    await store.write(name)
    assert all((await store.read(lambda session: shown(session, HERE))).values())
    assert not any((await store.read(lambda session: shown(session, THERE))).values())
    if how != "learned":
        names = [f"{HERE}:1", by_digest(HERE, "index").name]
        await store.write(lambda session: [session.delete_name(one) for one in names])
        assert not any((await store.read(lambda session: shown(session, HERE))).values())


async def test_what_is_not_stored_is_not_shown(store: MetadataStore) -> None:
    def name(session: WriteSession) -> None:
        put_index(session)
        session.put_name(tag(f"{HERE}:1"), "UIDindex")

    await store.write(name)

    def has(session: ReadSession) -> list[bool]:
        digests = (ABSENT.digest, SPARSE.digest, TARGET.digest, CHILD.digest)
        return [session.repository_has_blob(HERE, digest) for digest in digests]

    assert await store.read(has) == [False, False, True, True]
    sparse = await store.read(lambda session: session.repository_manifest(HERE, SPARSE.digest))
    assert sparse is None


async def test_a_blob_is_no_manifest(store: MetadataStore) -> None:
    odd = BlobRef(Digest.of(b"odd"), 3, "application/vnd.index-of-manifests.v1")

    def put(session: WriteSession) -> None:
        session.put_image(image_record("1", names=(tag(f"{HERE}:1"),)), (), (odd, LAYER))
        session.link_blob(HERE, Digest.of(b"linked"))

    await store.write(put)

    def manifests(session: ReadSession) -> list[Descriptor | None]:
        digests = (odd.digest, LAYER.digest, Digest.of(b"linked"))
        return [session.repository_manifest(HERE, digest) for digest in digests]

    assert await store.read(manifests) == [None, None, None]


async def test_links_show_without_an_image(store: MetadataStore) -> None:
    target = Descriptor(media.OCI_MANIFEST, Digest.of(b"m"), 1, platform=Platform("linux", "amd64"))

    def link(session: WriteSession) -> None:
        for _ in range(2):
            session.link_manifest(HERE, target)
            session.link_blob(HERE, target.digest)
            session.link_blob(HERE, LAYER.digest)

    await store.write(link)

    def look(session: ReadSession, repository: str) -> list[object]:
        return [
            session.repository_manifest(repository, target.digest),
            session.repository_has_blob(repository, target.digest),
            session.repository_has_blob(repository, LAYER.digest),
        ]

    assert await store.read(lambda session: look(session, HERE)) == [target, True, True]
    assert await store.read(lambda session: look(session, THERE)) == [None, False, False]

    def unlink(session: WriteSession) -> list[bool]:
        return [session.unlink(HERE, one) for one in (target.digest, LAYER.digest, LAYER.digest)]

    assert await store.write(unlink) == [True, True, False]
    assert await store.read(lambda session: look(session, HERE)) == [None, False, False]


async def test_what_is_gone_is_forgotten_everywhere(store: MetadataStore) -> None:
    def link(session: WriteSession) -> None:
        for repository in (HERE, THERE):
            session.link_blob(repository, LAYER.digest)
            session.link_blob(repository, ABSENT.digest)
        session.forget_links([LAYER.digest, Digest.of(b"never linked")])

    await store.write(link)

    def look(session: ReadSession) -> list[bool]:
        return [
            session.repository_has_blob(repository, digest)
            for repository in (HERE, THERE)
            for digest in (LAYER.digest, ABSENT.digest)
        ]

    assert await store.read(look) == [False, True, False, True]

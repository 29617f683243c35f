"""What repositories show, and what referrers hold, in any metadata store."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imgd_server.metadata import MetadataStore, ReadSession, WriteSession
from imgd_server.oci import Descriptor, Digest
from tests.records import blob_ref, image_record, lease_record, manifest_target, tag

REPOSITORY = "registry.test/app"
NOW = 1_000_000

SUBJECT = manifest_target("subject")
SIGNATURE = replace(
    manifest_target("signature"), artifact_type="a/signature", annotations={"key": "välue"}
)
SBOM = replace(manifest_target("sbom"), artifact_type="a/sbom")
# By digest, as lists are.
LISTED = sorted([SIGNATURE, SBOM], key=lambda one: one.digest)


def link(
    session: WriteSession, target: Descriptor, subject: Descriptor | None, repository: str
) -> None:
    """A pushed manifest that needs one layer of its own."""
    blobs = [target.digest, layer(target)]
    session.link_manifest(
        repository, target, subject=subject.digest if subject else None, blobs=blobs
    )


def layer(target: Descriptor) -> Digest:
    return Digest.of(target.digest.encode())


async def refer(
    store: MetadataStore,
    target: Descriptor,
    subject: Descriptor | None = SUBJECT,
    repository: str = REPOSITORY,
) -> None:
    await store.write(lambda session: link(session, target, subject, repository))


async def referrers(
    store: MetadataStore,
    subject: Descriptor = SUBJECT,
    *,
    repository: str = REPOSITORY,
    artifact_type: str = "",
    after: str = "",
    limit: int = 100,
) -> tuple[list[Descriptor], bool]:
    return await store.read(
        lambda session: session.referrers(repository, subject.digest, artifact_type, after, limit)
    )


async def test_referrers_are_found_by_their_subject(store: MetadataStore) -> None:
    await refer(store, SIGNATURE)
    await refer(store, SBOM)
    await refer(store, manifest_target("of another"), manifest_target("another"))
    await refer(store, manifest_target("of none"), None)
    await refer(store, manifest_target("elsewhere"), repository="registry.test/other")
    assert await referrers(store) == (LISTED, False)
    assert await referrers(store, manifest_target("unknown")) == ([], False)
    assert await referrers(store, repository="registry.test/none") == ([], False)


async def test_referrers_are_filtered_and_paged(store: MetadataStore) -> None:
    await refer(store, SIGNATURE)
    await refer(store, SBOM)
    await refer(store, SBOM)  # pushed again
    assert await referrers(store, artifact_type="a/sbom") == ([SBOM], False)
    assert await referrers(store, artifact_type="a/sbom", limit=1) == ([SBOM], False)
    assert await referrers(store, artifact_type="a") == ([], False)
    assert await referrers(store, limit=1) == (LISTED[:1], True)
    assert await referrers(store, limit=1, after=LISTED[0].digest) == (LISTED[1:], False)
    assert await referrers(store, after=LISTED[1].digest) == ([], False)


async def test_a_page_of_referrers_is_bounded_by_its_bytes(store: MetadataStore) -> None:
    large = [
        replace(manifest_target(f"{number}"), annotations={"key": "x" * 600_000})
        for number in range(3)
    ]
    for one in large:
        await refer(store, one)
    seen: list[Descriptor] = []
    more = True
    while more:
        page, more = await referrers(store, after=seen[-1].digest if seen else "")
        assert len(page) == 1
        seen += page
    assert seen == sorted(large, key=lambda one: one.digest)


async def test_an_unlinked_referrer_is_gone(store: MetadataStore) -> None:
    await refer(store, SIGNATURE)
    assert await store.write(lambda session: session.unlink(REPOSITORY, SIGNATURE.digest))
    assert not await store.write(lambda session: session.unlink(REPOSITORY, SIGNATURE.digest))
    assert await referrers(store) == ([], False)


async def test_a_blob_link_does_not_undo_a_manifest_link(store: MetadataStore) -> None:
    await refer(store, SIGNATURE)

    def blob(session: WriteSession) -> None:
        session.link_blob(REPOSITORY, SIGNATURE.digest)

    await store.write(blob)
    assert await referrers(store) == ([SIGNATURE], False)


# --- holds


async def held(store: MetadataStore, now: int = NOW) -> set[str]:
    """What is held, in both ways of asking."""
    targets = [SUBJECT, SIGNATURE, SBOM]
    asked = [digest for one in targets for digest in (one.digest, layer(one))]

    def ask(session: ReadSession) -> set[str]:
        among = session.held_among(asked, now)
        assert session.held_digests(now) & set(asked) == among
        return among

    return await store.read(ask)


def parts(*targets: Descriptor) -> set[str]:
    return {digest for one in targets for digest in (one.digest, layer(one))}


async def test_referrers_are_held_as_long_as_their_subject(store: MetadataStore) -> None:
    # In either order, and a referrer of a referrer too.
    await refer(store, SBOM)
    await refer(store, SIGNATURE, SBOM)
    assert await held(store) == set()
    record = image_record("subject", target=SUBJECT)
    blobs = [blob_ref("subject")]
    image = await store.write(lambda session: session.put_image(record, [], blobs))
    assert await held(store) == {SUBJECT.digest} | parts(SBOM, SIGNATURE)
    await store.write(lambda session: session.delete_image(image.uid))
    assert await held(store) == set()


async def test_referrers_of_what_is_not_stored_are_not_held(store: MetadataStore) -> None:
    await refer(store, SBOM)
    record = image_record("index")
    absent = [blob_ref("subject", stored=False)]
    await store.write(lambda session: session.put_image(record, [], absent))
    assert await held(store) == set()


async def test_referrers_of_what_is_leased_are_held_as_long(store: MetadataStore) -> None:
    await refer(store, SBOM)
    lease = lease_record("upload:x", expires=NOW + 10, digests=(SUBJECT.digest,))
    await store.write(lambda session: session.put_lease(lease))
    assert await held(store) == {SUBJECT.digest} | parts(SBOM)
    assert await held(store, NOW + 10) == set()


async def test_an_unlinked_or_forgotten_referrer_is_not_held(store: MetadataStore) -> None:
    for one in (SBOM, SIGNATURE):
        await refer(store, one)
    lease = lease_record("upload:x", expires=NOW + 10, digests=(SUBJECT.digest,))
    await store.write(lambda session: session.put_lease(lease))
    await store.write(lambda session: session.unlink(REPOSITORY, SBOM.digest))
    assert await held(store) == {SUBJECT.digest} | parts(SIGNATURE)
    await store.write(lambda session: session.forget_links([SIGNATURE.digest]))
    assert await held(store) == {SUBJECT.digest}


async def test_a_manifest_without_a_subject_holds_nothing(store: MetadataStore) -> None:
    await refer(store, SBOM, None)
    assert await held(store) == set()


# --- who needs what


async def holder(store: MetadataStore, digest: str, repository: str = REPOSITORY) -> Digest | None:
    return await store.read(lambda session: session.repository_holder(repository, digest))


async def test_a_linked_manifest_needs_its_blobs(store: MetadataStore) -> None:
    await refer(store, SBOM, None)
    assert await holder(store, layer(SBOM)) == SBOM.digest
    assert await holder(store, SBOM.digest) is None
    assert await holder(store, layer(SBOM), "registry.test/other") is None
    await store.write(lambda session: session.unlink(REPOSITORY, SBOM.digest))
    assert await holder(store, layer(SBOM)) is None


@pytest.mark.parametrize("named", ["name", "repo digest"])
async def test_an_image_needs_its_blobs_where_it_is_shown(store: MetadataStore, named: str) -> None:
    learned = f"{REPOSITORY}@{SUBJECT.digest}"
    record = image_record(
        "subject",
        target=SUBJECT,
        names=(tag(f"{REPOSITORY}:1"),) if named == "name" else (),
        repo_digests=(learned,) if named == "repo digest" else (),
    )
    blobs = [blob_ref("subject"), blob_ref(SUBJECT.digest)]
    await store.write(lambda session: session.put_image(record, [], blobs))
    assert await holder(store, layer(SUBJECT)) == SUBJECT.digest
    assert await holder(store, SUBJECT.digest) is None
    assert await holder(store, layer(SUBJECT), "registry.test/other") is None

    def untag(session: WriteSession) -> bool:
        if named == "name":
            return session.delete_name(f"{REPOSITORY}:1")
        return session.forget_repo_digest(learned)

    assert await store.write(untag)
    assert not await store.write(untag)
    assert await holder(store, layer(SUBJECT)) is None


# --- what is shown


async def test_a_linked_manifest_shows_its_blobs(store: MetadataStore) -> None:
    """Also when the image that showed them is gone."""

    async def has(digest: str, repository: str = REPOSITORY) -> bool:
        return await store.read(lambda session: session.repository_has_blob(repository, digest))

    await refer(store, SBOM, None)
    assert await has(SBOM.digest)
    assert await has(layer(SBOM))
    assert not await has(layer(SBOM), "registry.test/other")
    await store.write(lambda session: session.unlink(REPOSITORY, SBOM.digest))
    assert not await has(layer(SBOM))


async def shown(store: MetadataStore, digest: str) -> bool:
    return await store.read(lambda session: session.any_repository_has_blob(digest))


async def test_what_some_repository_shows(store: MetadataStore) -> None:
    await store.write(lambda session: session.link_blob(REPOSITORY, SBOM.digest))
    record = image_record("subject", target=SUBJECT)
    blobs = [
        blob_ref("subject"),
        blob_ref("signature", stored=False),
    ]
    image = await store.write(lambda session: session.put_image(record, [], blobs))
    assert await shown(store, SBOM.digest)
    # An image without a name or repo digest is in no repository.
    assert not await shown(store, SUBJECT.digest)
    await store.write(lambda session: session.put_name(tag(f"{REPOSITORY}:1"), image.uid))
    assert await shown(store, SUBJECT.digest)
    assert not await shown(store, SIGNATURE.digest)
    await refer(store, SBOM, None)
    assert await shown(store, layer(SBOM))


async def test_a_repository_is_what_has_anything(store: MetadataStore) -> None:
    async def has(repository: str) -> bool:
        return await store.read(lambda session: session.has_repository(repository))

    assert not await has(REPOSITORY)
    await store.write(lambda session: session.link_blob(REPOSITORY, SBOM.digest))
    learned = f"registry.test/learned@{SUBJECT.digest}"
    record = image_record("subject", names=(tag("registry.test/named:1"),), repo_digests=(learned,))
    await store.write(lambda session: session.put_image(record, [], []))
    assert await has(REPOSITORY)
    assert await has("registry.test/named")
    assert await has("registry.test/learned")
    assert not await has("registry.test")
    await store.write(lambda session: session.unlink(REPOSITORY, SBOM.digest))
    assert not await has(REPOSITORY)


async def test_an_image_that_loses_its_repo_digest_moves_in_lists(store: MetadataStore) -> None:
    """Its first row in a table was that repository without a tag, and is `<none>` then."""
    learned = f"1.test/app@{SUBJECT.digest}"
    first = image_record("first", repo_digests=(learned,))
    second = image_record("second", names=(tag("2.test/app:1"),))

    def put_both(session: WriteSession) -> None:
        for record in (first, second):
            session.put_image(record, [], [])

    await store.write(put_both)

    async def listed() -> list[str]:
        rows = await store.read(lambda session: session.list_images(None, 10))
        return [record.uid for _, record in rows]

    assert await listed() == [first.uid, second.uid]
    await store.write(lambda session: session.forget_repo_digest(learned))
    assert await listed() == [second.uid, first.uid]

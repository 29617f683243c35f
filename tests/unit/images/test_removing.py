"""Removing, as `docker rmi` does (behaviour.md, 6)."""

from __future__ import annotations

from typing import Any

import pytest

from imgd_server.errors import Error, HeldError, Reason
from imgd_server.images import (
    NewContainer,
    NewLease,
    Removal,
    create_container,
    create_lease,
    delete_lease,
    expire_leases,
    new_uid,
    remove_container,
    remove_image,
    start_container,
    tag_image,
)
from imgd_server.metadata import BlobRef, ImageRecord, Name
from imgd_server.metadata._session import Session
from imgd_server.oci import Digest, media
from tests.records import blob_ref, image_record, manifest_target, tag

NOW = 1_000_000_000
REDIS = "docker.io/library/redis"


def digest_of(name: str) -> Digest:
    return manifest_target(name).digest


def put(session: Session, text: str, *names: str, **fields: Any) -> ImageRecord:
    """An image with tags, with a layer of its own of 10 bytes and one of 100 that all have."""
    blobs = [
        BlobRef(digest_of(text), 3, media.OCI_MANIFEST),
        BlobRef(Digest.of(f"{text} config".encode()), 4, media.OCI_CONFIG),
        blob_ref(f"{text} layer"),
        blob_ref("shared", 100),
    ]
    record = image_record(text, uid=new_uid(), names=tuple(map(tag, names)), **fields)
    return session.put_image(record, (), blobs)


def remove(session: Session, text: str, *, force: bool = False) -> Removal:
    (removal,) = remove_image(session, text, force=force, now=NOW)
    return removal


def refused(session: Session, text: str, *, force: bool = False) -> HeldError:
    before = [session.event_bounds(), session.list_images(None, 100)]
    with pytest.raises(HeldError) as caught:
        remove_image(session, text, force=force, now=NOW)
    assert [session.event_bounds(), session.list_images(None, 100)] == before
    return caught.value


def names(session: Session, record: ImageRecord) -> list[str]:
    found = session.image(record.uid)
    assert found
    return [one.name for one in found.names]


def events(session: Session) -> list[tuple[str, str]]:
    return [(one.action, one.attributes.get("name", "")) for one in session.events(0, None, 100)]


def test_by_name_while_others_remain_only_that_name_goes(session: Session) -> None:
    record = put(session, "a", f"{REDIS}:7", f"{REDIS}:latest", "h.io/x:1")
    assert remove(session, "redis") == Removal(record, (f"{REDIS}:latest",))
    assert names(session, record) == [f"{REDIS}:7", "h.io/x:1"]
    # Force is about holders.
    assert remove(session, "redis:7", force=True).deleted == ()
    assert names(session, record) == ["h.io/x:1"]
    assert events(session) == [("untag", f"{REDIS}:latest"), ("untag", f"{REDIS}:7")]


def test_the_last_name_goes_with_the_image_and_what_only_it_has(session: Session) -> None:
    other = put(session, "b", "h.io/b:1")
    learned = f"{REDIS}@{digest_of('a')}"
    record = put(session, "a", f"{REDIS}:7", repo_digests=(learned,))
    removal = remove(session, "redis:7")
    assert removal.untagged == (f"{REDIS}:7", learned)
    assert removal.deleted == (record.image_id, blob_ref("a layer").digest)
    assert removal.freed_bytes == 3 + 4 + 10
    assert session.image(record.uid) is None
    assert remove(session, "h.io/b:1").freed_bytes == 117
    assert session.image(other.uid) is None
    assert [action for action, _ in events(session)] == ["untag", "delete"] * 2


def test_layers_of_every_kind_are_told_and_the_frame_is_not(session: Session) -> None:
    kinds = [media.DOCKER_LAYER, media.OCI_LAYER_ZSTD, media.OCI_LAYER_NONDIST, "text/x-chart"]
    frame = [media.OCI_INDEX, media.DOCKER_MANIFEST, media.DOCKER_CONFIG, media.OCI_EMPTY]
    blobs = [BlobRef(digest_of(kind), 1, kind) for kind in [*kinds, *frame]]
    record = session.put_image(image_record("a", names=(tag("h.io/a:1"),)), (), blobs)
    removal = remove(session, "h.io/a:1")
    assert removal.deleted == (record.image_id, *sorted(digest_of(kind) for kind in kinds))
    assert removal.freed_bytes == 8


def test_a_repositorys_digests_go_with_its_last_tag(session: Session) -> None:
    digests = (f"{REDIS}@{digest_of('a')}", f"h.io/x@{digest_of('a')}")
    record = put(
        session, "a", f"{REDIS}:7", f"{REDIS}:8", "h.io/x:1", "h.io/y:1", repo_digests=digests
    )
    assert remove(session, "redis:7").untagged == (f"{REDIS}:7",)
    assert remove(session, "redis:8").untagged == (f"{REDIS}:8", digests[0])
    found = session.image(record.uid)
    assert found
    assert found.repo_digests == (digests[1],)
    assert remove(session, "h.io/y:1").untagged == ("h.io/y:1",)


def test_by_a_learned_digest(session: Session) -> None:
    digests = (f"{REDIS}@{digest_of('a')}", f"h.io/x@{digest_of('a')}")
    record = put(session, "a", f"{REDIS}:7", repo_digests=digests)
    assert remove(session, digests[1]).untagged == (digests[1],)
    found = session.image(record.uid)
    assert found
    assert (found.repo_digests, len(found.names)) == ((digests[0],), 1)
    # Of an image without a name it is the last that there is.
    session.delete_name(f"{REDIS}:7")
    assert remove(session, digests[0]).deleted[0] == record.image_id


def test_a_digest_that_was_asked_for_is_a_name(session: Session) -> None:
    asked = Name(f"{REDIS}@{digest_of('a')}", REDIS, by_digest=True)
    record = put(session, "a", f"{REDIS}:7", repo_digests=(asked.name,))
    session.put_name(asked, record.uid)
    assert remove(session, "redis:7").untagged == (f"{REDIS}:7",)
    assert names(session, record) == [asked.name]
    # The digest decides, whatever tag stands before it.
    assert remove(session, f"redis:9@{digest_of('a')}").untagged == (asked.name,)
    assert session.image(record.uid) is None


def by_resource(record: ImageRecord) -> str:
    return f"images/{record.uid}"


def by_prefix(record: ImageRecord) -> str:
    return record.image_id[7:19]


IDS = [lambda one: one.image_id, by_prefix, lambda one: one.target.digest, by_resource]


@pytest.mark.parametrize("text_of", IDS)
def test_by_id_all_names_go_and_several_need_force(session: Session, text_of: Any) -> None:
    record = put(session, "a", f"{REDIS}:7", "h.io/x:1")
    error = refused(session, text_of(record))
    assert error.reason is Reason.IMAGE_HAS_NAMES
    assert error.holders == [f"{REDIS}:7", "h.io/x:1"]
    assert error.metadata["holders_total"] == "2"
    removal = remove(session, text_of(record), force=True)
    assert removal.untagged == (f"{REDIS}:7", "h.io/x:1")
    assert removal.deleted[0] == record.image_id


def test_by_id_one_tag_and_digests_beside_it_count_as_one_name(session: Session) -> None:
    record = put(session, "a", f"{REDIS}:7")
    session.put_name(Name(f"{REDIS}@{record.target.digest}", REDIS, by_digest=True), record.uid)
    assert len(remove(session, record.image_id).untagged) == 2
    record = put(session, "b", f"{REDIS}:7")
    session.put_name(Name(f"h.io/x@{record.target.digest}", "h.io/x", by_digest=True), record.uid)
    assert refused(session, record.image_id).reason is Reason.IMAGE_HAS_NAMES


def test_images_that_share_an_id_go_together_and_with_force_alone(session: Session) -> None:
    image_id = Digest.of(b"config")
    gzip = put(session, "a", "h.io/gzip:1", image_id=image_id)
    zstd = put(session, "b", image_id=image_id)
    error = refused(session, image_id)
    assert error.reason is Reason.IMAGE_HAS_NAMES
    assert {*error.holders} == {"h.io/gzip:1", zstd.target.digest}
    # A target's own digest, or its start, means that image alone.
    assert remove(session, zstd.target.digest[7:20]).record.uid == zstd.uid
    again = put(session, "b", image_id=image_id)
    removals = remove_image(session, image_id[7:23], force=True, now=NOW)
    assert {one.record.uid for one in removals} == {gzip.uid, again.uid}
    assert sum(one.freed_bytes for one in removals) == 100 + 2 * 17
    assert session.count_images() == 0


def test_a_prefix_is_compared_from_the_digests_start(session: Session) -> None:
    # A target that holds the prefix somewhere else is not the one that is meant.
    prefix = digest_of("a")[20:24]
    for text in "ab":
        put(session, text, image_id=Digest(f"sha256:{prefix}" + "0" * 60))
    assert refused(session, prefix).reason is Reason.IMAGE_HAS_NAMES


def test_what_is_not_there_or_ambiguous(session: Session) -> None:
    put(session, "a", image_id=Digest("sha256:abcd" + "1" * 60))
    put(session, "b", image_id=Digest("sha256:abcd" + "2" * 60))
    for text, reason in (
        ("redis", Reason.IMAGE_NOT_FOUND),
        ("0" * 64, Reason.IMAGE_NOT_FOUND),
        (f"redis@{digest_of('a')}", Reason.IMAGE_NOT_FOUND),
        ("abcd", Reason.IMAGE_AMBIGUOUS),
        ("A B", Reason.REFERENCE_INVALID),
    ):
        with pytest.raises(Error) as caught:
            remove_image(session, text, force=True, now=NOW)
        assert caught.value.reason is reason


# --- what is held


def hold(session: Session, kind: str, text: str = "redis:7") -> str:
    """Holds an image; returns the holder's name."""
    if kind == "pin":
        found = session.image_by_name(f"{REDIS}:7")
        assert found
        session.set_pinned(found.uid, True)
        return "pin"
    if kind == "lease":
        create_lease(session, NewLease("l1", images=[text]), NOW - 1)
        return "leases/l1"
    create_container(session, NewContainer(text, "c1"), NOW - 1)
    if kind == "running":
        start_container(session, "c1", NOW - 1)
    return "containers/c1"


@pytest.mark.parametrize("kind", ["pin", "lease", "idle", "running"])
def test_the_last_name_is_refused_while_something_holds_and_names_it(
    session: Session, kind: str
) -> None:
    record = put(session, "a", f"{REDIS}:7", "h.io/x:1")
    holder = hold(session, kind)
    # Other names go all the same.
    assert remove(session, "h.io/x:1").untagged == ("h.io/x:1",)
    for text in ("redis:7", record.image_id, record.target.digest):
        error = refused(session, text)
        assert error.reason is Reason.IMAGE_IN_USE
        assert error.holders == [holder]
        assert holder in error.message
        assert text in error.message


@pytest.mark.parametrize("kind", ["lease", "idle", "running"])
def test_forced_by_name_it_stays_without_names_until_the_last_hold_is_gone(
    session: Session, kind: str
) -> None:
    learned = f"{REDIS}@{digest_of('a')}"
    record = put(session, "a", f"{REDIS}:7", repo_digests=(learned,), pinned=True)
    hold(session, kind)
    create_lease(session, NewLease("other", images=["redis:7"], ttl=5), NOW - 1)
    removal = remove(session, "redis:7", force=True)
    assert removal == Removal(removal.record, (f"{REDIS}:7", learned))
    left = session.image(record.uid)
    assert left
    assert (left.names, left.repo_digests, left.pinned, left.doomed) == ((), (), False, True)
    if kind == "lease":
        delete_lease(session, "l1", NOW)
    else:
        remove_container(session, "c1", NOW, force=True)
    assert session.image(record.uid)
    assert expire_leases(session, NOW + 5, 10) == 1
    assert session.image(record.uid) is None
    assert [action for action, _ in events(session)][-2:] == ["delete", "delete"]


def test_a_digest_that_was_asked_for_and_learned_is_gone_when_it_was_untagged(
    session: Session,
) -> None:
    asked = Name(f"{REDIS}@{digest_of('a')}", REDIS, by_digest=True)
    record = put(session, "a", f"{REDIS}:7", repo_digests=(asked.name,))
    session.put_name(asked, record.uid)
    hold(session, "idle")
    assert remove(session, asked.name).untagged == (asked.name,)
    assert (left := session.image(record.uid))
    assert left.repo_digests == ()
    put(session, "a", repo_digests=(asked.name,))
    session.put_name(asked, record.uid)
    untagged = remove(session, record.image_id, force=True).untagged
    assert sorted(untagged) == [f"{REDIS}:7", asked.name]
    assert (left := session.image(record.uid))
    assert left.repo_digests == ()


def test_what_is_named_again_meanwhile_lives_on(session: Session) -> None:
    record = put(session, "a", f"{REDIS}:7")
    hold(session, "idle")
    remove(session, "redis:7", force=True)
    tag_image(session, record.image_id, "h.io/again:1", None, NOW)
    remove_container(session, "c1", NOW, force=False)
    assert names(session, record) == ["h.io/again:1"]
    # Nor does an untagging doom it: only a removal does.
    session.delete_name("h.io/again:1")
    create_container(session, NewContainer(record.image_id, "c2"), NOW)
    remove_container(session, "c2", NOW, force=False)
    assert session.image(record.uid)


@pytest.mark.parametrize(
    ("kind", "goes"), [("pin", True), ("idle", True), ("lease", False), ("running", False)]
)
def test_forced_by_id(session: Session, kind: str, goes: bool) -> None:
    record = put(session, "a", f"{REDIS}:7")
    holder = hold(session, kind)
    if kind == "running":
        # A pin and an idle container are not what refuses.
        create_container(session, NewContainer("redis:7", "idle"), NOW)
        session.set_pinned(record.uid, True)
    if goes:
        removal = remove(session, record.image_id, force=True)
        assert removal.untagged == (f"{REDIS}:7",)
        assert (session.image(record.uid) is None) == (kind == "pin")
    else:
        error = refused(session, record.image_id, force=True)
        assert error.reason is Reason.IMAGE_IN_USE
        assert error.holders == [holder]


def test_forced_by_a_shared_id_one_held_image_keeps_all(session: Session) -> None:
    image_id = Digest.of(b"config")
    put(session, "a", f"{REDIS}:7", image_id=image_id)
    put(session, "b", "h.io/b:1", image_id=image_id)
    hold(session, "lease")
    assert refused(session, image_id, force=True).holders == ["leases/l1"]


def test_a_refusal_names_a_hundred_holders_and_the_total(session: Session) -> None:
    put(session, "a", f"{REDIS}:7")
    for number in range(120):
        create_container(session, NewContainer("redis:7", f"c{number:03}"), NOW)
    error = refused(session, "redis:7")
    assert len(error.holders) == 100
    assert error.metadata["holders_total"] == "120"
    assert "115 more" in error.message


def test_an_expired_lease_holds_nothing(session: Session) -> None:
    record = put(session, "a", f"{REDIS}:7")
    create_lease(session, NewLease("l1", images=["redis:7"], ttl=10), NOW - 10)
    assert remove(session, "redis:7").deleted[0] == record.image_id


def test_bytes_that_a_lease_holds_are_not_free(session: Session) -> None:
    put(session, "a", f"{REDIS}:7")
    create_lease(session, NewLease(digests=[blob_ref("a layer").digest]), NOW)
    removal = remove(session, "redis:7")
    assert removal.freed_bytes == 3 + 4 + 100
    assert blob_ref("a layer").digest not in removal.deleted

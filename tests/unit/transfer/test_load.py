"""Loads: which archives are read, what they become, and what stays of those that are refused."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from typing import Any

import pytest
import zstandard

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import collect
from imgd_server.oci import Digest, Platform
from imgd_server.transfer import (
    ArchiveEndpoint,
    Inbox,
    LeaseRequest,
    NodeKind,
    NodeState,
    PullResult,
    StoreEndpoint,
    TransferSpec,
    TransferState,
    now_us,
)
from imgd_server.transfer._archived import Archived
from tests.fake_images import (
    OCI_MANIFEST,
    FakeImage,
    descriptor,
    digest_of,
    make_document,
    make_image,
    make_index,
    make_layer,
)
from tests.unit.rootfs.archives import archive, file, link, symlink
from tests.unit.transfer.fakes import PATIENCE, Lab, layered, outcome_of, size_of
from tests.unit.transfer.image_archives import (
    FULL_NAME,
    REF_NAME,
    blob,
    docker_archive,
    layout,
    load,
    parts_of,
    tar,
)

NAME = "registry.test/team/app:1"
IMAGE = layered(3000, 500)
OTHER = layered(700, seed=5)
LAYERS = [make_layer({f"f{number}": bytes([number]) * 2000}) for number in range(3)]
HOST = Platform.host().architecture
FOREIGN = "arm64" if HOST != "arm64" else "amd64"
MULTI = make_index(
    [
        (layered(900, seed=11, architecture=HOST), {"os": "linux", "architecture": HOST}),
        (layered(800, seed=12, architecture=FOREIGN), {"os": "linux", "architecture": FOREIGN}),
    ]
)
PLATFORMS = (f"linux/{HOST}", f"linux/{FOREIGN}")


def children_of(index: FakeImage) -> list[FakeImage]:
    found = []
    for entry in index.document["manifests"]:
        kind, raw = index.manifests[entry["digest"]]
        found.append(FakeImage(raw, kind))
    return found


def parts_of_child(child: FakeImage) -> list[str]:
    document = child.document
    return [one["digest"] for one in (document["config"], *document["layers"])]


def config_of(layers: list[bytes]) -> bytes:
    return json.dumps(
        {
            "os": "linux",
            "architecture": HOST,
            "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(one) for one in layers]},
        }
    ).encode()


CONFIG = config_of(LAYERS)


async def names(lab: Lab) -> dict[str, str]:
    """Every name here, and the digest that it points at."""
    listed = await lab.metadata.read(lambda session: session.list_images(None, 100))
    return {name.name: image.target.digest for _, image in listed for name in image.names}


async def refuse(lab: Lab, data: bytes, **more: Any) -> Error:
    """The failure of a load, after which nothing is left that a collection would not take."""
    before = await names(lab)
    record, loaded = await load(lab.manager, data, **more)
    failure = outcome_of(record).failure
    assert failure is not None, "it was loaded"
    assert (record.state, loaded) == (TransferState.FAILED.name, [])
    assert await names(lab) == before
    if not before:
        assert await lab.metadata.read(lambda session: session.list_images(None, 1)) == []
    assert await lab.metadata.read(lambda session: session.held_digests(now_us())) == {
        blob.digest
        for _, image in await lab.metadata.read(lambda session: session.list_images(None, 100))
        for blob in await lab.metadata.read(
            lambda session, uid=image.uid: session.image_blobs(uid)  # type: ignore[misc]
        )
    }
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert [*lab.content.partials()] == []
    if not before:
        assert [*lab.content.blobs()] == []
    return failure


# --- OCI layouts


@pytest.mark.parametrize(
    ("annotations", "named"),
    [
        ({FULL_NAME: NAME, REF_NAME: "1"}, NAME),
        ({REF_NAME: NAME}, NAME),
        ({REF_NAME: "redis:7"}, "docker.io/library/redis:7"),
        ({REF_NAME: "7"}, ""),
        ({REF_NAME: "-- no / reference"}, ""),
        ({}, ""),
        ({FULL_NAME: f"registry.test/app@{IMAGE.digest}"}, f"registry.test/app@{IMAGE.digest}"),
    ],
)
async def test_a_layout_is_loaded_byte_for_byte_with_the_name_that_it_gives(
    lab: Lab, annotations: dict[str, str], named: str
) -> None:
    record, (image,) = await load(lab.manager, tar(layout((IMAGE, annotations))))
    outcome = outcome_of(record)
    assert record.state == TransferState.SUCCEEDED.name
    assert [name.name for name in image.names] == ([named] if named else [])
    assert outcome.references == ((named,) if named else ())
    assert (image.target.digest, image.image_id) == (IMAGE.digest, IMAGE.image_id)
    assert outcome.pull_result is PullResult.DOWNLOADED
    assert outcome.fetched_bytes == size_of(IMAGE)
    assert image.complete
    assert image.repo_digests == ()
    assert image.target.annotations == {}
    for digest, raw in {**IMAGE.blobs, IMAGE.digest: IMAGE.raw}.items():
        assert lab.content.read(Digest(digest), 10**6) == raw
    # A tag alone, or other words, are no name; whoever loads it is told.
    assert bool(outcome.warnings) == (bool(annotations) and not named)


@pytest.mark.parametrize("piece", [1, 511, 1 << 20])
@pytest.mark.parametrize(
    "pack",
    [
        bytes,
        gzip.compress,
        zstandard.compress,
        lambda data: gzip.compress(data[:99]) + gzip.compress(data[99:]),
    ],
    ids=["plain", "gzip", "zstd", "gzip of two members"],
)
async def test_archives_come_packed_in_any_pieces(lab: Lab, pack: Any, piece: int) -> None:
    small = layered(100)
    record, (image,) = await load(
        lab.manager, pack(tar(layout((small, {FULL_NAME: NAME})))), piece=piece
    )
    assert record.state == TransferState.SUCCEEDED.name
    assert image.target.digest == small.digest


async def test_what_is_here_is_verified_and_not_stored_again(lab: Lab) -> None:
    data = tar(layout((IMAGE, {FULL_NAME: NAME})))
    await load(lab.manager, data)
    record, _ = await load(lab.manager, data)
    outcome = outcome_of(record)
    assert (outcome.fetched_bytes, outcome.reused_bytes) == (0, size_of(IMAGE))
    assert outcome.pull_result is PullResult.UP_TO_DATE
    # A wrong archive is refused also by a store that has the right bytes.
    layer = max(IMAGE.blobs.values(), key=len)
    wrong = layout((IMAGE, {FULL_NAME: NAME}), more={blob(layer): bytes(len(layer))})
    assert (await refuse(lab, tar(wrong))).reason is Reason.DIGEST_MISMATCH


async def test_a_name_moves_and_the_former_image_stays(lab: Lab) -> None:
    await load(lab.manager, tar(layout((OTHER, {FULL_NAME: NAME}))))
    record, _ = await load(lab.manager, tar(layout((IMAGE, {FULL_NAME: NAME}))))
    assert outcome_of(record).pull_result is PullResult.UPDATED
    assert await names(lab) == {NAME: IMAGE.digest}
    former = await lab.metadata.read(lambda session: session.image_by_target(OTHER.digest))
    assert former is not None
    assert former.names == ()
    events = await lab.metadata.read(lambda session: session.events(0, None, 100))
    told = [(one.action, one.attributes["digest"]) for one in events if one.kind == "IMAGE"]
    assert told == [("load", OTHER.digest), ("untag", OTHER.digest), ("load", IMAGE.digest)]


async def test_several_images_share_what_they_share(lab: Lab) -> None:
    again = make_image(
        [b"x" * 40], labels={"another": "one"}, layer_type="application/vnd.oci.image.layer.v1.tar"
    )
    files = layout(
        (IMAGE, {FULL_NAME: NAME}),
        (IMAGE, {FULL_NAME: "registry.test/team/app:latest"}),
        (again, {FULL_NAME: "registry.test/other:1"}),
    )
    record, loaded = await load(lab.manager, tar(files))
    assert [image.target.digest for image in loaded] == [IMAGE.digest, again.digest]
    assert len(loaded[0].names) == 2
    assert outcome_of(record).references == (
        NAME,
        "registry.test/team/app:latest",
        "registry.test/other:1",
    )


async def test_names_that_are_given_replace_those_of_the_archive(lab: Lab) -> None:
    data = tar(layout((IMAGE, {REF_NAME: "7"})))
    record, _ = await load(lab.manager, data, images=("mine", "test.com/mine:2"))
    assert outcome_of(record).warnings == ()
    assert await names(lab) == {
        "docker.io/library/mine:latest": IMAGE.digest,
        "test.com/mine:2": IMAGE.digest,
    }
    two = tar(layout((IMAGE, {}), (OTHER, {})))
    assert (await refuse(lab, two, images=("mine",))).reason is Reason.ARCHIVE_INVALID
    with pytest.raises(Error) as caught:
        await load(lab.manager, data, images=(f"mine@{IMAGE.digest}",))
    assert caught.value.reason is Reason.REFERENCE_INVALID


async def test_all_platforms_are_loaded_or_those_asked_for(lab: Lab) -> None:
    data = tar(layout((MULTI, {FULL_NAME: NAME})))
    await load(lab.manager, data, platforms=(PLATFORMS[1],))
    partly = await lab.metadata.read(lambda session: session.image_by_name(NAME))
    assert partly is not None
    assert not partly.complete
    uid = partly.uid
    stored = await lab.metadata.read(lambda session: session.image_platforms(uid))
    assert [one.platform for one in stored if one.complete] == [PLATFORMS[1]]
    # What was not asked for is held by nobody.
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    own = children_of(MULTI)[0]
    assert lab.content.find(Digest(own.digest)) is None
    _, (image,) = await load(lab.manager, data)
    assert image.complete
    assert image.image_id == own.document["config"]["digest"]


async def test_an_index_may_lack_whole_platforms_and_no_part_of_one(lab: Lab) -> None:
    first, second = children_of(MULTI)
    missing = [second.raw, *(MULTI.blobs[one] for one in parts_of_child(second))]
    partly = layout((MULTI, {FULL_NAME: NAME}), without=missing)
    failure = await refuse(lab, tar(partly), require_complete=True)
    assert failure.reason is Reason.IMAGE_INCOMPLETE
    assert (await refuse(lab, tar(partly), platforms=(PLATFORMS[1],))).reason is (
        Reason.PLATFORM_NOT_FOUND
    )
    record, (partial,) = await load(lab.manager, tar(partly))
    assert record.state == TransferState.SUCCEEDED.name
    assert (partial.complete, partial.target.digest) == (False, MULTI.digest)
    await lab.metadata.write(lambda session: session.delete_image(partial.uid))
    every = [*parts_of(MULTI)]
    for path in every:
        if path in (blob(MULTI.raw), blob(first.raw), blob(second.raw)):
            continue
        files = layout((MULTI, {FULL_NAME: NAME}))
        del files[path]
        failure = await refuse(lab, tar(files))
        assert failure.reason is Reason.ARCHIVE_INVALID
        assert path.rpartition("/")[2] in failure.message
    files = layout((MULTI, {FULL_NAME: NAME}), without=[first.raw, second.raw])
    assert "none of the manifests" in (await refuse(lab, tar(files))).message


async def test_the_store_does_not_lend_an_archive_its_blobs(lab: Lab) -> None:
    """Else whoever knows a digest could read what he does not have."""
    await load(lab.manager, tar(layout((IMAGE, {FULL_NAME: NAME}))))
    layer = max(IMAGE.blobs.values(), key=len)
    thief = layout((IMAGE, {FULL_NAME: "registry.test/mine:1"}), without=[layer])
    assert (await refuse(lab, tar(thief))).reason is Reason.ARCHIVE_INVALID


async def test_artifacts_are_loaded_and_referrers_without_a_name_are_left_out(lab: Lab) -> None:
    empty, document = b"{}", b'{"sbom": true}'

    def artifact(**more: Any) -> FakeImage:
        return make_document(
            {
                "schemaVersion": 2,
                "mediaType": OCI_MANIFEST,
                "artifactType": "application/vnd.test+json",
                "config": descriptor(empty, "application/vnd.oci.empty.v1+json"),
                "layers": [descriptor(document, "application/json")],
                **more,
            },
            blobs={digest_of(one): one for one in (empty, document)},
        )

    named = artifact()
    referrer = artifact(subject=descriptor(IMAGE.raw, OCI_MANIFEST))
    files = layout((named, {FULL_NAME: NAME}), (referrer, {}), (IMAGE, {FULL_NAME: "test.com/a"}))
    record, loaded = await load(lab.manager, tar(files))
    assert [image.target.digest for image in loaded] == [named.digest, IMAGE.digest]
    assert loaded[0].kind == "artifact"
    (warning,) = outcome_of(record).warnings
    assert referrer.digest in warning


# --- docker's form


@pytest.mark.parametrize("old", [True, False])
async def test_an_archive_of_docker_gets_a_manifest_that_is_always_the_same(
    lab: Lab, old: bool
) -> None:
    data = docker_archive(CONFIG, LAYERS, ["app:1", "test.com/app:2"], old=old)
    record, (image,) = await load(lab.manager, data)
    outcome = outcome_of(record)
    assert image.image_id == digest_of(CONFIG)
    assert outcome.references == ("docker.io/library/app:1", "test.com/app:2")
    raw = lab.content.read(image.target.digest, 10**5)
    assert json.loads(raw) == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": descriptor(CONFIG, "application/vnd.docker.container.image.v1+json"),
        "layers": [
            descriptor(one, "application/vnd.docker.image.rootfs.diff.tar") for one in LAYERS
        ],
    }
    # Whatever came beside is nobody's.
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert len([*lab.content.blobs()]) == len(LAYERS) + 2
    again, (same,) = await load(lab.manager, docker_archive(CONFIG, LAYERS, ["app:1"], old=not old))
    assert same.target == image.target
    assert outcome_of(again).pull_result is PullResult.UP_TO_DATE


async def test_a_full_disk_is_the_destinations_also_for_what_is_made_of_an_archive(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Error(Reason.DISK_FULL, "full")

    monkeypatch.setattr("imgd_server.transfer._intake.Intake.keep", fail)
    failure = await refuse(lab, docker_archive(CONFIG, LAYERS, ["app:1"]))
    assert (failure.reason, failure.origin) == (Reason.DISK_FULL, Origin.DESTINATION)


@pytest.mark.parametrize(
    ("pack", "kind"),
    [
        (gzip.compress, "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (zstandard.compress, "application/vnd.docker.image.rootfs.diff.tar.zstd"),
    ],
    ids=["gzip", "zstd"],
)
async def test_layers_in_dockers_form_may_be_packed(lab: Lab, pack: Any, kind: str) -> None:
    packed = [pack(one) for one in LAYERS]
    _, (image,) = await load(lab.manager, docker_archive(CONFIG, packed, ["app"]))
    document = json.loads(lab.content.read(image.target.digest, 10**5))
    assert document["layers"] == [descriptor(one, kind) for one in packed]
    wrong = [pack(LAYERS[0]), pack(LAYERS[2]), pack(LAYERS[1])]
    failure = await refuse(lab, docker_archive(CONFIG, wrong, ["app:2"]))
    assert failure.reason is Reason.DIGEST_MISMATCH


async def test_what_is_inflated_anyway_has_to_be_a_layer(lab: Lab) -> None:
    bad = archive(file(b"../out"))
    failure = await refuse(lab, docker_archive(config_of([bad]), [gzip.compress(bad)], ["app"]))
    assert (failure.reason, failure.origin) == (Reason.LAYER_INVALID, Origin.SOURCE)
    # What Go's gzip would refuse is no matter of the diff ID.
    good = [gzip.compress(LAYERS[0]) + b"more"]
    record, _ = await load(lab.manager, docker_archive(config_of(LAYERS[:1]), good, ["app"]))
    assert record.state == TransferState.SUCCEEDED.name


@pytest.mark.parametrize("make", [symlink, link], ids=["symbolic", "hard"])
async def test_links_within_the_archive_are_followed(lab: Lab, make: Any) -> None:
    """As skopeo writes for old dockers, and docker for layers that are the same."""
    target = b"../layer.tar" if make is symlink else b"layer.tar"
    config = config_of([LAYERS[0], LAYERS[0]])
    document = [
        {"Config": "./c.json", "RepoTags": None, "Layers": ["old/layer.tar", "new/layer.tar"]}
    ]
    data = archive(
        file(b"layer.tar", LAYERS[0]),
        make(b"old/layer.tar", target),
        symlink(b"new/layer.tar", b"../old/layer.tar"),
        file(b"./c.json", config),
        file(b"manifest.json", json.dumps(document).encode()),
    )
    _, (image,) = await load(lab.manager, data)
    assert image.image_id == digest_of(config)
    assert image.names == ()


async def test_where_an_archive_has_both_forms_manifests_are_kept(lab: Lab) -> None:
    config = IMAGE.blobs[IMAGE.image_id]
    layers = [one["digest"] for one in IMAGE.document["layers"]]
    document = [
        {
            "Config": blob(config),
            "RepoTags": ["app:1", "app:more"],
            "Layers": [f"blobs/sha256/{one[7:]}" for one in layers],
        }
    ]
    both = layout(
        (IMAGE, {FULL_NAME: "docker.io/library/app:1", REF_NAME: "1"}),
        more={"manifest.json": json.dumps(document).encode()},
    )
    _, (image,) = await load(lab.manager, tar(both))
    assert image.target.digest == IMAGE.digest
    assert [name.name for name in image.names] == [
        "docker.io/library/app:1",
        "docker.io/library/app:more",
    ]


# --- what becomes of it


async def test_a_lease_is_taken_in_the_same_step(lab: Lab) -> None:
    endpoint = StoreEndpoint(lease=LeaseRequest("mine", 60.0))
    data = tar(layout((IMAGE, {}), (OTHER, {})))
    record, loaded = await load(lab.manager, data, destination=endpoint)
    assert outcome_of(record).lease == "mine"
    lease = await lab.metadata.read(lambda session: session.lease("mine"))
    assert lease is not None
    assert set(lease.images) == {image.uid for image in loaded}


async def test_progress_shows_every_blob(lab: Lab) -> None:
    record, _ = await load(lab.manager, tar(layout((MULTI, {FULL_NAME: NAME}))))
    (*_, last) = await lab.watch(record.uid)
    progress = last.view.progress
    assert {node.state for node in progress.nodes.values()} == {NodeState.DONE}
    kinds = sorted(node.kind.name for node in progress.nodes.values())
    assert kinds == ["CONFIG", "CONFIG", "INDEX", "LAYER", "LAYER", "MANIFEST", "MANIFEST"]
    assert progress.current_bytes == progress.total_bytes == size_of(MULTI)
    layers = [node for node in progress.nodes.values() if node.kind is NodeKind.LAYER]
    assert sorted(node.size or 0 for node in layers) == [800, 900]


async def started(lab: Lab) -> tuple[str, Inbox]:
    record = await lab.manager.start(TransferSpec(ArchiveEndpoint(), StoreEndpoint()))
    inbox = lab.manager.pipe(record.uid)
    assert isinstance(inbox, Inbox)
    return record.uid, inbox


async def test_a_load_that_is_cancelled_leaves_nothing_and_can_be_run_again(lab: Lab) -> None:
    data = tar(layout((IMAGE, {FULL_NAME: NAME})))
    uid, inbox = await started(lab)
    # In the middle of a layer; the thread then waits for more.
    await inbox.put(data[: data.index(b"index.json") - 1500])
    record = await lab.manager.cancel(uid)
    assert record.state == TransferState.CANCELLED.name
    assert not await inbox.put(b"more")
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert [*lab.content.blobs()] == []
    assert [*lab.content.partials()] == []
    await lab.manager.resume(uid)
    again = lab.manager.pipe(uid)
    assert isinstance(again, Inbox)
    await again.put(data)
    again.finish()
    assert (await lab.manager.ended(uid)).state == TransferState.SUCCEEDED.name
    assert await names(lab) == {NAME: IMAGE.digest}


async def test_one_call_sends_an_archive(lab: Lab) -> None:
    uid, inbox = await started(lab)
    for other in (uid, "Z" * 26):
        with pytest.raises(Error) as caught:
            lab.manager.pipe(other)
        assert caught.value.reason is Reason.TRANSFER_STATE
    inbox.finish()
    failure = outcome_of(await lab.manager.ended(uid)).failure
    assert failure is not None
    assert (failure.reason, failure.origin) == (Reason.ARCHIVE_INVALID, Origin.SOURCE)


async def test_a_load_waits_for_its_archive_no_longer_than_configured(lab: Lab) -> None:
    object.__setattr__(lab.manager.config, "archive_patience", 0.01)
    record = await lab.manager.start(TransferSpec(ArchiveEndpoint(), StoreEndpoint()))
    failure = outcome_of(await lab.manager.ended(record.uid)).failure
    assert failure is not None
    assert failure.reason is Reason.CANCELLED
    assert "0.01 s" in failure.message


async def test_a_load_can_be_cancelled_while_it_compares_layers(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the last byte came there may be much to unpack."""
    begun, leave = threading.Event(), threading.Event()
    real = Inbox.check

    def check(inbox: Inbox) -> None:
        begun.set()
        while inbox._failure is None:
            leave.wait(0.001)
        real(inbox)

    monkeypatch.setattr(Inbox, "check", check)
    uid, inbox = await started(lab)
    await inbox.put(docker_archive(CONFIG, [gzip.compress(one) for one in LAYERS], ["app"]))
    inbox.finish()
    assert await asyncio.to_thread(begun.wait, PATIENCE)
    async with asyncio.timeout(PATIENCE):
        record = await lab.manager.cancel(uid)
    assert record.state == TransferState.CANCELLED.name
    assert await names(lab) == {}


async def test_a_layer_that_many_images_have_is_compared_once(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a small archive would keep the daemon busy for days."""
    opened = 0
    real = Archived._compare

    def compare(self: Archived, *facts: Any) -> None:
        nonlocal opened
        opened += 1
        real(self, *facts)

    monkeypatch.setattr(Archived, "_compare", compare)
    config = config_of([LAYERS[0]] * 50)
    document = [
        {"Config": "c", "RepoTags": [f"a:{number}"], "Layers": ["l"] * 50} for number in range(5)
    ]
    data = archive(
        file(b"l", gzip.compress(LAYERS[0])),
        file(b"c", config),
        file(b"manifest.json", json.dumps(document).encode()),
    )
    record, loaded = await load(lab.manager, data)
    assert record.state == TransferState.SUCCEEDED.name
    assert [len(image.names) for image in loaded] == [5]
    assert opened == 1


async def test_a_root_file_system_is_refused_before_all_of_it_is_stored(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of its files is synced, for the document that says what is what stands at the end."""
    monkeypatch.setattr("imgd_server.transfer._intake._MAX_OTHERS", 3)
    config = config_of(LAYERS)
    record, loaded = await load(lab.manager, docker_archive(config, LAYERS, ["app:1"]))
    assert record.state == TransferState.SUCCEEDED.name
    assert [one.image_id for one in loaded] == [digest_of(config)]
    files = {f"usr/share/{number}": b"%d" % number for number in range(5)}
    record, _ = await load(lab.manager, tar(files))
    failure = outcome_of(record).failure
    assert failure is not None
    assert failure.reason is Reason.ARCHIVE_INVALID
    assert "more than 3 files that are named by no digest" in failure.message
    assert "imported" in failure.message
    stored = [lab.content.find(Digest.of(data)) is not None for data in files.values()]
    assert stored == [True, True, True, False, False]


async def test_the_names_that_an_archive_gives_are_bounded(lab: Lab) -> None:
    def named(count: int, length: int) -> bytes:
        tags = [f"test.com/{'a' * length}:{number}" for number in range(count)]
        return docker_archive(CONFIG, LAYERS, tags)

    for count, length in ((1001, 1), (900, 240)):
        failure = await refuse(lab, named(count, length))
        assert failure.reason is Reason.ARCHIVE_INVALID
        assert "name" in failure.message
    record, (image,) = await load(lab.manager, named(700, 240))
    assert len(image.names) == 700
    assert record.state == TransferState.SUCCEEDED.name

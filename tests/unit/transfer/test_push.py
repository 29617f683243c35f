"""Pushes: what goes, in which order, what is held meanwhile, and what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import collect, remove_image
from imgd_server.metadata import LeaseRecord, WriteSession
from imgd_server.oci import Descriptor, Digest
from imgd_server.registry import Cancellation, Credentials
from imgd_server.transfer import (
    ActivityKind,
    NodeState,
    Progress,
    TransferSpec,
    TransferState,
    now_us,
)
from tests.fake_images import digest_of, make_document, make_index
from tests.unit.transfer.fakes import (
    HOST,
    Gate,
    layer_of,
    layered,
    open_lab,
    outcome_of,
    size_of,
)
from tests.unit.transfer.images import OTHER, child, for_platform, index_of, platform_json
from tests.unit.transfer.taking import TO, Taking, open_taker, push_spec

AMD64, ARM = "linux/amd64", "linux/arm64"
IMAGE = layered(3500, 2500)
LAYER, DATA = layer_of(IMAGE)
OTHER_NAME = f"{HOST}/other/app:1"


@pytest.fixture
async def taking(tmp_path: Path) -> AsyncIterator[Taking]:
    async with open_taker(tmp_path) as one:
        yield one


async def collected(taking: Taking) -> int:
    """How many blobs a collection frees."""
    found = await collect(taking.lab.metadata, taking.lab.content, now_us, dry_run=False)
    return found.deleted_blobs


async def held(taking: Taking) -> set[str]:
    """What leases hold, apart from images."""
    leases = await taking.lab.metadata.read(
        lambda session: session.expired_leases(now_us() + 10**15, 100)
    )
    return {digest for lease in leases for digest in lease.digests}


# --- what goes


async def test_all_of_an_image_goes_and_its_name_last(taking: Taking) -> None:
    image = await taking.store(IMAGE, TO)
    record = await taking.lab.manager.start(push_spec())
    events = await taking.lab.watch(record.uid)
    outcome = outcome_of(events[-1].view.record)
    assert taking.holds(IMAGE, TO)
    assert taking.taker.order[-1] == "1"
    assert set(taking.taker.order[:-1]) == set(IMAGE.blobs)
    assert outcome.target == Descriptor(IMAGE.media_type, Digest(IMAGE.digest), len(IMAGE.raw))
    assert (outcome.image, outcome.image_id) == (image.uid, image.image_id)
    assert outcome.references == (TO,)
    assert (outcome.uploaded_bytes, outcome.reused_bytes) == (size_of(IMAGE), 0)
    assert outcome.fetched_bytes == 0
    nodes = events[-1].view.progress.nodes
    assert {node.state for node in nodes.values()} == {NodeState.DONE}
    for node in nodes.values():
        (activity,) = node.activities
        assert (activity.kind, activity.current) == (ActivityKind.UPLOAD, node.size)
        assert node.host == HOST
    progress = events[-1].view.progress
    assert progress.total_bytes == progress.current_bytes == size_of(IMAGE)


async def test_a_pushed_image_gains_the_repo_digest_and_an_event(taking: Taking) -> None:
    image = await taking.store(IMAGE, TO)
    await taking.done(push_spec(TO, OTHER_NAME))
    found = await taking.lab.metadata.read(lambda session: session.image(image.uid))
    assert found is not None
    assert found.repo_digests == (f"{HOST}/other/app@{IMAGE.digest}",)
    # Where it went is no name that it has here.
    assert [name.name for name in found.names] == [TO]
    events = await taking.lab.metadata.read(lambda session: session.events(0, None, 100))
    (push,) = [one for one in events if one.kind == "IMAGE"]
    assert (push.action, push.subject) == ("push", f"images/{image.uid}")
    assert push.attributes["name"] == OTHER_NAME
    transfers = [one for one in events if one.kind == "TRANSFER"]
    assert [one.action for one in transfers] == ["start", "finish"]
    assert {one.attributes["name"] for one in transfers} == {OTHER_NAME}
    assert transfers[1].attributes["uploaded_bytes"] == str(size_of(IMAGE))


async def test_what_is_there_is_left(taking: Taking) -> None:
    await taking.store(IMAGE, TO)
    await taking.done(push_spec())
    before = taking.taker.sent
    record = await taking.lab.manager.start(push_spec())
    events = await taking.lab.watch(record.uid)
    outcome = outcome_of(events[-1].view.record)
    assert taking.taker.sent == before
    assert (outcome.uploaded_bytes, outcome.reused_bytes) == (0, size_of(IMAGE))
    nodes = events[-1].view.progress.nodes
    assert {node.state for node in nodes.values()} == {NodeState.EXISTS}


async def test_what_another_repository_has_is_mounted(taking: Taking) -> None:
    """The repository that took it is asked first, then those that it has names in."""
    await taking.store(IMAGE, TO, f"{HOST}/never/pushed:1", "elsewhere.test/x/app:1")
    await taking.done(push_spec(TO, OTHER_NAME))
    sent = taking.taker.sent
    record = await taking.lab.manager.start(push_spec())
    events = await taking.lab.watch(record.uid)
    assert outcome_of(events[-1].view.record).failure is None
    assert taking.holds(IMAGE, TO, OTHER_NAME)
    assert taking.taker.sent == sent
    assert taking.taker.mounts[-len(IMAGE.blobs) :] == [
        ("other/app", digest) for _, digest in taking.taker.mounts[-len(IMAGE.blobs) :]
    ]
    states = {digest: events[-1].view.progress.nodes[digest].state for digest in IMAGE.blobs}
    assert set(states.values()) == {NodeState.MOUNTED}
    assert "x/app" not in {path for path, _ in taking.taker.mounts}


async def test_a_child_goes_before_its_index(taking: Taking) -> None:
    nested = make_index([(index_of(AMD64, ARM), None), (for_platform(OTHER), None)])
    await taking.store(nested, TO)
    await taking.done(push_spec())
    assert taking.holds(nested, TO)
    order = taking.taker.order
    inner = child(nested, 0)
    blobs = max(order.index(digest) for digest in nested.blobs)
    manifests = [digest for digest in nested.manifests if digest not in (inner, nested.digest)]
    assert blobs < min(map(order.index, manifests))
    assert max(map(order.index, manifests)) < order.index(inner) < order.index("1")
    assert order.count(inner) == 1


async def test_foreign_layers_stay_where_they_are(taking: Taking) -> None:
    foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar"
    image = layered(100)
    document = image.document
    document["layers"][0] |= {"mediaType": foreign, "urls": ["https://files.test/layer"]}
    image = make_document(document, blobs=image.blobs)
    await taking.store(image, TO)
    outcome = await taking.done(push_spec())
    digest, _ = layer_of(image)
    assert digest not in taking.taker.order
    assert digest in outcome.warnings[0]


@pytest.mark.parametrize("tags", [["1"], ["1", "2", "3"]])
async def test_all_tags_of_a_repository(taking: Taking, tags: list[str]) -> None:
    images = [layered(100 + number, seed=number) for number in range(len(tags))]
    for tag, image in zip(tags, images, strict=True):
        await taking.store(image, f"{HOST}/team/app:{tag}")
    await taking.store(layered(7, seed=9), f"{HOST}/team/app2:other")
    outcome = await taking.done(push_spec(f"{HOST}/team/app", f"{HOST}/all/app", all_tags=True))
    for tag, image in zip(tags, images, strict=True):
        assert taking.holds(image, f"{HOST}/all/app:{tag}")
    assert outcome.references == tuple(f"{HOST}/all/app:{tag}" for tag in tags)
    assert len(taking.taker.registry.tags) == len(tags)


async def test_referrers_go_before_the_name(taking: Taking) -> None:
    await taking.store(IMAGE, TO)
    config, words = b"{}", b"signed"
    signature = make_document(
        {
            "schemaVersion": 2,
            "artifactType": "application/vnd.test.signature",
            "config": {
                "mediaType": "application/vnd.oci.empty.v1+json",
                "digest": digest_of(config),
                "size": len(config),
            },
            "layers": [{"mediaType": "text/plain", "digest": digest_of(words), "size": len(words)}],
            "subject": {
                "mediaType": IMAGE.media_type,
                "digest": IMAGE.digest,
                "size": len(IMAGE.raw),
            },
        },
        blobs={digest_of(config): config, digest_of(words): words},
    )
    for raw in (config, words, signature.raw):
        with taking.lab.content.ingest(digest_of(raw), Digest.of(raw), len(raw)) as ingest:
            ingest.write(raw)
            ingest.commit()
    target = Descriptor(signature.media_type, Digest(signature.digest), len(signature.raw))

    def link(session: WriteSession) -> None:
        blobs = [signature.digest, *signature.blobs]
        session.link_manifest(f"{HOST}/team/app", target, subject=IMAGE.digest, blobs=blobs)

    await taking.lab.metadata.write(link)
    await taking.done(push_spec())
    assert signature.digest not in taking.taker.order
    await taking.done(push_spec(TO, OTHER_NAME, include_referrers=True))
    assert taking.holds(IMAGE, OTHER_NAME)
    assert taking.taker.registry.manifests[f"{HOST}/other/app", signature.digest] == signature.raw
    assert taking.taker.order[-2:] == [signature.digest, "1"]


# --- platforms


@pytest.mark.parametrize("wanted", [[], [AMD64]])
async def test_of_a_partly_stored_index_the_platform_goes(
    taking: Taking, wanted: list[str]
) -> None:
    index = index_of(AMD64, ARM)
    other = for_platform(ARM)
    image = await taking.store(index, TO, without=[other.digest, *other.blobs])
    outcome = await taking.done(push_spec(platforms=tuple(wanted)))
    assert taking.holds(for_platform(AMD64), TO)
    assert outcome.target is not None
    assert outcome.target.digest == child(index, 0)
    if wanted:
        assert not outcome.warnings
    else:
        (warning,) = outcome.warnings
        assert AMD64 in warning
        assert child(index, 0) in warning
    # What was pushed is not what the image is.
    found = await taking.lab.metadata.read(lambda session: session.image(image.uid))
    assert found is not None
    assert found.repo_digests == ()


@pytest.mark.parametrize("more", [{"all_platforms": True}, {"require_complete": True}])
async def test_who_wants_all_of_a_partly_stored_index_is_refused(
    taking: Taking, more: dict[str, Any]
) -> None:
    other = for_platform(ARM)
    await taking.store(index_of(AMD64, ARM), TO, without=[other.digest, *other.blobs])
    failure = await taking.fail(push_spec(**more))
    assert (failure.reason, failure.origin) == (Reason.IMAGE_INCOMPLETE, Origin.SOURCE)
    assert failure.metadata == {"missing": ARM}
    assert not taking.taker.order


@pytest.mark.parametrize(
    ("wanted", "pushed"),
    [([], "all"), ([ARM], ARM), ([AMD64, ARM, OTHER], "all"), ([AMD64, ARM], None)],
)
async def test_one_platform_or_all(taking: Taking, wanted: list[str], pushed: str | None) -> None:
    index = index_of(AMD64, ARM, OTHER)
    await taking.store(index, TO)
    spec = push_spec(platforms=tuple(wanted))
    if pushed is None:
        failure = await taking.fail(spec)
        assert (failure.reason, failure.origin) == (Reason.UNSUPPORTED, Origin.SOURCE)
        return
    await taking.done(spec)
    assert taking.holds(index if pushed == "all" else for_platform(pushed), TO)


@pytest.mark.parametrize(
    ("missing", "wanted"), [("layer", []), ("layer", [ARM]), ("manifest", [ARM])]
)
async def test_a_platform_that_is_not_all_here_is_refused(
    taking: Taking, missing: str, wanted: list[str]
) -> None:
    image = for_platform(ARM)
    lost = layer_of(image)[0] if missing == "layer" else image.digest
    index = make_index([(image, platform_json(ARM))])
    await taking.store(index, TO, without=[lost])
    failure = await taking.fail(push_spec(platforms=tuple(wanted)))
    wants = Reason.IMAGE_INCOMPLETE if missing == "layer" else Reason.PLATFORM_NOT_FOUND
    assert (failure.reason, failure.origin) == (wants, Origin.SOURCE)


# --- what can't be asked for


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (push_spec(f"{HOST}/no/such:1"), Reason.IMAGE_NOT_FOUND),
        (push_spec(f"{HOST}/no/such", all_tags=True), Reason.IMAGE_NOT_FOUND),
        (push_spec(IMAGE.image_id[7:19]), Reason.REFERENCE_INVALID),
        (push_spec(IMAGE.image_id), Reason.REFERENCE_INVALID),
        (push_spec(TO, f"{HOST}/x@sha256:{'0' * 64}"), Reason.REFERENCE_INVALID),
        (push_spec(platforms=("linux/riscv64",)), Reason.PLATFORM_NOT_FOUND),
    ],
)
async def test_what_is_not_here_is_not_pushed(
    taking: Taking, spec: TransferSpec, reason: Reason
) -> None:
    await taking.store(IMAGE, TO)
    failure = await taking.fail(spec)
    assert failure.reason is reason
    assert failure.origin is not Origin.UNSPECIFIED
    assert not taking.taker.registry.tags
    assert not await held(taking)


async def test_an_id_is_pushed_to_a_name_and_a_digest_to_itself(taking: Taking) -> None:
    await taking.store(IMAGE, TO)
    await taking.done(push_spec(IMAGE.image_id, OTHER_NAME))
    assert taking.holds(IMAGE, OTHER_NAME)
    by_digest = f"{HOST}/third/app@{IMAGE.digest}"
    await taking.done(push_spec(TO, by_digest))
    assert (f"{HOST}/third/app", IMAGE.digest) in taking.taker.registry.manifests
    assert sorted(taking.taker.registry.tags) == [OTHER_NAME]


@pytest.mark.parametrize("reference", [f"{HOST}/a:1", f"{HOST}/a@sha256:{'0' * 64}"])
async def test_all_tags_go_to_a_repository(taking: Taking, reference: str) -> None:
    with pytest.raises(Error) as caught:
        await taking.lab.manager.start(push_spec(f"{HOST}/team/app", reference, all_tags=True))
    assert caught.value.reason is Reason.REFERENCE_INVALID


# --- while it runs


def gated(taking: Taking, gate: Gate, at: int = 1000) -> None:
    """Lets a push stand in the layer, after so many bytes."""

    def before(kind: str, about: str, offset: int, cancellation: Cancellation) -> None:
        if (kind, about, offset) == ("send", LAYER, at):
            gate.pass_through(cancellation)

    taking.taker.before = before


async def test_what_is_pushed_is_not_collected_meanwhile(taking: Taking) -> None:
    image = await taking.store(IMAGE, TO)
    gate = Gate()
    gated(taking, gate)
    record = await taking.lab.manager.start(push_spec())
    await gate.reached()
    await taking.lab.metadata.write(
        lambda session: remove_image(session, TO, force=False, now=now_us())
    )
    assert await collected(taking) == 0
    gate.open()
    outcome = outcome_of(await taking.lab.end(record.uid))
    assert outcome.failure is None
    assert taking.holds(IMAGE, TO)
    # The image that somebody removed stays away.
    assert await taking.lab.names() == {}
    assert await taking.lab.metadata.read(lambda session: session.image(image.uid)) is None
    assert not await held(taking)
    assert await collected(taking) == len(IMAGE.blobs) + 1


async def test_two_pushes_share_the_work(taking: Taking) -> None:
    await taking.store(IMAGE, TO)
    gate = Gate()
    gated(taking, gate)
    first = await taking.lab.manager.start(push_spec())
    await gate.reached()
    second = await taking.lab.manager.start(push_spec())

    def joined(progress: Progress) -> bool:
        return LAYER in progress.nodes and bool(progress.nodes[LAYER].activities)

    await taking.lab.until(second.uid, joined)
    gate.open()
    outcomes = [outcome_of(await taking.lab.end(one.uid)) for one in (first, second)]
    assert taking.taker.sent == sum(map(len, IMAGE.blobs.values()))
    assert sum(one.uploaded_bytes for one in outcomes) == size_of(IMAGE)
    assert all(one.uploaded_bytes + one.reused_bytes == size_of(IMAGE) for one in outcomes)


async def test_a_cancelled_push_lets_go_and_goes_on_where_it_was(taking: Taking) -> None:
    await taking.store(IMAGE, TO)
    gate = Gate()
    gated(taking, gate, at=2000)
    record = await taking.lab.manager.start(push_spec())
    await gate.reached()
    ended = await taking.lab.manager.cancel(record.uid)
    assert ended.state == TransferState.CANCELLED.name
    assert not await held(taking)
    assert TO not in taking.taker.registry.tags
    gate.open()
    alice = Credentials("alice", "secret")
    await taking.lab.manager.resume(record.uid, None, alice)
    again = await taking.lab.end(record.uid)
    assert again.state == TransferState.SUCCEEDED.name
    assert taking.holds(IMAGE, TO)
    assert alice.scope in taking.taker.scopes


async def test_an_upload_that_was_cut_off_goes_on_in_a_later_push(taking: Taking) -> None:
    await taking.store(IMAGE, TO)
    gate = Gate()
    gated(taking, gate, at=2000)
    record = await taking.lab.manager.start(push_spec())
    await gate.reached()
    await taking.lab.manager.cancel(record.uid)
    gate.open()
    before = taking.taker.sent
    record = await taking.lab.manager.start(push_spec())
    events = await taking.lab.watch(record.uid)
    assert taking.holds(IMAGE, TO)
    (activity,) = events[-1].view.progress.nodes[LAYER].activities
    assert (activity.resumed, activity.current) == (2000, len(DATA))
    assert taking.taker.sent - before <= sum(map(len, IMAGE.blobs.values())) - 2000


async def test_a_push_that_the_daemon_interrupts_can_be_resumed(tmp_path: Path) -> None:
    gate = Gate()
    async with open_taker(tmp_path) as taking:
        await taking.store(IMAGE, TO)
        gated(taking, gate)
        record = await taking.lab.manager.start(push_spec(include_referrers=True))
        await gate.reached()
        await taking.lab.manager.close()
        assert not await held(taking)
    async with open_taker(tmp_path) as taking:
        found = await taking.lab.manager.get(record.uid)
        assert found.state == TransferState.INTERRUPTED.name
        await taking.lab.manager.resume(record.uid)
        again = await taking.lab.end(record.uid)
        assert again.state == TransferState.SUCCEEDED.name
        assert taking.holds(IMAGE, TO)


async def test_a_push_that_a_crash_interrupts_holds_nothing(tmp_path: Path) -> None:
    async with open_taker(tmp_path) as taking:
        await taking.store(IMAGE, TO)
        done = await taking.lab.manager.start(push_spec())
        await taking.lab.end(done.uid)
        ended = await taking.lab.manager.get(done.uid)

        def crash(session: WriteSession) -> None:
            session.put_transfer(replace(ended, state="RUNNING", ended=None, outcome=None))
            lease = LeaseRecord(f"transfer:{done.uid}", 0, 10**18, digests=(Digest(LAYER),))
            session.put_lease(lease)

        await taking.lab.metadata.write(crash)
    async with open_taker(tmp_path) as taking:
        found = await taking.lab.manager.get(done.uid)
        assert found.state == TransferState.INTERRUPTED.name
        assert not await held(taking)


@pytest.mark.parametrize("kind", ["find", "send", "put"])
@pytest.mark.parametrize(
    ("reason", "again"), [(Reason.REGISTRY_UNAVAILABLE, True), (Reason.REGISTRY_DENIED, False)]
)
async def test_what_passes_is_tried_again(
    taking: Taking, kind: str, reason: Reason, again: bool
) -> None:
    await taking.store(IMAGE, TO)
    left = [2]

    def before(what: str, about: str, offset: int, cancellation: Cancellation) -> None:
        if what == kind and (about == LAYER or kind == "put") and left[0]:
            left[0] -= 1
            raise Error(reason, "not now", host=HOST, http_status=503)

    taking.taker.before = before
    outcome = await taking.run(push_spec())
    if again:
        assert outcome.failure is None
        assert left == [0]
        assert taking.holds(IMAGE, TO)
    else:
        assert outcome.failure is not None
        assert (outcome.failure.reason, outcome.failure.origin) == (reason, Origin.DESTINATION)
        assert outcome.failure.digest == (IMAGE.digest if kind == "put" else LAYER)
        assert TO not in taking.taker.registry.tags
    assert not await held(taking)


async def test_a_daemon_without_a_sender_refuses(tmp_path: Path) -> None:
    async with open_lab(tmp_path) as lab:
        with pytest.raises(Error) as caught:
            await lab.manager.start(push_spec())
    assert caught.value.reason is Reason.UNSUPPORTED


def test_specs_are_kept_without_credentials() -> None:
    spec = push_spec(
        credentials=Credentials("alice", "secret"),
        include_referrers=True,
        require_complete=True,
        max_concurrency=2,
    )
    assert "secret" not in str(spec.to_json())
    again = TransferSpec.from_json(spec.to_json())
    assert again == spec.with_credentials(None, None)
    assert again.with_credentials(None, Credentials("alice", "secret")) == spec
    assert not spec.is_pull

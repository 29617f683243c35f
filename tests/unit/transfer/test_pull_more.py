"""Pulls of all tags of a repository, and of what refers to an image."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import collect
from imgd_server.oci import Descriptor, Digest
from imgd_server.transfer import (
    LeaseRequest,
    NodeKind,
    NodeState,
    PullPolicy,
    PullResult,
    RegistryEndpoint,
    StoreEndpoint,
    TransferSpec,
    TransferState,
    _pull,
    _pulling,
    now_us,
)
from tests.fake_images import FakeImage, descriptor, digest_of, make_document
from tests.unit.transfer.fakes import (
    HOST,
    Gate,
    Lab,
    Trick,
    layer_of,
    layered,
    outcome_of,
    size_of,
    spec_for,
)
from tests.unit.transfer.images import for_platform, index_of
from tests.unit.transfer.taking import Taking, open_taker, push_spec

REPOSITORY = f"{HOST}/app"
IMAGES = {tag: layered(3000, 1000, seed=seed) for seed, tag in enumerate(("1", "2", "3"), 1)}


@pytest.fixture
async def taking(tmp_path: Path) -> AsyncIterator[Taking]:
    async with open_taker(tmp_path) as one:
        yield one


def all_tags(reference: str = REPOSITORY, **destination: Any) -> TransferSpec:
    return TransferSpec(RegistryEndpoint(reference, all_tags=True), StoreEndpoint(**destination))


def with_referrers(reference: str = f"{REPOSITORY}:1", **more: Any) -> TransferSpec:
    source = RegistryEndpoint(reference, include_referrers=True)
    return TransferSpec(source, StoreEndpoint(), **more)


def fill(taking: Taking) -> None:
    for tag, image in IMAGES.items():
        taking.taker.registry.push(image, f"{REPOSITORY}:{tag}")


# --- all tags


async def test_every_tag_is_pulled(taking: Taking) -> None:
    fill(taking)
    taking.taker.registry.push(IMAGES["1"], f"{REPOSITORY}:latest", f"{HOST}/other:1")
    record = await taking.lab.manager.start(all_tags())
    view = (await taking.lab.watch(record.uid))[-1].view
    outcome = outcome_of(view.record)
    names = [f"{REPOSITORY}:{tag}" for tag in ("1", "2", "3", "latest")]
    assert outcome.references == tuple(names)
    assert outcome.pull_result is PullResult.DOWNLOADED
    assert sorted(await taking.lab.names()) == names
    assert outcome.fetched_bytes == sum(map(size_of, IMAGES.values()))
    assert {name for name in names if view.progress.nodes[name].state.final} == {*names}
    # Each is there from the beginning, in the order of its turn.
    roots = [one.node_id for one in view.progress.nodes.values() if not one.parent_id]
    assert roots == names
    assert view.progress.total_bytes == view.progress.current_bytes
    taking.taker.registry.calls.clear()
    again = await taking.done(all_tags())
    assert (again.pull_result, again.fetched_bytes) == (PullResult.UP_TO_DATE, 0)
    assert [call.kind for call in taking.taker.registry.calls] == ["resolve"] * 4


async def test_one_that_moved_is_told(taking: Taking) -> None:
    fill(taking)
    await taking.done(all_tags())
    taking.taker.registry.push(IMAGES["3"], f"{REPOSITORY}:1")
    outcome = await taking.done(all_tags())
    assert (outcome.pull_result, outcome.fetched_bytes) == (PullResult.UPDATED, 0)


async def test_the_first_that_fails_ends_it_and_those_before_stay(taking: Taking) -> None:
    fill(taking)
    registry = taking.taker.registry
    broken, _ = layer_of(IMAGES["2"])
    registry.trick(broken, Trick(error=Error(Reason.REGISTRY_DENIED, "no", http_status=403)))
    record = await taking.lab.manager.start(all_tags())
    ended = await taking.lab.end(record.uid)
    outcome = outcome_of(ended)
    assert outcome.failure
    assert (outcome.failure.reason, outcome.failure.origin) == (
        Reason.REGISTRY_DENIED,
        Origin.SOURCE,
    )
    assert outcome.failure.reference == f"{REPOSITORY}:2"
    assert outcome.references == (f"{REPOSITORY}:1",)
    assert outcome.fetched_bytes > size_of(IMAGES["1"])
    assert [*await taking.lab.names()] == [f"{REPOSITORY}:1"]
    assert registry.asked("resolve", f"{REPOSITORY}:3") == []
    # A resume goes on with the rest.
    registry.served.clear()
    await taking.lab.manager.resume(record.uid)
    outcome = outcome_of(await taking.lab.end(record.uid))
    assert (outcome.failure, len(outcome.references)) == (None, 3)
    assert layer_of(IMAGES["1"])[0] not in registry.served


async def test_a_cancelled_one_keeps_what_it_has_given(taking: Taking) -> None:
    fill(taking)
    gate = Gate()
    taking.taker.registry.trick(layer_of(IMAGES["3"])[0], Trick(gate=gate))
    record = await taking.lab.manager.start(all_tags())
    await gate.reached()
    ended = await taking.lab.manager.cancel(record.uid)
    assert ended.state == TransferState.CANCELLED.name
    assert len(outcome_of(ended).references) == 2 == len(await taking.lab.names())


async def test_a_lease_holds_them_all(taking: Taking) -> None:
    fill(taking)
    outcome = await taking.done(all_tags(lease=LeaseRequest()))
    lease = await taking.lab.metadata.read(lambda session: session.lease(outcome.lease))
    assert lease
    assert len(lease.images) == 3


async def test_what_is_present_is_not_asked_for(taking: Taking) -> None:
    fill(taking)
    await taking.lab.pull(f"{REPOSITORY}:2")
    taking.taker.registry.calls.clear()
    outcome = await taking.done(all_tags(policy=PullPolicy.IF_NOT_PRESENT))
    assert len(outcome.references) == 3
    asked = {call.reference for call in taking.taker.registry.asked("resolve")}
    assert asked == {f"{REPOSITORY}:1", f"{REPOSITORY}:3"}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (all_tags(f"{REPOSITORY}:1"), Reason.REFERENCE_INVALID),
        (all_tags(tags=("x:1",)), Reason.FIELD_INVALID),
        (all_tags(policy=PullPolicy.NEVER), Reason.FIELD_INVALID),
    ],
)
async def test_what_can_not_be_wished(spec: TransferSpec, reason: Reason, taking: Taking) -> None:
    with pytest.raises(Error) as caught:
        await taking.lab.manager.start(spec)
    assert caught.value.reason is reason


async def test_who_can_not_list_says_so(lab: Lab) -> None:
    for spec in (all_tags(), with_referrers()):
        with pytest.raises(Error) as caught:
            await lab.manager.start(spec)
        assert caught.value.reason is Reason.UNSUPPORTED


async def test_no_tags_and_too_many(taking: Taking, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await taking.fail(all_tags())).reason is Reason.REMOTE_NOT_FOUND
    fill(taking)
    monkeypatch.setattr(_pulling, "MAX_TAGS", 2)
    failure = await taking.fail(all_tags())
    assert failure.reason is Reason.UNSUPPORTED
    assert "more than 2 tags: name them one by one" in failure.message
    assert await taking.lab.names() == {}


# --- what refers to an image


def referring(subject: FakeImage, kind: str, data: bytes = b"signature") -> FakeImage:
    """An artifact that refers to a manifest."""
    empty = b"{}"
    document = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": kind,
        "config": descriptor(empty, "application/vnd.oci.empty.v1+json"),
        "layers": [descriptor(data, "application/octet-stream")],
        "subject": descriptor(subject.raw, subject.media_type),
        "annotations": {"of": kind},
    }
    return make_document(document, blobs={digest_of(empty): empty, digest_of(data): data})


def put(taking: Taking, image: FakeImage, name: str = REPOSITORY) -> None:
    """Pushes by digest alone."""
    registry = taking.taker.registry
    registry.push(image, f"{name}:gone")
    del registry.tags[f"{name}:gone"]


async def referrers(taking: Taking, image: FakeImage) -> list[Descriptor]:
    found, more = await taking.lab.metadata.read(
        lambda session: session.referrers(REPOSITORY, image.digest, "", "", 10)
    )
    assert not more
    return found


IMAGE = IMAGES["1"]
SIGNATURE = referring(IMAGE, "a/signature")
SBOM = referring(IMAGE, "a/sbom", b"sbom")
OF_SIGNATURE = referring(SIGNATURE, "a/signature", b"again")


async def test_what_refers_to_it_comes_along(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, f"{REPOSITORY}:1")
    for one in (SIGNATURE, SBOM, OF_SIGNATURE):
        put(taking, one)
    record = await taking.lab.manager.start(with_referrers())
    view = (await taking.lab.watch(record.uid))[-1].view
    outcome = outcome_of(view.record)
    assert outcome.failure is None
    assert outcome.target
    assert outcome.target.digest == IMAGE.digest
    found = await referrers(taking, IMAGE)
    assert {one.digest: one.artifact_type for one in found} == {
        SIGNATURE.digest: "a/signature",
        SBOM.digest: "a/sbom",
    }
    assert [one.annotations for one in found if one.digest == SBOM.digest] == [{"of": "a/sbom"}]
    assert [one.digest for one in await referrers(taking, SIGNATURE)] == [OF_SIGNATURE.digest]
    # No images, and no names.
    assert [*await taking.lab.names()] == [f"{REPOSITORY}:1"]
    assert await taking.lab.metadata.read(lambda session: session.count_images()) == 1
    node = view.progress.nodes[SIGNATURE.digest]
    assert (node.kind, node.state) == (NodeKind.MANIFEST, NodeState.DONE)
    assert view.progress.nodes[OF_SIGNATURE.digest].parent_id == SIGNATURE.digest
    taking.taker.registry.calls.clear()
    again = await taking.done(with_referrers())
    assert again.fetched_bytes == 0
    assert [call.kind for call in taking.taker.registry.calls] == ["resolve"]


async def test_without_the_wish_nothing_is_listed(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, f"{REPOSITORY}:1")
    put(taking, SIGNATURE)
    await taking.lab.pull(f"{REPOSITORY}:1")
    assert await referrers(taking, IMAGE) == []
    assert taking.taker.registry.asked("manifest", SIGNATURE.digest) == []


async def test_they_stay_as_long_as_what_they_refer_to(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, f"{REPOSITORY}:1")
    for one in (SIGNATURE, OF_SIGNATURE):
        put(taking, one)
    image = (await taking.done(with_referrers())).image
    lab = taking.lab
    parts = [Digest(digest) for digest in (*OF_SIGNATURE.blobs, *OF_SIGNATURE.manifests)]
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert all(lab.content.find(digest) for digest in parts)
    await lab.metadata.write(lambda session: session.delete_image(image))
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert not any(lab.content.find(digest) for digest in parts)
    assert await referrers(taking, IMAGE) == []


async def test_of_an_index_those_of_what_was_chosen_come_too(taking: Taking) -> None:
    amd64, arm64 = for_platform("linux/amd64"), for_platform("linux/arm64")
    index = index_of("linux/amd64", "linux/arm64")
    taking.taker.registry.push(index, f"{REPOSITORY}:1")
    kinds = {"a/index": index, "a/amd64": amd64, "a/arm64": arm64}
    found = {kind: referring(image, kind, kind.encode()) for kind, image in kinds.items()}
    for one in found.values():
        put(taking, one)
    await taking.done(with_referrers(platforms=("linux/amd64",)))
    assert [one.digest for one in await referrers(taking, index)] == [found["a/index"].digest]
    assert [one.digest for one in await referrers(taking, amd64)] == [found["a/amd64"].digest]
    assert await referrers(taking, arm64) == []


async def test_what_is_listed_and_refers_to_something_else_is_left_out(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking.taker.registry.push(IMAGE, f"{REPOSITORY}:1")
    other = referring(IMAGES["2"], "a/signature")
    put(taking, other)
    listed = Descriptor(other.media_type, Digest(other.digest), len(other.raw))
    monkeypatch.setattr(type(taking.taker), "referrers", lambda *_: [listed])
    outcome = await taking.done(with_referrers())
    assert await referrers(taking, IMAGE) == []
    assert [f"{other.digest} is listed as referring to {IMAGE.digest}" in one
            for one in outcome.warnings] == [True]  # fmt: skip


async def test_a_list_that_fails_fails_the_pull(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking.taker.registry.push(IMAGE, f"{REPOSITORY}:1")

    def refuse(*_: object) -> list[Descriptor]:
        raise Error(Reason.REGISTRY_DENIED, "no lists", host=HOST, http_status=403)

    monkeypatch.setattr(type(taking.taker), "referrers", refuse)
    failure = await taking.fail(with_referrers())
    assert (failure.reason, failure.origin) == (Reason.REGISTRY_DENIED, Origin.SOURCE)
    assert failure.reference == f"{REPOSITORY}:1"
    assert await taking.lab.names() == {}


async def test_one_that_is_gone_fails_the_pull(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, f"{REPOSITORY}:1")
    put(taking, SIGNATURE)
    del taking.taker.registry.blobs[REPOSITORY, digest_of(b"signature")]
    failure = await taking.fail(with_referrers())
    assert failure.reason is Reason.REMOTE_NOT_FOUND
    assert await taking.lab.names() == {}
    assert await referrers(taking, IMAGE) == []


async def test_too_many_are_refused(taking: Taking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pull, "_MAX_REFERRERS", 1)
    taking.taker.registry.push(IMAGE, f"{REPOSITORY}:1")
    for one in (SIGNATURE, SBOM):
        put(taking, one)
    failure = await taking.fail(with_referrers())
    assert failure.reason is Reason.UNSUPPORTED
    assert "more than 1 manifests refer to" in failure.message


async def test_they_go_along_with_a_push(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, f"{REPOSITORY}:1")
    put(taking, SIGNATURE)
    await taking.done(with_referrers())
    spec = push_spec(f"{REPOSITORY}:1", f"{HOST}/away:1")
    assert isinstance(spec.destination, RegistryEndpoint)
    spec = replace(spec, destination=replace(spec.destination, include_referrers=True))
    await taking.done(spec)
    assert (f"{HOST}/away", SIGNATURE.digest) in taking.taker.registry.manifests


async def test_all_tags_with_all_that_refers_to_them(taking: Taking) -> None:
    fill(taking)
    for image in (SIGNATURE, referring(IMAGES["2"], "a/other")):
        put(taking, image)
    source = RegistryEndpoint(REPOSITORY, all_tags=True, include_referrers=True)
    await taking.done(TransferSpec(source, StoreEndpoint()))
    assert [len(await referrers(taking, image)) for image in IMAGES.values()] == [1, 1, 0]


def test_a_spec_survives_its_record() -> None:
    source = RegistryEndpoint(REPOSITORY, all_tags=True, include_referrers=True)
    spec = TransferSpec(source, StoreEndpoint())
    assert TransferSpec.from_json(spec.to_json()) == spec
    assert spec.share_key != spec_for(REPOSITORY).share_key

"""What is no image, goes beyond the bounds, or changes under a pull."""

from __future__ import annotations

from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import MAX_INDEX_DEPTH
from imgd_server.transfer import (
    NodeState,
    _walk,
)
from tests.fake_images import (
    OCI_MANIFEST,
    FakeImage,
    descriptor,
    digest_of,
    make_image,
    make_index,
)
from tests.unit.transfer.fakes import (
    HOST,
    Gate,
    Lab,
    Trick,
    altered,
    layer_of,
    layered,
    outcome_of,
    spec_for,
)
from tests.unit.transfer.images import (
    APP,
    OTHER,
    for_platform,
    manifest_of,
    platform_json,
)

# --- refusals


@pytest.mark.parametrize(
    ("raw", "media_type", "reason"),
    [
        (b"not JSON", OCI_MANIFEST, Reason.MANIFEST_INVALID),
        (b"[]", OCI_MANIFEST, Reason.MANIFEST_INVALID),
        (b'{"schemaVersion": 2}', OCI_MANIFEST, Reason.MANIFEST_INVALID),
        (
            b'{"schemaVersion": 1, "fsLayers": []}',
            "application/vnd.docker.distribution.manifest.v1+prettyjws",
            Reason.MANIFEST_SCHEMA1,
        ),
        (b'{"schemaVersion": 2}', "application/x-strange", Reason.MANIFEST_UNSUPPORTED),
    ],
)
async def test_what_is_no_manifest(lab: Lab, raw: bytes, media_type: str, reason: Reason) -> None:
    image = FakeImage(raw, media_type, {}, {digest_of(raw): (media_type, raw)})
    lab.registry.push(image, APP)
    record = await lab.manager.start(spec_for())
    events = await lab.watch(record.uid)
    failure = outcome_of(events[-1].view.record).failure
    assert failure is not None
    assert (failure.reason, failure.digest) == (reason, image.digest)
    assert (failure.origin, failure.reference) == (Origin.SOURCE, APP)
    node = events[-1].view.progress.nodes[APP]
    assert node.state is NodeState.FAILED
    assert node.failure is not None
    assert node.failure.reason is reason
    assert await lab.names() == {}


async def test_an_index_that_is_too_deep(lab: Lab) -> None:
    deep = for_platform("linux/amd64")
    for _ in range(MAX_INDEX_DEPTH):
        deep = make_index([(deep, None)])
    lab.registry.push(deep, APP)
    assert (await lab.pull(all_platforms=True)).state == "SUCCEEDED"
    lab.registry.push(make_index([(deep, None)]), APP)
    outcome = await lab.outcome(all_platforms=True)
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.INDEX_TOO_DEEP
    assert await lab.names() == {APP: deep.digest}


@pytest.mark.parametrize("more", [{"all_platforms": True}, {"platforms": [OTHER]}])
async def test_an_index_of_too_many(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    """Neither when all are wanted, nor when each must be looked into for its platform."""
    monkeypatch.setattr(_walk, "MAX_MANIFESTS", 10)
    many = make_index([(make_image([b"x"], labels={"n": str(n)}), None) for n in range(10)])
    lab.registry.push(many, APP)
    outcome = await lab.outcome(**more)
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.INDEX_TOO_DEEP
    assert len(lab.registry.asked("manifest")) <= 10
    assert await lab.names() == {}


async def test_more_blobs_than_anybody_watches(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_walk, "_MAX_NODES", 20)
    lab.registry.push(layered(*range(1, 12)), APP)
    assert (await lab.pull()).state == "SUCCEEDED"
    lab.registry.calls.clear()
    two = [layered(*range(1, 12), seed=seed) for seed in (2, 3)]
    lab.registry.push(make_index([(one, None) for one in two]), APP)
    outcome = await lab.outcome(all_platforms=True)
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.INDEX_TOO_DEEP
    assert not lab.registry.asked("blob")


@pytest.mark.parametrize("named", [True, False])
async def test_a_config_that_is_too_large_is_not_fetched(lab: Lab, named: bool) -> None:
    image = layered(10)
    config = len(image.blobs[image.image_id])
    huge = altered(image, b'"size": %d}, "layers"' % config, b'"size": 9000000}, "layers"')
    lab.registry.push(huge if named else make_index([(huge, None)]), APP)
    outcome = await lab.outcome()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.MANIFEST_TOO_LARGE
    assert not lab.registry.asked("blob")


@pytest.mark.parametrize("config", [b"no JSON", b'{"os": 5}'])
@pytest.mark.parametrize("explicit", [True, False])
async def test_a_config_that_is_none(lab: Lab, config: bytes, explicit: bool) -> None:
    image = manifest_of(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(config, "application/vnd.oci.image.config.v1+json"),
            "layers": [],
        },
        {digest_of(config): config},
    )
    lab.registry.push(image, APP)
    outcome = await lab.outcome(platforms=[OTHER] if explicit else [])
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.CONFIG_INVALID
    assert outcome.failure.digest == digest_of(config)
    assert await lab.names() == {}


async def test_an_index_whose_child_is_gone_is_said_to_be_incomplete(lab: Lab) -> None:
    """The tag is there: nobody shall look for that."""
    gone, there = for_platform(OTHER), for_platform("linux/amd64")
    index = make_index([(gone, platform_json(OTHER)), (there, platform_json("linux/amd64"))])
    lab.registry.push(index, APP)
    del lab.registry.manifests[f"{HOST}/app", gone.digest]
    failure = (await lab.outcome(platforms=[OTHER])).failure
    assert failure is not None
    assert failure.reason is Reason.REMOTE_NOT_FOUND
    assert (failure.digest, failure.host, failure.http_status) == (gone.digest, HOST, 404)
    assert f"{HOST} has {APP}, but not {gone.digest} ({OTHER})" in failure.message
    assert "the index is incomplete at the registry" in failure.message
    assert failure.reference == APP
    assert (await lab.outcome(platforms=["linux/amd64"])).failure is None


async def test_a_layer_that_is_gone_is_named(lab: Lab) -> None:
    image = layered(10)
    lab.registry.push(image, APP)
    digest, _ = layer_of(image)
    del lab.registry.blobs[f"{HOST}/app", digest]
    failure = (await lab.outcome()).failure
    assert failure is not None
    assert failure.reason is Reason.REMOTE_NOT_FOUND
    assert f"{HOST} has {APP}, but not {digest}," in failure.message
    assert "the image is incomplete" in failure.message


# --- a registry that changes


async def test_a_tag_that_moves_between_two_requests_is_asked_again(lab: Lab) -> None:
    first, second = layered(10), layered(20)
    lab.registry.push(first, APP)
    moved = Trick(error=Error(Reason.REMOTE_NOT_FOUND, "collected", host=HOST, http_status=404))
    gate = Gate()
    lab.registry.trick(first.digest, Trick(gate=gate), moved)
    del lab.registry.manifests[f"{HOST}/app", first.digest]
    record = await lab.manager.start(spec_for())
    await gate.reached()
    lab.registry.push(second, APP)
    gate.open()
    events = await lab.watch(record.uid)
    outcome = outcome_of(events[-1].view.record)
    assert outcome.failure is None
    assert await lab.names() == {APP: second.digest}
    assert [call.kind for call in lab.registry.calls[:4]] == ["resolve", "manifest"] * 2
    assert all(node.state is not NodeState.FAILED for event in events for node in event.nodes)
    root = events[-1].view.progress.nodes[APP]
    assert root.target is not None
    assert root.target.digest == second.digest
    assert root.failure is None


async def test_a_tag_that_points_at_nothing_has_changed(lab: Lab) -> None:
    image = layered(10)
    lab.registry.push(image, APP)
    del lab.registry.manifests[f"{HOST}/app", image.digest]
    outcome = await lab.outcome()
    failure = outcome.failure
    assert failure is not None
    assert failure.reason is Reason.REMOTE_CHANGED
    assert (failure.host, failure.http_status, failure.digest) == (HOST, 404, image.digest)
    assert failure.origin is Origin.SOURCE
    assert [call.kind for call in lab.registry.calls] == ["resolve", "manifest"] * 2


async def test_a_digest_that_points_at_nothing_is_not_found(lab: Lab) -> None:
    image = layered(10)
    lab.registry.push(image, APP)
    gone = Error(Reason.REMOTE_NOT_FOUND, "gone", host=HOST, http_status=404)
    lab.registry.trick(image.digest, Trick(error=gone))
    outcome = await lab.outcome(f"{HOST}/app@{image.digest}")
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.REMOTE_NOT_FOUND
    assert len(lab.registry.asked("manifest")) == 1


async def test_other_failures_of_the_manifest_are_not_asked_again(lab: Lab) -> None:
    image = layered(10)
    lab.registry.push(image, APP)
    lab.registry.trick(image.digest, Trick(error=Error(Reason.REGISTRY_DENIED, "no")))
    outcome = await lab.outcome()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.REGISTRY_DENIED
    assert len(lab.registry.asked("resolve")) == 1

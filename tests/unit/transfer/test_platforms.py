"""Which manifests of an index are pulled."""

from __future__ import annotations

import pytest

from imgd_server.errors import Origin, Reason
from imgd_server.oci import Digest
from imgd_server.transfer import (
    NodeKind,
    PullResult,
)
from tests.fake_images import (
    make_image,
    make_index,
)
from tests.unit.transfer.fakes import (
    HOST,
    Lab,
    layer_of,
    outcome_of,
    size_of,
    spec_for,
)
from tests.unit.transfer.images import (
    APP,
    HOST_PLATFORM,
    OTHER,
    PLAIN,
    child,
    for_platform,
    image_at,
    index_of,
    platform_json,
)


async def test_the_default_is_this_machines_platform(lab: Lab) -> None:
    index = index_of(OTHER, str(HOST_PLATFORM), "windows/amd64")
    lab.registry.push(index, APP)
    record = await lab.manager.start(spec_for())
    events = await lab.watch(record.uid)
    nodes = events[-1].view.progress.nodes
    assert set(nodes) - set(index.blobs) == {APP, child(index, 1)}
    assert nodes[APP].kind is NodeKind.INDEX
    assert nodes[child(index, 1)].label == str(HOST_PLATFORM)
    assert nodes[child(index, 1)].parent_id == APP
    image = await image_at(lab, APP)
    assert not image.complete
    assert image.target.digest == index.digest
    platforms = await lab.metadata.read(lambda session: session.image_platforms(image.uid))
    assert [(one.platform, one.complete) for one in platforms] == [
        (OTHER, False),
        (str(HOST_PLATFORM), True),
        ("windows/amd64", False),
    ]
    assert image.platform == str(HOST_PLATFORM)


async def test_named_platforms_and_all(lab: Lab) -> None:
    index = index_of("linux/amd64", "linux/arm64", OTHER, "linux/ppc64le")
    lab.registry.push(index, APP)
    await lab.pull(platforms=["linux/arm64", OTHER])
    image = await image_at(lab, APP)
    platforms = await lab.metadata.read(lambda session: session.image_platforms(image.uid))
    assert [one.complete for one in platforms] == [False, True, True, False]
    outcome = await lab.outcome(all_platforms=True)
    assert outcome.pull_result is PullResult.UP_TO_DATE
    assert outcome.fetched_bytes == sum(
        size_of(for_platform(one)) for one in ("linux/amd64", "linux/ppc64le")
    )
    image = await image_at(lab, APP)
    assert image.complete


async def test_the_id_is_that_of_this_machines_platform_whatever_came_last(lab: Lab) -> None:
    own, other = for_platform(str(HOST_PLATFORM)), for_platform(OTHER)
    index = make_index([(own, platform_json(str(HOST_PLATFORM))), (other, platform_json(OTHER))])
    lab.registry.push(index, APP)
    assert (await lab.outcome(platforms=[OTHER])).image_id == other.image_id
    assert (await lab.outcome()).image_id == own.image_id
    assert (await lab.outcome(platforms=[OTHER])).image_id == own.image_id


async def test_a_missing_platform_says_which_there_are(lab: Lab) -> None:
    lab.registry.push(index_of("linux/amd64", "linux/arm64"), APP)
    outcome = await lab.outcome(platforms=["linux/amd64", "linux/riscv64"])
    failure = outcome.failure
    assert failure is not None
    assert failure.reason is Reason.REMOTE_PLATFORM_NOT_FOUND
    assert failure.metadata == {"wanted": "linux/riscv64", "platforms": "linux/amd64, linux/arm64"}
    assert failure.origin is Origin.SOURCE
    assert outcome.target is not None
    assert not lab.registry.asked("blob")
    assert await lab.names() == {}


async def test_a_lower_variant_will_do(lab: Lab) -> None:
    index = index_of("linux/arm/v5", "linux/arm/v6")
    lab.registry.push(index, APP)
    await lab.pull(platforms=["linux/arm/v7"])
    stored = [lab.content.find(Digest(child(index, number))) is not None for number in (0, 1)]
    assert stored == [False, True]


async def test_attestations_are_no_platforms_and_come_with_all(lab: Lab) -> None:
    image, attestation = for_platform("linux/amd64"), for_platform("unknown/unknown")
    index = make_index(
        [(attestation, platform_json("unknown/unknown")), (image, platform_json("linux/amd64"))]
    )
    lab.registry.push(index, APP)
    await lab.pull(platforms=["linux/amd64"])
    assert lab.content.find(Digest(attestation.digest)) is None
    await lab.pull(all_platforms=True)
    record = await image_at(lab, APP)
    assert record.complete
    platforms = await lab.metadata.read(lambda session: session.image_platforms(record.uid))
    assert [one.platform for one in platforms] == ["linux/amd64"]


async def test_an_index_in_an_index(lab: Lab) -> None:
    """The outer one states no platforms, as those that are nested rarely do."""
    inner = index_of("linux/amd64", "linux/arm64")
    stranger = index_of(OTHER)
    outer = make_index([(stranger, None), (inner, None)])
    lab.registry.push(outer, APP)
    record = await lab.manager.start(spec_for(platforms=["linux/arm64"]))
    events = await lab.watch(record.uid)
    assert outcome_of(events[-1].view.record).failure is None
    assert lab.content.find(Digest(child(inner, 1))) is not None
    assert lab.content.find(Digest(child(inner, 0))) is None
    assert lab.content.find(Digest(child(stranger, 0))) is None
    nodes = events[-1].view.progress.nodes
    assert nodes[inner.digest].kind is NodeKind.INDEX
    assert nodes[child(inner, 1)].parent_id == inner.digest


async def test_children_without_a_platform_are_looked_into(lab: Lab) -> None:
    images = [for_platform(one) for one in (OTHER, "linux/arm64")]
    index = make_index([(one, None) for one in images])
    lab.registry.push(index, APP)
    record = await lab.pull(platforms=["linux/arm64"])
    assert record.state == "SUCCEEDED"
    layers = [lab.content.find(Digest(layer_of(one)[0])) is not None for one in images]
    assert layers == [False, True]
    missing = await lab.outcome(platforms=["linux/riscv64"])
    assert missing.failure is not None
    assert missing.failure.reason is Reason.REMOTE_PLATFORM_NOT_FOUND


async def test_one_child_may_serve_two_platforms(lab: Lab) -> None:
    index = index_of("linux/arm/v5")
    lab.registry.push(index, APP)
    record = await lab.pull(platforms=["linux/arm/v7", "linux/arm/v6"])
    assert record.state == "SUCCEEDED"
    assert len(lab.registry.asked("manifest")) == 2
    # Also where it is an index itself, that has one for each.
    inner = index_of("linux/arm/v6", "linux/arm/v7")
    outer = make_index([(inner, platform_json("linux/arm/v5"))])
    lab.registry.push(outer, f"{HOST}/nested:1")
    await lab.pull(f"{HOST}/nested:1", platforms=["linux/arm/v7", "linux/arm/v6"])
    assert lab.content.find(Digest(child(inner, 0))) is not None
    assert lab.content.find(Digest(child(inner, 1))) is not None


@pytest.mark.parametrize("explicit", [True, False])
async def test_a_single_manifest_of_another_platform(lab: Lab, explicit: bool) -> None:
    image = for_platform(OTHER)
    lab.registry.push(image, APP)
    outcome = await lab.outcome(platforms=[str(HOST_PLATFORM)] if explicit else [])
    if explicit:
        assert outcome.failure is not None
        assert outcome.failure.reason is Reason.REMOTE_PLATFORM_NOT_FOUND
        assert outcome.failure.metadata["platforms"] == OTHER
        assert not lab.registry.asked("blob", layer_of(image)[0])
        assert await lab.names() == {}
    else:
        assert outcome.failure is None
        (warning,) = outcome.warnings
        assert OTHER in warning
        assert str(HOST_PLATFORM) in warning
        assert await lab.names() == {APP: image.digest}


async def test_a_single_manifest_of_the_wanted_platform_or_of_none(lab: Lab) -> None:
    lab.registry.push(for_platform(OTHER), APP)
    assert (await lab.outcome(platforms=[OTHER])).warnings == ()
    assert (await lab.outcome(all_platforms=True)).warnings == ()
    lab.registry.push(make_image([b"x"], os="", architecture="", layer_type=PLAIN), APP)
    unstated = await lab.outcome(platforms=[str(HOST_PLATFORM)])
    assert unstated.failure is None
    assert unstated.pull_result is PullResult.UPDATED

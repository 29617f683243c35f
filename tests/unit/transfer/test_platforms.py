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
    make_document,
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


@pytest.mark.parametrize("levels", [1, 2, 3])
async def test_platforms_are_found_however_deep_they_are_stated(lab: Lab, levels: int) -> None:
    """Nested indexes rarely state a platform, nor do those between."""
    stranger, wanted = index_of(OTHER), index_of("linux/amd64", "linux/arm64")
    arm = child(wanted, 1)
    for _ in range(levels):
        stranger, wanted = make_index([(stranger, None)]), make_index([(wanted, None)])
    lab.registry.push(make_index([(stranger, None), (wanted, None)]), APP)
    if levels == 3:
        failure = (await lab.outcome(platforms=["linux/arm64"])).failure
        assert failure is not None
        assert failure.reason is Reason.INDEX_TOO_DEEP
        return
    record = await lab.pull(platforms=["linux/arm64"])
    assert outcome_of(record).failure is None
    assert lab.content.find(Digest(arm)) is not None
    asked = {call.digest for call in lab.registry.asked("blob")}
    assert asked == set(for_platform("linux/arm64").blobs)
    missing = (await lab.outcome(platforms=["linux/riscv64"])).failure
    assert missing is not None
    assert missing.reason is Reason.REMOTE_PLATFORM_NOT_FOUND


@pytest.mark.parametrize("stated", [None, "linux/arm64"])
async def test_what_is_no_manifest_is_passed_over(lab: Lab, stated: str | None) -> None:
    """OCI image 1.1, image-index.md: a media type that is not known must not be an error."""
    strange = "application/vnd.example.thing.v1+json"
    things = [make_document({"thing": number}, strange) for number in range(2)]
    platform = platform_json(stated) if stated else None
    image = for_platform("linux/amd64")
    index = make_index(
        [
            (things[0], platform),
            (image, platform_json("linux/amd64")),
            (things[1], platform),
        ]
    )
    lab.registry.push(index, APP)
    missing = (await lab.outcome(platforms=["linux/arm64"])).failure
    assert missing is not None
    assert missing.reason is Reason.REMOTE_PLATFORM_NOT_FOUND
    assert missing.metadata["platforms"] == "linux/amd64"
    assert (await lab.outcome(platforms=["linux/amd64"])).failure is None
    outcome = await lab.outcome(all_platforms=True)
    assert outcome.failure is None
    (warning,) = outcome.warnings
    assert things[0].digest in warning
    assert strange in warning
    assert "1 more" in warning
    assert not lab.registry.asked("manifest", things[0].digest)
    assert await lab.names() == {APP: index.digest}


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

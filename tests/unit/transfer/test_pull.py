"""What a pull stores, names and says, for every kind of image, platform and policy."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import MAX_INDEX_DEPTH, remove_image
from imgd_server.metadata import ImageRecord
from imgd_server.oci import Digest, Platform
from imgd_server.transfer import (
    LeaseRequest,
    NodeKind,
    NodeState,
    PullPolicy,
    PullResult,
    _pull,
    now_us,
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
    size_of,
    spec_for,
)

APP = f"{HOST}/app:1"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
HOST_PLATFORM = Platform.host()
OTHER = "linux/s390x"


def for_platform(text: str, **more: Any) -> FakeImage:
    os, architecture, *variant = text.split("/")
    return make_image(
        [text.encode()],
        os=os,
        architecture=architecture,
        variant="".join(variant),
        layer_type=PLAIN,
        **more,
    )


def platform_json(text: str) -> dict[str, str]:
    os, architecture, *variant = text.split("/")
    more = {"variant": variant[0]} if variant else {}
    return {"os": os, "architecture": architecture, **more}


def index_of(*platforms: str, **more: Any) -> FakeImage:
    return make_index([(for_platform(one), platform_json(one)) for one in platforms], **more)


def child(index: FakeImage, number: int) -> str:
    return str(index.document["manifests"][number]["digest"])


def manifest_of(document: Mapping[str, Any], blobs: Mapping[str, bytes]) -> FakeImage:
    raw = json.dumps(document).encode()
    kind = str(document["mediaType"])
    return FakeImage(raw, kind, blobs, {digest_of(raw): (kind, raw)})


async def image_at(lab: Lab, name: str) -> ImageRecord:
    record = await lab.metadata.read(lambda session: session.image_by_name(name))
    assert record is not None
    return record


# --- results and names


async def test_downloaded_up_to_date_updated(lab: Lab) -> None:
    first, second = layered(1000, 2000), layered(1000, 3000)
    lab.registry.push(first, APP)
    outcome = await lab.outcome()
    assert outcome.pull_result is PullResult.DOWNLOADED
    assert outcome.target is not None
    assert (outcome.target.digest, outcome.target.size) == (first.digest, len(first.raw))
    assert outcome.image_id == first.image_id
    assert (outcome.fetched_bytes, outcome.reused_bytes) == (size_of(first), 0)
    assert outcome.references == (APP,)
    record = await image_at(lab, APP)
    assert record.uid == outcome.image
    assert record.complete
    assert record.repo_digests == (f"{HOST}/app@{first.digest}",)
    assert record.last_used is not None

    lab.registry.calls.clear()
    outcome = await lab.outcome()
    assert outcome.pull_result is PullResult.UP_TO_DATE
    assert (outcome.fetched_bytes, outcome.reused_bytes) == (0, size_of(first))
    # One question to the registry, and nothing else.
    assert [call.kind for call in lab.registry.calls] == ["resolve"]

    lab.registry.push(second, APP)
    outcome = await lab.outcome()
    assert outcome.pull_result is PullResult.UPDATED
    assert (outcome.fetched_bytes, outcome.reused_bytes) == (size_of(second) - 1000, 1000)
    assert await lab.names() == {APP: second.digest}
    former = await lab.metadata.read(lambda session: session.image(record.uid))
    assert former is not None
    assert former.names == ()
    assert former.complete
    assert lab.content.verify(Digest(layer_of(first, 1)[0]))


async def test_the_history_tells_of_pulls_and_of_names_that_left(lab: Lab) -> None:
    first, second = layered(10), layered(20)
    lab.registry.push(first, APP)
    await lab.pull()
    lab.registry.push(second, APP)
    await lab.pull()
    events = await lab.metadata.read(lambda session: session.events(0, None, 100))
    told = [(one.action, one.attributes["digest"]) for one in events if one.kind == "IMAGE"]
    assert told == [("pull", first.digest), ("untag", first.digest), ("pull", second.digest)]
    assert all(one.attributes["name"] == APP for one in events if one.kind == "IMAGE")


async def test_a_tag_moves_only_at_the_end(lab: Lab) -> None:
    first, second = layered(1000), layered(3000)
    lab.registry.push(first, APP)
    await lab.pull()
    lab.registry.push(second, APP)
    gate = Gate()
    lab.registry.trick(layer_of(second)[0], Trick(gate=gate, at=2999))
    record = await lab.manager.start(spec_for())
    await gate.reached()
    assert await lab.names() == {APP: first.digest}
    assert await lab.metadata.read(lambda session: session.count_images()) == 1
    gate.open()
    await lab.end(record.uid)
    assert await lab.names() == {APP: second.digest}


async def test_the_caller_names_what_arrives(lab: Lab) -> None:
    first, second = layered(10), layered(20)
    lab.registry.push(first, APP)
    lab.registry.push(second, f"{HOST}/other:1")
    await lab.pull(tags=("mine:7", "other"))
    mine, other = "docker.io/library/mine:7", "docker.io/library/other:latest"
    assert await lab.names() == {mine: first.digest, other: first.digest}
    outcome = await lab.outcome(f"{HOST}/other:1", tags=("mine:7",))
    assert outcome.pull_result is PullResult.UPDATED
    assert outcome.references == (mine,)
    assert await lab.names() == {mine: second.digest, other: first.digest}


async def test_a_pull_by_digest_gives_a_digest_reference_and_no_tag(lab: Lab) -> None:
    image = layered(10)
    lab.registry.push(image, APP)
    name = f"{HOST}/app@{image.digest}"
    outcome = await lab.outcome(f"{HOST}/app:9@{image.digest}")
    assert outcome.references == (name,)
    assert await lab.names() == {name: image.digest}
    (only,) = (await image_at(lab, name)).names
    assert only.by_digest


async def test_no_tag_means_latest_and_nothing_else(lab: Lab) -> None:
    lab.registry.push(layered(10), APP)
    outcome = await lab.outcome(f"{HOST}/app")
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.REMOTE_NOT_FOUND
    assert outcome.failure.origin is Origin.SOURCE
    assert outcome.failure.reference == f"{HOST}/app:latest"
    assert outcome.failure.http_status == 404
    assert outcome.target is None
    assert await lab.names() == {}


async def test_a_lease_is_taken_in_the_step_that_shows_the_image(lab: Lab) -> None:
    image = layered(10, 20)
    lab.registry.push(image, APP)
    outcome = await lab.outcome(lease=LeaseRequest("mine", 60.0))
    assert outcome.lease == "mine"
    lease = await lab.metadata.read(lambda session: session.lease("mine"))
    assert lease is not None
    assert lease.images == (outcome.image,)
    # The same step: its record, the image's name and the lease are of one transaction.
    with pytest.raises(Error) as refused:
        await lab.metadata.write(
            lambda session: remove_image(session, outcome.image_id, force=False, now=now_us())
        )
    assert refused.value.reason is Reason.IMAGE_IN_USE
    # A second pull adds to it, and shortens nothing.
    other = layered(30)
    lab.registry.push(other, f"{HOST}/other:1")
    more = await lab.outcome(f"{HOST}/other:1", lease=LeaseRequest("mine", 1.0))
    again = await lab.metadata.read(lambda session: session.lease("mine"))
    assert again is not None
    assert set(again.images) == {outcome.image, more.image}
    assert again.expires == lease.expires
    # And one without a name gets one, also when there was nothing to fetch.
    made = await lab.outcome(policy=PullPolicy.NEVER, lease=LeaseRequest())
    assert made.lease not in ("", "mine")
    assert await lab.metadata.read(lambda session: session.lease(made.lease)) is not None


# --- policies


@pytest.mark.parametrize("policy", [PullPolicy.IF_NOT_PRESENT, PullPolicy.NEVER])
async def test_what_is_here_asks_no_registry(lab: Lab, policy: PullPolicy) -> None:
    image = layered(1000)
    lab.registry.push(image, APP)
    await lab.pull()
    lab.registry.push(layered(2000), APP)
    lab.registry.calls.clear()
    record = await lab.manager.start(spec_for(policy=policy))
    events = await lab.watch(record.uid)
    outcome = outcome_of(events[-1].view.record)
    assert outcome.pull_result is PullResult.UP_TO_DATE
    assert (outcome.fetched_bytes, outcome.reused_bytes) == (0, size_of(image))
    assert outcome.references == (APP,)
    assert lab.registry.calls == []
    assert await lab.names() == {APP: image.digest}
    # New names are given all the same.
    named = await lab.outcome(policy=policy, tags=("mine",))
    assert named.pull_result is PullResult.DOWNLOADED
    assert (await lab.names())["docker.io/library/mine:latest"] == image.digest


async def test_if_not_present_fetches_what_is_not(lab: Lab) -> None:
    image = layered(1000)
    lab.registry.push(image, APP)
    outcome = await lab.outcome(policy=PullPolicy.IF_NOT_PRESENT)
    assert outcome.pull_result is PullResult.DOWNLOADED
    assert await lab.names() == {APP: image.digest}


async def test_never_says_what_is_not_here(lab: Lab) -> None:
    lab.registry.push(layered(1000), APP)
    outcome = await lab.outcome(policy=PullPolicy.NEVER)
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.IMAGE_NOT_FOUND
    assert outcome.failure.reference == APP
    assert lab.registry.calls == []


async def test_present_means_for_every_wanted_platform(lab: Lab) -> None:
    index = index_of("linux/amd64", "linux/386", OTHER)
    lab.registry.push(index, APP)
    await lab.pull(platforms=["linux/386"])
    lab.registry.calls.clear()

    async def fetches(**more: Any) -> bool:
        lab.registry.calls.clear()
        record = await lab.pull(policy=PullPolicy.IF_NOT_PRESENT, **more)
        assert record.state == "SUCCEEDED"
        return bool(lab.registry.calls)

    assert not await fetches(platforms=["linux/386"])
    # amd64 could run what is here, but the index has its own.
    assert await fetches(platforms=["linux/amd64", "linux/386"])
    assert not await fetches(platforms=["linux/amd64", "linux/386"])
    assert await fetches(all_platforms=True)
    assert not await fetches(all_platforms=True)
    assert not await fetches(platforms=[OTHER])


async def test_present_for_a_platform_that_only_the_config_states(lab: Lab) -> None:
    lab.registry.push(for_platform(OTHER), APP)
    await lab.pull()
    lab.registry.calls.clear()
    never = PullPolicy.NEVER
    assert (await lab.pull(policy=never, platforms=[OTHER])).state == "SUCCEEDED"
    assert (await lab.pull(policy=never, platforms=["linux/arm64"])).state == "FAILED"
    assert (await lab.pull(policy=never)).state == "SUCCEEDED"
    assert lab.registry.calls == []
    # Where it states nonsense, it states nothing.
    lab.registry.push(make_image([b"x"], os="no such/os", layer_type=PLAIN), f"{HOST}/odd:1")
    assert (await lab.pull(f"{HOST}/odd:1")).state == "SUCCEEDED"
    odd = await lab.outcome(f"{HOST}/odd:1", policy=never, platforms=[OTHER])
    assert odd.failure is not None
    assert odd.failure.reason is Reason.IMAGE_NOT_FOUND


# --- platforms


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


# --- kinds of images


@pytest.mark.parametrize(
    "kind",
    [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.oci.image.manifest.v1+json",
    ],
)
async def test_docker_and_oci_manifests(lab: Lab, kind: str) -> None:
    docker = "docker" in kind
    image = make_image(
        [b"one", b"two"],
        manifest_type=kind,
        config_type="application/vnd.docker.container.image.v1+json"
        if docker
        else "application/vnd.oci.image.config.v1+json",
        layer_type="application/vnd.docker.image.rootfs.diff.tar.gzip"
        if docker
        else "application/vnd.oci.image.layer.v1.tar+gzip",
    )
    lab.registry.push(image, APP)
    record = await lab.manager.start(spec_for())
    events = await lab.watch(record.uid)
    kinds = [node.kind for node in events[-1].view.progress.nodes.values()]
    assert kinds == [NodeKind.MANIFEST, NodeKind.CONFIG, NodeKind.LAYER, NodeKind.LAYER]
    indexes = [node.layer_index for node in events[-1].view.progress.nodes.values()]
    assert indexes == [None, None, 0, 1]
    assert (await image_at(lab, APP)).target.media_type == kind


async def test_a_docker_manifest_list(lab: Lab) -> None:
    index = index_of(
        "linux/amd64",
        "linux/arm64",
        media_type="application/vnd.docker.distribution.manifest.list.v2+json",
    )
    lab.registry.push(index, APP)
    assert (await lab.pull(all_platforms=True)).state == "SUCCEEDED"


@pytest.mark.parametrize("layer_is_config", [True, False])
async def test_artifacts(lab: Lab, layer_is_config: bool) -> None:
    """The OCI guide's forms: with a file, and with the empty descriptor twice."""
    empty = descriptor(b"{}", "application/vnd.oci.empty.v1+json")
    file = descriptor(b"a file", "text/plain")
    image = manifest_of(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/x-thing",
            "config": empty,
            "layers": [empty if layer_is_config else file],
        },
        {digest_of(b"{}"): b"{}", digest_of(b"a file"): b"a file"},
    )
    lab.registry.push(image, APP)
    # A platform is no condition for what has none.
    outcome = await lab.outcome(platforms=[OTHER])
    assert outcome.failure is None
    record = await image_at(lab, APP)
    assert (record.kind, record.artifact_type) == ("artifact", "application/x-thing")
    assert lab.content.find(Digest(empty["digest"])) is not None
    assert (lab.content.find(Digest(file["digest"])) is None) is layer_is_config


async def test_inline_data_is_not_fetched(lab: Lab) -> None:
    image = layered(1000, 2000)
    document = image.document
    config = image.blobs[image.image_id]
    document["config"]["data"] = base64.b64encode(config).decode()
    inline = manifest_of(document, {key: one for key, one in image.blobs.items() if one != config})
    lab.registry.push(inline, APP)
    outcome = await lab.outcome()
    assert outcome.failure is None
    assert outcome.image_id == image.image_id
    assert not lab.registry.asked("blob", image.image_id)
    assert (outcome.fetched_bytes, outcome.reused_bytes) == (len(inline.raw) + 3000, len(config))

    # Manifests in an index as well.
    entry = {
        **descriptor(inline.raw, OCI_MANIFEST),
        "data": base64.b64encode(inline.raw).decode(),
    }
    index = manifest_of(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": [{**entry, "platform": platform_json("linux/amd64")}],
        },
        inline.blobs,
    )
    lab.registry.push(index, f"{HOST}/index:1")
    whole = await lab.outcome(f"{HOST}/index:1", platforms=["linux/amd64"])
    assert whole.failure is None
    assert whole.fetched_bytes == len(index.raw)


async def test_foreign_layers_come_from_their_urls(lab: Lab) -> None:
    image = layered(1000)
    digest, data = layer_of(image)
    document = image.document
    url = "https://elsewhere.test/layer"
    document["layers"][0].update(
        mediaType="application/vnd.oci.image.layer.nondistributable.v1.tar", urls=[url]
    )
    config = image.blobs[image.image_id]
    foreign = manifest_of(document, {image.image_id: config})
    lab.registry.push(foreign, APP)
    lab.registry.blobs[url, digest] = data
    record = await lab.manager.start(spec_for())
    events = await lab.watch(record.uid)
    assert outcome_of(events[-1].view.record).failure is None
    assert events[-1].view.progress.nodes[digest].kind is NodeKind.LAYER
    assert lab.content.verify(Digest(digest))


async def test_one_blob_in_several_places_is_fetched_once(lab: Lab) -> None:
    """Twice in one manifest, and in two of one index, with inline data and without."""
    one = make_image([b"same", b"same"], layer_type=PLAIN)
    two = altered(one, b'"schemaVersion": 2', b'"schemaVersion":  2')
    document = one.document
    config = one.blobs[one.image_id]
    document["config"]["data"] = base64.b64encode(config).decode()
    three = manifest_of(document, one.blobs)
    four = manifest_of({**document, "annotations": {"a": "b"}}, one.blobs)
    index = make_index([(image, None) for image in (one, two, three, four)])
    twice = make_index([(index, None), (make_index([(one, None), (two, None)]), None), (one, None)])
    lab.registry.push(twice, APP)
    outcome = await lab.outcome(all_platforms=True)
    assert outcome.failure is None
    layer, data = layer_of(one)
    # Where one of them brings the config along, nobody fetches it.
    assert lab.registry.served == {layer: len(data)}
    assert [call.digest for call in lab.registry.asked("blob")] == [layer]
    assert len(lab.registry.asked("manifest")) == len({*twice.manifests})
    assert outcome.fetched_bytes + outcome.reused_bytes == size_of(twice)


async def test_empty_blobs_and_no_layers(lab: Lab) -> None:
    lab.registry.push(make_image([b""], layer_type=PLAIN), APP)
    assert (await lab.pull()).state == "SUCCEEDED"
    lab.registry.push(make_image([], layer_type=PLAIN), APP)
    assert (await lab.pull()).state == "SUCCEEDED"


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
    monkeypatch.setattr(_pull, "MAX_MANIFESTS", 10)
    many = make_index([(make_image([b"x"], labels={"n": str(n)}), None) for n in range(10)])
    lab.registry.push(many, APP)
    outcome = await lab.outcome(**more)
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.INDEX_TOO_DEEP
    assert len(lab.registry.asked("manifest")) <= 10
    assert await lab.names() == {}


async def test_more_blobs_than_anybody_watches(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pull, "_MAX_NODES", 20)
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

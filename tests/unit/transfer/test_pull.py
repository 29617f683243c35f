"""What a pull stores, names and says, for every kind of image and every policy."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import remove_image
from imgd_server.oci import Digest
from imgd_server.transfer import (
    LeaseRequest,
    NodeKind,
    PullPolicy,
    PullResult,
    now_us,
)
from tests.fake_images import (
    OCI_MANIFEST,
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
from tests.unit.transfer.images import (
    APP,
    OTHER,
    PLAIN,
    for_platform,
    image_at,
    index_of,
    manifest_of,
    platform_json,
)

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

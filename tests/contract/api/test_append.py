"""New images of a base and of layers that were uploaded."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
import zstandard
from google.protobuf.timestamp_pb2 import Timestamp

from imgd.v1 import image_pb2, image_service_pb2
from imgd_server.images import collect, describe
from imgd_server.metadata import ImageRecord
from imgd_server.oci import Descriptor, Digest
from imgd_server.transfer import now_us
from tests.contract.api.served import AMD64, Api, refusal
from tests.fake_images import make_document, make_image, make_index, make_layer
from tests.unit.rootfs.archives import archive, directory, file, link, pax, whiteout

PLAIN = archive(directory(b"d"), file(b"d/x", b"123"), whiteout(b"gone"))
DOCKER = "application/vnd.docker."


async def append(api: Api, **fields: Any) -> image_pb2.Image:
    request = image_service_pb2.AppendImageRequest(**fields)
    return (await api.images.AppendImage(request)).image


def manifest(api: Api, image: image_pb2.Image) -> Any:
    return json.loads(api.content.read(Digest(image.target.digest), 1 << 20))


def config(api: Api, image: image_pb2.Image) -> Any:
    return json.loads(api.content.read(Digest(image.image_id), 1 << 20))


async def base(api: Api, *names: str, **more: Any) -> ImageRecord:
    return await api.store(make_image([make_layer({"gone": b"g"})], **more), *names)


async def test_layers_on_a_base(api: Api) -> None:
    record = await base(
        api, "h.io/base:1", config={"Env": ["A=1"], "Unheard": 5}, labels={"of": "base"}
    )
    packed = [PLAIN, gzip.compress(PLAIN + b"\0" * 512), zstandard.compress(PLAIN + bytes(1024))]
    layers = [api.put(one) for one in packed]
    image = await append(
        api,
        base="h.io/base:1",
        layers=layers,
        tag="h.io/made:1",
        author="Ann",
        comment="by hand",
        changes=image_service_pb2.ConfigChanges(
            labels={"more": "yes"}, instructions=["ENV B=$A$A"]
        ),
    )
    assert list(image.tags) == ["h.io/made:1"]
    document = manifest(api, image)
    of_base = json.loads(api.content.read(record.target.digest, 1 << 20))
    assert document["layers"][:1] == of_base["layers"]
    assert [(one["digest"], one["mediaType"].rpartition(".")[2]) for one in document["layers"]][
        1:
    ] == list(zip(layers, ["tar", "tar+gzip", "tar+zstd"], strict=True))
    made = config(api, image)
    assert made["config"]["Env"] == ["A=1", "B=11"]
    assert made["config"]["Labels"] == {"of": "base", "more": "yes"}
    assert made["config"]["Unheard"] == 5
    assert made["rootfs"]["diff_ids"][1:] == [
        Digest.of(PLAIN),
        Digest.of(PLAIN + b"\0" * 512),
        Digest.of(PLAIN + bytes(1024)),
    ]
    assert [one.get("comment") for one in made["history"]] == [None, None, None, "by hand"]
    assert made["author"] == "Ann"
    # All of it is held by the image: a collection takes nothing that it needs.
    await collect(api.metadata, api.content, now_us, dry_run=False)
    described = describe(api.content, _target(image), AMD64)
    assert described.record.complete


def _target(image: image_pb2.Image) -> Descriptor:
    target = image.target
    return Descriptor(target.media_type, Digest(target.digest), target.size)


async def test_an_image_of_nothing_but_layers(api: Api) -> None:
    layer = api.put(PLAIN)
    image = await append(api, layers=[layer], platform="linux/arm64")
    assert image.dangling
    assert (image.platform.os, image.platform.architecture) == ("linux", "arm64")
    assert config(api, image)["config"] == {}
    assert (image.size, image.unpacked_size) == (3, 3)
    # What was read of its one layer shows in its history too.
    asked = image_service_pb2.GetImageHistoryRequest(image=image.name)
    assert [one.unpacked_size for one in (await api.images.GetImageHistory(asked)).entries] == [3]
    several = await append(api, layers=[layer, layer])
    asked = image_service_pb2.GetImageHistoryRequest(image=several.name)
    entries = (await api.images.GetImageHistory(asked)).entries
    assert [one.HasField("unpacked_size") for one in entries] == [False, False]
    # The host's platform, where nobody says one.
    image = await append(api, layers=[layer])
    assert image.platform.os == "linux"


async def test_the_same_request_makes_the_same_image(api: Api) -> None:
    layer = api.put(PLAIN)
    moment = Timestamp(seconds=1_600_000_000)
    first = await append(api, layers=[layer], create_time=moment, tag="h.io/a:1")
    again = await append(api, layers=[layer], create_time=moment, tag="h.io/b:1")
    assert first.name == again.name
    assert list(again.tags) == ["h.io/a:1", "h.io/b:1"]
    assert again.create_time == moment
    assert config(api, again)["created"] == "2020-09-13T12:26:40Z"
    once = [await append(api, layers=[layer], tag="h.io/c:1", request_id="r") for _ in range(2)]
    assert once[0] == once[1]
    # The name moves, and what had it is left without.
    other = await append(api, layers=[layer], tag="h.io/c:1", author="else")
    assert list(other.tags) == ["h.io/c:1"]
    request = image_service_pb2.GetImageRequest(image=once[0].name)
    assert (await api.images.GetImage(request)).image.dangling


async def test_a_base_of_dockers_form_and_one_platform_of_an_index(api: Api) -> None:
    docker = make_image(
        [make_layer({"a": b"a"})],
        manifest_type=DOCKER + "distribution.manifest.v2+json",
        config_type=DOCKER + "container.image.v1+json",
        layer_type=DOCKER + "image.rootfs.diff.tar.gzip",
    )
    arm = make_image([make_layer({"b": b"b"})], architecture="arm64")
    absent = make_image([make_layer({"c": b"c"})], architecture="s390x")
    both = make_index(
        [
            (absent, {"os": "linux", "architecture": "s390x"}),
            (docker, {"os": "linux", "architecture": "amd64"}),
            (arm, {"os": "linux", "architecture": "arm64"}),
        ]
    )
    await api.store(both, "h.io/both:1", without=[absent.digest, *absent.blobs])
    layer = api.put(PLAIN)
    image = await append(api, base="h.io/both:1", layers=[layer], platform="linux/amd64")
    document = manifest(api, image)
    kinds = {one["mediaType"] for one in (document["config"], *document["layers"])}
    assert kinds == {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar",
    }
    assert document["layers"][0]["digest"] == docker.document["layers"][0]["digest"]
    image = await append(api, base="h.io/both:1", layers=[layer], platform="linux/arm64")
    assert config(api, image)["architecture"] == "arm64"
    found = await refusal(append(api, base="h.io/both:1", platform="linux/s390x"))
    assert found.reason == "PLATFORM_NOT_FOUND"


async def test_a_history_that_is_too_short_is_filled(api: Api) -> None:
    """So that the new step is that of the new layer."""
    image = make_image([make_layer({"a": b"a"}), make_layer({"b": b"b"})])
    raw = json.loads(image.blobs[image.image_id])
    raw["history"] = [{"created_by": "one", "empty_layer": True}, {"created_by": "two"}]
    digest = api.put(json.dumps(raw).encode())
    document = image.document
    document["config"] |= {"digest": digest, "size": len(json.dumps(raw))}
    await api.store(make_document(document, blobs=image.blobs), "h.io/short:1")
    made = await append(api, base="h.io/short:1", layers=[api.put(PLAIN)])
    request = image_service_pb2.GetImageHistoryRequest(image=made.name)
    entries = (await api.images.GetImageHistory(request)).entries
    assert [one.created_by for one in entries] == ["one", "two", "", "imgd append"]
    assert entries[-1].diff_id == Digest.of(PLAIN)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"no archive at all" * 100, "LAYER_INVALID"),
        (archive(file(b"../escape")), "LAYER_INVALID"),
        (archive(file(b"a/../../escape")), "LAYER_INVALID"),
        (archive(link(b"a", b"../../etc/passwd")), "LAYER_INVALID"),
        (archive(file(b".")), "LAYER_INVALID"),
        (archive(file(b"d/.wh.x/y")), "LAYER_INVALID"),
        (gzip.compress(PLAIN)[:-20], "LAYER_INVALID"),
        (zstandard.compress(PLAIN)[:-20], "LAYER_INVALID"),
        (PLAIN[:700], "LAYER_INVALID"),
        (archive(pax({b"path": b"y/" * 300 + b"z"}), file(b"z")), "LAYER_TOO_LARGE"),
    ],
)
async def test_what_is_no_layer_is_refused(api: Api, data: bytes, reason: str) -> None:
    digest = api.put(data)
    found = await refusal(append(api, layers=[digest], tag="h.io/no:1"))
    assert found.reason == reason
    assert digest in str(found.metadata.values())
    request = image_service_pb2.GetImageRequest(image="h.io/no:1")
    assert (await refusal(api.images.GetImage(request))).reason == "IMAGE_NOT_FOUND"
    # Nothing is left, and nothing held.
    assert [*api.content.partials()] == []
    assert await api.metadata.read(lambda session: session.expired_leases(1 << 62, 9)) == []


async def test_refusals(api: Api) -> None:
    record = await base(api, "h.io/base:1")
    assert (await refusal(append(api))).field == "layers"
    assert (await refusal(append(api, base="h.io/none:1"))).reason == "IMAGE_NOT_FOUND"
    absent = "sha256:" + "00" * 32
    assert (await refusal(append(api, layers=[absent]))).reason == "BLOB_NOT_FOUND"
    found = await refusal(append(api, base="h.io/base:1", tag="sha512:x"))
    assert found.reason == "REFERENCE_INVALID"
    changes = image_service_pb2.ConfigChanges(exposed_ports=["many"])
    found = await refusal(append(api, base="h.io/base:1", changes=changes))
    assert found.field == "changes.exposed_ports"
    found = await refusal(append(api, base="h.io/base:1", layers=[api.put(PLAIN)] * 125))
    assert (found.code, found.reason) == ("UNIMPLEMENTED", "UNSUPPORTED")
    assert "126 layers" in found.message
    artifact = make_image(config_type="application/vnd.test+json")
    await api.store(artifact, "h.io/artifact:1")
    found = await refusal(append(api, base="h.io/artifact:1"))
    assert found.reason == "UNSUPPORTED"
    # The base is as it was.
    request = image_service_pb2.GetImageRequest(image="h.io/base:1")
    assert (await api.images.GetImage(request)).image.name == f"images/{record.uid}"


async def test_a_config_beyond_what_one_may_be(api: Api) -> None:
    await base(api, "h.io/base:1")
    big = {f"label-{number}": "x" * 60_000 for number in range(60)}
    changes = image_service_pb2.ConfigChanges(labels=big)
    for step in range(2):
        await append(api, base="h.io/base:1", tag="h.io/base:1", changes=changes)
        changes.ClearField("labels")
        for number in range(60):
            changes.labels[f"{step}-{number}"] = "y" * 60_000
    found = await refusal(append(api, base="h.io/base:1", changes=changes))
    assert found.reason == "CONFIG_INVALID"

"""From stored manifests to an image's record."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import (
    MAX_INDEX_DEPTH,
    MAX_MANIFESTS,
    Description,
    describe,
    describe_held,
)
from imgd_server.metadata import PlatformRecord
from imgd_server.oci import Descriptor, Digest, Platform, media
from tests.fake_images import FakeImage, descriptor, digest_of, make_image, make_index, make_layer
from tests.unit.images.conftest import Shelf

AMD64 = Platform("linux", "amd64")
LAYERS = [make_layer({"a": b"one"}), make_layer({"b": b"two"})]
EMPTY = b"{}"


def stated(os: str = "linux", architecture: str = "amd64", **more: Any) -> dict[str, Any]:
    return {"os": os, "architecture": architecture, **more}


def for_architecture(architecture: str, **options: Any) -> FakeImage:
    layer = make_layer({"name": architecture.encode()})
    return make_image([layer], architecture=architecture, **options)


def artifact(config_type: str = media.OCI_EMPTY, artifact_type: str = "", **more: Any) -> FakeImage:
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": descriptor(EMPTY, config_type),
        "layers": [descriptor(b"a file", "text/plain")],
        **more,
    }
    if artifact_type:
        manifest["artifactType"] = artifact_type
    raw = json.dumps(manifest).encode()
    blobs = {digest_of(data): data for data in (EMPTY, b"a file")}
    return FakeImage(raw, media.OCI_MANIFEST, blobs, {digest_of(raw): (media.OCI_MANIFEST, raw)})


def edited(image: FakeImage, **members: Any) -> FakeImage:
    """The same with other members in its manifest or index."""
    raw = json.dumps({**image.document, **members}).encode()
    manifests = {
        **{digest: one for digest, one in image.manifests.items() if digest != image.digest},
        digest_of(raw): (image.media_type, raw),
    }
    return FakeImage(raw, image.media_type, image.blobs, manifests)


def index_entry(image: FakeImage, **more: Any) -> dict[str, Any]:
    return descriptor(image.raw, image.media_type, **more)


def run(shelf: Shelf, image: FakeImage, *, without: tuple[str, ...] = ()) -> Description:
    return describe(shelf, shelf.add(image, without=without), AMD64)


def summary(found: Description) -> list[tuple[str, str, bool]]:
    return [(one.platform, one.manifest.digest, one.complete) for one in found.platforms]


# --- one manifest


@pytest.mark.parametrize(
    ("manifest_type", "config_type", "layer_type"),
    [
        (media.OCI_MANIFEST, media.OCI_CONFIG, media.OCI_LAYER_GZIP),
        (media.DOCKER_MANIFEST, media.DOCKER_CONFIG, media.DOCKER_LAYER),
    ],
    ids=["OCI", "Docker"],
)
def test_an_image_of_one_platform(
    shelf: Shelf, manifest_type: str, config_type: str, layer_type: str
) -> None:
    image = make_image(
        LAYERS,
        architecture="arm64",
        variant="v8",
        created="2024-05-06T07:08:09.123456789+02:00",
        labels={"key": "value"},
        manifest_type=manifest_type,
        config_type=config_type,
        layer_type=layer_type,
    )
    found = run(shelf, image)
    record = found.record
    size = len(image.raw) + sum(map(len, image.blobs.values()))
    assert (record.target.media_type, record.target.digest) == (manifest_type, image.digest)
    assert (record.image_id, record.kind, record.artifact_type) == (image.image_id, "image", "")
    assert (record.platform, record.labels) == ("linux/arm64", {"key": "value"})
    assert record.created == 1_714_972_089_123_456
    assert (record.content_size, record.complete, record.pinned) == (size, True, False)
    assert (record.names, record.repo_digests, record.unpacked_size) == ((), (), None)
    manifest = Descriptor(manifest_type, Digest(image.digest), len(image.raw))
    assert found.platforms == (PlatformRecord("linux/arm64", manifest, image.image_id, True, size),)
    # The manifest, then the config and the layers, lowest first; each with what it is.
    layers = [one["digest"] for one in image.document["layers"]]
    assert [blob.digest for blob in found.blobs] == [image.digest, image.image_id, *layers]
    assert [blob.media_type for blob in found.blobs] == [
        manifest_type,
        config_type,
        layer_type,
        layer_type,
    ]
    assert all(blob.stored for blob in found.blobs)
    assert {blob.digest: blob.size for blob in found.blobs[1:]} == {
        digest: len(data) for digest, data in image.blobs.items()
    }


def test_each_description_has_a_uid_of_its_own(shelf: Shelf) -> None:
    image = make_image(LAYERS)
    assert run(shelf, image).record.uid != run(shelf, image).record.uid


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (None, None),
        ("0001-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z", 0),
        ("1969-12-31T23:59:59.999999Z", -1),
        # Beyond what a float holds to the microsecond.
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999),
    ],
)
def test_when_it_was_created(shelf: Shelf, created: str | None, expected: int | None) -> None:
    assert run(shelf, make_image(LAYERS, created=created)).record.created == expected


def test_a_layer_that_comes_twice_counts_once(shelf: Shelf) -> None:
    image = make_image([LAYERS[0], LAYERS[0]])
    found = run(shelf, image)
    assert len(found.blobs) == 3
    size = len(image.raw) + sum(map(len, image.blobs.values()))
    assert found.record.content_size == found.platforms[0].content_size == size


def test_a_layer_that_is_missing(shelf: Shelf) -> None:
    image = make_image(LAYERS)
    layer = image.document["layers"][1]
    found = run(shelf, image, without=(layer["digest"],))
    assert (found.record.complete, found.platforms[0].complete) == (False, False)
    [absent] = [blob for blob in found.blobs if not blob.stored]
    assert (absent.digest, absent.size) == (layer["digest"], layer["size"])
    stored = len(image.raw) + sum(map(len, image.blobs.values())) - layer["size"]
    assert found.record.content_size == found.platforms[0].content_size == stored


def test_a_config_that_is_missing(shelf: Shelf) -> None:
    image = make_image(LAYERS, labels={"key": "value"})
    found = run(shelf, image, without=(image.image_id,))
    record = found.record
    # behaviour.md, 1: the ID is the target's digest where the config is not stored.
    assert (record.image_id, found.platforms[0].image_id) == (image.digest, image.digest)
    assert (record.created, record.labels, record.platform) == (None, {}, "")
    assert (record.kind, record.complete) == ("image", False)


@pytest.mark.parametrize(
    "platform",
    [
        {"os": "", "architecture": ""},
        {"os": "linux", "architecture": ""},
        {"os": "we ird", "architecture": "x/y"},
        {"os": "linux", "architecture": "a/b/c"},
        {"os": "linux", "architecture": "ü"},
    ],
)
def test_a_platform_that_is_none(shelf: Shelf, platform: Mapping[str, str]) -> None:
    """Signatures have configs without one; whoever lists images must not stumble over it."""
    image = make_image(LAYERS, os=platform["os"], architecture=platform["architecture"])
    found = run(shelf, image)
    assert (found.record.platform, found.platforms[0].platform) == ("", "")
    assert found.record.image_id == image.image_id
    indexed = run(shelf, make_index([(for_architecture("amd64"), platform)]))
    assert (indexed.record.platform, indexed.platforms[0].platform) == ("", "")


# --- artifacts


@pytest.mark.parametrize(
    ("config_type", "artifact_type", "expected"),
    [
        (media.OCI_EMPTY, "application/x.sbom", "application/x.sbom"),
        ("application/x.config", "application/x.sbom", "application/x.sbom"),
        # Without a type of its own it has its config's.
        (
            "application/vnd.cncf.helm.config+json",
            "",
            "application/vnd.cncf.helm.config+json",
        ),
        (media.OCI_CONFIG, "application/x.image-like", "application/x.image-like"),
    ],
)
def test_an_artifact(shelf: Shelf, config_type: str, artifact_type: str, expected: str) -> None:
    image = artifact(config_type, artifact_type)
    found = run(shelf, image)
    assert (found.record.kind, found.record.artifact_type) == ("artifact", expected)
    is_config = config_type == media.OCI_CONFIG
    assert found.record.image_id == (image.image_id if is_config else image.digest)
    assert (found.record.platform, found.record.created, found.record.complete) == ("", None, True)
    assert [blob.digest for blob in found.blobs] == [image.digest, *image.blobs]


def test_an_artifact_whose_config_is_also_its_layer(shelf: Shelf) -> None:
    image = artifact(artifact_type="a/b", layers=[descriptor(EMPTY, media.OCI_EMPTY)])
    found = run(shelf, image)
    assert found.record.content_size == len(image.raw) + len(EMPTY)
    assert found.platforms[0].content_size == len(image.raw) + len(EMPTY)


def test_an_index_that_is_an_artifact(shelf: Shelf) -> None:
    image = edited(make_index([(artifact(artifact_type="c/d"), None)]), artifactType="a/b")
    found = run(shelf, image)
    assert (found.record.kind, found.record.artifact_type) == ("artifact", "a/b")
    assert run(shelf, edited(make_index([]), artifactType="a/b")).record.kind == "artifact"


def test_a_subject_is_not_part_of_it(shelf: Shelf) -> None:
    subject = make_image(LAYERS)
    found = run(shelf, artifact(artifact_type="a/b", subject=index_entry(subject)))
    assert subject.digest not in {blob.digest for blob in found.blobs}
    assert found.record.complete


# --- indexes


def test_an_index_has_the_platforms_of_its_children(shelf: Shelf) -> None:
    children = [
        (for_architecture("arm64"), stated(architecture="arm64")),
        (for_architecture("amd64", labels={"is": "default"}), stated(architecture="amd64")),
    ]
    image = make_index(children)
    found = run(shelf, image)
    assert summary(found) == [
        ("linux/arm64", children[0][0].digest, True),
        ("linux/amd64", children[1][0].digest, True),
    ]
    assert [one.image_id for one in found.platforms] == [one.image_id for one, _ in children]
    # The default platform gives the image its ID, times and labels.
    assert found.record.image_id == children[1][0].image_id
    assert (found.record.platform, found.record.labels) == ("linux/amd64", {"is": "default"})
    assert found.record.target.digest == image.digest
    assert len(found.blobs) == 7
    everything = len(image.raw) + sum(
        len(data) for data in [*image.blobs.values(), *(child.raw for child, _ in children)]
    )
    assert found.record.content_size == everything
    sizes = [len(child.raw) + sum(map(len, child.blobs.values())) for child, _ in children]
    assert [one.content_size for one in found.platforms] == sizes


def test_what_an_index_states_wins_over_the_config(shelf: Shelf) -> None:
    child = for_architecture("amd64", variant="v1")
    entry = stated(architecture="amd64", variant="v2", **{"os.version": "5"})
    found = run(shelf, make_index([(child, entry)]))
    assert found.platforms[0].platform == "linux/amd64/v2"
    assert found.platforms[0].manifest.platform == Platform("linux", "amd64", "v2", "5")


def test_a_platform_that_only_the_config_states(shelf: Shelf) -> None:
    children = [(for_architecture("arm64"), None), (for_architecture("amd64"), None)]
    found = run(shelf, make_index(children))
    assert [one.platform for one in found.platforms] == ["linux/arm64", "linux/amd64"]
    assert found.record.image_id == children[1][0].image_id
    assert found.record.platform == "linux/amd64"


@pytest.mark.parametrize(
    ("default", "expected"),
    [
        (Platform("linux", "amd64", "v3"), "amd64"),
        (Platform("linux", "arm64"), "arm"),
        (Platform("linux", "s390x"), "arm"),  # none fits: the first
        (Platform("linux", "386"), "386"),
    ],
)
def test_the_default_platform(shelf: Shelf, default: Platform, expected: str) -> None:
    children = {
        "arm": for_architecture("arm", variant="v7"),
        "386": for_architecture("386"),
        "amd64": for_architecture("amd64"),
    }
    image = make_index(
        [
            (children["arm"], stated(architecture="arm", variant="v7")),
            (children["386"], stated(architecture="386")),
            (children["amd64"], stated(architecture="amd64")),
        ]
    )
    found = describe(shelf, shelf.add(image), default)
    assert found.record.image_id == children[expected].image_id


def test_an_image_is_the_default_before_an_artifact(shelf: Shelf) -> None:
    image = for_architecture("s390x")
    index = make_index([(artifact(artifact_type="a/b"), None), (image, stated("linux", "s390x"))])
    found = run(shelf, index)
    assert (found.record.image_id, found.record.kind) == (image.image_id, "image")


def test_an_index_of_which_a_part_is_here(shelf: Shelf) -> None:
    here, absent = for_architecture("arm64"), for_architecture("amd64")
    image = make_index(
        [(absent, stated(architecture="amd64")), (here, stated(architecture="arm64"))]
    )
    found = run(shelf, image, without=(absent.digest, *absent.blobs))
    assert summary(found) == [
        ("linux/amd64", absent.digest, False),
        ("linux/arm64", here.digest, True),
    ]
    assert [one.image_id for one in found.platforms] == ["", here.image_id]
    assert (found.record.complete, found.record.platform) == (False, "linux/arm64")
    assert found.record.image_id == here.image_id
    # Of what is not stored, only the manifest is known.
    [blob] = [blob for blob in found.blobs if not blob.stored]
    assert (blob.digest, blob.size) == (absent.digest, len(absent.raw))


def test_an_index_of_which_nothing_is_here(shelf: Shelf) -> None:
    child = for_architecture("amd64")
    image = make_index([(child, stated())])
    found = run(shelf, image, without=(child.digest, *child.blobs))
    assert (found.record.image_id, found.record.platform) == (image.digest, "")
    assert (found.record.kind, found.record.complete) == ("image", False)
    empty = make_index([])
    assert run(shelf, empty).record.image_id == empty.digest
    assert run(shelf, empty).record.complete


def test_attestations_are_no_platforms(shelf: Shelf) -> None:
    image, attestation = for_architecture("amd64"), for_architecture("unknown", os="unknown")
    annotated = artifact(artifact_type="application/vnd.in-toto+json")
    raw = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": media.OCI_INDEX,
            "manifests": [
                index_entry(attestation, platform=stated("unknown", "unknown")),
                index_entry(annotated, annotations={"vnd.docker.reference.type": "x"}),
                index_entry(image, platform=stated()),
            ],
        }
    ).encode()
    shelf.add(image)
    shelf.add(annotated)
    target = Descriptor(media.OCI_INDEX, shelf.put(raw), len(raw))
    absent = describe(shelf, target, AMD64)
    assert summary(absent) == [("linux/amd64", image.digest, True)]
    assert not absent.record.complete
    shelf.add(attestation)
    found = describe(shelf, target, AMD64)
    assert summary(found) == [("linux/amd64", image.digest, True)]
    # They are stored with the image, and part of it.
    assert found.record.complete
    digests = {blob.digest for blob in found.blobs}
    assert {attestation.digest, *attestation.blobs, annotated.digest} <= digests


def test_indexes_within_indexes(shelf: Shelf) -> None:
    inner = make_index(
        [
            (for_architecture("amd64"), stated()),
            (for_architecture("arm64"), stated(architecture="arm64")),
        ],
        media_type=media.DOCKER_MANIFEST_LIST,
    )
    absent = make_index([(for_architecture("386"), stated(architecture="386"))])
    image = make_index([(inner, None), (for_architecture("s390x"), None), (absent, None)])
    found = run(shelf, image, without=(absent.digest, *absent.manifests))
    assert [one.platform for one in found.platforms] == [
        "linux/amd64",
        "linux/arm64",
        "linux/s390x",
    ]
    assert inner.digest in {blob.digest for blob in found.blobs if blob.stored}
    assert absent.digest in {blob.digest for blob in found.blobs if not blob.stored}


def test_a_manifest_that_comes_twice_counts_once(shelf: Shelf) -> None:
    child = for_architecture("amd64")
    image = make_index([(child, stated()), (make_index([(child, stated())]), None)])
    found = run(shelf, image)
    assert [one.platform for one in found.platforms] == ["linux/amd64"]
    assert len(found.blobs) == 5


def test_a_child_of_a_type_that_nobody_knows(shelf: Shelf) -> None:
    """OCI image 1.1, image-index.md: it is no error."""
    odd, absent = b"anything", b"not here"
    entries = [
        descriptor(odd, "application/x.unknown"),
        descriptor(absent, media.DOCKER_SCHEMA1, platform=stated()),
    ]
    image = edited(make_index([]), manifests=entries)
    shelf.put(odd)
    found = run(shelf, image)
    assert found.platforms == ()
    assert [(blob.digest, blob.stored) for blob in found.blobs[1:]] == [
        (digest_of(odd), True),
        (digest_of(absent), False),
    ]


def test_inline_data_are_not_recorded(shelf: Shelf) -> None:
    child = for_architecture("amd64")
    entry = index_entry(child, platform=stated(), annotations={"a": "b"})
    entry["data"] = base64.b64encode(child.raw).decode()
    target = shelf.add(edited(make_index([(child, None)]), manifests=[entry]))
    with_data = replace(target, data=b"x" * target.size)
    found = describe(shelf, with_data, AMD64)
    assert found.record.target == target
    assert found.platforms[0].manifest.annotations == {"a": "b"}
    assert found.platforms[0].manifest.data is None


# --- bad input


def refused(shelf: Shelf, target: Descriptor) -> Error:
    with pytest.raises(Error) as caught:
        describe(shelf, target, AMD64)
    return caught.value


def test_a_target_that_is_not_here(shelf: Shelf) -> None:
    image = make_image(LAYERS)
    error = refused(shelf, shelf.add(image, without=(image.digest,)))
    assert (error.reason, error.digest) == (Reason.BLOB_NOT_FOUND, image.digest)


@pytest.mark.parametrize(
    ("raw", "media_type", "reason"),
    [
        (b"<html>", media.OCI_MANIFEST, Reason.MANIFEST_INVALID),
        (b"{}", media.OCI_MANIFEST, Reason.MANIFEST_INVALID),
        (b"{}", "text/html", Reason.MANIFEST_UNSUPPORTED),
        (b'{"schemaVersion": 1}', media.DOCKER_SCHEMA1, Reason.MANIFEST_SCHEMA1),
        (b" " * (4 * 1024 * 1024 + 1), media.OCI_INDEX, Reason.MANIFEST_TOO_LARGE),
    ],
)
def test_a_target_that_is_no_manifest(
    shelf: Shelf, raw: bytes, media_type: str, reason: Reason
) -> None:
    digest = shelf.put(raw)
    error = refused(shelf, Descriptor(media_type, digest, len(raw)))
    assert (error.reason, error.digest) == (reason, digest)


def test_a_child_that_is_no_manifest(shelf: Shelf) -> None:
    bad = FakeImage(b"nonsense", media.OCI_MANIFEST)
    shelf.put(bad.raw)
    error = refused(shelf, shelf.add(make_index([(bad, stated())])))
    assert (error.reason, error.digest) == (Reason.MANIFEST_INVALID, bad.digest)


@pytest.mark.parametrize("config", [b"[]", b'{"created": "yesterday"}', b'{"rootfs": 1}'])
def test_a_config_that_is_none(shelf: Shelf, config: bytes) -> None:
    image = edited(make_image(LAYERS), config=descriptor(config, media.OCI_CONFIG))
    shelf.put(config)
    error = refused(shelf, shelf.add(image))
    assert (error.reason, error.digest) == (Reason.CONFIG_INVALID, digest_of(config))


def test_a_config_may_be_larger_than_a_manifest(shelf: Shelf) -> None:
    padding = "x" * (5 * 1024 * 1024)
    image = make_image(LAYERS, labels={"padding": padding})
    assert run(shelf, image).record.labels == {"padding": padding}


@pytest.mark.parametrize("member", ["config", "layers"])
def test_a_size_that_is_wrong(shelf: Shelf, member: str) -> None:
    document = make_image(LAYERS).document
    entry = document["config"] if member == "config" else document["layers"][0]
    entry["size"] += 1
    image = edited(make_image(LAYERS), **document)
    error = refused(shelf, shelf.add(image))
    assert (error.reason, error.digest) == (Reason.SIZE_MISMATCH, entry["digest"])


def test_a_childs_size_that_is_wrong(shelf: Shelf) -> None:
    child = for_architecture("amd64")
    entry = {**index_entry(child), "size": 1}
    image = edited(make_index([(child, None)]), manifests=[entry])
    error = refused(shelf, shelf.add(image))
    assert (error.reason, error.digest) == (Reason.SIZE_MISMATCH, child.digest)


def test_indexes_nested_beyond_the_bound(shelf: Shelf) -> None:
    image = for_architecture("amd64")
    for _ in range(MAX_INDEX_DEPTH):
        image = make_index([(image, None)])
    assert run(shelf, image).record.platform == "linux/amd64"
    assert refused(shelf, shelf.add(make_index([(image, None)]))).reason is Reason.INDEX_TOO_DEEP


def test_more_manifests_than_the_bound(shelf: Shelf) -> None:
    def index(count: int) -> Descriptor:
        entries = [descriptor(str(number).encode(), media.OCI_MANIFEST) for number in range(count)]
        return shelf.add(edited(make_index([]), manifests=entries))

    assert len(describe(shelf, index(MAX_MANIFESTS - 1), AMD64).platforms) == MAX_MANIFESTS - 1
    assert refused(shelf, index(MAX_MANIFESTS)).reason is Reason.INDEX_TOO_DEEP


def test_an_index_that_holds_itself_ends(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a broken digest could do that; a walk that did not end would be the worse for it."""
    child = for_architecture("amd64")
    target = shelf.add(make_index([(child, stated())]))
    index = edited(make_index([]), manifests=[target.to_json()])
    monkeypatch.setattr(shelf, "read", lambda _digest, _limit: index.raw)
    found = describe(shelf, target, AMD64)
    assert (found.platforms, len(found.blobs)) == ((), 1)


class Collected(Shelf):
    """A collection takes a blob between a look at it and the next."""

    going = ""

    def read(self, digest: Digest, limit: int) -> bytes:
        if digest == self.going:
            self.discard(digest)
        return super().read(digest, limit)


@pytest.mark.parametrize("part", ["manifest", "config"])
async def test_what_goes_while_an_image_is_described(tmp_path: Path, part: str) -> None:
    own, other = for_architecture("amd64"), for_architecture("arm64")
    image = make_index([(own, stated()), (other, stated(architecture="arm64"))])
    shelf = Collected(tmp_path / "content")
    target = shelf.add(image)
    held = {image.digest, own.digest, *own.blobs}
    late: list[Descriptor] = []

    async def hold(targets: Sequence[Descriptor]) -> None:
        late.extend(targets)
        held.update(one.digest for one in targets)

    # What nobody held goes, and does not count.
    shelf.going = other.digest if part == "manifest" else other.image_id
    found = await describe_held(shelf, target, AMD64, held, hold)
    assert {one.digest for one in found.blobs if one.stored} == held
    assert [one.complete for one in found.platforms] == [True, False]
    assert late == []
    # What somebody held must not.
    shelf.going = own.digest if part == "manifest" else own.image_id
    with pytest.raises(Error) as caught:
        await describe_held(shelf, target, AMD64, held, hold)
    assert caught.value.reason is Reason.BLOB_NOT_FOUND

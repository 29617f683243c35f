"""Looking at one image for one platform."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import Description, Inspection, describe, inspect
from imgd_server.oci import Platform, media
from tests.fake_images import FakeImage, digest_of, make_image, make_index, make_layer
from tests.unit.images.conftest import Shelf

AMD64 = Platform("linux", "amd64")
LAYERS = [make_layer({"a": b"one"}), make_layer({"b": b"two"})]


def for_architecture(architecture: str, **options: Any) -> FakeImage:
    return make_image(
        [make_layer({"name": architecture.encode()})], architecture=architecture, **options
    )


def stated(architecture: str, **more: Any) -> dict[str, Any]:
    return {"os": "linux", "architecture": architecture, **more}


def look(
    shelf: Shelf, image: FakeImage | Description, wanted: Platform | None = None, **options: Any
) -> Inspection:
    if isinstance(image, FakeImage):
        image = describe(shelf, shelf.add(image, **options), AMD64)
    return inspect(shelf, image.record, image.platforms, wanted)


def test_an_image_of_one_platform(shelf: Shelf) -> None:
    image = make_image(LAYERS, annotations={"a": "b"}, labels={"key": "value"})
    found = look(shelf, image)
    assert found.target.digest == image.digest
    assert found.manifest.annotations == {"a": "b"}
    assert [layer.digest for layer in found.manifest.layers] == [*image.blobs][1:]
    assert found.config is not None
    assert found.config.labels == {"key": "value"}
    assert found.diff_ids == tuple(digest_of(layer) for layer in LAYERS)


def test_the_parts_of_a_config(shelf: Shelf) -> None:
    config: dict[str, Any] = {
        "User": "me",
        "Env": ["A=1", 2, None],
        "Cmd": None,
        "Entrypoint": "no list",
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
        "Volumes": ["no object"],
        "WorkingDir": 7,
    }
    found = look(shelf, make_image(LAYERS, config=config))
    assert [found.text(key) for key in ("User", "WorkingDir", "Domainname")] == ["me", "", ""]
    assert [found.words(key) for key in ("Env", "Cmd", "Entrypoint")] == [["A=1"], [], []]
    assert [found.keys(key) for key in ("ExposedPorts", "Volumes")] == [["80/tcp", "53/udp"], []]


def test_an_artifact_has_no_config(shelf: Shelf) -> None:
    document = {**make_image(LAYERS).document, "artifactType": "a/b"}
    document["config"] = {**document["config"], "mediaType": "application/x.config"}
    raw = json.dumps(document).encode()
    image = FakeImage(
        raw,
        media.OCI_MANIFEST,
        make_image(LAYERS).blobs,
        {digest_of(raw): (media.OCI_MANIFEST, raw)},
    )
    found = look(shelf, image)
    assert (found.config, found.diff_ids) == (None, ())
    assert (found.text("User"), found.words("Env"), found.keys("Volumes")) == ("", [], [])


def test_a_config_that_is_not_here(shelf: Shelf) -> None:
    image = make_image(LAYERS)
    assert look(shelf, image, without=(image.image_id,)).config is None


CHILDREN = {name: for_architecture(name) for name in ("arm64", "amd64", "386")}
INDEX = make_index([(image, stated(name)) for name, image in CHILDREN.items()])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (None, "amd64"),
        ("linux/amd64", "amd64"),
        ("linux/arm64/v8", "arm64"),
        ("linux/386", "386"),
        # What it can run, best first.
        ("linux/amd64/v3", "amd64"),
    ],
)
def test_the_platform_of_an_index(shelf: Shelf, wanted: str | None, expected: str) -> None:
    found = look(shelf, INDEX, Platform.parse(wanted) if wanted else None)
    assert found.target.digest == CHILDREN[expected].digest
    assert found.config is not None
    assert found.config.platform.architecture == expected


def test_a_platform_that_only_the_config_states(shelf: Shelf) -> None:
    index = make_index([(image, None) for image in CHILDREN.values()])
    for name, image in CHILDREN.items():
        assert look(shelf, index, Platform("linux", name)).target.digest == image.digest


def test_the_features_that_an_index_states_count(shelf: Shelf) -> None:
    plain = for_architecture("amd64", labels={"is": "plain"})
    special = for_architecture("amd64", labels={"is": "special"})
    index = make_index(
        [(special, stated("amd64", **{"os.features": ["special"]})), (plain, stated("amd64"))]
    )
    assert look(shelf, index, AMD64).target.digest == plain.digest
    wanted = Platform("linux", "amd64", os_features=("special",))
    assert look(shelf, index, wanted).target.digest == special.digest


def test_only_what_is_stored_is_chosen(shelf: Shelf) -> None:
    absent = CHILDREN["amd64"]
    described = describe(shelf, shelf.add(INDEX, without=(absent.digest,)), AMD64)
    # For amd64 its fall-back, 386, is here.
    assert described.record.image_id == CHILDREN["386"].image_id
    assert look(shelf, described).target.digest == CHILDREN["386"].digest
    assert look(shelf, described, AMD64).target.digest == CHILDREN["386"].digest


@pytest.mark.parametrize("wanted", ["linux/s390x", "windows/amd64", "linux/arm"])
def test_a_platform_that_is_not_here(shelf: Shelf, wanted: str) -> None:
    with pytest.raises(Error) as caught:
        look(shelf, INDEX, Platform.parse(wanted))
    error = caught.value
    assert error.reason is Reason.PLATFORM_NOT_FOUND
    assert error.metadata["platforms"] == "linux/arm64, linux/amd64, linux/386"
    assert str(Platform.parse(wanted)) in error.message


@pytest.mark.parametrize("wanted", [None, AMD64])
def test_an_index_of_which_nothing_is_here(shelf: Shelf, wanted: Platform | None) -> None:
    with pytest.raises(Error) as caught:
        look(shelf, INDEX, wanted, without=tuple(one.digest for one in CHILDREN.values()))
    assert caught.value.reason is Reason.PLATFORM_NOT_FOUND
    assert caught.value.metadata["platforms"] == ""


def test_a_long_list_of_platforms_is_cut(shelf: Shelf) -> None:
    children = [
        (for_architecture("amd64", labels={"is": variant}), stated("amd64", variant=variant))
        for variant in (f"v{number}" for number in range(1, 99))
    ]
    with pytest.raises(Error) as caught:
        look(shelf, make_index(children), Platform("linux", "s390x"))
    assert len(caught.value.message) < 1000
    assert len(caught.value.metadata["platforms"]) <= 500


def test_content_that_is_gone(shelf: Shelf) -> None:
    image = make_image(LAYERS)
    described = describe(shelf, shelf.add(image), AMD64)
    shelf.delete(described.record.target.digest)
    with pytest.raises(Error) as caught:
        look(shelf, described)
    assert caught.value.reason is Reason.BLOB_NOT_FOUND


@pytest.mark.parametrize("which", ["manifest", "config"])
def test_content_that_is_damaged(shelf: Shelf, which: str, tmp_path: Any) -> None:
    image = make_image(LAYERS)
    described = describe(shelf, shelf.add(image), AMD64)
    digest = image.digest if which == "manifest" else image.image_id
    path = tmp_path / "content" / "blobs" / "sha256" / digest.removeprefix("sha256:")
    path.chmod(0o600)
    path.write_bytes(b"damaged")
    with pytest.raises(Error) as caught:
        look(shelf, described)
    assert caught.value.reason in (Reason.MANIFEST_INVALID, Reason.CONFIG_INVALID)
    assert caught.value.digest == digest

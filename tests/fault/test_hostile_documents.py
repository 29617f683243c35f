"""Pulls of documents that are what their digest says, and no image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Origin, Reason
from tests.fake_images import (
    OCI_INDEX,
    OCI_MANIFEST,
    FakeImage,
    descriptor,
    digest_of,
    make_document,
    make_image,
    make_index,
    make_layer,
)
from tests.hostile import (
    HostileRegistry,
)
from tests.pulling import noise, pulling

IMAGE = make_image([make_layer({"etc/hello": b"hello\n"}), make_layer({"more": b"more"})])
OTHER = make_image([make_layer({"other": b"x"})])


def document(value: object, media_type: str = OCI_MANIFEST, **below: Any) -> FakeImage:
    """A document whose blobs are the image's."""
    return make_document(value, media_type, blobs=IMAGE.blobs, manifests=below)


def manifest(**changes: Any) -> dict[str, Any]:
    return {**IMAGE.document, **changes}


def layer(**changes: Any) -> dict[str, Any]:
    first, *rest = IMAGE.document["layers"]
    return manifest(layers=[{**first, **changes}, *rest])


def nested(depth: int) -> FakeImage:
    """An index in an index in an index …; only the innermost states a platform."""
    inner = make_index([(IMAGE, {"os": "linux", "architecture": "amd64"})])
    for _ in range(depth - 1):
        inner = make_index([(inner, None)])
    return inner


def config(data: bytes) -> FakeImage:
    """An image with such a config."""
    made = document(manifest(config=descriptor(data, IMAGE.document["config"]["mediaType"])))
    return replace(made, blobs={**made.blobs, digest_of(data): data})


SCHEMA1 = {"schemaVersion": 1, "name": "library/app", "tag": "1", "fsLayers": [], "history": []}
SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
BOMB = b'{"schemaVersion":2,"layers":' + b"[" * 2_000_000 + b"]" * 2_000_000 + b"}"
WIDE_BOMB = b'{"schemaVersion":2,"layers":[' + b"[]," * 1_300_000 + b"[]]}"

DOCUMENTS = {
    "no JSON": (document(b"\x7fELF" + noise(100)), Reason.MANIFEST_INVALID),
    "empty": (document(b""), Reason.MANIFEST_INVALID),
    "no object": (document([1, 2]), Reason.MANIFEST_INVALID),
    "neither": (document({"schemaVersion": 2}), Reason.MANIFEST_INVALID),
    "both": (document(manifest(manifests=[])), Reason.MANIFEST_INVALID),
    "repeated keys": (
        document(b'{"schemaVersion":2,"config":{},"config":{},"layers":[]}'),
        Reason.MANIFEST_INVALID,
    ),
    "a deep bomb": (document(BOMB), Reason.MANIFEST_INVALID),
    "a wide bomb": (document(WIDE_BOMB), Reason.MANIFEST_INVALID),
    "5 MB": (document(b"[" + b"0," * (5 << 19) + b"0]"), Reason.MANIFEST_TOO_LARGE),
    "too many layers": (
        document(manifest(layers=[IMAGE.document["layers"][0]] * 5000)),
        Reason.MANIFEST_TOO_LARGE,
    ),
    "an unknown type": (document({}, "application/vnd.acme+json"), Reason.MANIFEST_UNSUPPORTED),
    "an unknown type inside": (
        document({"schemaVersion": 2, "mediaType": "application/vnd.acme+json"}, ""),
        Reason.MANIFEST_UNSUPPORTED,
    ),
    "schema 1": (document(SCHEMA1, SCHEMA1_SIGNED), Reason.MANIFEST_SCHEMA1),
    "schema 1 that does not say so": (
        document(SCHEMA1, "application/json"),
        Reason.MANIFEST_SCHEMA1,
    ),
    "schema 1 that says otherwise": (document(SCHEMA1), Reason.MANIFEST_SCHEMA1),
    "a digest of another algorithm": (
        document(layer(digest="md5:" + "0" * 32)),
        Reason.MANIFEST_UNSUPPORTED,
    ),
    "a digest that is none": (document(layer(digest="sha256:0")), Reason.MANIFEST_INVALID),
    "a size that is none": (document(layer(size=-1)), Reason.MANIFEST_INVALID),
    "a size that is too small": (document(layer(size=1)), Reason.SIZE_MISMATCH),
    "a size that is too large": (document(layer(size=10**6)), Reason.SIZE_MISMATCH),
    "a layer that nobody has": (
        document(layer(digest=OTHER.digest)),
        Reason.REMOTE_NOT_FOUND,
    ),
    "an index of nothing for us": (
        make_index([(IMAGE, {"os": "plan9", "architecture": "mips"})]),
        Reason.REMOTE_PLATFORM_NOT_FOUND,
    ),
    "a child of another size": (
        document(
            {
                "schemaVersion": 2,
                "manifests": [{**descriptor(IMAGE.raw, OCI_MANIFEST), "size": 1}],
            },
            OCI_INDEX,
            **IMAGE.manifests,
        ),
        Reason.SIZE_MISMATCH,
    ),
    "a child that nobody has": (
        document(
            {"schemaVersion": 2, "manifests": [descriptor(OTHER.raw, OCI_MANIFEST)]}, OCI_INDEX
        ),
        Reason.REMOTE_NOT_FOUND,
    ),
    "a child of another type": (
        document(
            {"schemaVersion": 2, "manifests": [descriptor(IMAGE.raw, OCI_INDEX)]},
            OCI_INDEX,
            **{IMAGE.digest: (OCI_INDEX, IMAGE.raw)},
        ),
        Reason.MANIFEST_INVALID,
    ),
    "a config that is no JSON": (config(b"\x00\x01"), Reason.CONFIG_INVALID),
    "a config of lists": (config(b"[]"), Reason.CONFIG_INVALID),
}


@pytest.mark.parametrize("platforms", [(), ("linux/amd64",)], ids=["any", "stated"])
@pytest.mark.parametrize(("image", "reason"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
async def test_documents_that_are_no_image_have_their_reason(
    image: FakeImage, reason: Reason, platforms: tuple[str, ...], tmp_path: Path
) -> None:
    with HostileRegistry() as registry:
        reference = registry.add("library/app", image, "1")
        async with pulling(tmp_path) as puller:
            failure = await puller.fail(reference, platforms=platforms)
            assert failure.reason is reason, failure.message
            assert failure.origin is Origin.SOURCE
            assert failure.reference == reference
            assert len(failure.message) < 2000
            await puller.assert_untouched()
            good = await puller.pull(registry.add("library/app", IMAGE, "1"))
            await puller.assert_stored(good, IMAGE, reference)


@pytest.mark.parametrize("all_platforms", [False, True])
@pytest.mark.parametrize("depth", [1, 2])
async def test_indexes_may_nest(depth: int, all_platforms: bool, tmp_path: Path) -> None:
    with HostileRegistry() as registry:
        reference = registry.add("library/app", nested(depth), "1")
        async with pulling(tmp_path) as puller:
            options = {"all_platforms": True} if all_platforms else {"platforms": ("linux/amd64",)}
            outcome = await puller.pull(reference, **options)
            await puller.assert_stored(outcome, nested(depth), reference)


async def test_indexes_nest_within_a_bound(tmp_path: Path) -> None:
    with HostileRegistry() as registry:
        reference = registry.add("library/app", nested(8), "1")
        async with pulling(tmp_path) as puller:
            failure = await puller.fail(reference, all_platforms=True)
            assert failure.reason is Reason.INDEX_TOO_DEEP
            assert failure.origin is Origin.SOURCE
            await puller.assert_untouched()
            assert len(registry.requests) < 8

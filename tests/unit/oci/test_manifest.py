from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.oci import (
    MAX_INDEX_ENTRIES,
    MAX_LAYERS,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    FormatError,
    Index,
    Manifest,
    Platform,
    manifest_type,
    media,
    parse_manifest,
)

DIGEST = Digest.of(b"{}")


def desc(media_type: str = media.OCI_LAYER_GZIP, **more: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": DIGEST, "size": 2, **more}


def manifest(**more: object) -> dict[str, Any]:
    return {"schemaVersion": 2, "config": desc(media.OCI_CONFIG), "layers": [desc()], **more}


def index(**more: object) -> dict[str, Any]:
    return {"schemaVersion": 2, "manifests": [desc(media.OCI_MANIFEST)], **more}


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


def reason_of(data: bytes, media_type: str = "") -> str:
    with pytest.raises(FormatError) as caught:
        parse_manifest(data, media_type)
    str(caught.value).encode()
    assert len(caught.value.subject) <= 200
    return caught.value.reason


@pytest.mark.parametrize(
    ("document", "said", "expected"),
    [
        (manifest(), "", media.OCI_MANIFEST),
        (index(), "", media.OCI_INDEX),
        (manifest(), "application/json", media.OCI_MANIFEST),
        (manifest(), "Text/Plain; charset=utf-8", media.OCI_MANIFEST),
        (manifest(), media.DOCKER_MANIFEST, media.DOCKER_MANIFEST),
        (manifest(mediaType=media.DOCKER_MANIFEST), "", media.DOCKER_MANIFEST),
        (manifest(mediaType=None), media.OCI_MANIFEST + "; charset=utf-8", media.OCI_MANIFEST),
        (index(), media.DOCKER_MANIFEST_LIST, media.DOCKER_MANIFEST_LIST),
        (index(mediaType=media.OCI_INDEX), media.OCI_INDEX, media.OCI_INDEX),
        (index(manifests=None), "", media.OCI_INDEX),
        (manifest(layers=None), "", media.OCI_MANIFEST),
        (manifest(annotations=None, subject=None, artifactType=None), "", media.OCI_MANIFEST),
    ],
)
def test_type(document: object, said: str, expected: str) -> None:
    found = parse_manifest(raw(document), said)
    assert found.media_type == expected
    assert isinstance(found, Index) == media.is_index(expected)


def test_everything_is_read() -> None:
    found = parse_manifest(
        raw(
            manifest(
                mediaType=media.OCI_MANIFEST,
                artifactType="a/b",
                annotations={"k": "v"},
                subject=desc(media.OCI_MANIFEST),
                config=desc(media.OCI_EMPTY, data=base64.b64encode(b"{}").decode()),
            )
        )
    )
    assert isinstance(found, Manifest)
    assert found.config.data == b"{}"
    assert found.artifact_type == "a/b"
    assert found.annotations == {"k": "v"}
    assert found.subject is not None
    assert found.subject.digest == DIGEST
    assert len({found, found}) == 1


SCHEMA1 = {"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": [], "history": []}


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (SCHEMA1, ""),
        (SCHEMA1, "application/json"),
        (SCHEMA1, media.DOCKER_MANIFEST),
        ({**SCHEMA1, "schemaVersion": 2}, ""),
        (manifest(mediaType=media.DOCKER_SCHEMA1), ""),
        (manifest(), media.DOCKER_SCHEMA1_SIGNED),
    ],
)
def test_schema1_is_refused_with_advice(document: object, said: str) -> None:
    with pytest.raises(FormatError, match="push the image again") as caught:
        parse_manifest(raw(document), said)
    assert caught.value.reason == "MANIFEST_SCHEMA1"


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (manifest(manifests=[]), ""),
        (manifest(manifests=None), ""),
        (index(config=desc()), ""),
        (index(layers=[]), media.OCI_INDEX),
        (index(), media.OCI_MANIFEST),
        (manifest(), media.OCI_INDEX),
        (manifest(mediaType=media.OCI_INDEX), ""),
        (manifest(mediaType=media.OCI_MANIFEST), media.DOCKER_MANIFEST),
        (manifest(mediaType=media.OCI_INDEX), media.OCI_MANIFEST),
        (manifest(mediaType=7), ""),
        ({"schemaVersion": 2}, ""),
        ({"schemaVersion": 2}, media.OCI_INDEX),
        ({"schemaVersion": 2, "config": desc()}, ""),
        ({"schemaVersion": 2, "layers": []}, ""),
        (manifest(config=None), ""),
        (manifest(schemaVersion="2"), ""),
        (manifest(schemaVersion=2.0), ""),
        (manifest(schemaVersion=True), ""),
        (manifest(schemaVersion=3), ""),
        (manifest(schemaVersion=None), ""),
        (manifest(layers={}), ""),
        (manifest(layers=[None]), ""),
        (manifest(layers=["x"]), ""),
        (manifest(annotations={"a": 1}), ""),
        (manifest(annotations=[]), ""),
        (manifest(artifactType=1), ""),
        (manifest(subject="x"), ""),
        ([], ""),
        ("x", ""),
        (None, ""),
    ],
)
def test_invalid_documents(document: object, said: str) -> None:
    assert reason_of(raw(document), said) == "MANIFEST_INVALID"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"\xff",
        b"\xef\xbb\xbf" + raw(manifest()),
        raw(manifest()).decode().encode("utf-16"),
        raw(manifest()) + b"x",
        b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}',
        b'{"schemaVersion":2,"manifests":[],"x":{"a":1,"a":2}}',
        b'{"schemaVersion":2,"manifests":[],"x":NaN}',
        b'{"schemaVersion":2,"manifests":[],"x":-Infinity}',
        b'{"schemaVersion":2,"manifests":[],"x":1e999}',
        b'{"schemaVersion":2,"manifests":[],"x":' + b"9" * 5000 + b"}",
        b'{"schemaVersion":2,"manifests":[],"x":"\\ud800"}',
        b'{"schemaVersion":2,"manifests":[],"x":"\\uDFFF"}',
        b'{"schemaVersion":2,"manifests":[],"x":' + b"[" * 100 + b"]" * 100 + b"}",
        b'{"schemaVersion":2,"x":' + b"[" * 200_000,
        b'{"a":' * 200_000,
        b'{"schemaVersion":2,"manifests":[],"x":[' + b"[]," * 1_000_000 + b"[]]}",
        b'{"schemaVersion":2,"manifests":[],"x":[' + b"{}," * 1_000_000 + b"{}]}",
        b'{"schemaVersion":2,"manifests":[],"x":[' + b"1," * 1_000_000 + b"1]}",
        b'{"schemaVersion":2,"manifests":[],'
        + b",".join(b'"%d":1' % n for n in range(300_000))
        + b"}",
    ],
    ids=range(21),
)
def test_hostile_json(data: bytes) -> None:
    assert reason_of(data) == "MANIFEST_INVALID"


def test_the_most_entries_may_have_many_members() -> None:
    entry = desc(
        media.OCI_MANIFEST,
        platform={"os": "linux", "architecture": "arm64", "variant": "v8"},
        annotations={f"a.b/{n}": f"v{n}, w" for n in range(10)},
    )
    document = raw(index(manifests=[entry] * MAX_INDEX_ENTRIES))
    assert len(document) < MAX_MANIFEST_BYTES
    found = parse_manifest(document)
    assert isinstance(found, Index)
    assert len(found.manifests) == MAX_INDEX_ENTRIES


def test_surrogate_pairs_are_text() -> None:
    found = parse_manifest(raw(index(annotations={"a": "🐳"})))
    assert found.annotations == {"a": "🐳"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("", ""),
        ("Application/JSON; charset=utf-8", ""),
        ("binary/octet-stream", ""),
        (media.OCI_INDEX.upper() + " ; x=y", media.OCI_INDEX),
        (media.DOCKER_MANIFEST, media.DOCKER_MANIFEST),
    ],
)
def test_what_a_source_says(said: str, expected: str) -> None:
    assert manifest_type(said) == expected


def test_what_no_source_may_say() -> None:
    for said, reason in [
        (media.DOCKER_SCHEMA1, "MANIFEST_SCHEMA1"),
        (media.DOCKER_SCHEMA1_SIGNED + ";a=b", "MANIFEST_SCHEMA1"),
        (media.OCI_LAYER, "MANIFEST_UNSUPPORTED"),
        ("text/html", "MANIFEST_UNSUPPORTED"),
    ]:
        with pytest.raises(FormatError) as caught:
            manifest_type(said)
        assert caught.value.reason == reason


@pytest.mark.parametrize("said", [media.OCI_LAYER, "application/xml", media.OCI_CONFIG])
def test_unsupported_types_are_named(said: str) -> None:
    for data, also in ((raw(manifest()), said), (raw({"schemaVersion": 2, "mediaType": said}), "")):
        with pytest.raises(FormatError, match=said.replace("+", r"\+")) as caught:
            parse_manifest(data, also)
        assert caught.value.reason == "MANIFEST_UNSUPPORTED"


def test_bounds() -> None:
    assert reason_of(b" " * (MAX_MANIFEST_BYTES + 1)) == "MANIFEST_TOO_LARGE"
    data = raw(manifest())
    parse_manifest(data + b" " * (MAX_MANIFEST_BYTES - len(data)))
    full = parse_manifest(raw(manifest(layers=[desc()] * MAX_LAYERS)))
    assert isinstance(full, Manifest)
    assert len(full.layers) == MAX_LAYERS
    assert reason_of(raw(manifest(layers=[desc()] * (MAX_LAYERS + 1)))) == "MANIFEST_TOO_LARGE"
    many = [desc()] * (MAX_INDEX_ENTRIES + 1)
    assert reason_of(raw(index(manifests=many))) == "MANIFEST_TOO_LARGE"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"mediaType": None}, "MANIFEST_INVALID"),
        ({"mediaType": ""}, "MANIFEST_INVALID"),
        ({"mediaType": 1}, "MANIFEST_INVALID"),
        ({"digest": None}, "MANIFEST_INVALID"),
        ({"digest": "sha256:x"}, "MANIFEST_INVALID"),
        ({"digest": "md5:" + "0" * 32}, "MANIFEST_UNSUPPORTED"),
        ({"size": None}, "MANIFEST_INVALID"),
        ({"size": -1}, "MANIFEST_INVALID"),
        ({"size": 2**63}, "MANIFEST_INVALID"),
        ({"size": True}, "MANIFEST_INVALID"),
        ({"size": 2.0}, "MANIFEST_INVALID"),
        ({"size": "2"}, "MANIFEST_INVALID"),
        ({"urls": "http://x"}, "MANIFEST_INVALID"),
        ({"urls": [1]}, "MANIFEST_INVALID"),
        ({"annotations": {"a": None}}, "MANIFEST_INVALID"),
        ({"platform": []}, "MANIFEST_INVALID"),
        ({"platform": {"os": 1}}, "MANIFEST_INVALID"),
        ({"artifactType": []}, "MANIFEST_INVALID"),
        ({"data": "!"}, "MANIFEST_INVALID"),
        ({"data": "é"}, "MANIFEST_INVALID"),
        ({"data": 1}, "MANIFEST_INVALID"),
        ({"data": ""}, "MANIFEST_INVALID"),
        ({"data": base64.b64encode(b"{}\n").decode()}, "MANIFEST_INVALID"),
        ({"data": base64.b64encode(b"[]").decode()}, "MANIFEST_INVALID"),
    ],
)
def test_descriptor_refuses(change: dict[str, object], reason: str) -> None:
    with pytest.raises(FormatError, match="layers") as caught:
        Descriptor.from_json({**desc(), **change}, where="layers[3]")
    assert caught.value.reason == reason


def test_descriptor_round_trip() -> None:
    small = Descriptor("a/b", DIGEST, 2)
    assert small.to_json() == {"mediaType": "a/b", "digest": str(DIGEST), "size": 2}
    full = Descriptor(
        "a/b", DIGEST, 2, ("http://x",), {"k": "v"}, b"{}", "c/d", Platform("linux", "arm", "v7")
    )
    for each in (small, full):
        assert Descriptor.from_json(json.loads(json.dumps(each.to_json()))) == each


@pytest.mark.parametrize(
    ("media_type", "layer", "foreign"),
    [
        (media.OCI_LAYER, True, False),
        (media.OCI_LAYER_GZIP, True, False),
        (media.OCI_LAYER_ZSTD + "; x=y", True, False),
        (media.OCI_LAYER_NONDIST, True, True),
        (media.OCI_LAYER_NONDIST_ZSTD, True, True),
        (media.DOCKER_LAYER, True, False),
        (media.DOCKER_FOREIGN_LAYER, True, True),
        (media.OCI_CONFIG, False, False),
        ("application/gzip", False, False),
    ],
)
def test_layers(media_type: str, layer: bool, foreign: bool) -> None:
    assert media.is_layer(media_type) is layer
    assert media.is_foreign_layer(media_type) is foreign


def test_kinds() -> None:
    assert all(media.is_manifest(t) or media.is_index(t) for t in media.ACCEPT_MANIFESTS)
    assert not media.is_manifest(media.OCI_INDEX)
    assert media.is_image_config(media.DOCKER_CONFIG)
    assert not media.is_image_config(media.OCI_EMPTY)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KEYS = [*manifest(), *index(), "mediaType", "annotations", "subject", "artifactType"]
SOME = st.sampled_from([2, desc(), [desc()], media.OCI_INDEX, media.OCI_MANIFEST, {}, []])


@given(
    st.binary() | JSON.map(raw) | st.dictionaries(st.sampled_from(KEYS), SOME | JSON).map(raw),
    st.sampled_from(["", *media.ACCEPT_MANIFESTS, media.DOCKER_SCHEMA1]) | st.text(),
)
def test_any_bytes(data: bytes, said: str) -> None:
    reason = "MANIFEST_"
    try:
        parse_manifest(data, said)
    except FormatError as error:
        reason = error.reason
        f"{error}{error.subject}".encode()
    assert reason.startswith("MANIFEST_")


@given(JSON)
def test_any_descriptor(value: object) -> None:
    with pytest.raises(FormatError):
        Descriptor.from_json(value)

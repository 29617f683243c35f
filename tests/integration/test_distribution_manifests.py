"""Manifests and tags of the registry inside, over HTTP: pushed, served, deleted."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import describe
from imgd_server.metadata import BlobRef, ImageRecord, Name
from imgd_server.oci import MAX_MANIFEST_BYTES, Descriptor, Digest, Platform, parse_manifest
from imgd_server.transfer import now_us
from tests.fake_images import (
    OCI_INDEX,
    OCI_MANIFEST,
    FakeImage,
    descriptor,
    digest_of,
    make_image,
    make_index,
)
from tests.registry_inside import Answer, Inside, serve_inside

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
HOUR = 3600 * 1_000_000

ONE = make_image([b"one"])
TWO = make_image([b"two"], architecture="arm64")
INDEX = make_index(
    [
        (ONE, {"os": "linux", "architecture": "amd64"}),
        (TWO, {"os": "linux", "architecture": "arm64"}),
    ]
)
DOCKER = make_image(
    [b"docker"],
    manifest_type=DOCKER_MANIFEST,
    config_type=DOCKER_CONFIG,
    layer_type=DOCKER_LAYER,
)
NESTED = make_index([(INDEX, None)])
ARTIFACT = make_image([b"{}"], config_type="application/vnd.example.config+json")


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    async with serve_inside(tmp_path) as inside:
        yield inside


async def get(inside: Inside, reference: str, repository: str = "app", **more: Any) -> Answer:
    return await inside.call("GET", f"/v2/{repository}/manifests/{reference}", **more)


async def delete(inside: Inside, reference: str, repository: str = "app") -> Answer:
    return await inside.call("DELETE", f"/v2/{repository}/manifests/{reference}")


async def image(inside: Inside, target: FakeImage) -> ImageRecord | None:
    return await inside.metadata.read(lambda session: session.image_by_target(target.digest))


async def names(inside: Inside, target: FakeImage) -> list[str]:
    record = await image(inside, target)
    assert record is not None
    return [one.name for one in record.names]


async def held(inside: Inside, after: int = 0) -> set[str]:
    return await inside.metadata.read(lambda session: session.held_digests(now_us() + after))


def changed(target: FakeImage, **members: Any) -> FakeImage:
    """The manifest with other members; None takes one out."""
    document = {**target.document, **members}
    kept = {key: value for key, value in document.items() if value is not None}
    raw = json.dumps(kept).encode()
    return FakeImage(raw, target.media_type, target.blobs, {})


# --- push


@pytest.mark.parametrize(
    "target",
    [ONE, INDEX, DOCKER, NESTED, ARTIFACT],
    ids=["oci", "index", "docker", "nested", "artifact"],
)
async def test_what_is_pushed_is_an_image_that_can_be_pulled(
    inside: Inside, target: FakeImage
) -> None:
    answer = await inside.push("team/app", "v1", target)
    assert (answer.status, answer.body) == (201, b"")
    assert answer.headers["Docker-Content-Digest"] == target.digest
    assert answer.headers["Location"] == f"/v2/team/app/manifests/{target.digest}"
    for reference in ("v1", target.digest, *target.manifests):
        media_type, raw = target.manifests.get(reference, (target.media_type, target.raw))
        served = await get(inside, reference, "team/app")
        assert (served.status, served.body) == (200, raw)
        assert served.headers["Content-Type"] == media_type
        assert served.headers["Docker-Content-Digest"] == digest_of(raw)
        assert served.headers["ETag"] == f'"{digest_of(raw)}"'
    record = await image(inside, target)
    assert record is not None
    assert [one.name for one in record.names] == ["registry.test/team/app:v1"]
    assert record.repo_digests == (f"registry.test/team/app@{target.digest}",)
    assert record.complete
    assert record.kind == ("artifact" if target is ARTIFACT else "image")
    # Its children are no images of their own.
    assert await inside.metadata.read(lambda session: session.count_images()) == 1


async def test_a_manifest_is_read_in_a_thread(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large one takes long, and the loop has others to serve."""
    threads = []

    def parse(raw: bytes, media_type: str) -> Any:
        threads.append(threading.current_thread())
        return parse_manifest(raw, media_type)

    monkeypatch.setattr("imgd_server.distribution._manifests.parse_manifest", parse)
    assert (await inside.push("app", "1", ONE)).status == 201
    assert threads
    assert threading.main_thread() not in threads


async def test_head_is_get_without_a_body(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    for headers in ({}, {"If-None-Match": f'W/"{ONE.digest}"'}):
        for reference in ("1", ONE.digest, "none"):
            answer = await get(inside, reference, headers=headers)
            path = f"/v2/app/manifests/{reference}"
            head = await inside.call("HEAD", path, headers=headers)
            assert (head.status, head.body) == (answer.status, b"")
            for key in ("Content-Length", "Content-Type", "ETag", "Docker-Content-Digest"):
                assert head.headers.get(key) == answer.headers.get(key)


async def test_what_the_client_has_is_not_sent_again(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    for condition in (f'"{ONE.digest}"', f'"x", W/"{ONE.digest}"'):
        answer = await get(inside, "1", headers={"If-None-Match": condition})
        assert (answer.status, answer.body) == (304, b"")
    # The tag has moved on.
    await inside.push("app", "1", TWO)
    assert (await get(inside, "1", headers={"If-None-Match": f'"{ONE.digest}"'})).body == TWO.raw


async def test_a_push_again_changes_nothing(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    before = await image(inside, ONE)
    assert (await inside.put_manifest("app", "1", ONE)).status == 201
    after = await image(inside, ONE)
    assert before is not None
    assert after is not None
    assert replace(after, last_used=None) == replace(before, last_used=None)


async def test_a_tag_that_moves_leaves_a_dangling_image(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    await inside.push("app", "1", TWO)
    assert (await get(inside, "1")).body == TWO.raw
    assert await names(inside, ONE) == []
    assert await names(inside, TWO) == ["registry.test/app:1"]
    # It can be pulled by its digest still, and its bytes stay until it is removed.
    assert (await get(inside, ONE.digest)).body == ONE.raw
    assert set(ONE.blobs) | {ONE.digest} <= await held(inside, after=100 * HOUR)
    events = await inside.metadata.read(lambda session: session.events(0, None, 100))
    assert [(one.action, one.attributes.get("name")) for one in events if one.kind == "IMAGE"] == [
        ("tag", "registry.test/app:1"),
        ("untag", "registry.test/app:1"),
        ("tag", "registry.test/app:1"),
    ]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_push_by_digest_is_no_image(inside: Inside, algorithm: str) -> None:
    digest = Digest.of(ONE.raw, algorithm)
    answer = await inside.push("app", digest, ONE)
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)
    assert (await get(inside, digest)).body == ONE.raw
    assert await inside.metadata.read(lambda session: session.count_images()) == 0
    # An upload lease holds all of it, for a day.
    assert {digest, *ONE.blobs} <= await held(inside, after=20 * HOUR)
    assert await held(inside, after=30 * HOUR) == set()
    assert (await delete(inside, digest)).status == 202
    assert digest not in await held(inside)


async def test_an_index_by_digest_holds_all_that_it_reaches(inside: Inside) -> None:
    """Also when its children were images, and are none any more."""
    for tag, child in (("1", ONE), ("2", TWO)):
        await inside.push("app", tag, child)
    await inside.put_manifest("app", INDEX.digest, INDEX)
    for child in (ONE, TWO):
        record = await image(inside, child)
        assert record is not None
        await inside.metadata.write(lambda session, uid=record.uid: session.delete_image(uid))  # type: ignore[misc]
    assert await held(inside, after=20 * HOUR) == {*INDEX.manifests, *INDEX.blobs}


async def test_a_push_by_digest_may_bring_tags(inside: Inside) -> None:
    digest = Digest.of(ONE.raw, "sha512")
    for data in ONE.blobs.values():
        await inside.push_blob("app", data)
    answer = await inside.put_manifest("app", f"{digest}?tag=1&tag=1.0", ONE)
    assert answer.status == 201
    assert answer.headers["OCI-Tag"] == "1, 1.0"
    for tag in ("1", "1.0"):
        served = await get(inside, tag)
        assert (served.body, served.headers["Docker-Content-Digest"]) == (ONE.raw, digest)
    for query in ("tag=.x", "tag=ok&tag=a%2Fb"):
        refused = await inside.put_manifest("app", f"{digest}?{query}", ONE)
        assert (refused.status, refused.code) == (400, "TAG_INVALID")
    many = "&".join(f"tag={number}" for number in range(101))
    assert (await inside.put_manifest("app", f"{digest}?{many}", ONE)).status == 414


async def test_the_image_holds_what_the_upload_leases_held(inside: Inside) -> None:
    await inside.push("app", "1", INDEX)
    everything = {*INDEX.blobs, *INDEX.manifests}
    assert await held(inside, after=100 * HOUR) == everything
    leases = await inside.metadata.read(lambda session: session.expired_leases(1 << 62, 100))
    assert leases == []


async def test_the_type_of_a_manifest_may_stand_in_its_header_alone(inside: Inside) -> None:
    bare = changed(ONE, mediaType=None)
    answer = await inside.push("app", "1", bare)
    assert answer.status == 201
    served = await get(inside, "1")
    assert (served.body, served.headers["Content-Type"]) == (bare.raw, OCI_MANIFEST)


@pytest.mark.parametrize("header", [OCI_MANIFEST + "; charset=utf-8", OCI_MANIFEST.upper(), None])
async def test_a_media_type_has_no_parameters(inside: Inside, header: str | None) -> None:
    for data in ONE.blobs.values():
        await inside.push_blob("app", data)
    headers = {"Content-Type": header} if header else {}
    more: dict[str, Any] = {} if header else {"skip_auto_headers": ["Content-Type"]}
    answer = await inside.call("PUT", "/v2/app/manifests/1", data=ONE.raw, headers=headers, **more)
    assert answer.status == 201
    assert (await get(inside, "1")).headers["Content-Type"] == OCI_MANIFEST


# --- what is wrong


async def unchanged(inside: Inside, answer: Answer, status: int, code: str) -> None:
    assert (answer.status, answer.code) == (status, code)
    assert answer.json["errors"][0]["message"]
    assert (await get(inside, "bad")).code == "MANIFEST_UNKNOWN"
    assert await inside.metadata.read(lambda session: session.count_images()) == 0


@pytest.mark.parametrize(
    ("raw", "media_type"),
    [
        (b"", OCI_MANIFEST),
        (b"no json", OCI_MANIFEST),
        (b"[]", OCI_MANIFEST),
        (b"{}", OCI_MANIFEST),
        (b'{"schemaVersion": 1, "fsLayers": []}', OCI_MANIFEST),
        (b"[" * 100_000, OCI_MANIFEST),
        (ONE.raw, "text/html"),
        (ONE.raw, OCI_INDEX),
        (ONE.raw, DOCKER_MANIFEST),
        (ONE.raw, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        (INDEX.raw, OCI_MANIFEST),
        (ONE.raw[:-1], OCI_MANIFEST),
        (json.dumps({**ONE.document, "manifests": []}).encode(), OCI_MANIFEST),
    ],
)
async def test_what_is_no_manifest_is_refused(inside: Inside, raw: bytes, media_type: str) -> None:
    for data in INDEX.blobs.values():
        await inside.push_blob("app", data)
    answer = await inside.put_manifest("app", "bad", FakeImage(raw, media_type))
    await unchanged(inside, answer, 400, "MANIFEST_INVALID")


async def test_a_manifest_has_a_largest_size(inside: Inside) -> None:
    for data in ONE.blobs.values():
        await inside.push_blob("app", data)
    empty = changed(ONE, annotations={"x": ""})
    room = MAX_MANIFEST_BYTES - len(empty.raw)
    too_large = changed(ONE, annotations={"x": "x" * (room + 1)})
    await unchanged(inside, await inside.put_manifest("app", "bad", too_large), 413, "SIZE_INVALID")
    largest = changed(ONE, annotations={"x": "x" * room})
    assert len(largest.raw) == MAX_MANIFEST_BYTES
    assert (await inside.put_manifest("app", "1", largest)).status == 201
    assert (await get(inside, "1")).body == largest.raw


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_manifest_with_another_digest_is_refused(inside: Inside, algorithm: str) -> None:
    digest = Digest.of(b"another", algorithm)
    answer = await inside.push("app", digest, ONE)
    await unchanged(inside, answer, 400, "DIGEST_INVALID")
    assert (await get(inside, digest)).status == 404


@pytest.mark.parametrize("reference", ["sha256:bad", "md5:" + "a" * 32, "a:b", "x@sha256:abc"])
async def test_a_bad_digest_is_refused(inside: Inside, reference: str) -> None:
    answer = await inside.push("app", reference, ONE)
    await unchanged(inside, answer, 400, "DIGEST_INVALID")
    assert (await get(inside, reference)).code == "DIGEST_INVALID"


@pytest.mark.parametrize("tag", [".x", "-x", "a%2Fb", "A" * 129, "%C3%A4", "a%20b", "%00"])
async def test_a_bad_tag_is_refused_and_unknown(inside: Inside, tag: str) -> None:
    answer = await inside.push("app", tag, ONE)
    assert (answer.status, answer.code) == (400, "TAG_INVALID")
    for method in ("GET", "HEAD", "DELETE"):
        answer = await inside.call(method, f"/v2/app/manifests/{tag}")
        assert answer.status == 404
        assert method == "HEAD" or answer.code == "MANIFEST_UNKNOWN"


async def test_every_missing_blob_is_named(inside: Inside) -> None:
    config, *layers = ONE.blobs
    await inside.push_blob("app", ONE.blobs[layers[0]])
    answer = await inside.put_manifest("app", "bad", ONE)
    await unchanged(inside, answer, 404, "MANIFEST_BLOB_UNKNOWN")
    assert [error["detail"] for error in answer.json["errors"]] == [{"digest": config}]
    # Another repository's are of no use.
    answer = await inside.put_manifest("other", "bad", ONE)
    missing = [error["detail"]["digest"] for error in answer.json["errors"]]
    assert missing == [config, *layers]


async def test_an_index_without_its_children_is_refused(inside: Inside) -> None:
    await inside.push("app", ONE.digest, ONE)
    answer = await inside.put_manifest("app", "bad", INDEX)
    await unchanged(inside, answer, 404, "MANIFEST_BLOB_UNKNOWN")
    assert [error["detail"]["digest"] for error in answer.json["errors"]] == [TWO.digest]


async def test_a_blob_that_was_collected_is_missing(inside: Inside) -> None:
    for data in ONE.blobs.values():
        await inside.push_blob("app", data)
    lost = next(iter(ONE.blobs))
    inside.content.delete(Digest.parse(lost))
    answer = await inside.put_manifest("app", "bad", ONE)
    await unchanged(inside, answer, 404, "MANIFEST_BLOB_UNKNOWN")
    assert [error["detail"]["digest"] for error in answer.json["errors"]] == [lost]


async def test_a_blob_of_another_size_is_refused(inside: Inside) -> None:
    for data in ONE.blobs.values():
        await inside.push_blob("app", data)
    layer = {**ONE.document["layers"][0], "size": 5}
    answer = await inside.put_manifest("app", "bad", changed(ONE, layers=[layer]))
    await unchanged(inside, answer, 400, "MANIFEST_INVALID")


@pytest.mark.parametrize("config", [b"no json", b"[]", b'{"rootfs": 5}'])
async def test_a_config_that_is_none_is_refused(inside: Inside, config: bytes) -> None:
    await inside.push_blob("app", config)
    bad = changed(ONE, config=descriptor(config, ONE.document["config"]["mediaType"]), layers=[])
    await unchanged(inside, await inside.put_manifest("app", "bad", bad), 400, "MANIFEST_INVALID")
    # What was stored to be looked at is nobody's.
    assert bad.digest not in await held(inside)


async def test_indexes_nest_to_a_bound(inside: Inside) -> None:
    target = ONE
    await inside.push("app", ONE.digest, ONE)
    for _ in range(4):
        target = make_index([(target, None)])
        assert (await inside.put_manifest("app", target.digest, target)).status == 201
    deepest = make_index([(target, None)])
    answer = await inside.put_manifest("app", "bad", deepest)
    await unchanged(inside, answer, 400, "MANIFEST_INVALID")


@pytest.mark.parametrize("urls", [["https://example.com/layer"], []])
async def test_a_foreign_layer_is_fetched_from_its_urls(inside: Inside, urls: list[str]) -> None:
    foreign = descriptor(b"elsewhere", FOREIGN_LAYER, **({"urls": urls} if urls else {}))
    target = changed(ONE, layers=[*ONE.document["layers"], foreign])
    answer = await inside.push("app", "1", target)
    if not urls:
        assert (answer.status, answer.code) == (404, "MANIFEST_BLOB_UNKNOWN")
        return
    assert answer.status == 201
    assert (await get(inside, "1")).body == target.raw
    assert (await inside.call("GET", f"/v2/app/blobs/{foreign['digest']}")).status == 404
    record = await image(inside, target)
    assert record is not None
    assert not record.complete


# --- what a repository shows


async def test_a_repository_shows_only_what_is_its_own(inside: Inside) -> None:
    await inside.push("app", "1", INDEX)
    for reference in ("1", *INDEX.manifests):
        assert (await get(inside, reference, "other")).code == "MANIFEST_UNKNOWN"
        assert (await delete(inside, reference, "other")).code == "MANIFEST_UNKNOWN"
    assert (await get(inside, "1")).status == 200


async def test_an_index_that_is_stored_partly_has_absent_children(inside: Inside) -> None:
    """As a pull for one platform leaves it, under its registry's domain."""
    full = "other.example/team/app"
    for digest, data in (*ONE.blobs.items(), (INDEX.digest, INDEX.raw), (ONE.digest, ONE.raw)):
        with inside.content.ingest(digest, Digest.parse(digest), len(data)) as ingest:
            ingest.write(data)
            ingest.commit()
    await show_pulled(inside, INDEX, full)
    for reference in ("1", INDEX.digest):
        assert (await get(inside, reference, full)).body == INDEX.raw
    assert (await get(inside, ONE.digest, full)).body == ONE.raw
    for digest, data in ONE.blobs.items():
        assert (await inside.call("GET", f"/v2/{full}/blobs/{digest}")).body == data
    absent = await get(inside, TWO.digest, full)
    assert (absent.status, absent.code) == (404, "MANIFEST_UNKNOWN")
    assert (await inside.call("HEAD", f"/v2/{full}/manifests/{TWO.digest}")).status == 404
    for digest in TWO.blobs:
        assert (await inside.call("GET", f"/v2/{full}/blobs/{digest}")).code == "BLOB_UNKNOWN"
    # An absent layer can't be mounted from there either.
    path = f"/v2/app/blobs/uploads/?mount={next(iter(TWO.blobs))}&from={full}"
    assert (await inside.call("POST", path)).status == 202


async def show_pulled(inside: Inside, target: FakeImage, full: str) -> None:
    """Gives what is stored of an image the names that a pull gives."""
    described = describe(
        inside.content,
        Descriptor(target.media_type, Digest.parse(target.digest), len(target.raw)),
        Platform("linux", "amd64"),
    )
    record = replace(
        described.record,
        names=(Name(f"{full}:1", full),),
        repo_digests=(f"{full}@{target.digest}",),
    )
    await inside.metadata.write(
        lambda session: session.put_image(record, described.platforms, described.blobs)
    )


async def test_a_manifest_that_is_lost_is_unknown(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    await inside.push("app", "1", ONE)
    for reference in ("1", ONE.digest):
        with monkeypatch.context() as patched:

            def damaged(*_: object) -> None:
                raise Error(Reason.STORE_CORRUPT, "a secret")

            patched.setattr(inside.content, "read", damaged)
            assert (await get(inside, reference)).status == 500
    inside.content.delete(Digest.parse(ONE.digest))
    for reference in ("1", ONE.digest):
        assert (await get(inside, reference)).code == "MANIFEST_UNKNOWN"
        assert (await inside.call("HEAD", f"/v2/app/manifests/{reference}")).status == 404


# --- delete


async def test_a_deleted_tag_leaves_the_image_dangling(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    await inside.put_manifest("app", "2", ONE)
    assert (await delete(inside, "1")).status == 202
    assert (await get(inside, "1")).code == "MANIFEST_UNKNOWN"
    assert (await delete(inside, "1")).code == "MANIFEST_UNKNOWN"
    assert (await get(inside, "2")).status == 200
    assert (await delete(inside, "2")).status == 202
    assert await names(inside, ONE) == []
    assert (await get(inside, ONE.digest)).status == 200
    assert set(ONE.blobs) <= await held(inside, after=100 * HOUR)
    events = await inside.metadata.read(lambda session: session.events(0, None, 100))
    assert [one.attributes["name"] for one in events if one.action == "untag"] == [
        "registry.test/app:1",
        "registry.test/app:2",
    ]


async def test_a_deleted_manifest_takes_its_tags_here_along(inside: Inside) -> None:
    for repository in ("app", "other"):
        await inside.push(repository, "1", ONE)
    await inside.put_manifest("app", "2", ONE)
    assert (await delete(inside, ONE.digest)).status == 202
    for reference in ("1", "2", ONE.digest):
        assert (await get(inside, reference)).code == "MANIFEST_UNKNOWN"
    assert (await delete(inside, ONE.digest)).code == "MANIFEST_UNKNOWN"
    # Elsewhere it stays, whole.
    assert await names(inside, ONE) == ["registry.test/other:1"]
    for digest, data in ONE.blobs.items():
        assert (await inside.call("GET", f"/v2/other/blobs/{digest}")).body == data
    assert set(ONE.blobs) <= await held(inside, after=100 * HOUR)


async def test_a_manifest_that_an_index_needs_stays(inside: Inside) -> None:
    await inside.push("app", "1", NESTED)
    for digest in (INDEX.digest, ONE.digest, TWO.digest):
        answer = await delete(inside, digest)
        assert (answer.status, answer.code) == (405, "DENIED")
        assert answer.headers["Allow"] == "GET, HEAD, PUT"
        assert (await get(inside, digest)).status == 200
    # Not even its own tag's end makes an index forget its children.
    assert (await delete(inside, "1")).status == 202
    assert (await delete(inside, ONE.digest)).status == 405
    for digest in (NESTED.digest, INDEX.digest, ONE.digest, TWO.digest):
        assert (await delete(inside, digest)).status == 202
        assert (await get(inside, digest)).status == 404


async def test_a_child_goes_where_its_index_was_never(inside: Inside) -> None:
    await inside.push("app", "1", INDEX)
    await inside.push("other", "1", ONE)
    assert (await delete(inside, ONE.digest, "other")).status == 202
    assert (await get(inside, ONE.digest, "app")).status == 200


@pytest.mark.parametrize("reference", ["1", "digest"])
async def test_what_was_pulled_can_be_hidden(inside: Inside, reference: str) -> None:
    """An image that is here by a name, and by a repo digest, and never was pushed."""
    full = "other.example/team/app"
    for digest, data in (*ONE.blobs.items(), (ONE.digest, ONE.raw)):
        with inside.content.ingest(digest, Digest.parse(digest), len(data)) as ingest:
            ingest.write(data)
            ingest.commit()
    await show_pulled(inside, ONE, full)
    if reference == "1":
        assert (await delete(inside, "1", full)).status == 202
        assert (await get(inside, "1", full)).status == 404
    assert (await get(inside, ONE.digest, full)).status == 200
    assert (await delete(inside, ONE.digest, full)).status == 202
    assert (await get(inside, ONE.digest, full)).status == 404
    record = await image(inside, ONE)
    assert record is not None
    assert (record.names, record.repo_digests) == ((), ())
    assert set(ONE.blobs) <= await held(inside)


async def test_a_hold_survives_the_manifest(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    record = await image(inside, ONE)
    assert record is not None
    await inside.metadata.write(lambda session: session.set_pinned(record.uid, True))
    assert (await delete(inside, ONE.digest)).status == 202
    after = await image(inside, ONE)
    assert after is not None
    assert after.pinned
    blobs: list[BlobRef] = await inside.metadata.read(
        lambda session: session.image_blobs(record.uid)
    )
    assert {blob.digest for blob in blobs if blob.stored} == {ONE.digest, *ONE.blobs}


async def test_a_read_only_registry_serves_and_takes_nothing(tmp_path: Path) -> None:
    async with serve_inside(tmp_path) as inside:
        await inside.push("app", "1", ONE)
        upload = await inside.start("app")
    blob = next(iter(ONE.blobs))
    writes: list[tuple[str, str, Mapping[str, Any]]] = [
        ("PUT", "/v2/app/manifests/2", {"data": io.BytesIO(ONE.raw)}),
        ("DELETE", "/v2/app/manifests/1", {}),
        ("DELETE", f"/v2/app/manifests/{ONE.digest}", {}),
        ("DELETE", f"/v2/app/blobs/{blob}", {}),
        ("POST", "/v2/app/blobs/uploads/", {}),
        ("POST", f"/v2/other/blobs/uploads/?mount={blob}&from=app", {}),
        ("GET", upload, {}),
        ("PATCH", upload, {"data": b"x"}),
        ("PUT", f"{upload}?digest={blob}", {}),
        ("DELETE", upload, {}),
    ]
    async with serve_inside(tmp_path, read_only=True) as inside:
        for method, path, more in writes:
            answer = await inside.call(method, path, **more)
            assert (answer.status, answer.code) == (405, "UNSUPPORTED")
            assert answer.headers["Allow"] == "GET, HEAD"
        assert (await get(inside, "1")).body == ONE.raw
        for digest, data in ONE.blobs.items():
            assert (await inside.call("GET", f"/v2/app/blobs/{digest}")).body == data

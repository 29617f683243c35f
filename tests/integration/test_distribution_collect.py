"""What a garbage collection leaves of what was pushed: now, and when the upload leases are over."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from imgd_server.images import collect
from imgd_server.oci import Digest
from imgd_server.transfer import now_us
from tests.fake_images import FakeImage, descriptor, make_image, make_index
from tests.registry_inside import Inside, serve_inside

DATA = b"a layer" * 1000
DIGEST = Digest.of(DATA)
DAY = 24 * 3600 * 1_000_000
ONE = make_image([b"one"])
INDEX = make_index([(ONE, {"os": "linux", "architecture": "amd64"})])
SIGNATURE = FakeImage(
    json.dumps(
        {**make_image([b"signed"]).document, "subject": descriptor(ONE.raw, ONE.media_type)}
    ).encode(),
    ONE.media_type,
    make_image([b"signed"]).blobs,
)


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    async with serve_inside(tmp_path) as inside:
        yield inside


async def sweep(inside: Inside, days: int = 0) -> None:
    """Collects, so many days and a moment from now."""
    now = now_us() + days * DAY + 1
    await collect(inside.metadata, inside.content, lambda: now, dry_run=False)


async def served(inside: Inside, target: FakeImage, *references: str) -> bool:
    """Whether a manifest and its blobs are served, all of them or none."""
    found = set()
    for reference in references or (target.digest,):
        answer = await inside.call("GET", f"/v2/app/manifests/{reference}")
        found.add(answer.status == 200 and answer.body == target.raw)
    for digest, data in target.blobs.items():
        answer = await inside.call("GET", f"/v2/app/blobs/{digest}")
        found.add(answer.status == 200 and answer.body == data)
    assert len(found) == 1
    return found.pop()


async def test_an_unfinished_upload_lasts_a_day_from_its_last_bytes(inside: Inside) -> None:
    upload = await inside.start("app")
    await inside.call("PATCH", upload, data=DATA[:1000])
    inside.server._uploads.close()  # what rests is in use
    await sweep(inside)
    answer = await inside.call("PATCH", upload, data=DATA[1000:2000])
    assert answer.headers["Range"] == "0-1999"
    inside.server._uploads.close()
    await sweep(inside, days=1)
    assert (await inside.call("GET", upload)).code == "BLOB_UPLOAD_UNKNOWN"
    assert list(inside.content.partials()) == []


async def test_a_blob_waits_a_day_for_its_manifest(inside: Inside) -> None:
    for data in ONE.blobs.values():
        await inside.push_blob("app", data)
    await sweep(inside)
    assert (await inside.put_manifest("app", "1", ONE)).status == 201
    await inside.push_blob("app", DATA)
    await sweep(inside, days=1)
    assert await served(inside, ONE, "1", ONE.digest)
    assert (await inside.call("HEAD", f"/v2/app/blobs/{DIGEST}")).status == 404


async def test_a_manifest_that_comes_too_late_says_what_to_push_again(inside: Inside) -> None:
    for data in ONE.blobs.values():
        await inside.push_blob("app", data)
    await sweep(inside, days=1)
    assert (await inside.call("GET", "/v2/app/tags/list")).code == "NAME_UNKNOWN"
    answer = await inside.put_manifest("app", "1", ONE)
    assert answer.code == "MANIFEST_BLOB_UNKNOWN"
    assert {error["detail"]["digest"] for error in answer.json["errors"]} == set(ONE.blobs)
    assert (await inside.push("app", "1", ONE)).status == 201


async def test_a_manifest_by_digest_lasts_a_day(inside: Inside) -> None:
    await inside.push("app", INDEX.digest, INDEX)
    await sweep(inside)
    assert await served(inside, INDEX)
    assert await served(inside, ONE)
    await sweep(inside, days=1)
    assert not await served(inside, INDEX)
    assert not await served(inside, ONE)
    # Nothing is refused for the sake of what is gone.
    for digest in ONE.blobs:
        assert (await inside.call("DELETE", f"/v2/app/blobs/{digest}")).status == 404
    assert list(inside.content.blobs()) == []


async def test_an_image_that_lost_its_tag_stays(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    await inside.call("DELETE", "/v2/app/manifests/1")
    await sweep(inside, days=100)
    assert await served(inside, ONE)


async def test_a_signature_lasts_as_long_as_what_it_signs(inside: Inside) -> None:
    await inside.push("app", SIGNATURE.digest, SIGNATURE)
    await inside.push("app", "1", ONE)
    await sweep(inside, days=100)
    assert await served(inside, SIGNATURE)
    referrers = await inside.call("GET", f"/v2/app/referrers/{ONE.digest}")
    assert [one["digest"] for one in referrers.json["manifests"]] == [SIGNATURE.digest]
    record = await inside.metadata.read(lambda session: session.image_by_target(ONE.digest))
    assert record is not None
    await inside.metadata.write(lambda session: session.delete_image(record.uid))
    await sweep(inside, days=100)
    assert not await served(inside, SIGNATURE)
    referrers = await inside.call("GET", f"/v2/app/referrers/{ONE.digest}")
    assert referrers.json["manifests"] == []
    assert list(inside.content.blobs()) == []


async def test_a_deleted_manifest_goes_with_the_next_collection(inside: Inside) -> None:
    await inside.push("app", ONE.digest, ONE)
    await inside.push_blob("app", DATA)
    await inside.call("DELETE", f"/v2/app/manifests/{ONE.digest}")
    for digest in (*ONE.blobs, DIGEST):
        assert (await inside.call("DELETE", f"/v2/app/blobs/{digest}")).status == 202
    await sweep(inside)
    assert list(inside.content.blobs()) == []

"""Uploads to the registry inside, over HTTP: whole, in chunks, broken off and gone on with."""

from __future__ import annotations

import asyncio
import io
import logging
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from imgd_server.content import Ingest
from imgd_server.distribution import _pushes, _server, _uploads
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.transfer import now_us
from tests.registry_inside import PATIENCE, Answer, Inside, serve_inside

DATA = bytes(range(256)) * 12
DIGEST = Digest.of(DATA)
HOUR = 3600 * 1_000_000


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    async with serve_inside(tmp_path) as inside:
        yield inside


async def offset(inside: Inside, upload: str) -> int:
    """How far an upload is, as a client asks; the registry can't tell 0 bytes from 1."""
    answer = await inside.call("GET", upload)
    assert answer.status == 204
    assert answer.headers["Location"] == upload
    first, _, last = answer.headers["Range"].partition("-")
    assert first == "0"
    return int(last) + 1


async def patch(inside: Inside, upload: str, data: Any, place: str | None = None) -> Answer:
    headers = {} if place is None else {"Content-Range": place}
    return await inside.call("PATCH", upload, data=data, headers=headers)


async def finish(inside: Inside, upload: str, digest: str = DIGEST, **more: Any) -> Answer:
    return await inside.call("PUT", f"{upload}?digest={digest}", **more)


async def check_stored(inside: Inside, answer: Answer, digest: str, data: bytes) -> None:
    assert (answer.status, answer.body) == (201, b"")
    assert answer.headers["Location"] == f"/v2/app/blobs/{digest}"
    assert answer.headers["Docker-Content-Digest"] == digest
    assert (await inside.call("GET", answer.headers["Location"])).body == data


async def held(inside: Inside, after: int = 0) -> set[str]:
    """What may not be collected, `after` microseconds from now."""
    return await inside.metadata.read(lambda session: session.held_digests(now_us() + after))


def partials(inside: Inside) -> list[str]:
    return [one.key for one in inside.content.partials()]


# --- the ways to upload


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("data", [DATA, b""], ids=["some", "empty"])
async def test_in_one_request(inside: Inside, data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    answer = await inside.call("POST", f"/v2/app/blobs/uploads/?digest={digest}", data=data)
    await check_stored(inside, answer, digest, data)
    assert partials(inside) == []


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_in_two_requests(inside: Inside, algorithm: str) -> None:
    digest = Digest.of(DATA, algorithm)
    upload = await inside.start("app")
    await check_stored(inside, await finish(inside, upload, digest, data=DATA), digest, DATA)
    assert (await inside.call("GET", upload)).code == "BLOB_UPLOAD_UNKNOWN"
    assert partials(inside) == []


@pytest.mark.parametrize("where", ["/v2/app/blobs/uploads/", "/v2/app/blobs/uploads"])
async def test_an_upload_has_an_address(inside: Inside, where: str) -> None:
    answer = await inside.call("POST", f"{where}?digest-algorithm=sha512")
    assert answer.status == 202
    upload = answer.headers["Location"]
    assert upload == f"/v2/app/blobs/uploads/{answer.headers['Docker-Upload-UUID']}"
    assert answer.headers["Range"] == "0-0"
    assert (await inside.call("HEAD", upload)).status == 204


async def test_as_a_stream(inside: Inside) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 100):
            yield DATA[start : start + 100]

    upload = await inside.start("app")
    answer = await patch(inside, upload, pieces())
    assert (answer.status, answer.headers["Range"]) == (202, f"0-{len(DATA) - 1}")
    await check_stored(inside, await finish(inside, upload), DIGEST, DATA)


@pytest.mark.parametrize("last_with_put", [False, True])
async def test_in_chunks(inside: Inside, last_with_put: bool) -> None:
    upload = await inside.start("app")
    chunks = [(start, DATA[start : start + 1000]) for start in range(0, len(DATA), 1000)]
    last, tail = chunks.pop() if last_with_put else (0, b"")
    for start, chunk in chunks:
        place = f"{start}-{start + len(chunk) - 1}"
        answer = await patch(inside, upload, chunk, place)
        assert (answer.status, answer.headers["Range"]) == (202, f"0-{start + len(chunk) - 1}")
        assert await offset(inside, upload) == start + len(chunk)
    more: dict[str, Any] = {}
    if last_with_put:
        more = {"data": tail, "headers": {"Content-Range": f"{last}-{len(DATA) - 1}"}}
    await check_stored(inside, await finish(inside, upload, **more), DIGEST, DATA)


async def test_a_large_blob_in_batches(inside: Inside) -> None:
    data = os.urandom(5 << 20)
    upload = await inside.start("app")
    assert (await patch(inside, upload, io.BytesIO(data[: 3 << 20]))).status == 202
    answer = await finish(inside, upload, Digest.of(data), data=io.BytesIO(data[3 << 20 :]))
    await check_stored(inside, answer, Digest.of(data), data)


async def test_what_is_here_may_be_pushed_again(inside: Inside) -> None:
    for _ in range(2):
        upload = await inside.start("app")
        await check_stored(inside, await finish(inside, upload, data=DATA), DIGEST, DATA)


async def test_a_chunked_upload_is_hashed_once(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = []
    ingest = inside.content.ingest

    def count(key: str, *more: Any, **options: Any) -> Ingest:
        opened.append(key)
        return ingest(key, *more, **options)

    monkeypatch.setattr(inside.content, "ingest", count)
    upload = await inside.start("app")
    for start in range(0, len(DATA), 1000):
        assert (await patch(inside, upload, DATA[start : start + 1000])).status == 202
    assert (await finish(inside, upload)).status == 201
    assert len(opened) == 1


# --- what is out of order


@pytest.mark.parametrize("place", ["2000-2999", "0-999", "999-1998", "1000", "x-y", "1000-999"])
async def test_a_chunk_out_of_order_is_refused(inside: Inside, place: str) -> None:
    upload = await inside.start("app")
    await patch(inside, upload, DATA[:1000], "0-999")
    for method, path in (("PATCH", upload), ("PUT", f"{upload}?digest={DIGEST}")):
        answer = await inside.call(
            method, path, data=DATA[2000:3000], headers={"Content-Range": place}
        )
        assert (answer.status, answer.code) == (416, "BLOB_UPLOAD_INVALID")
        assert answer.headers["Range"] == "0-999"
        assert answer.headers["Location"] == upload
    assert await offset(inside, upload) == 1000
    assert (await patch(inside, upload, DATA[1000:])).status == 202
    await check_stored(inside, await finish(inside, upload), DIGEST, DATA)


async def test_a_chunk_that_is_not_as_long_as_it_says_is_refused(inside: Inside) -> None:
    upload = await inside.start("app")
    await patch(inside, upload, DATA[:1000], "0-999")
    answer = await patch(inside, upload, DATA[1000:1500], "1000-1999")
    assert (answer.status, answer.code) == (400, "SIZE_INVALID")
    assert await offset(inside, upload) == 1000


# --- what is wrong


@pytest.mark.parametrize("whole", [True, False])
async def test_other_bytes_than_promised_are_dropped(inside: Inside, whole: bool) -> None:
    if whole:
        path = f"/v2/app/blobs/uploads/?digest={DIGEST}"
        answer = await inside.call("POST", path, data=DATA + b"oh no")
    else:
        upload = await inside.start("app")
        await patch(inside, upload, DATA)
        answer = await finish(inside, upload, data=b"oh no")
        assert (await inside.call("GET", upload)).status == 404
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert (await inside.call("GET", f"/v2/app/blobs/{DIGEST}")).status == 404
    assert partials(inside) == []
    assert list(inside.content.blobs()) == []


@pytest.mark.parametrize("digest", ["", "latest", "sha256:abc", "md5:" + "a" * 32])
async def test_a_bad_digest_ends_no_upload(inside: Inside, digest: str) -> None:
    upload = await inside.start("app")
    await patch(inside, upload, DATA)
    answer = await finish(inside, upload, digest)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    await check_stored(inside, await finish(inside, upload), DIGEST, DATA)


async def test_without_a_digest_nothing_is_finished(inside: Inside) -> None:
    upload = await inside.start("app")
    assert (await inside.call("PUT", upload, data=DATA)).code == "DIGEST_INVALID"


@pytest.mark.parametrize("query", ["digest=x", "digest-algorithm=md5", "mount=x&from=other"])
async def test_a_bad_start_is_refused(inside: Inside, query: str) -> None:
    answer = await inside.call("POST", f"/v2/app/blobs/uploads/?{query}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    assert partials(inside) == []


@pytest.mark.parametrize("upload", ["0" * 32, "x", "..", "0" * 32 + "%2F..", "%00", "A" * 300])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PATCH", "PUT", "DELETE"])
async def test_an_unknown_upload_is_refused(inside: Inside, method: str, upload: str) -> None:
    path = f"/v2/app/blobs/uploads/{upload}?digest={DIGEST}"
    answer = await inside.call(method, path, data=b"" if method in ("GET", "HEAD") else DATA)
    assert answer.status == 404
    # `..` climbs to /v2/app/blobs/, where nothing is.
    assert method == "HEAD" or answer.code in ("BLOB_UPLOAD_UNKNOWN", "UNSUPPORTED")
    assert partials(inside) == []


async def test_an_upload_belongs_to_its_repository(inside: Inside) -> None:
    upload = await inside.start("app")
    elsewhere = upload.replace("/v2/app/", "/v2/other/")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = await inside.call(method, f"{elsewhere}?digest={DIGEST}")
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
    # The same repository by another of its names.
    itself = upload.replace("/v2/app/", "/v2/registry.test/app/")
    assert (await inside.call("GET", itself)).status == 204


async def test_a_full_disk_is_said_and_can_be_mended(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await inside.start("app")
    await patch(inside, upload, DATA[:1000])

    def full(*_: object) -> None:
        raise Error(Reason.DISK_FULL, "no room for the blob; free some, and try again")

    with monkeypatch.context() as patched:
        patched.setattr("imgd_server.content._writer.Writer.write", full)
        answer = await patch(inside, upload, DATA[1000:])
    assert (answer.status, answer.code) == (507, "DENIED")
    assert "free some" in answer.body.decode()
    assert (await patch(inside, upload, DATA[1000:])).status == 202
    await check_stored(inside, await finish(inside, upload), DIGEST, DATA)


# --- cancelled, busy, broken off


async def test_a_cancelled_upload_is_forgotten(inside: Inside) -> None:
    upload = await inside.start("app")
    await patch(inside, upload, DATA)
    answer = await inside.call("DELETE", upload)
    assert (answer.status, answer.body) == (204, b"")
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        answer = await inside.call(method, f"{upload}?digest={DIGEST}")
        assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert partials(inside) == []
    leases = await inside.metadata.read(lambda session: session.expired_leases(1 << 62, 10))
    assert leases == []


class Slow:
    """A body whose first half has arrived at the registry, and whose end waits to be told."""

    def __init__(self, inside: Inside, upload: str) -> None:
        self.data = os.urandom(1 << 20) * 4
        self._half = len(self.data) // 2
        self._end = asyncio.Event()
        self._inside, self._upload = inside, upload
        self.request = asyncio.create_task(patch(inside, upload, self._pieces()))

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield self.data[: self._half]
        await self._end.wait()
        yield self.data[self._half :]

    async def arrived(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await offset(self._inside, self._upload) < self._half // 2:
                pass

    async def end(self) -> Answer:
        self._end.set()
        return await self.request


@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_a_busy_upload_is_for_one_request_at_a_time(inside: Inside, method: str) -> None:
    upload = await inside.start("app")
    slow = Slow(inside, upload)
    await slow.arrived()
    answer = await inside.call(method, f"{upload}?digest={DIGEST}", data=b"more")
    assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await slow.end()).headers["Range"] == f"0-{len(slow.data) - 1}"
    assert (await finish(inside, upload, Digest.of(slow.data))).status == 201


async def test_a_busy_upload_can_be_cancelled(inside: Inside) -> None:
    upload = await inside.start("app")
    slow = Slow(inside, upload)
    await slow.arrived()
    assert (await inside.call("DELETE", upload)).status == 204
    answer = await slow.end()
    assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")
    assert (await inside.call("GET", upload)).status == 404
    assert partials(inside) == []


@pytest.mark.parametrize("framing", ["Content-Length: 4000", "Transfer-Encoding: chunked"])
async def test_what_arrived_of_a_broken_request_is_kept(
    inside: Inside, framing: str, caplog: pytest.LogCaptureFixture
) -> None:
    upload = await inside.start("app")
    body = DATA[:1500] if "Length" in framing else b"5dc\r\n" + DATA[:1500] + b"\r\n"
    with capture_logs() as logs, caplog.at_level(logging.INFO):
        _, writer = await asyncio.open_connection(*inside.address)
        head = f"PATCH {upload} HTTP/1.1\r\nHost: {inside.host}\r\n{framing}\r\n\r\n"
        writer.write(head.encode() + body)
        writer.write_eof()
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with asyncio.timeout(PATIENCE):
            while await offset(inside, upload) < 1500:
                pass
    assert await offset(inside, upload) == 1500
    assert logs == []
    assert caplog.records == []
    async with asyncio.timeout(PATIENCE):
        while (answer := await patch(inside, upload, DATA[1500:], "1500-3071")).status == 429:
            pass
    assert answer.status == 202
    await check_stored(inside, await finish(inside, upload), DIGEST, DATA)


async def test_a_broken_whole_push_leaves_nothing(inside: Inside) -> None:
    _, writer = await asyncio.open_connection(*inside.address)
    path = f"/v2/app/blobs/uploads/?digest={DIGEST}"
    head = f"POST {path} HTTP/1.1\r\nHost: {inside.host}\r\nContent-Length: 4000\r\n\r\n"
    writer.write(head.encode() + DATA[:1500])
    await writer.drain()
    uploads = inside.server._uploads
    async with asyncio.timeout(PATIENCE):
        while not uploads._busy:
            await asyncio.sleep(0)
        (upload,) = uploads._busy.values()
        writer.close()
        await writer.wait_closed()
        await upload.over.wait()
        while inside.content.partial(upload.key):
            await asyncio.sleep(0)
    assert list(inside.content.blobs()) == []


async def test_a_body_that_is_no_http_is_refused(inside: Inside) -> None:
    upload = await inside.start("app")
    head = f"PATCH {upload} HTTP/1.1\r\nHost: {inside.host}\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await inside.send(head.encode() + b"no chunk's length\r\n")
    assert answer.status == 400
    assert (await inside.call("GET", upload)).status == 204


async def test_a_request_that_stalls_is_given_up(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uploads, "_STALL_SECONDS", 0.01)
    upload = await inside.start("app")
    head = f"PATCH {upload} HTTP/1.1\r\nHost: {inside.host}\r\nContent-Length: {len(DATA)}\r\n"
    answer = await inside.send(f"{head}Connection: close\r\n\r\n".encode() + DATA[:1500])
    assert (answer.status, answer.code) == (408, "BLOB_UPLOAD_INVALID")
    assert await offset(inside, upload) == 1500


# --- between requests


async def test_an_upload_goes_on_after_a_long_rest(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uploads, "_REST_SECONDS", 0)
    upload = await inside.start("app")
    for start in range(0, len(DATA), 1000):
        async with asyncio.timeout(PATIENCE):
            while not partials(inside):  # it is somebody's while it rests
                await asyncio.sleep(0)
        assert await offset(inside, upload) == max(start, 1)
        assert (await patch(inside, upload, DATA[start : start + 1000])).status == 202
    await check_stored(inside, await finish(inside, upload), DIGEST, DATA)


async def test_more_uploads_than_may_rest_go_on(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_uploads, "_MAX_RESTING", 2)
    uploads = [await inside.start("app") for _ in range(5)]
    assert len(partials(inside)) == 3
    for part in (DATA[:1000], DATA[1000:]):
        for upload in uploads:
            assert (await patch(inside, upload, part)).status == 202
    for upload in uploads:
        assert (await finish(inside, upload)).status == 201


@pytest.mark.parametrize("rested", [False, True])
async def test_only_so_many_uploads_are_unfinished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rested: bool
) -> None:
    """Each keeps a file and a lease, for a day when its client is gone."""
    monkeypatch.setattr(_uploads, "_MAX_UNFINISHED", 3)
    async with serve_inside(tmp_path) as inside:
        uploads = [
            await inside.start("app"),
            await inside.start("other"),
            await inside.start("app"),
        ]
        if rested:
            inside.server._uploads.close()
        # What is no upload does not count.
        with inside.content.ingest("sha256:" + "a" * 64) as ingest:
            ingest.write(b"x")
        later = now_us() + 48 * HOUR
        leases = await inside.metadata.read(lambda session: session.expired_leases(later, 100))
        assert len(leases) == 3
        for query in ("", f"?digest={DIGEST}"):
            answer = await inside.call("POST", f"/v2/app/blobs/uploads/{query}", data=DATA)
            assert (answer.status, answer.code) == (429, "TOOMANYREQUESTS")
            assert "3 uploads are unfinished" in answer.json["errors"][0]["message"]
        # The refused ones left nothing.
        after = await inside.metadata.read(lambda session: session.expired_leases(later, 100))
        assert after == leases
    # A restart forgets none of them.
    async with serve_inside(tmp_path) as inside:
        assert (await inside.call("POST", "/v2/app/blobs/uploads/")).status == 429
        assert (await inside.call("DELETE", uploads[1])).status == 204
        upload = await inside.start("app")
        assert (await inside.call("POST", "/v2/app/blobs/uploads/")).status == 429
        assert (await finish(inside, upload, data=DATA)).status == 201
        await inside.push_blob("app", b"whole")
        await inside.push_blob("app", b"another")
        upload = await inside.start("app")
        # A collection has taken one.
        assert (await inside.call("POST", "/v2/app/blobs/uploads/")).status == 429
        inside.server._uploads.close()
        (first, *_) = (key for key in partials(inside) if key.startswith("upload:"))
        assert inside.content.drop_partial(first)
        await inside.start("app")


async def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with serve_inside(tmp_path) as inside:
        upload = await inside.start("app")
        await patch(inside, upload, DATA[:2000], "0-1999")
    # A stop lets go of it.
    assert len(partials(inside)) == 1
    async with serve_inside(tmp_path) as inside:
        assert await offset(inside, upload) == 2000
        answer = await patch(inside, upload, DATA[2000:2500], "2000-2499")
        assert answer.headers["Range"] == "0-2499"
    async with serve_inside(tmp_path) as inside:
        more: dict[str, Any] = {"data": DATA[2500:], "headers": {"Content-Range": "2500-3071"}}
        await check_stored(inside, await finish(inside, upload, **more), DIGEST, DATA)


# --- holds


async def test_an_unfinished_upload_has_an_owner(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = await inside.start("app")
    inside.server._uploads.close()
    (key,) = partials(inside)
    lease = await inside.metadata.read(lambda session: session.lease(key))
    assert lease is not None
    assert lease.expires > now_us() + HOUR
    # Renewed by what arrives later, though not by every chunk.
    later = now_us() + 20 * HOUR
    monkeypatch.setattr(_pushes, "now_us", lambda: later)
    await patch(inside, upload, DATA[:1000])
    renewed = await inside.metadata.read(lambda session: session.lease(key))
    assert renewed is not None
    assert renewed.expires == later + 24 * HOUR
    assert (await finish(inside, upload, data=DATA[1000:])).status == 201
    assert await inside.metadata.read(lambda session: session.lease(key)) is None


async def test_a_pushed_blob_waits_for_its_manifest(inside: Inside) -> None:
    await inside.push_blob("app", DATA)
    assert DIGEST in await held(inside, after=20 * HOUR)
    assert DIGEST not in await held(inside, after=30 * HOUR)
    assert (await inside.call("DELETE", f"/v2/app/blobs/{DIGEST}")).status == 202
    assert DIGEST not in await held(inside)


# --- mounts


async def mount(inside: Inside, digest: str, source: str | None) -> Answer:
    query = f"mount={digest}" + ("" if source is None else f"&from={source}")
    return await inside.call("POST", f"/v2/app/blobs/uploads/?{query}")


@pytest.mark.parametrize("source", ["team/other", "registry.test/team/other", None, ""])
async def test_a_blob_is_mounted(inside: Inside, source: str | None) -> None:
    await inside.push_blob("team/other", DATA)
    await check_stored(inside, await mount(inside, DIGEST, source), DIGEST, DATA)
    # Held for this repository too, whatever becomes of the other.
    assert (await inside.call("DELETE", f"/v2/team/other/blobs/{DIGEST}")).status == 202
    assert DIGEST in await held(inside)
    assert (await inside.call("GET", f"/v2/app/blobs/{DIGEST}")).body == DATA


@pytest.mark.parametrize("source", ["third", "No/Name", "docker.io/library/redis"])
async def test_what_can_not_be_mounted_is_uploaded(inside: Inside, source: str) -> None:
    await inside.push_blob("team/other", DATA)
    answer = await mount(inside, DIGEST, source)
    assert answer.status == 202
    assert (await inside.call("GET", f"/v2/app/blobs/{DIGEST}")).status == 404
    await check_stored(
        inside, await finish(inside, answer.headers["Location"], data=DATA), DIGEST, DATA
    )


@pytest.mark.parametrize("source", ["team/other", None])
async def test_what_was_collected_is_not_mounted(inside: Inside, source: str | None) -> None:
    await inside.push_blob("team/other", DATA)
    inside.content.delete(DIGEST)
    assert (await mount(inside, DIGEST, source)).status == 202
    # When it comes back there, it is still not this repository's.
    await inside.push_blob("team/other", DATA)
    assert (await inside.call("GET", f"/v2/app/blobs/{DIGEST}")).status == 404


async def test_what_nobody_shows_is_not_mounted(inside: Inside) -> None:
    with inside.content.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(DATA)
        ingest.commit()
    assert (await mount(inside, DIGEST, None)).status == 202


# --- the end


async def test_a_stop_keeps_what_arrived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_server, "_STOP_SECONDS", 0.01)
    async with serve_inside(tmp_path) as inside:
        upload = await inside.start("app")
        slow = Slow(inside, upload)
        await slow.arrived()
        await inside.server.stop()
        with pytest.raises(aiohttp.ClientError):
            await slow.end()
    async with serve_inside(tmp_path) as inside:
        here = await offset(inside, upload)
        assert 0 < here < len(slow.data)
        rest = slow.data[here:]
        answer = await finish(inside, upload, Digest.of(slow.data), data=io.BytesIO(rest))
        await check_stored(inside, answer, Digest.of(slow.data), slow.data)

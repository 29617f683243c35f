"""Blobs of the registry inside, over HTTP."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from imgd_server.distribution import _blobs, _server, open_tls
from imgd_server.distribution._repository import put_bytes
from imgd_server.oci import Digest
from tests.certificates import Authority
from tests.fake_images import make_image
from tests.registry_inside import Inside, serve_inside

DATA = bytes(range(256)) * 8
# A net for what hangs.
PATIENCE = 120.0
# More than the socket's buffers hold.
LARGE = os.urandom(1 << 20) * 12


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    async with serve_inside(tmp_path) as inside:
        yield inside


async def test_a_blob_is_served_whole(inside: Inside) -> None:
    digest = await inside.push_blob("app", DATA)
    answer = await inside.call("GET", f"/v2/app/blobs/{digest}")
    assert (answer.status, answer.body) == (200, DATA)
    assert answer.headers["Docker-Content-Digest"] == digest
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["ETag"] == f'"{digest}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"


@pytest.mark.parametrize("data", [DATA, b""], ids=["some", "empty"])
async def test_head_is_get_without_a_body(inside: Inside, data: bytes) -> None:
    digest = await inside.push_blob("app", data)
    for headers in ({}, {"Range": "bytes=5-9"}, {"If-None-Match": f'"{digest}"'}):
        get = await inside.call("GET", f"/v2/app/blobs/{digest}", headers=headers)
        head = await inside.call("HEAD", f"/v2/app/blobs/{digest}", headers=headers)
        assert head.body == b""
        assert head.status == get.status
        drop = "Date"
        assert {key: value for key, value in head.headers.items() if key != drop} == {
            key: value for key, value in get.headers.items() if key != drop
        }
        if get.status == 200:
            assert int(get.headers["Content-Length"]) == len(get.body) == len(data)


@pytest.mark.parametrize(
    ("asked", "part", "said"),
    [
        ("bytes=5-9", slice(5, 10), "bytes 5-9/2048"),
        ("bytes=2000-", slice(2000, None), "bytes 2000-2047/2048"),
        ("bytes=-10", slice(-10, None), "bytes 2038-2047/2048"),
        ("bytes=2040-9999", slice(2040, None), "bytes 2040-2047/2048"),
        ("bytes=0-2047", slice(None), "bytes 0-2047/2048"),
    ],
)
async def test_a_range_is_served(inside: Inside, asked: str, part: slice, said: str) -> None:
    digest = await inside.push_blob("app", DATA)
    answer = await inside.call("GET", f"/v2/app/blobs/{digest}", headers={"Range": asked})
    assert (answer.status, answer.body) == (206, DATA[part])
    assert answer.headers["Content-Range"] == said


@pytest.mark.parametrize("asked", ["bytes=2048-", "bytes=9000-9001", "bytes=9-5", "bytes=-0"])
async def test_a_range_beyond_the_end_is_refused(inside: Inside, asked: str) -> None:
    digest = await inside.push_blob("app", DATA)
    answer = await inside.call("GET", f"/v2/app/blobs/{digest}", headers={"Range": asked})
    assert (answer.status, answer.code) == (416, "SIZE_INVALID")
    assert answer.headers["Content-Range"] == "bytes */2048"


@pytest.mark.parametrize("asked", ["bytes=1-2,5-6", "bytes=x", "lines=1-2", "bytes=0-" + "9" * 99])
async def test_what_is_no_single_range_gets_all(inside: Inside, asked: str) -> None:
    digest = await inside.push_blob("app", DATA)
    answer = await inside.call("GET", f"/v2/app/blobs/{digest}", headers={"Range": asked})
    assert (answer.status, answer.body) == (200, DATA)


async def test_what_the_client_has_is_not_sent_again(inside: Inside) -> None:
    digest = await inside.push_blob("app", DATA)
    for condition in (f'"{digest}"', f'"x", W/"{digest}"', "*"):
        # The condition is looked at before the range (RFC 9110, section 13.2.2).
        headers = {"If-None-Match": condition, "Range": "bytes=1-2"}
        answer = await inside.call("GET", f"/v2/app/blobs/{digest}", headers=headers)
        assert (answer.status, answer.body) == (304, b"")
        assert answer.headers["ETag"] == f'"{digest}"'


async def test_a_large_blob_arrives_as_it_was_sent(inside: Inside) -> None:
    digest = await inside.push_blob("app", LARGE)
    answer = await inside.call("GET", f"/v2/app/blobs/{digest}")
    assert Digest.of(answer.body) == digest
    part = await inside.call(
        "GET", f"/v2/app/blobs/{digest}", headers={"Range": f"bytes=1-{len(LARGE) - 2}"}
    )
    assert part.body == LARGE[1:-1]


async def test_a_repository_shows_only_its_own_blobs(inside: Inside) -> None:
    digest = await inside.push_blob("app", DATA)
    answer = await inside.call("GET", f"/v2/other/blobs/{digest}")
    assert (answer.status, answer.code) == (404, "BLOB_UNKNOWN")
    assert (await inside.call("HEAD", f"/v2/other/blobs/{digest}")).status == 404
    assert (await inside.call("DELETE", f"/v2/other/blobs/{digest}")).status == 404
    assert (await inside.call("GET", f"/v2/app/blobs/{digest}")).status == 200


async def test_a_blob_that_was_collected_is_unknown(inside: Inside) -> None:
    digest = await inside.push_blob("app", DATA)
    inside.content.delete(digest)
    assert (await inside.call("GET", f"/v2/app/blobs/{digest}")).code == "BLOB_UNKNOWN"
    assert (await inside.call("HEAD", f"/v2/app/blobs/{digest}")).status == 404


@pytest.mark.parametrize("text", ["x", "sha256:abc", "md5:" + "a" * 32, "sha256:..%2F..%2Fx"])
async def test_a_bad_digest_is_refused(inside: Inside, text: str) -> None:
    for method in ("GET", "DELETE"):
        answer = await inside.call(method, f"/v2/app/blobs/{text}")
        assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


async def test_a_client_that_leaves_hurts_nobody(
    inside: Inside, caplog: pytest.LogCaptureFixture
) -> None:
    digest = await inside.push_blob("app", LARGE)
    with capture_logs() as logs, caplog.at_level(logging.INFO):
        reader, writer = await asyncio.open_connection(*inside.address)
        request = f"GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: {inside.host}\r\n\r\n"
        writer.write(request.encode())
        assert await reader.read(100)
        # Closed with bytes unread, the connection is reset under the server's hands.
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.close()
        answer = await inside.call("GET", f"/v2/app/blobs/{digest}")
    assert len(answer.body) == len(LARGE)
    assert logs == []
    assert caplog.records == []


@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_client_that_takes_nothing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encrypted: bool
) -> None:
    """It would keep the blob's file open, also when that is collected."""
    monkeypatch.setattr(_server, "_STALL_MS", 200)
    over = asyncio.Event()
    send = _blobs._send

    async def spy(*of: Any) -> None:
        try:
            await send(*of)
        finally:
            over.set()

    monkeypatch.setattr(_blobs, "_send", spy)
    tls = trust = None
    if encrypted:
        issued = (authority := Authority(tmp_path / "ca")).issue("127.0.0.1")
        tls = open_tls(str(issued.chain), str(issued.key))
        trust = ssl.create_default_context(cafile=authority.bundle)
    async with serve_inside(tmp_path / "state", tls=tls) as inside:
        await link(inside, LARGE)
        with capture_logs() as logs:
            _, writer = await asyncio.open_connection(*inside.address, ssl=trust)
            path = f"/v2/app/blobs/{Digest.of(LARGE)}"
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {inside.host}\r\n\r\n".encode())
            async with asyncio.timeout(PATIENCE):
                await over.wait()
            writer.transport.abort()
    assert logs == []


async def link(inside: Inside, data: bytes) -> None:
    """A blob of a repository, without a request."""
    digest = Digest.of(data)
    put_bytes(inside.content, digest, data)
    await inside.metadata.write(lambda session: session.link_blob("registry.test/app", digest))


# --- delete


async def test_a_deleted_blob_is_unknown(inside: Inside) -> None:
    digest = await inside.push_blob("app", DATA)
    await inside.push_blob("other", DATA)
    assert (await inside.call("DELETE", f"/v2/app/blobs/{digest}")).status == 202
    assert (await inside.call("GET", f"/v2/app/blobs/{digest}")).code == "BLOB_UNKNOWN"
    assert (await inside.call("DELETE", f"/v2/app/blobs/{digest}")).code == "BLOB_UNKNOWN"
    # Another repository has it still.
    assert (await inside.call("GET", f"/v2/other/blobs/{digest}")).body == DATA


async def test_a_blob_that_a_manifest_needs_stays(inside: Inside) -> None:
    image = make_image([b"one"])
    await inside.push("app", "1", image)
    for digest in image.blobs:
        answer = await inside.call("DELETE", f"/v2/app/blobs/{digest}")
        assert (answer.status, answer.code) == (405, "DENIED")
        assert answer.headers["Allow"] == "GET, HEAD"
        assert image.digest in answer.body.decode()
        assert (await inside.call("GET", f"/v2/app/blobs/{digest}")).status == 200
    assert (await inside.call("DELETE", f"/v2/app/manifests/{image.digest}")).status == 202
    for digest in image.blobs:
        assert (await inside.call("DELETE", f"/v2/app/blobs/{digest}")).status == 202
        assert (await inside.call("HEAD", f"/v2/app/blobs/{digest}")).status == 404


async def test_a_manifest_is_not_deleted_as_a_blob(inside: Inside) -> None:
    image = make_image([b"one"])
    await inside.push("app", "1", image)
    answer = await inside.call("DELETE", f"/v2/app/blobs/{image.digest}")
    assert (answer.status, answer.code) == (405, "DENIED")
    assert answer.headers["Allow"] == "GET, HEAD"
    assert (await inside.call("GET", "/v2/app/manifests/1")).status == 200

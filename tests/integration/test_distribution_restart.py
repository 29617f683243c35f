"""Uploads to a real daemon that is stopped, or killed, in their middle."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.daemon import BIN, PATIENCE, Daemon, run_daemon
from tests.fake_images import digest_of, make_image

DATA = os.urandom(3 << 20)
HALF = len(DATA) // 2


@contextmanager
def serving(root: Path, port: int) -> Iterator[Daemon]:
    with run_daemon(root, "--registry-listen", f"127.0.0.1:{port}") as daemon:
        yield daemon


def call(
    daemon: Daemon, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    """One request; underscores in names of headers are dashes."""
    host, _, port = daemon.registry.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        connection.request(method, path, body, named)
        answer = connection.getresponse()
        return answer.status, dict(answer.headers), answer.read()
    finally:
        connection.close()


def test_an_upload_goes_on_after_a_stop(tmp_path: Path, free_port: int) -> None:
    root = tmp_path / "state"
    with serving(root, free_port) as daemon:
        _, headers, _ = call(daemon, "POST", "/v2/app/blobs/uploads/")
        upload = headers["Location"]
        status, headers, _ = call(
            daemon, "PATCH", upload, DATA[:HALF], Content_Range=f"0-{HALF - 1}"
        )
        assert (status, headers["Range"]) == (202, f"0-{HALF - 1}")
        assert daemon.stop() == 0
    with serving(root, free_port) as daemon:
        status, headers, _ = call(daemon, "GET", upload)
        assert (status, headers["Range"]) == (204, f"0-{HALF - 1}")
        digest = digest_of(DATA)
        place = f"{HALF}-{len(DATA) - 1}"
        status, headers, _ = call(
            daemon, "PUT", f"{upload}?digest={digest}", DATA[HALF:], Content_Range=place
        )
        assert status == 201
        assert call(daemon, "GET", headers["Location"])[2] == DATA


def test_an_upload_goes_on_after_a_kill(tmp_path: Path, free_port: int) -> None:
    """Killed while bytes arrive: what it says is here then is here, and is the beginning."""
    root = tmp_path / "state"
    digest = digest_of(DATA)
    with serving(root, free_port) as daemon:
        _, headers, _ = call(daemon, "POST", "/v2/app/blobs/uploads/")
        upload = headers["Location"]
        with socket.create_connection(("127.0.0.1", free_port)) as connection:
            head = f"PATCH {upload} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(DATA)}\r\n"
            connection.sendall(head.encode() + b"\r\n" + DATA[: 2 * HALF - 1])
            while _here(daemon, upload) < HALF:
                pass
            daemon.kill()
    with serving(root, free_port) as daemon:
        here = _here(daemon, upload)
        assert HALF <= here < len(DATA)
        place = f"{here}-{len(DATA) - 1}"
        status, _, _ = call(daemon, "PATCH", upload, DATA[here:], Content_Range=place)
        assert status == 202
        status, headers, _ = call(daemon, "PUT", f"{upload}?digest={digest}")
        assert status == 201
        assert call(daemon, "GET", headers["Location"])[2] == DATA
    check = [str(BIN / "imgd"), "fsck", "--root", str(root), "--verify-content"]
    subprocess.run(check, check=True, capture_output=True, timeout=PATIENCE)


def _here(daemon: Daemon, upload: str) -> int:
    status, headers, _ = call(daemon, "GET", upload)
    assert status == 204
    return int(headers["Range"].partition("-")[2]) + 1


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_what_was_pushed_is_there_after_an_end(tmp_path: Path, free_port: int, end: str) -> None:
    root = tmp_path / "state"
    image = make_image([b"one"])
    headers = {"Content_Type": image.media_type}
    with serving(root, free_port) as daemon:
        for digest, data in image.blobs.items():
            assert call(daemon, "POST", f"/v2/app/blobs/uploads/?digest={digest}", data)[0] == 201
        status, _, _ = call(daemon, "PUT", "/v2/app/manifests/1", image.raw, **headers)
        assert status == 201
        if end == "stop":
            daemon.stop()
        else:
            daemon.kill()
    with serving(root, free_port) as daemon:
        assert call(daemon, "GET", "/v2/app/manifests/1")[2] == image.raw
        for digest, data in image.blobs.items():
            assert call(daemon, "GET", f"/v2/app/blobs/{digest}")[2] == data

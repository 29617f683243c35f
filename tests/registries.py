"""Registries of other people's making, started on a free port of the loopback interface."""

from __future__ import annotations

import base64
import http.client
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.fake_images import FakeImage
from tests.peers import require

__all__ = ["crane_registry", "docker_registry", "push_image"]

PATIENCE = 60.0


@contextmanager
def docker_registry(
    folder: Path, port: int = 0, more: str = "", log: list[str] | None = None
) -> Iterator[str]:
    """Runs Debian's docker-registry with its store in `folder`; yields `127.0.0.1:PORT`.

    Port 0 is one that is free. `more` is YAML to add at the top level of its configuration
    (`auth:`, …). What it says comes into `log`, a line each, and all of it is there at the end.
    """
    program = require("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "config.yml"
    config.write_text(
        "version: 0.1\n"
        "log:\n  level: info\n"
        f"storage:\n  filesystem:\n    rootdirectory: {folder / 'store'}\n"
        "  delete:\n    enabled: true\n"
        f"http:\n  addr: 127.0.0.1:{port}\n{more}"
    )
    command = [str(program), "serve", str(config)]
    with _running(command, r"listening on (127\.0\.0\.1:\d+)", log) as address:
        yield address


@contextmanager
def crane_registry(folder: Path | None = None) -> Iterator[str]:
    """Runs go-containerregistry's registry, blobs in memory or in `folder`; yields its address."""
    where = [f"--disk={folder}"] if folder else []
    command = [str(require("crane")), "registry", "serve", "--address=127.0.0.1:0", *where]
    with _running(command, r"serving on port (\d+)", None) as port:
        yield f"127.0.0.1:{port}"


@contextmanager
def _running(command: list[str], words: str, log: list[str] | None) -> Iterator[str]:
    """Runs a program until the end of the block, and yields what a group of `words` finds in what
    it says when it serves."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    # It goes on talking, and would stop when nobody listened.
    listener = threading.Thread(target=_listen, args=(process, log), daemon=True)
    try:
        found = _wait_for(process, words)
        listener.start()
        yield found
    finally:
        process.terminate()
        process.wait(PATIENCE)
        if listener.ident:
            listener.join(PATIENCE)
        assert process.stderr
        process.stderr.close()


def _listen(process: subprocess.Popen[str], log: list[str] | None) -> None:
    assert process.stderr
    for line in process.stderr:
        if log is not None:
            log.append(line)


def _wait_for(process: subprocess.Popen[str], words: str) -> str:
    """Reads what a program says until a line fits `words`; returns what its group found."""
    assert process.stderr
    said = []
    for line in process.stderr:
        said.append(line)
        if match := re.search(words, line):
            return match[1]
    raise RuntimeError(f"{process.args!r} ended with {process.wait()}: {''.join(said)}")


def push_image(
    address: str, repository: str, image: FakeImage, *tags: str, user: str = "", password: str = ""
) -> None:
    """Pushes an image to a registry without TLS: blobs, manifests by digest, then its tags.

    With a user, as that one (RFC 7617).
    """
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    common = {"Authorization": f"Basic {pair}"} if user else {}
    connection = http.client.HTTPConnection(address, timeout=PATIENCE)

    def call(method: str, path: str, body: bytes = b"", kind: str = "") -> str:
        headers = {**common, "Content-Type": kind or "application/octet-stream"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status in (201, 202), (method, path, answer.status, said)
        return answer.headers.get("Location", "")

    try:
        for digest, data in image.blobs.items():
            place = urlsplit(call("POST", f"/v2/{repository}/blobs/uploads/"))
            query = f"{place.query}&digest={digest}".lstrip("&")
            call("PUT", f"{place.path}?{query}", data)
        for digest, (kind, raw) in image.manifests.items():
            call("PUT", f"/v2/{repository}/manifests/{digest}", raw, kind)
        for tag in tags:
            call("PUT", f"/v2/{repository}/manifests/{tag}", image.raw, image.media_type)
    finally:
        connection.close()

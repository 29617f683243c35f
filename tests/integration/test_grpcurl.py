"""The API from a client that knows nothing of it: grpcurl, through reflection."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.daemon import PATIENCE, Daemon, run_daemon
from tests.peers import require


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with samples in the registry inside."""
    flags = ("--registry-listen", "127.0.0.1:0", "--samples")
    with run_daemon(tmp_path_factory.mktemp("imgd") / "state", *flags) as daemon:
        yield daemon


def grpcurl(daemon: Daemon, *words: str, **request: Any) -> subprocess.CompletedProcess[str]:
    """Calls as the README shows it."""
    command = [str(require("grpcurl")), "-plaintext", "-max-time", f"{PATIENCE:.0f}"]
    if request:
        command += ["-d", json.dumps(request)]
    command += [daemon.address, *words]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def answers(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The messages that it printed, one after the other."""
    assert done.returncode == 0, done.stderr
    decoder, text, found = json.JSONDecoder(), done.stdout.lstrip(), []
    while text:
        message, end = decoder.raw_decode(text)
        found.append(message)
        text = text[end:].lstrip()
    return found


def test_it_lists_and_describes_services(daemon: Daemon) -> None:
    listed = grpcurl(daemon, "list").stdout.split()
    assert {"imgd.v1.ImageService", "imgd.v1.TransferService", "grpc.health.v1.Health"} <= set(
        listed
    )
    methods = grpcurl(daemon, "list", "imgd.v1.TransferService").stdout.split()
    assert "imgd.v1.TransferService.Pull" in methods
    described = grpcurl(daemon, "describe", "imgd.v1.PullRequest").stdout
    assert "string reference = 1;" in described


def test_it_streams_a_pull_of_a_sample_and_lists_it(daemon: Daemon) -> None:
    (answer,) = answers(grpcurl(daemon, "imgd.v1.SystemService/GetInfo"))
    sample = next(
        one for one in answer["info"]["registry_inside"]["samples"] if one.endswith("/python")
    )
    events = [
        one["event"]
        for one in answers(grpcurl(daemon, "imgd.v1.TransferService/Pull", reference=sample))
    ]
    assert "snapshot" in events[0]
    assert all("snapshot" not in event for event in events[1:])
    outcome = events[-1]["finished"]["transfer"]["outcome"]
    assert outcome["pull_result"] == "PULL_RESULT_DOWNLOADED"
    # Several layers of real content.
    assert int(outcome["fetched_bytes"]) > 1_000_000
    layers = {
        node["node_id"]
        for event in events
        for node in event.get("snapshot", event.get("update", {})).get("nodes", [])
        if node["kind"] == "NODE_KIND_LAYER"
    }
    assert len(layers) > 1
    (listed,) = answers(grpcurl(daemon, "imgd.v1.ImageService/ListImages"))
    (image,) = listed["images"]
    assert image["tags"] == [f"{sample}:latest"]
    assert image["target"]["digest"] == outcome["target"]["digest"]


def test_it_shows_errors_with_their_details(daemon: Daemon) -> None:
    done = grpcurl(daemon, "imgd.v1.ImageService/GetImage", image="no.such/image:1")
    assert done.returncode != 0
    assert "Code: NotFound" in done.stderr
    assert '"reason": "IMAGE_NOT_FOUND"' in done.stderr
    assert '"domain": "imgd.dev"' in done.stderr
    done = grpcurl(daemon, "imgd.v1.TransferService/Pull", reference="A B")
    assert "Code: InvalidArgument" in done.stderr
    assert '"field": "reference"' in done.stderr

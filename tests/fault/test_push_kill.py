"""A real daemon killed (SIGKILL) in its pushes and copies: what it was doing is interrupted, and
goes on when resumed; the registry has all that it should, and nothing else.

IMGD_KILL_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgd.v1 import transfer_pb2
from imgd_client import Client
from tests.daemon import PATIENCE, Daemon, run_daemon
from tests.fake_images import FakeImage, make_image, make_index
from tests.hostile import HostileRegistry
from tests.pulling import noise
from tests.real_images import raw_manifest, run
from tests.registries import docker_registry, push_image
from tests.taking import TakingRegistry

SEED = int(os.environ.get("IMGD_KILL_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
PLAIN = "application/vnd.oci.image.layer.v1.tar"
MEBIBYTE = 1 << 20
# What goes in one request, and what in chunks of it (registry/_push.py).
CHUNK = 32 * MEBIBYTE
State = transfer_pb2.TransferState
SMALL = make_image([noise(MEBIBYTE, 1), noise(300_000, 2), b"small"], layer_type=PLAIN)
ARM = make_image([noise(MEBIBYTE, 1), noise(200_000, 3)], layer_type=PLAIN, architecture="arm64")
INDEX = make_index(
    [
        (SMALL, {"os": "linux", "architecture": "amd64"}),
        (ARM, {"os": "linux", "architecture": "arm64"}),
    ]
)
LAYER = str(SMALL.document["layers"][0]["digest"])


@dataclass(frozen=True)
class Start:
    """How a transfer is started: a push of what was pulled, or a copy."""

    kind: str

    def __call__(self, daemon: Daemon, source: str, name: str) -> str:
        with Client(daemon.address) as client:
            if self.kind == "copy":
                return client.transfers.copy(source, name, all_platforms=True, detach=True).name
            client.pull(source, all_platforms=True).result()
            client.images.tag(source, name)
            return client.transfers.push(name, detach=True).name


@pytest.fixture(params=["push", "copy"])
def start(request: pytest.FixtureRequest) -> Start:
    return Start(request.param)


def resume(daemon: Daemon, name: str) -> transfer_pb2.Transfer:
    """Resumes what was interrupted; returns its record at the end."""
    with Client(daemon.address) as client:
        assert client.transfers.get(name).state == State.TRANSFER_STATE_INTERRUPTED
        client.transfers.resume(name)
        *_, last = client.watch(name)
        return last.finished.transfer


# Where it is killed: at a request, after so many bytes of its body.
MOMENTS: dict[str, tuple[str, int]] = {
    "it looks whether a blob is there": ("HEAD .*/blobs/", 0),
    "it begins an upload": ("POST", 0),
    "a layer is on its way": (f"PUT .*{LAYER.replace(':', '%3A')}", 500_000),
    "a layer is sent": (f"PUT .*{LAYER.replace(':', '%3A')}", MEBIBYTE),
    "a manifest below is sent": ("PUT .*/manifests/sha256", 10_000),
    "the name is on its way": ("PUT .*/manifests/1", 20),
    "the name is sent": ("PUT .*/manifests/1", 10_000),
}


@pytest.mark.parametrize(("pattern", "after"), MOMENTS.values(), ids=MOMENTS)
def test_what_was_killed_goes_on(start: Start, pattern: str, after: int, tmp_path: Path) -> None:
    root = tmp_path / "root"
    with HostileRegistry() as source, TakingRegistry() as registry:
        read, name = source.add("from/app", INDEX, "1"), f"{registry.host}/team/app:1"
        stopped = registry.halt(pattern, after)
        with run_daemon(root) as daemon:
            transfer = start(daemon, read, name)
            assert stopped.wait(PATIENCE), pattern
            daemon.kill()
        # Nothing points at what is not whole; a name that was sent in full may be taken.
        if "manifests/1" not in pattern:
            assert registry.tagged("team/app", "1") is None
        registry.release()
        with run_daemon(root) as daemon:
            record = resume(daemon, transfer)
            assert record.state == State.TRANSFER_STATE_SUCCEEDED, record.outcome.failure
            assert record.outcome.target.digest == INDEX.digest
            exactly(registry, INDEX)
            # What was taken before is not sent once more.
            whole = sum(map(len, INDEX.blobs.values()))
            assert registry.received <= whole + MEBIBYTE + 300_000 + 200_000
            if start.kind == "copy":
                assert not [*(root / "content/blobs/sha256").iterdir()]
            else:
                # Nothing holds what was pushed.
                with Client(daemon.address) as client:
                    client.images.remove(read, force=True)
                    client.images.remove(name)
            # And there is nothing left to do.
            count = len(registry.requests)
            with Client(daemon.address) as client:
                again = client.transfers.copy(read, name, all_platforms=True).result().outcome
            assert again.uploaded_bytes == 0
            assert {one.method for one in registry.requests[count:]} == {"HEAD"}
            exactly(registry, INDEX)


def exactly(registry: TakingRegistry, image: FakeImage) -> None:
    """The registry has the image under its name, and nothing else."""
    assert registry.holds("team/app", image, "1")
    blobs, names = registry.content
    assert blobs == set(image.blobs)
    assert names == {("team/app", name) for name in (*image.manifests, "1")}


def test_a_layer_in_chunks_goes_on_after_kills(start: Start, tmp_path: Path) -> None:
    """Killed in the first chunk, in the second, and when all is sent but the end."""
    root, size = tmp_path / "root", CHUNK + 3 * MEBIBYTE
    image = make_image([noise(size)], layer_type=PLAIN)
    (layer,) = (str(one["digest"]) for one in image.document["layers"])
    with HostileRegistry() as source, TakingRegistry() as registry:
        read, name = source.add("from/app", image, "1"), f"{registry.host}/team/app:1"
        transfer = ""
        moments = [
            ("PATCH", 20 * MEBIBYTE, 0),
            ("PATCH", MEBIBYTE, 1),
            (f"PUT .*{layer.replace(':', '%3A')}", 0, 0),
        ]
        for pattern, after, skip in moments:
            stopped = registry.halt(pattern, after, skip=skip)
            with run_daemon(root) as daemon:
                if transfer:
                    with Client(daemon.address) as client:
                        record = client.transfers.get(transfer)
                        assert record.state == State.TRANSFER_STATE_INTERRUPTED
                        client.transfers.resume(transfer)
                else:
                    transfer = start(daemon, read, name)
                assert stopped.wait(PATIENCE), pattern
                daemon.kill()
            assert registry.tagged("team/app", "1") is None
            registry.release()
        with run_daemon(root) as daemon:
            record = resume(daemon, transfer)
            assert record.state == State.TRANSFER_STATE_SUCCEEDED, record.outcome.failure
        exactly(registry, image)


# --- a real registry, and any moment


def watch(daemon: Daemon, name: str, until: Callable[[int], bool]) -> None:
    """Watches until so many bytes have moved, or the end."""
    with Client(daemon.address) as client:
        for event in client.watch(name, min_interval=0.0):
            part = event.snapshot if event.HasField("snapshot") else event.update
            if until(part.progress.moved_bytes):
                return


def test_kills_at_any_moment_before_docker_registry(start: Start, tmp_path: Path) -> None:
    print(f"IMGD_KILL_SEED={SEED}")
    chance = random.Random(SEED)
    root = tmp_path / "root"
    layers = [chance.randbytes(size * MEBIBYTE) for size in (12, 8, 5, 1)]
    image = make_image(layers, layer_type=PLAIN)
    size = sum(map(len, image.blobs.values()))
    with docker_registry(tmp_path / "from") as source, docker_registry(tmp_path / "to") as target:
        push_image(source, "from/app", image, "1")
        read, name, transfer, kills = f"{source}/from/app:1", f"{target}/team/app:1", "", 0
        for _ in range(5):
            with run_daemon(root) as daemon:
                with Client(daemon.address) as client:
                    if not transfer:
                        transfer = start(daemon, read, name)
                    else:
                        state = client.transfers.get(transfer).state
                        if state == State.TRANSFER_STATE_SUCCEEDED:
                            break
                        assert state == State.TRANSFER_STATE_INTERRUPTED
                        client.transfers.resume(transfer)
                moved = chance.randrange(size // 3)
                watch(daemon, transfer, lambda got, wanted=moved: got >= wanted)  # type: ignore[misc]
                daemon.kill()
                kills += 1
        with run_daemon(root) as daemon, Client(daemon.address) as client:
            if client.transfers.get(transfer).state != State.TRANSFER_STATE_SUCCEEDED:
                record = resume(daemon, transfer)
                assert record.state == State.TRANSFER_STATE_SUCCEEDED, record.outcome.failure
            assert raw_manifest(name) == image.raw
            # skopeo fetches and verifies every byte.
            run("skopeo", "copy", "--src-tls-verify=false", f"docker://{name}",
                f"oci:{tmp_path / 'layout'}:it")  # fmt: skip
            assert list(client.registry.tags(name.rpartition(":")[0])) == ["1"]
            assert list(client.registry.repositories(target)) == ["team/app"]

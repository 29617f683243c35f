"""A pull from docker-registry over a line that is cut again and again, by a daemon that is killed
(SIGKILL) as often: in all it fetches little more than the image has.

IMGD_CUT_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
import threading
from pathlib import Path
from typing import Literal, TypeAlias

import pytest

from imgd.v1 import transfer_pb2
from imgd_client import Client, ImgdError
from tests.cutting import Line, cutting
from tests.daemon import PATIENCE, Daemon, imgd, run_daemon
from tests.fake_images import make_image
from tests.registries import docker_registry, push_image

SEED = int(os.environ.get("IMGD_CUT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
How: TypeAlias = Literal["kill", "reset", "close"]
MEBIBYTE = 1 << 20
LAYERS = (96, 40, 16, 8)
# The last one is survived.
CUTS: tuple[How, ...] = (
    "kill",
    "reset",
    "close",
    "kill",
    "kill",
    "reset",
    "close",
    "kill",
    "kill",
    "reset",
)
# What may be under way when the daemon is killed: sent, and not yet told of as done.
UNDER_WAY = MEBIBYTE
NAME = "library/app"
State = transfer_pb2.TransferState


class Watcher:
    """Watches a transfer until it or its daemon ends."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        self._changed = threading.Condition()
        self._moved, self._over = 0, False
        self._thread = threading.Thread(target=self._watch, args=(daemon.address, name))
        self._thread.start()

    def _watch(self, address: str, name: str) -> None:
        try:
            with Client(address, patience=0.01) as client:
                for event in client.watch(name, min_interval=0.0):
                    part = event.snapshot if event.HasField("snapshot") else event.update
                    with self._changed:
                        self._moved = max(self._moved, part.progress.moved_bytes)
                        self._changed.notify_all()
        except ImgdError:
            pass  # it was killed
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def until(self, moved: int) -> None:
        """Waits until it says that so many bytes came in this run."""
        with self._changed:
            came = self._changed.wait_for(lambda: self._over or self._moved >= moved, PATIENCE)
            assert came, f"only {self._moved} of {moved} bytes are told of"
            assert not self._over, "it ended before"

    def join(self) -> None:
        """Waits for the end."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def begin(daemon: Daemon, name: str, reference: str) -> str:
    """Starts the pull, or resumes it where it was interrupted; returns its name."""
    with Client(daemon.address) as client:
        if not name:
            return client.transfers.start_pull(reference).name
        assert client.transfers.get(name).state == State.TRANSFER_STATE_INTERRUPTED
        return client.transfers.resume(name).name


def cut_until_a_kill(
    cuts: list[tuple[How, int]], line: Line, daemon: Daemon, watcher: Watcher
) -> bool:
    """Cuts the line after so many bytes each; says whether it ended with a kill."""
    before = line.sent
    while cuts:
        how, more = cuts.pop(0)
        cut = line.at(more, "hold" if how == "kill" else how)
        cut.wait()
        if how == "kill":
            watcher.until(line.sent - before - UNDER_WAY)
            daemon.kill()
            cut.go_on()
            return True
    return False


@pytest.mark.parametrize(
    "flags", [(), ("--range-threshold", "4000000", "--range-size", "1048576")], ids=["", "parts"]
)
def test_ten_cuts_cost_no_more_than_a_twentieth(tmp_path: Path, flags: tuple[str, ...]) -> None:
    print(f"IMGD_CUT_SEED={SEED}")
    chance = random.Random(SEED)
    image = make_image(
        [chance.randbytes(size * MEBIBYTE) for size in LAYERS],
        layer_type="application/vnd.oci.image.layer.v1.tar",
    )
    size = sum(map(len, image.blobs.values())) + len(image.raw)
    root = tmp_path / "root"
    # At random places, and so that all of them come before the end.
    cuts = [(how, chance.randrange(size // 11)) for how in CUTS]
    with docker_registry(tmp_path / "registry") as registry, cutting(registry) as line:
        push_image(registry, NAME, image, "1")
        name = ""
        while cuts:
            with run_daemon(root, "--max-concurrent-blobs", "3", *flags) as daemon:
                name = begin(daemon, name, f"{line.address}/{NAME}:1")
                watcher = Watcher(daemon, name)
                killed = cut_until_a_kill(cuts, line, daemon, watcher)
                watcher.join()
                if not killed:
                    with Client(daemon.address) as client:
                        record = client.transfers.get(name)
                    assert record.state == State.TRANSFER_STATE_SUCCEEDED, record.outcome.failure
                    assert record.outcome.target.digest == image.digest
        print(f"{line.sent / size:.4f} × the image's bytes")
        assert line.sent <= 1.05 * size, f"{line.sent / size:.3f} with seed {SEED}"
    for digest, data in image.blobs.items():
        assert (root / "content/blobs" / digest.replace(":", "/")).read_bytes() == data
    assert imgd("fsck", "--root", str(root), "--verify-content").returncode == 0

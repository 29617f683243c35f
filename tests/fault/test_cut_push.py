"""A push to docker-registry, and a copy between two, over lines that are cut again and again.

IMGD_CUT_SEED repeats a run.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from imgd.v1 import errors_pb2, transfer_pb2
from imgd_client import Client
from tests.cutting import Line, cutting
from tests.daemon import run_daemon
from tests.fake_images import FakeImage, make_image
from tests.real_images import raw_manifest, run
from tests.registries import docker_registry, push_image

SEED = int(os.environ.get("IMGD_CUT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
MEBIBYTE = 1 << 20
# The first one goes in chunks, the others in one request each.
LAYERS = (40, 12, 5)
# As often as a blob is tried in a row, but one: docker-registry begins anew after each cut, for
# what it signs for an upload is good only for as far as it said that the upload was.
CUTS = 4
HOW: tuple[Literal["reset", "close"], ...] = ("reset", "close")
State = transfer_pb2.TransferState


@dataclass
class Lines:
    """An image in one docker-registry, another one without it, and a line to each."""

    image: FakeImage
    reading: Line
    writing: Line
    target: str

    @property
    def read(self) -> str:
        return f"{self.reading.address}/from/app:1"

    @property
    def written(self) -> str:
        return f"{self.writing.address}/team/app:1"

    def check(self, folder: Path) -> None:
        """The image is there: skopeo fetches and verifies every byte."""
        assert raw_manifest(f"{self.target}/team/app:1") == self.image.raw
        layout = f"oci:{folder / 'layout'}:it"
        run(
            "skopeo", "copy", "--src-tls-verify=false", f"docker://{self.target}/team/app:1", layout
        )


@pytest.fixture
def chance() -> random.Random:
    print(f"IMGD_CUT_SEED={SEED}")
    return random.Random(SEED)


@pytest.fixture
def lines(tmp_path: Path, chance: random.Random) -> Iterator[Lines]:
    image = make_image(
        [chance.randbytes(size * MEBIBYTE) for size in LAYERS],
        layer_type="application/vnd.oci.image.layer.v1.tar",
    )
    with (
        docker_registry(tmp_path / "from") as source,
        docker_registry(tmp_path / "to") as target,
        cutting(source) as reading,
        cutting(target) as writing,
    ):
        push_image(source, "from/app", image, "1")
        yield Lines(image, reading, writing, target)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with run_daemon(tmp_path / "root") as daemon, Client(daemon.address) as client:
        yield client


def begin(client: Client, lines: Lines, kind: str) -> str:
    """Starts a push of what is here, or a copy; returns its name."""
    transfers = client.transfers
    if kind == "copy":
        return transfers.copy(lines.read, lines.written, detach=True).name
    return transfers.push(lines.read, lines.written, detach=True).name


def ended(client: Client, name: str) -> transfer_pb2.Transfer:
    """A transfer's record at its end."""
    *_, last = client.watch(name)
    return last.finished.transfer


@pytest.mark.parametrize("kind", ["push", "copy"])
def test_lines_that_break_at_any_byte(
    kind: str, client: Client, lines: Lines, chance: random.Random, tmp_path: Path
) -> None:
    if kind == "push":
        client.pull(lines.read).result()
    # So close to each other that all are met.
    near = sum(LAYERS) * MEBIBYTE // (CUTS + 1)
    places = [number * near + chance.randrange(near) for number in range(CUTS)]
    cuts = [
        lines.writing.at(place, chance.choice(HOW), up=True)
        if kind == "push" or number % 2
        else lines.reading.at(place, chance.choice(HOW))
        for number, place in enumerate(places)
    ]
    record = ended(client, begin(client, lines, kind))
    assert record.state == State.TRANSFER_STATE_SUCCEEDED, record.outcome.failure
    assert all(one.reached for one in cuts)
    lines.check(tmp_path)


@pytest.mark.parametrize("kind", ["push", "copy"])
def test_a_line_that_lets_no_layer_through(
    kind: str, client: Client, lines: Lines, chance: random.Random, tmp_path: Path
) -> None:
    """It is given up, with one clear error; and goes on when the line is well."""
    if kind == "push":
        client.pull(lines.read).result()
    step = 2 * MEBIBYTE
    cuts = [lines.writing.at(step * one, chance.choice(HOW), up=True) for one in range(1, 100)]
    name = begin(client, lines, kind)
    record = ended(client, name)
    assert record.state == State.TRANSFER_STATE_FAILED
    failure = record.outcome.failure
    assert (failure.reason, failure.origin, failure.host) == (
        errors_pb2.ErrorReason.ERROR_REASON_REGISTRY_UNREACHABLE,
        errors_pb2.FailureOrigin.FAILURE_ORIGIN_DESTINATION,
        lines.writing.address,
    )
    # A few attempts of each blob.
    assert sum(one.reached for one in cuts) < 30
    lines.writing.mend()
    client.transfers.resume(name)
    record = ended(client, name)
    assert record.state == State.TRANSFER_STATE_SUCCEEDED, record.outcome.failure
    lines.check(tmp_path)

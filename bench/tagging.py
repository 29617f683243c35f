"""Tag and untag, durably, by 16 callers at once, beside containerd's Images/Create and Delete.

Both stores lie on the disk of the cache, and both answer a change when it is synced: bbolt syncs
each transaction, SQLite's log is synced once for all calls that wait. Goal: 1.5 times as many calls
a second.
"""

from __future__ import annotations

import contextlib
import functools
import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.common import Sample
from bench.fill import digest
from bench.listing import NAMESPACE, containerd, imgd, names, python
from bench.rounds import Place, Scenario, Subject, Target
from bench.wire import descriptor, field

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["SCENARIOS"]

CALLERS, SECONDS, IMAGES = 16, 4.0, 200


def _imgd_steps(caller: int) -> list[tuple[str, str]]:
    image, tag = names(caller)[0], f"registry.example/bench/new{caller}:v1"
    request = field(1, image.encode()) + field(2, tag.encode())
    return [
        ("/imgd.v1.ImageService/TagImage", request.hex()),
        ("/imgd.v1.ImageService/UntagImage", field(1, tag.encode()).hex()),
    ]


def _containerd_steps(caller: int) -> list[tuple[str, str]]:
    tag = f"registry.example/bench/new{caller}:v1".encode()
    target = descriptor(digest(f"manifest {caller}"))
    return [
        (
            "/containerd.services.images.v1.Images/Create",
            field(1, field(1, tag) + field(3, target)).hex(),
        ),
        ("/containerd.services.images.v1.Images/Delete", field(1, tag).hex()),
    ]


def _change(
    target: str,
    steps: Callable[[int], list[tuple[str, str]]],
    metadata: list[list[str]],
    _: Path,
) -> Sample:
    job = {
        "target": target,
        "metadata": metadata,
        "seconds": SECONDS,
        "callers": [steps(caller) for caller in range(CALLERS)],
    }
    found: dict[str, Any] = json.loads(python("bench.grpc_change", input=json.dumps(job)))
    more = {
        "calls/s": found["calls"] / found["seconds"],
        "ms of a call": statistics.median(found["latencies"]) * 1000,
    }
    return Sample(found["seconds"] / found["calls"], more=more)


@contextlib.contextmanager
def _scenario(_: Path, folder: Path) -> Iterator[Scenario]:
    inside = [["containerd-namespace", NAMESPACE]]
    with (
        imgd(folder, IMAGES) as ours,
        containerd(folder, IMAGES, cri=False) as theirs,
    ):
        tag = functools.partial(_change, ours, _imgd_steps, [])
        peer = functools.partial(_change, theirs, _containerd_steps, inside)
        yield Scenario(
            {"images": IMAGES, "callers": CALLERS},
            [Subject("imgd", "imgd", tag, True), Subject("containerd 1.6", "peer", peer, True)],
            # At least 1.5 times as many calls a second.
            (Target("imgd", round(1 / 1.5, 3), "containerd 1.6"),),
            "Tag and untag in turn, each call durable when it is answered. Seconds: of a call, at "
            "the rate of all callers together (1 / calls a second).",
        )


SCENARIOS: dict[str, Place] = {"tag": _scenario}

"""Tag and untag, durably, by 16 callers at once, beside containerd's Images/Create and Delete.

Both stores lie on the disk of the cache, and both answer a change when it is synced: bbolt syncs
each transaction, SQLite's log is synced once for all calls that wait. Goal: 1.5 times as many calls
a second.
"""

from __future__ import annotations

import datetime
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from bench import report
from bench.common import RESULTS, log, settle
from bench.fill import digest
from bench.listing import NAMESPACE, containerd, imgd, names, python
from bench.wire import descriptor, field

__all__ = ["SCENARIOS", "run"]

SCENARIOS = ("tag",)
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


def run(cache: Path, rounds: int) -> Path:
    """Measures, and returns the table's path."""
    rates: dict[str, list[float]] = {"imgd": [], "containerd": []}
    medians: dict[str, list[float]] = {"imgd": [], "containerd": []}
    inside = [["containerd-namespace", NAMESPACE]]
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        folder = Path(scratch)
        with imgd(folder, IMAGES) as ours, containerd(folder, IMAGES, cri=False) as theirs:
            for turn in range(rounds):
                log(f"tag: round {turn + 1} of {rounds}")
                for name, target, steps, metadata in (
                    ("imgd", ours, _imgd_steps, ()),
                    ("containerd", theirs, _containerd_steps, inside),
                ):
                    settle()
                    job = {
                        "target": target,
                        "metadata": metadata,
                        "seconds": SECONDS,
                        "callers": [steps(caller) for caller in range(CALLERS)],
                    }
                    found: dict[str, Any] = json.loads(
                        python("bench.grpc_change", input=json.dumps(job))
                    )
                    rates[name].append(found["calls"] / found["seconds"])
                    medians[name].append(statistics.median(found["latencies"]))
    return _write(rounds, rates, medians)


def _write(rounds: int, rates: dict[str, list[float]], medians: dict[str, list[float]]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()
    about = {"time": now, "commit": report.commit(), "machine": report.machine()}
    path = RESULTS / "tag"
    document = {**about, "callers": CALLERS, "calls_per_second": rates, "median_seconds": medians}
    path.with_suffix(".json").write_text(json.dumps(document, indent=1) + "\n")
    ratios = [ours / theirs for ours, theirs in zip(*rates.values(), strict=True)]
    ratio = statistics.median(rates["imgd"]) / statistics.median(rates["containerd"])
    lines = ["| | calls/s | median ms |", "| --- | ---: | ---: |"]
    lines += [
        f"| {name} | {statistics.median(rates[name]):.0f} "
        f"| {statistics.median(medians[name]) * 1000:.1f} |"
        for name in rates
    ]
    machine = ", ".join(f"{key} {value}" for key, value in report.machine().items())
    path.with_suffix(".md").write_text(
        f"# tag\n\n{now}, commit {about['commit']}, {rounds} rounds in turn. "
        f"Machine: {machine}.\n\n"
        f"Tag and untag in turn, {CALLERS} callers, each call durable when it is answered: imgd "
        f"makes **{ratio:.2f} times** as many as containerd ({min(ratios):.2f} to "
        f"{max(ratios):.2f} within rounds; goal 1.5).\n\n" + "\n".join(lines) + "\n"
    )
    return path.with_suffix(".md")

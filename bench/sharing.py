"""What many callers share: one pull by fifty, one that is watched, one that brings nothing new."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.common import COMMAND_TIMEOUT, ROOT, BenchError, PeakMemory, Sample
from bench.images import MANIFEST_TYPE
from bench.pull import LATENCY, MEMORY, Origin, call, facts, imgd, origin
from bench.rounds import Place, Scenario, Subject, Target
from bench.shaping import Shaper, shaped

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SCENARIOS"]

CALLERS, SHARED_SECONDS = 50, 5.0
WATCHERS, WATCHED_SECONDS, INTERVAL = (100, 1000), 30.0, 1.0
# How much later than the interval an event may be.
LATE_MS = 250.0
# Pulls again, of which the median counts.
AGAIN = 20
# What beside the layers counts as once: the manifest, the config, the heads.
ONCE = 1.001


# --- single flight -----------------------------------------------------------------------------


def _callers(count: int, proxy: Shaper, source: Origin, folder: Path) -> Sample:
    with imgd(folder) as (address, pid):
        proxy.passed()
        sample = call(address, pid, source.reference, "--callers", str(count))[0]
        served, _ = proxy.passed()
    return Sample(sample.seconds, sample.memory, {"× served": served / source.image.size})


@contextlib.contextmanager
def _single_flight(cache: Path, _: Path) -> Iterator[Scenario]:
    with (
        origin(cache, "app") as straight,
        shaped(straight.address, LATENCY, total=straight.image.size / SHARED_SECONDS) as proxy,
    ):
        source = Origin(proxy.address, straight.image)
        one, many = "imgd: one caller", f"imgd: {CALLERS} callers"
        yield Scenario(
            {**facts(source.image), "shaped_to_seconds": SHARED_SECONDS},
            [
                Subject(one, "imgd", functools.partial(_callers, 1, proxy, source), True),
                Subject(many, "imgd", functools.partial(_callers, CALLERS, proxy, source), True),
            ],
            (
                Target(many, 1.1, one),
                Target(many, ONCE, reading="× served"),
                Target(many, MEMORY, reading="memory"),
            ),
            "All callers pull the same image at once, over gRPC; the time ends with the last. "
            "Served: the bytes that the registry sent, heads included, to those of the layers.",
            rounds=3,
            warm_up=False,
        )


# --- watchers ----------------------------------------------------------------------------------


def _watched(watchers: int, source: Origin, folder: Path) -> Sample:
    with imgd(folder) as (address, pid), PeakMemory(pid) as memory:
        command = [sys.executable, "-m", "bench.grpc_watch", address, source.reference]
        done = subprocess.run(
            [*command, str(watchers), str(INTERVAL)],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            cwd=ROOT,
            check=False,
        )
    if done.returncode:
        raise BenchError(f"watching failed\n{done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout)
    more = {
        "late p99 ms": max(0.0, found["late_p99"] - INTERVAL) * 1000,
        "ends missed": found["missed"],
        "events": found["events"],
    }
    return Sample(found["seconds"], memory.peak, more if watchers else {})


@contextlib.contextmanager
def _watchers(cache: Path, _: Path) -> Iterator[Scenario]:
    with (
        origin(cache, "app") as straight,
        shaped(straight.address, LATENCY, total=straight.image.size / WATCHED_SECONDS) as proxy,
    ):
        source = Origin(proxy.address, straight.image)
        alone = "imgd: unwatched"
        subjects = [Subject(alone, "imgd", functools.partial(_watched, 0, source), True)]
        targets = []
        for count, most in zip(WATCHERS, (1.1, 1.25), strict=True):
            row = f"imgd: {count} watchers"
            subjects.append(Subject(row, "imgd", functools.partial(_watched, count, source), True))
            targets += [
                Target(row, most, alone),
                Target(row, LATE_MS, reading="late p99 ms"),
                Target(row, 0, reading="ends missed"),
                Target(row, MEMORY, reading="memory"),
            ]
        yield Scenario(
            {
                **facts(source.image),
                "shaped_to_seconds": WATCHED_SECONDS,
                "interval_seconds": INTERVAL,
            },
            subjects,
            tuple(targets),
            "Seconds: from the pull's start to its end, by its record. Late: how much longer than "
            "the interval it took from one event of a watcher to the next, or from the pull's end "
            "to its `finished`. The watchers are one process on the same machine.",
            rounds=2,
            warm_up=False,
        )


# --- again ---------------------------------------------------------------------------------------


def _head(source: Origin, _: Path) -> Sample:
    """A HEAD of the manifest on a connection that is there already."""
    seconds = []
    connection = http.client.HTTPConnection(source.address)
    for _try in range(AGAIN + 1):
        start = time.perf_counter()
        connection.request(
            "HEAD", f"/v2/{source.repository}/manifests/latest", headers={"Accept": MANIFEST_TYPE}
        )
        with connection.getresponse() as response:
            response.read()
        seconds.append(time.perf_counter() - start)
    connection.close()
    return Sample(statistics.median(seconds[1:]))


def _again(proxy: Shaper, source: Origin, folder: Path) -> Sample:
    with imgd(folder) as (address, pid):
        # Twice: what is warm after the first is so for all that follow.
        call(address, pid, source.reference, "--times", "2")
        proxy.passed()
        samples = call(address, pid, source.reference, "--times", str(AGAIN))
        _, requests = proxy.passed()
    seconds = statistics.median(sample.seconds for sample in samples)
    over = seconds - _head(source, folder).seconds
    more = {"requests": len(requests) / AGAIN, "ms over a HEAD": over * 1000}
    return Sample(seconds, samples[0].memory, more)


@contextlib.contextmanager
def _repull(cache: Path, _: Path) -> Iterator[Scenario]:
    with origin(cache, "app") as straight, shaped(straight.address, LATENCY) as proxy:
        source = Origin(proxy.address, straight.image)
        row = "imgd: pull, nothing changed"
        yield Scenario(
            {**facts(source.image), "latency_ms": LATENCY * 1000},
            [
                Subject("floor: HEAD", "floor", functools.partial(_head, source)),
                Subject(row, "imgd", functools.partial(_again, proxy, source)),
            ],
            (
                Target(row, 1, reading="requests"),
                Target(row, 10, reading="ms over a HEAD"),
                Target(row, MEMORY, reading="memory"),
            ),
            f"Seconds: the median of {AGAIN} in a row, over gRPC, by a daemon that is warm. The "
            "registry asks for no token.",
            rounds=5,
        )


SCENARIOS: dict[str, Place] = {
    "repull": _repull,
    "single-flight": _single_flight,
    "watchers": _watchers,
}

"""Saving and loading an image, beside podman."""

from __future__ import annotations

import contextlib
import functools
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from bench import peers
from bench.common import COMMAND_TIMEOUT, BenchError, PeakMemory, Sample, need, timed
from bench.pull import MEMORY, Origin, facts, imgd, origin
from bench.rounds import Place, Scenario, Subject, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SCENARIOS"]


def _written(archive: Path, source: Origin) -> None:
    if archive.stat().st_size < source.image.size:
        raise BenchError("the archive is too small to hold the image")


def _imgd_save(address: str, pid: int, source: Origin, folder: Path) -> Sample:
    archive = folder / "image.tar"
    command = [need("imgctl"), "--address", address, "save", "-o", str(archive), source.reference]
    with PeakMemory(pid) as memory:
        sample = timed(command)
    _written(archive, source)
    return Sample(sample.seconds, memory.peak)


def _podman_save(storage: Path, source: Origin, folder: Path) -> Sample:
    archive = folder / "image.tar"
    save = ("save", "--quiet", "-o", str(archive), source.reference)
    sample = timed(peers.podman(storage, *save))
    _written(archive, source)
    return sample


def _imgd_load(archive: Path, folder: Path) -> Sample:
    with imgd(folder) as (address, pid), PeakMemory(pid) as memory:
        imgctl = [need("imgctl"), "--address", address]
        sample = timed([*imgctl, "load", "-i", str(archive)])
        shown = subprocess.run(
            [*imgctl, "images", "-q"],
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    if not shown.stdout.strip():
        raise BenchError("nothing was loaded")
    return Sample(sample.seconds, memory.peak)


def _podman_load(archive: Path, folder: Path) -> Sample:
    return timed(peers.podman(folder / "storage", "load", "--quiet", "-i", str(archive)))


@contextlib.contextmanager
def _save(cache: Path, folder: Path) -> Iterator[Scenario]:
    """Both have the image already, podman unpacked, as it keeps it."""
    storage = folder / "podman"
    with origin(cache, "app") as source, imgd(folder) as (address, pid):
        timed([need("imgctl"), "--address", address, "pull", source.reference])
        with contextlib.suppress(BenchError):  # then its rows say so
            timed(peers.podman(storage, "pull", "--quiet", "--tls-verify=false", source.reference))
        row, peer = "imgd: imgctl save", "podman save"
        save = functools.partial(_podman_save, storage, source)
        subjects = [
            Subject(row, "imgd", functools.partial(_imgd_save, address, pid, source)),
            Subject(peer, "peer", save, version=peers.podman_version),
        ]
        yield Scenario(
            facts(source.image),
            subjects,
            (Target(row, 0.5, peer), Target(row, MEMORY, reading="memory")),
            "podman makes its archive, of docker's form, from the unpacked files; imgd one of both "
            "forms from the layers as they came. "
            "Memory: the largest PSS seen (imgd: of the daemon).",
            rounds=3,
        )


@contextlib.contextmanager
def _load(cache: Path, folder: Path) -> Iterator[Scenario]:
    """One archive, which skopeo wrote: of docker's form, with gzip layers, as few as possible."""
    archive = folder / "app.tar"
    with origin(cache, "app") as source:
        layout = f"oci:{source.image.layout}:latest"
        timed(
            [need("skopeo"), "copy", "--quiet", layout, f"oci-archive:{archive}:bench/app:latest"]
        )
        row, peer = "imgd: imgctl load", "podman load"
        load = functools.partial(_podman_load, archive)
        yield Scenario(
            facts(source.image),
            [
                Subject(row, "imgd", functools.partial(_imgd_load, archive), True),
                Subject(peer, "peer", load, False, peers.podman_version),
            ],
            (Target(row, 0.5, peer), Target(row, MEMORY, reading="memory")),
            "An OCI archive with gzip layers, into an empty store. podman unpacks what it loads, "
            "imgd does not until somebody asks. Memory: the largest PSS seen (imgd: of the "
            "daemon).",
            rounds=3,
        )


SCENARIOS: dict[str, Place] = {"save": _save, "load": _load}

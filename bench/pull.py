"""Pulls without unpacking: imgd, its peers and the floors in turn, round after round."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import floors, peers
from bench.common import (
    COMMAND_TIMEOUT,
    ROOT,
    BenchError,
    PeakMemory,
    Sample,
    log,
    need,
    serving,
    settle,
    timed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.images import Image

REPOSITORY = "library/{image}"

# The scenarios: a name, and the image that is pulled.
SCENARIOS = {
    "pull-app": "app",
    "pull-many": "many",
    "pull-huge": "huge",
    "pull-files": "files",
    "pull-app-zstd": "app-zstd",
    "pull-files-zstd": "files-zstd",
}


@dataclass(frozen=True)
class Context:
    """What one run of a subject works with. `scratch` is empty, and dropped afterwards."""

    address: str
    image: Image
    scratch: Path

    @property
    def repository(self) -> str:
        """The image's repository."""
        return REPOSITORY.format(image=self.image.name)

    @property
    def reference(self) -> str:
        """The image's name."""
        return f"{self.address}/{self.repository}:latest"

    @property
    def digests(self) -> list[str]:
        """The layers."""
        return [layer.digest for layer in self.image.layers]


@dataclass(frozen=True)
class Subject:
    """What is measured."""

    name: str
    kind: str  # "imgd", "peer" or "floor"
    # Whether what it leaves behind survives a power cut.
    durable: bool
    run: Callable[[Context], Sample]
    # Whether the image is in its scratch folder afterwards; only curl keeps nothing.
    keeps: bool = True
    version: Callable[[], str] = lambda: ""


# --- imgd ------------------------------------------------------------------------------------


@contextlib.contextmanager
def _imgd(context: Context) -> Iterator[tuple[str, int]]:
    """A daemon with a fresh root, started before the clock; yields its address and process."""
    socket = context.scratch / "s.sock"
    address = f"unix:{socket}"
    command = [need("imgd"), "serve", "--root", str(context.scratch / "root"), "--listen", address]
    with serving(command, socket, context.scratch / "imgd.log") as process:
        yield address, process.pid


def _imgd_pull(context: Context) -> Sample:
    """What a person types: Python and gRPC start, too."""
    with _imgd(context) as (address, pid), PeakMemory(pid) as memory:
        # No terminal, so that it prints plain lines.
        sample = timed([need("imgctl"), "--address", address, "pull", context.reference])
    return Sample(sample.seconds, memory.peak)


def _imgd_call(context: Context) -> Sample:
    """What a service that is connected sees."""
    command = [sys.executable, "-m", "bench.grpc_pull"]
    with (
        _imgd(context) as (address, pid),
        subprocess.Popen(
            [*command, address, context.reference],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        ) as client,
    ):
        assert client.stdout
        ready = client.stdout.readline()
        with PeakMemory(pid) as memory:
            try:
                out, errors = client.communicate("\n" if ready else "", COMMAND_TIMEOUT)
            except subprocess.TimeoutExpired:
                client.kill()
                raise BenchError("the pull over gRPC did not end") from None
    if client.returncode:
        raise BenchError(f"the pull over gRPC failed: {errors.strip()[-500:]}")
    return Sample(float(out), memory.peak)


# --- peers -----------------------------------------------------------------------------------


def _program(peer: peers.Program, context: Context) -> Sample:
    values = {
        "reference": context.reference,
        "registry": context.address,
        "out": str(context.scratch / "out"),
    }
    return timed([need(peer.program), *(word.format(**values) for word in peer.arguments)])


def _daemon(peer: peers.Daemon, context: Context) -> Sample:
    server = [need(peer.server), "--config", str(peers.containerd_config(context.scratch))]
    socket = context.scratch / "c.sock"
    client = [need(peer.client), "--address", str(socket)]
    client += [word.format(reference=context.reference) for word in peer.arguments]
    with serving(server, socket, context.scratch / "containerd.log") as process:
        # It listens a little before it answers.
        timed([*client[:3], "version"])
        with PeakMemory(process.pid) as memory:
            sample = timed(client)
    # ctr itself moves the bytes into the daemon, so that its memory is part of the price.
    return Sample(sample.seconds, memory.peak + sample.memory)


# --- floors ----------------------------------------------------------------------------------


def _curl(context: Context) -> Sample:
    return timed([need("curl"), *floors.curl(context.address, context.repository, context.digests)])


def _fetch(sync: bool, context: Context) -> Sample:
    command = [sys.executable, "-m", "bench.floors", context.address, context.repository]
    command += [str(context.scratch), "1" if sync else "0", *context.digests]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise BenchError(f"fetch: {done.stderr[-500:]}")
    seconds, memory = done.stdout.split()
    return Sample(float(seconds), int(memory))


def subjects() -> list[Subject]:
    """Everything that can pull, in the order of a round."""
    found = [
        Subject("floor: curl", "floor", False, _curl, keeps=False),
        Subject("floor: fetch", "floor", True, functools.partial(_fetch, True)),
        Subject("floor: fetch without fsync", "floor", False, functools.partial(_fetch, False)),
        Subject("imgd: gRPC call", "imgd", True, _imgd_call),
        Subject("imgd: imgctl pull", "imgd", True, _imgd_pull),
    ]
    every: list[peers.Program | peers.Daemon] = [*peers.PROGRAMS, *peers.DAEMONS]
    for peer in every:
        run: Callable[[Context], Sample]
        if isinstance(peer, peers.Program):
            run = functools.partial(_program, peer)
        else:
            run = functools.partial(_daemon, peer)
        found.append(
            Subject(
                peer.name, "peer", peer.durable, run, version=functools.partial(peers.version, peer)
            )
        )
    return found


# --- rounds ----------------------------------------------------------------------------------


@dataclass
class Measured:
    """What came of a subject: samples, or why there are none."""

    subject: Subject
    samples: list[Sample]
    failure: str = ""


def measure(
    chosen: list[Subject], address: str, image: Image, scratch: Path, rounds: int
) -> list[Measured]:
    """Runs every subject once a round, in turn. The first round warms up and does not count."""
    results = [Measured(subject, []) for subject in chosen]
    for number in range(rounds + 1):
        for result in results:
            if result.failure:
                continue
            subject = result.subject
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir(parents=True)
            context = Context(address, image, scratch)
            settle()
            try:
                sample = subject.run(context)
                if subject.keeps and (kept := _stored(scratch)) < image.size:
                    raise BenchError(f"only {kept} of {image.size} bytes are there")
            except (BenchError, subprocess.SubprocessError, OSError, ValueError) as error:
                result.failure = str(error) or repr(error)
                log(f"MISSING: {subject.name}: {result.failure}")
                continue
            load = os.getloadavg()[0]
            log(
                f"round {number}{' (warm-up)' if not number else ''}: {subject.name}:"
                f" {sample.seconds:.3f} s, {sample.memory / 1e6:.0f} MB (load {load:.1f})"
            )
            if number:
                result.samples.append(sample)
    shutil.rmtree(scratch, ignore_errors=True)
    return results


def _stored(folder: Path) -> int:
    return sum(
        (Path(here) / name).lstat().st_size for here, _, names in os.walk(folder) for name in names
    )

"""Pulls without unpacking: imgd, its peers and the floors in turn, round after round."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import floors, images, peers
from bench.common import (
    COMMAND_TIMEOUT,
    ROOT,
    BenchError,
    PeakMemory,
    Sample,
    log,
    need,
    registry,
    serving,
    timed,
)
from bench.rounds import Place, Scenario, Subject, Target
from bench.shaping import shaped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.images import Image

__all__ = [
    "MEMORY",
    "SCENARIOS",
    "Origin",
    "call",
    "containerd",
    "facts",
    "imgctl",
    "imgd",
    "origin",
    "peer_rows",
]

# The most that any pull may take, in bytes of PSS.
MEMORY = 200e6
# A network: the round trip in seconds, and the bytes a second of a connection.
LATENCY, RATE = 0.020, 50e6
# Connections of the floor of huge: as many as the processors and the rate let be of use.
RANGES = 8


@dataclass(frozen=True)
class Origin:
    """An image, and the registry (or the proxy before it) that has it."""

    address: str
    image: Image

    @property
    def repository(self) -> str:
        """The image's repository."""
        return f"library/{self.image.name}"

    @property
    def reference(self) -> str:
        """The image's name."""
        return f"{self.address}/{self.repository}:latest"

    @property
    def digests(self) -> list[str]:
        """The layers."""
        return [layer.digest for layer in self.image.layers]


@contextlib.contextmanager
def origin(cache: Path, name: str) -> Iterator[Origin]:
    """Builds an image, and runs docker-registry with it."""
    image = images.build(name, cache / "images")
    log(f"{name}: {len(image.layers)} layers, {image.size / 1e6:.1f} MB compressed")
    with registry(cache) as (address, _):
        found = Origin(address, image)
        images.push(image, address, found.repository)
        yield found


def facts(image: Image) -> dict[str, object]:
    """What a table tells of an image."""
    return {"image": image.name, "layers": len(image.layers), "compressed_bytes": image.size}


def _kept(folder: Path, image: Image) -> None:
    kept = sum(
        (Path(here) / name).lstat().st_size for here, _, names in os.walk(folder) for name in names
    )
    if kept < image.size:
        raise BenchError(f"only {kept} of {image.size} bytes are there")


# --- imgd ------------------------------------------------------------------------------------


@contextlib.contextmanager
def imgd(folder: Path, *flags: str) -> Iterator[tuple[str, int]]:
    """A daemon with its root in `folder`; yields its address and process."""
    socket = folder / "s.sock"
    address = f"unix:{socket}"
    command = [need("imgd"), "serve", "--root", str(folder / "root"), "--listen", address, *flags]
    with serving(command, socket, folder / "imgd.log") as process:
        yield address, process.pid


def imgctl(source: Origin, folder: Path) -> Sample:
    """What a person types: Python and gRPC start, too."""
    with imgd(folder) as (address, pid), PeakMemory(pid) as memory:
        # No terminal, so that it prints plain lines.
        sample = timed([need("imgctl"), "--address", address, "pull", source.reference])
    _kept(folder, source.image)
    return Sample(sample.seconds, memory.peak)


def call(address: str, pid: int, reference: str, *options: str) -> list[Sample]:
    """What a service that is connected sees: a sample for each of `--times`."""
    command = [sys.executable, "-m", "bench.grpc_pull", address, reference, *options]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as client:
        assert client.stdout
        ready = client.stdout.readline()
        with PeakMemory(pid) as memory:
            try:
                out, errors = client.communicate("\n" if ready else "", COMMAND_TIMEOUT)
            except subprocess.TimeoutExpired:
                client.kill()
                raise BenchError("the pull over gRPC did not end") from None
    if client.returncode:
        raise BenchError(f"the pull over gRPC failed\n{errors.strip()[-500:]}")
    return [Sample(float(line), memory.peak) for line in out.split()]


def _call(source: Origin, folder: Path) -> Sample:
    with imgd(folder) as (address, pid):
        sample = call(address, pid, source.reference)[0]
    _kept(folder, source.image)
    return sample


# --- peers -----------------------------------------------------------------------------------


def _program(peer: peers.Program, source: Origin, folder: Path) -> Sample:
    values = {
        "reference": source.reference,
        "registry": source.address,
        "out": str(folder / "out"),
    }
    sample = timed([need(peer.program), *(word.format(**values) for word in peer.arguments)])
    _kept(folder, source.image)
    return sample


def containerd(peer: peers.Daemon, unpack: bool, source: Origin, folder: Path) -> Sample:
    """A pull by a containerd that was started before the clock."""
    config = peers.containerd_config(peer, folder)
    server = [need(peer.server), "--config", str(config)]
    socket = folder / "c.sock"
    client = [need(peer.client), "--address", str(socket)]
    arguments = peer.unpack if unpack else peer.fetch
    with serving(server, socket, folder / "containerd.log") as process:
        # It listens a little before it answers.
        timed([*client, "version"])
        with PeakMemory(process.pid) as memory:
            sample = timed(
                [*client, *(word.format(reference=source.reference) for word in arguments)]
            )
    _kept(folder, source.image)
    # What ctr takes is part of the price: of the older one it moves the bytes into the daemon.
    return Sample(sample.seconds, memory.peak + sample.memory)


def peer_rows(source: Origin) -> list[Subject]:
    """All peers, pulling without unpacking."""
    found = []
    for program in peers.PROGRAMS:
        run: Callable[[Path], Sample] = functools.partial(_program, program, source)
        version = functools.partial(peers.version, program)
        found.append(Subject(program.name, "peer", run, program.durable, version))
    for daemon in peers.DAEMONS:
        run = functools.partial(containerd, daemon, False, source)
        version = functools.partial(peers.version, daemon)
        found.append(Subject(daemon.name, "peer", run, True, version))
    return found


# --- floors ----------------------------------------------------------------------------------


def _curl(source: Origin, _: Path) -> Sample:
    return timed([need("curl"), *floors.curl(source.address, source.repository, source.digests)])


def _curl_ranges(source: Origin, _: Path) -> Sample:
    layer = source.image.layers[0]
    ranges = floors.curl_ranges(source.address, source.repository, layer.digest, layer.size, RANGES)
    return timed([need("curl"), *ranges])


def _fetch(sync: bool, source: Origin, folder: Path) -> Sample:
    command = [sys.executable, "-m", "bench.floors", source.address, source.repository]
    command += [str(folder), "1" if sync else "0", *source.digests]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        raise BenchError(f"fetch: {done.stderr[-500:]}")
    seconds, memory = done.stdout.split()
    return Sample(float(seconds), int(memory))


# --- scenarios -------------------------------------------------------------------------------

_CALL, _IMGCTL, _FETCH = "imgd: gRPC call", "imgd: imgctl pull", "floor: fetch"
_NOTE = (
    "Durable: whether the layers were fsynced. Memory: the largest PSS seen of all processes, "
    "page cache apart (containerd: with ctr; imgd: the daemon). ctr looks for its end every 100 ms."
)


def _ours(source: Origin) -> list[Subject]:
    return [
        Subject(_CALL, "imgd", functools.partial(_call, source), True),
        Subject(_IMGCTL, "imgd", functools.partial(imgctl, source), True),
    ]


@contextlib.contextmanager
def _loopback(name: str, cache: Path, _: Path) -> Iterator[Scenario]:
    """As fast as the machine can."""
    with origin(cache, name) as source:
        floor = [
            Subject("floor: curl", "floor", functools.partial(_curl, source), False),
            Subject(_FETCH, "floor", functools.partial(_fetch, True, source), True),
            Subject(
                f"{_FETCH} without fsync", "floor", functools.partial(_fetch, False, source), False
            ),
        ]
        targets = [Target(_CALL, MEMORY, reading="memory")]
        if name == "app":
            targets += [
                Target(_CALL, 1.25, _FETCH),
                Target(_CALL, 0.5, "skopeo"),
                Target(_CALL, 0.5, "crane"),
                Target(_CALL, 0.25, "containerd 1.6"),
            ]
        yield Scenario(
            facts(source.image),
            [*floor, *_ours(source), *peer_rows(source)],
            tuple(targets),
            _NOTE,
            compare=(_FETCH, _CALL, _IMGCTL),
        )


@contextlib.contextmanager
def _network(name: str, rounds: int, warm_up: bool, cache: Path, _: Path) -> Iterator[Scenario]:
    """Through a network: latency, and a rate of each connection."""
    with origin(cache, name) as straight, shaped(straight.address, LATENCY, RATE) as proxy:
        source = Origin(proxy.address, straight.image)
        subjects = [*_ours(source), *peer_rows(source)]
        targets = [Target(_CALL, MEMORY, reading="memory")]
        if len(source.digests) == 1:
            ranges = f"floor: curl, {RANGES} ranges"
            floor = Subject(ranges, "floor", functools.partial(_curl_ranges, source))
            # One stream takes 43 s, which the network decides.
            peer = [
                one if one.name == "containerd 2" else dataclasses.replace(one, rounds=1)
                for one in peer_rows(source)
            ]
            subjects = [floor, *_ours(source), *peer]
            # One stream a layer, and as durable.
            targets += [Target(_CALL, 0.3, "skopeo")]
        yield Scenario(
            {
                **facts(source.image),
                "latency_ms": LATENCY * 1000,
                "MB/s_of_a_connection": RATE / 1e6,
            },
            subjects,
            tuple(targets),
            _NOTE,
            compare=(_CALL, _IMGCTL),
            rounds=rounds,
            warm_up=warm_up,
        )


SCENARIOS: dict[str, Place] = {
    "pull-app": functools.partial(_loopback, "app"),
    "pull-many": functools.partial(_network, "many", 5, True),
    "pull-huge": functools.partial(_network, "huge", 3, False),
}

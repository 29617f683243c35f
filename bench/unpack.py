"""Pulls with unpacking: imgd, its peers, and the floor `igzip -dc | tar -x`.

With `--run LAYOUT FOLDER` it is imgd's unpacking of layers that are on the disk, in a process of
its own as the daemon would be; it prints its seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench import peers
from bench.common import COMMAND_TIMEOUT, ROOT, BenchError, PeakMemory, Sample, need, timed
from bench.pull import MEMORY, Origin, call, containerd, facts, imgd, origin
from bench.rounds import ROUNDS, Place, Scenario, Subject, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.images import Image

__all__ = ["SCENARIOS"]

# Layers at once, of imgd.
_WORKERS = max(2, os.cpu_count() or 1)
# The tools that unpack a layer in a pipe with tar.
UNPACKERS = {"gzip": ("igzip", "-dc"), "zstd": ("zstd", "-dc")}


def _pipes(image: Image, folder: Path) -> Sample:
    """All layers at once, each into a folder of its own."""
    lines = []
    for number, layer in enumerate(image.layers):
        target = folder / str(number)
        target.mkdir()
        program, flags = UNPACKERS[layer.media_type.rpartition("+")[2]]
        source = image.path(layer)
        lines.append(f"{need(program)} {flags} '{source}' | tar -xf - -C '{target}' &")
    return timed(["sh", "-c", "\n".join([*lines, "wait"])])


def _pull(source: Origin, folder: Path) -> Sample:
    with imgd(folder) as (address, pid):
        return call(address, pid, source.reference, "--unpack")[0]


def _podman(source: Origin, folder: Path) -> Sample:
    pull = ("pull", "--quiet", "--tls-verify=false", source.reference)
    return timed(peers.podman(folder / "storage", *pull))


def _unpack(image: Image, folder: Path) -> Sample:
    command = [sys.executable, "-m", "bench.unpack", "--run", str(image.layout), str(folder)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        assert process.stdout
        ready = process.stdout.readline()
        with PeakMemory(process.pid) as memory:
            out, errors = process.communicate("\n" if ready else "", COMMAND_TIMEOUT)
    if process.returncode:
        raise BenchError(f"unpacking failed\n{errors.strip()[-500:]}")
    return Sample(float(out), memory.peak)


def run_imgd(layout: Path, folder: Path) -> None:
    """Says that it is ready, waits for a line, unpacks, and prints the seconds it took."""
    from imgd_server.content import LocalContentStore
    from imgd_server.oci import Digest
    from imgd_server.registry import Cancellation
    from imgd_server.rootfs import SnapshotStore, Unpacker, stored_layer

    content = LocalContentStore(layout)
    manifest = json.loads(_blob(layout, _blob_digest(layout)).read_bytes())
    config = json.loads(_blob(layout, manifest["config"]["digest"]).read_bytes())
    layers = [
        stored_layer(content, Digest(layer["digest"]), Digest(diff_id))
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True)
    ]
    with Unpacker(SnapshotStore(folder, "overlay"), workers=_WORKERS) as unpacker:
        unpacker.prepare()  # as the daemon does when a pull begins
        print("ready", flush=True)
        sys.stdin.readline()
        start = time.perf_counter()
        unpacker.unpack(layers, lambda layer, unpacked, done: None, Cancellation())
        print(time.perf_counter() - start, flush=True)


def _blob_digest(layout: Path) -> str:
    return str(json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"])


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / digest.replace(":", "/")


_OURS = "imgd: pull and unpack"
_FLOOR = "floor: unpack"


@contextlib.contextmanager
def _scenario(name: str, rounds: int, cache: Path, _: Path) -> Iterator[Scenario]:
    with origin(cache, name) as source:
        subjects = [
            Subject(_FLOOR, "floor", functools.partial(_pipes, source.image), False),
            Subject(_OURS, "imgd", functools.partial(_pull, source), False),
            Subject("imgd: unpack alone", "imgd", functools.partial(_unpack, source.image), False),
        ]
        subjects += [
            Subject(
                peer.name,
                "peer",
                functools.partial(containerd, peer, True, source),
                False,
                functools.partial(peers.version, peer),
            )
            for peer in peers.DAEMONS
        ]
        podman = functools.partial(_podman, source)
        subjects.append(Subject("podman", "peer", podman, False, peers.podman_version))
        targets = [Target(_OURS, MEMORY, reading="memory")]
        if name.startswith("app"):
            targets += [
                Target(_OURS, 1.2, _FLOOR),
                Target(_OURS, 0.45, "containerd 1.6"),
                Target(_OURS, 1.0, "containerd 2"),
            ]
        else:
            targets += [Target(_OURS, 0.7, one.name) for one in peers.DAEMONS]
        yield Scenario(
            facts(source.image),
            subjects,
            tuple(targets),
            "Floor: `igzip -dc | tar -x` (or `zstd -dc`) of all layers at once, from the disk. "
            "Durable: whether the unpacked files were synced, which all leave to a later time (the "
            "blobs imgd syncs here, too). Memory: the largest PSS of all processes, page cache "
            "apart.",
            compare=(_OURS,),
            rounds=rounds,
            warm_up=rounds >= ROUNDS,
            keep=True,
        )


SCENARIOS: dict[str, Place] = {
    "unpack-app": functools.partial(_scenario, "app", ROUNDS),
    "unpack-files": functools.partial(_scenario, "files", 3),
    "unpack-app-zstd": functools.partial(_scenario, "app-zstd", 3),
    "unpack-files-zstd": functools.partial(_scenario, "files-zstd", 3),
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.unpack", description=__doc__)
    parser.add_argument("--run", nargs=2, type=Path, required=True)
    run_imgd(*parser.parse_args().run)

"""Unpacking layers that are on the disk: imgd, umoci, and the floor `igzip -dc | tar -x`.

`python -m bench.unpack [IMAGE...]` measures; with `--run LAYOUT FOLDER` it is imgd's side of one
measurement, in a process of its own as the daemon would be, and prints its seconds.

What a run made is not removed before the last one has ended: ext4 does not reuse a deleted file's
number for some minutes, and looks at each such number whenever it makes a file. With 40,000 files
just deleted, making one took 0.7 ms instead of 0.014.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import images, report
from bench.common import (
    COMMAND_TIMEOUT,
    ROOT,
    BenchError,
    PeakMemory,
    Sample,
    default_cache,
    log,
    need,
    prepare,
    settle,
    timed,
)
from bench.pull import Measured, Subject

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.images import Image

ROUNDS = 5
# Layers at once, of imgd.
_WORKERS = max(2, os.cpu_count() or 1)
# The tools that unpack a layer in a pipe with tar.
UNPACKERS = {"gzip": ("igzip", "-dc"), "zstd": ("zstd", "-dc")}


@dataclass(frozen=True)
class Work:
    """An image, and an empty folder to unpack it into."""

    image: Image
    folder: Path


def _pipes(work: Work) -> Sample:
    """All layers at once, each into a folder of its own."""
    lines = []
    for number, layer in enumerate(work.image.layers):
        target = work.folder / str(number)
        target.mkdir()
        program, flags = UNPACKERS[layer.media_type.rpartition("+")[2]]
        source = work.image.path(layer)
        lines.append(f"{need(program)} {flags} '{source}' | tar -xf - -C '{target}' &")
    return timed(["sh", "-c", "\n".join([*lines, "wait"])])


def _umoci(work: Work) -> Sample:
    image = f"{work.image.layout}:latest"
    return timed([need("umoci"), "unpack", "--image", image, str(work.folder / "bundle")])


def _imgd(kind: str, sync: bool, work: Work) -> Sample:
    command = [sys.executable, "-m", "bench.unpack", "--run", str(work.image.layout)]
    command += [str(work.folder), "--kind", kind, *(["--sync"] if sync else [])]
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
        raise BenchError(f"imgd: {errors.strip()[-500:]}")
    return Sample(float(out), memory.peak)


def run_imgd(layout: Path, folder: Path, kind: str, sync: bool) -> None:
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
    with Unpacker(SnapshotStore(folder, kind), workers=_WORKERS, sync=sync) as unpacker:
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


def _umoci_version() -> str:
    done = subprocess.run([need("umoci"), "--version"], capture_output=True, text=True, check=False)
    return done.stdout.rpartition(" ")[2].strip()


def subjects() -> list[tuple[Subject, Callable[[Work], Sample]]]:
    """Who unpacks, in the order of a round."""
    found: list[tuple[str, str, bool, Callable[[Work], Sample]]] = [
        ("floor: igzip and tar", "floor", False, _pipes),
        ("imgd", "imgd", False, functools.partial(_imgd, "overlay", False)),
        ("imgd, durable", "imgd", True, functools.partial(_imgd, "overlay", True)),
        ("imgd, one tree", "imgd", False, functools.partial(_imgd, "copy", False)),
        ("umoci", "peer", False, _umoci),
    ]

    def unused(_: object) -> Sample:
        raise AssertionError

    return [
        (
            Subject(
                name,
                kind,
                durable,
                unused,
                version=_umoci_version if name == "umoci" else lambda: "",
            ),
            run,
        )
        for name, kind, durable, run in found
    ]


def measure(image: Image, scratch: Path, rounds: int, words: str | None) -> list[Measured]:
    """Runs every subject once a round, in turn; the first round warms up and does not count."""
    chosen = [
        (subject, run)
        for subject, run in subjects()
        if not words or any(word in subject.name for word in words.split(","))
    ]
    results = [Measured(subject, []) for subject, _ in chosen]
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        for number in range(rounds + 1):
            for result, (subject, run) in zip(results, chosen, strict=True):
                if result.failure:
                    continue
                name = hashlib.sha256(subject.name.encode()).hexdigest()[:8]
                folder = scratch / f"{number}-{name}"
                folder.mkdir(parents=True)
                settle()
                before = _processor_seconds()
                try:
                    sample = run(Work(image, folder))
                except (BenchError, subprocess.SubprocessError, OSError, ValueError) as error:
                    result.failure = str(error) or repr(error)
                    log(f"MISSING: {subject.name}: {result.failure}")
                    continue
                load = os.getloadavg()[0]
                log(
                    f"round {number}{' (warm-up)' if not number else ''}: {subject.name}:"
                    f" {sample.seconds:.3f} s, {sample.memory / 1e6:.0f} MB, "
                    f"{_processor_seconds() - before:.2f} s of processor time (load {load:.1f})"
                )
                if number:
                    result.samples.append(sample)
    finally:
        log("removing what was unpacked ...")
        shutil.rmtree(scratch, ignore_errors=True)
    return results


def _processor_seconds() -> float:
    """Of all that was run so far, starts of interpreters included: on a machine that is not quiet,
    more telling than the time on the clock."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    """Runs what was asked for. 1 when imgd itself could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.unpack", description=__doc__)
    parser.add_argument("image", nargs="*", help=f"of {', '.join(images.BUILDERS)}; default: app")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", help="measure only what has one of these words, comma-separated")
    parser.add_argument("--cache", type=Path, default=default_cache())
    parser.add_argument("--run", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--kind", default="overlay", help=argparse.SUPPRESS)
    parser.add_argument("--sync", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.run:
        layout, folder = options.run
        run_imgd(layout, folder, options.kind, options.sync)
        return 0
    cache = prepare(options.cache)
    failed = False
    for name in options.image or ["app"]:
        image = images.build(name, cache / "images")
        log(f"{name}: {len(image.layers)} layers, {image.size / 1e6:.1f} MB compressed")
        results = measure(image, cache / "scratch" / "unpack", options.rounds, options.only)
        print(f"\n{report.write(f'unpack-{name}', image, results).read_text()}")
        failed = failed or any(one.failure for one in results if one.subject.kind == "imgd")
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BenchError as error:
        log(f"ERROR: {error}")
        sys.exit(1)

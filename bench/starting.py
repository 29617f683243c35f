"""From a daemon's start to its first answer, with many images in the store, and its idle memory."""

from __future__ import annotations

import contextlib
import functools
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.common import ROOT, BenchError, Sample, log, memory_of, need, serving
from bench.listing import python
from bench.rounds import Place, Scenario, Subject, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SCENARIOS"]

IMAGES = 10_000
# What it still does after a start is done by then.
IDLE_SECONDS = 3.0


def _start(store: Path, folder: Path) -> Sample:
    shutil.copytree(store, folder / "root")
    socket = folder / "s.sock"
    with subprocess.Popen(
        [sys.executable, "-m", "bench.grpc_first", str(socket)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as client:
        assert client.stdin
        assert client.stdout
        client.stdout.readline()
        client.stdin.write("\n")
        client.stdin.flush()
        command = [need("imgd"), "serve", "--root", str(folder / "root")]
        start = time.perf_counter()
        with serving(
            [*command, "--listen", f"unix:{socket}"], socket, folder / "imgd.log"
        ) as process:
            out, errors = client.communicate()
            if client.returncode:
                raise BenchError(f"no answer\n{errors.strip()[-500:]}")
            time.sleep(IDLE_SECONDS)
            memory = memory_of(process.pid)
    return Sample(float(out) - start, memory)


@contextlib.contextmanager
def _scenario(_: Path, folder: Path) -> Iterator[Scenario]:
    store = folder / "store"
    store.mkdir()
    log(f"filling a store with {IMAGES:,} images ...")
    python("bench.fill", "imgd", str(store / "metadata.db"), str(IMAGES))
    row = f"imgd: {IMAGES} images"
    yield Scenario(
        {"images": IMAGES, "tags": 5},
        [Subject(row, "imgd", functools.partial(_start, store))],
        (Target(row, 0.8), Target(row, 100e6, reading="memory")),
        "Seconds: from the start of the process to the answer of a ListImages. Memory: PSS when "
        f"idle, {IDLE_SECONDS:g} s later.",
    )


SCENARIOS: dict[str, Place] = {"start": _scenario}

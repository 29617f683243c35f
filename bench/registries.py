"""The registry inside, beside docker-registry and zot: serving an image, and taking a push."""

from __future__ import annotations

import contextlib
import functools
import json
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from bench import floors, images
from bench.common import BenchError, PeakMemory, Sample, free_port, need, registry, serving, timed
from bench.pull import Origin, facts
from bench.rounds import Place, Scenario, Subject, Target

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.images import Image

__all__ = ["SCENARIOS"]

# Runs a registry with an empty store in a folder; yields its address and process.
Server = Callable[[Path], AbstractContextManager[tuple[str, int]]]
OURS = "imgd"


@contextlib.contextmanager
def _imgd(folder: Path) -> Iterator[tuple[str, int]]:
    address = f"127.0.0.1:{free_port()}"
    command = [need("imgd"), "serve", "--root", str(folder / "root"), "--registry-listen", address]
    command += ["--listen", f"unix:{folder / 's.sock'}", "--log-level", "warning"]
    with serving(command, address, folder / "imgd.log") as process:
        yield address, process.pid


@contextlib.contextmanager
def _docker_registry(folder: Path) -> Iterator[tuple[str, int]]:
    with registry(folder) as (address, pid):
        yield address, pid


@contextlib.contextmanager
def _zot(folder: Path) -> Iterator[tuple[str, int]]:
    port = free_port()
    config = folder / "zot.json"
    document = {
        "storage": {"rootDirectory": str(folder / "zot"), "gc": False, "dedupe": True},
        "http": {"address": "127.0.0.1", "port": str(port)},
        "log": {"level": "error"},
    }
    config.write_text(json.dumps(document))
    command = [need("zot"), "serve", str(config)]
    with serving(command, f"127.0.0.1:{port}", folder / "zot.log") as process:
        yield f"127.0.0.1:{port}", process.pid


SERVERS: dict[str, Server] = {OURS: _imgd, "docker-registry": _docker_registry, "zot": _zot}


def _curl(source: Origin, folder: Path) -> list[str]:
    return [need("curl"), *floors.curl(source.address, source.repository, source.digests)]


def _crane(source: Origin, folder: Path) -> list[str]:
    pull = ["pull", "--insecure", "--format", "oci", source.reference, str(folder / "out")]
    return [need("crane"), *pull]


def _serve(
    server: str,
    running: dict[str, tuple[str, int] | str],
    command: Callable[[Origin, Path], list[str]],
    image: Image,
    folder: Path,
) -> Sample:
    found = running[server]
    if isinstance(found, str):
        raise BenchError(found)
    address, pid = found
    with PeakMemory(pid) as memory:
        sample = timed(command(Origin(address, image), folder))
    return Sample(sample.seconds, memory.peak)


@contextlib.contextmanager
def _serving(
    command: Callable[[Origin, Path], list[str]], cache: Path, folder: Path
) -> Iterator[Scenario]:
    """Each has the image already, and nothing else."""
    image = images.build("app", cache / "images")
    # Or why it does not run.
    running: dict[str, tuple[str, int] | str] = {}
    with contextlib.ExitStack() as stack:
        for name, server in SERVERS.items():
            place = folder / name
            place.mkdir()
            try:
                address, pid = stack.enter_context(server(place))
                images.push(image, address, Origin(address, image).repository)
                running[name] = address, pid
            except (BenchError, OSError) as error:
                running[name] = str(error)
        yield _scenario(
            image, lambda name: functools.partial(_serve, name, running, command, image)
        )


def _scenario(image: Image, run: Callable[[str], Callable[[Path], Sample]]) -> Scenario:
    kinds = {name: "imgd" if name == OURS else "peer" for name in SERVERS}
    return Scenario(
        facts(image),
        [Subject(name, kind, run(name)) for name, kind in kinds.items()],
        tuple(Target(OURS, 1.0, name) for name, kind in kinds.items() if kind == "peer"),
        "The same client against each registry. Memory: the registry's.",
    )


def _crane_push(source: Origin, _: Path) -> list[str]:
    return [need("crane"), "push", "--insecure", str(source.image.layout), source.reference]


def _skopeo_push(source: Origin, _: Path) -> list[str]:
    words = ["copy", "--quiet", "--dest-tls-verify=false", f"oci:{source.image.layout}:latest"]
    return [need("skopeo"), *words, f"docker://{source.reference}"]


def _take(
    server: str, command: Callable[[Origin, Path], list[str]], image: Image, folder: Path
) -> Sample:
    with SERVERS[server](folder) as (address, pid), PeakMemory(pid) as memory:
        source = Origin(address, image)
        sample = timed(command(source, folder))
        # It is there, whole.
        subprocess.run(
            [need("crane"), "validate", "--insecure", "--fast", "--remote", source.reference],
            check=True,
            capture_output=True,
        )
    return Sample(sample.seconds, memory.peak)


@contextlib.contextmanager
def _taking(
    command: Callable[[Origin, Path], list[str]], cache: Path, _: Path
) -> Iterator[Scenario]:
    """Into an empty store, each time."""
    image = images.build("app", cache / "images")
    yield _scenario(image, lambda name: functools.partial(_take, name, command, image))


SCENARIOS: dict[str, Place] = {
    # curl drops what it gets, crane writes it to the disk.
    "registry-curl": functools.partial(_serving, _curl),
    "registry-crane-pull": functools.partial(_serving, _crane),
    "registry-crane-push": functools.partial(_taking, _crane_push),
    "registry-skopeo-push": functools.partial(_taking, _skopeo_push),
}

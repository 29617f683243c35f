"""Lists of many images, beside containerd and its CRI: calls a second at 32 callers, latency."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.common import COMMAND_TIMEOUT, ROOT, BenchError, Sample, log, need, serving
from bench.rounds import Place, Scenario, Subject, Target
from bench.wire import field as encoded

__all__ = ["NAMESPACE", "SCENARIOS", "containerd", "imgd", "names", "python"]

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLERS = 32
# How long each reading lasts: hundreds of calls of the slowest.
SECONDS = 2.0
TAGS = 5
NAMESPACE = "bench"
_IMGD = "/imgd.v1.ImageService/ListImages"
_CONTAINERD = "/containerd.services.images.v1.Images/List"
_CRI = "/runtime.v1.ImageService/ListImages"
_ALONE = "ms alone"


@dataclass(frozen=True)
class Question:
    """What is asked of whom."""

    name: str
    server: str  # "imgd" or "containerd"
    method: str
    request: bytes
    metadata: tuple[tuple[str, str], ...] = ()


def names(number: int) -> list[str]:
    """The names of an image."""
    repository = f"registry.example/team{number % 50}/app{number}"
    return [f"{repository}:v1.{tag}" for tag in range(TAGS)]


def _imgd_request(*filters: str) -> bytes:
    return encoded(1, 1000) + b"".join(encoded(3, one.encode()) for one in filters)


def questions(count: int, *, cri: bool) -> list[Question]:
    """All, in the order in which they take turns. `until` keeps imgd from keeping an answer."""
    inside = (("containerd-namespace", NAMESPACE),)
    page = f"{min(count, 1000):,} of {count:,}"
    one = b'name~="/team7/"'
    found = [
        Question(f"imgd, {page}", "imgd", _IMGD, _imgd_request()),
        Question(f"imgd, {page}, not kept", "imgd", _IMGD, _imgd_request("until=1ns")),
        Question(
            "imgd, filter reference, not kept",
            "imgd",
            _IMGD,
            _imgd_request("reference=registry.example/team7/*", "until=1ns"),
        ),
        Question(
            "imgd, filter label, not kept",
            "imgd",
            _IMGD,
            _imgd_request("label=team=7", "until=1ns"),
        ),
        Question("imgd, filter label", "imgd", _IMGD, _imgd_request("label=team=7")),
        Question(f"containerd, {count:,}", "containerd", _CONTAINERD, b"", inside),
        Question("containerd, filter name", "containerd", _CONTAINERD, encoded(1, one), inside),
    ]
    if cri:
        found.append(Question(f"containerd CRI, {count:,}", "containerd", _CRI, b""))
    return found


@contextlib.contextmanager
def _scenario(count: int, rounds: int, _cache: Path, _folder: Path) -> Iterator[Scenario]:
    # Lists are of memory: where both stores lie is no part of what is measured, and filling one of
    # 50,000 records takes minutes on a disk.
    memory = Path("/dev/shm")
    # CRI lists only what is there in content, which is made for the small store.
    cri = count <= 1000
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch,
        imgd(Path(scratch), count) as ours,
        containerd(Path(scratch), count, cri=cri) as theirs,
    ):
        targets = {"imgd": ours, "containerd": theirs}
        asked = questions(count, cri=cri)
        mine = [one.name for one in asked if one.server == "imgd"]
        if cri:
            # Kept or not: at least twice as many calls a second.
            bounds = [
                Target(row, 0.5, one.name)
                for row in mine[:2]
                for one in asked
                if one.server != "imgd" and "filter" not in one.name
            ]
        else:
            bounds = [Target(row, 20, reading=_ALONE) for row in mine if "filter" in row]
        yield Scenario(
            {"images": count, "tags": TAGS, "callers": CALLERS},
            [
                Subject(
                    one.name,
                    "imgd" if one.server == "imgd" else "peer",
                    functools.partial(_measure, targets[one.server], one),
                )
                for one in asked
            ],
            tuple(bounds),
            "Seconds: of a call, at the rate of all callers together (1 / calls a second). Alone: "
            "one caller, the median. containerd has a record for each name. Callers share the "
            "machine with the server. `not kept`: with a filter that depends on the time, so that "
            "the answer is computed for each call.",
            compare=tuple(mine[:2]),
            rounds=rounds,
            warm_up=False,
        )


def _measure(target: str, question: Question, _: Path) -> Sample:
    many = _ask(target, question, CALLERS)
    alone = _ask(target, question, 1)
    more = {
        "calls/s": many["calls"] / many["seconds"],
        _ALONE: statistics.median(alone["latencies"]) * 1000,
        "answer kB": many["bytes"] / 1000,
    }
    return Sample(many["seconds"] / many["calls"], more=more)


def _ask(target: str, question: Question, callers: int) -> dict[str, Any]:
    job = {
        "target": target,
        "method": question.method,
        "request": question.request.hex(),
        "metadata": question.metadata,
        "callers": callers,
        "seconds": SECONDS,
    }
    found: dict[str, Any] = json.loads(python("bench.grpc_list", input=json.dumps(job)))
    return found


def python(module: str, *arguments: str, input: str = "") -> str:  # noqa: A002 - subprocess's word
    """Runs a module of the benchmark in a process of its own; returns what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        input=input,
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        raise BenchError(f"{module} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


@contextlib.contextmanager
def imgd(folder: Path, count: int) -> Iterator[str]:
    """Runs imgd over a store of so many images; yields its address."""
    root = folder / "imgd"
    root.mkdir()
    log(f"filling imgd's store with {count:,} images ...")
    python("bench.fill", "imgd", str(root / "metadata.db"), str(count))
    socket = folder / "s.sock"
    command = [need("imgd"), "serve", "--root", str(root), "--listen", f"unix:{socket}"]
    with serving(command, socket, folder / "imgd.log"):
        yield f"unix:{socket}"


@contextlib.contextmanager
def containerd(folder: Path, count: int, *, cri: bool) -> Iterator[str]:
    """Runs containerd over a store of a record for each name; yields its address."""
    socket = folder / "c.sock"
    config = folder / "containerd.toml"
    disabled = "" if cri else '"io.containerd.grpc.v1.cri"'
    config.write_text(
        "version = 2\n"
        f'root = "{folder / "containerd"}"\n'
        f'state = "{folder / "state"}"\n'
        f"disabled_plugins = [{disabled}]\n"
        f'[grpc]\n  address = "{socket}"\n'
        f'[ttrpc]\n  address = "{folder / "t.sock"}"\n'
        # The default one asks for mounts that not every machine grants.
        '[plugins."io.containerd.grpc.v1.cri".containerd]\n  snapshotter = "native"\n'
    )
    with serving([need("containerd"), "--config", str(config)], socket, folder / "containerd.log"):
        log(f"filling containerd's store with {count * TAGS:,} records ...")
        python("bench.fill", "containerd", str(socket), NAMESPACE, str(count))
        if cri:
            archive = folder / "images.tar"
            _write_archive(archive, count)
            ctr = [need("ctr"), "--address", str(socket), "--namespace", "k8s.io"]
            _command([*ctr, "images", "import", "--no-unpack", str(archive)])
        yield f"unix:{socket}"


def _command(words: list[str]) -> None:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=COMMAND_TIMEOUT, check=False
    )
    if done.returncode:
        raise BenchError(f"{Path(words[0]).name} failed: {done.stderr.strip()[-500:]}")


def _write_archive(path: Path, count: int) -> None:
    """An OCI layout of small images, each under its names."""
    layer = bytes(1024)
    blobs: dict[str, bytes] = {}

    def put(data: bytes, media_type: str) -> dict[str, object]:
        found = f"sha256:{hashlib.sha256(data).hexdigest()}"
        blobs[found] = data
        return {"mediaType": media_type, "digest": found, "size": len(data)}

    entries = []
    base = put(layer, "application/vnd.oci.image.layer.v1.tar")
    for number in range(count):
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"app": f"{number}"}},
            "rootfs": {"type": "layers", "diff_ids": [base["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "config": put(json.dumps(config).encode(), "application/vnd.oci.image.config.v1+json"),
            "layers": [base],
        }
        entry = put(json.dumps(manifest).encode(), "application/vnd.oci.image.manifest.v1+json")
        entries += [
            {**entry, "annotations": {"io.containerd.image.name": name}} for name in names(number)
        ]
    index = {"schemaVersion": 2, "manifests": entries}
    with tarfile.open(path, "w") as archive:
        files = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
        files |= {f"blobs/{key.replace(':', '/')}": data for key, data in blobs.items()}
        files["index.json"] = json.dumps(index).encode()
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


SCENARIOS: dict[str, Place] = {
    "list-1000": functools.partial(_scenario, 1000, 4),
    "list-10000": functools.partial(_scenario, 10_000, 3),
}

"""Lists of many images, beside containerd and its CRI: calls a second at 32 callers, latency."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import io
import json
import statistics
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import report
from bench.common import COMMAND_TIMEOUT, RESULTS, ROOT, BenchError, log, need, serving, settle
from bench.wire import field as encoded

__all__ = ["CALLERS", "NAMESPACE", "SCENARIOS", "containerd", "imgd", "names", "python", "run"]

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLERS = 32
# How long each reading lasts: hundreds of calls of the slowest.
SECONDS = 2.0
SCENARIOS = {"list-1000": 1000, "list-10000": 10_000}
TAGS = 5
NAMESPACE = "bench"
_IMGD = "/imgd.v1.ImageService/ListImages"
_CONTAINERD = "/containerd.services.images.v1.Images/List"
_CRI = "/runtime.v1.ImageService/ListImages"


@dataclass
class Subject:
    """What is asked, and what was measured: for each reading calls a second at CALLERS, and the
    latencies of one caller, in seconds."""

    name: str
    server: str  # "imgd" or "containerd"
    method: str
    request: bytes
    metadata: tuple[tuple[str, str], ...] = ()
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    size: int = 0


def names(number: int) -> list[str]:
    """The names of an image."""
    repository = f"registry.example/team{number % 50}/app{number}"
    return [f"{repository}:v1.{tag}" for tag in range(TAGS)]


def _imgd_request(*filters: str) -> bytes:
    return encoded(1, 1000) + b"".join(encoded(3, one.encode()) for one in filters)


def subjects(count: int, *, cri: bool) -> list[Subject]:
    """All, in the order in which they take turns. `until` keeps imgd from keeping an answer."""
    inside = (("containerd-namespace", NAMESPACE),)
    page = f"{min(count, 1000):,} of {count:,}"
    one = b'name~="/team7/"'
    found = [
        Subject(f"imgd, {page}", "imgd", _IMGD, _imgd_request()),
        Subject(f"imgd, {page}, not kept", "imgd", _IMGD, _imgd_request("until=1ns")),
        Subject(
            "imgd, filter reference, not kept",
            "imgd",
            _IMGD,
            _imgd_request("reference=registry.example/team7/*", "until=1ns"),
        ),
        Subject(
            "imgd, filter label, not kept",
            "imgd",
            _IMGD,
            _imgd_request("label=team=7", "until=1ns"),
        ),
        Subject("imgd, filter label", "imgd", _IMGD, _imgd_request("label=team=7")),
        Subject(f"containerd, {count:,}", "containerd", _CONTAINERD, b"", inside),
        Subject("containerd, filter name", "containerd", _CONTAINERD, encoded(1, one), inside),
    ]
    if cri:
        found.append(Subject(f"containerd CRI, {count:,}", "containerd", _CRI, b""))
    return found


def run(name: str, rounds: int) -> Path:
    """Measures a scenario, and returns the table's path."""
    count = SCENARIOS[name]
    # Lists are of memory: where both stores lie is no part of what is measured, and filling one of
    # 50,000 records takes minutes on a disk.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as scratch:
        folder = Path(scratch)
        # CRI lists only what is there in content, which is made for the small store.
        cri = count <= 1000
        with imgd(folder, count) as ours, containerd(folder, count, cri=cri) as theirs:
            targets = {"imgd": ours, "containerd": theirs}
            measured = subjects(count, cri=cri)
            for turn in range(rounds):
                log(f"{name}: round {turn + 1} of {rounds}")
                settle()
                for subject in measured:
                    many = _ask(targets[subject.server], subject, CALLERS)
                    subject.rates.append(many["calls"] / many["seconds"])
                    subject.size = many["bytes"]
                    alone = _ask(targets[subject.server], subject, 1)
                    subject.latencies.append(statistics.median(alone["latencies"]))
    return _write(name, count, rounds, measured)


def _ask(target: str, subject: Subject, callers: int) -> dict[str, Any]:
    job = {
        "target": target,
        "method": subject.method,
        "request": subject.request.hex(),
        "metadata": subject.metadata,
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


# --- results


def _write(name: str, count: int, rounds: int, measured: list[Subject]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0).isoformat()
    about = {
        "scenario": name,
        "time": now,
        "commit": report.commit(),
        "machine": report.machine(),
        "images": count,
        "tags": TAGS,
        "callers": CALLERS,
    }
    rows = [
        {
            "name": one.name,
            "calls_per_second": [round(rate, 1) for rate in one.rates],
            "median_ms_alone": [round(latency * 1000, 2) for latency in one.latencies],
            "answer_bytes": one.size,
        }
        for one in measured
    ]
    path = RESULTS / name
    path.with_suffix(".json").write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")
    first = measured[0]
    lines = ["| | calls/s at 32 | × (within rounds) | ms alone | answer kB |", "| --- " * 5 + "|"]
    for one in measured:
        ratios = [mine / other for mine, other in zip(first.rates, one.rates, strict=True)]
        ratio = statistics.median(first.rates) / statistics.median(one.rates)
        lines.append(
            f"| {one.name} | {statistics.median(one.rates):.0f} "
            f"| {ratio:.2f} ({min(ratios):.2f} to {max(ratios):.2f}) "
            f"| {statistics.median(one.latencies) * 1000:.2f} | {one.size / 1000:.0f} |"
        )
    table = "\n".join(lines)
    machine = ", ".join(f"{key} {value}" for key, value in report.machine().items())
    path.with_suffix(".md").write_text(
        f"# {name}\n\n{now}, commit {about['commit']}, {rounds} rounds, all in turn.\n\n"
        f"Machine: {machine}. {count:,} images of {TAGS} tags; containerd has a record for each "
        f"name.\n\n{table}\n\n"
        "Medians. ×: how many times as many calls a second the first row has. Alone: one caller. "
        "Callers share the machine with the server. `not kept`: with a filter that depends on the "
        "time, so that the answer is computed for each call. Only ratios count.\n"
    )
    return path.with_suffix(".md")

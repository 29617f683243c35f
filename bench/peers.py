"""The peers: how each is installed, and how it pulls without unpacking.

What is said of durability was seen with strace: skopeo and both containerds fsync each blob;
crane, oras and regctl fsync nothing, so that a durable imgd gives them a start.

Adding one is adding a line to `PROGRAMS` or `DAEMONS`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.common import ROOT, TOOLS, find, log

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Debian's: the registry under test, what builds the images, and the peers themselves.
PACKAGES = {
    "docker-registry": "docker-registry",
    "debootstrap": "debootstrap",
    "curl": "curl",
    "zstd": "zstd",
    "skopeo": "skopeo",
    "containerd": "containerd",
}
# Go's: where the program goes below .tools, and its module. containerd 2 has a folder of its own,
# because Debian's 1.6 has the same names.
CONTAINERD_2 = TOOLS.parent / "containerd-2"
GO_TOOLS = (
    (TOOLS, "github.com/google/go-containerregistry/cmd/crane@v0.22.1"),
    (TOOLS, "oras.land/oras/cmd/oras@v1.3.6"),
    (TOOLS, "github.com/regclient/regclient/cmd/regctl@v0.11.7"),
    (CONTAINERD_2, "github.com/containerd/containerd/v2/cmd/containerd@v2.4.2"),
    (CONTAINERD_2, "github.com/containerd/containerd/v2/cmd/ctr@v2.4.2"),
)


@dataclass(frozen=True)
class Program:
    """A peer that is one command.

    In the arguments, {reference} is the image and {out} a folder that is not there yet.
    """

    name: str
    program: str
    arguments: tuple[str, ...]
    # Whether it fsyncs what it stored.
    durable: bool
    version: tuple[str, ...] = ("version",)


@dataclass(frozen=True)
class Daemon:
    """A containerd and its ctr."""

    name: str
    server: str
    client: str
    arguments: tuple[str, ...]
    durable: bool


PROGRAMS = (
    Program(
        "skopeo",
        "skopeo",
        ("copy", "--quiet", "--src-tls-verify=false", "docker://{reference}", "oci:{out}:latest"),
        durable=True,
        version=("--version",),
    ),
    # `--format oci` is crane's fastest: its tarballs wait for the layers in turn.
    Program(
        "crane",
        "crane",
        ("pull", "--insecure", "--format", "oci", "{reference}", "{out}"),
        durable=False,
    ),
    Program(
        "oras",
        "oras",
        ("cp", "--no-tty", "--from-plain-http", "--to-oci-layout", "{reference}", "{out}:latest"),
        durable=False,
    ),
    Program(
        "regctl",
        "regctl",
        ("image", "copy", "--host", "reg={registry},tls=disabled", "{reference}", "ocidir://{out}"),
        durable=False,
    ),
)
_CTR_FETCH = ("content", "fetch", "--plain-http", "{reference}")
DAEMONS = (
    # ctr receives the blobs itself and hands them to the daemon over gRPC.
    Daemon("containerd 1.6", "containerd", "ctr", _CTR_FETCH, durable=True),
    Daemon(
        "containerd 2",
        str(CONTAINERD_2 / "containerd"),
        str(CONTAINERD_2 / "ctr"),
        _CTR_FETCH,
        durable=True,
    ),
)


def install() -> list[str]:
    """Installs what is not there, and returns what can't be had, each with the reason."""
    missing: list[str] = []
    absent = [package for program, package in PACKAGES.items() if find(program) is None]
    if absent:
        log(f"installing {' '.join(absent)} ...")
        subprocess.run([ROOT / ".ci" / "apt-install", *absent], check=False)
        missing = [
            f"{program}: no Debian package {package} here"
            for program, package in PACKAGES.items()
            if find(program) is None
        ]
    go = find("go") or shutil.which("go", path=str(ROOT / ".tools" / "go" / "bin"))
    for folder, tool in GO_TOOLS:
        name, _, version = tool.rpartition("/")[2].partition("@")
        # The version is part of the mark, so that another pin installs anew.
        mark = TOOLS.parent / f".{folder.name}-{name}-{version}"
        if mark.exists() and (folder / name).exists():
            continue
        if go is None:
            missing.append(f"{name}: there is no Go to build {tool}")
            continue
        log(f"building {tool} ...")
        folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [go, "install", tool],
            env={**os.environ, "GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            # The reason is for the terminal only: it can name what this machine downloads from.
            log(done.stderr.strip()[-500:])
            missing.append(f"{name}: `go install {tool}` failed")
        else:
            mark.touch()
    return missing


def version(peer: Program | Daemon) -> str:
    """Returns the version that a peer tells."""
    command: Sequence[str]
    if isinstance(peer, Program):
        command = (find(peer.program) or peer.program, *peer.version)
    else:
        command = (find(peer.server) or peer.server, "--version")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "missing"
    found = re.search(r"\d+\.\d+\.\d+\S*", done.stdout)
    return found[0] if found else "unknown"


def containerd_config(folder: Path) -> Path:
    """Writes the configuration of a containerd that keeps everything in `folder`."""
    path = folder / "containerd.toml"
    # CRI, and snapshotters that look for devices, have no part in this, and slow the start.
    path.write_text(
        "version = 2\n"
        f'root = "{folder / "root"}"\n'
        f'state = "{folder / "state"}"\n'
        'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images",'
        ' "io.containerd.cri.v1.runtime", "io.containerd.nri.v1.nri"]\n'
        f'[grpc]\n  address = "{folder / "c.sock"}"\n'
        f'[ttrpc]\n  address = "{folder / "t.sock"}"\n'
    )
    return path

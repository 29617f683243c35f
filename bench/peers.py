"""The peers: how each is called.

What is said of durability was seen with strace: skopeo and both containerds fsync each blob;
crane, oras and regctl fsync nothing, so that a durable imgd gives them a start.

Adding one is adding it to `PROGRAMS` or `DAEMONS`, and to .ci/install-peers.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.common import ROOT, TOOLS, find, log, need

if TYPE_CHECKING:
    from pathlib import Path

# Where .ci/install-peers puts containerd 2: Debian's 1.6 has the same names.
_CONTAINERD_2 = TOOLS.parent / "containerd-2"


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
    """A containerd and its ctr, and the arguments to pull without and with unpacking."""

    name: str
    server: str
    client: str
    fetch: tuple[str, ...]
    unpack: tuple[str, ...]
    # What its configuration has besides the folders.
    config: str


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
_CTR_PULL = ("image", "pull", "--plain-http", "{reference}")
# Both fsync what they fetch, and not what they unpack.
DAEMONS = (
    # ctr receives the blobs itself and hands them to the daemon over gRPC.
    Daemon(
        "containerd 1.6",
        "containerd",
        "ctr",
        fetch=("content", "fetch", "--plain-http", "{reference}"),
        unpack=_CTR_PULL,
        config="",
    ),
    # The daemon's own transfer service, with all that it does in parallel: as many downloads at
    # once as imgd, ranges of 8 MiB, layers unpacked on each core; igzip is on the path.
    Daemon(
        "containerd 2",
        str(_CONTAINERD_2 / "containerd"),
        str(_CONTAINERD_2 / "ctr"),
        # Of all platforms nothing is unpacked.
        fetch=(*_CTR_PULL, "--all-platforms"),
        unpack=_CTR_PULL,
        config=(
            '[plugins."io.containerd.transfer.v1.local"]\n'
            "  max_concurrent_downloads = 6\n"
            f"  concurrent_layer_fetch_buffer = {8 << 20}\n"
            f"  max_concurrent_unpacks = {max(2, os.cpu_count() or 1)}\n"
        ),
    ),
)
# podman mounts its storage over itself and leaves it so, and wants a short path for what it keeps
# while it runs: hence a mount namespace, and a memory disk in it.
_PODMAN = """
mount -t tmpfs tmpfs /mnt
exec podman --runroot /mnt --storage-driver overlay --cgroup-manager cgroupfs "$@"
"""


def podman(storage: Path, *arguments: str) -> list[str]:
    """A command of podman's with a storage of its own."""
    need("podman")
    shell = ["unshare", "--mount", "sh", "-ec", _PODMAN, "podman"]
    return [*shell, "--root", str(storage), *arguments]


def podman_version() -> str:
    """Returns podman's version."""
    return _version([find("podman") or "podman", "--version"])


def install() -> list[str]:
    """Installs what is not there, and returns what can't be had."""
    script = [str(ROOT / ".ci" / "install-peers"), "bench"]
    done = subprocess.run(script, stderr=subprocess.PIPE, text=True, check=False)
    missing = [line[4:] for line in done.stderr.splitlines() if line.startswith("  - ")]
    if done.returncode and not missing:
        log(done.stderr.strip()[-500:])
        missing = ["all that .ci/install-peers has not told of"]
    return missing


def version(peer: Program | Daemon) -> str:
    """Returns the version that a peer tells."""
    if isinstance(peer, Program):
        return _version([find(peer.program) or peer.program, *peer.version])
    return _version([find(peer.server) or peer.server, "--version"])


def _version(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "missing"
    found = re.search(r"\d+\.\d+\.\d+[^\s,]*", done.stdout)
    return found[0] if found else "unknown"


def containerd_config(peer: Daemon, folder: Path) -> Path:
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
        f"{peer.config}"
    )
    return path

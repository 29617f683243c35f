"""A real daemon in a process of its own, for tests that need one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

__all__ = ["BIN", "PATIENCE", "Daemon", "imgd", "refused", "run_daemon", "serves"]

BIN = Path(sys.executable).parent
# A net for a daemon that hangs, far above what any start or stop takes.
PATIENCE = 60.0


@dataclass
class Daemon:
    """A running `imgd serve`."""

    process: subprocess.Popen[str]
    root: Path
    address: str
    registry: str = ""
    """`host:port` of the registry inside; empty when it is off."""
    log: list[dict[str, Any]] = field(default_factory=list)
    """What it logged so far: one object a line."""

    def imgctl(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Runs imgctl against it, to its end; raises nothing for a failure."""
        command = [str(BIN / "imgctl"), "--address", self.address, *words]
        settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": PATIENCE}
        return subprocess.run(command, check=False, **{**settings, **options})

    def stop(self) -> int:
        """Asks it to stop (SIGTERM), and returns its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """Ends it at once (SIGKILL)."""
        self.process.kill()
        self.process.wait(PATIENCE)


@contextmanager
def run_daemon(
    root: Path,
    *flags: str,
    address: str = "",
    environment: Mapping[str, str] | None = None,
) -> Iterator[Daemon]:
    """Starts `imgd serve` and waits until it serves; stops it at the end.

    It listens on a socket beside `root` (one folder up), or on `address`; `flags` are more flags
    of `imgd serve`. Raises RuntimeError with its log when it does not start.
    """
    root.mkdir(parents=True, exist_ok=True)
    address = address or f"unix:{root.parent / (root.name + '.sock')}"
    command = [str(BIN / "imgd"), "serve", "--root", str(root), "--listen", address, *flags]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    daemon = Daemon(process, root, address)
    reader = threading.Thread(target=_read_log, args=(daemon,), daemon=True)
    try:
        serving = _wait_until_serving(daemon)
        daemon.registry = serving.get("registry", "")
        bound = serving["listen"][0]
        daemon.address = bound
        reader.start()
        yield daemon
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if reader.ident:
            reader.join(PATIENCE)
        assert process.stderr
        process.stderr.close()


def _wait_until_serving(daemon: Daemon) -> dict[str, Any]:
    assert daemon.process.stderr
    said = []
    for line in daemon.process.stderr:
        said.append(line)
        entry = _parse(line)
        daemon.log.append(entry)
        if entry.get("event") == "serving":
            return entry
    raise RuntimeError(f"imgd ended with {daemon.process.wait()}: {''.join(said)}")


def _read_log(daemon: Daemon) -> None:
    assert daemon.process.stderr
    for line in daemon.process.stderr:
        daemon.log.append(_parse(line))


def _parse(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {"event": line.rstrip("\n")}
    return entry if isinstance(entry, dict) else {"event": line}


def imgd(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs `imgd` to its end."""
    settings: dict[str, Any] = {"capture_output": True, "text": True, "timeout": PATIENCE}
    return subprocess.run([str(BIN / "imgd"), *words], check=False, **{**settings, **options})


def refused(*words: str, **options: Any) -> str:
    """Runs `imgd serve`, which is to be refused at once; returns the one line that it says."""
    done = imgd("serve", *words, **options)
    assert done.returncode == 1, done
    (line,) = done.stderr.splitlines()
    assert line.startswith("imgd: ")
    assert "Traceback" not in line
    return line


def serves(address: str) -> bool:
    """Whether a daemon answers there."""
    with grpc.insecure_channel(address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    status: int = answer.status
    return status == health_pb2.HealthCheckResponse.SERVING

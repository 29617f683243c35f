"""What every scenario needs: places, programs, the registry under test, a measured process."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
TOOLS = ROOT / ".tools" / "bin"

# How long any one measured command may take. Far above the slowest peer's slowest reading.
COMMAND_TIMEOUT = 300.0
# How long a server may take to begin, or to stop.
SERVER_TIMEOUT = 20.0
# How often memory is sampled: several times in the shortest run of interest (0.3 s), while one
# sample costs a few tenths of a millisecond.
SAMPLE_INTERVAL = 0.05
# A machine counts as quiet below this share of busy processor time ...
QUIET_SHARE = 0.10
# ... looked at over this time. Other work is waited for this long, and then measured through.
QUIET_WINDOW = 0.25
QUIET_PATIENCE = float(os.environ.get("IMGD_BENCH_PATIENCE") or 30.0)


class BenchError(Exception):
    """Something that ends a measurement, with a text for the person who runs it."""


def log(text: str) -> None:
    """Tells the person who runs it."""
    print(f"bench: {text}", flush=True)


def default_cache() -> Path:
    """Where images, the registry's store and scratch space are: all on one file system."""
    return Path(os.environ.get("IMGD_BENCH_CACHE") or Path(__file__).resolve().parent / ".cache")


def prepare(cache: Path) -> Path:
    """Makes the cache, which hides itself from git: it is gigabytes."""
    cache.mkdir(parents=True, exist_ok=True)
    (cache / ".gitignore").write_text("*\n")
    return cache.resolve()


def find(program: str) -> str | None:
    """Returns the path of `program`: beside this Python, of our own tools, or of the system."""
    # Not resolved: the python of a virtual environment is a link out of it.
    own = Path(sys.executable).parent
    path = [str(own), str(TOOLS), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]
    return shutil.which(program, path=os.pathsep.join(path))


def need(program: str) -> str:
    """Like `find`, but ends the measurement when there is none."""
    path = find(program)
    if path is None:
        # Results are kept: no path of this machine belongs in them.
        raise BenchError(f"{Path(program).name} is missing")
    return path


def free_port() -> int:
    """Returns a loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(address: str | Path, process: subprocess.Popen[bytes]) -> None:
    """Waits until a server accepts on `address`: HOST:PORT, or a Unix socket's path."""
    deadline = time.monotonic() + SERVER_TIMEOUT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"{_name(process)} did not start: it ended with {process.returncode}")
        with contextlib.suppress(OSError):
            if isinstance(address, Path):
                with socket.socket(socket.AF_UNIX) as probe:
                    probe.connect(str(address))
            else:
                host, _, port = address.rpartition(":")
                socket.create_connection((host, int(port)), 1).close()
            return
        time.sleep(0.02)
    raise BenchError(f"{_name(process)} did not begin to listen")


def _name(process: subprocess.Popen[bytes]) -> str:
    assert isinstance(process.args, list)
    return Path(process.args[0]).name


@contextlib.contextmanager
def serving(
    command: Sequence[str], address: str | Path, logfile: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a server until the block ends; what it says goes to `logfile`."""
    with logfile.open("ab") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    try:
        wait_for(address, process)
        yield process
    except BenchError as error:
        tail = logfile.read_text(errors="replace")[-1500:]
        raise BenchError(f"{error}\n{tail}") from error
    finally:
        process.terminate()
        try:
            process.wait(SERVER_TIMEOUT)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextlib.contextmanager
def registry(cache: Path) -> Iterator[tuple[str, int]]:
    """Runs Debian's docker-registry over the cache's own store; yields HOST:PORT and process."""
    store = cache / "registry"
    store.mkdir(parents=True, exist_ok=True)
    scratch = cache / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"
    config = scratch / "registry.yml"
    # Quiet, so that nobody's pull pays for its log.
    config.write_text(
        "version: 0.1\n"
        "log:\n  level: error\n  accesslog:\n    disabled: true\n"
        f"storage:\n  filesystem:\n    rootdirectory: {store}\n"
        f"http:\n  addr: {address}\n"
    )
    command = [need("docker-registry"), "serve", str(config)]
    with serving(command, address, scratch / "registry.log") as process:
        yield address, process.pid


# --- one measurement -------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """One run of one subject."""

    seconds: float
    # Peak memory in bytes; 0 where it was not taken.
    memory: int = 0
    # Further readings, by a name that tells the unit.
    more: Mapping[str, float] = field(default_factory=dict)


class PeakMemory:
    """Samples the memory of a server and all its descendants: PSS, so that nothing counts twice.

    Page cache that is not mapped does not count.
    """

    def __init__(self, pid: int) -> None:
        """Watches `pid`."""
        self._pid, self.peak = pid, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> PeakMemory:
        """Begins."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Takes a last sample and ends."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self.peak = max(self.peak, memory_of(self._pid))
            if self._stop.wait(SAMPLE_INTERVAL):
                return


def memory_of(pid: int) -> int:
    """The bytes that a process and all its descendants hold now, as PSS."""
    return sum(_pss(one) for one in _tree(pid))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for parent in found:  # grows while it is walked
        with contextlib.suppress(OSError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    return 0


def timed(command: Sequence[str], env: Mapping[str, str] | None = None) -> Sample:
    """Runs a command to its end."""
    # Not by the rusage of wait4: after vfork that begins with the size of this process.
    start = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
    )
    timer = threading.Timer(COMMAND_TIMEOUT, process.kill)
    timer.start()
    with PeakMemory(process.pid) as memory:
        _, errors = process.communicate()
        seconds = time.perf_counter() - start
    timer.cancel()
    if process.returncode:
        text = errors.decode(errors="replace").strip()[-500:]
        raise BenchError(f"{Path(command[0]).name} failed\n{' '.join(command)}: {text}")
    return Sample(seconds, memory.peak)


def settle() -> None:
    """Makes rounds alike: nothing waits to be written, and nothing else is running."""
    os.sync()
    deadline = time.monotonic() + QUIET_PATIENCE
    while _busy_share() > QUIET_SHARE and time.monotonic() < deadline:
        pass


def _busy_share() -> float:
    def read() -> tuple[int, int]:
        fields = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
        return sum(fields), fields[3] + fields[4]  # all; idle and waiting for the disk

    total, idle = read()
    time.sleep(QUIET_WINDOW)
    total_after, idle_after = read()
    return 1 - (idle_after - idle) / max(1, total_after - total)

"""The processes that unpack layers, one at a time each, and their parent; `_pool` is the other end.

A process of its own has a umask of its own (the daemon's other threads keep theirs), an
interpreter lock of its own, and takes the damage if a hostile archive breaks a decompressor. None
imports gRPC. A worker ends when the daemon does, when the daemon hangs up (that is how work is
cancelled), when their parent does, and when there was nothing to do for a while.

Workers are forked by one parent, which has a single thread and does nothing else: starting an
interpreter costs 0.12 s of processor time, a fork 0.005, and they share most of their memory.

Messages to the parent: `{"fork"}`, with the socket that the worker is to have, is answered
`{"pid"}`; `{"end": pid}` is answered `{"ended": pid}`, when that worker is gone.

Messages to a worker: `{"options", "diff_id"}` with the directory's and the source's descriptors
begins, and is answered `{"begun"}`; then `{"wait": offset}` asks how many bytes the source holds,
answered `{"available": n}`; `{"progress": n}` counts unpacked bytes; `{"paths", "part"}` are the
lists of AppliedLayer, in parts, latin-1 for bytes; `{"done"}`, `{"error"}`, `{"os_error"}` or
`{"broken"}` is the end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs._apply import apply_layer
from imgd_server.rootfs._protocol import AppliedLayer, ApplyOptions, Limits, Whiteouts
from imgd_server.rootfs._wire import receive, send

__all__ = ["main", "parts", "work"]

_PR_SET_PDEATHSIG = 1  # prctl(2)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _KEPT = -1, -3, 64 << 20  # mallopt(3)
_libc = ctypes.CDLL(None)
# Seconds without work.
_IDLE = 30.0
# Unpacked bytes between two messages of progress.
_PROGRESS = 2 << 20
# How often a source may say that there are bytes and have none.
_TRIES = 10
# Bytes of the paths in a message, which JSON may make six times as many.
_PART = 100_000
# Characters of a trace in a message: its end.
_TRACE = 20_000


class _Source:
    """Reads a file that may still grow. Used by the inflating thread alone."""

    def __init__(self, fd: int, daemon: _Daemon) -> None:
        self._fd, self._daemon = fd, daemon
        self._offset = self._available = 0

    def read(self, size: int) -> bytes:
        for _ in range(_TRIES):
            if self._offset >= self._available:
                self._available = self._daemon.wait(self._offset)
                if self._available <= self._offset:
                    return b""
            data = os.pread(self._fd, min(size, self._available - self._offset), self._offset)
            if data:
                self._offset += len(data)
                return data
            # Cut short meanwhile, as when a server ignores a range: ask again.
            self._available = 0
        raise Error(Reason.STORE_CORRUPT, "the layer's stored bytes end before their end")


class _Daemon:
    """The daemon's end of the socket. What it says by hanging up is always obeyed at once."""

    def __init__(self, peer: socket.socket) -> None:
        self._peer = peer
        self._lock = threading.Lock()
        self._told = 0

    def begin(self) -> tuple[dict[str, Any], list[int]]:
        """The next job."""
        self._told = 0
        ready, _, _ = select.select([self._peer], [], [], _IDLE)
        return self._receive() if ready else _leave()

    def wait(self, offset: int) -> int:
        """How many bytes the source holds, once that is more than `offset` or all."""
        self.say({"wait": offset})
        return int(self._receive()[0]["available"])

    def progress(self, unpacked: int) -> None:
        """Tells, now and then, and sees whether anybody still wants this."""
        if unpacked - self._told >= _PROGRESS:
            self._told = unpacked
            self.say({"progress": unpacked})
        try:
            if not self._peer.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                _leave()
        except BlockingIOError:
            pass
        except OSError:
            _leave()

    def say(self, message: dict[str, Any]) -> None:
        """Sends a message."""
        try:
            with self._lock:
                send(self._peer, message)
        except OSError:
            _leave()

    def _receive(self) -> tuple[dict[str, Any], list[int]]:
        try:
            received = receive(self._peer)
        except OSError:
            received = None
        return received or _leave()


def _leave() -> Any:
    """Ends the process from any of its threads."""
    os._exit(0)


def _apply(daemon: _Daemon, job: dict[str, Any], fds: list[int]) -> AppliedLayer:
    directory, source = fds
    settings = job["options"]
    options = ApplyOptions(
        whiteouts=Whiteouts(settings["whiteouts"]),
        limits=Limits(**settings["limits"]),
        privileged=settings["privileged"],
        overlay_prefix=settings["overlay_prefix"],
    )
    try:
        return apply_layer(
            _Source(source, daemon), directory, options, Digest(job["diff_id"]), daemon.progress
        )
    finally:
        os.close(directory)
        os.close(source)


def _tell(daemon: _Daemon, applied: AppliedLayer) -> None:
    for kind in ("implied", "renewed", "whiteouts", "opaque"):
        for part in parts(getattr(applied, kind)):
            daemon.say({"paths": kind, "part": [path.decode("latin-1") for path in part]})
    daemon.say({"done": {"diff_id": applied.diff_id, "stats": asdict(applied.stats)}})


def parts(paths: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Paths as messages take them."""
    part: list[bytes] = []
    size = 0
    for path in paths:
        # Quotes and a comma are bytes, too.
        size += len(path) + 4
        if part and size > _PART:
            yield part
            part, size = [], len(path) + 4
        part.append(path)
    if part:
        yield part


def work(peer: socket.socket) -> None:
    """Works until there is nothing more to do."""
    daemon = _Daemon(peer)
    while True:
        job, fds = daemon.begin()
        daemon.say({"begun": True})
        try:
            applied = _apply(daemon, job, fds)
        except Error as error:
            daemon.say({"error": error.to_json()})
        except OSError as error:
            daemon.say({"os_error": error.errno or 0})
        except Exception:  # noqa: BLE001 - a bug; the daemon logs it, and this process works on
            daemon.say({"broken": traceback.format_exc()[-_TRACE:]})
        else:
            _tell(daemon, applied)


def _keep_memory() -> None:
    """Chunks come and go by the thousand. glibc would give each one's pages back to the kernel, and
    have them cleared for the next: a tenth of the time of it all."""
    mallopt = getattr(_libc, "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _KEPT)


def main(descriptor: int) -> None:
    """The parent: forks workers, and ends them, until the daemon hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal's group; the daemon decides
    os.umask(0)
    _keep_memory()
    with socket.socket(fileno=descriptor) as daemon, contextlib.suppress(ConnectionError):
        _fork_and_end(daemon)  # a daemon that is killed leaves answers unread


def _fork_and_end(daemon: socket.socket) -> None:
    alive: set[int] = set()
    while (received := receive(daemon)) is not None:
        message, fds = received
        alive -= {pid for pid in alive if os.waitpid(pid, os.WNOHANG)[0]}
        if "end" in message:
            pid = message["end"]
            if pid in alive:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                alive.remove(pid)
            send(daemon, {"ended": pid})
            continue
        (peer,) = fds
        pid = os.fork()
        if not pid:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            daemon.close()
            work(socket.socket(fileno=peer))
        os.close(peer)
        alive.add(pid)
        send(daemon, {"pid": pid})


if __name__ == "__main__":
    main(int(sys.argv[1]))

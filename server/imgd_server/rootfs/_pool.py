"""The daemon's side of the workers."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs._protocol import (
    AppliedLayer,
    ApplyOptions,
    Cancellation,
    LayerSource,
    LayerStats,
)
from imgd_server.rootfs._wire import Message, receive, send

__all__ = ["Parent", "Worker"]

Paths = dict[str, list[bytes]]

_MODULE = "imgd_server.rootfs._worker"


class Parent:
    """The process that workers are forked by. It is started when it is needed, and again when it
    broke. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._peer: socket.socket | None = None

    def start(self) -> None:
        """Starts it, unless it runs: what makes the first worker quick."""
        with self._lock:
            if self._peer is None:
                self._start()

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker: its process, and what to talk to it with."""
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as left:
            left.enter_context(ours)
            with theirs, self._lock:
                for _ in range(2):
                    if self._peer is None:
                        self._start()
                    answer = self._ask({"fork": True}, [theirs.fileno()])
                    if answer is not None:
                        left.pop_all()
                        return answer["pid"], ours
                    self._stop()
        raise Error(Reason.INTERNAL, "the process that unpacks layers does not start")

    def end(self, pid: int) -> None:
        """Ends a worker, and returns when it is gone."""
        with self._lock:
            # Workers outlive their parent only until they look up.
            if self._peer is not None and self._ask({"end": pid}) is None:
                self._stop()

    def stop(self) -> None:
        """Ends it."""
        with self._lock:
            self._stop()

    def _ask(self, message: Message, fds: Sequence[int] = ()) -> Message | None:
        assert self._peer is not None
        return _receive(self._peer) if _send(self._peer, message, fds) else None

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with contextlib.ExitStack() as left, theirs:
            left.enter_context(ours)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", _MODULE, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                cwd="/",
            )
            left.pop_all()
        self._peer = ours

    def _stop(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Worker:
    """A process that unpacks one layer at a time; used by one thread. It is forked when it is
    needed, and again after it has ended for want of work, was cancelled, or broke."""

    def __init__(self, parent: Parent) -> None:
        self._parent = parent
        self._peer: socket.socket | None = None
        self._pid = 0

    def apply(
        self,
        source: LayerSource,
        directory: int,
        options: ApplyOptions,
        diff_id: Digest,
        on_progress: Callable[[int], None],
        cancellation: Cancellation,
    ) -> AppliedLayer:
        """As `apply_layer`, in the process. Raises CANCELLED soon after the cancellation; on return
        nothing writes into the directory any more, however it went."""
        job: Message = {"options": _settings(options), "diff_id": diff_id}
        peer = self._begin(job, [directory, source.fileno()])
        take_back = cancellation.on_cancel(lambda: _hang_up(peer))
        try:
            end, paths = self._follow(peer, source, on_progress, cancellation)
        except BaseException:
            self.stop()  # it is still at work, or broken
            raise
        finally:
            take_back()
        return _result(end, paths)

    def stop(self) -> None:
        """Ends the process and waits for it."""
        if self._peer is not None:
            self._parent.end(self._pid)
            self._peer.close()
            self._peer = None

    def _begin(self, job: Message, fds: list[int]) -> socket.socket:
        if self._peer is not None:
            if _answered(self._peer, job, fds):
                return self._peer
            self.stop()  # it has left meanwhile, for want of work
        self._pid, self._peer = self._parent.fork()
        if not _answered(self._peer, job, fds):
            self.stop()
            raise Error(Reason.INTERNAL, "the process that unpacks layers broke")
        return self._peer

    def _follow(
        self,
        peer: socket.socket,
        source: LayerSource,
        on_progress: Callable[[int], None],
        cancellation: Cancellation,
    ) -> tuple[Message, Paths]:
        """Serves the process until it is done, whatever the outcome."""
        paths: Paths = defaultdict(list)
        while True:
            message = _receive(peer)
            if message is None:
                cancellation.check()
                raise Error(Reason.INTERNAL, "the process that unpacks layers broke")
            if "progress" in message:
                on_progress(message["progress"])
            elif "wait" in message:
                _send(peer, {"available": source.wait(message["wait"], cancellation)})
            elif "paths" in message:
                paths[message["paths"]] += [one.encode("latin-1") for one in message["part"]]
            else:
                return message, paths


def _result(end: Message, paths: Paths) -> AppliedLayer:
    if "error" in end:
        raise Error.from_json(end["error"])
    if "os_error" in end:
        raise OSError(end["os_error"], os.strerror(end["os_error"]))
    if "broken" in end:
        raise RuntimeError(end["broken"])
    done = end["done"]
    return AppliedLayer(
        Digest(done["diff_id"]),
        LayerStats(**done["stats"]),
        **{kind: tuple(found) for kind, found in paths.items()},
    )


def _answered(peer: socket.socket, job: Message, fds: list[int]) -> bool:
    return _send(peer, job, fds) and _receive(peer) == {"begun": True}


def _send(peer: socket.socket, message: Message, fds: Sequence[int] = ()) -> bool:
    try:
        send(peer, message, fds)
    except OSError:
        return False
    return True


def _receive(peer: socket.socket) -> Message | None:
    try:
        received = receive(peer)
    except OSError:
        return None
    return received[0] if received else None


def _settings(options: ApplyOptions) -> Message:
    return {
        "whiteouts": options.whiteouts.value,
        "limits": asdict(options.limits),
        "privileged": options.privileged,
        "overlay_prefix": options.overlay_prefix,
    }


def _hang_up(peer: socket.socket) -> None:
    try:
        peer.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it is gone already

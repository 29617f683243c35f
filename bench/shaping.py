"""A proxy that makes loopback a network: latency, bytes a second of a connection and of all.

`python -m bench.shaping HOST:PORT LATENCY RATE TOTAL` (seconds, bytes a second; 0 for no limit)
prints the port that it listens on, and for each line of its input what passed since the last: one
JSON object (`bytes` that the server sent, `requests`: their first lines). It ends with its input.

The latency is that of a round trip: a request waits for it, the first of a connection twice, for
the handshake before it. Slow start is not imitated. Bytes move by splice(2), so that a rate costs
the proxy little (the table of pull-huge has a floor that shows what it carries).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

from bench.common import ROOT, BenchError

__all__ = ["Shaper", "shaped"]

# Moved at once. At 50 MB/s a connection wakes a hundred times a second.
PIECE = 512 << 10
# How far behind its rate a connection may be and still catch up: what a late wake-up costs.
CREDIT = 0.05
_REQUEST = re.compile(rb"^([A-Z]+ \S+) HTTP/1\.1\r$", re.M)


class _Clock:
    """When the next byte may pass, at a rate. Shared by the connections that share the rate."""

    def __init__(self, rate: float) -> None:
        self._rate, self._due, self._lock = rate, 0.0, threading.Lock()

    def wait_for(self, size: int) -> float:
        """Returns when `size` more bytes will have passed."""
        if not self._rate:
            return 0.0
        with self._lock:
            self._due = max(self._due, time.monotonic() - CREDIT) + size / self._rate
            return self._due


class _Proxy:
    def __init__(self, upstream: str, latency: float, rate: float, total: float) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream, self._latency, self._rate = (host, int(port)), latency, rate
        self._total = _Clock(total)
        self._lock = threading.Lock()
        self._bytes, self._requests = 0, [""][:0]

    def serve(self, listener: socket.socket) -> None:
        """Accepts for ever."""
        while True:
            client, _ = listener.accept()
            try:
                server = socket.create_connection(self._upstream)
            except OSError:
                client.close()
                continue
            for one in (client, server):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for work in (self._up, self._down):
                threading.Thread(target=work, args=(client, server), daemon=True).start()

    def passed(self) -> dict[str, Any]:
        """What passed since the last time."""
        with self._lock:
            found = {"bytes": self._bytes, "requests": self._requests}
            self._bytes, self._requests = 0, []
        return found

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        wait = 2 * self._latency
        with contextlib.suppress(OSError):
            while data := client.recv(PIECE):
                # A head comes in one piece: clients write it so, and it is short.
                lines = [line.decode("latin-1") for line in _REQUEST.findall(data)]
                if lines:
                    with self._lock:
                        self._requests += lines
                    time.sleep(wait)
                    wait = self._latency
                server.sendall(data)
        _end(server)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        own = _Clock(self._rate)
        reader, writer = os.pipe()
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIECE)
        try:
            while size := os.splice(server.fileno(), writer, PIECE):
                with self._lock:
                    self._bytes += size
                due = max(own.wait_for(size), self._total.wait_for(size))
                if (pause := due - time.monotonic()) > 0:
                    time.sleep(pause)
                while size:
                    size -= os.splice(reader, client.fileno(), size)
        except OSError:
            pass
        finally:
            os.close(reader)
            os.close(writer)
            # Both ends, so that the other direction ends too.
            _end(client)
            _end(server)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


# --- for the benchmark ---------------------------------------------------------------------------


class Shaper:
    """A proxy in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        """Takes one that has begun to listen at `address`."""
        self._process, self.address = process, address

    def passed(self) -> tuple[int, list[str]]:
        """The bytes that the server sent since the last time, and the requests."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        return found["bytes"], found["requests"]


@contextlib.contextmanager
def shaped(
    upstream: str, latency: float = 0.0, rate: float = 0.0, total: float = 0.0
) -> Iterator[Shaper]:
    """Runs a proxy in front of a server until the block ends."""
    command = [sys.executable, "-m", "bench.shaping", upstream, *map(str, (latency, rate, total))]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        assert process.stdout
        port = process.stdout.readline().strip()
        if not port:
            raise BenchError("the shaping proxy did not start")
        yield Shaper(process, f"127.0.0.1:{port}")


def main(upstream: str, latency: str, rate: str, total: str) -> int:
    """Serves until the input ends."""
    proxy = _Proxy(upstream, float(latency), float(rate), float(total))
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        threading.Thread(target=proxy.serve, args=(listener,), daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        while sys.stdin.readline():
            print(json.dumps(proxy.passed()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

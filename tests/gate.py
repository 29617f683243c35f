"""A front before a registry that notes what it is asked, and holds layers back while it is closed.

With it a test decides where a pull stands: large blobs stop before their last byte until `open()`.
"""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Gate", "gate"]

PATIENCE = 60.0
# Configs and the smallest layers pass: a pull may need them before it asks for more.
_LARGE = 64 << 10
_PASSED_ON = ("Accept", "Authorization", "Range")
_PASSED_BACK = ("Content-Type", "Content-Range", "Docker-Content-Digest", "ETag")


class Gate:
    """A running front."""

    def __init__(self, upstream: str) -> None:
        self.address = ""
        """Where callers find the registry, `host:port`."""
        self.upstream = upstream
        self.asked: list[tuple[str, str]] = []
        """Method and path of every request, in order; noted before it is answered."""
        self.opened = threading.Event()
        self.opened.set()

    def close(self) -> None:
        """From here on large blobs stop before their last byte."""
        self.opened.clear()

    def open(self) -> None:
        """Lets everything pass."""
        self.opened.set()

    @property
    def blobs(self) -> list[str]:
        """The digests of the blobs that were asked for, in order."""
        return [path.rpartition("/")[2] for _, path in self.asked if "/blobs/" in path]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # As many callers as a test likes may connect in one moment.
    request_queue_size = 128

    def __init__(self, front: Gate) -> None:
        self.front = front
        super().__init__(("127.0.0.1", 0), _Handler)
        front.address = f"127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that goes away is no fault."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        front = self.server.front
        front.asked.append((self.command, self.path))
        upstream = http.client.HTTPConnection(front.upstream, timeout=PATIENCE)
        try:
            headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
            upstream.request(self.command, self.path, headers=headers)
            answer = upstream.getresponse()
            body = answer.read()
        finally:
            upstream.close()
        self.send_response(answer.status)
        for name in _PASSED_BACK:
            if value := answer.getheader(name):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length", str(len(body))))
        self.end_headers()
        self.wfile.write(body[:-1])
        if "/blobs/" in self.path and len(body) >= _LARGE:
            front.opened.wait(PATIENCE)
        self.wfile.write(body[-1:])

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def gate(upstream: str) -> Iterator[Gate]:
    """Runs a front before the registry at `upstream` (`host:port`, without TLS)."""
    front = Gate(upstream)
    server = _Server(front)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="gate")
    thread.start()
    try:
        yield front
    finally:
        front.open()
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()

"""A registry that does as it is told: right, or wrong in a given way.

    with HostileRegistry() as registry:
        registry.add("library/app", make_image(), "1")
        registry.on("GET .*/blobs/", reset(after=1000), times=1)
        ...  # pull f"{registry.host}/library/app:1"
        assert registry.served("/blobs/") < ...

It serves manifests and blobs as OCI distribution 1.1 says (HEAD, GET, Range), on loopback, in
threads. `tests.misbehaviour` makes the faults; they can be imported from here, too. Nothing waits
for time to pass: what is stalled goes on after `release`, at the latest when the registry ends.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import socketserver
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from io import BufferedIOBase
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from tests.certificates import Certificate
from tests.fake_images import FakeImage, digest_of
from tests.misbehaviour import (
    Answer,
    Fault,
    Request,
    both,
    chunked,
    drip,
    header,
    html,
    ignore_range,
    raw,
    redirect,
    refuse,
    replaced,
    reset,
    stall,
    truncate,
    unframed,
)

__all__ = [
    "Answer",
    "Exchange",
    "Fault",
    "HostileRegistry",
    "Request",
    "Rule",
    "both",
    "chunked",
    "drip",
    "header",
    "html",
    "ignore_range",
    "raw",
    "redirect",
    "refuse",
    "replaced",
    "reset",
    "stall",
    "truncate",
    "unframed",
]

# A net for a condition that never comes, far above what any takes.
PATIENCE = 60.0


@dataclass
class Exchange:
    """A request that came, and how much of an answer's body went out."""

    method: str
    path: str
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0


@dataclass(eq=False)
class Rule:
    """A fault for the requests that match; `hits` counts those that met it."""

    pattern: re.Pattern[str]
    fault: Fault
    times: int | None
    hits: int = 0


# --- the registry


class HostileRegistry:
    """See the module. Use it as a context manager; its methods may be called from any thread."""

    def __init__(self, *, tls: Certificate | None = None, address: str = "127.0.0.1") -> None:
        self._server = _Server(self, address, tls)
        self._images: dict[tuple[str, str], tuple[str, bytes]] = {}
        self._blobs: dict[str, bytes] = {}
        self._rules: list[Rule] = []
        self._authorize: Callable[[Request], Answer | None] = lambda _: None
        self._login = ""
        self._changed = threading.Condition()
        self.held = threading.Event()
        """What stalled answers wait for."""
        self.requests: list[Exchange] = []
        """Every request so far, in the order of arrival."""
        self.tokens: set[str] = set()
        """The bearer tokens that are good now."""
        self.issued = 0
        """How many tokens were given."""
        self.token_life: object = 300
        """The `expires_in` of tokens."""
        bracketed = f"[{address}]" if ":" in address else address
        self.port: int = self._server.server_address[1]
        self.host = f"{bracketed}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"

    def __enter__(self) -> Self:
        # serve_forever looks so often whether it is to end.
        threading.Thread(target=self._server.serve_forever, args=(0.02,)).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.held.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        if self._server.defects and error is None:
            raise self._server.defects[0]

    # --- what it holds

    def add(self, repository: str, image: FakeImage, *tags: str) -> str:
        """Serves an image in a repository; returns a reference to its first tag or digest."""
        for digest, manifest in image.manifests.items():
            self._images[repository, digest] = manifest
        for tag in tags:
            self._images[repository, tag] = (image.media_type, image.raw)
        self._blobs.update(image.blobs)
        tail = f":{tags[0]}" if tags else f"@{image.digest}"
        return f"{self.host}/{repository}{tail}"

    def remove_tag(self, repository: str, tag: str) -> None:
        """Forgets a tag."""
        del self._images[repository, tag]

    def forget(self) -> None:
        """Forgets every image, and every request so far."""
        self._images.clear()
        self.requests.clear()

    def put_blob(self, data: bytes) -> str:
        """Serves a blob in every repository, and at `/files/{digest}`; returns its digest."""
        digest = digest_of(data)
        self._blobs[digest] = data
        return digest

    # --- how it behaves

    def on(self, pattern: str, fault: Fault, *, times: int | None = None) -> Rule:
        """Adds a fault for the requests in whose `METHOD PATH` the pattern is found.

        All that match apply, in the order of their addition.
        """
        rule = Rule(re.compile(pattern), fault, times)
        self._rules.append(rule)
        return rule

    def behave(self) -> None:
        """Forgets every fault, and releases what is stalled."""
        self._rules.clear()
        self.release()

    def release(self) -> None:
        """Lets what is stalled now go on."""
        held, self.held = self.held, threading.Event()
        held.set()

    def require_basic(self, user: str, password: str, pattern: str = "") -> None:
        """Wants this user and password (RFC 7617) for requests in whose `METHOD PATH` the pattern
        is found, and cares for no header of others."""
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()

        def check(request: Request) -> Answer | None:
            asks = re.search(pattern, f"{request.method} {request.path}")
            met = not asks or request.headers.get("authorization") == f"Basic {pair}"
            return None if met else _unauthorized('Basic realm="registry"')

        self._authorize = check

    def require_bearer(
        self,
        realm: str = "",
        *,
        user: str = "",
        password: str = "",
        issuer: HostileRegistry | None = None,
        more: str = "",
    ) -> None:
        """Wants a token of `issuer` (this registry, unless said), which serves them at `/token`.

        With a user, tokens are given for its password only. `more` is appended to the challenge.
        """
        issuer = issuer or self
        realm = realm or f"{issuer.url}/token"
        if user:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            issuer._login = f"Basic {pair}"

        def check(request: Request) -> Answer | None:
            token = request.headers.get("authorization", "").removeprefix("Bearer ")
            if token in issuer.tokens:
                return None
            scope = f"repository:{_repository(request.path)}:pull"
            return _unauthorized(f'Bearer realm="{realm}",service="tests",scope="{scope}"{more}')

        self._authorize = check

    # --- what it saw

    def matching(self, pattern: str) -> list[Exchange]:
        """The requests in whose `METHOD PATH` the pattern is found."""
        return [one for one in self.requests if re.search(pattern, f"{one.method} {one.path}")]

    def served(self, pattern: str = "") -> int:
        """Bytes of bodies sent to the requests that match."""
        return sum(one.sent for one in self.matching(pattern))

    def wait_for(self, pattern: str, count: int = 1) -> None:
        """Waits until so many requests that match have come."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.matching(pattern)) >= count, PATIENCE):
                raise TimeoutError(f"{count} × {pattern}: {self.requests}")

    def _log(self, request: Request) -> Exchange:
        exchange = Exchange(request.method, request.path, request.headers)
        with self._changed:
            self.requests.append(exchange)
            self._changed.notify_all()
        return exchange

    # --- answering

    def early(self, method: str, path: str) -> Answer | None:
        """What is answered before a request's body is read, which then never is."""
        return None

    def receive(self, method: str, path: str, stream: BufferedIOBase, length: int) -> bytes:
        """A request's body. What is raised as OSError ends the connection."""
        return stream.read(length)

    def answer(self, request: Request) -> Answer:
        """The answer, faults included."""
        answer = self._right(request)
        with self._changed:
            rules = [
                rule
                for rule in self._rules
                if rule.pattern.search(f"{request.method} {request.path}")
                and (rule.times is None or rule.hits < rule.times)
            ]
            for rule in rules:
                rule.hits += 1
        for rule in rules:
            answer = rule.fault(request, answer)
        return answer

    def _right(self, request: Request) -> Answer:
        path = urlsplit(request.path).path
        if path == "/token":
            return self._token(request)
        if path.startswith("/files/"):
            return self._blob(request, path.removeprefix("/files/"))
        if not path.startswith("/v2/"):
            return Answer(404)
        if refused := self._authorize(request):
            return refused
        if path == "/v2/":
            return Answer(200, {"Content-Type": "application/json"}, b"{}")
        if path == "/v2/_catalog":
            return _missing("UNSUPPORTED")
        repository, kind, name = path.removeprefix("/v2/").rsplit("/", 2)
        if kind == "blobs":
            return self._blob(request, name)
        if kind != "manifests" or not any(known == repository for known, _ in self._images):
            return _missing("NAME_UNKNOWN")
        found = self._images.get((repository, name))
        if found is None:
            return _missing("MANIFEST_UNKNOWN")
        media_type, body = found
        headers = {"Content-Type": media_type, "Docker-Content-Digest": digest_of(body)}
        return Answer(200, headers, body)

    def _blob(self, request: Request, digest: str) -> Answer:
        if digest not in self._blobs:
            return _missing("BLOB_UNKNOWN")
        blob = self._blobs[digest]
        headers = {
            "Content-Type": "application/octet-stream",
            "Docker-Content-Digest": digest,
            "Accept-Ranges": "bytes",
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
        if asked is None:
            return Answer(200, headers, blob, blob)
        start, end = int(asked[1]), int(asked[2] or len(blob) - 1)
        if start >= len(blob):
            return Answer(416, {"Content-Range": f"bytes */{len(blob)}"})
        headers["Content-Range"] = f"bytes {start}-{min(end, len(blob) - 1)}/{len(blob)}"
        return Answer(206, headers, blob[start : end + 1], blob)

    def _token(self, request: Request) -> Answer:
        form = dict(parse_qsl(request.body.decode()))
        if "refresh_token" in form:
            met = form["refresh_token"] == "refresh"
        else:
            met = request.headers.get("authorization", "") == self._login
        if not met:
            return Answer(401, {"Content-Type": "application/json"}, b'{"details": "no"}')
        with self._changed:
            self.issued += 1
            token = f"token-{self.issued}"
            self.tokens.add(token)
        body = json.dumps({"token": token, "expires_in": self.token_life}).encode()
        return Answer(200, {"Content-Type": "application/json"}, body)


def _repository(path: str) -> str:
    return path.removeprefix("/v2/").rpartition("/")[0].rpartition("/")[0]


def _missing(code: str) -> Answer:
    body = json.dumps({"errors": [{"code": code, "message": "not here"}]}).encode()
    return Answer(404, {"Content-Type": "application/json"}, body)


def _unauthorized(challenge: str) -> Answer:
    body = json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "log in"}]}).encode()
    headers = {"Content-Type": "application/json", "WWW-Authenticate": challenge}
    return Answer(401, headers, body)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    # A client that opens many connections at once is not made to try again.
    request_queue_size = 128

    def __init__(self, registry: HostileRegistry, address: str, tls: Certificate | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.registry = registry
        self.defects: list[BaseException] = []
        self._open: set[Any] = set()
        self._ending = False
        self._context: ssl.SSLContext | None = None
        if tls:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(tls.chain, tls.key)
        super().__init__((address, 0), _Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self._context:
            request = self._context.wrap_socket(
                request, server_side=True, do_handshake_on_connect=False
            )
        self._open.add(request)
        if self._ending:  # it came between the end of listening and `hang_up`
            _shut(request)
        try:
            if self._context:
                request.do_handshake()
            elif request.recv(1, socket.MSG_PEEK) == b"\x16":
                return  # a TLS handshake, which a plain server would take for the start of a line
            super().finish_request(request, client_address)
        finally:
            self._open.discard(request)
            request.close()

    def hang_up(self) -> None:
        """Ends what waits for a next request, or will."""
        self._ending = True
        for request in list(self._open):
            _shut(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exc_info()[1]
        # Clients leave when they have had enough.
        if error is not None and not isinstance(error, OSError):
            self.defects.append(error)


def _shut(request: Any) -> None:
    try:
        socket.socket.shutdown(request, socket.SHUT_RDWR)
    except OSError:
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        pass

    def do_GET(self) -> None:
        registry = self.server.registry
        length = int(self.headers.get("Content-Length", "0"))
        headers = {name.lower(): value for name, value in self.headers.items()}
        if early := registry.early(self.command, self.path):
            self._send(early, registry._log(Request(self.command, self.path, {})))
            self.close_connection = True
            registry.held.wait()
            return
        body = registry.receive(self.command, self.path, self.rfile, length)
        request = Request(self.command, self.path, headers, body)
        exchange = registry._log(request)
        answer = registry.answer(request)
        exchange.status = answer.status
        self._send(answer, exchange)

    # http.server looks for these names.
    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _send(self, answer: Answer, exchange: Exchange) -> None:
        if answer.stall == -1:
            self.server.registry.held.wait()
        if answer.raw is not None:
            self.close_connection = True
            self.connection.sendall(answer.raw)
            return
        if answer.cut == -1:
            self._end(answer)
            return
        self.connection.sendall(self._head(answer))
        if self.command == "HEAD":
            return
        position = 0
        ends = sorted({one for one in (answer.stall, answer.cut) if one is not None})
        while position < len(answer.body):
            if position == answer.stall:
                self.server.registry.held.wait()
            if position == answer.cut:
                break
            end = min([position + answer.piece, *(one for one in ends if one > position)])
            piece = answer.body[position:end]
            if answer.framing == "chunked":
                self.connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
            else:
                self.connection.sendall(piece)
            position += len(piece)
            exchange.sent += len(piece)
            if answer.pause:
                self.server.registry.held.wait(answer.pause)
        if position == answer.cut or answer.framing == "close":
            self._end(answer)
        elif answer.framing == "chunked":
            self.connection.sendall(b"0\r\n\r\n")

    def _head(self, answer: Answer) -> bytes:
        headers = dict(answer.headers)
        if answer.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        elif answer.framing == "length":
            headers.setdefault("Content-Length", str(len(answer.body)))
        lines = [f"HTTP/1.1 {answer.status} Said", *(f"{k}: {v}" for k, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")

    def _end(self, answer: Answer) -> None:
        self.close_connection = True
        if answer.abort:
            # A close that lingers for no time resets (socket(7)).
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            socket.close(self.connection.detach())

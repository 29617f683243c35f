"""Connections: dialled through the egress policy, cancellable, and never waited for without end."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from imgd_server.errors import Error, Reason
from imgd_server.registry._egress import dial, judge
from imgd_server.registry._policy import RegistryPolicy
from imgd_server.registry._protocol import Cancellation
from imgd_server.registry._proxies import Proxies, Proxy
from imgd_server.registry._url import Url

__all__ = [
    "Connection",
    "OriginSettings",
    "ProtocolError",
    "TransportConfig",
    "make_context",
    "translated",
]

# A header's line; registries' longest ones are challenges and signed locations of some 2 KiB.
_MAX_LINE = 16 << 10
_READ_AHEAD = 8 << 10
# Lines of a proxy's answer; real ones have a handful.
_MAX_LINES = 100
_PROXY_STATUS = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9])(?: .*)?", re.DOTALL)


class ProtocolError(Exception):
    """What a peer sends is not HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class OriginSettings:
    """What holds for one origin alone; None for what holds for all. Times in seconds.

    `context` is its TLS, `headers` go with each request to it, and `answer_timeout` is its
    `read_timeout`.
    """

    context: ssl.SSLContext | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: float | None = None
    answer_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Times in seconds; hosts as `host` or `host:port`.

    `connect_timeout` is for connecting, and again for TLS. `read_timeout` is for an answer's head,
    and for what of a body has to come in such a time (see `Response`); registries that sign blobs
    on the fly take seconds to begin. `host_requests` is how many requests a host gets at once.
    `policy` is which hosts may be called at all.
    """

    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    allowed_hosts: Collection[str] = frozenset()
    policy: RegistryPolicy = field(default_factory=RegistryPolicy)
    proxies: Proxies = field(default_factory=Proxies)
    host_requests: int = 64
    origins: Mapping[tuple[str, str, int], OriginSettings] = field(default_factory=dict)

    def origin(self, url: Url) -> OriginSettings:
        """What holds for a URL's origin alone."""
        return self.origins.get(url.origin) or _NOTHING

    def connecting(self, url: Url) -> float:
        """How long a URL's host may take to accept."""
        return self.origin(url).connect_timeout or self.connect_timeout

    def answering(self, url: Url) -> float:
        """How long it may take to answer."""
        return self.origin(url).answer_timeout or self.read_timeout


_NOTHING = OriginSettings()


def make_context() -> ssl.SSLContext:
    """TLS that trusts whom the system trusts, and speaks HTTP/1.1."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Connection:
    """A connection to one origin, for one request at a time.

    Reading waits until `deadline` (of `time.monotonic`), which the reader sets, and then raises
    TimeoutError.
    """

    def __init__(self, url: Url, named: bool) -> None:
        self.origin = (url.origin, named)
        self.deadline = 0.0
        self.used = 0.0
        self._sock: socket.socket | None = None
        self._ahead = bytearray()

    def open(
        self,
        url: Url,
        config: TransportConfig,
        context: ssl.SSLContext | None,
        cancellation: Cancellation,
    ) -> None:
        """Connects, through a proxy where one is configured, and with TLS where there is a
        context."""
        allowed = frozenset(one.lower() for one in config.allowed_hosts)
        patience, named, configured = config.connecting(url), self.origin[1], url.names(allowed)
        proxy = config.proxies.of(url)
        if proxy:
            judge(url, named=named, configured=configured, cancellation=cancellation)
        self._sock = sock = dial(
            proxy.url if proxy else url,
            named=named or proxy is not None,
            configured=configured or proxy is not None,
            patience=patience,
            cancellation=cancellation,
        )
        # Who cancelled before the socket was known here had nothing to shut down.
        cancellation.check()
        if proxy and context:
            self._tunnel(url, proxy, patience)
        sock.settimeout(patience)
        if context:
            # Not in one step: a handshake under way is to be shut down, too.
            self._sock = secure = context.wrap_socket(
                sock, server_hostname=url.host, do_handshake_on_connect=False
            )
            cancellation.check()
            secure.do_handshake()

    def _tunnel(self, url: Url, proxy: Proxy, patience: float) -> None:
        """Has the proxy connect it to a host (RFC 9110, 9.3.6)."""
        self.deadline = time.monotonic() + patience
        self.send(proxy.connect(url))
        status = _PROXY_STATUS.fullmatch(self.line())
        if status is None:
            raise ProtocolError(f"the proxy {proxy.url.label} answers no HTTP")
        for _ in range(_MAX_LINES):
            if not self.line():
                break
        # What a server would say before it is asked is none of TLS's.
        if status[1].startswith(b"2") and not self._ahead:
            return
        refused = status[1].startswith(b"4")
        raise Error(
            Reason.EGRESS_DENIED if refused else Reason.REGISTRY_UNREACHABLE,
            f"the proxy {proxy.url.label} {'refuses' if refused else 'fails'} to connect to "
            f"{url.label}: HTTP {status[1].decode()}",
            host=url.label,
        )

    def shut(self) -> None:
        """Wakes a thread that waits in it; from any thread. Closing would free a number that
        another thread may get for its file."""
        if self._sock is not None:
            with contextlib.suppress(OSError):
                _shut_down(self._sock)

    def close(self) -> None:
        """Closes; further calls are harmless."""
        if self._sock is not None:
            self._sock.close()

    @property
    def stale(self) -> bool:
        """Whether an idle one is no use: the peer closed it, or sent what nobody asked for."""
        return bool(self._ahead) or self._sock is None or _readable(self._sock)

    # --- bytes

    def send(self, data: bytes) -> None:
        """Sends all of it before `deadline`."""
        self._patient().sendall(data)

    @property
    def can_send_files(self) -> bool:
        """Whether bytes go out as they are, so that the kernel can take them from a file."""
        return not isinstance(self._sock, ssl.SSLSocket)

    def send_file(self, descriptor: int, offset: int, length: int) -> int | None:
        """Sends some bytes of a file before `deadline`, without TLS; returns how many, 0 at the
        file's end, and None when the peer has said something, or hung up."""
        sock = self._patient()
        return self._send_some(sock, lambda: os.sendfile(sock.fileno(), descriptor, offset, length))

    def send_some(self, data: memoryview) -> int | None:
        """Sends some bytes before `deadline`; returns how many, and None when the peer has said
        something, or hung up. With TLS that can't be told: it may be about TLS alone."""
        sock = self._patient()
        if self.can_send_files:
            return self._send_some(sock, lambda: sock.send(data))
        return sock.send(data)

    def _send_some(self, sock: socket.socket, send: Callable[[], int]) -> int | None:
        poller = select.poll()
        poller.register(sock, select.POLLIN | select.POLLOUT)
        while found := poller.poll(max(self.deadline - time.monotonic(), 0.0) * 1000):
            if found[0][1] != select.POLLOUT:
                return None
            with contextlib.suppress(BlockingIOError):
                return send()
        raise TimeoutError

    def readinto(self, buffer: memoryview) -> int:
        """Some bytes, without waiting twice; 0 at the end."""
        if not self._ahead:
            return self._patient().recv_into(buffer)
        got = min(len(buffer), len(self._ahead))
        buffer[:got] = self._ahead[:got]
        del self._ahead[:got]
        return got

    def line(self) -> bytes:
        """A line without its end. Keeps what it has when the deadline passes."""
        while (end := self._ahead.find(b"\n")) < 0:
            if len(self._ahead) > _MAX_LINE:
                raise ProtocolError("a line is too long")
            more = self._patient().recv(_READ_AHEAD)
            if not more:
                raise ConnectionError("it closed the connection")
            self._ahead += more
        line = bytes(self._ahead[:end]).removesuffix(b"\r")
        del self._ahead[: end + 1]
        return line

    def _patient(self) -> socket.socket:
        left = self.deadline - time.monotonic()
        if self._sock is None or left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        return self._sock


def _shut_down(sock: socket.socket) -> None:
    # Not SSLSocket's own: after that, a reader takes what is encrypted for the content.
    socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _readable(sock: socket.socket) -> bool:
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))


@contextlib.contextmanager
def translated(host: str, cancellation: Cancellation) -> Iterator[None]:
    """Turns what sockets and HTTP raise into our errors; CANCELLED comes before any of them."""
    try:
        yield
    except TimeoutError as error:
        cancellation.check()
        raise Error(Reason.REGISTRY_TIMEOUT, f"{host} stopped answering", host=host) from error
    except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
        cancellation.check()
        raise _lost(host, "it ended TLS") from error
    except ssl.SSLError as error:
        cancellation.check()
        raise Error(
            Reason.REGISTRY_TLS, f"no safe connection to {host}: {_tls_failure(error)}", host=host
        ) from error
    except OSError as error:
        cancellation.check()
        raise _lost(host, error.strerror or str(error) or "unknown reason") from error
    except ProtocolError as error:
        cancellation.check()
        raise Error(
            Reason.REGISTRY_PROTOCOL, f"{host} does not speak HTTP/1.1: {error}", host=host
        ) from error


def _tls_failure(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    reason: str = getattr(error, "reason", "") or "handshake failed"
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return "it does not speak TLS; name it in plain_http if that is meant"
    return reason.lower().replace("_", " ")


def _lost(host: str, why: str) -> Error:
    return Error(Reason.REGISTRY_UNREACHABLE, f"lost the connection to {host}: {why}", host=host)

"""HTTP over our own sockets: keep-alive, cancelling, bounds. One request at a time a connection."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult

from imgd_server import __version__
from imgd_server.errors import Error, Reason
from imgd_server.registry._egress import dial
from imgd_server.registry._protocol import Cancellation

__all__ = ["Response", "Transport", "TransportConfig"]

# Idle connections a host: what one pull opens at once.
_MAX_IDLE = 8
# Servers and middleboxes forget idle connections after a minute or so.
_IDLE_SECONDS = 45.0
# A body's bytes are handed on after so long even when the buffer is not full, so that progress
# over a slow line is seen.
_PATIENCE = 0.1


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """Times in seconds; hosts as `host` or `host:port`."""

    connect_timeout: float = 10.0
    # Without a byte. Registries that sign blobs on the fly take seconds to begin.
    read_timeout: float = 30.0
    allowed_hosts: Collection[str] = frozenset()


class _Connection(http.client.HTTPConnection):
    """A connection that dials through the egress policy."""

    def __init__(
        self, url: SplitResult, config: TransportConfig, context: ssl.SSLContext | None, named: bool
    ) -> None:
        default = 443 if context else 80
        super().__init__(url.hostname or "", url.port or default)
        self.default_port = default
        self._config = config
        self._context = context
        self._named = named
        self.label = url.netloc
        self.used = 0.0

    def connect(self) -> None:
        plain = dial(
            self.host,
            self.port,
            named=self._named,
            allowed=self._config.allowed_hosts,
            connect_timeout=self._config.connect_timeout,
        )
        try:
            self.sock = (
                self._context.wrap_socket(plain, server_hostname=self.host)
                if self._context
                else plain
            )
        except BaseException:
            plain.close()
            raise
        self.sock.settimeout(self._config.read_timeout)


class Response:
    """An answer whose body is still to be read. Close it."""

    def __init__(
        self,
        transport: Transport,
        key: tuple[Any, ...],
        connection: _Connection,
        raw: http.client.HTTPResponse,
        cancellation: Cancellation,
        forget: Any,
    ) -> None:
        self._transport, self._key, self._connection = transport, key, connection
        self._raw, self._cancellation, self._forget = raw, cancellation, forget
        self.status = raw.status
        self.headers = raw.headers
        self.host = connection.label
        self.length = raw.length
        self._left = raw.length
        self._ended = raw.length == 0
        self._closed = False

    def readinto(self, buffer: memoryview) -> int:
        """Bytes of the body into `buffer`; 0 at the end, which may be too early: see `complete`."""
        filled = 0
        deadline = time.monotonic() + _PATIENCE
        with _translated(self.host, self._cancellation):
            while filled < len(buffer) and not self._ended:
                got = self._read_some(buffer[filled:])
                filled += got
                if not got:
                    self._ended = True
                if time.monotonic() > deadline:
                    break
        return filled

    def _read_some(self, buffer: memoryview) -> int:
        if self._left is None or self._raw.chunked:
            return self._raw.readinto(buffer)
        # Past http.client's own readinto, which waits until the whole buffer is full.
        got: int = self._raw.fp.readinto1(buffer[: self._left])
        self._left -= got
        if not self._left:
            self._ended = True
        return got

    @property
    def complete(self) -> bool:
        """Whether the body ended where its length said."""
        return self._ended and not self._left

    def read(self, limit: int) -> bytes:
        """The body, at most `limit` bytes and one more (so that a longer one can be told)."""
        data = bytearray(limit + 1)
        view = memoryview(data)
        filled = 0
        while filled < len(data) and (got := self.readinto(view[filled:])):
            filled += got
        return bytes(view[:filled])

    def close(self) -> None:
        """Ends; a connection whose body was read to the end serves the next request."""
        if self._closed:
            return
        self._closed = True
        self._forget()
        reusable = self.complete and not self._raw.will_close and not self._cancellation.cancelled
        self._raw.close()
        self._transport.give_back(self._key, self._connection, reusable=reusable)

    def __enter__(self) -> Response:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Transport:
    """Sends requests; keeps idle connections."""

    def __init__(self, config: TransportConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._idle: dict[tuple[Any, ...], list[_Connection]] = defaultdict(list)
        self._context: ssl.SSLContext | None = None

    def send(
        self,
        method: str,
        url: SplitResult,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        named: bool,
        cancellation: Cancellation,
    ) -> Response:
        """One request, no redirects. `named` says that the caller's reference named the host.

        Raises REGISTRY_UNREACHABLE, REGISTRY_TIMEOUT, REGISTRY_TLS, REGISTRY_PROTOCOL,
        EGRESS_DENIED, CANCELLED.
        """
        key = (url.scheme, url.netloc, named)
        while True:
            cancellation.check()
            connection, reused = self._take(key, url, named)
            forget = cancellation.on_cancel(lambda: _shut(connection))  # noqa: B023 - per attempt
            try:
                with _translated(url.netloc, cancellation):
                    target = url.path + (f"?{url.query}" if url.query else "")
                    connection.request(method, target, body, {**self._common(), **headers})
                    raw = connection.getresponse()
            except Error as error:
                forget()
                connection.close()
                # The server had closed an idle connection; no answer was begun.
                if reused and error.reason is Reason.REGISTRY_UNREACHABLE:
                    continue
                raise
            except BaseException:
                forget()
                connection.close()
                raise
            return Response(self, key, connection, raw, cancellation, forget)

    def _common(self) -> dict[str, str]:
        return {"User-Agent": f"imgd/{__version__}", "Accept-Encoding": "identity"}

    def _take(
        self, key: tuple[Any, ...], url: SplitResult, named: bool
    ) -> tuple[_Connection, bool]:
        with self._lock:
            idle = self._idle[key]
            while idle:
                connection = idle.pop()
                if time.monotonic() - connection.used < _IDLE_SECONDS:
                    return connection, True
                connection.close()
            if url.scheme == "https" and self._context is None:
                self._context = ssl.create_default_context()
        context = self._context if url.scheme == "https" else None
        return _Connection(url, self._config, context, named), False

    def give_back(self, key: tuple[Any, ...], connection: _Connection, *, reusable: bool) -> None:
        """Takes a connection whose answer was read, or was given up."""
        with self._lock:
            if reusable and len(self._idle[key]) < _MAX_IDLE:
                connection.used = time.monotonic()
                self._idle[key].append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Closes idle connections."""
        with self._lock:
            for idle in self._idle.values():
                for connection in idle:
                    connection.close()
            self._idle.clear()


def _shut(connection: http.client.HTTPConnection) -> None:
    # Wakes a thread that waits in recv; closing the descriptor here could hit another's.
    if (sock := connection.sock) is not None:
        with contextlib.suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


class _translated:  # noqa: N801 - reads as a statement
    """Turns what the socket and HTTP raise into our errors."""

    def __init__(self, host: str, cancellation: Cancellation) -> None:
        self._host, self._cancellation = host, cancellation

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, (OSError, http.client.HTTPException, ValueError)):
            return
        self._cancellation.check()
        host = self._host
        if isinstance(error, TimeoutError):
            raise Error(Reason.REGISTRY_TIMEOUT, f"{host} stopped answering", host=host) from error
        if isinstance(error, ssl.SSLError):
            why = getattr(error, "verify_message", "") or error.reason or "handshake failed"
            raise Error(
                Reason.REGISTRY_TLS, f"no safe connection to {host}: {why}", host=host
            ) from error
        if isinstance(error, (http.client.RemoteDisconnected, OSError)):
            why = getattr(error, "strerror", None) or "it closed the connection"
            raise Error(
                Reason.REGISTRY_UNREACHABLE, f"lost the connection to {host}: {why}", host=host
            ) from error
        if isinstance(error, http.client.IncompleteRead):
            raise Error(
                Reason.REGISTRY_UNREACHABLE, f"{host} ended its answer too early", host=host
            ) from error
        raise Error(
            Reason.REGISTRY_PROTOCOL, f"{host} does not speak HTTP/1.1", host=host
        ) from error

"""Requests over kept connections, with their redirects."""

from __future__ import annotations

import contextlib
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from imgd_server import __version__
from imgd_server.errors import Error, Reason
from imgd_server.registry._answers import retry_after
from imgd_server.registry._budgets import RateBudgets
from imgd_server.registry._connection import (
    Connection,
    TransportConfig,
    make_context,
    translated,
)
from imgd_server.registry._http import Head, Response, read_head, request_head
from imgd_server.registry._limits import HostLimits, Turn
from imgd_server.registry._protocol import Cancellation
from imgd_server.registry._url import Url

__all__ = ["MAX_ERROR_BODY", "Content", "Request", "Transport"]

MAX_ERROR_BODY = 64 << 10
"""Bytes read of an answer that nobody wanted; registries' errors have some hundred."""

_MAX_REDIRECTS = 5
_REDIRECTS = {301, 302, 303, 307, 308}
# Idle connections an origin: what one pull opens at once. And over all of them.
_MAX_IDLE = 8
_MAX_IDLE_IN_ALL = 64
# Servers and middleboxes forget idle connections after a minute or so.
_IDLE_SECONDS = 45.0
# Seconds for what should be there already.
_GLANCE = 0.1
# How a kept connection fails that the peer has given up.
_STALE = {Reason.REGISTRY_UNREACHABLE, Reason.REGISTRY_PROTOCOL}
_COMMON = {"User-Agent": f"imgd/{__version__}", "Accept-Encoding": "identity"}


class Content(Protocol):
    """A large body. It is sent from its beginning whenever `send` is called, perhaps repeatedly."""

    length: int

    def send(self, connection: Connection, patience: float) -> bool:
        """Sends it, and says whether it did so to the end: not where the peer has answered before.

        The peer must take some bytes within `patience` seconds, each time."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What to ask for.

    `authorization` goes to the URL's own origin, and along no redirect to another. `named` is the
    host that the caller's reference named: no other one may have a private address. A request with
    a body is not redirected: it may hold a secret. The answer to `content` may take `patience`
    seconds more than others. Limits hold for an `account` at a host.
    """

    method: str
    url: Url
    headers: Mapping[str, str] = field(default_factory=dict)
    authorization: str = field(default="", repr=False)
    named: str = ""
    body: bytes | None = field(default=None, repr=False)
    content: Content | None = field(default=None, repr=False)
    patience: float = 0.0
    account: str = ""

    @property
    def has_body(self) -> bool:
        """Whether anything follows its head."""
        return self.body is not None or self.content is not None


class Transport:
    """Sends requests, and keeps idle connections. Safe to use from many threads."""

    def __init__(self, config: TransportConfig) -> None:
        self._config = config
        self.budgets = RateBudgets()
        self._limits = HostLimits(config.host_requests)
        self._lock = threading.Lock()
        # The longest unused first.
        self._idle: list[Connection] = []
        self._context: ssl.SSLContext | None = None
        self._closed = False

    def send(self, request: Request, cancellation: Cancellation) -> Response:
        """The answer that is no redirect; its `url` says who gave it.

        Raises REGISTRY_UNREACHABLE, REGISTRY_TIMEOUT, REGISTRY_TLS, REGISTRY_PROTOCOL,
        REGISTRY_RATE_LIMITED, EGRESS_DENIED, CANCELLED.
        """
        url = request.url
        redirects = 0
        while True:
            response = self._exchange(request, url, cancellation)
            if response.status not in _REDIRECTS or request.has_body:
                return response
            with response:
                redirects += 1
                if redirects > _MAX_REDIRECTS:
                    raise _lost(response, f"redirects more than {_MAX_REDIRECTS} times")
                url = _next(response)
                # To its end, so that the connection can be kept.
                with contextlib.suppress(Error):
                    response.read(MAX_ERROR_BODY)

    def has_room(self, url: Url) -> bool:
        """Whether a URL's host takes one request more at once."""
        return self._limits.has_room(url)

    def _exchange(self, request: Request, url: Url, cancellation: Cancellation) -> Response:
        self._config.policy.check(url, request.url)
        # Who copies within one host reads from it while it writes to it: to wait for a turn there
        # could be to wait for oneself.
        turn = self._limits.enter(
            url, request.account, cancellation, counted=request.content is None
        )
        try:
            return self._exchange_in_turn(request, url, cancellation, turn)
        except BaseException:
            turn.leave()
            raise

    def _exchange_in_turn(
        self, request: Request, url: Url, cancellation: Cancellation, turn: Turn
    ) -> Response:
        message = self._message(request, url)
        named = url.host == request.named
        while True:
            cancellation.check()
            idle = self._take(url, named)
            connection = idle or Connection(url, named)
            forget = cancellation.on_cancel(connection.shut)
            try:
                with translated(url.label, cancellation):
                    if idle is None:
                        connection.open(url, self._config, self._tls(url), cancellation)
                    connection.deadline = time.monotonic() + self._config.answering(url)
                    connection.send(message)
                    head = self._answer(connection, request)
            except BaseException as error:
                forget()
                connection.close()
                # What an idle connection had become is no answer; at most `_MAX_IDLE` times. Of
                # content some may have been taken, and nobody knows here how much.
                again = idle and request.content is None
                if again and isinstance(error, Error) and error.reason in _STALE:
                    continue
                raise

            self.budgets.record(url.label, head.status, head.headers)
            turn.answered(head.status, retry_after(head.headers.get("retry-after", "")))

            def release(keep: bool, connection: Connection = connection) -> None:
                turn.leave()
                forget()  # noqa: B023 - of the attempt that is returned
                self._give_back(connection, keep=keep and not cancellation.cancelled)

            pace = self._config.answering(url)
            return Response(connection, head, url, pace, cancellation, release)

    def _message(self, request: Request, url: Url) -> bytes:
        """A request's head, and its body if that is small."""
        headers = {**_COMMON, **request.headers, **self._config.origin(url).headers}
        if request.authorization and url.origin == request.url.origin:
            headers["Authorization"] = request.authorization
        if request.content:
            headers["Content-Length"] = str(request.content.length)
        proxy = self._config.proxies.of(url) if url.scheme == "http" else None
        if proxy is None:
            return request_head(request.method, url, headers, request.body)
        headers |= proxy.headers
        # RFC 9112, 3.2.2: a proxy is told the whole URL.
        return request_head(request.method, url, headers, request.body, absolute=True)

    def _answer(self, connection: Connection, request: Request) -> Head:
        """Sends the content, if there is any, and reads the head of what is answered: also of an
        answer that came before all was sent, after which many peers take no more."""
        if request.content is None:
            return read_head(connection, request.method)
        timeout, failed, whole = self._config.read_timeout, None, False
        patience = timeout + request.patience
        try:
            whole = request.content.send(connection, timeout)
        except OSError as error:
            failed = error
            # Who takes no more has said why by now, if at all.
            patience = _GLANCE if isinstance(error, TimeoutError) else patience
        connection.deadline = time.monotonic() + patience
        try:
            head = read_head(connection, request.method)
        except OSError:
            if failed:
                raise failed from None
            raise
        return head if whole else replace(head, keep=False)

    # --- connections

    def _tls(self, url: Url) -> ssl.SSLContext | None:
        if url.scheme != "https":
            return None
        if own := self._config.origin(url).context:
            return own
        with self._lock:
            if self._context is None:
                self._context = make_context()
            return self._context

    def _take(self, url: Url, named: bool) -> Connection | None:
        # Never one that was dialled as named for a request that was led there.
        origin = (url.origin, named)
        with self._lock:
            self._drop_old()
            for position in reversed(range(len(self._idle))):
                if self._idle[position].origin == origin:
                    connection = self._idle.pop(position)
                    if not connection.stale:
                        return connection
                    connection.close()
        return None

    def _give_back(self, connection: Connection, *, keep: bool) -> None:
        with self._lock:
            same = sum(one.origin == connection.origin for one in self._idle)
            if keep and not self._closed and same < _MAX_IDLE:
                connection.used = time.monotonic()
                self._idle.append(connection)
                self._drop_old()
                return
        connection.close()

    def _drop_old(self) -> None:
        oldest = time.monotonic() - _IDLE_SECONDS
        while self._idle and (self._idle[0].used < oldest or len(self._idle) > _MAX_IDLE_IN_ALL):
            self._idle.pop(0).close()

    def close(self) -> None:
        """Closes idle connections, and from now on keeps none."""
        with self._lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()


def _next(response: Response) -> Url:
    """Where a redirect leads. Whether imgd may go there is for the dialler to say, by address."""
    location = response.headers.get("location", "")
    try:
        found = Url.parse(location, response.url) if location else None
    except ValueError:
        found = None
    if found is None:
        raise _lost(response, "redirects to what is no usable URL")
    if response.url.scheme == "https" and found.scheme == "http":
        raise _lost(response, "redirects to a connection without TLS", Reason.EGRESS_DENIED)
    return found


def _lost(response: Response, what: str, reason: Reason = Reason.REGISTRY_PROTOCOL) -> Error:
    return Error(
        reason,
        f"{response.host} {what}",
        host=response.host,
        http_status=response.status,
    )

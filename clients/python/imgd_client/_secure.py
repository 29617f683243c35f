"""Channels: in clear text or with TLS, with a token or without."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from ._address import target
from ._channel import OPTIONS

__all__ = ["Tls", "check", "open_async", "open_sync"]


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS with the daemon. All are PEM; `certificate` and `key` go together (mutual TLS)."""

    ca: bytes | None = None
    """The authorities to trust; None for the machine's."""
    certificate: bytes | None = None
    """The client's own certificate, with its chain."""
    key: bytes | None = field(default=None, repr=False)
    """The key of it."""
    server_name: str = ""
    """The name in the daemon's certificate; empty for the address's host."""


def open_sync(address: str, tls: Tls | None, token: str) -> grpc.Channel:
    """A channel for threads. Raises ValueError for what can't be right."""
    where = check(address, tls, token)
    if tls is None:
        channel = grpc.insecure_channel(where, OPTIONS)
    else:
        channel = grpc.secure_channel(where, _credentials(tls), _options(tls))
    return grpc.intercept_channel(channel, _Token(token)) if token else channel


def open_async(address: str, tls: Tls | None, token: str) -> grpc.aio.Channel:
    """A channel for the event loop that runs. Raises as `open_sync`."""
    where = check(address, tls, token)
    interceptors = [kind(token) for kind in _ASYNC_TOKENS] if token else None
    if tls is None:
        return grpc.aio.insecure_channel(where, OPTIONS, interceptors=interceptors)
    return grpc.aio.secure_channel(
        where, _credentials(tls), _options(tls), interceptors=interceptors
    )


def check(address: str, tls: Tls | None, token: str) -> str:
    """What gRPC connects to. Raises ValueError for an address, certificate or token that is none,
    and for a token that would go to another machine in clear text."""
    where = target(address)
    if tls is not None and (tls.certificate is None) != (tls.key is None):
        raise ValueError("a client's certificate and its key go together")
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise ValueError("a token is printable ASCII without spaces")
    if token and tls is None and not _is_here(where):
        raise ValueError(f"a token is not sent to {address} in clear text: give `tls`, too")
    return where


def _is_here(where: str) -> bool:
    if where.startswith("unix:"):
        return True
    host = where.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)


def _options(tls: Tls) -> list[tuple[str, int | str]]:
    named = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return [*OPTIONS, *named]


def _with(details: Any, token: str) -> Any:
    """A call's details with the token among its metadata (RFC 6750)."""
    metadata = [*(details.metadata or ()), ("authorization", f"Bearer {token}")]
    return _Details(details, metadata)


class _Details(grpc.ClientCallDetails):
    """Details to pass on: gRPC's synchronous interceptors have no class for them."""

    def __init__(self, details: Any, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        self.method = details.method
        self.timeout = details.timeout
        self.metadata = tuple(metadata)
        self.credentials = details.credentials
        self.wait_for_ready = details.wait_for_ready
        # asyncio's have none.
        self.compression = getattr(details, "compression", None)


class _Token(
    grpc.UnaryUnaryClientInterceptor,
    grpc.UnaryStreamClientInterceptor,
    grpc.StreamUnaryClientInterceptor,
):
    def __init__(self, token: str) -> None:
        self._token = token

    def _send(self, continuation: Callable[[Any, Any], Any], details: Any, request: Any) -> Any:
        return continuation(_with(details, self._token), request)

    def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Sends the token."""
        return self._send(continuation, client_call_details, request)

    def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Sends the token."""
        return self._send(continuation, client_call_details, request)

    def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Sends the token."""
        return self._send(continuation, client_call_details, request_iterator)


class _AsyncToken:
    def __init__(self, token: str) -> None:
        self._token = token

    async def _send(
        self, continuation: Callable[[Any, Any], Any], details: Any, request: Any
    ) -> Any:
        return await continuation(_with(details, self._token), request)


class _AsyncUnary(_AsyncToken, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Sends the token."""
        return await self._send(continuation, client_call_details, request)


class _AsyncRead(_AsyncToken, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        """Sends the token."""
        return await self._send(continuation, client_call_details, request)


class _AsyncWrite(_AsyncToken, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        """Sends the token."""
        return await self._send(continuation, client_call_details, request_iterator)


_ASYNC_TOKENS = (_AsyncUnary, _AsyncRead, _AsyncWrite)

"""Unary calls with a deadline and typed errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio

from ._errors import from_rpc_error

__all__ = ["AsyncCalls", "Calls"]

_Request = TypeVar("_Request")
_Response = TypeVar("_Response")


@dataclass(frozen=True, slots=True)
class Calls:
    """A channel and how long to wait on it."""

    channel: grpc.Channel
    timeout: float | None
    patience: float

    def unary(
        self, method: grpc.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        """Calls a method. Raises ImgdError."""
        try:
            return method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None


@dataclass(frozen=True, slots=True)
class AsyncCalls:
    """A channel and how long to wait on it, for asyncio."""

    channel: grpc.aio.Channel
    timeout: float | None
    patience: float

    async def unary(
        self, method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Response], request: _Request
    ) -> _Response:
        """Calls a method. Raises ImgdError."""
        try:
            return await method(request, timeout=self.timeout)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None

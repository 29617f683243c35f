"""What every call goes through: field rules first, translation of errors last."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import aclosing, contextmanager
from typing import Any

import grpc
import grpc.aio
import structlog
from google.protobuf.message import DecodeError

from imgd_server.errors import Error, Reason, from_format
from imgd_server.oci import FormatError
from imgd_server.rpc._encoded import serializer
from imgd_server.rpc._limits import MAX_OPEN_CALLS
from imgd_server.rpc._rules import check_rules
from imgd_server.rpc._status import abort_arguments

__all__ = ["GuardInterceptor"]

_log = structlog.get_logger(__name__)

# The standard services (health, reflection, channelz) have statuses of their own.
_OURS = "/imgd.v1."

# From a request, or a stream of them, to the same, checked.
Check = Callable[[Any], Any]
Handler = Callable[..., Any]


class GuardInterceptor(grpc.aio.ServerInterceptor):
    """Checks requests before handlers see them, and turns what handlers raise into statuses.

    `methods` are those that are implemented, each `Service/Method`; others are refused whatever
    they are asked. No more than `most` calls are open at once.
    """

    def __init__(self, methods: Collection[str], most: int = MAX_OPEN_CALLS) -> None:
        self._methods = frozenset(methods)
        self._most = most
        self._open = 0
        self._stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Refuses new calls from now on, with a reason: gRPC's own stop would only cut them."""
        self._stopping = True

    async def drained(self) -> None:
        """Waits until no call is open."""
        await self._idle.wait()

    async def intercept_service(
        self,
        continuation: Callable[[Any], Awaitable[Any]],
        handler_call_details: Any,
    ) -> Any:
        """Wraps the handler of one of our methods."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or not method.startswith(_OURS):
            return handler
        method = method.removeprefix(_OURS)
        make, inner = _shape(handler)
        check: Check = _check_each if handler.request_streaming else _check
        if method not in self._methods:
            check = _unsupported(method)
        wrap = self._guard_stream if handler.response_streaming else self._guard_unary
        return make(
            wrap(inner, method, check),
            request_deserializer=_parser(handler.request_deserializer),
            response_serializer=serializer(handler.response_serializer),
        )

    def _guard_unary(self, inner: Handler, method: str, check: Check) -> Handler:
        async def call(request: Any, context: Any) -> Any:
            try:
                with self._admitted():
                    return await inner(check(request), context)
            except Exception as error:  # noqa: BLE001 - the translator
                await _refuse(context, method, error)

        return call

    def _guard_stream(self, inner: Handler, method: str, check: Check) -> Handler:
        async def call(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                with self._admitted():
                    async with aclosing(inner(check(request), context)) as answers:
                        async for answer in answers:
                            yield answer
            except Exception as error:  # noqa: BLE001 - the translator
                await _refuse(context, method, error)

        return call

    @contextmanager
    def _admitted(self) -> Iterator[None]:
        """Counts an open call."""
        if self._stopping:
            raise Error(
                Reason.SHUTTING_DOWN,
                "the daemon is shutting down; call again soon",
                retry_after=1.0,
            )
        if self._open >= self._most:
            raise Error(
                Reason.TOO_BUSY,
                f"{self._open} calls are open, and the daemon serves no more at once; call later",
                retry_after=1.0,
            )
        self._open += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._open -= 1
            if not self._open:
                self._idle.set()


def _shape(handler: Any) -> tuple[Callable[..., Any], Handler]:
    if handler.request_streaming and handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler, handler.stream_stream
    if handler.request_streaming:
        return grpc.stream_unary_rpc_method_handler, handler.stream_unary
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler, handler.unary_stream
    return grpc.unary_unary_rpc_method_handler, handler.unary_unary


# What a request is that can't be read. Were its parser to raise, gRPC would tell the caller the
# exception, and the log a defect.
_MALFORMED = object()


def _parser(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def parse_or_mark(raw: bytes) -> Any:
        try:
            return parse(raw)
        except DecodeError:
            return _MALFORMED

    return parse_or_mark


def _check(request: Any) -> Any:
    if request is _MALFORMED:
        raise Error(
            Reason.FIELD_INVALID,
            "the request is not a message of its method, or holds a text that is not UTF-8",
        )
    check_rules(request)
    return request


async def _check_each(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        yield _check(request)


def _unsupported(method: str) -> Check:
    def refuse(_: Any) -> Any:
        raise Error(
            Reason.UNSUPPORTED,
            f"this daemon does not implement {method}; GetCapabilities lists what it does",
        )

    return refuse


async def _refuse(context: Any, method: str, error: Exception) -> None:
    """Ends a call with the status that goes with the error; always raises."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    await context.abort(**abort_arguments(_as_ours(error, method)))


def _as_ours(error: Exception, method: str) -> Error:
    if isinstance(error, Error):
        return error
    if isinstance(error, FormatError):
        return from_format(error)
    incident = secrets.token_hex(6)
    _log.error("defect in a call", method=method, incident=incident, exc_info=error)
    return Error(Reason.INTERNAL, f"a defect in the daemon; its log explains incident {incident}")

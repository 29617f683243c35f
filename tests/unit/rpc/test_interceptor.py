from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from structlog.testing import capture_logs

from imgd.v1 import content_service_pb2, image_service_pb2
from imgd_server.errors import Error, Reason
from imgd_server.oci import Reference
from imgd_server.rpc._interceptor import GuardInterceptor

GET = image_service_pb2.GetImageRequest
WRITE = content_service_pb2.WriteBlobRequest


class Context:
    """As gRPC's: `abort` raises."""

    def __init__(self) -> None:
        self.status: status_pb2.Status | None = None
        self.code: grpc.StatusCode | None = None

    async def abort(self, code: grpc.StatusCode, details: str, trailing_metadata: Any) -> None:
        assert self.status is None
        self.code = code
        self.status = status_pb2.Status.FromString(
            dict(trailing_metadata)["grpc-status-details-bin"]
        )
        assert self.status.message == details
        raise grpc.aio.AbortError

    @property
    def reason(self) -> str:
        assert self.status
        info = error_details_pb2.ErrorInfo()
        assert self.status.details[0].Unpack(info)
        assert info.domain == "imgd.dev"
        return info.reason


async def guarded(
    handler: Any, method: str = "/imgd.v1.ImageService/GetImage", *methods: str
) -> Any:
    async def continuation(_: Any) -> Any:
        return handler

    guard = GuardInterceptor(methods or ["ImageService/GetImage"])
    return await guard.intercept_service(continuation, SimpleNamespace(method=method))


Handler = Callable[..., Any]


async def call_unary(inner: Handler, request: Any) -> tuple[Any, Context]:
    handler = await guarded(grpc.unary_unary_rpc_method_handler(inner))
    context = Context()
    try:
        return await handler.unary_unary(request, context), context
    except grpc.aio.AbortError:
        return None, context


async def call_stream(inner: Handler, request: Any) -> tuple[list[Any], Context]:
    handler = await guarded(grpc.unary_stream_rpc_method_handler(inner))
    context, found = Context(), []
    try:
        async for answer in handler.unary_stream(request, context):
            found.append(answer)
    except grpc.aio.AbortError:
        pass
    return found, context


async def test_what_is_right_passes_through() -> None:
    async def inner(request: Any, context: Any) -> str:
        return f"answer to {request.image}"

    assert (await call_unary(inner, GET(image="a")))[0] == "answer to a"


async def test_a_handler_keeps_its_form_and_its_serializers() -> None:
    for make in (
        grpc.unary_unary_rpc_method_handler,
        grpc.unary_stream_rpc_method_handler,
        grpc.stream_unary_rpc_method_handler,
        grpc.stream_stream_rpc_method_handler,
    ):
        before: Any = make(lambda request, context: None, bytes.decode, str.encode)
        after = await guarded(before)
        for name in ("request_streaming", "response_streaming"):
            assert getattr(after, name) == getattr(before, name)
        assert after.response_serializer("text") == b"text"
        assert after.request_deserializer(b"text") == "text"


async def test_a_broken_rule_keeps_the_handler_out() -> None:
    called = []

    async def unary(request: Any, context: Any) -> Any:
        called.append(request)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        called.append(request)
        yield

    for _, context in (await call_unary(unary, GET()), await call_stream(stream, GET())):
        assert context.code is grpc.StatusCode.INVALID_ARGUMENT
        assert context.reason == "FIELD_INVALID"
    assert not called


async def test_every_message_of_a_stream_is_checked() -> None:
    seen = []

    async def inner(requests: AsyncIterator[Any], context: Any) -> str:
        async for request in requests:
            seen.append(request.offset)
        return "done"

    async def requests(*offsets: int) -> AsyncIterator[Any]:
        for offset in offsets:
            yield WRITE(upload="uploads/A", offset=offset)

    handler = await guarded(grpc.stream_unary_rpc_method_handler(inner))
    assert await handler.stream_unary(requests(0, 1, 2), Context()) == "done"
    context = Context()
    with pytest.raises(grpc.aio.AbortError):
        await handler.stream_unary(requests(3, 4, -5, 6), context)
    assert context.reason == "FIELD_INVALID"
    assert seen == [0, 1, 2, 3, 4]


async def test_what_is_not_implemented_is_refused_before_anything_is_looked_at() -> None:
    used = []

    async def unary(request: Any, context: Any) -> Any:
        used.append("called")

    async def requests() -> AsyncIterator[Any]:
        used.append("read")
        yield

    method = "/imgd.v1.ContentService/WriteBlob"
    for make, name, request in (
        (grpc.unary_unary_rpc_method_handler, "unary_unary", GET()),
        (grpc.stream_unary_rpc_method_handler, "stream_unary", requests()),
    ):
        context = Context()
        handler = await guarded(make(unary), method, "ImageService/GetImage")
        with pytest.raises(grpc.aio.AbortError):
            await getattr(handler, name)(request, context)
        assert context.code is grpc.StatusCode.UNIMPLEMENTED
        assert context.reason == "UNSUPPORTED"
        assert context.status
        assert "ContentService/WriteBlob" in context.status.message
    assert not used


async def test_other_services_and_unknown_methods_are_left_alone() -> None:
    handler: Any = grpc.unary_unary_rpc_method_handler(lambda request, context: None)
    assert await guarded(handler, "/grpc.health.v1.Health/Check") is handler
    assert await guarded(None) is None


@pytest.mark.parametrize("form", ["unary", "stream", "stream, after an answer"])
async def test_our_errors_are_translated(form: str) -> None:
    error = Error(Reason.IMAGE_NOT_FOUND, "no such image: a", metadata={"image": "a"})

    async def unary(request: Any, context: Any) -> Any:
        raise error

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        if form != "stream":
            yield "first"
        raise error

    with capture_logs() as logs:
        if form == "unary":
            _, context = await call_unary(unary, GET(image="a"))
        else:
            answers, context = await call_stream(stream, GET(image="a"))
            assert answers == (["first"] if "after" in form else [])
    assert context.code is grpc.StatusCode.NOT_FOUND
    assert context.reason == "IMAGE_NOT_FOUND"
    # What a caller did wrong is no news for the log.
    assert not logs


async def test_malformed_text_that_got_past_the_rules_is_the_callers_too() -> None:
    async def inner(request: Any, context: Any) -> Any:
        Reference.parse("A B")

    _, context = await call_unary(inner, GET(image="a"))
    assert context.reason == "REFERENCE_INVALID"


@pytest.mark.parametrize("streams", [False, True])
async def test_a_defect_shows_an_incident_that_the_log_explains(streams: bool) -> None:
    secret = "/var/lib/imgd/secret hunter2"

    async def unary(request: Any, context: Any) -> Any:
        raise RuntimeError(secret)

    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        yield "first"
        raise RuntimeError(secret)

    with capture_logs() as logs:
        call: Any = call_stream(stream, GET(image="a")) if streams else None
        _, context = await (call or call_unary(unary, GET(image="a")))
    assert context.code is grpc.StatusCode.INTERNAL
    assert context.reason == "INTERNAL"
    assert context.status
    assert "hunter2" not in str(context.status)
    assert "Traceback" not in str(context.status)
    incident = re.search(r"incident ([0-9a-f]{12})$", context.status.message)
    assert incident
    (entry,) = logs
    assert (entry["incident"], entry["method"], entry["log_level"]) == (
        incident[1],
        "ImageService/GetImage",
        "error",
    )
    assert secret in str(entry["exc_info"])


async def test_a_status_that_a_handler_sent_itself_stands() -> None:
    async def inner(request: Any, context: Any) -> Any:
        raise grpc.aio.AbortError

    with capture_logs() as logs:
        _, context = await call_unary(inner, GET(image="a"))
    assert context.status is None
    assert not logs


async def test_a_caller_who_leaves_is_no_defect_and_the_handler_is_closed_at_once() -> None:
    closed = []
    waits = asyncio.Event()

    async def inner(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            yield "first"
            waits.set()
            await asyncio.Event().wait()
        finally:
            closed.append(True)

    handler = await guarded(grpc.unary_stream_rpc_method_handler(inner))
    context = Context()
    with capture_logs() as logs:
        # As gRPC does it: cancelled while it waits …
        answers = handler.unary_stream(GET(image="a"), context)
        assert await anext(answers) == "first"
        waiting = asyncio.ensure_future(anext(answers))
        await waits.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert closed == [True]
        # … or dropped while an answer is on its way.
        answers = handler.unary_stream(GET(image="a"), context)
        assert await anext(answers) == "first"
        await answers.aclose()
        assert closed == [True, True]
    assert context.status is None
    assert not logs


async def test_a_stop_refuses_new_calls_with_a_reason_and_waits_for_the_open_ones() -> None:
    goes_on, waits = asyncio.Event(), asyncio.Event()

    async def unary(request: Any, context: Any) -> str:
        waits.set()
        await goes_on.wait()
        return "answer"

    async def stream(request: Any, context: Any) -> AsyncIterator[str]:
        yield "first"
        await goes_on.wait()
        yield "second"

    async def made(handler: Any) -> Any:
        return handler

    guard = GuardInterceptor(["ImageService/GetImage"])
    details = SimpleNamespace(method="/imgd.v1.ImageService/GetImage")
    one: Any = await guard.intercept_service(
        lambda _: made(grpc.unary_unary_rpc_method_handler(unary)), details
    )
    many: Any = await guard.intercept_service(
        lambda _: made(grpc.unary_stream_rpc_method_handler(stream)), details
    )
    await guard.drained()
    opened = asyncio.ensure_future(one.unary_unary(GET(image="a"), Context()))
    await waits.wait()
    answers = many.unary_stream(GET(image="a"), Context())
    assert await anext(answers) == "first"
    guard.close()
    context = Context()
    with pytest.raises(grpc.aio.AbortError):
        await one.unary_unary(GET(image="a"), context)
    assert (context.code, context.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
    assert context.status
    assert any(one.type_url.endswith("RetryInfo") for one in context.status.details)
    drained = asyncio.ensure_future(guard.drained())
    goes_on.set()
    assert await opened == "answer"
    assert not drained.done()
    assert [answer async for answer in answers] == ["second"]
    await drained


async def test_no_more_calls_are_open_than_may_be() -> None:
    goes_on = asyncio.Event()

    async def inner(request: Any, context: Any) -> AsyncIterator[str]:
        yield "first"
        await goes_on.wait()

    async def made(_: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(inner)

    guard = GuardInterceptor(["ImageService/GetImage"], most=2)
    details = SimpleNamespace(method="/imgd.v1.ImageService/GetImage")
    handler: Any = await guard.intercept_service(made, details)
    streams = [handler.unary_stream(GET(image="a"), Context()) for _ in range(2)]
    for stream in streams:
        assert await anext(stream) == "first"
    context = Context()
    with pytest.raises(grpc.aio.AbortError):
        await anext(handler.unary_stream(GET(image="a"), context))
    assert (context.code, context.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_BUSY")
    # Whoever leaves makes room, and who was refused has taken none.
    await streams[0].aclose()
    assert await anext(handler.unary_stream(GET(image="a"), Context())) == "first"
    goes_on.set()
    assert [one async for one in streams[1]] == []

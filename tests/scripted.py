"""A daemon that says what a test tells it to say, and clients of both kinds behind one face."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf import any_pb2, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from imgd.v1 import (
    container_service_pb2,
    container_service_pb2_grpc,
    event_service_pb2,
    event_service_pb2_grpc,
    filesystem_service_pb2,
    filesystem_service_pb2_grpc,
    image_service_pb2,
    image_service_pb2_grpc,
    lease_service_pb2,
    lease_service_pb2_grpc,
    system_service_pb2,
    system_service_pb2_grpc,
    transfer_pb2,
    transfer_service_pb2,
    transfer_service_pb2_grpc,
)
from imgd_client import AsyncClient, Client

__all__ = [
    "HOLD",
    "NAME",
    "Abort",
    "AsyncFace",
    "Face",
    "ScriptedDaemon",
    "SyncFace",
    "details",
    "finished",
    "happened",
    "heartbeat",
    "lost",
    "node",
    "sequences",
    "shutting_down",
    "snapshot",
    "unknown_arm",
    "update",
    "within",
]

NAME = "transfers/T1"
# A net for what never comes, far above what anything here takes.
PATIENCE = 60.0
_Result = TypeVar("_Result")


# --- what the daemon can say -------------------------------------------------------------------


@dataclass(frozen=True)
class Abort:
    """Ends a call with a status."""

    code: grpc.StatusCode
    text: str = ""
    details: bytes = b""


HOLD = "hold"
"""Says nothing more until the caller leaves."""
_Event = transfer_pb2.TransferEvent
_Events = event_service_pb2.WatchEventsResponse
Step = _Event | _Events | Abort | str | asyncio.Event
"""An event to send (of the store: an answer with several), a status to end with, HOLD, or something
to wait for."""


def details(*parts: Message, code: int = 14) -> bytes:
    """Status details as they go over the wire."""
    status = status_pb2.Status(code=code, message="message")
    for part in parts:
        packed = any_pb2.Any()
        packed.Pack(part)
        status.details.append(packed)
    return status.SerializeToString()


def lost() -> Abort:
    """What gRPC itself makes of a connection that breaks."""
    return Abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")


def shutting_down(seconds: float = 0.05) -> Abort:
    """What the daemon says to its watchers when it stops."""
    info = error_details_pb2.ErrorInfo(domain="imgd.dev", reason="SHUTTING_DOWN")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(int(seconds * 1e9))
    return Abort(grpc.StatusCode.UNAVAILABLE, "imgd is shutting down", details(info, retry))


def node(number: int = 0, state: int = transfer_pb2.NODE_STATE_ACTIVE) -> transfer_pb2.TransferNode:
    """A layer."""
    digest = f"sha256:{number:064x}"
    found = transfer_pb2.TransferNode(
        node_id=digest, kind=transfer_pb2.NODE_KIND_LAYER, layer_index=number
    )
    found.state = transfer_pb2.NodeState.ValueType(state)
    found.blob.digest = digest
    return found


def snapshot(sequence: int, *nodes: transfer_pb2.TransferNode) -> _Event:
    """The whole picture of a transfer that runs."""
    event = _Event(sequence=sequence)
    event.snapshot.transfer.name = NAME
    event.snapshot.transfer.state = transfer_pb2.TRANSFER_STATE_RUNNING
    event.snapshot.nodes.extend(nodes)
    return event


def update(sequence: int, *nodes: transfer_pb2.TransferNode) -> _Event:
    """A change."""
    event = _Event(sequence=sequence)
    event.update.state = transfer_pb2.TRANSFER_STATE_RUNNING
    event.update.nodes.extend(nodes)
    event.update.progress.current_bytes = sequence
    return event


def heartbeat(sequence: int) -> _Event:
    """A sign of life."""
    return _Event(sequence=sequence, heartbeat=transfer_pb2.TransferHeartbeat())


def finished(
    sequence: int, state: int = transfer_pb2.TRANSFER_STATE_SUCCEEDED, **failure: Any
) -> _Event:
    """The end."""
    event = _Event(sequence=sequence)
    event.finished.transfer.name = NAME
    event.finished.transfer.state = transfer_pb2.TransferState.ValueType(state)
    for key, value in failure.items():
        setattr(event.finished.transfer.outcome.failure, key, value)
    return event


def happened(*cursors: int, upto: int = 0) -> _Events:
    """Events of the store, and how far the history was read."""
    answer = _Events(cursor=upto or max(cursors, default=0))
    for cursor in cursors:
        answer.events.add(cursor=cursor, action="tag", subject=f"images/{cursor}")
    return answer


def unknown_arm(sequence: int) -> _Event:
    """An event of a kind that came after this client."""
    event = _Event(sequence=sequence)
    # Field 999, length-delimited, empty.
    event.MergeFromString(b"\xba\x3e\x00")
    return event


# --- the daemon --------------------------------------------------------------------------------


@dataclass
class ScriptedDaemon:
    """A server whose answers are lists: one for each call of a method, the last for all further."""

    address: str
    watches: list[Sequence[Step]] = field(default_factory=list)
    """What each attach of a watch is told, in turn."""
    events: list[Sequence[Step]] = field(default_factory=list)
    """The same for the events of the store."""
    answers: dict[str, list[Message | Abort | str]] = field(default_factory=dict)
    """What each call of a method that answers once is answered, in turn, by the method's name."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """What to wait for before a method is answered."""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    """Every call: the method, and the request."""
    deadlines: dict[str, list[float | None]] = field(default_factory=dict)
    """The seconds that each call of a method had left when it came, by the method's name."""
    left: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """The methods of the calls that their callers left."""
    # Held here: what nothing but a cycle refers to may be collected while it waits.
    _never: asyncio.Event = field(default_factory=asyncio.Event)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Begins to listen."""
        self._server = grpc.aio.server()
        for module, base, add in (
            (
                transfer_service_pb2,
                _Transfers,
                transfer_service_pb2_grpc.add_TransferServiceServicer_to_server,
            ),
            (
                event_service_pb2,
                _StoreEvents,
                event_service_pb2_grpc.add_EventServiceServicer_to_server,
            ),
            (
                container_service_pb2,
                _Containers,
                container_service_pb2_grpc.add_ContainerServiceServicer_to_server,
            ),
            (
                lease_service_pb2,
                lease_service_pb2_grpc.LeaseServiceServicer,
                lease_service_pb2_grpc.add_LeaseServiceServicer_to_server,
            ),
            (
                filesystem_service_pb2,
                filesystem_service_pb2_grpc.FilesystemServiceServicer,
                filesystem_service_pb2_grpc.add_FilesystemServiceServicer_to_server,
            ),
            (
                image_service_pb2,
                image_service_pb2_grpc.ImageServiceServicer,
                image_service_pb2_grpc.add_ImageServiceServicer_to_server,
            ),
            (
                system_service_pb2,
                system_service_pb2_grpc.SystemServiceServicer,
                system_service_pb2_grpc.add_SystemServiceServicer_to_server,
            ),
        ):
            (service,) = module.DESCRIPTOR.services_by_name.values()
            servicer = _servicer(self, base, service)
            servicer.daemon = self
            add(servicer, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """Breaks every connection."""
        if self._server:
            await self._server.stop(None)
            self._server = None

    def requests(self, method: str) -> list[Any]:
        """The requests that a method got."""
        return [request for name, request in self.calls if name == method]

    async def called(self, method: str, times: int = 1) -> list[Any]:
        """Waits until a method was called so often; returns the requests."""
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: len(self.requests(method)) >= times)
        return self.requests(method)

    async def was_left(self, method: str) -> None:
        """Waits until a caller has left a call of that method."""
        async with asyncio.timeout(PATIENCE):
            while await self.left.get() != method:
                pass

    async def answer(self, method: str, request: Any, context: Any, usual: Message) -> Any:
        """Plays the next answer of a method."""
        script = self.answers.get(method, [usual])
        step = script[min(await self._note(method, request, context), len(script) - 1)]
        try:
            if gate := self.gates.get(method):
                await gate.wait()
            await self._end(step, context)
        except asyncio.CancelledError:
            self.left.put_nowait(method)
            raise
        return step

    async def stream(
        self, method: str, scripts: Sequence[Sequence[Step]], request: Any, context: Any
    ) -> AsyncIterator[Any]:
        """Plays the next script of a method that streams."""
        number = await self._note(method, request, context)
        try:
            for step in scripts[min(number, len(scripts) - 1)]:
                if isinstance(step, asyncio.Event):
                    await step.wait()
                elif isinstance(step, _Event):
                    yield transfer_service_pb2.WatchTransferResponse(event=step)
                elif isinstance(step, _Events):
                    yield step
                else:
                    await self._end(step, context)
        except (asyncio.CancelledError, GeneratorExit):
            self.left.put_nowait(method)
            raise

    async def _note(self, method: str, request: Any, context: Any) -> int:
        """Remembers a call; returns how many there were of that method before."""
        async with self._changed:
            self.deadlines.setdefault(method, []).append(context.time_remaining())
            self.calls.append((method, request))
            self._changed.notify_all()
        return len(self.requests(method)) - 1

    async def _end(self, step: object, context: Any) -> None:
        if step == HOLD:
            await self._never.wait()
        if isinstance(step, Abort):
            if step.details:
                context.set_trailing_metadata((("grpc-status-details-bin", step.details),))
            await context.abort(step.code, step.text)


def _unary(daemon: ScriptedDaemon, method: MethodDescriptor) -> Any:
    """Answers a method as the test says; else with an empty message, and the transfer's name."""
    response = message_factory.GetMessageClass(method.output_type)

    async def answer(_: object, request: Any, context: Any) -> Any:
        usual: Any = response()
        if "transfer" in method.output_type.fields_by_name:
            usual.transfer.name = getattr(request, "name", NAME)
        return await daemon.answer(method.name, request, context, usual)

    return answer


def _servicer(daemon: ScriptedDaemon, base: type, service: ServiceDescriptor) -> Any:
    answers = {one.name: _unary(daemon, one) for one in service.methods if not one.server_streaming}
    return type(service.name, (base,), answers)()


class _Transfers(transfer_service_pb2_grpc.TransferServiceServicer):
    """The streams; what answers once is added to it."""

    daemon: ScriptedDaemon

    async def WatchTransfer(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        scripts = self.daemon.watches
        async for response in self.daemon.stream("WatchTransfer", scripts, request, context):
            yield response


class _Containers(container_service_pb2_grpc.ContainerServiceServicer):
    """Nothing was changed in any of them."""

    daemon: ScriptedDaemon

    async def DiffContainer(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        async for response in self.daemon.stream("DiffContainer", [[]], request, context):
            yield response


class _StoreEvents(event_service_pb2_grpc.EventServiceServicer):
    daemon: ScriptedDaemon

    async def WatchEvents(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        scripts = self.daemon.events
        async for response in self.daemon.stream("WatchEvents", scripts, request, context):
            yield response


# --- the clients, behind one face --------------------------------------------------------------


class Face:
    """A client of either kind, for tests that run in an event loop."""

    client: Any

    async def call(self, function: Callable[..., Any], *words: Any, **options: Any) -> Any:
        """Calls a method of the client, or of a stream."""
        raise NotImplementedError

    async def next(self, stream: Any) -> Any:
        """A stream's next event; None at its end."""
        raise NotImplementedError

    async def rest(self, stream: Any) -> list[Any]:
        """Everything that is left of a stream, or of a list that comes page by page."""
        raise NotImplementedError

    async def leave_after_first(self, begin: Callable[[], Any]) -> Any:
        """Begins a stream in a loop, and breaks out of the loop at the first event."""
        raise NotImplementedError

    async def close(self, stream: Any) -> None:
        """Closes a stream, or the client."""
        raise NotImplementedError

    def using(self, stream: Any) -> AbstractAsyncContextManager[Any]:
        """The stream's own context manager."""
        raise NotImplementedError


class SyncFace(Face):
    """`Client`, called in threads."""

    def __init__(self, address: str, **options: Any) -> None:
        self.client = Client(address, **options)

    async def call(self, function: Callable[..., Any], *words: Any, **options: Any) -> Any:
        return await asyncio.to_thread(function, *words, **options)

    async def next(self, stream: Any) -> Any:
        return await asyncio.to_thread(next, stream, None)

    async def rest(self, stream: Any) -> list[Any]:
        return await asyncio.to_thread(list, stream)

    async def leave_after_first(self, begin: Callable[[], Any]) -> Any:
        def loop() -> Any:
            for event in begin():
                return event
            return None

        return await asyncio.to_thread(loop)

    async def close(self, stream: Any) -> None:
        await asyncio.to_thread(stream.close)

    @asynccontextmanager
    async def using(self, stream: Any) -> AsyncIterator[Any]:
        await asyncio.to_thread(stream.__enter__)
        try:
            yield stream
        finally:
            await asyncio.to_thread(stream.__exit__, None, None, None)


class AsyncFace(Face):
    """`AsyncClient`."""

    def __init__(self, address: str, **options: Any) -> None:
        self.client = AsyncClient(address, **options)

    async def call(self, function: Callable[..., Any], *words: Any, **options: Any) -> Any:
        result = function(*words, **options)
        return await result if inspect.isawaitable(result) else result

    async def next(self, stream: Any) -> Any:
        return await anext(stream, None)

    async def rest(self, stream: Any) -> list[Any]:
        return [item async for item in stream]

    async def leave_after_first(self, begin: Callable[[], Any]) -> Any:
        async for event in begin():
            return event
        return None

    async def close(self, stream: Any) -> None:
        await stream.aclose()

    @asynccontextmanager
    async def using(self, stream: Any) -> AsyncIterator[Any]:
        async with stream:
            yield stream


async def within(waiting: Awaitable[_Result]) -> _Result:
    """Waits for what must come."""
    return await asyncio.wait_for(waiting, PATIENCE)


def sequences(events: Iterable[_Event]) -> list[int]:
    """The events' numbers."""
    return [event.sequence for event in events]

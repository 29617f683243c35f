"""A daemon that does what a case says, behind a connection that can be cut."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import grpc
import grpc.aio
from google.rpc import status_pb2

from imgd.conformance.v1.case_pb2 import Answer, FaultyDaemon
from tests.certificates import Authority, Certificate

__all__ = ["Faulty", "Trust"]

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_NET = 60.0
_TLS = (FaultyDaemon.TRANSPORT_TLS, FaultyDaemon.TRANSPORT_MUTUAL_TLS)


class Trust:
    """The authority of daemon and clients, another one, and a certificate for each side."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder / "own")
        self.bundle = authority.bundle.read_text()
        self.other = Authority(folder / "other").bundle.read_text()
        self.server: Certificate = authority.issue("127.0.0.1", "localhost")
        self.client: Certificate = authority.issue("client.test")


class Faulty:
    """A scripted daemon. Use it as a context manager."""

    def __init__(self, script: FaultyDaemon, folder: Path, trust: Callable[[], Trust]) -> None:
        self._script = script
        self._folder = folder
        self._trust = trust
        self._answers = {script.method: list(script.answers) for script in script.scripts}
        self._changed = asyncio.Condition()
        self._connections: set[asyncio.StreamWriter] = set()
        self._server: grpc.aio.Server | None = None
        self._front: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._passed = 0
        self.calls: Counter[str] = Counter()
        """How often each method was called."""
        self.left: Counter[str] = Counter()
        """How many calls of each method their callers left."""
        self.address = ""
        """What clients connect to."""

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        self._server.add_generic_rpc_handlers([_Handler(self._serve)])
        if self._script.transport in _TLS:
            trust = self._trust()
            mutual = self._script.transport == FaultyDaemon.TRANSPORT_MUTUAL_TLS
            pair = (trust.server.key.read_bytes(), trust.server.chain.read_bytes())
            port = self._server.add_secure_port(
                "127.0.0.1:0",
                grpc.ssl_server_credentials(
                    [pair], trust.bundle.encode() if mutual else None, mutual
                ),
            )
        else:
            port = self._server.add_insecure_port("127.0.0.1:0")
        await self._server.start()

        async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._pass_on(port, reader, writer)

        if self._script.transport == FaultyDaemon.TRANSPORT_UNIX:
            path = self._folder / "faulty.sock"
            self._front = await asyncio.start_unix_server(connect, path)
            self.address = f"unix:{path}"
        else:
            self._front = await asyncio.start_server(connect, "127.0.0.1", 0)
            self.address = f"127.0.0.1:{self._front.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._front
        assert self._server
        self._front.close()
        self.cut()
        await self._server.stop(None)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_NET)

    def cut(self) -> None:
        """Ends every connection. What was passed on before arrives: a reset would discard it."""
        for writer in self._connections:
            writer.close()

    async def _quiet(self) -> None:
        """Waits until what was said has gone through the front. gRPC tells nobody when its own
        thread has written it, so nothing has to come for a while."""
        passed, since = -1, 0
        while since < 5:
            since = since + 1 if passed == self._passed else 0
            passed = self._passed
            await asyncio.sleep(0.03)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits until something holds of the calls. Raises TimeoutError."""
        async with asyncio.timeout(_NET), self._changed:
            await self._changed.wait_for(holds)

    async def _note(self, counter: Counter[str], method: str) -> None:
        async with self._changed:
            counter[method] += 1
            self._changed.notify_all()

    # --- the front ---------------------------------------------------------------------------

    async def _pass_on(
        self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, upstream_writer}
        self._connections |= ends
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, upstream_writer, ends))
                group.create_task(self._copy(upstream_reader, writer, ends))
        finally:
            self._connections -= ends

    async def _copy(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        ends: set[asyncio.StreamWriter],
    ) -> None:
        """Passes bytes on until either side ends, and then ends both."""
        try:
            while data := await reader.read(64 << 10):
                writer.write(data)
                await writer.drain()
                self._passed += len(data)
        except ConnectionError:
            pass
        finally:
            for end in ends:
                end.close()

    # --- the daemon --------------------------------------------------------------------------

    async def _serve(
        self, method: str, requests: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[bytes]:
        metadata = dict(context.invocation_metadata())
        if self._script.token and metadata.get("authorization") != f"Bearer {self._script.token}":
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")
        answers = self._answers.get(method)
        if not answers:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")
            return
        answer = answers[min(self.calls[method], len(answers) - 1)]
        try:
            async for _ in requests:
                pass
            await self._note(self.calls, method)
            for message in answer.messages:
                if message.HasField("delay"):
                    await asyncio.sleep(message.delay.ToTimedelta().total_seconds())
                yield message.content.value + message.unknown_fields
            await self._end(answer, context)
        except asyncio.CancelledError:
            # Not awaited: this task is being cancelled.
            note = asyncio.create_task(self._note(self.left, method))
            self._tasks.add(note)
            note.add_done_callback(self._tasks.discard)
            raise

    async def _end(self, answer: Answer, context: Any) -> None:
        match answer.WhichOneof("end"):
            case "status":
                status = answer.status
                found = status_pb2.Status(code=status.code, message=status.message)
                found.details.extend(status.details)
                trailers = (
                    (("grpc-status-details-bin", found.SerializeToString()),)
                    if status.details
                    else ()
                )
                await context.abort(_CODES[status.code], status.message, trailers)
            case "cut":
                await self._quiet()
                self.cut()
                await asyncio.Event().wait()
            case "hang":
                await asyncio.Event().wait()


class _Handler(grpc.GenericRpcHandler):
    """Serves every method as a stream of bytes in both directions: the wire knows no arity."""

    def __init__(self, serve: Callable[[str, Any, Any], AsyncIterator[bytes]]) -> None:
        self._serve = serve

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any]:
        method = handler_call_details.method.removeprefix("/")

        async def behave(requests: Any, context: Any) -> AsyncIterator[bytes]:
            async for message in self._serve(method, requests, context):
                yield message

        return grpc.stream_stream_rpc_method_handler(behave)

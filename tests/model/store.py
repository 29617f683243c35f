"""A store served in this process for model tests: started, stopped and called from any thread."""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from imgd.v1.container_service_pb2_grpc import ContainerServiceStub
from imgd.v1.content_service_pb2_grpc import ContentServiceStub
from imgd.v1.image_service_pb2_grpc import ImageServiceStub
from imgd.v1.lease_service_pb2_grpc import LeaseServiceStub
from imgd.v1.system_service_pb2_grpc import SystemServiceStub
from imgd.v1.transfer_service_pb2_grpc import TransferServiceStub
from imgd_server.images import expire
from imgd_server.transfer import now_us
from tests.contract.api.served import Api, serve

__all__ = ["Clock", "RefusalError", "Store", "refusal_of", "running_loop"]

T = TypeVar("T")

# A net for a call that never ends.
PATIENCE = 60.0


class Clock:
    """The time that the server sees: the machine's, and what tests add to it."""

    def __init__(self) -> None:
        self.ahead = 0.0
        self._real = time.time_ns

    def __call__(self) -> int:
        return self._real() + int(self.ahead * 1e9)

    @contextmanager
    def installed(self) -> Iterator[Clock]:
        with mock.patch("time.time_ns", self):
            yield self


class _Loop:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="server", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    def close(self) -> None:
        self.run(self._loop.shutdown_default_executor())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()


_shared: list[_Loop] = []


@contextmanager
def running_loop() -> Iterator[None]:
    """The loop on which stores are served meanwhile."""
    _shared.append(_Loop())
    try:
        yield
    finally:
        _shared.pop().close()


class RefusalError(Exception):
    """A call that was refused as errors.proto says."""

    def __init__(self, reason: str, message: str, holders: list[str], field: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason, self.holders, self.field = reason, sorted(holders), field


def refusal_of(error: Any) -> RefusalError:
    """The refusal in an error. Fails where it is none of ours."""
    status = rpc_status.from_call(error)
    assert status, error
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info), error
    holders: list[str] = []
    field = ""
    for detail in status.details[1:]:
        failure, request = error_details_pb2.PreconditionFailure(), error_details_pb2.BadRequest()
        if detail.Unpack(failure):
            holders += [one.subject for one in failure.violations]
        elif detail.Unpack(request):
            field = request.field_violations[0].field
    return RefusalError(info.reason, status.message, holders, field)


class Store:
    """A served store in a folder of its own. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="imgd-")
        self.start()

    def start(self) -> None:
        self._stack = AsyncExitStack()
        self.api: Api = _shared[-1].run(
            self._stack.enter_async_context(serve(Path(self._folder.name)))
        )
        self._channel = grpc.insecure_channel(self.api.address)
        self.images = ImageServiceStub(self._channel)
        self.containers = ContainerServiceStub(self._channel)
        self.contents = ContentServiceStub(self._channel)
        self.leases = LeaseServiceStub(self._channel)
        self.system = SystemServiceStub(self._channel)
        self.transfers = TransferServiceStub(self._channel)

    def stop(self) -> None:
        self._channel.close()
        _shared[-1].run(self._stack.aclose())

    def restart(self) -> None:
        """Stops the server and starts another over the same stores."""
        self.stop()
        self.start()

    def close(self) -> None:
        self.stop()
        self._folder.cleanup()

    def expire(self) -> None:
        """Ends what is over, as house-keeping does."""
        self.run(expire(self.api.metadata, now_us))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs what belongs to the server's loop."""
        return _shared[-1].run(work)

    def call(self, method: Callable[..., Any], request: Message) -> Any:
        """A call's answer; a stream's are a list. Raises RefusalError."""
        try:
            answer = method(request, timeout=PATIENCE)
            return list(answer) if hasattr(answer, "__next__") else answer
        except grpc.RpcError as error:
            raise refusal_of(error) from None

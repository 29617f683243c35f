"""SystemService."""

from __future__ import annotations

from imgd.v1 import system_pb2, system_service_pb2, system_service_pb2_grpc

from ._calls import AsyncCalls, Calls

__all__ = ["AsyncSystem", "System"]


class System:
    """The daemon itself."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = system_service_pb2_grpc.SystemServiceStub(calls.channel)

    def info(self) -> system_pb2.SystemInfo:
        """The daemon's version and state."""
        request = system_service_pb2.GetInfoRequest()
        return self._calls.unary(self._stub.GetInfo, request).info

    def capabilities(self) -> system_pb2.Capabilities:
        """What this daemon implements, and its bounds."""
        request = system_service_pb2.GetCapabilitiesRequest()
        return self._calls.unary(self._stub.GetCapabilities, request).capabilities

    def disk_usage(self) -> system_service_pb2.GetDiskUsageResponse:
        """The space used by each kind of thing, what is shared counted once."""
        request = system_service_pb2.GetDiskUsageRequest()
        return self._calls.unary(self._stub.GetDiskUsage, request)

    def collect(
        self, *, dry_run: bool = False, timeout: float | None = None
    ) -> system_pb2.CollectionReport:
        """Frees the content that nothing refers to, beside everything else that runs.

        It takes as long as the disk does: the client's timeout does not apply. `timeout` is in
        seconds; None for no bound.
        """
        request = system_service_pb2.CollectGarbageRequest(dry_run=dry_run)
        return self._calls.within(timeout, self._stub.CollectGarbage, request).report


class AsyncSystem:
    """The daemon itself, for asyncio; see `System`."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = system_service_pb2_grpc.SystemServiceStub(calls.channel)

    async def info(self) -> system_pb2.SystemInfo:
        """The daemon's version and state."""
        request = system_service_pb2.GetInfoRequest()
        return (await self._calls.unary(self._stub.GetInfo, request)).info

    async def capabilities(self) -> system_pb2.Capabilities:
        """What this daemon implements, and its bounds."""
        request = system_service_pb2.GetCapabilitiesRequest()
        return (await self._calls.unary(self._stub.GetCapabilities, request)).capabilities

    async def disk_usage(self) -> system_service_pb2.GetDiskUsageResponse:
        """The space used by each kind of thing, what is shared counted once."""
        request = system_service_pb2.GetDiskUsageRequest()
        return await self._calls.unary(self._stub.GetDiskUsage, request)

    async def collect(
        self, *, dry_run: bool = False, timeout: float | None = None
    ) -> system_pb2.CollectionReport:
        """Frees the content that nothing refers to; see `System.collect`."""
        request = system_service_pb2.CollectGarbageRequest(dry_run=dry_run)
        return (await self._calls.within(timeout, self._stub.CollectGarbage, request)).report

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

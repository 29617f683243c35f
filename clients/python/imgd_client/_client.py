"""The clients."""

from __future__ import annotations

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self, Unpack

import grpc
import grpc.aio

from . import _requests
from ._address import default_address
from ._calls import AsyncCalls, Calls
from ._pull import AsyncPullStream, PullStream
from ._secure import Tls, check, open_async, open_sync
from ._streams import SyncCall
from ._transfers import AsyncTransfers, Transfers
from ._watch import AsyncWatch, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from imgd.v1 import event_service_pb2

    from ._archives import Archives, AsyncArchives
    from ._containers import AsyncContainers, Containers
    from ._contents import AsyncContents, Contents
    from ._events import AsyncEventStream, EventStream
    from ._filesystem import AsyncFiles, Files
    from ._images import AsyncImages, Images
    from ._leases import AsyncLeases, Leases
    from ._registry import AsyncRegistry, Registry
    from ._system import AsyncSystem, System

__all__ = ["AsyncClient", "Client"]

# Longer than any unary call takes that does not wait for a disk or a registry.
_TIMEOUT = 30.0
# How long a daemon may take to come back, an update of the machine included.
_PATIENCE = 60.0


class Client:
    """A connection to the daemon, for threads. Use it as a context manager, or close it.

    Args:
        address: `unix:PATH`, `unix:///PATH` or `HOST:PORT`; None for `IMGD_ADDRESS`, else
            `unix:///run/imgd/imgd.sock` for root and `unix:$XDG_RUNTIME_DIR/imgd.sock` otherwise.
        timeout: Seconds for each call that answers once; None for no bound. Watches have none, and
            methods that wait for a disk have a `timeout` of their own.
        patience: Seconds for which a watch that lost the daemon tries to attach again.
        tls: How to speak TLS with it; None for clear text.
        token: A bearer token to send with each call; in clear text on this machine only.

    Raises:
        ValueError: The address is malformed, or the token would leave this machine in clear text.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float | None = _TIMEOUT,
        patience: float = _PATIENCE,
        tls: Tls | None = None,
        token: str = "",
    ) -> None:
        self.address = address or default_address()
        """Where the daemon is."""
        channel = open_sync(self.address, tls, token)
        self._calls = Calls(channel, timeout, patience)

    @property
    def channel(self) -> grpc.Channel:
        """The gRPC channel, for services that this wrapper has no methods for."""
        return self._calls.channel

    @cached_property
    def images(self) -> Images:
        """The images of the store."""
        from ._images import Images

        return Images(self._calls)

    @cached_property
    def archives(self) -> Archives:
        """Images as archives: save, load."""
        from ._archives import Archives

        return Archives(self._calls)

    @cached_property
    def containers(self) -> Containers:
        """Registered uses of images."""
        from ._containers import Containers

        return Containers(self._calls)

    @cached_property
    def contents(self) -> Contents:
        """Blobs by digest."""
        from ._contents import Contents

        return Contents(self._calls)

    @cached_property
    def files(self) -> Files:
        """The files of images."""
        from ._filesystem import Files

        return Files(self._calls)

    @cached_property
    def leases(self) -> Leases:
        """Expiring holds on images and blobs."""
        from ._leases import Leases

        return Leases(self._calls)

    @cached_property
    def registry(self) -> Registry:
        """Look-ups in registries that pull nothing."""
        from ._registry import Registry

        return Registry(self._calls)

    @cached_property
    def transfers(self) -> Transfers:
        """Pulls and other transfers."""
        return Transfers(self._calls)

    @cached_property
    def system(self) -> System:
        """The daemon itself."""
        from ._system import System

        return System(self._calls)

    def pull(
        self,
        reference: str,
        *,
        detach: bool = False,
        min_interval: float | None = None,
        heartbeats: bool = False,
        **options: Unpack[_requests.PullOptions],
    ) -> PullStream:
        """Starts a pull that is this caller's: leaving it cancels it, unless it is detached.

        Args:
            reference: The image in its registry, such as `redis:7`.
            detach: Leaving the stream does not cancel the pull.
            min_interval: The shortest time between two updates in seconds; None for 0.1.
            heartbeats: Pass on the events that only say that the connection lives.
            options: See `PullOptions`.
        """
        return self.transfers.pull(
            reference, detach=detach, min_interval=min_interval, heartbeats=heartbeats, **options
        )

    def watch(
        self, name: str, *, min_interval: float | None = None, heartbeats: bool = False
    ) -> Watch:
        """A transfer's events, in whatever state it is. Leaving does not touch the transfer."""
        return self.transfers.watch(name, min_interval=min_interval, heartbeats=heartbeats)

    def events(
        self,
        *,
        after_cursor: int = 0,
        since: datetime | None = None,
        until: datetime | None = None,
        filters: Iterable[str] = (),
    ) -> EventStream:
        """What happens in the store, from now on if nothing else is said.

        Args:
            after_cursor: Go on behind this place of the history, an event's or a stream's `cursor`.
            since: From this time on.
            until: Up to this time; without it the stream goes on.
            filters: `key=value` with the keys `type`, `event`, `image`, `container`, `label`;
                repeats of a key OR, different keys AND.
        """
        from imgd.v1 import event_service_pb2_grpc

        from ._events import EventStream, watch_events

        stub = event_service_pb2_grpc.EventServiceStub(self.channel)
        request = watch_events(after_cursor, since, until, filters)

        def attach(position: int) -> SyncCall[event_service_pb2.WatchEventsResponse]:
            return stub.WatchEvents(request(position))

        patience = self._calls.patience
        found = EventStream(attach, patience=patience, after_cursor=after_cursor)
        self._calls.streams.add(found)
        return found

    def close(self) -> None:
        """Closes the connection, every watch, and every pull that is this client's. Idempotent.

        What is called after that raises ValueError.
        """
        self._calls.streams.close()
        self._calls.open_channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient:
    """A connection to the daemon, for asyncio; see `Client`.

    It connects at the first use, in the event loop that runs then, and belongs to that loop.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        timeout: float | None = _TIMEOUT,
        patience: float = _PATIENCE,
        tls: Tls | None = None,
        token: str = "",
    ) -> None:
        self.address = address or default_address()
        """Where the daemon is."""
        check(self.address, tls, token)
        self._tls = tls
        self._token = token
        self._closed = False
        self._timeout = timeout
        self._patience = patience

    @property
    def channel(self) -> grpc.aio.Channel:
        """The gRPC channel, for services that this wrapper has no methods for."""
        return self._calls.channel

    @cached_property
    def images(self) -> AsyncImages:
        """The images of the store."""
        from ._images import AsyncImages

        return AsyncImages(self._calls)

    @cached_property
    def archives(self) -> AsyncArchives:
        """See `Client.archives`."""
        from ._archives import AsyncArchives

        return AsyncArchives(self._calls)

    @cached_property
    def containers(self) -> AsyncContainers:
        """Registered uses of images."""
        from ._containers import AsyncContainers

        return AsyncContainers(self._calls)

    @cached_property
    def contents(self) -> AsyncContents:
        """Blobs by digest."""
        from ._contents import AsyncContents

        return AsyncContents(self._calls)

    @cached_property
    def files(self) -> AsyncFiles:
        """The files of images."""
        from ._filesystem import AsyncFiles

        return AsyncFiles(self._calls)

    @cached_property
    def leases(self) -> AsyncLeases:
        """Expiring holds on images and blobs."""
        from ._leases import AsyncLeases

        return AsyncLeases(self._calls)

    @cached_property
    def registry(self) -> AsyncRegistry:
        """Look-ups in registries that pull nothing."""
        from ._registry import AsyncRegistry

        return AsyncRegistry(self._calls)

    @cached_property
    def transfers(self) -> AsyncTransfers:
        """Pulls and other transfers."""
        return AsyncTransfers(self._calls)

    @cached_property
    def system(self) -> AsyncSystem:
        """The daemon itself."""
        from ._system import AsyncSystem

        return AsyncSystem(self._calls)

    def pull(
        self,
        reference: str,
        *,
        detach: bool = False,
        min_interval: float | None = None,
        heartbeats: bool = False,
        **options: Unpack[_requests.PullOptions],
    ) -> AsyncPullStream:
        """A pull that is this caller's, started when it is used; see `Client.pull`."""
        return self.transfers.pull(
            reference, detach=detach, min_interval=min_interval, heartbeats=heartbeats, **options
        )

    def watch(
        self, name: str, *, min_interval: float | None = None, heartbeats: bool = False
    ) -> AsyncWatch:
        """A transfer's events, in whatever state it is. Leaving does not touch the transfer."""
        return self.transfers.watch(name, min_interval=min_interval, heartbeats=heartbeats)

    def events(
        self,
        *,
        after_cursor: int = 0,
        since: datetime | None = None,
        until: datetime | None = None,
        filters: Iterable[str] = (),
    ) -> AsyncEventStream:
        """What happens in the store; see `Client.events`."""
        from imgd.v1 import event_service_pb2_grpc

        from ._events import AsyncEventStream, watch_events

        stub = event_service_pb2_grpc.EventServiceStub(self.channel)
        request = watch_events(after_cursor, since, until, filters)
        patience = self._calls.patience
        found = AsyncEventStream(
            lambda position: stub.WatchEvents(request(position)),
            patience=patience,
            after_cursor=after_cursor,
        )
        self._calls.streams.add(found)
        return found

    @cached_property
    def _calls(self) -> AsyncCalls:
        if self._closed:
            raise ValueError("this client is closed: make another")
        channel = open_async(self.address, self._tls, self._token)
        return AsyncCalls(channel, self._timeout, self._patience)

    async def aclose(self) -> None:
        """Closes the connection, every watch, and every pull that is this client's. Idempotent.

        What is called after that raises ValueError.
        """
        self._closed = True
        if "_calls" in self.__dict__:
            await self._calls.streams.aclose()
            await self._calls.open_channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

"""TransferService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio
from google.protobuf import duration_pb2

from imgd.v1 import transfer_pb2, transfer_service_pb2, transfer_service_pb2_grpc
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.metadata import TransferRecord
from imgd_server.oci import FormatError, Reference
from imgd_server.rpc import _convert
from imgd_server.rpc._pages import decode_token, encode_token, fitting, page_size
from imgd_server.transfer import (
    ArchiveEndpoint,
    Endpoint,
    LayoutEndpoint,
    LeaseRequest,
    PullPolicy,
    RegistryEndpoint,
    StoreEndpoint,
    TransferManager,
    TransferSpec,
    TransferState,
)

__all__ = ["TRANSFERS", "TransferServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

# The pairs that StartTransfer knows, for GetCapabilities.
TRANSFERS = (
    "registry>store",
    "store>registry",
    "registry>registry",
    "archive>store",
    "layout>store",
    "store>layout",
)

_POLICIES = {
    transfer_pb2.PULL_POLICY_UNSPECIFIED: PullPolicy.ALWAYS,
    transfer_pb2.PULL_POLICY_ALWAYS: PullPolicy.ALWAYS,
    transfer_pb2.PULL_POLICY_IF_NOT_PRESENT: PullPolicy.IF_NOT_PRESENT,
    transfer_pb2.PULL_POLICY_NEVER: PullPolicy.NEVER,
}


class TransferServicer(transfer_service_pb2_grpc.TransferServiceServicer):
    """Starts, watches and steers transfers."""

    def __init__(self, manager: TransferManager) -> None:
        self._manager = manager

    async def StartTransfer(
        self, request: transfer_service_pb2.StartTransferRequest, context: Context
    ) -> transfer_service_pb2.StartTransferResponse:
        """Accepts one."""
        record = await self._manager.start(_spec(request), request.request_id)
        return transfer_service_pb2.StartTransferResponse(transfer=_convert.transfer(record))

    async def WatchTransfer(
        self, request: transfer_service_pb2.WatchTransferRequest, context: Context
    ) -> AsyncIterator[transfer_service_pb2.WatchTransferResponse]:
        """Streams one's events."""
        interval = _seconds(request.min_interval) if request.HasField("min_interval") else None
        async for event in self._manager.watch(_uid(request.name), interval):
            yield transfer_service_pb2.WatchTransferResponse(event=_convert.transfer_event(event))

    async def GetTransfer(
        self, request: transfer_service_pb2.GetTransferRequest, context: Context
    ) -> transfer_service_pb2.GetTransferResponse:
        """Returns one."""
        record = await self._manager.get(_uid(request.name))
        return transfer_service_pb2.GetTransferResponse(transfer=_convert.transfer(record))

    async def ListTransfers(
        self, request: transfer_service_pb2.ListTransfersRequest, context: Context
    ) -> transfer_service_pb2.ListTransfersResponse:
        """Lists a page."""
        states = [TransferState(state) for state in request.states if state]
        query = ["ListTransfers", sorted({state.name for state in states})]
        after = None
        if request.page_token:
            after = decode_token(query, request.page_token, (int, str))
        limit = page_size(request.page_size)
        found = await self._manager.list(states, after, limit + 1)
        answer = transfer_service_pb2.ListTransfersResponse(
            transfers=fitting(_convert.transfer(record) for record in found[:limit])
        )
        if len(answer.transfers) < len(found):
            last = found[len(answer.transfers) - 1]
            answer.next_page_token = encode_token(query, [last.created, last.uid])
        return answer

    async def CancelTransfer(
        self, request: transfer_service_pb2.CancelTransferRequest, context: Context
    ) -> transfer_service_pb2.CancelTransferResponse:
        """Cancels one."""
        record = await self._manager.cancel(_uid(request.name))
        return transfer_service_pb2.CancelTransferResponse(transfer=_convert.transfer(record))

    async def ResumeTransfer(
        self, request: transfer_service_pb2.ResumeTransferRequest, context: Context
    ) -> transfer_service_pb2.ResumeTransferResponse:
        """Runs one again."""
        record = await self._manager.resume(
            _uid(request.name),
            *(
                _convert.credentials(getattr(request, side)) if request.HasField(side) else None
                for side in ("source_credentials", "destination_credentials")
            ),
        )
        return transfer_service_pb2.ResumeTransferResponse(transfer=_convert.transfer(record))

    async def DeleteTransfer(
        self, request: transfer_service_pb2.DeleteTransferRequest, context: Context
    ) -> transfer_service_pb2.DeleteTransferResponse:
        """Forgets one."""
        await self._manager.delete(_uid(request.name))
        return transfer_service_pb2.DeleteTransferResponse()

    async def Pull(
        self, request: transfer_service_pb2.PullRequest, context: Context
    ) -> AsyncIterator[transfer_service_pb2.PullResponse]:
        """Starts a pull and streams its events; leaving cancels it unless detached."""
        async with aclosing(self._follow(_pull_spec(request), request)) as events:
            async for event in events:
                yield transfer_service_pb2.PullResponse(event=event)

    async def Push(
        self, request: transfer_service_pb2.PushRequest, context: Context
    ) -> AsyncIterator[transfer_service_pb2.PushResponse]:
        """Starts a push and streams its events; leaving cancels it unless detached."""
        async with aclosing(self._follow(_push_spec(request), request)) as events:
            async for event in events:
                yield transfer_service_pb2.PushResponse(event=event)

    async def _follow(
        self,
        spec: TransferSpec,
        request: transfer_service_pb2.PullRequest | transfer_service_pb2.PushRequest,
    ) -> AsyncGenerator[transfer_pb2.TransferEvent, None]:
        shared = not request.detach
        starting = asyncio.ensure_future(
            self._manager.start(spec, request.request_id, shared=shared)
        )
        interval = _seconds(request.min_interval) if request.HasField("min_interval") else None
        try:
            # A caller who leaves while it is accepted must not leave it behind unwatched.
            record = await asyncio.shield(starting)
            async for event in self._manager.watch(record.uid, interval):
                yield _convert.transfer_event(event)
        finally:
            if shared:
                starting.add_done_callback(self._leave)

    def _leave(self, starting: asyncio.Future[TransferRecord]) -> None:
        if not starting.cancelled() and not starting.exception():
            self._manager.leave(starting.result().uid)


def _uid(name: str) -> str:
    return name.removeprefix("transfers/")


def _seconds(value: duration_pb2.Duration) -> float:
    return value.seconds + value.nanos / 1e9


def _spec(request: transfer_service_pb2.StartTransferRequest) -> TransferSpec:
    source = request.source.WhichOneof("source")
    destination = request.destination.WhichOneof("destination")
    if f"{source}>{destination}" not in TRANSFERS:
        raise Error(
            Reason.UNSUPPORTED,
            f"this daemon does not implement transfers from {source or 'nothing'} to "
            f"{destination or 'nothing'}; GetCapabilities lists those that it does",
        )
    if source in ("archive", "layout"):
        _refuse_wishes(request.destination.store, "unpack")
    if "registry" not in (source, destination):
        _refuse_wishes(request.limits, "max_bytes_per_second")
    return _transfer_spec(
        _source(request.source),
        _destination(request.destination),
        request.platforms,
        request.limits,
    )


def _destination(destination: transfer_pb2.TransferDestination) -> Endpoint:
    if destination.HasField("registry"):
        return _registry(destination.registry)
    if destination.HasField("layout"):
        return LayoutEndpoint(destination.layout.path, destination.layout.ref_name)
    return _store(destination.store)


def _source(source: transfer_pb2.TransferSource) -> Endpoint:
    if source.HasField("archive"):
        return ArchiveEndpoint(tuple(source.archive.images))
    if source.HasField("layout"):
        return LayoutEndpoint(source.layout.path, source.layout.ref_name)
    if source.HasField("registry"):
        return _registry(source.registry)
    return _store(source.store, "source.store.")


def _pull_spec(request: transfer_service_pb2.PullRequest) -> TransferSpec:
    registry = transfer_pb2.RegistryEndpoint(
        reference=request.reference,
        all_tags=request.all_tags,
        include_referrers=request.include_referrers,
    )
    if request.HasField("credentials"):
        registry.credentials.CopyFrom(request.credentials)
    store = transfer_pb2.StoreEndpoint(policy=request.policy, unpack=request.unpack)
    if request.HasField("lease"):
        store.lease.CopyFrom(request.lease)
    return _transfer_spec(_registry(registry), _store(store), request.platforms, request.limits)


def _push_spec(request: transfer_service_pb2.PushRequest) -> TransferSpec:
    registry = transfer_pb2.RegistryEndpoint(
        reference=request.reference or _own_name(request.image),
        all_tags=request.all_tags,
        include_referrers=request.include_referrers,
    )
    if request.HasField("credentials"):
        registry.credentials.CopyFrom(request.credentials)
    store = StoreEndpoint(image=request.image)
    return _transfer_spec(store, _registry(registry), request.platforms, request.limits)


def _own_name(image: str) -> str:
    """Where an image is pushed that is to keep its name."""
    try:
        Reference.parse(image)
    except FormatError as error:
        raise FieldError(
            "reference", "reference: is required, for the image is not given by a name"
        ) from error
    return image


def _transfer_spec(
    source: Endpoint,
    destination: Endpoint,
    platforms: transfer_pb2.PlatformSelection,
    limits: transfer_pb2.TransferLimits,
) -> TransferSpec:
    return TransferSpec(
        source=source,
        destination=destination,
        platforms=tuple(platforms.platforms),
        all_platforms=platforms.all,
        max_concurrency=limits.max_concurrency,
        max_bytes_per_second=limits.max_bytes_per_second,
        require_complete=platforms.require_complete,
    )


def _refuse_wishes(
    message: transfer_pb2.StoreEndpoint | transfer_pb2.TransferLimits, *names: str
) -> None:
    for name in names:
        if getattr(message, name):
            raise Error(Reason.UNSUPPORTED, f"this daemon does not implement {name} here")


def _registry(registry: transfer_pb2.RegistryEndpoint) -> RegistryEndpoint:
    given = registry.HasField("credentials")
    return RegistryEndpoint(
        registry.reference,
        _convert.credentials(registry.credentials) if given else None,
        all_tags=registry.all_tags,
        include_referrers=registry.include_referrers,
    )


def _store(store: transfer_pb2.StoreEndpoint, source: str = "") -> StoreEndpoint:
    """The store; `source` is the path of the field where it is one."""
    if source and not store.image:
        raise FieldError(f"{source}image", f"{source}image: is required")
    lease = store.lease
    return StoreEndpoint(
        tags=tuple(store.tags),
        policy=_POLICIES.get(store.policy, PullPolicy.ALWAYS),
        lease=LeaseRequest(lease.lease_id, _seconds(lease.ttl) or 3600.0)
        if store.HasField("lease")
        else None,
        unpack=store.unpack,
        image=store.image if source else "",
    )

"""TransferService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import suppress
from typing import TypeAlias, Unpack

from imgd.v1 import transfer_pb2, transfer_service_pb2, transfer_service_pb2_grpc

from . import _requests
from ._calls import AsyncCalls, Calls
from ._errors import ImgdError
from ._pull import AsyncPullStream, PullStream
from ._streams import AsyncCall, SyncCall
from ._watch import AsyncWatch, Watch

__all__ = ["AsyncTransfers", "Transfers"]

# A cancelled transfer ends within moments. A daemon that hangs is not waited for.
_LEAVING = 10.0

_State: TypeAlias = transfer_pb2.TransferState.ValueType


class Transfers:
    """Starting, watching and steering transfers."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = transfer_service_pb2_grpc.TransferServiceStub(calls.channel)

    def start(self, request: transfer_service_pb2.StartTransferRequest) -> transfer_pb2.Transfer:
        """Starts a transfer of any kind. Adds a `request_id` where there is none."""
        request = _requests.with_request_id(request)
        return self._calls.unary(self._stub.StartTransfer, request).transfer

    def start_pull(
        self, reference: str, **options: Unpack[_requests.PullOptions]
    ) -> transfer_pb2.Transfer:
        """Starts a pull, which goes on by itself, and returns its record at once."""
        return self.start(_requests.start_pull(reference, **options))

    def pull(
        self,
        reference: str,
        *,
        detach: bool = False,
        min_interval: float | None = None,
        heartbeats: bool = False,
        **options: Unpack[_requests.PullOptions],
    ) -> PullStream:
        """Starts a pull that is this caller's: leaving it cancels it, unless it is detached."""
        request = _requests.start_pull(reference, **options)
        return self._run(request, detach, min_interval, heartbeats)

    def push(
        self,
        image: str,
        reference: str = "",
        *,
        detach: bool = False,
        min_interval: float | None = None,
        heartbeats: bool = False,
        **options: Unpack[_requests.PushOptions],
    ) -> PullStream:
        """Starts a push that is this caller's, as a pull is; by default to the image's own name."""
        request = _requests.start_push(image, reference, **options)
        return self._run(request, detach, min_interval, heartbeats)

    def copy(
        self,
        source: str,
        destination: str,
        *,
        detach: bool = False,
        min_interval: float | None = None,
        heartbeats: bool = False,
        **options: Unpack[_requests.CopyOptions],
    ) -> PullStream:
        """Starts a copy between registries that is this caller's, as a pull is."""
        request = _requests.start_copy(source, destination, **options)
        return self._run(request, detach, min_interval, heartbeats)

    def follow(
        self,
        transfer: transfer_pb2.Transfer,
        *,
        detach: bool = False,
        min_interval: float | None = None,
    ) -> PullStream:
        """Takes a transfer that runs, such as one just resumed, as this caller's own."""
        return self._stream(transfer, detach, min_interval, False)

    def watch(
        self, name: str, *, min_interval: float | None = None, heartbeats: bool = False
    ) -> Watch:
        """A transfer's events, in whatever state it is. Leaving does not touch the transfer."""
        return self._watch(_requests.transfer_name(name), min_interval, heartbeats, False)

    def get(self, name: str) -> transfer_pb2.Transfer:
        """A transfer's record."""
        request = transfer_service_pb2.GetTransferRequest(name=_requests.transfer_name(name))
        return self._calls.unary(self._stub.GetTransfer, request).transfer

    def list(
        self, *, states: Iterable[_State] = (), page_size: int = 0
    ) -> Iterator[transfer_pb2.Transfer]:
        """Records, newest first, page by page as they are asked for."""
        request = transfer_service_pb2.ListTransfersRequest(states=states, page_size=page_size)
        while True:
            page = self._calls.unary(self._stub.ListTransfers, request)
            yield from page.transfers
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def cancel(self, name: str) -> transfer_pb2.Transfer:
        """Cancels a transfer, and returns its record when it has ended. Idempotent."""
        request = transfer_service_pb2.CancelTransferRequest(name=_requests.transfer_name(name))
        return self._calls.unary(self._stub.CancelTransfer, request).transfer

    def resume(
        self,
        name: str,
        *,
        source_credentials: transfer_pb2.RegistryCredentials | None = None,
        destination_credentials: transfer_pb2.RegistryCredentials | None = None,
    ) -> transfer_pb2.Transfer:
        """Runs an interrupted, failed or cancelled transfer again, with what is already here."""
        request = transfer_service_pb2.ResumeTransferRequest(
            name=_requests.transfer_name(name),
            source_credentials=source_credentials,
            destination_credentials=destination_credentials,
        )
        return self._calls.unary(self._stub.ResumeTransfer, request).transfer

    def delete(self, name: str) -> None:
        """Forgets a transfer that has ended, and lets go of what it left unfinished."""
        request = transfer_service_pb2.DeleteTransferRequest(name=_requests.transfer_name(name))
        self._calls.unary(self._stub.DeleteTransfer, request)

    def _run(
        self,
        request: transfer_service_pb2.StartTransferRequest,
        detach: bool,
        min_interval: float | None,
        heartbeats: bool,
    ) -> PullStream:
        try:
            transfer = self.start(request)
        except KeyboardInterrupt:
            # The daemon may have accepted it; the same request_id finds it.
            if not detach:
                with suppress(ImgdError):
                    self._leave(self.start(request).name, True)
            raise
        return self._stream(transfer, detach, min_interval, heartbeats)

    def _stream(
        self,
        transfer: transfer_pb2.Transfer,
        detach: bool,
        min_interval: float | None,
        heartbeats: bool,
    ) -> PullStream:
        watch = self._watch(transfer.name, min_interval, heartbeats, True)
        stream = PullStream(transfer, watch, self._leave, detach=detach)
        self._calls.streams.add(stream)
        return stream

    def _watch(
        self, name: str, min_interval: float | None, heartbeats: bool, attached: bool
    ) -> Watch:
        stub = self._stub

        def attach(after: int) -> SyncCall[transfer_service_pb2.WatchTransferResponse]:
            return stub.WatchTransfer(_requests.watch(name, after, min_interval))

        patience = self._calls.patience
        found = Watch(attach, patience=patience, heartbeats=heartbeats, attached=attached)
        self._calls.streams.add(found)
        return found

    def _leave(self, name: str, wait: bool) -> None:
        request = transfer_service_pb2.CancelTransferRequest(name=name)
        if wait:
            self._calls.unary(self._stub.CancelTransfer, request, at_most=_LEAVING)
        else:
            self._calls.streams.leave(self._stub.CancelTransfer.future(request, timeout=_LEAVING))


class AsyncTransfers:
    """Starting, watching and steering transfers, for asyncio; see `Transfers`."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = transfer_service_pb2_grpc.TransferServiceStub(calls.channel)

    async def start(
        self, request: transfer_service_pb2.StartTransferRequest
    ) -> transfer_pb2.Transfer:
        """Starts a transfer of any kind. Adds a `request_id` where there is none."""
        request = _requests.with_request_id(request)
        return (await self._calls.unary(self._stub.StartTransfer, request)).transfer

    async def start_pull(
        self, reference: str, **options: Unpack[_requests.PullOptions]
    ) -> transfer_pb2.Transfer:
        """Starts a pull, which goes on by itself, and returns its record at once."""
        return await self.start(_requests.start_pull(reference, **options))

    def pull(
        self,
        reference: str,
        *,
        detach: bool = False,
        min_interval: float | None = None,
        heartbeats: bool = False,
        **options: Unpack[_requests.PullOptions],
    ) -> AsyncPullStream:
        """A pull that is this caller's: leaving it cancels it, unless it is detached."""
        request = _requests.start_pull(reference, **options)
        return self._run(request, detach, min_interval, heartbeats)

    def push(
        self,
        image: str,
        reference: str = "",
        *,
        detach: bool = False,
        min_interval: float | None = None,
        heartbeats: bool = False,
        **options: Unpack[_requests.PushOptions],
    ) -> AsyncPullStream:
        """A push that is this caller's; see `Transfers.push`."""
        request = _requests.start_push(image, reference, **options)
        return self._run(request, detach, min_interval, heartbeats)

    def copy(
        self,
        source: str,
        destination: str,
        *,
        detach: bool = False,
        min_interval: float | None = None,
        heartbeats: bool = False,
        **options: Unpack[_requests.CopyOptions],
    ) -> AsyncPullStream:
        """A copy that is this caller's; see `Transfers.copy`."""
        request = _requests.start_copy(source, destination, **options)
        return self._run(request, detach, min_interval, heartbeats)

    def watch(
        self, name: str, *, min_interval: float | None = None, heartbeats: bool = False
    ) -> AsyncWatch:
        """A transfer's events, in whatever state it is. Leaving does not touch the transfer."""
        return self._watch(_requests.transfer_name(name), min_interval, heartbeats, False)

    async def get(self, name: str) -> transfer_pb2.Transfer:
        """A transfer's record."""
        request = transfer_service_pb2.GetTransferRequest(name=_requests.transfer_name(name))
        return (await self._calls.unary(self._stub.GetTransfer, request)).transfer

    async def list(
        self, *, states: Iterable[_State] = (), page_size: int = 0
    ) -> AsyncIterator[transfer_pb2.Transfer]:
        """Records, newest first, page by page as they are asked for."""
        request = transfer_service_pb2.ListTransfersRequest(states=states, page_size=page_size)
        while True:
            page = await self._calls.unary(self._stub.ListTransfers, request)
            for transfer in page.transfers:
                yield transfer
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def cancel(self, name: str) -> transfer_pb2.Transfer:
        """Cancels a transfer, and returns its record when it has ended. Idempotent."""
        request = transfer_service_pb2.CancelTransferRequest(name=_requests.transfer_name(name))
        return (await self._calls.unary(self._stub.CancelTransfer, request)).transfer

    async def resume(
        self,
        name: str,
        *,
        source_credentials: transfer_pb2.RegistryCredentials | None = None,
        destination_credentials: transfer_pb2.RegistryCredentials | None = None,
    ) -> transfer_pb2.Transfer:
        """Runs an interrupted, failed or cancelled transfer again, with what is already here."""
        request = transfer_service_pb2.ResumeTransferRequest(
            name=_requests.transfer_name(name),
            source_credentials=source_credentials,
            destination_credentials=destination_credentials,
        )
        return (await self._calls.unary(self._stub.ResumeTransfer, request)).transfer

    async def delete(self, name: str) -> None:
        """Forgets a transfer that has ended, and lets go of what it left unfinished."""
        request = transfer_service_pb2.DeleteTransferRequest(name=_requests.transfer_name(name))
        await self._calls.unary(self._stub.DeleteTransfer, request)

    def _run(
        self,
        request: transfer_service_pb2.StartTransferRequest,
        detach: bool,
        min_interval: float | None,
        heartbeats: bool,
    ) -> AsyncPullStream:
        stream = AsyncPullStream(
            lambda: self.start(request),
            lambda name: self._watch(name, min_interval, heartbeats, True),
            self._leave,
            lambda name: self._calls.streams.leave(self._leave(name)),
            detach=detach,
        )
        self._calls.streams.add(stream)
        return stream

    def _watch(
        self, name: str, min_interval: float | None, heartbeats: bool, attached: bool
    ) -> AsyncWatch:
        stub = self._stub

        def attach(after: int) -> AsyncCall:
            return stub.WatchTransfer(_requests.watch(name, after, min_interval))

        patience = self._calls.patience
        found = AsyncWatch(attach, patience=patience, heartbeats=heartbeats, attached=attached)
        self._calls.streams.add(found)
        return found

    async def _leave(self, name: str) -> None:
        request = transfer_service_pb2.CancelTransferRequest(name=name)
        # It is over, or the daemon is gone; there is nothing to do about either.
        with suppress(ImgdError):
            await self._calls.unary(self._stub.CancelTransfer, request, at_most=_LEAVING)

"""LeaseService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress

from imgd.v1 import lease_pb2, lease_service_pb2, lease_service_pb2_grpc

from . import _requests
from ._calls import AsyncCalls, Calls
from ._errors import ImgdError
from ._hold import AsyncHold, Hold

__all__ = ["AsyncLeases", "Leases"]

# In seconds. What a client that is killed leaves behind ends as soon.
_HELD = 60.0
# How often a lease is renewed within its time.
_TURNS = 3


class Leases:
    """Expiring holds on images and blobs. Times are in seconds."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = lease_service_pb2_grpc.LeaseServiceStub(calls.channel)

    def create(
        self,
        images: Iterable[str] = (),
        *,
        digests: Iterable[str] = (),
        lease_id: str = "",
        ttl: float | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> lease_pb2.Lease:
        """Takes a lease, of an hour if not said."""
        request = _creation(images, digests, lease_id, ttl, labels, request_id)
        return self._calls.unary(self._stub.CreateLease, request).lease

    def hold(
        self,
        images: Iterable[str] = (),
        *,
        digests: Iterable[str] = (),
        lease_id: str = "",
        ttl: float = _HELD,
        labels: Mapping[str, str] | None = None,
    ) -> Hold[lease_pb2.Lease]:
        """A lease for the length of a `with` block, renewed meanwhile and given back at the end.

        Args:
            images: What to hold, each as wherever an image is asked for.
            digests: Single blobs to hold.
            lease_id: Its ID; generated, if not said.
            ttl: How long it holds when this process is killed.
            labels: Labels.
        """
        request = _creation(images, digests, lease_id, ttl, labels, "")
        every = _every(ttl)

        def renew(name: str) -> lease_pb2.Lease:
            wanted = lease_service_pb2.RenewLeaseRequest(name=name, ttl=request.ttl)
            return self._calls.unary(self._stub.RenewLease, wanted, at_most=every).lease

        def release(name: str) -> None:
            # It ends by itself.
            with suppress(ImgdError):
                self.delete(name)

        return Hold(
            lambda: self._calls.unary(self._stub.CreateLease, request).lease,
            renew,
            release,
            every,
            self._calls.streams,
        )

    def get(self, name: str) -> lease_pb2.Lease:
        """A lease."""
        request = lease_service_pb2.GetLeaseRequest(name=_requests.lease_name(name))
        return self._calls.unary(self._stub.GetLease, request).lease

    def list(self, *, page_size: int = 0) -> Iterator[lease_pb2.Lease]:
        """Leases in the order of their names, page by page as they are asked for."""
        request = lease_service_pb2.ListLeasesRequest(page_size=page_size)
        while True:
            page = self._calls.unary(self._stub.ListLeases, request)
            yield from page.leases
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def renew(self, name: str, *, ttl: float | None = None) -> lease_pb2.Lease:
        """Sets when a lease ends, from now on; in an hour if not said."""
        request = _renewal(name, ttl)
        return self._calls.unary(self._stub.RenewLease, request).lease

    def delete(self, name: str) -> None:
        """Gives a lease back. Idempotent."""
        request = lease_service_pb2.DeleteLeaseRequest(name=_requests.lease_name(name))
        self._calls.unary(self._stub.DeleteLease, request)


class AsyncLeases:
    """Expiring holds on images and blobs, for asyncio; see `Leases`."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = lease_service_pb2_grpc.LeaseServiceStub(calls.channel)

    async def create(
        self,
        images: Iterable[str] = (),
        *,
        digests: Iterable[str] = (),
        lease_id: str = "",
        ttl: float | None = None,
        labels: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> lease_pb2.Lease:
        """Takes a lease, of an hour if not said."""
        request = _creation(images, digests, lease_id, ttl, labels, request_id)
        return (await self._calls.unary(self._stub.CreateLease, request)).lease

    def hold(
        self,
        images: Iterable[str] = (),
        *,
        digests: Iterable[str] = (),
        lease_id: str = "",
        ttl: float = _HELD,
        labels: Mapping[str, str] | None = None,
    ) -> AsyncHold[lease_pb2.Lease]:
        """A lease for the length of an `async with` block; see `Leases.hold`."""
        request = _creation(images, digests, lease_id, ttl, labels, "")
        every = _every(ttl)

        async def take() -> lease_pb2.Lease:
            return (await self._calls.unary(self._stub.CreateLease, request)).lease

        async def renew(name: str) -> lease_pb2.Lease:
            wanted = lease_service_pb2.RenewLeaseRequest(name=name, ttl=request.ttl)
            return (await self._calls.unary(self._stub.RenewLease, wanted, at_most=every)).lease

        async def release(name: str) -> None:
            # It ends by itself.
            with suppress(ImgdError):
                await self.delete(name)

        return AsyncHold(take, renew, release, every, self._calls.streams)

    async def get(self, name: str) -> lease_pb2.Lease:
        """A lease."""
        request = lease_service_pb2.GetLeaseRequest(name=_requests.lease_name(name))
        return (await self._calls.unary(self._stub.GetLease, request)).lease

    async def list(self, *, page_size: int = 0) -> AsyncIterator[lease_pb2.Lease]:
        """Leases in the order of their names, page by page as they are asked for."""
        request = lease_service_pb2.ListLeasesRequest(page_size=page_size)
        while True:
            page = await self._calls.unary(self._stub.ListLeases, request)
            for lease in page.leases:
                yield lease
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def renew(self, name: str, *, ttl: float | None = None) -> lease_pb2.Lease:
        """Sets when a lease ends, from now on; in an hour if not said."""
        request = _renewal(name, ttl)
        return (await self._calls.unary(self._stub.RenewLease, request)).lease

    async def delete(self, name: str) -> None:
        """Gives a lease back. Idempotent."""
        request = lease_service_pb2.DeleteLeaseRequest(name=_requests.lease_name(name))
        await self._calls.unary(self._stub.DeleteLease, request)


def _creation(
    images: Iterable[str],
    digests: Iterable[str],
    lease_id: str,
    ttl: float | None,
    labels: Mapping[str, str] | None,
    request_id: str,
) -> lease_service_pb2.CreateLeaseRequest:
    return lease_service_pb2.CreateLeaseRequest(
        lease_id=lease_id,
        ttl=None if ttl is None else _requests.duration(ttl),
        images=_requests.strings("images", images),
        digests=_requests.strings("digests", digests),
        labels=labels,
        request_id=request_id or _requests.new_request_id(),
    )


def _renewal(name: str, ttl: float | None) -> lease_service_pb2.RenewLeaseRequest:
    return lease_service_pb2.RenewLeaseRequest(
        name=_requests.lease_name(name), ttl=None if ttl is None else _requests.duration(ttl)
    )


def _every(ttl: float) -> float:
    """Seconds between two renewals."""
    if ttl <= 0:
        raise ValueError(f"ttl is a time in seconds, and not {ttl}")
    return ttl / _TURNS

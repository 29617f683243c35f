"""LeaseService."""

from __future__ import annotations

from typing import Any

import grpc.aio

from imgd.v1 import lease_pb2, lease_service_pb2, lease_service_pb2_grpc
from imgd_server.images import NewLease, create_lease, delete_lease, find_lease, renew_lease
from imgd_server.metadata import LeaseRecord, MetadataStore
from imgd_server.oci import Digest
from imgd_server.rpc import _convert
from imgd_server.rpc._answers import change
from imgd_server.rpc._pages import decode_token, encode_token, fitting, page_size
from imgd_server.transfer import now_us

__all__ = ["LeaseServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

_MAX_SHOWN = 1000


class LeaseServicer(lease_service_pb2_grpc.LeaseServiceServicer):
    """Holds that end by themselves."""

    def __init__(self, metadata: MetadataStore) -> None:
        self._metadata = metadata

    async def CreateLease(
        self, request: lease_service_pb2.CreateLeaseRequest, context: Context
    ) -> lease_service_pb2.CreateLeaseResponse:
        """Takes one."""
        wanted = NewLease(
            request.lease_id,
            _convert.microseconds(request.ttl),
            list(request.images),
            [Digest.parse(one) for one in request.digests],
            dict(request.labels),
        )
        return await change(
            self._metadata,
            request,
            lambda session, now: lease_service_pb2.CreateLeaseResponse(
                lease=_lease(create_lease(session, wanted, now))
            ),
        )

    async def GetLease(
        self, request: lease_service_pb2.GetLeaseRequest, context: Context
    ) -> lease_service_pb2.GetLeaseResponse:
        """Returns one."""
        record = await self._metadata.read(
            lambda session: find_lease(session, _id(request.name), now_us())
        )
        return lease_service_pb2.GetLeaseResponse(lease=_lease(record))

    async def ListLeases(
        self, request: lease_service_pb2.ListLeasesRequest, context: Context
    ) -> lease_service_pb2.ListLeasesResponse:
        """Lists a page."""
        after = ""
        if request.page_token:
            (after,) = decode_token("ListLeases", request.page_token, (str,))
        limit = page_size(request.page_size)
        found = await self._metadata.read(
            lambda session: session.list_leases(after, now_us(), limit + 1)
        )
        answer = lease_service_pb2.ListLeasesResponse(
            leases=fitting(_lease(record) for record in found[:limit])
        )
        if len(answer.leases) < len(found):
            last = found[len(answer.leases) - 1].lease_id
            answer.next_page_token = encode_token("ListLeases", [last])
        return answer

    async def RenewLease(
        self, request: lease_service_pb2.RenewLeaseRequest, context: Context
    ) -> lease_service_pb2.RenewLeaseResponse:
        """Sets when one ends."""
        ttl = _convert.microseconds(request.ttl)
        return await change(
            self._metadata,
            request,
            lambda session, now: lease_service_pb2.RenewLeaseResponse(
                lease=_lease(renew_lease(session, _id(request.name), ttl, now))
            ),
        )

    async def DeleteLease(
        self, request: lease_service_pb2.DeleteLeaseRequest, context: Context
    ) -> lease_service_pb2.DeleteLeaseResponse:
        """Gives one back."""
        await self._metadata.write(
            lambda session: delete_lease(session, _id(request.name), now_us())
        )
        return lease_service_pb2.DeleteLeaseResponse()


def _id(name: str) -> str:
    return name.removeprefix("leases/")


def _lease(record: LeaseRecord) -> lease_pb2.Lease:
    return lease_pb2.Lease(
        name=f"leases/{record.lease_id}",
        create_time=_convert.timestamp(record.created),
        expire_time=_convert.timestamp(record.expires),
        labels=record.labels,
        images=[f"images/{one}" for one in record.images[:_MAX_SHOWN]],
        digests=record.digests[:_MAX_SHOWN],
    )

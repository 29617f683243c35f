"""Errors as gRPC statuses: the one translator (protos/imgd/v1/errors.proto)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from imgd_server.errors import Error, FieldError, HeldError, Kind, Reason

__all__ = ["DOMAIN", "abort_arguments", "code_of"]

DOMAIN = "imgd.dev"
# gRPC turns status details above about 16 KiB into RESOURCE_EXHAUSTED, and proxies cut headers
# earlier.
_MAX_DETAILS = 4096
_MAX_TEXT = 1024

_CODES: dict[Kind, grpc.StatusCode] = {kind: grpc.StatusCode[kind.name] for kind in Kind}

_RESOURCES = {
    Reason.IMAGE_NOT_FOUND: "image",
    Reason.TRANSFER_NOT_FOUND: "transfer",
    Reason.CONTAINER_NOT_FOUND: "container",
    Reason.LEASE_NOT_FOUND: "lease",
    Reason.BLOB_NOT_FOUND: "blob",
    Reason.UPLOAD_NOT_FOUND: "upload",
    Reason.PLATFORM_NOT_FOUND: "platform",
    Reason.FILE_NOT_FOUND: "file",
}


def code_of(error: Error) -> grpc.StatusCode:
    """The gRPC code that goes with an error."""
    return _CODES[error.kind]


def abort_arguments(error: Error) -> dict[str, Any]:
    """What `ServicerContext.abort` is called with."""
    code = code_of(error)
    status = status_pb2.Status(code=error.kind.value, message=_cut(error.message))
    for detail in _details(error):
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
        if status.ByteSize() > _MAX_DETAILS:
            del status.details[-1]
    return {
        "code": code,
        "details": status.message,
        "trailing_metadata": (("grpc-status-details-bin", status.SerializeToString()),),
    }


def _details(error: Error) -> Iterable[Message]:
    facts = {
        "origin": error.origin.name if error.origin.value else "",
        "reference": error.reference,
        "digest": error.digest,
        "host": error.host,
        "http_status": str(error.http_status or ""),
        "registry_code": error.registry_code,
    }
    metadata = {**error.metadata, **{key: value for key, value in facts.items() if value}}
    yield error_details_pb2.ErrorInfo(
        reason=error.reason.name,
        domain=DOMAIN,
        metadata={key: _cut(value) for key, value in metadata.items()},
    )
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMicroseconds(int(error.retry_after * 1e6))
        yield error_details_pb2.RetryInfo(retry_delay=delay)
    if isinstance(error, FieldError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=error.field, description=_cut(error.message)
        )
        yield error_details_pb2.BadRequest(field_violations=[violation])
    if isinstance(error, HeldError):
        yield error_details_pb2.PreconditionFailure(
            violations=[
                error_details_pb2.PreconditionFailure.Violation(
                    type=error.reason.name, subject=holder
                )
                for holder in error.holders[:50]
            ]
        )
    if kind := _RESOURCES.get(error.reason):
        yield error_details_pb2.ResourceInfo(
            resource_type=kind, resource_name=_cut(error.metadata.get(kind, error.digest))
        )


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"

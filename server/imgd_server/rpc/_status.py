"""Errors as gRPC statuses: the one translator (protos/imgd/v1/errors.proto)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
from google.protobuf import duration_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from imgd_server.errors import Error, FieldError, HeldError, Kind, Reason

__all__ = ["DOMAIN", "abort_arguments", "cut"]

DOMAIN = "imgd.dev"
# What errors.proto promises. gRPC refuses headers above 16 KiB for certain, and above 8 KiB by
# chance: with its base64 and the message (three bytes for one, where it is not ASCII) a status
# stays below that.
_MAX_STATUS = 4095
_MAX_MESSAGE = 768
_MAX_VALUE = 1024
# ErrorInfo may take so much, so that the other details find room.
_MAX_INFO = 2048

_CODES: dict[Kind, grpc.StatusCode] = {kind: grpc.StatusCode[kind.name] for kind in Kind}

_RESOURCES = {
    Reason.IMAGE_NOT_FOUND: "image",
    Reason.TRANSFER_NOT_FOUND: "transfer",
    Reason.CONTAINER_NOT_FOUND: "container",
    Reason.CONTAINER_EXISTS: "container",
    Reason.LEASE_NOT_FOUND: "lease",
    Reason.LEASE_EXISTS: "lease",
    Reason.BLOB_NOT_FOUND: "blob",
    Reason.UPLOAD_NOT_FOUND: "upload",
    Reason.PLATFORM_NOT_FOUND: "platform",
    Reason.FILE_NOT_FOUND: "file",
}


def abort_arguments(error: Error) -> dict[str, Any]:
    """What `ServicerContext.abort` is called with."""
    status = status_pb2.Status(code=error.kind.value, message=cut(error.message, _MAX_MESSAGE))
    for detail in _details(error):
        status.details.add().Pack(detail)
        if status.ByteSize() > _MAX_STATUS:
            del status.details[-1]
    return {
        "code": _CODES[error.kind],
        "details": status.message,
        "trailing_metadata": (("grpc-status-details-bin", status.SerializeToString()),),
    }


def _details(error: Error) -> Iterator[Message]:
    """The details, the most important first."""
    yield _info(error)
    if error.retry_after is not None:
        delay = duration_pb2.Duration()
        delay.FromMicroseconds(int(error.retry_after * 1e6))
        yield error_details_pb2.RetryInfo(retry_delay=delay)
    if isinstance(error, FieldError):
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=cut(error.field, 256), description=cut(error.message, _MAX_MESSAGE)
        )
        yield error_details_pb2.BadRequest(field_violations=[violation])
    if isinstance(error, HeldError):
        yield _holders(error)
    if kind := _RESOURCES.get(error.reason):
        name = error.metadata.get(kind, error.digest)
        yield error_details_pb2.ResourceInfo(
            resource_type=kind, resource_name=cut(name, _MAX_MESSAGE)
        )


def _info(error: Error) -> Message:
    """The reason, with the facts that there is room for."""
    facts = {
        "origin": error.origin.name if error.origin.value else "",
        "host": error.host,
        "http_status": str(error.http_status or ""),
        "registry_code": error.registry_code,
        "digest": error.digest,
        "reference": error.reference,
        **error.metadata,
    }
    info = error_details_pb2.ErrorInfo(reason=error.reason.name, domain=DOMAIN)
    for key, value in facts.items():
        if value:
            info.metadata[key] = cut(value, _MAX_VALUE)
            if info.ByteSize() > _MAX_INFO:
                del info.metadata[key]
    return info


def _holders(error: HeldError) -> Message:
    """As many holders as there is room for; the metadata have their total."""
    failure = error_details_pb2.PreconditionFailure()
    for holder in error.holders:
        failure.violations.add(type=error.reason.name, subject=cut(holder, 256))
        if failure.ByteSize() > _MAX_STATUS - _MAX_INFO - _MAX_MESSAGE - 256:
            del failure.violations[-1]
            break
    return failure


def cut(text: str, size: int) -> str:
    """The text, valid and in at most `size` bytes of UTF-8; what was left out shows as `…`."""
    data = text.encode("utf-8", "replace")
    if len(data) > size:
        data = data[: size - 3]
        return f"{data.decode('utf-8', 'ignore')}…"
    return data.decode()

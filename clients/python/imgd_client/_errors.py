# The names are the codes'; every one is an ImgdError.
# ruff: noqa: N818
"""One tree of errors, built from the status details of a failed call or a transfer's outcome."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc

if TYPE_CHECKING:
    from google.protobuf import any_pb2
    from google.protobuf.descriptor import EnumDescriptor

    from imgd.v1 import errors_pb2, transfer_pb2

__all__ = [
    "Aborted",
    "AlreadyExists",
    "Cancelled",
    "DataLoss",
    "DeadlineExceeded",
    "FailedPrecondition",
    "FieldViolation",
    "ImgdError",
    "InUse",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "Precondition",
    "Resource",
    "ResourceExhausted",
    "TransferFailed",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "from_rpc_error",
    "from_status",
    "transfer_failed",
]

_DOMAIN = "imgd.dev"
_DETAILS_KEY = "grpc-status-details-bin"


class FieldViolation(NamedTuple):
    """A field of the request that breaks a rule."""

    field: str
    description: str


class Precondition(NamedTuple):
    """Something that stands in the way, such as a container that holds an image."""

    type: str
    subject: str
    description: str


class Resource(NamedTuple):
    """The thing that is missing or in conflict."""

    type: str
    name: str
    owner: str
    description: str


class ImgdError(Exception):
    """A failed call, or a failed transfer. Match on the class or on `reason`, never on text."""

    code: grpc.StatusCode
    """The gRPC code."""
    reason: str
    """The name of an `ErrorReason` without its prefix (`IMAGE_NOT_FOUND`); "" when none is known,
    as for errors of gRPC itself."""
    message: str
    """What happened, to what, and what to do next."""
    metadata: Mapping[str, str]
    """Further facts."""
    field_violations: Sequence[FieldViolation]
    """The fields that are wrong."""
    preconditions: Sequence[Precondition]
    """What stands in the way."""
    resource: Resource | None
    """The thing concerned."""
    retry_delay: float | None
    """Seconds after which trying again makes sense; None when nothing is known about it."""

    def __init__(
        self,
        message: str = "",
        *,
        code: grpc.StatusCode = grpc.StatusCode.UNKNOWN,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        field_violations: Sequence[FieldViolation] = (),
        preconditions: Sequence[Precondition] = (),
        resource: Resource | None = None,
        retry_delay: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata = dict(metadata or {})
        self.field_violations = tuple(field_violations)
        self.preconditions = tuple(preconditions)
        self.resource = resource
        self.retry_delay = retry_delay

    def __str__(self) -> str:
        return f"{self.message or self.code.name} ({self.reason or self.code.name})"


class Cancelled(ImgdError):
    """CANCELLED: somebody wanted it to end."""


class InvalidArgument(ImgdError):
    """INVALID_ARGUMENT: the request breaks a rule; `field_violations` says which."""


class DeadlineExceeded(ImgdError):
    """DEADLINE_EXCEEDED: it took too long."""


class NotFound(ImgdError):
    """NOT_FOUND: there is no such thing."""


class AlreadyExists(ImgdError):
    """ALREADY_EXISTS: there is one of that name."""


class PermissionDenied(ImgdError):
    """PERMISSION_DENIED: the caller may not do this."""


class ResourceExhausted(ImgdError):
    """RESOURCE_EXHAUSTED: no room, or too much at once."""


class FailedPrecondition(ImgdError):
    """FAILED_PRECONDITION: the state of things does not permit this."""


class InUse(FailedPrecondition):
    """The image is held; `preconditions` names the holders."""


class Aborted(ImgdError):
    """ABORTED: something else got in between; start over."""


class OutOfRange(ImgdError):
    """OUT_OF_RANGE: an offset or cursor is past what is there."""


class Unimplemented(ImgdError):
    """UNIMPLEMENTED: this daemon can't do that."""


class Internal(ImgdError):
    """INTERNAL: a defect of the daemon; the message holds an incident ID."""


class Unavailable(ImgdError):
    """UNAVAILABLE: the daemon, or a registry, can't be reached now."""


class DataLoss(ImgdError):
    """DATA_LOSS: bytes are not what they should be."""


class Unauthenticated(ImgdError):
    """UNAUTHENTICATED: credentials are missing or wrong."""


class TransferFailed(ImgdError):
    """A transfer ended other than well."""

    transfer: transfer_pb2.Transfer
    """Its record."""
    failure: errors_pb2.Failure
    """Why, with the side at fault."""


_CLASSES: dict[grpc.StatusCode, type[ImgdError]] = {
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.UNIMPLEMENTED: Unimplemented,
    grpc.StatusCode.INTERNAL: Internal,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.DATA_LOSS: DataLoss,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
}
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def from_rpc_error(error: grpc.RpcError) -> ImgdError:
    """The typed form of what a call raised, of gRPC's synchronous or asyncio form."""
    # gRPC's synchronous and asyncio forms share these methods, but no base that has them.
    call: Any = error
    return from_status(call.code(), call.details() or "", call.trailing_metadata() or ())


def from_status(
    code: grpc.StatusCode, text: str, trailers: Iterable[tuple[str, str | bytes]] = ()
) -> ImgdError:
    """The typed form of a call's status."""
    details = next((value for key, value in trailers if key == _DETAILS_KEY), None)
    facts = _facts(details) if isinstance(details, bytes) else {}
    kind = InUse if facts.get("reason") == "IMAGE_IN_USE" else _CLASSES.get(code, ImgdError)
    return kind(text, code=code, **facts)


def transfer_failed(transfer: transfer_pb2.Transfer) -> TransferFailed:
    """The error that a transfer's record tells of."""
    from imgd.v1 import errors_pb2, transfer_pb2

    failure = transfer.outcome.failure
    reason = _name(errors_pb2.ErrorReason.DESCRIPTOR, failure.reason)
    state = (
        _name(transfer_pb2.TransferState.DESCRIPTOR, transfer.state).lower()
        or "in an unknown state"
    )
    delay = failure.retry_delay
    error = TransferFailed(
        failure.message or f"{transfer.name} is {state}",
        code=_CODES.get(failure.code or 2, grpc.StatusCode.UNKNOWN),
        reason=reason,
        metadata=failure.metadata,
        retry_delay=delay.seconds + delay.nanos / 1e9 if failure.HasField("retry_delay") else None,
    )
    error.transfer = transfer
    error.failure = failure
    return error


def _name(kind: EnumDescriptor, number: int) -> str:
    """A value's name without its enum's; empty for one that is unspecified, or newer than this."""
    value = kind.values_by_number.get(number)
    prefix = kind.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return value.name.removeprefix(prefix) if value and number else ""


def _facts(details: bytes) -> dict[str, Any]:
    """What the details of a status say, as arguments of an error."""
    # Imported here: most programs never see an error, and start-up time counts.
    from google.protobuf.message import DecodeError
    from google.rpc import status_pb2

    facts: dict[str, Any] = {}
    try:
        for detail in status_pb2.Status.FromString(details).details:
            facts.update(_fact(detail))
    except DecodeError:
        # Somebody between us and the daemon cut it; the code is known in any case.
        pass
    return facts


def _fact(detail: any_pb2.Any) -> dict[str, Any]:
    from google.rpc import error_details_pb2 as forms

    info, retry, resource = forms.ErrorInfo(), forms.RetryInfo(), forms.ResourceInfo()
    bad, preconditions = forms.BadRequest(), forms.PreconditionFailure()
    if detail.Unpack(info) and info.domain == _DOMAIN:
        return {"reason": info.reason, "metadata": info.metadata}
    if detail.Unpack(retry):
        return {"retry_delay": retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9}
    if detail.Unpack(bad):
        found = [FieldViolation(item.field, item.description) for item in bad.field_violations]
        return {"field_violations": found}
    if detail.Unpack(preconditions):
        holders = preconditions.violations
        return {
            "preconditions": [
                Precondition(item.type, item.subject, item.description) for item in holders
            ]
        }
    if detail.Unpack(resource):
        kind, name = resource.resource_type, resource.resource_name
        return {"resource": Resource(kind, name, resource.owner, resource.description)}
    return {}

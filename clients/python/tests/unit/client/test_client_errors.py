"""Typed errors, from every form in which a status or a failure can come."""

from __future__ import annotations

import pickle
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from imgd.v1 import errors_pb2, transfer_pb2
from imgd_client import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    ImgdError,
    Internal,
    InUse,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    TransferFailed,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    from_rpc_error,
    transfer_failed,
)
from tests.scripted import details

_TYPES = "type.googleapis.com"
_KEY = "grpc-status-details-bin"
# errors.proto states the code at the beginning of each reason's comment; these are the classes.
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


class _Raised(grpc.RpcError):
    """What a stub raises."""

    def __init__(
        self, code: grpc.StatusCode, text: str | None = "", packed: bytes | None = None
    ) -> None:
        self._status = code, text, packed

    def code(self) -> grpc.StatusCode:
        return self._status[0]

    def details(self) -> str | None:
        return self._status[1]

    def trailing_metadata(self) -> Any:
        packed = self._status[2]
        return None if packed is None else [("other", "text"), (_KEY, packed)]


def _info(reason: str, domain: str = "imgd.dev", **metadata: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(domain=domain, reason=reason, metadata=metadata)


@pytest.mark.parametrize("code", grpc.StatusCode)
def test_each_code_has_a_class(code: grpc.StatusCode) -> None:
    error = from_rpc_error(_Raised(code, "what happened"))

    assert type(error) is _CLASSES.get(code, ImgdError)
    assert (error.code, error.message, error.reason) == (code, "what happened", "")
    assert str(error) == f"what happened ({code.name})"


@pytest.mark.parametrize("name", sorted(errors_pb2.ErrorReason.keys()))
def test_each_reason_is_told(name: str) -> None:
    reason = name.removeprefix("ERROR_REASON_")
    packed = details(_info(reason, image="redis"))

    error = from_rpc_error(_Raised(grpc.StatusCode.FAILED_PRECONDITION, "text", packed))

    assert error.reason == reason
    assert error.metadata == {"image": "redis"}
    assert str(error) == f"text ({reason})"
    assert type(error) is (InUse if reason == "IMAGE_IN_USE" else FailedPrecondition)


def test_a_reason_that_is_newer_than_this_client_is_told_too() -> None:
    packed = details(_info("FROM_THE_FUTURE"))

    error = from_rpc_error(_Raised(grpc.StatusCode.NOT_FOUND, "text", packed))

    assert type(error) is NotFound
    assert error.reason == "FROM_THE_FUTURE"


def test_a_reason_of_another_domain_is_none_of_ours() -> None:
    packed = details(_info("IMAGE_IN_USE", domain="proxy.example"))

    error = from_rpc_error(_Raised(grpc.StatusCode.NOT_FOUND, "text", packed))

    assert (type(error), error.reason) == (NotFound, "")


def test_every_detail_is_told() -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="tag", description="is no tag")
    bad.field_violations.add(field="image", description="is empty")
    held = error_details_pb2.PreconditionFailure()
    held.violations.add(type="container", subject="containers/web", description="running")
    resource = error_details_pb2.ResourceInfo(
        resource_type="image", resource_name="redis:7", owner="", description="not here"
    )
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1500)
    packed = details(_info("FIELD_INVALID"), bad, held, resource, retry)

    error = from_rpc_error(_Raised(grpc.StatusCode.INVALID_ARGUMENT, "text", packed))

    assert error.field_violations == (("tag", "is no tag"), ("image", "is empty"))
    assert error.field_violations[0].field == "tag"
    assert error.preconditions == (("container", "containers/web", "running"),)
    assert error.resource == ("image", "redis:7", "", "not here")
    assert error.retry_delay == 1.5


def test_without_details_nothing_is_known() -> None:
    error = from_rpc_error(_Raised(grpc.StatusCode.UNAVAILABLE, None))

    assert (error.reason, error.metadata, error.retry_delay) == ("", {}, None)
    assert (error.field_violations, error.preconditions, error.resource) == ((), (), None)
    assert str(error) == "UNAVAILABLE (UNAVAILABLE)"


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xff\xff\xff",
        details(_info("IMAGE_NOT_FOUND"))[:-3],
        status_pb2.Status(
            details=[any_pb2.Any(type_url=f"{_TYPES}/google.rpc.ErrorInfo", value=b"\xff")]
        ).SerializeToString(),
        status_pb2.Status(
            details=[any_pb2.Any(type_url=f"{_TYPES}/some.Other", value=b"x")]
        ).SerializeToString(),
    ],
    ids=["empty", "no status", "cut", "broken detail", "unknown detail"],
)
def test_details_that_cannot_be_read_leave_the_code(packed: bytes) -> None:
    error = from_rpc_error(_Raised(grpc.StatusCode.NOT_FOUND, "text", packed))

    assert (type(error), error.reason, error.message) == (NotFound, "", "text")


def test_an_error_can_go_to_another_process() -> None:
    packed = details(_info("IMAGE_IN_USE", a="b"))
    error = from_rpc_error(_Raised(grpc.StatusCode.FAILED_PRECONDITION, "text", packed))

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is InUse
    assert (copy.message, copy.reason, copy.metadata, copy.code) == (
        "text",
        "IMAGE_IN_USE",
        {"a": "b"},
        grpc.StatusCode.FAILED_PRECONDITION,
    )


class TestFailedTransfers:
    @pytest.mark.parametrize("name", sorted(errors_pb2.ErrorReason.keys()))
    def test_each_reason_is_told(self, name: str) -> None:
        transfer = transfer_pb2.Transfer(
            name="transfers/T1", state=transfer_pb2.TRANSFER_STATE_FAILED
        )
        failure = transfer.outcome.failure
        failure.code, failure.message = 14, "what happened"
        failure.reason = errors_pb2.ErrorReason.Value(name)
        failure.metadata["host"] = "127.0.0.1"
        failure.retry_delay.FromMilliseconds(250)

        error = transfer_failed(transfer)

        unknown = name == "ERROR_REASON_UNSPECIFIED"
        assert error.reason == ("" if unknown else name.removeprefix("ERROR_REASON_"))
        assert (error.code, error.message) == (grpc.StatusCode.UNAVAILABLE, "what happened")
        assert (error.metadata, error.retry_delay) == ({"host": "127.0.0.1"}, 0.25)
        assert error.transfer is transfer
        assert error.failure == failure

    def test_one_without_a_failure_tells_its_state(self) -> None:
        transfer = transfer_pb2.Transfer(
            name="transfers/T1", state=transfer_pb2.TRANSFER_STATE_CANCELLED
        )

        error = transfer_failed(transfer)

        assert isinstance(error, TransferFailed)
        assert error.message == "transfers/T1 is cancelled"
        assert (error.code, error.reason) == (grpc.StatusCode.UNKNOWN, "")
        assert error.retry_delay is None

    def test_values_that_are_newer_than_this_client(self) -> None:
        transfer = transfer_pb2.Transfer.FromString(
            transfer_pb2.Transfer(name="transfers/T1").SerializeToString() + b"\x30\xe7\x07"
        )
        transfer.outcome.failure.MergeFromString(b"\x08\xe7\x07\x10\xe7\x07")

        error = transfer_failed(transfer)

        assert (transfer.state, transfer.outcome.failure.reason) == (999, 999)
        assert error.message == "transfers/T1 is in an unknown state"
        assert (error.code, error.reason) == (grpc.StatusCode.UNKNOWN, "")

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, FieldError, HeldError, Origin, Reason
from imgd_server.rpc._status import abort_arguments, cut

M = TypeVar("M", bound=Message)

# Four bytes each in UTF-8, twelve in a gRPC message.
WIDE = "\U0001f433" * 50_000


def status_of(error: Error) -> status_pb2.Status:
    found = status_pb2.Status()
    found.ParseFromString(
        dict(abort_arguments(error)["trailing_metadata"])["grpc-status-details-bin"]
    )
    return found


def detail(error: Error, kind: type[M]) -> M:
    found = kind()
    assert [one.Unpack(found) for one in status_of(error).details].count(True) == 1
    return found


def kinds(error: Error) -> set[str]:
    return {one.type_url.rpartition(".")[2] for one in status_of(error).details}


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_its_code_and_its_info(reason: Reason) -> None:
    error = Error(reason, "what happened, to what, what next")
    arguments = abort_arguments(error)
    status = status_of(error)
    code: tuple[int, str] = arguments["code"].value
    assert arguments["code"] is grpc.StatusCode[reason.kind.name]
    assert status.code == code[0] == reason.kind.value
    # Clients compare the two.
    assert status.message == arguments["details"] == error.message
    info = detail(error, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain, dict(info.metadata)) == (reason.name, "imgd.dev", {})
    assert kinds(error) <= {"ErrorInfo", "ResourceInfo"}


def test_an_upstream_failure_says_who_and_what() -> None:
    error = Error(
        Reason.REGISTRY_RATE_LIMITED,
        "too many requests",
        origin=Origin.SOURCE,
        reference="docker.io/library/redis:7",
        digest="sha256:" + "0a" * 32,
        host="registry-1.docker.io",
        http_status=429,
        registry_code="TOOMANYREQUESTS",
        retry_after=1.5,
        metadata={"limit": "100"},
    )
    assert dict(detail(error, error_details_pb2.ErrorInfo).metadata) == {
        "origin": "SOURCE",
        "reference": "docker.io/library/redis:7",
        "digest": "sha256:" + "0a" * 32,
        "host": "registry-1.docker.io",
        "http_status": "429",
        "registry_code": "TOOMANYREQUESTS",
        "limit": "100",
    }
    delay = detail(error, error_details_pb2.RetryInfo).retry_delay
    assert (delay.seconds, delay.nanos) == (1, 500_000_000)


def test_a_delay_of_nothing_is_still_one() -> None:
    error = Error(Reason.SHUTTING_DOWN, "come back", retry_after=0.0)
    assert detail(error, error_details_pb2.RetryInfo).retry_delay.seconds == 0


def test_a_field_is_named() -> None:
    error = FieldError("source.registry.reference", "source.registry.reference: is required")
    (violation,) = detail(error, error_details_pb2.BadRequest).field_violations
    assert violation.field == "source.registry.reference"
    assert violation.description == error.message


@pytest.mark.parametrize(
    ("reason", "metadata", "digest", "resource"),
    [
        (Reason.IMAGE_NOT_FOUND, {"image": "redis:7"}, "", ("image", "redis:7")),
        (Reason.TRANSFER_NOT_FOUND, {"transfer": "ABC"}, "", ("transfer", "ABC")),
        (Reason.BLOB_NOT_FOUND, {}, "sha256:00", ("blob", "sha256:00")),
        (Reason.LEASE_EXISTS, {"lease": "leases/a"}, "", ("lease", "leases/a")),
        (Reason.PLATFORM_NOT_FOUND, {"platform": "linux/s390x"}, "", ("platform", "linux/s390x")),
    ],
)
def test_the_missing_thing_is_named(
    reason: Reason, metadata: dict[str, str], digest: str, resource: tuple[str, str]
) -> None:
    error = Error(reason, "no", metadata=metadata, digest=digest)
    info = detail(error, error_details_pb2.ResourceInfo)
    assert (info.resource_type, info.resource_name) == resource


def test_holders_are_named_as_far_as_there_is_room_with_their_total() -> None:
    few = HeldError(Reason.IMAGE_IN_USE, "held", ["containers/web", "pin"], 2)
    found = detail(few, error_details_pb2.PreconditionFailure).violations
    assert [(one.type, one.subject) for one in found] == [
        ("IMAGE_IN_USE", "containers/web"),
        ("IMAGE_IN_USE", "pin"),
    ]
    holders = [f"containers/{'x' * 100}-{number}" for number in range(100)]
    many = HeldError(Reason.IMAGE_IN_USE, "held", holders, 5000)
    shown = [one.subject for one in detail(many, error_details_pb2.PreconditionFailure).violations]
    assert 3 <= len(shown) < 100
    assert shown == holders[: len(shown)]
    assert detail(many, error_details_pb2.ErrorInfo).metadata["holders_total"] == "5000"


def hostile(text: str) -> list[Error]:
    facts: dict[str, Any] = {
        "reference": text,
        "digest": text,
        "host": text,
        "registry_code": text,
        "retry_after": 30.0,
        "metadata": {"image": text, "candidates": text, "candidates_total": "12"},
    }
    return [
        Error(Reason.IMAGE_NOT_FOUND, text, origin=Origin.DAEMON, http_status=500, **facts),
        FieldError(text, text, metadata={f"key{number}": text for number in range(40)}),
        HeldError(Reason.IMAGE_IN_USE, text, [text] * 100, 10_000),
    ]


@pytest.mark.parametrize("text", [WIDE, "a" * 100_000, "\n" * 20_000, "\udc80\ud800" * 9000])
def test_hostile_texts_cost_neither_the_reason_nor_the_call(text: str) -> None:
    for error in hostile(text):
        arguments = abort_arguments(error)
        raw: bytes = dict(arguments["trailing_metadata"])["grpc-status-details-bin"]
        assert len(raw) < 4096
        # Base64 and percent-encoding included, the headers stay below gRPC's soft limit.
        encoded = len(raw) * 4 / 3 + len(quote(arguments["details"]))
        assert encoded < 8192 - 400
        info = detail(error, error_details_pb2.ErrorInfo)
        assert (info.reason, info.domain) == (error.reason.name, "imgd.dev")
    assert kinds(hostile(text)[0]) >= {"ErrorInfo", "RetryInfo"}
    assert kinds(hostile(text)[1]) == {"ErrorInfo", "BadRequest"}
    assert kinds(hostile(text)[2]) == {"ErrorInfo", "PreconditionFailure"}


def test_a_fact_that_does_not_fit_leaves_room_for_those_that_do() -> None:
    error = Error(
        Reason.IMAGE_AMBIGUOUS,
        "several",
        host="h" * 1024,
        registry_code="c" * 1024,
        metadata={"candidates_total": "12"},
    )
    metadata = detail(error, error_details_pb2.ErrorInfo).metadata
    assert metadata["candidates_total"] == "12"
    assert "host" in metadata
    assert "registry_code" not in metadata


def test_what_is_left_over_gives_way_to_what_matters() -> None:
    facts = {"image": "i" * 2000, "other": "o" * 900}
    error = FieldError("f" * 300, "m" * 2000, reason=Reason.IMAGE_NOT_FOUND, metadata=facts)
    assert kinds(error) == {"ErrorInfo", "BadRequest"}


@given(st.text(st.characters()), st.integers(8, 60))
def test_cut_is_valid_bounded_and_a_beginning(text: str, size: int) -> None:
    result = cut(text, size)
    raw = result.encode()
    assert len(raw) <= size
    whole = text.encode("utf-8", "replace").decode()
    assert result == whole if len(whole.encode()) <= size else whole.startswith(result[:-1])

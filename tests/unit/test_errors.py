from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest

from imgd.v1 import errors_pb2
from imgd_server import oci
from imgd_server.errors import Error, FieldError, HeldError, Kind, Origin, Reason, from_format

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "ERROR_REASON_"


def described() -> dict[str, tuple[str, int]]:
    """Each reason of errors.proto: the code that its comment starts with, and its number."""
    found: dict[str, tuple[str, int]] = {}
    code = ""
    for line in (ROOT / "protos/imgd/v1/errors.proto").read_text().splitlines():
        words = line.split()
        if words[:1] == ["//"] and not code and words[1:]:
            code = words[1].rstrip(".")
        elif words[:1] and words[0].startswith(PREFIX):
            found[words[0].removeprefix(PREFIX)] = (code, int(words[2].rstrip(";")))
            code = ""
        elif words[:1] != ["//"]:
            code = ""
    return found


def test_reasons_are_those_of_the_enum_with_their_numbers_and_codes() -> None:
    proto = described()
    assert proto.pop("UNSPECIFIED") == ("UNKNOWN", 0)
    assert {one.name: (one.kind.name, one.number) for one in Reason} == proto
    assert {f"{PREFIX}{one.name}": one.number for one in Reason} | {
        f"{PREFIX}UNSPECIFIED": 0
    } == dict(errors_pb2.ErrorReason.items())


def test_kinds_are_grpcs_codes() -> None:
    for kind in Kind:
        code: tuple[int, str] = grpc.StatusCode[kind.name].value
        assert code[0] == kind.value


def test_origins_are_those_of_the_enum() -> None:
    assert {f"FAILURE_ORIGIN_{one.name}": one.value for one in Origin} == dict(
        errors_pb2.FailureOrigin.items()
    )


def test_the_page_of_reasons_is_the_enums() -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs/errors.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    page = {row[0].strip("`"): (row[1], int(row[2])) for row in rows}
    assert page == described()
    assert all(len(row[3]) > 10 for row in rows)


def test_an_error_survives_its_record() -> None:
    error = Error(
        Reason.REGISTRY_RATE_LIMITED,
        "too many",
        origin=Origin.SOURCE,
        reference="r",
        digest="d",
        host="h",
        http_status=429,
        registry_code="c",
        retry_after=2.5,
        metadata={"a": "b"},
    )
    again = Error.from_json(json.loads(json.dumps(error.to_json())))
    assert vars(again) == vars(error)
    assert again.kind is Kind.UNAVAILABLE
    assert str(again) == "too many"


def test_special_errors_leave_a_plain_record() -> None:
    field = Error.from_json(FieldError("a.b", "a.b: no", metadata={"x": "y"}).to_json())
    assert (field.reason, field.message, field.metadata) == (
        Reason.FIELD_INVALID,
        "a.b: no",
        {"x": "y"},
    )
    held = HeldError(Reason.IMAGE_IN_USE, "held", ["pin"], 7)
    assert Error.from_json(held.to_json()).metadata == {"holders_total": "7"}


@pytest.mark.parametrize("text", ["", "A B", "x@md5:aa", "x@sha256:aa"])
def test_what_oci_refuses_has_a_reason_here(text: str) -> None:
    with pytest.raises(oci.FormatError) as caught:
        oci.Reference.parse(text)
    error = from_format(caught.value, origin=Origin.SOURCE)
    assert error.reason.name == caught.value.reason
    assert (error.message, error.origin) == (str(caught.value), Origin.SOURCE)

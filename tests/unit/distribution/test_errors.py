"""Errors in the specification's form."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest

from imgd_server.distribution._protocol import (
    Refusal,
    parse_digest,
    refuse,
    refuse_all,
    refuse_defect,
    refuse_error,
)
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest

# OCI distribution 1.1, "Error Codes".
CODES = {
    "BLOB_UNKNOWN",
    "BLOB_UPLOAD_INVALID",
    "BLOB_UPLOAD_UNKNOWN",
    "DIGEST_INVALID",
    "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID",
    "MANIFEST_UNKNOWN",
    "NAME_INVALID",
    "NAME_UNKNOWN",
    "SIZE_INVALID",
    "UNAUTHORIZED",
    "DENIED",
    "UNSUPPORTED",
    "TOOMANYREQUESTS",
}


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (Reason.BLOB_NOT_FOUND, 404, "BLOB_UNKNOWN"),
        (Reason.UPLOAD_NOT_FOUND, 404, "BLOB_UPLOAD_UNKNOWN"),
        (Reason.DIGEST_MISMATCH, 400, "DIGEST_INVALID"),
        (Reason.DIGEST_UNSUPPORTED, 400, "DIGEST_INVALID"),
        (Reason.SIZE_MISMATCH, 400, "SIZE_INVALID"),
        (Reason.TOO_BUSY, 429, "TOOMANYREQUESTS"),
        (Reason.MANIFEST_INVALID, 400, "MANIFEST_INVALID"),
        (Reason.CONFIG_INVALID, 400, "MANIFEST_INVALID"),
        (Reason.INDEX_TOO_DEEP, 400, "MANIFEST_INVALID"),
        (Reason.DISK_FULL, 507, "DENIED"),
    ],
)
def test_what_a_caller_can_mend_is_said(reason: Reason, status: int, code: str) -> None:
    refusal = refuse_error(Error(reason, "what happened"))
    assert refusal.status == status
    assert refusal.errors == [{"code": code, "message": "what happened"}]
    assert ("Retry-After" in refusal.headers) is (status == 429)


@pytest.mark.parametrize("reason", Reason)
def test_every_error_has_a_code_of_the_specification(reason: Reason) -> None:
    refusal = refuse_defect("0123abcd")
    assert refusal.status == 500
    assert "0123abcd" in str(refusal.errors)
    with suppress(Error):
        refusal = refuse_error(Error(reason, "secret"))
        assert "secret" in str(refusal.errors)
    assert 400 <= refusal.status < 600
    assert refusal.errors[0]["code"] in CODES


def test_an_answer_has_the_specified_form() -> None:
    response = refuse("NAME_UNKNOWN", "no such thing", headers={"X": "y"}).response()
    assert (response.status, response.content_type) == (404, "application/json")
    assert response.headers["X"] == "y"
    assert response.text is not None
    assert json.loads(response.text) == {
        "errors": [{"code": "NAME_UNKNOWN", "message": "no such thing"}]
    }


def test_each_missing_blob_is_named() -> None:
    digests = [Digest.of(b"a"), Digest.of(b"b")]
    refusal = refuse_all("MANIFEST_BLOB_UNKNOWN", [("push it", one) for one in digests])
    assert refusal.status == 404
    assert [error["detail"] for error in refusal.errors] == [{"digest": one} for one in digests]


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:abc", "sha256:" + "A" * 64, "md5:" + "a" * 32, "latest", "sha256:../x"],
)
def test_what_is_no_digest_is_refused(text: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_digest(text)
    assert (caught.value.status, caught.value.errors[0]["code"]) == (400, "DIGEST_INVALID")

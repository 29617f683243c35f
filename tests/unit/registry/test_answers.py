from __future__ import annotations

import email.utils
import json
import time
from collections.abc import Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.oci import MAX_MANIFEST_BYTES, Descriptor, Digest, Reference, media
from imgd_server.registry import _answers
from imgd_server.registry._http import Response

DIGEST = Digest.of(b"x")


class Said:
    """What is looked at of a Response."""

    def __init__(self, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.status = status
        self.length = length
        self.headers: Mapping[str, str] = {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        self.host = "h.io"


def said(status: int = 200, length: int | None = None, **headers: str) -> Response:
    return cast(Response, Said(status, length, **headers))


# --- Retry-After


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("", None),
        ("0", 0.0),
        ("7", 7.0),
        ("9" * 5000, 86400.0),
        ("-1", None),
        ("1.5", None),
        ("٣", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 9999 07:28:00 GMT", 86400.0),
        ("Mon, 01 Jan 0001 00:00:00 -0000", 0.0),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
        ("Wed, 21 Oct 2015 07:28:00 +99999999", None),
    ],
)
def test_retry_after(value: str, expected: float | None) -> None:
    assert _answers.retry_after(value) == expected


def test_retry_after_a_date() -> None:
    wait = _answers.retry_after(email.utils.formatdate(time.time() + 3600, usegmt=True))
    assert wait == pytest.approx(3600, abs=120)


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d{1,3} [A-Z][a-z]{2} \d{1,6} [\d:]+ \S+"))
def test_retry_after_anything(value: str) -> None:
    wait = _answers.retry_after(value)
    assert wait is None or 0 <= wait <= 86400


# --- ranges


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (206, "bytes 3-9/10", 3),
        (206, "bytes 3-9/*", 3),
        (206, "bytes 2-9/10", None),
        (206, "bytes 4-9/10", None),
        (206, "bytes 3-8/10", None),
        (206, "bytes 3-10/10", None),
        (206, "bytes 3-9/11", None),
        (206, "bytes 3-9", None),
        (206, "bytes=3-9/10", None),
        (206, "items 3-9/10", None),
        (206, "bytes 3-9/10, bytes 3-9/10", None),
        (206, "bytes " + "9" * 5000 + "-9/10", None),
        (206, "bytes ٣-9/10", None),
        (206, "", None),
        (416, "bytes */10", None),
        (200, "", 0),
        (200, "bytes 3-9/10", 0),
    ],
)
def test_content_range(status: int, value: str, expected: int | None) -> None:
    assert _answers.blob_offset(said(status, content_range=value), 3, 10, 10) == expected


@pytest.mark.parametrize(
    ("status", "value", "expected"),
    [
        (206, "bytes 0-3/10", 0),
        (206, "bytes 0-3/*", 0),
        (206, "bytes 0-9/10", None),
        (206, "bytes 0-2/10", None),
        (206, "bytes 0-3/4", None),
        (416, "bytes */10", None),
        (200, "", 0),
    ],
)
def test_content_range_of_a_beginning(status: int, value: str, expected: int | None) -> None:
    assert _answers.blob_offset(said(status, content_range=value), 0, 4, 10) == expected


@pytest.mark.parametrize("status", [204, 206, 416])
def test_what_is_no_whole_blob(status: int) -> None:
    with pytest.raises(Error) as caught:
        _answers.blob_offset(said(status, content_range="bytes 0-9/10"), 0, 10, 10)
    assert (caught.value.reason, caught.value.http_status) == (Reason.REGISTRY_PROTOCOL, status)


# --- manifests


def head(kind: str = media.OCI_MANIFEST, digest: str = DIGEST, length: int | None = 5) -> Response:
    return said(200, length, content_type=kind, docker_content_digest=digest)


def test_described() -> None:
    found = Descriptor(media.OCI_MANIFEST, DIGEST, 5)
    assert _answers.described(head(), None) == found
    assert _answers.described(head(kind=media.OCI_MANIFEST.upper() + "; x=y"), None) == found
    assert _answers.described(head(digest=""), DIGEST) == found
    for lacking in (
        head(digest=""),
        head(digest="md5:x"),
        head(length=None),
        head(length=0),
        head(kind=""),
        head(kind="application/json"),
        said(200, 5, content_type=media.OCI_INDEX, docker_content_digest=DIGEST,
             content_encoding="gzip"),
    ):  # fmt: skip
        assert _answers.described(lacking, None) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (head(kind=media.DOCKER_SCHEMA1_SIGNED), Reason.MANIFEST_SCHEMA1),
        (head(kind=media.DOCKER_SCHEMA1 + "; charset=utf-8"), Reason.MANIFEST_SCHEMA1),
        (head(kind="application/vnd.acme"), Reason.MANIFEST_UNSUPPORTED),
        (head(kind="Text/HTML; charset=utf-8"), Reason.REGISTRY_PROTOCOL),
        (head(length=MAX_MANIFEST_BYTES + 1), Reason.MANIFEST_TOO_LARGE),
        (head(length=10**30), Reason.MANIFEST_TOO_LARGE),
    ],
)
def test_what_a_head_gives_away(answer: Response, reason: Reason) -> None:
    with pytest.raises(Error) as caught:
        _answers.described(answer, None)
    assert (caught.value.reason, caught.value.host) == (reason, "h.io")


# --- failures


def errors(code: object, message: object = "m") -> bytes:
    return json.dumps({"errors": [{"code": code, "message": message}]}).encode()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, Reason.REGISTRY_PROTOCOL),
        (401, Reason.REGISTRY_UNAUTHORIZED),
        (403, Reason.REGISTRY_DENIED),
        (404, Reason.REMOTE_NOT_FOUND),
        (408, Reason.REGISTRY_UNAVAILABLE),
        (418, Reason.REGISTRY_PROTOCOL),
        (429, Reason.REGISTRY_RATE_LIMITED),
        (500, Reason.REGISTRY_UNAVAILABLE),
        (599, Reason.REGISTRY_UNAVAILABLE),
        (204, Reason.REGISTRY_PROTOCOL),
    ],
)
def test_failures(status: int, reason: Reason) -> None:
    reference = Reference.parse("h.io/app:1")
    found = _answers.failure(said(status, retry_after="3"), errors("DENIED", "why"), reference)
    assert (found.reason, found.http_status, found.host) == (reason, status, "h.io")
    assert (found.registry_code, found.retry_after) == ("DENIED", 3.0)
    assert found.reference == "h.io/app:1"
    assert found.message.endswith("(why)")


@pytest.mark.parametrize(
    ("wait", "when"),
    [
        ("", "try later"),
        ("0", "try later"),
        ("1", "try again in 1 second"),
        ("120", "try again in 120 seconds"),
        ("121", "try again in 3 minutes"),
        ("3600", "try again in 60 minutes"),
        ("7201", "try again in 3 hours"),
    ],
)
def test_a_limit_says_when_to_come_again(wait: str, when: str) -> None:
    limited = _answers.failure(said(429, retry_after=wait), b"", "it").message
    assert limited == f"h.io limits requests: {when}, or log in"
    busy = _answers.failure(said(503, retry_after=wait), b"", "it").message
    assert busy == "h.io fails with HTTP 503" + (f": {when}" if "again" in when else "")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{}",
        b"[]",
        b"null",
        b'{"errors": []}',
        b'{"errors": {}}',
        b'{"errors": [1]}',
        b'{"errors": ["x"]}',
        errors(1, []),
        errors(None, None),
        b"[" * 60_000,
        b"9" * 60_000,
        b"\xff",
    ],
)
def test_errors_that_say_nothing(body: bytes) -> None:
    found = _answers.failure(said(404), body, "the layer's URL")
    assert (found.reason, found.registry_code) == (Reason.REMOTE_NOT_FOUND, "")
    assert "()" not in found.message


def test_errors_are_fit_to_be_shown() -> None:
    found = _answers.failure(said(403), errors("C" * 500, "a\x1b[31m\n\u202e" + "b" * 500), "it")
    assert len(found.registry_code) == 64
    assert found.message.isprintable()
    assert len(found.message) < 400

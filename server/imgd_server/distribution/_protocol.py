"""What the handlers share: errors in the specification's form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from aiohttp import web

from imgd_server.errors import Error, Kind, Reason
from imgd_server.oci import Digest, FormatError

__all__ = [
    "Refusal",
    "parse_digest",
    "refuse",
    "refuse_all",
    "refuse_defect",
    "refuse_deletion",
    "refuse_error",
]

# OCI distribution 1.1, "Error Codes". UNSUPPORTED and DENIED are about the method here: what may
# not be done to what the URL names. The specification has no code for what may succeed later, nor
# for tags and page sizes; UNAVAILABLE, TAG_INVALID and PAGINATION_NUMBER_INVALID are Docker's
# (distribution, registry/api/errcode and registry/api/v2), which clients know.
_STATUS = {
    "BLOB_UNKNOWN": 404,
    "BLOB_UPLOAD_INVALID": 400,
    "BLOB_UPLOAD_UNKNOWN": 404,
    "DIGEST_INVALID": 400,
    "MANIFEST_BLOB_UNKNOWN": 404,
    "MANIFEST_INVALID": 400,
    "MANIFEST_UNKNOWN": 404,
    "NAME_INVALID": 400,
    "NAME_UNKNOWN": 404,
    "PAGINATION_NUMBER_INVALID": 400,
    "SIZE_INVALID": 400,
    "TAG_INVALID": 400,
    "UNAUTHORIZED": 401,
    "DENIED": 405,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
    "UNAVAILABLE": 503,
}

_CODES = {
    Reason.DIGEST_MISMATCH: "DIGEST_INVALID",
    Reason.SIZE_MISMATCH: "SIZE_INVALID",
    Reason.BLOB_NOT_FOUND: "BLOB_UNKNOWN",
    Reason.DIGEST_INVALID: "DIGEST_INVALID",
    Reason.DIGEST_UNSUPPORTED: "DIGEST_INVALID",
    Reason.UPLOAD_NOT_FOUND: "BLOB_UPLOAD_UNKNOWN",
    Reason.TOO_BUSY: "TOOMANYREQUESTS",
}
# So soon the request that keeps an upload busy may have ended; seconds.
_RETRY_AFTER = "1"


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is answered with an error: its HTTP status, errors and further headers."""

    def __init__(
        self, status: int, errors: list[dict[str, object]], headers: Mapping[str, str]
    ) -> None:
        super().__init__(status, errors)
        self.status = status
        self.errors = errors
        self.headers = headers

    def response(self) -> web.Response:
        """The answer."""
        return web.Response(
            status=self.status,
            text=json.dumps({"errors": self.errors}),
            content_type="application/json",
            headers=self.headers,
        )


def refuse(
    code: str,
    message: str,
    status: int | None = None,
    *,
    headers: Mapping[str, str] | None = None,
) -> Refusal:
    """An error to raise; `code` is one of `_STATUS`, which implies the status."""
    error: dict[str, object] = {"code": code, "message": message}
    return Refusal(status or _STATUS[code], [error], headers or {})


def refuse_all(code: str, messages: Iterable[tuple[str, Digest]]) -> Refusal:
    """An error for each digest, with a message of its own."""
    errors: list[dict[str, object]] = [
        {"code": code, "message": message, "detail": {"digest": digest}}
        for message, digest in messages
    ]
    return Refusal(_STATUS[code], errors, {})


def refuse_deletion(message: str, allow: str) -> Refusal:
    """The answer where what is needed is to be deleted. `allow` are the methods that do work (RFC
    9110, section 15.5.6)."""
    return refuse("DENIED", message, headers={"Allow": allow})


def refuse_error(error: Error) -> Refusal:
    """One of our errors in the specification's form. Raises it again where it is no caller's
    business."""
    if error.reason is Reason.DISK_FULL:
        return refuse("DENIED", error.message, 507)
    if code := _CODES.get(error.reason):
        busy = code == "TOOMANYREQUESTS"
        return refuse(code, error.message, headers={"Retry-After": _RETRY_AFTER} if busy else None)
    if error.kind in (Kind.FAILED_PRECONDITION, Kind.INVALID_ARGUMENT):
        return refuse("MANIFEST_INVALID", error.message)
    raise error


def refuse_defect(incident: str) -> Refusal:
    """The answer where the log alone says what failed, with the ID to look for there."""
    return refuse("UNSUPPORTED", f"the registry failed; its log explains incident {incident}", 500)


def parse_digest(text: str) -> Digest:
    """A digest from a URL. Refuses with DIGEST_INVALID."""
    try:
        return Digest.parse(text)
    except FormatError as error:
        raise refuse("DIGEST_INVALID", str(error)) from None

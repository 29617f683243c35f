"""What the handlers share: names, stores, and errors in the specification's form."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Kind, Reason
from imgd_server.metadata import MetadataStore
from imgd_server.oci import Digest, FormatError, Reference

__all__ = [
    "RESOLVE",
    "Backing",
    "Repository",
    "in_thread",
    "parse_digest",
    "refuse",
    "refuse_error",
]

T = TypeVar("T")

# OCI distribution 1.1, "Error Codes".
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
    "SIZE_INVALID": 400,
    "DENIED": 403,
    "UNSUPPORTED": 405,
    "TOOMANYREQUESTS": 429,
}

_REASONS = {
    Reason.DIGEST_MISMATCH: "DIGEST_INVALID",
    Reason.SIZE_MISMATCH: "SIZE_INVALID",
    Reason.BLOB_NOT_FOUND: "BLOB_UNKNOWN",
    Reason.DIGEST_INVALID: "DIGEST_INVALID",
    Reason.DIGEST_UNSUPPORTED: "DIGEST_INVALID",
    Reason.TOO_BUSY: "TOOMANYREQUESTS",
}


@dataclass(frozen=True, slots=True)
class Backing:
    """A store that repositories are served from."""

    content: ContentStore
    metadata: MetadataStore
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a request: `name` as in the URL, `full` as in image names."""

    name: str
    full: str
    backing: Backing

    def tagged(self, tag: str) -> str:
        """The full image name of a tag. Raises NAME_INVALID for what is no tag."""
        try:
            return str(Reference.parse(f"{self.full}:{tag}"))
        except FormatError as error:
            raise refuse("MANIFEST_INVALID", str(error)) from None


# From a name in a URL to its repository; mounts name a second one.
RESOLVE: web.AppKey[Callable[[str], Repository]] = web.AppKey("resolve")


async def in_thread(function: Callable[[], T]) -> T:
    """Runs something that blocks."""
    return await asyncio.to_thread(function)


def parse_digest(text: str) -> Digest:
    """A digest from a URL."""
    try:
        return Digest.parse(text)
    except FormatError as error:
        raise refuse("DIGEST_INVALID", str(error)) from None


def refuse(code: str, message: str, status: int | None = None) -> web.HTTPException:
    """An error in the specification's form, to be raised."""
    body = json.dumps({"errors": [{"code": code, "message": message}]})
    failure = web.HTTPException(text=body, content_type="application/json")
    failure.set_status(status or _STATUS[code])
    return failure


def refuse_error(error: Error) -> web.HTTPException:
    """One of our errors in the specification's form."""
    if error.reason is Reason.DISK_FULL:
        return refuse("DENIED", error.message, 507)
    if error.kind in (Kind.FAILED_PRECONDITION, Kind.INVALID_ARGUMENT):
        return refuse(_REASONS.get(error.reason, "MANIFEST_INVALID"), error.message)
    if code := _REASONS.get(error.reason):
        return refuse(code, error.message)
    return refuse("UNSUPPORTED", "the registry failed; its log says why", 500)

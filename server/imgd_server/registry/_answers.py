"""What registries' answers mean: descriptors, offsets, failures."""

from __future__ import annotations

import email.utils
import json
import re
import time

from imgd_server.errors import Error, Reason, from_format
from imgd_server.oci import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    FormatError,
    Reference,
    manifest_type,
    media,
)
from imgd_server.registry._http import Response
from imgd_server.registry._protocol import come_again

__all__ = [
    "blob_offset",
    "described",
    "failure",
    "header_digest",
    "is_encoded",
    "manifest_kind",
    "mismatch",
    "protocol_error",
    "retry_after",
    "too_large",
]

# Nobody means a longer pause, and the figure must stay one.
_LONGEST_RETRY_AFTER = 86400.0
_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")


def manifest_kind(response: Response) -> str:
    """The type of manifest that an answer says it is; empty where it says nothing.

    Raises MANIFEST_SCHEMA1, MANIFEST_UNSUPPORTED, and REGISTRY_PROTOCOL for a web page.
    """
    said = media.essence(response.headers.get("content-type", ""))
    if said == "text/html":
        raise protocol_error(response, "answers a web page instead of a manifest")
    try:
        return manifest_type(said)
    except FormatError as error:
        raise from_format(error, host=response.host) from error


def described(head: Response, digest: Digest | None) -> Descriptor | None:
    """The descriptor that a manifest's headers give; None where they do not suffice.

    `digest` is what was asked for, if it was a digest. Raises what `manifest_kind` raises, and
    MANIFEST_TOO_LARGE.
    """
    kind = manifest_kind(head)
    said = header_digest(head) or digest
    if not kind or said is None or not head.length or is_encoded(head):
        return None
    if head.length > MAX_MANIFEST_BYTES:
        raise too_large(said, head.host)
    return Descriptor(kind, said, head.length)


def header_digest(response: Response) -> Digest | None:
    """The digest that a registry says a manifest has; None for none, or for what is none."""
    try:
        return Digest.parse(response.headers.get("docker-content-digest", ""))
    except FormatError:
        return None


def is_encoded(response: Response) -> bool:
    """Whether the body is not the content itself, although nobody asked for that."""
    return response.headers.get("content-encoding", "identity").lower() != "identity"


def blob_offset(response: Response, offset: int, end: int, size: int) -> int | None:
    """Where a blob's answer begins; None when the blob must be asked for anew, and whole."""
    if response.status == 200:
        return 0
    part = (offset, end) != (0, size)
    if response.status == 206 and part:
        match = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if (
            match
            and (int(match[1]), int(match[2])) == (offset, end - 1)
            and match[3] in ("*", str(size))
        ):
            return offset
    if part:
        return None
    raise protocol_error(response, f"answers a whole blob with HTTP {response.status}")


# --- failures


def failure(response: Response, body: bytes, about: Reference | str) -> Error:
    """The error for an answer that is no success; `about` is what was asked for."""
    code, said = _registry_error(body)
    status, host = response.status, response.host
    what = about.familiar() if isinstance(about, Reference) else about
    wait = retry_after(response.headers.get("retry-after", ""))
    reason, text = {
        401: (
            Reason.REGISTRY_UNAUTHORIZED,
            f"{host} wants credentials for {what}, or others, or has no such repository",
        ),
        403: (Reason.REGISTRY_DENIED, f"{host} refuses access to {what}"),
        404: (
            Reason.REMOTE_NOT_FOUND,
            f"{host} has no {what}, or does not show it without a login",
        ),
        429: (
            Reason.REGISTRY_RATE_LIMITED,
            f"{host} limits requests: {come_again(wait)}, or log in",
        ),
    }.get(
        status,
        (
            Reason.REGISTRY_UNAVAILABLE,
            f"{host} fails with HTTP {status}" + (f": {come_again(wait)}" if wait else ""),
        )
        if status >= 500 or status == 408
        else (Reason.REGISTRY_PROTOCOL, f"{host} answers HTTP {status} for {what}"),
    )
    return Error(
        reason,
        f"{text} ({said})" if said else text,
        host=host,
        http_status=status,
        registry_code=code,
        reference=str(about) if isinstance(about, Reference) else "",
        retry_after=wait,
    )


def _registry_error(body: bytes) -> tuple[str, str]:
    """The code and message of a registry's JSON error, fit to be shown."""
    try:
        first = json.loads(body)["errors"][0]
        code, message = first.get("code", ""), first.get("message", "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return "", ""
    return _shown(code, 64), _shown(message, 200)


def _shown(value: object, length: int) -> str:
    text = value if isinstance(value, str) else ""
    return "".join(char if char.isprintable() else "?" for char in text[:length])


def retry_after(value: str) -> float | None:
    """Seconds to wait (RFC 9110, 10.2.3: a number or a date), at most a day."""
    if value.isascii() and value.isdigit():
        return min(float(value), _LONGEST_RETRY_AFTER)
    try:
        seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, LookupError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER)


def protocol_error(response: Response, what: str) -> Error:
    """For an answer that no registry gives."""
    return Error(
        Reason.REGISTRY_PROTOCOL,
        f"{response.host} {what}; is it a registry?",
        host=response.host,
        http_status=response.status,
    )


def mismatch(wanted: Digest, digest: Digest, host: str) -> Error:
    """For a manifest that is another than was asked for."""
    return Error(
        Reason.DIGEST_MISMATCH,
        f"{host} sends a manifest with the digest {digest} for {wanted}",
        digest=wanted,
        host=host,
    )


def too_large(what: str, host: str) -> Error:
    """For a manifest beyond the bound; `what` is a digest or a reference."""
    return Error(
        Reason.MANIFEST_TOO_LARGE,
        f"the manifest {what} is larger than {MAX_MANIFEST_BYTES} bytes",
        host=host,
    )

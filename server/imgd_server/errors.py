"""The one exception tree: a stable reason, which implies the kind, and the facts that go with it.

`rpc` translates it to gRPC (protos/imgd/v1/errors.proto); no other room knows how it looks on the
wire. `reason` names are those of the `ErrorReason` enum; a test holds the two against each other.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from imgd_server import oci

__all__ = ["Error", "FieldError", "HeldError", "Kind", "Origin", "Reason", "from_format"]


class Kind(enum.Enum):
    """The canonical codes that imgd uses, with gRPC's numbers (google.rpc.Code)."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class Origin(enum.Enum):
    """The side at fault; values are those of the FailureOrigin enum."""

    UNSPECIFIED = 0
    SOURCE = 1
    DESTINATION = 2
    DAEMON = 3


class Reason(enum.Enum):
    """Why something failed. A value is the kind that goes with it, and the enum's number."""

    FIELD_INVALID = (Kind.INVALID_ARGUMENT, 1)
    REFERENCE_INVALID = (Kind.INVALID_ARGUMENT, 2)
    DIGEST_INVALID = (Kind.INVALID_ARGUMENT, 3)
    DIGEST_UNSUPPORTED = (Kind.INVALID_ARGUMENT, 4)
    PLATFORM_INVALID = (Kind.INVALID_ARGUMENT, 5)
    FILTER_INVALID = (Kind.INVALID_ARGUMENT, 6)
    PAGE_TOKEN_INVALID = (Kind.INVALID_ARGUMENT, 7)
    IMAGE_AMBIGUOUS = (Kind.INVALID_ARGUMENT, 8)
    REQUEST_ID_REUSED = (Kind.ALREADY_EXISTS, 9)
    IMAGE_NOT_FOUND = (Kind.NOT_FOUND, 20)
    TRANSFER_NOT_FOUND = (Kind.NOT_FOUND, 21)
    CONTAINER_NOT_FOUND = (Kind.NOT_FOUND, 22)
    LEASE_NOT_FOUND = (Kind.NOT_FOUND, 23)
    BLOB_NOT_FOUND = (Kind.NOT_FOUND, 24)
    UPLOAD_NOT_FOUND = (Kind.NOT_FOUND, 25)
    PLATFORM_NOT_FOUND = (Kind.NOT_FOUND, 26)
    FILE_NOT_FOUND = (Kind.NOT_FOUND, 27)
    CONTAINER_EXISTS = (Kind.ALREADY_EXISTS, 40)
    LEASE_EXISTS = (Kind.ALREADY_EXISTS, 41)
    IMAGE_IN_USE = (Kind.FAILED_PRECONDITION, 42)
    IMAGE_HAS_NAMES = (Kind.FAILED_PRECONDITION, 43)
    DIGEST_CHANGED = (Kind.ABORTED, 44)
    TRANSFER_STATE = (Kind.FAILED_PRECONDITION, 45)
    CONTAINER_STATE = (Kind.FAILED_PRECONDITION, 46)
    IMAGE_INCOMPLETE = (Kind.FAILED_PRECONDITION, 47)
    OFFSET_MISMATCH = (Kind.OUT_OF_RANGE, 48)
    CURSOR_EXPIRED = (Kind.OUT_OF_RANGE, 49)
    DIGEST_MISMATCH = (Kind.DATA_LOSS, 60)
    SIZE_MISMATCH = (Kind.DATA_LOSS, 61)
    MANIFEST_INVALID = (Kind.FAILED_PRECONDITION, 62)
    MANIFEST_UNSUPPORTED = (Kind.FAILED_PRECONDITION, 63)
    MANIFEST_SCHEMA1 = (Kind.FAILED_PRECONDITION, 64)
    MANIFEST_TOO_LARGE = (Kind.FAILED_PRECONDITION, 65)
    INDEX_TOO_DEEP = (Kind.FAILED_PRECONDITION, 66)
    CONFIG_INVALID = (Kind.FAILED_PRECONDITION, 67)
    LAYER_INVALID = (Kind.FAILED_PRECONDITION, 68)
    LAYER_TOO_LARGE = (Kind.RESOURCE_EXHAUSTED, 69)
    ARCHIVE_INVALID = (Kind.FAILED_PRECONDITION, 70)
    REMOTE_NOT_FOUND = (Kind.NOT_FOUND, 80)
    REMOTE_PLATFORM_NOT_FOUND = (Kind.NOT_FOUND, 81)
    REGISTRY_UNAUTHORIZED = (Kind.UNAUTHENTICATED, 82)
    REGISTRY_DENIED = (Kind.PERMISSION_DENIED, 83)
    REGISTRY_RATE_LIMITED = (Kind.UNAVAILABLE, 84)
    REGISTRY_UNREACHABLE = (Kind.UNAVAILABLE, 85)
    REGISTRY_UNAVAILABLE = (Kind.UNAVAILABLE, 86)
    REGISTRY_PROTOCOL = (Kind.FAILED_PRECONDITION, 87)
    REGISTRY_TLS = (Kind.FAILED_PRECONDITION, 88)
    REGISTRY_TIMEOUT = (Kind.DEADLINE_EXCEEDED, 89)
    EGRESS_DENIED = (Kind.PERMISSION_DENIED, 90)
    REMOTE_CHANGED = (Kind.FAILED_PRECONDITION, 91)
    DISK_FULL = (Kind.RESOURCE_EXHAUSTED, 100)
    TOO_BUSY = (Kind.RESOURCE_EXHAUSTED, 101)
    SHUTTING_DOWN = (Kind.UNAVAILABLE, 102)
    CANCELLED = (Kind.CANCELLED, 103)
    INTERRUPTED = (Kind.ABORTED, 104)
    STORE_CORRUPT = (Kind.DATA_LOSS, 105)
    UNSUPPORTED = (Kind.UNIMPLEMENTED, 106)
    INTERNAL = (Kind.INTERNAL, 107)
    ACCESS_DENIED = (Kind.PERMISSION_DENIED, 108)

    @property
    def kind(self) -> Kind:
        """The canonical code that goes with the reason."""
        return self.value[0]

    @property
    def number(self) -> int:
        """The value's number in the ErrorReason enum."""
        return self.value[1]


class Error(Exception):
    """Anything that imgd refuses or fails at.

    `message` is for a person and holds no secret and no local path. `retry_after` is in seconds,
    None when nothing is known. `http_status` is 0 when no registry answered.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        origin: Origin = Origin.UNSPECIFIED,
        reference: str = "",
        digest: str = "",
        host: str = "",
        http_status: int = 0,
        registry_code: str = "",
        retry_after: float | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.origin = origin
        self.reference = reference
        self.digest = digest
        self.host = host
        self.http_status = http_status
        self.registry_code = registry_code
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})

    @property
    def kind(self) -> Kind:
        """The canonical code."""
        return self.reason.kind

    def to_json(self) -> dict[str, Any]:
        """The error as JSON values, for a transfer's durable record."""
        return {
            "reason": self.reason.name,
            "message": self.message,
            "origin": self.origin.value,
            "reference": self.reference,
            "digest": self.digest,
            "host": self.host,
            "http_status": self.http_status,
            "registry_code": self.registry_code,
            "retry_after": self.retry_after,
            "metadata": self.metadata,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Error:
        """The error that `to_json` wrote."""
        facts = dict(value)
        reason, message = Reason[facts.pop("reason")], facts.pop("message")
        return Error(reason, message, origin=Origin(facts.pop("origin")), **facts)


class FieldError(Error):
    """A request's field breaks a rule. `field` is its path in the request (`source.registry`)."""

    def __init__(
        self,
        field: str,
        message: str,
        *,
        reason: Reason = Reason.FIELD_INVALID,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(reason, message, metadata=metadata)
        self.field = field


class HeldError(Error):
    """Something is held. `holders` are resource names or `pin`, at most 100 of them."""

    def __init__(self, reason: Reason, message: str, holders: list[str], total: int) -> None:
        super().__init__(reason, message, metadata={"holders_total": str(total)})
        self.holders = holders


def from_format(error: oci.FormatError, **facts: Any) -> Error:
    """The error for malformed input that `oci` refused; `facts` are Error's keyword arguments."""
    return Error(Reason[error.reason], str(error), **facts)

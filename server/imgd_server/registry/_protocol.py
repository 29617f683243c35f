"""What the rest of imgd needs of a registry.

Every method blocks and may be called from any thread. Failures are `errors.Error` with the host,
HTTP status and the registry's own code, origin unset: the caller knows which side it was.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType
from typing import Protocol, Self

from imgd_server.errors import Error, Reason
from imgd_server.oci import Descriptor, Digest, Reference

__all__ = [
    "BlobSize",
    "BlobSource",
    "BlobStream",
    "Cancellation",
    "Credentials",
    "FetchedManifest",
    "PausedError",
    "Privacy",
    "PushedBlob",
    "PushedManifest",
    "RangeStream",
    "RegistryClient",
    "RegistryPusher",
    "Resolved",
    "Upload",
    "come_again",
]


def come_again(wait: float | None) -> str:
    """What to do about a limit: `try again in 60 minutes`, never too soon; `try later` when nothing
    is known of the wait, which is in seconds."""
    if not wait:
        return "try later"
    unit, length = "second", 1
    if wait > 120:
        unit, length = ("minute", 60) if wait <= 7200 else ("hour", 3600)
    count = math.ceil(wait / length)
    return f"try again in {count} {unit}{'s' if count > 1 else ''}"


class PausedError(Error):
    """A host was not asked, because it wants no requests for some time (`retry_after`)."""

    def __init__(self, host: str, seconds: float) -> None:
        super().__init__(
            Reason.REGISTRY_RATE_LIMITED,
            f"{host} limits requests: {come_again(seconds)}",
            host=host,
            retry_after=seconds,
        )


class Cancellation:
    """Stops blocking calls from another thread.

    A call that takes one raises CANCELLED soon after `cancel`, also while it waits for the network:
    it registers what to shut down with `on_cancel`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cancelled = False
        # By what stands for each registration: two may be of one function.
        self._callbacks: dict[object, Callable[[], None]] = {}

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled

    def cancel(self) -> None:
        """Cancels; further calls do nothing."""
        with self._lock:
            self._cancelled = True
            callbacks, self._callbacks = self._callbacks, {}
        for callback in callbacks.values():
            callback()

    def check(self) -> None:
        """Raises CANCELLED once cancelled."""
        if self._cancelled:
            raise Error(Reason.CANCELLED, "cancelled")

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` (from any thread, at once if cancelled already); returns its removal."""
        key = object()
        with self._lock:
            if not self._cancelled:
                self._callbacks[key] = callback
                return lambda: self._forget(key)
        callback()
        return lambda: None

    def _forget(self, key: object) -> None:
        with self._lock:
            self._callbacks.pop(key, None)


@dataclass(frozen=True, slots=True)
class Credentials:
    """How to authenticate at one registry. Never logged: repr shows the user's name at most.

    Either `user` and `password`, or an `identity_token`, or a `registry_token`, or `anonymous`.
    """

    user: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""
    anonymous: bool = False

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r})"

    @property
    def scope(self) -> str:
        """Tells credentials apart without revealing them: what shared work is keyed by."""
        parts = (self.user, self.password, self.identity_token, self.registry_token)
        return Digest.of("\0".join(parts).encode()).hex[:16] if any(parts) else "anonymous"


class Privacy(IntEnum):
    """Whether an answer may be for the caller alone, more of it with each."""

    NONE = 0
    """Nobody's credentials were needed for it."""
    SENT = 1
    """There were credentials in the request, and perhaps everybody gets it without."""
    ASKED = 2
    """The registry refuses such to those who bring none: it tells that these may read there."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference points at, and who said so (`host[:port]` of the registry or mirror).

    `private` says whether it was told for credentials.
    """

    target: Descriptor
    host: str
    private: Privacy = Privacy.NONE


@dataclass(frozen=True, slots=True)
class FetchedManifest:
    """A manifest's verified bytes, and who served them; `private` as in Resolved."""

    target: Descriptor
    raw: bytes
    host: str
    private: Privacy = Privacy.NONE


@dataclass(frozen=True, slots=True)
class BlobSize:
    """How large a blob is, in bytes; `private` as in Resolved."""

    size: int
    private: Privacy = Privacy.NONE


class BlobStream(Protocol):
    """A blob's bytes as they arrive. They are not verified: whoever stores them does that."""

    @property
    def offset(self) -> int:
        """Where the stream begins: what was asked for, or 0 when the server ignored the range."""
        ...

    @property
    def host(self) -> str:
        """Who serves it."""
        ...

    @property
    def private(self) -> Privacy:
        """Whether it is given for credentials; also where the registry led
        elsewhere for the bytes."""
        ...

    def readinto(self, buffer: memoryview) -> int:
        """Fills the buffer as far as it can without waiting twice; returns the number of bytes, 0
        at the end.

        Raises SIZE_MISMATCH when the server sends another length than it announced or than the
        descriptor says, REGISTRY_TIMEOUT on a stall, REGISTRY_UNREACHABLE on a reset.
        """
        ...

    def distrust(self) -> None:
        """Says that the bytes were not those of the digest: a mirror that sent them is left out for
        a while."""
        ...

    def close(self) -> None:
        """Closes, and reuses the connection when the end was reached."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class RangeStream(BlobStream, Protocol):
    """A part of a blob, as it arrives."""

    @property
    def end(self) -> int:
        """Where the stream ends: what was asked for, or the blob's size when the server ignored the
        range."""
        ...

    @property
    def etag(self) -> str:
        """The entity tag of what the server sends (RFC 9110, 8.8.3); empty where it has none."""
        ...


class RegistryClient(Protocol):
    """Reads registries over the OCI distribution API 1.1 (and Docker's, which it grew from)."""

    def resolve(
        self, reference: Reference, credentials: Credentials | None, cancellation: Cancellation
    ) -> Resolved:
        """What a reference (with tag or digest) points at. One HEAD where the registry does it
        right; a GET where HEAD gives no digest. Raises REMOTE_NOT_FOUND, REGISTRY_*."""
        ...

    def fetch_manifest(
        self,
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> FetchedManifest:
        """A manifest of the reference's repository by digest, verified. Raises DIGEST_MISMATCH,
        SIZE_MISMATCH, MANIFEST_TOO_LARGE, REMOTE_NOT_FOUND, REGISTRY_*."""
        ...

    def open_blob(
        self,
        reference: Reference,
        target: Descriptor,
        offset: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> BlobStream:
        """A blob of the reference's repository from `offset` on; by its URLs, if it has any and the
        registry has it not. Raises REMOTE_NOT_FOUND, REGISTRY_*."""
        ...

    def open_range(
        self,
        reference: Reference,
        target: Descriptor,
        start: int,
        end: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
        avoid: str = "",
    ) -> RangeStream:
        """The bytes of a blob of the reference's repository from `start` to before `end`; the whole
        blob where the server sends something else. The host `avoid` is asked after others. Raises
        REMOTE_NOT_FOUND, REGISTRY_*."""
        ...

    def has_room(self, reference: Reference) -> bool:
        """Whether the reference's registry, or the mirror that stands for it, takes one request
        more at once now. Does not block."""
        ...

    def blob_size(
        self,
        reference: Reference,
        digest: Digest,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> BlobSize:
        """How large a blob of the reference's repository is: one HEAD. Raises
        REMOTE_NOT_FOUND, REGISTRY_*."""
        ...

    def close(self) -> None:
        """Closes idle connections."""
        ...


class BlobSource(Protocol):
    """A blob's bytes to be sent, from any offset on, as often as it takes.

    What it raises of its own has an origin, which tells it from the destination's failures.
    """

    def fileno(self) -> int | None:
        """A file descriptor of a regular file with exactly the blob's bytes; None for a source that
        is only to be opened."""
        ...

    def open(self, offset: int) -> BlobStream:
        """The bytes from exactly `offset` on. The last of them comes only when all are verified."""
        ...

    def portion(self, most: int) -> int:
        """How many bytes to send before the next `sent`: 1 at least, and `most` at the most."""
        ...

    def sent(self, offset: int, length: int) -> None:
        """Takes note that bytes went out, and may wait until more may. Raises CANCELLED."""
        ...


@dataclass(slots=True)
class Upload:
    """An upload that a registry has begun. Kept between attempts, the next goes on where it is.

    `location` is where its next request goes, empty before there is one; it may hold a secret.
    `whole` says that the registry takes a blob in one piece only.
    """

    location: str = field(default="", repr=False)
    whole: bool = False


@dataclass(frozen=True, slots=True)
class PushedBlob:
    """Who took a blob, and whether from another of its repositories."""

    host: str
    mounted: bool


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """Who took a manifest, and whether it lists the manifest as a referrer of its subject."""

    host: str
    knows_subject: bool


class RegistryPusher(Protocol):
    """Writes to registries over the OCI distribution API 1.1. As `RegistryClient`, it blocks."""

    def find_blob(
        self,
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> str | None:
        """The host whose repository has the blob: one HEAD. None where it has not. Raises
        REGISTRY_*."""
        ...

    def push_blob(
        self,
        reference: Reference,
        target: Descriptor,
        source: BlobSource,
        upload: Upload,
        mounts: Sequence[str],
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> PushedBlob:
        """Brings a blob into the reference's repository: from another one of the same registry (of
        the paths `mounts`, the first that can be tried), else by `upload`, which is brought up to
        date as it goes. Raises DIGEST_MISMATCH when the registry finds other bytes than the
        digest's, REMOTE_NOT_FOUND, REGISTRY_*, EGRESS_DENIED, and what the source raises."""
        ...

    def find_manifest(
        self, reference: Reference, credentials: Credentials | None, cancellation: Cancellation
    ) -> Digest | None:
        """The digest of what the registry has under the reference's digest, else under its tag:
        one HEAD. None where there is nothing, or it does not say. Raises REGISTRY_*."""
        ...

    def push_manifest(
        self,
        reference: Reference,
        target: Descriptor,
        raw: bytes,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> PushedManifest:
        """Puts a manifest under the reference's digest, else under its tag. Raises REGISTRY_*."""
        ...

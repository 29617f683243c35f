"""What a store of blobs is, whatever keeps them.

Every method blocks and may be called from any thread; the daemon calls them in worker threads. A
blob is visible only when it is complete, verified and durable. Errors are `errors.Error`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from imgd_server.oci import Digest

__all__ = ["BlobInfo", "ContentStore", "Ingest", "PartialInfo", "Reader"]

Buffer = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class BlobInfo:
    """A stored blob. `size` is in bytes, `stored_at` in seconds since the epoch.

    `version` tells it from what other commits of the same digest have stored, or will.
    """

    digest: Digest
    size: int
    stored_at: float
    version: int = 0


@dataclass(frozen=True, slots=True)
class PartialInfo:
    """An ingest that was left unfinished. `updated_at` is in seconds since the epoch."""

    key: str
    size: int
    updated_at: float


class Reader(Protocol):
    """An open blob. It stays readable until closed, even if the blob is deleted meanwhile."""

    @property
    def size(self) -> int:
        """The blob's size in bytes."""
        ...

    def fileno(self) -> int:
        """A file descriptor of a regular file with exactly the blob's bytes, for sendfile(2)."""
        ...

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer only at the end, b"" beyond it."""
        ...

    def close(self) -> None:
        """Closes; further calls are harmless."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class Ingest(Protocol):
    """A blob that is being written. One at a time for a key.

    Used by one thread at a time. Leaving it without `commit` or `abort` keeps the bytes for a later
    ingest of the same key.
    """

    @property
    def offset(self) -> int:
        """Bytes written so far, those of an earlier attempt included: where the next go."""
        ...

    def write(self, data: Buffer) -> None:
        """Appends. Hashes as it writes. Raises SIZE_MISMATCH past the expected size (and keeps
        nothing of that write), DISK_FULL when there is no room; that ends the ingest, and a later
        one goes on with what was written."""
        ...

    def restart(self) -> None:
        """Forgets all bytes: the next write is at offset 0."""
        ...

    def commit(self, digest: Digest | None = None) -> BlobInfo:
        """Verifies, makes durable (data, then name), and only then shows the blob.

        `digest` is needed when the ingest was started without one. Raises DIGEST_MISMATCH or
        SIZE_MISMATCH, after which the bytes are gone, and DISK_FULL. A blob that is there already
        is fine. Ends the ingest, whatever comes of it.
        """
        ...

    def abort(self) -> None:
        """Forgets all bytes, and ends."""
        ...

    def close(self) -> None:
        """Ends and keeps the bytes; further calls are harmless."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...


class ContentStore(Protocol):
    """Blobs by digest."""

    def info(self, digest: Digest) -> BlobInfo:
        """A blob's size and the time of its last commit. Raises BLOB_NOT_FOUND."""
        ...

    def find(self, digest: Digest) -> BlobInfo | None:
        """As `info`, None when it is not stored."""
        ...

    def open(self, digest: Digest) -> Reader:
        """Opens a blob. Raises BLOB_NOT_FOUND."""
        ...

    def read(self, digest: Digest, limit: int) -> bytes:
        """A small blob whole. Raises BLOB_NOT_FOUND, and MANIFEST_TOO_LARGE when it has more than
        `limit` bytes."""
        ...

    def ingest(
        self,
        key: str,
        digest: Digest | None = None,
        size: int | None = None,
        *,
        resume: bool = True,
    ) -> Ingest:
        """Starts or goes on writing a blob.

        `key` names the unfinished bytes ([A-Za-z0-9_.:-], at most 255 characters): the digest for
        downloads, the upload's ID for uploads. `size` is the exact size expected, None when not
        known. With `resume`, bytes left under the key are kept, hashed anew and counted in
        `offset`; more than `size` of them can't be the blob, and are dropped. Raises TOO_BUSY while
        the key is being written, FIELD_INVALID for what is no key, DISK_FULL.
        """
        ...

    def discard(self, digest: Digest) -> int:
        """Takes a blob out of sight, at once and however large it is, and returns its size; 0 when
        there was none. Its bytes are freed by `sweep`."""
        ...

    def discard_seen(self, seen: BlobInfo) -> bool:
        """As `discard`, unless the blob is another one than what was seen, having been committed
        anew since; says whether it did."""
        ...

    def sweep(self, most: int | None = None) -> int:
        """Frees the bytes of what was discarded, also before a crash; of so many blobs at the most,
        None for all. Returns of how many."""
        ...

    def delete(self, digest: Digest) -> int:
        """Deletes a blob and returns its size; 0 when there was none."""
        ...

    def blobs(self) -> Iterator[BlobInfo]:
        """Every blob, in no order. What is added or deleted meanwhile may or may not appear."""
        ...

    def strays(self) -> Iterator[str]:
        """What is in the store and is neither a blob nor an unfinished ingest, by its name there:
        somebody else put it there. No other method but `drop_stray` sees or touches it."""
        ...

    def drop_stray(self, name: str) -> bool:
        """Deletes one of `strays`, and says so: a file, a link or an empty folder, no more than
        that, and nothing that is not among them."""
        ...

    def partials(self) -> Iterator[PartialInfo]:
        """Every unfinished ingest that nobody is writing."""
        ...

    def partial(self, key: str) -> PartialInfo | None:
        """One unfinished ingest, whether it is being written or not; None when there is none.

        Cheap: looks at nothing else. Raises FIELD_INVALID for what is no key.
        """
        ...

    def read_partial(self, key: str, length: int, offset: int) -> bytes:
        """Up to `length` bytes of an unfinished ingest, also while it is written; fewer where there
        are no more yet, b"" also where there is no such ingest (any more).

        Nobody has verified them, and the ingest may begin anew with others. Raises FIELD_INVALID
        for what is no key.
        """
        ...

    def drop_partial(self, key: str) -> bool:
        """Forgets an unfinished ingest, and says so; not one that is being written.

        Raises FIELD_INVALID for what is no key."""
        ...

    def verify(self, digest: Digest) -> bool:
        """Reads a blob again, and says whether it can be read and still has its digest.

        Raises BLOB_NOT_FOUND."""
        ...

    def room(self) -> tuple[int, int]:
        """The size of the underlying file system in bytes, and what is free of it for an
        unprivileged writer."""
        ...

    def free_bytes(self) -> int:
        """Room left on the underlying file system, for an unprivileged writer."""
        ...

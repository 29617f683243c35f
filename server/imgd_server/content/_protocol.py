"""What a store of blobs is, whatever keeps them.

Every method blocks and may be called from any thread; the daemon calls them in worker threads. A
blob is visible only when it is complete, verified and durable. Errors are `errors.Error`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from imgd_server.oci import Digest

__all__ = [
    "BlobInfo",
    "Cancellation",
    "ContentStore",
    "Followed",
    "Ingest",
    "PartialInfo",
    "Reader",
    "StartedOverError",
]

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
    """An ingest that was left unfinished. `size` is how many bytes are there, gaps apart;
    `updated_at` is in seconds since the epoch."""

    key: str
    size: int
    updated_at: float


class Cancellation(Protocol):
    """The part of `registry.Cancellation` that waiting needs; rooms apart share its shape.

    `on_cancel` calls back from any thread, at once if cancelled already, and returns its removal.
    """

    def check(self) -> None:
        """Raises CANCELLED once cancelled."""
        ...

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Calls `callback` once cancelled; returns how to take it back."""
        ...


class StartedOverError(Exception):
    """What was read of an unfinished blob is worth nothing: its bytes were dropped, or another file
    has become the blob."""


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


class Followed(Protocol):
    """A blob that is there, or to come, whoever brings it and in however many attempts; read from
    its beginning while it is written. Used by one thread at a time.

    Nobody has verified the bytes of an unfinished one. What was read of them is the beginning of
    the blob when `wait` has said that the blob is whole, and not before.
    """

    def wait(self, offset: int, cancellation: Cancellation) -> int:
        """Blocks until more than `offset` bytes are there, in order from the first one, or the blob
        is stored; returns how many are there. So an `offset` of at least the blob's size waits
        until it is stored, and -1 for nothing but its first byte, and after that for nothing.

        Raises StartedOverError where bytes that have been there are no part of the blob: this
        object is of no more use. Raises CANCELLED soon after the cancellation.
        """
        ...

    def fileno(self) -> int:
        """A descriptor, open for reading, of a regular file that has these bytes from offset 0 on,
        for pread(2). Meaningful once `wait` has returned."""
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

    Used by one thread at a time, but for `write_at`. Leaving it without `commit` or `abort` keeps
    the bytes for a later ingest of the same key.
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

    @property
    def ranges(self) -> list[tuple[int, int]]:
        """What is there, as ranges (start, end) apart from each other, in order: the bytes before
        `offset`, and what `write_at` has left behind gaps, also in an earlier ingest."""
        ...

    def open_ranks(self) -> None:
        """Begins writing by ranges: until `close_ranks`, there is no `write`."""
        ...

    def write_at(self, offset: int, data: Buffer) -> int:
        """Writes somewhere, also behind gaps; from several threads at once. Of bytes that are there
        already, or that another thread is writing, nothing changes: the first stay. Returns how
        many are new.

        Hashes what has come to be there in order, behind the writers: `offset` follows. What is
        written outlives the process at once, gaps and all, and is synced now and then. Raises
        SIZE_MISMATCH past the expected size, and DISK_FULL, after which the ingest is to be closed.
        """
        ...

    def close_ranks(self) -> None:
        """Ends writing by ranges, when no thread does any more: what is behind a gap is forgotten,
        and the next write is at `offset`."""
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

    def follow(self, digest: Digest) -> Followed:
        """A blob as far as it is there: a stored one, and until then what an ingest whose key is
        the digest has in order from its first byte. Returns at once, also where there is nothing
        yet."""
        ...

    def discard(self, digest: Digest) -> int:
        """Takes a blob out of sight, at once and however large it is, and returns its size; 0 when
        there was none. Its bytes are freed then, or by `sweep` where that may take longer."""
        ...

    def discard_all(self, digests: Sequence[Digest]) -> int:
        """As `discard` of each, several at a time where that is faster; returns the sum of their
        sizes. When it fails, some may be gone."""
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

    def digests(self) -> Iterator[Digest]:
        """The digests of `blobs`, for less: nothing is asked about any of them."""
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

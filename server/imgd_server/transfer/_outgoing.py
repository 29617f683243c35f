"""A blob on its way to another registry: from the store, or passed through from a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, Self

from imgd_server.content import ContentStore, Reader
from imgd_server.errors import Error, Origin, Reason
from imgd_server.oci import Descriptor
from imgd_server.registry import BlobSource, BlobStream, Privacy
from imgd_server.transfer._flight import Flight

__all__ = ["Inline", "Opening", "RemoteBlob", "StoredBlob"]


class Opening(BlobSource, Protocol):
    """A blob to be sent, by one flight. It is entered for each attempt, in the thread of it."""

    def check(self) -> None:
        """Looks whether the bytes are right, after the other side said they are not. Raises
        STORE_CORRUPT."""
        ...

    def __enter__(self) -> Self: ...
    def __exit__(self, *_: object) -> None: ...


class _Counted:
    """A blob whose bytes a flight counts as they go out."""

    def __init__(self, flight: Flight[Any], target: Descriptor) -> None:
        self._flight, self._target = flight, target
        self._begun = False

    def portion(self, most: int) -> int:
        """See BlobSource."""
        return self._flight.portion(most)

    def sent(self, offset: int, length: int) -> None:
        """See BlobSource."""
        flight = self._flight
        flight.cancellation.check()
        if not self._begun:
            # So much the other side had.
            self._begun, flight.resumed_bytes = True, offset
        flight.done_bytes = offset + length
        flight.moved_bytes += length
        flight.spend(length)

    def __enter__(self) -> Self:
        self._begun = False
        return self

    def __exit__(self, *_: object) -> None:
        pass


class StoredBlob(_Counted):
    """A blob of the store, sent as the file that it is."""

    def __init__(self, flight: Flight[Any], target: Descriptor, content: ContentStore) -> None:
        super().__init__(flight, target)
        self._content = content
        self._reader: Reader | None = None

    def fileno(self) -> int | None:
        assert self._reader
        return self._reader.fileno()

    def open(self, offset: int) -> BlobStream:
        raise NotImplementedError  # it is a file

    def check(self) -> None:
        if not self._content.verify(self._target.digest):
            raise Error(
                Reason.STORE_CORRUPT,
                f"{self._target.digest} is damaged in the store: pull it again",
                origin=Origin.SOURCE,
                digest=self._target.digest,
            )

    def __enter__(self) -> Self:
        try:
            self._reader = self._content.open(self._target.digest)
        except Error as error:
            error.origin = Origin.SOURCE
            raise
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        if self._reader:
            self._reader.close()


class RemoteBlob(_Counted):
    """A blob of a registry, passed through. All its bytes are hashed, each once. Pieces that follow
    each other come by one stream: of a request given up in the middle more has been sent."""

    def __init__(
        self, flight: Flight[Any], target: Descriptor, stream: Callable[[int], BlobStream]
    ) -> None:
        super().__init__(flight, target)
        self._stream = stream
        self._hasher = target.digest.hasher()
        self._hashed = 0
        self._passing: _Passing | None = None

    def fileno(self) -> int | None:
        return None

    def open(self, offset: int) -> BlobStream:
        if self._passing is None or not self._passing.goes_on(offset):
            self._end()
            with _blamed():
                stream = self._stream(min(offset, self._hashed))
            self._passing = _Passing(stream, offset, self._note)
        return self._passing

    def _end(self) -> None:
        passing, self._passing = self._passing, None
        if passing is not None:
            passing.end()

    def __exit__(self, *_: object) -> None:
        self._end()

    def check(self) -> None:
        pass

    def _note(self, start: int, data: memoryview) -> None:
        """Hashes what is new of the bytes at `start`; raises DIGEST_MISMATCH with the last."""
        if start + len(data) <= self._hashed:
            return
        self._hasher.update(data[self._hashed - start :])
        self._hashed = start + len(data)
        whole = self._hashed == self._target.size
        if whole and self._hasher.hexdigest() != self._target.digest.hex:
            self._hasher, self._hashed = self._target.digest.hasher(), 0
            raise Error(
                Reason.DIGEST_MISMATCH,
                f"the bytes of {self._target.digest} have another digest",
                origin=Origin.SOURCE,
                digest=self._target.digest,
            )


@contextmanager
def _blamed() -> Iterator[None]:
    """Says of what fails that it was the source, as far as it is not known."""
    try:
        yield
    except Error as error:
        if error.origin is Origin.UNSPECIFIED:
            error.origin = Origin.SOURCE
        raise


class Inline:
    """Bytes that a descriptor has with it, as a `BlobStream`."""

    private = Privacy.NONE

    def __init__(self, data: bytes, offset: int) -> None:
        self.offset, self.host = offset, ""
        self._left = memoryview(data)[offset:]

    def readinto(self, buffer: memoryview) -> int:
        length = min(len(buffer), len(self._left))
        buffer[:length] = self._left[:length]
        self._left = self._left[length:]
        return length

    def distrust(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class _Passing:
    """A stream from exactly `offset` on, whatever the server made of the range; a `BlobStream` that
    is closed after each piece, and ends with `end`."""

    def __init__(
        self, stream: BlobStream, offset: int, note: Callable[[int, memoryview], None]
    ) -> None:
        self._stream, self._note = stream, note
        self.offset, self.host, self.private = offset, stream.host, stream.private
        self._at = stream.offset
        self._well = True

    def goes_on(self, offset: int) -> bool:
        """Whether what comes next is the byte at an offset."""
        return self._well and self._at == offset

    def readinto(self, buffer: memoryview) -> int:
        while True:
            self._well = False
            with _blamed():
                got = self._stream.readinto(buffer)
            if not got:
                return 0
            self._well = True
            start, self._at = self._at, self._at + got
            try:
                self._note(start, buffer[:got])
            except Error:
                self.distrust()
                raise
            if self._at > self.offset:
                before = max(self.offset - start, 0)
                if before:
                    buffer[: got - before] = bytes(buffer[before:got])
                return got - before

    def distrust(self) -> None:
        self._stream.distrust()

    def close(self) -> None:
        pass

    def end(self) -> None:
        """Closes the stream."""
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

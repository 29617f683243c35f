"""Blobs read while they are written: how far each key's bytes have come, and who waits for more."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from imgd_server.content._protocol import BlobInfo, Cancellation, StartedOverError
from imgd_server.oci import Digest

__all__ = ["Bodies", "Body", "FollowedBlob"]


class Body:
    """The bytes under one key, as far as they are there in order from the first one.

    `reached` is told after the bytes are in the file, and `forget` before they leave it: whoever
    opens the file under the condition, while there are some, opens the one that has them.
    """

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.epoch = 0
        """Which of the key's bodies this is: one that begins anew has the next number."""
        self.landed = -1
        """Which of them was the last that became a blob, without another file."""
        self.reached = 0

    def grow(self, reached: int) -> None:
        """So many bytes are there in order: never fewer than before."""
        with self.condition:
            self.reached = reached
            self.condition.notify_all()

    def land(self) -> None:
        """The bytes have become a blob."""
        with self.condition:
            self.landed = self.epoch
            self.forget()

    def forget(self) -> None:
        """The bytes go, or are a blob's now: what comes next is another body."""
        with self.condition:
            self.epoch += 1
            self.reached = 0
            self.condition.notify_all()

    def wake(self) -> None:
        """Lets whoever waits look again."""
        with self.condition:
            self.condition.notify_all()


class Bodies:
    """The body of each key that somebody writes or follows."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._bodies: dict[str, tuple[Body, int]] = {}

    def take(self, key: str) -> Body:
        """A key's body, until `give_back`."""
        with self._lock:
            body, users = self._bodies.get(key, (None, 0))
            body = body or Body()
            self._bodies[key] = body, users + 1
        return body

    def give_back(self, key: str) -> None:
        """Ends a `take`."""
        with self._lock:
            body, users = self._bodies.pop(key)
            if users > 1:
                self._bodies[key] = body, users - 1

    @contextmanager
    def taken(self, key: str) -> Iterator[Body]:
        """A key's body, for a moment."""
        body = self.take(key)
        try:
            yield body
        finally:
            self.give_back(key)


class FollowedBlob:
    """A `Followed` of files: `partial` is where the unfinished bytes are, `find` and `open` are the
    store's, and a blob's `version` is its inode."""

    _ANY = -2  # the blob's own file was opened

    def __init__(
        self,
        bodies: Bodies,
        digest: Digest,
        partial: str,
        find: Callable[[Digest], BlobInfo | None],
        open_blob: Callable[[Digest], int | None],
    ) -> None:
        self._bodies, self._digest, self._partial = bodies, digest, partial
        self._find, self._open_blob = find, open_blob
        self._body = bodies.take(digest)
        self._epoch = self._ANY
        self._file = -1
        self._whole: int | None = None
        self._closed = False

    def wait(self, offset: int, cancellation: Cancellation) -> int:
        if self._whole is not None:
            return self._whole
        take_back = cancellation.on_cancel(self._body.wake)
        try:
            with self._body.condition:
                while True:
                    cancellation.check()
                    if (reached := self._look(offset)) is not None:
                        return reached
                    self._body.condition.wait()
        finally:
            take_back()

    def _look(self, offset: int) -> int | None:
        """How many bytes are there, if they are enough; under the condition."""
        body, found = self._body, self._find(self._digest)
        if found is not None:
            if self._file < 0:
                file = self._open_blob(self._digest)
                if file is None:
                    return None  # gone again
                self._file = file
            status = os.fstat(self._file)
            # The same file may have begun anew before it became the blob.
            same = self._epoch in (self._ANY, body.epoch, body.landed)
            if status.st_ino != found.version or not same:
                raise StartedOverError
            self._whole = status.st_size
            return self._whole
        if self._file >= 0 and self._epoch != body.epoch:
            raise StartedOverError
        if body.reached <= offset:
            return None
        if self._file < 0:
            try:
                self._file = os.open(self._partial, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except FileNotFoundError:
                return None  # becoming a blob, or going: that will be told
            self._epoch = body.epoch
        return body.reached

    def fileno(self) -> int:
        return self._file

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._bodies.give_back(self._digest)
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

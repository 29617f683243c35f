"""Unfinished uploads: who works on which, and what becomes of them between requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from aiohttp import StreamReader

from imgd_server.content import ContentStore, Ingest
from imgd_server.distribution._protocol import Refusal, refuse
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.threads import in_thread

__all__ = ["Upload", "Uploads"]

# What arrives is handed to a thread in batches of this size: each hop costs a few switches.
_BATCH = 1 << 20
# Without a byte for so long, a request is given up, so that the client can go on in another.
_STALL_SECONDS = 60.0
# An upload that rests keeps its file and its hash for so long, and so many of them do.
_REST_SECONDS = 60.0
_MAX_RESTING = 256
# So many are unfinished at once: each has a file and a lease, for a day when its client is gone.
_MAX_UNFINISHED = 4096
# What the keys of uploads begin with.
_PREFIX = "upload:"


class Upload:
    """An upload that a request works on."""

    def __init__(self, key: str, *, dropped: bool = False) -> None:
        self.key = key
        self.dropped = dropped
        """Whether it is being forgotten, and nobody's any more."""
        self.ingest: Ingest | None = None
        self.ended = False
        """Whether it is a blob now."""
        self.cancelled = False
        self.held_at = 0
        """When it was last held, in microseconds since the epoch; 0 when that is not known."""
        self.over = asyncio.Event()
        """Set when the request is done with it."""
        self._timer: asyncio.Timeout | None = None

    @property
    def offset(self) -> int:
        """How many bytes are here."""
        return self.ingest.offset if self.ingest else 0

    async def receive(self, body: StreamReader) -> None:
        """Appends a request's body. A thread writes and hashes one batch while the next arrives.

        What has arrived is kept, however the body ends: the client may go on from there. Refuses
        with BLOB_UPLOAD_INVALID when nothing arrives for a minute, with BLOB_UPLOAD_UNKNOWN when
        the upload is cancelled meanwhile.
        """
        batch: list[bytes] = []
        size = 0
        writing: asyncio.Future[None] | None = None
        try:
            async with aclosing(self._pieces(body)) as pieces:
                async for piece in pieces:
                    batch.append(piece)
                    size += len(piece)
                    if size >= _BATCH:
                        if writing:
                            await writing
                        writing = asyncio.ensure_future(self._write(batch))
                        batch, size = [], 0
        finally:
            if writing:
                await writing
            await self._write(batch)

    async def _write(self, batch: list[bytes]) -> None:
        ingest = self.ingest
        assert ingest is not None

        def write() -> None:
            for piece in batch:
                ingest.write(piece)

        if batch:
            await in_thread(write)

    async def _pieces(self, body: StreamReader) -> AsyncGenerator[bytes, None]:
        while True:
            if self.cancelled:
                raise self._given_up()
            try:
                async with asyncio.timeout(_STALL_SECONDS) as self._timer:
                    piece = await body.readany()
            except TimeoutError:
                raise self._given_up() from None
            finally:
                self._timer = None
            if not piece:
                return
            yield piece

    def _given_up(self) -> Refusal:
        if self.cancelled:
            return refuse("BLOB_UPLOAD_UNKNOWN", "the upload was cancelled meanwhile")
        return refuse(
            "BLOB_UPLOAD_INVALID",
            f"nothing arrived for {_STALL_SECONDS:g} s: ask how far the upload is, and go on there",
            408,
        )

    def cancel(self) -> None:
        """Ends the request that works on it, soon."""
        self.cancelled = True
        if self._timer is not None and not self._timer.expired():
            self._timer.reschedule(asyncio.get_running_loop().time())

    async def commit(self, digest: Digest) -> None:
        """Makes it the blob. Raises DIGEST_MISMATCH, after which nothing of it is left."""
        ingest = self.ingest
        assert ingest is not None
        self.ended = True
        await in_thread(lambda: ingest.commit(digest))


class Uploads:
    """The unfinished uploads of a store.

    Between two requests an upload rests, with its file and hash open, so that a blob that comes in
    many chunks is read and hashed once. After a minute's rest or a restart its bytes are on disk,
    and the next request hashes them anew.
    """

    def __init__(self, content: ContentStore) -> None:
        self._content = content
        self._resting: dict[str, tuple[Upload, asyncio.TimerHandle]] = {}
        self._busy: dict[str, Upload] = {}
        # None before the first; may have some that were collected.
        self._unfinished: set[str] | None = None

    async def admit(self, key: str) -> None:
        """Lets one more begin. Raises TOO_BUSY while too many are unfinished."""
        if self._unfinished is None or len(self._unfinished) >= _MAX_UNFINISHED:
            stored = await in_thread(lambda: {one.key for one in self._content.partials()})
            uploads = {one for one in stored if one.startswith(_PREFIX)}
            self._unfinished = uploads | self._busy.keys() | self._resting.keys()
        if len(self._unfinished) >= _MAX_UNFINISHED:
            raise Error(
                Reason.TOO_BUSY,
                f"{len(self._unfinished)} uploads are unfinished: finish or delete some; "
                "one that nobody goes on with is given up after a day",
            )
        self._unfinished.add(key)

    @asynccontextmanager
    async def use(self, key: str, *, create: bool = False) -> AsyncIterator[Upload]:
        """An upload, for one request alone. Raises UPLOAD_NOT_FOUND, TOO_BUSY while another works
        on it."""
        if key in self._busy:
            raise Error(Reason.TOO_BUSY, "another request is writing this upload; let it end first")
        upload = self._busy[key] = self._wake(key) or Upload(key)
        try:
            upload.ingest = upload.ingest or await self._open(key, create=create)
            try:
                yield upload
            except BaseException:
                # Nobody knows whether this file and hash are still in step; the next begins anew.
                upload.ingest.close()
                raise
            if upload.ended:
                upload.ingest.close()
            else:
                self._rest(upload)
        finally:
            del self._busy[key]
            if upload.ended:
                self._forget(key)
            upload.over.set()

    async def offset(self, key: str) -> int | None:
        """How many bytes of an upload are here; None when there is no such upload."""
        if upload := self._busy.get(key):
            return None if upload.dropped else upload.offset
        if resting := self._resting.get(key):
            return resting[0].offset
        partial = await in_thread(lambda: self._content.partial(key))
        return partial.size if partial else None

    async def drop(self, key: str) -> None:
        """Forgets an upload; requests that work on it are ended."""
        # When one is over, the next may have begun before this goes on.
        while upload := self._busy.get(key):
            upload.cancel()
            await upload.over.wait()
        self._close(key)
        nobody = self._busy[key] = Upload(key, dropped=True)
        try:
            await in_thread(lambda: self._content.drop_partial(key))
        finally:
            del self._busy[key]
            nobody.over.set()
        self._forget(key)

    def close(self) -> None:
        """Closes what rests; its bytes stay."""
        for key in list(self._resting):
            self._close(key)

    async def _open(self, key: str, *, create: bool) -> Ingest:
        def open_() -> Ingest | None:
            known = create or self._content.partial(key) is not None
            return self._content.ingest(key) if known else None

        if ingest := await in_thread(open_):
            return ingest
        raise Error(Reason.UPLOAD_NOT_FOUND, "no such upload: it was finished, or given up")

    def _forget(self, key: str) -> None:
        if self._unfinished:
            self._unfinished.discard(key)

    def _rest(self, upload: Upload) -> None:
        if len(self._resting) >= _MAX_RESTING:
            self._close(next(iter(self._resting)))
        timer = asyncio.get_running_loop().call_later(_REST_SECONDS, self._close, upload.key)
        self._resting[upload.key] = upload, timer

    def _wake(self, key: str) -> Upload | None:
        upload, timer = self._resting.pop(key, (None, None))
        if timer:
            timer.cancel()
        if upload:
            upload.over = asyncio.Event()
        return upload

    def _close(self, key: str) -> None:
        upload = self._wake(key)
        if upload and upload.ingest:
            upload.ingest.close()

"""Uploads without a network: threads that write, and requests that are cancelled."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from imgd_server.content import LocalContentStore
from imgd_server.distribution._repository import put_bytes
from imgd_server.distribution._uploads import Uploads
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest

KEY = "upload:a:b"


async def test_what_a_cancelled_request_wrote_is_kept(tmp_path: Path) -> None:
    content = LocalContentStore(tmp_path)
    uploads = Uploads(content)
    body = asyncio.StreamReader()

    class Body:
        """As much of aiohttp's reader as is used."""

        async def readany(self) -> bytes:
            return await body.read(1 << 20)

    async def request() -> None:
        async with uploads.use(KEY, create=True) as upload:
            await upload.receive(Body())  # type: ignore[arg-type]

    task = asyncio.create_task(request())
    body.feed_data(b"x" * 1000)
    while await uploads.offset(KEY) is None or body._buffer:  # type: ignore[attr-defined]
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [(one.key, one.size) for one in content.partials()] == [(KEY, 1000)]
    assert await uploads.offset(KEY) == 1000


async def test_an_upload_is_somebodys_while_it_rests(tmp_path: Path) -> None:
    content = LocalContentStore(tmp_path)
    uploads = Uploads(content)
    async with uploads.use(KEY, create=True):
        with pytest.raises(Error) as caught:
            async with uploads.use(KEY):
                pass
        assert caught.value.reason is Reason.TOO_BUSY
    assert list(content.partials()) == []
    assert await uploads.offset(KEY) == 0
    uploads.close()
    assert [one.key for one in content.partials()] == [KEY]


async def test_a_dropped_upload_is_gone_whoever_goes_on_with_it(tmp_path: Path) -> None:
    """The next request begins when the one that a drop has ended is over, and before the drop."""
    content = LocalContentStore(tmp_path)
    uploads = Uploads(content)
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def requests() -> None:
        async with uploads.use(KEY, create=True):
            begun.set()
            await go_on.wait()
        go_on.clear()
        async with uploads.use(KEY) as upload:
            await go_on.wait()
            assert upload.cancelled

    working = asyncio.create_task(requests())
    await begun.wait()
    dropping = asyncio.create_task(uploads.drop(KEY))
    await asyncio.sleep(0)
    go_on.set()
    while go_on.is_set():
        await asyncio.sleep(0)
    # As long as the second one works, the upload is there.
    while not (dropping.done() or uploads._busy[KEY].cancelled):
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(working, dropping)
    assert await uploads.offset(KEY) is None
    assert list(content.partials()) == []


async def test_an_upload_that_is_being_dropped_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = LocalContentStore(tmp_path)
    uploads = Uploads(content)
    async with uploads.use(KEY, create=True):
        pass
    begun, go_on = threading.Event(), threading.Event()
    drop_partial = content.drop_partial

    def slowly(key: str) -> int:
        begun.set()
        assert go_on.wait(60)
        return drop_partial(key)

    monkeypatch.setattr(content, "drop_partial", slowly)
    dropping = asyncio.create_task(uploads.drop(KEY))
    assert await asyncio.to_thread(begun.wait, 60)
    assert await uploads.offset(KEY) is None
    go_on.set()
    await dropping


async def test_an_unknown_upload_is_not_made(tmp_path: Path) -> None:
    content = LocalContentStore(tmp_path)
    uploads = Uploads(content)
    assert await uploads.offset(KEY) is None
    with pytest.raises(Error) as caught:
        async with uploads.use(KEY):
            pass
    assert caught.value.reason is Reason.UPLOAD_NOT_FOUND
    assert await uploads.offset(KEY) is None
    await uploads.drop(KEY)


def test_a_small_blob_is_stored_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = LocalContentStore(tmp_path)

    def full(*_: object) -> None:
        raise Error(Reason.DISK_FULL, "no room")

    with monkeypatch.context() as patched:
        patched.setattr("imgd_server.content._writer.Writer.write", full)
        with pytest.raises(Error):
            put_bytes(content, Digest.of(b"data"), b"data")
    assert list(content.partials()) == []
    put_bytes(content, Digest.of(b"data"), b"data")
    put_bytes(content, Digest.of(b"data"), b"data")
    assert content.read(Digest.of(b"data"), 10) == b"data"

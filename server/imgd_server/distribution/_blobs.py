"""Blobs and their uploads (OCI distribution 1.1, "Pulling blobs", "Pushing blobs")."""

from __future__ import annotations

import asyncio
import os
import re
import uuid

from aiohttp import web

from imgd_server.content import Ingest, Reader
from imgd_server.distribution._protocol import (
    RESOLVE,
    Backing,
    Repository,
    in_thread,
    parse_digest,
    refuse,
    refuse_error,
)
from imgd_server.errors import Error, Reason
from imgd_server.metadata import LeaseRecord, WriteSession
from imgd_server.oci import Digest
from imgd_server.transfer import now_us

__all__ = [
    "delete_blob",
    "delete_upload",
    "finish_upload",
    "get_blob",
    "get_upload",
    "hold",
    "patch_upload",
    "start_upload",
]

_RANGE = re.compile(r"bytes=(\d*)-(\d*)", re.ASCII)
_CONTENT_RANGE = re.compile(r"(?:bytes )?(\d+)-(\d+)(?:/\S*)?", re.ASCII)
_UPLOAD = re.compile(r"[0-9a-f]{32}", re.ASCII)
# What arrives is handed to a thread in pieces of this size: each hop costs a few switches.
_BATCH = 1 << 20
# What was uploaded and is in no image yet stays so long (behaviour: expiring upload lease).
_HOLD_US = 3600 * 1_000_000


def hold(session: WriteSession, upload: str, digest: Digest) -> None:
    """Holds an uploaded blob or manifest that no image holds yet."""
    now = now_us()
    session.put_lease(LeaseRecord(f"upload:{upload}", now, now + _HOLD_US, digests=(digest,)))


async def get_blob(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET and HEAD: the blob, or one range of it."""
    digest = parse_digest(request.match_info["digest"])
    reader = await _open(repository, digest)
    with reader:
        start, end = _range(request, reader.size)
        whole = (start, end) == (0, reader.size) and "Range" not in request.headers
        headers = {
            "Docker-Content-Digest": digest,
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
            "Accept-Ranges": "bytes",
            "ETag": f'"{digest}"',
            "Cache-Control": "max-age=31536000, immutable",
        }
        if whole and request.headers.get("If-None-Match") == f'"{digest}"':
            return web.Response(status=304, headers={"ETag": f'"{digest}"'})
        if not whole:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{reader.size}"
        response = web.StreamResponse(status=200 if whole else 206, headers=headers)
        await response.prepare(request)
        if request.method != "HEAD" and end > start:
            await _send(request, response, reader, start, end - start)
        return response


async def _send(
    request: web.Request, response: web.StreamResponse, reader: Reader, start: int, count: int
) -> None:
    """Sends with sendfile(2), which copies nothing through Python, where there is no TLS."""
    transport = request.transport
    if transport is None:
        raise ConnectionResetError
    if transport.get_extra_info("sslcontext") is None:
        await response.write(b"")
        loop = asyncio.get_running_loop()
        with os.fdopen(reader.fileno(), "rb", closefd=False) as file:
            await loop.sendfile(transport, file, start, count)
        return
    while count:
        data = await in_thread(lambda: reader.pread(min(_BATCH, count), start))  # noqa: B023
        await response.write(data)
        start, count = start + len(data), count - len(data)


async def _open(repository: Repository, digest: Digest) -> Reader:
    shown = await repository.backing.metadata.read(
        lambda session: session.repository_has_blob(repository.full, digest)
    )
    if shown:
        try:
            return await in_thread(lambda: repository.backing.content.open(digest))
        except Error as error:
            if error.reason is not Reason.BLOB_NOT_FOUND:
                raise
    raise refuse("BLOB_UNKNOWN", f"no blob {digest} in {repository.name}")


def _range(request: web.Request, size: int) -> tuple[int, int]:
    """The wanted bytes, from start to before end. What is no single range means all."""
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if not match or match[0] == "bytes=-":
        return 0, size
    first, last = match[1], match[2]
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= size or start >= end:
        failure = refuse("BLOB_UPLOAD_INVALID", f"the blob has {size} bytes", 416)
        failure.headers["Content-Range"] = f"bytes */{size}"
        raise failure
    return start, end


async def delete_blob(request: web.Request, repository: Repository) -> web.StreamResponse:
    """DELETE: hides the blob from the repository; its bytes go when nothing holds them."""
    digest = parse_digest(request.match_info["digest"])
    if not await repository.backing.metadata.write(
        lambda session: session.unlink(repository.full, digest)
    ):
        raise refuse("BLOB_UNKNOWN", f"no blob {digest} was pushed to {repository.name}")
    return web.Response(status=202)


# --- uploads


async def start_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """POST: a new upload, a mount from another repository, or a whole blob at once."""
    if mount := request.query.get("mount"):
        digest = parse_digest(mount)
        if await _mount(request, repository, digest):
            return _created(repository, digest)
    upload = uuid.uuid4().hex
    if "digest" in request.query:
        return await _finish(request, repository, upload)
    ingest = await in_thread(lambda: repository.backing.content.ingest(_key(upload)))
    ingest.close()
    return _accepted(repository, upload, 0)


async def _mount(request: web.Request, repository: Repository, digest: Digest) -> bool:
    source = request.query.get("from", "")
    resolve = request.app[RESOLVE]
    if not source:
        return False
    other = resolve(source)
    if other.backing is not repository.backing:
        return False

    def link(session: WriteSession) -> bool:
        if not session.repository_has_blob(other.full, digest):
            return False
        hold(session, uuid.uuid4().hex, digest)
        session.link_blob(repository.full, digest)
        return True

    return await repository.backing.metadata.write(link)


async def get_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET: how far an upload is."""
    upload, size = await _known(request, repository)
    return _accepted(repository, upload, size, status=204)


async def patch_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """PATCH: more bytes, as one chunk with its range or as a stream."""
    upload, _ = await _known(request, repository)
    ingest = await _resume(repository.backing, upload)
    try:
        _check_start(request, repository, upload, ingest.offset)
        await _receive(request, ingest)
        return _accepted(repository, upload, ingest.offset)
    finally:
        await in_thread(ingest.close)


async def finish_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """PUT: the last bytes, if any, and the digest."""
    upload, _ = await _known(request, repository)
    return await _finish(request, repository, upload)


async def delete_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """DELETE: gives an upload up."""
    upload, _ = await _known(request, repository)
    await in_thread(lambda: repository.backing.content.drop_partial(_key(upload)))
    return web.Response(status=204)


async def _finish(request: web.Request, repository: Repository, upload: str) -> web.StreamResponse:
    backing = repository.backing
    digest = parse_digest(request.query.get("digest", ""))
    ingest = await _resume(backing, upload)
    try:
        _check_start(request, repository, upload, ingest.offset)
        await _receive(request, ingest)
        # Held before it is there, so that no collection can come between.
        await backing.metadata.write(lambda session: hold(session, upload, digest))
        await in_thread(lambda: ingest.commit(digest))
    except Error as error:
        raise refuse_error(error) from error
    finally:
        await in_thread(ingest.close)
    await backing.metadata.write(lambda session: session.link_blob(repository.full, digest))
    return _created(repository, digest)


async def _receive(request: web.Request, ingest: Ingest) -> None:
    """Writes the body, in batches, in a thread; the loop only collects."""
    batch = bytearray()
    async for piece in request.content.iter_any():
        batch += piece
        if len(batch) >= _BATCH:
            full, batch = batch, bytearray()
            await in_thread(lambda: ingest.write(full))  # noqa: B023 - awaited at once
    if batch:
        await in_thread(lambda: ingest.write(batch))


async def _known(request: web.Request, repository: Repository) -> tuple[str, int]:
    """The upload of the URL and its size. A client that knows its ID may go on after a restart."""
    upload = request.match_info["upload"]
    if _UPLOAD.fullmatch(upload):
        partials = await in_thread(
            lambda: {one.key: one.size for one in repository.backing.content.partials()}
        )
        if _key(upload) in partials:
            return upload, partials[_key(upload)]
    raise refuse("BLOB_UPLOAD_UNKNOWN", f"no upload {upload[:64]} in {repository.name}")


async def _resume(backing: Backing, upload: str) -> Ingest:
    try:
        return await in_thread(lambda: backing.content.ingest(_key(upload)))
    except Error as error:
        raise refuse_error(error) from error


def _check_start(request: web.Request, repository: Repository, upload: str, offset: int) -> None:
    given = request.headers.get("Content-Range")
    if given is None:
        return
    match = _CONTENT_RANGE.fullmatch(given)
    if not match or int(match[1]) != offset:
        failure = refuse("BLOB_UPLOAD_INVALID", f"the upload goes on at byte {offset}", 416)
        failure.headers.update(_accepted(repository, upload, offset).headers)
        raise failure


def _key(upload: str) -> str:
    return f"upload:{upload}"


def _accepted(repository: Repository, upload: str, size: int, *, status: int = 202) -> web.Response:
    return web.Response(
        status=status,
        headers={
            "Location": f"/v2/{repository.name}/blobs/uploads/{upload}",
            "Docker-Upload-UUID": upload,
            "Range": f"0-{max(size - 1, 0)}",
        },
    )


def _created(repository: Repository, digest: Digest) -> web.Response:
    return web.Response(
        status=201,
        headers={
            "Location": f"/v2/{repository.name}/blobs/{digest}",
            "Docker-Content-Digest": digest,
        },
    )

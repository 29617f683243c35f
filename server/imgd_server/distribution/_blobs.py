"""Blobs (OCI distribution 1.1, "Pulling blobs", "Deleting blobs")."""

from __future__ import annotations

import asyncio
import os

import structlog
from aiohttp import web

from imgd_server.content import Reader
from imgd_server.distribution._cache import refuse_upstream
from imgd_server.distribution._follow import Follower
from imgd_server.distribution._headers import byte_range, matches
from imgd_server.distribution._protocol import Refusal, parse_digest, refuse, refuse_deletion
from imgd_server.distribution._repository import Repository, Upstream
from imgd_server.errors import Error, Reason
from imgd_server.metadata import WriteSession
from imgd_server.oci import Descriptor, Digest
from imgd_server.threads import in_thread

__all__ = ["delete_blob", "get_blob"]

_log = structlog.get_logger(__name__)

# Read at once where sendfile(2) can't send: as much as a socket takes without a wait, about.
_PIECE = 256 << 10


async def get_blob(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET and HEAD: the blob, or one range of it."""
    digest = parse_digest(request.match_info["digest"])
    reader = await _open(repository, digest)
    if reader is None and repository.cache:
        whole = request.method != "HEAD"
        if target := await repository.cache.blob(repository, digest, whole=whole):
            return await _fetch(request, repository, repository.cache, target)
        reader = await _open(repository, digest)
    if reader is None:
        raise _unknown(repository, digest)
    with reader:
        response, start, end = _begin(request, digest, reader.size)
        if response.status != 304:
            await response.prepare(request)
            if request.method != "HEAD" and end > start:
                await _send(request, response, reader, start, end - start)
        return response


def _begin(request: web.Request, digest: Digest, size: int) -> tuple[web.StreamResponse, int, int]:
    """The answer without its body, and which part of the blob that is."""
    headers = {
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Cache-Control": "max-age=31536000, immutable",
    }
    if matches(request, digest):
        return web.Response(status=304, headers=headers), 0, 0
    part = byte_range(request, digest, size)
    start, end = part or (0, size)
    headers |= {
        "Content-Type": "application/octet-stream",
        "Content-Length": str(end - start),
        "Accept-Ranges": "bytes",
    }
    if part:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    return web.StreamResponse(status=206 if part else 200, headers=headers), start, end


async def _fetch(
    request: web.Request, repository: Repository, cache: Upstream, target: Descriptor
) -> web.StreamResponse:
    """Sends a blob while it comes from its registry."""
    response, start, end = _begin(request, target.digest, target.size)
    if request.method == "HEAD" or response.status == 304:
        return response
    async with cache.fetching(repository, target) as flight:

        def gone() -> bool:
            return request.transport is None or request.transport.is_closing()

        content = repository.backing.content
        follower = Follower(flight, content, target, start, end, gone)
        try:
            await follower.begin()
        except Error as error:
            raise refuse_upstream(error, "BLOB_UNKNOWN") from None
        await response.prepare(request)
        try:
            with await follower.send(response) as reader:
                await _send(request, response, reader, follower.sent_to, end - follower.sent_to)
        except Error as error:
            # The status is sent: what is left is to end before the last byte.
            _log.warning("blob cut off", digest=target.digest, why=error.message)
            response.force_close()
        except (ConnectionError, TimeoutError):
            response.force_close()
    return response


async def _open(repository: Repository, digest: Digest) -> Reader | None:
    shown = await repository.backing.metadata.read(
        lambda session: session.repository_has_blob(repository.full, digest)
    )
    try:
        return await in_thread(lambda: repository.backing.content.open(digest)) if shown else None
    except Error as error:
        if error.reason is not Reason.BLOB_NOT_FOUND:
            raise
    return None


def _unknown(repository: Repository, digest: Digest) -> Refusal:
    return refuse("BLOB_UNKNOWN", f"no blob {digest} in {repository.name}")


async def _send(
    request: web.Request, response: web.StreamResponse, reader: Reader, start: int, count: int
) -> None:
    """Sends a part of a blob: with sendfile(2), which copies nothing through Python, unless TLS
    has to see the bytes."""
    try:
        await response.write(b"")  # the headers
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError
        if transport.get_extra_info("sslcontext"):
            await _copy(response, reader, start, count)
            return
        with os.fdopen(reader.fileno(), "rb", closefd=False) as file:
            await asyncio.get_running_loop().sendfile(transport, file, start, count)
    except (ConnectionError, TimeoutError):
        # The client has left, or takes nothing any more; there is nobody to tell.
        response.force_close()


async def _copy(response: web.StreamResponse, reader: Reader, start: int, count: int) -> None:
    end = start + count
    while start < end:
        piece = await in_thread(lambda: reader.pread(min(_PIECE, end - start), start))  # noqa: B023
        if not piece:
            raise ConnectionResetError  # it was cut on disk
        await response.write(piece)
        start += len(piece)


async def delete_blob(request: web.Request, repository: Repository) -> web.StreamResponse:
    """DELETE: hides a blob from the repository, unless a manifest there needs it. Its bytes go when
    nothing holds them."""
    digest = parse_digest(request.match_info["digest"])

    def hide(session: WriteSession) -> None:
        if session.repository_manifest(repository.full, digest):
            raise refuse_deletion(f"{digest} is a manifest: delete it as one", "GET, HEAD")
        if holder := session.repository_holder(repository.full, digest):
            raise refuse_deletion(
                f"{holder} in {repository.name} needs {digest}: delete it first", "GET, HEAD"
            )
        if not session.unlink(repository.full, digest):
            raise _unknown(repository, digest)
        session.delete_lease(repository.lease(digest))

    await repository.backing.metadata.write(hide)
    return web.Response(status=202)

"""Blobs (OCI distribution 1.1, "Pulling blobs", "Deleting blobs")."""

from __future__ import annotations

import asyncio
import os

from aiohttp import web

from imgd_server.content import Reader
from imgd_server.distribution._headers import byte_range, matches
from imgd_server.distribution._protocol import Refusal, in_thread, parse_digest, refuse
from imgd_server.distribution._repository import Repository
from imgd_server.errors import Error, Reason
from imgd_server.metadata import WriteSession
from imgd_server.oci import Digest

__all__ = ["delete_blob", "get_blob"]

# Read at once where sendfile(2) can't send: as much as a socket takes without a wait, about.
_PIECE = 256 << 10


async def get_blob(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET and HEAD: the blob, or one range of it."""
    digest = parse_digest(request.match_info["digest"])
    headers = {
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Cache-Control": "max-age=31536000, immutable",
    }
    with await _open(repository, digest) as reader:
        if matches(request, digest):
            return web.Response(status=304, headers=headers)
        part = byte_range(request, digest, reader.size)
        start, end = part or (0, reader.size)
        headers |= {
            "Content-Type": "application/octet-stream",
            "Content-Length": str(end - start),
            "Accept-Ranges": "bytes",
        }
        if part:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{reader.size}"
        response = web.StreamResponse(status=206 if part else 200, headers=headers)
        await response.prepare(request)
        if request.method != "HEAD" and end > start:
            await _send(request, response, reader, start, end - start)
        return response


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
    raise _unknown(repository, digest)


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
    except ConnectionError:
        # The client has left; there is nobody to tell.
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
            raise refuse("DENIED", f"{digest} is a manifest: delete it as one")
        if holder := session.repository_holder(repository.full, digest):
            raise refuse("DENIED", f"{holder} in {repository.name} needs {digest}: delete it first")
        if not session.unlink(repository.full, digest):
            raise _unknown(repository, digest)
        session.delete_lease(repository.lease(digest))

    await repository.backing.metadata.write(hide)
    return web.Response(status=202)

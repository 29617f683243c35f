"""Uploads of blobs (OCI distribution 1.1, "Pushing blobs", "Mounting a blob")."""

from __future__ import annotations

import hashlib
import re
import uuid

from aiohttp import web

from imgd_server.distribution._headers import chunk_range
from imgd_server.distribution._protocol import Refusal, parse_digest, refuse
from imgd_server.distribution._repository import HOLD_US, READABLE, RESOLVE, Repository
from imgd_server.distribution._uploads import Upload
from imgd_server.metadata import LeaseRecord, WriteSession
from imgd_server.oci import Digest, FormatError
from imgd_server.threads import in_thread
from imgd_server.transfer import now_us

__all__ = ["delete_upload", "finish_upload", "get_upload", "patch_upload", "start_upload"]

_UPLOAD = re.compile(r"[0-9a-f]{32}", re.ASCII)
# An upload's lease is renewed when it is so old: not for every chunk, for that syncs the disk.
_RENEW_US = HOLD_US // 24


async def start_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """POST: a new upload, a mount from another repository, or a whole blob at once."""
    if "mount" in request.query:
        digest = parse_digest(request.query["mount"])
        if await _mount(request, repository, digest):
            return _created(repository, digest)
    _check_algorithm(request)
    upload = uuid.uuid4().hex
    key = _key(repository, upload)
    await repository.backing.uploads.admit(key)
    if "digest" in request.query:
        return await _push_whole(request, repository, key)
    # Held before it is there, so that no collection can come between.
    await _hold(repository, key)
    async with repository.backing.uploads.use(key, create=True) as one:
        one.held_at = now_us()
    return _accepted(repository, upload, 0)


def _check_algorithm(request: web.Request) -> None:
    try:
        Digest.of(b"", request.query.get("digest-algorithm", "sha256"))
    except FormatError as error:
        raise refuse("DIGEST_INVALID", str(error)) from None


async def _push_whole(request: web.Request, repository: Repository, key: str) -> web.StreamResponse:
    """The one request that knows this upload: what it leaves unfinished is of no use."""
    uploads = repository.backing.uploads
    try:
        async with uploads.use(key, create=True) as one:
            return await _finish(request, repository, one)
    except BaseException:
        await uploads.drop(key)
        raise


async def _mount(request: web.Request, repository: Repository, digest: Digest) -> bool:
    """Shows a blob of another repository here: the one named by `from`, or any, of those that the
    sender may read. Says whether it is there; where it is not, the client uploads it."""
    metadata, content = repository.backing.metadata, repository.backing.content
    source = request.query.get("from", "")
    readable = request.app[READABLE]()
    if source:
        try:
            other = request.app[RESOLVE](source)
        except Refusal:
            return False
        allowed = readable is None or any(_same(one, other) for one in readable)
        readable = [other] if allowed else []
    if readable is not None:
        readable = [one for one in readable if one.backing is repository.backing]

    def hold(session: WriteSession) -> bool:
        shown = (
            session.any_repository_has_blob(digest)
            if readable is None
            else any(session.repository_has_blob(one.full, digest) for one in readable)
        )
        if shown:
            repository.hold(session, digest)
        return shown

    # A blob that is shown may have been collected, or never been fetched; once held, it stays.
    if not await metadata.write(hold) or not await in_thread(lambda: content.find(digest)):
        return False
    await metadata.write(lambda session: session.link_blob(repository.full, digest))
    return True


def _same(one: Repository, other: Repository) -> bool:
    return (one.full, one.backing) == (other.full, other.backing)


async def get_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET and HEAD: how far an upload is."""
    upload = _named(request, repository)
    size = await repository.backing.uploads.offset(_key(repository, upload))
    if size is None:
        raise _unknown(repository, upload)
    return _accepted(repository, upload, size, status=204)


async def patch_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """PATCH: more bytes, as one chunk with its range or as a stream."""
    upload = _named(request, repository)
    key = _key(repository, upload)
    async with repository.backing.uploads.use(key) as one:
        _check_place(request, repository, upload, one)
        await one.receive(request.content)
        size = one.offset
        if now_us() - one.held_at > _RENEW_US:
            await _hold(repository, key)
            one.held_at = now_us()
    return _accepted(repository, upload, size)


async def finish_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """PUT: the last bytes, if any, and the digest."""
    upload = _named(request, repository)
    async with repository.backing.uploads.use(_key(repository, upload)) as one:
        _check_place(request, repository, upload, one)
        return await _finish(request, repository, one)


async def delete_upload(request: web.Request, repository: Repository) -> web.StreamResponse:
    """DELETE: gives an upload up."""
    upload = _named(request, repository)
    backing, key = repository.backing, _key(repository, upload)
    if await backing.uploads.offset(key) is None:
        raise _unknown(repository, upload)
    await backing.uploads.drop(key)
    await backing.metadata.write(lambda session: session.delete_lease(key))
    return web.Response(status=204)


async def _finish(request: web.Request, repository: Repository, upload: Upload) -> web.Response:
    metadata = repository.backing.metadata
    digest = parse_digest(request.query.get("digest", ""))

    def show(session: WriteSession) -> None:
        session.link_blob(repository.full, digest)
        session.delete_lease(upload.key)

    await upload.receive(request.content)
    # Held before it is there, so that no collection can come between.
    await metadata.write(lambda session: repository.hold(session, digest))
    await upload.commit(digest)
    await metadata.write(show)
    return _created(repository, digest)


def _check_place(request: web.Request, repository: Repository, upload: str, one: Upload) -> None:
    if not chunk_range(request, one.offset):
        raise refuse(
            "BLOB_UPLOAD_INVALID",
            f"the upload goes on at byte {one.offset}",
            416,
            headers=_place(repository, upload, one.offset),
        )


async def _hold(repository: Repository, key: str) -> None:
    """Holds an unfinished upload: its lease has the name of its partial content."""
    now = now_us()
    await repository.backing.metadata.write(
        lambda session: session.put_lease(LeaseRecord(key, now, now + HOLD_US))
    )


def _named(request: web.Request, repository: Repository) -> str:
    upload = request.match_info["upload"]
    if not _UPLOAD.fullmatch(upload):
        raise _unknown(repository, upload)
    return upload


def _unknown(repository: Repository, upload: str) -> Refusal:
    return refuse("BLOB_UPLOAD_UNKNOWN", f"no upload {upload[:64]} in {repository.name}")


def _key(repository: Repository, upload: str) -> str:
    """Where an upload's bytes are. The repository is part of it: another knows no such upload."""
    return f"upload:{hashlib.sha256(repository.full.encode()).hexdigest()[:16]}:{upload}"


def _place(repository: Repository, upload: str, size: int) -> dict[str, str]:
    return {
        "Location": f"/v2/{repository.name}/blobs/uploads/{upload}",
        "Docker-Upload-UUID": upload,
        "Range": f"0-{max(size - 1, 0)}",
    }


def _accepted(repository: Repository, upload: str, size: int, *, status: int = 202) -> web.Response:
    return web.Response(status=status, headers=_place(repository, upload, size))


def _created(repository: Repository, digest: Digest) -> web.Response:
    return web.Response(
        status=201,
        headers={
            "Location": f"/v2/{repository.name}/blobs/{digest}",
            "Docker-Content-Digest": digest,
        },
    )

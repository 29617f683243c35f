"""Manifests, tags and the catalog (OCI distribution 1.1)."""

from __future__ import annotations

import uuid

from aiohttp import web

from imgd_server.distribution._blobs import hold
from imgd_server.distribution._protocol import (
    Repository,
    in_thread,
    parse_digest,
    refuse,
    refuse_error,
)
from imgd_server.errors import Error
from imgd_server.images import Description, children, describe
from imgd_server.metadata import Name, ReadSession, WriteSession
from imgd_server.oci import (
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    FormatError,
    Index,
    Manifest,
    Platform,
    media,
    parse_manifest,
)

__all__ = ["delete_manifest", "get_manifest", "list_tags", "put_manifest"]

_MAX_PAGE = 10_000


async def get_manifest(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET and HEAD: a manifest by tag or digest."""
    target = await _find(request, repository)
    headers = {
        "Content-Type": target.media_type,
        "Docker-Content-Digest": target.digest,
        "ETag": f'"{target.digest}"',
    }
    if request.headers.get("If-None-Match") == f'"{target.digest}"':
        return web.Response(status=304, headers={"ETag": f'"{target.digest}"'})
    content = repository.backing.content
    try:
        raw = await in_thread(lambda: content.read(target.digest, MAX_MANIFEST_BYTES))
    except Error:
        raise _unknown(request, repository) from None
    return web.Response(body=raw, headers=headers)


async def _find(request: web.Request, repository: Repository) -> Descriptor:
    name = request.match_info["reference"]
    metadata = repository.backing.metadata
    if ":" in name:
        digest = parse_digest(name)
        target = await metadata.read(
            lambda session: session.repository_manifest(repository.full, digest)
        )
    else:
        full = repository.tagged(name)
        record = await metadata.read(lambda session: session.image_by_name(full))
        target = record.target if record else None
    if target is None:
        raise _unknown(request, repository)
    return target


def _unknown(request: web.Request, repository: Repository) -> web.HTTPException:
    name = request.match_info["reference"][:128]
    return refuse("MANIFEST_UNKNOWN", f"no manifest {name} in {repository.name}")


async def put_manifest(request: web.Request, repository: Repository) -> web.StreamResponse:
    """PUT: stores a manifest, and with a tag makes it an image. What it refers to must be here."""
    name = request.match_info["reference"]
    raw = await request.read()
    if len(raw) > MAX_MANIFEST_BYTES:
        raise refuse("SIZE_INVALID", f"a manifest has at most {MAX_MANIFEST_BYTES} bytes", 413)
    given = parse_digest(name) if ":" in name else None
    tag = None if given else repository.tagged(name)
    digest = Digest.of(raw, given.algorithm if given else "sha256")
    if given and digest != given:
        raise refuse("DIGEST_INVALID", f"the manifest has the digest {digest}")
    try:
        node = parse_manifest(raw, request.headers.get("Content-Type", ""))
    except FormatError as error:
        raise refuse("MANIFEST_INVALID", str(error)) from None
    target = Descriptor(node.media_type, digest, len(raw), artifact_type=node.artifact_type)
    await _check_children(repository, node)
    try:
        await _store(repository, target, raw, tag)
    except Error as error:
        raise refuse_error(error) from error
    headers = {
        "Location": f"/v2/{repository.name}/manifests/{digest}",
        "Docker-Content-Digest": digest,
    }
    return web.Response(status=201, headers=headers)


async def _check_children(repository: Repository, node: Manifest | Index) -> None:
    """Refuses a manifest whose blobs the repository does not show. An index may be sparse only in
    what it does not need: all its manifests must be here."""

    def missing(session: ReadSession) -> Digest | None:
        for child in children(node):
            if media.is_foreign_layer(child.media_type) and child.urls:
                continue
            if not session.repository_has_blob(repository.full, child.digest):
                return child.digest
        return None

    if absent := await repository.backing.metadata.read(missing):
        raise refuse(
            "MANIFEST_BLOB_UNKNOWN", f"{absent} is not in {repository.name}; push it first"
        )


async def _store(repository: Repository, target: Descriptor, raw: bytes, tag: str | None) -> None:
    backing = repository.backing
    upload = uuid.uuid4().hex
    await backing.metadata.write(lambda session: hold(session, upload, target.digest))

    def keep() -> Description:
        with backing.content.ingest(f"upload:{upload}", target.digest, len(raw)) as ingest:
            ingest.write(raw)
            ingest.commit()
        return describe(backing.content, target, Platform.host())

    description = await in_thread(keep)

    def show(session: WriteSession) -> None:
        session.link_manifest(repository.full, target)
        if tag is None:
            # No image: what it refers to is held like the manifest itself.
            for blob in description.blobs:
                hold(session, upload, blob.digest)
            return
        image = session.put_image(description.record, description.platforms, description.blobs)
        session.put_name(Name(tag, repository.full), image.uid)
        session.delete_lease(f"upload:{upload}")

    await backing.metadata.write(show)


async def delete_manifest(request: web.Request, repository: Repository) -> web.StreamResponse:
    """DELETE: takes a tag away, or hides a manifest with its tags here. Never breaks a hold."""
    name = request.match_info["reference"]
    if ":" not in name:
        full = repository.tagged(name)
        gone = await repository.backing.metadata.write(lambda session: session.delete_name(full))
    else:
        digest = parse_digest(name)

        def hide(session: WriteSession) -> bool:
            linked = session.unlink(repository.full, digest)
            record = session.image_by_target(digest)
            here = (
                [one for one in record.names if one.repository == repository.full] if record else []
            )
            for one in here:
                session.delete_name(one.name)
            return linked or bool(here)

        gone = await repository.backing.metadata.write(hide)
    if not gone:
        raise _unknown(request, repository)
    return web.Response(status=202)


async def list_tags(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET: the tags in lexical order, paged by `n` and `last`."""
    limit, last = page(request)

    def tags(session: ReadSession) -> tuple[list[str], bool]:
        found = session.repository_tags(repository.full, last, limit + 1)
        known = bool(found) or bool(session.repository_tags(repository.full, "", 1))
        return found, known or repository.full in session.repositories("", _MAX_PAGE)

    found, known = await repository.backing.metadata.read(tags)
    if not known:
        raise refuse("NAME_UNKNOWN", f"no repository {repository.name}")
    response = web.json_response({"name": repository.name, "tags": found[:limit]})
    return linked(response, request, f"/v2/{repository.name}/tags/list", found, limit)


def page(request: web.Request) -> tuple[int, str]:
    """`n` and `last` of a request."""
    text = request.query.get("n", str(_MAX_PAGE))
    if not text.isascii() or not text.isdigit():
        raise refuse("UNSUPPORTED", "n is no number", 400)
    return min(int(text), _MAX_PAGE), request.query.get("last", "")[:512]


def linked(
    response: web.Response, request: web.Request, path: str, found: list[str], limit: int
) -> web.Response:
    """Adds the Link to the next page, where there is one (RFC 5988)."""
    if len(found) > limit > 0:
        response.headers["Link"] = f'<{path}?n={limit}&last={found[limit - 1]}>; rel="next"'
    return response

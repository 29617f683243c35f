"""Manifests and tags (OCI distribution 1.1, "Pulling manifests", "Pushing manifests")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aiohttp import web

from imgd_server.distribution._headers import matches
from imgd_server.distribution._protocol import (
    Refusal,
    parse_digest,
    refuse,
    refuse_all,
    refuse_deletion,
)
from imgd_server.distribution._repository import Found, Repository, put_bytes
from imgd_server.errors import Error, Reason
from imgd_server.images import children, describe_held, tag_image, untag_image
from imgd_server.metadata import ReadSession, WriteSession
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
from imgd_server.threads import in_thread
from imgd_server.transfer import now_us

__all__ = ["delete_manifest", "get_manifest", "put_manifest"]

# So many tags one request may give (`tag` parameters); more would not fit in its URL.
_MAX_TAGS = 100
# So many missing blobs are named in a refusal.
_MAX_NAMED = 20
# RFC 7234, 5.5.1. RFC 9111 gave the header up, and put nothing in its place.
_STALE = '110 imgd "Response is Stale"'


async def get_manifest(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET and HEAD: a manifest by tag or digest."""
    found = await _find(request, repository)
    target, content = found.target, repository.backing.content
    headers = {"Docker-Content-Digest": target.digest, "ETag": f'"{target.digest}"'}
    if found.stale:
        headers["Warning"] = _STALE
    if matches(request, target.digest):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = target.media_type
    try:
        if request.method == "HEAD" and repository.cache:
            # It need not have been fetched.
            return web.Response(headers=headers | {"Content-Length": str(target.size)})
        if request.method == "HEAD":
            info = await in_thread(lambda: content.info(target.digest))
            return web.Response(headers=headers | {"Content-Length": str(info.size)})
        raw = await in_thread(lambda: content.read(target.digest, MAX_MANIFEST_BYTES))
    except Error as error:
        # It may have been collected since it was found.
        if error.reason is Reason.BLOB_NOT_FOUND:
            raise _unknown(request, repository) from None
        raise
    return web.Response(body=raw, headers=headers)


async def _find(request: web.Request, repository: Repository) -> Found:
    text = request.match_info["reference"]
    digest = parse_digest(text) if ":" in text else None
    tag = "" if digest else _tag(request, repository)

    if repository.cache:
        whole = request.method != "HEAD"
        return await repository.cache.manifest(repository, tag, digest, whole=whole)

    def find(session: ReadSession) -> Descriptor | None:
        if digest:
            return session.repository_manifest(repository.full, digest)
        record = session.image_by_name(tag)
        return record.target if record else None

    if target := await repository.backing.metadata.read(find):
        return Found(target)
    raise _unknown(request, repository)


def _tag(request: web.Request, repository: Repository) -> str:
    """The full name of a tag to look for; what is no tag is none that is known."""
    try:
        return repository.tagged(request.match_info["reference"])
    except Refusal:
        raise _unknown(request, repository) from None


def _unknown(request: web.Request, repository: Repository) -> Refusal:
    name = request.match_info["reference"][:128]
    return refuse("MANIFEST_UNKNOWN", f"no manifest {name} in {repository.name}")


# --- push


async def put_manifest(request: web.Request, repository: Repository) -> web.StreamResponse:
    """PUT: stores a manifest, and with a tag makes it an image. What it refers to must be here,
    apart from its subject. Pushed by digest, it takes tags from `tag` parameters."""
    text = request.match_info["reference"]
    given = parse_digest(text) if ":" in text else None
    tags = request.query.getall("tag", []) if given else [text]
    if len(tags) > _MAX_TAGS:
        raise refuse("UNSUPPORTED", f"at most {_MAX_TAGS} tags are taken at once", 414)
    names = [repository.tagged(tag) for tag in tags]
    raw = await request.read()
    if len(raw) > MAX_MANIFEST_BYTES:
        raise refuse("SIZE_INVALID", f"a manifest has at most {MAX_MANIFEST_BYTES} bytes", 413)
    digest, node = await in_thread(
        lambda: _check(raw, given, request.headers.get("Content-Type", ""))
    )
    target = Descriptor(node.media_type, digest, len(raw), artifact_type=node.artifact_type)
    await _claim(repository, target, node)
    await _store(repository, target, node, raw, names)
    headers = {
        "Location": f"/v2/{repository.name}/manifests/{digest}",
        "Docker-Content-Digest": digest,
    }
    if node.subject:
        headers["OCI-Subject"] = node.subject.digest
    if given and tags:
        headers["OCI-Tag"] = ", ".join(tags)
    return web.Response(status=201, headers=headers)


def _check(raw: bytes, given: Digest | None, media_type: str) -> tuple[Digest, Manifest | Index]:
    """What was sent: its digest, and what it says. Blocks."""
    digest = Digest.of(raw, given.algorithm if given else "sha256")
    if given and digest != given:
        raise refuse("DIGEST_INVALID", f"the manifest has the digest {digest}, not {given}")
    try:
        return digest, parse_manifest(raw, media_type)
    except FormatError as error:
        raise refuse("MANIFEST_INVALID", str(error)) from None


async def _claim(repository: Repository, target: Descriptor, node: Manifest | Index) -> None:
    """Holds a manifest and what it needs, or refuses it when that is not here.

    A foreign layer is fetched from its URLs, so it need not be here. Neither need a subject.
    """
    needed = [
        child
        for child in children(node)
        if not (media.is_foreign_layer(child.media_type) and child.urls)
    ]

    def claim(session: WriteSession) -> list[Descriptor]:
        missing = [
            child
            for child in needed
            if not session.repository_has_blob(repository.full, child.digest)
        ]
        if not missing:
            repository.hold(session, target.digest, *(child.digest for child in needed))
        return missing

    def lost() -> list[Descriptor]:
        found = [(child, repository.backing.content.find(child.digest)) for child in needed]
        for child, info in found:
            if info and info.size != child.size:
                raise refuse(
                    "MANIFEST_INVALID",
                    f"{child.digest} has {info.size} bytes, and the manifest says {child.size}",
                )
        return [child for child, info in found if not info]

    # A blob that is shown may have been collected; once held, it stays.
    if missing := await repository.backing.metadata.write(claim) or await in_thread(lost):
        raise refuse_all(
            "MANIFEST_BLOB_UNKNOWN",
            [
                (f"{child.digest} is not in {repository.name}: push it first", child.digest)
                for child in missing[:_MAX_NAMED]
            ],
        )


async def _store(
    repository: Repository,
    target: Descriptor,
    node: Manifest | Index,
    raw: bytes,
    names: Sequence[str],
) -> None:
    content, metadata = repository.backing.content, repository.backing.metadata

    held = {target.digest, *(child.digest for child in children(node))}

    async def hold(blobs: Sequence[Descriptor]) -> None:
        digests = [blob.digest for blob in blobs]
        await metadata.write(lambda session: repository.hold(session, target.digest, *digests))
        held.update(digests)

    try:
        await in_thread(lambda: put_bytes(content, target.digest, raw))
        description = await describe_held(content, target, Platform.host(), held, hold)
    except Error:
        await metadata.write(lambda session: session.delete_lease(repository.lease(target.digest)))
        raise

    def show(session: WriteSession) -> None:
        session.link_manifest(
            repository.full,
            _referrer(target, node) if node.subject else target,
            subject=node.subject.digest if node.subject else None,
            blobs=[blob.digest for blob in description.blobs],
        )
        if not names:
            # No image: the lease holds all that it reaches.
            repository.hold(session, target.digest, *(blob.digest for blob in description.blobs))
            return
        learned = (f"{repository.full}@{target.digest}",)
        image = session.put_image(
            replace(description.record, repo_digests=learned),
            description.platforms,
            description.blobs,
        )
        for name in names:
            tag_image(session, f"images/{image.uid}", name, None, now_us())
        for blob in description.blobs:
            session.delete_lease(repository.lease(blob.digest))

    await metadata.write(show)


def _referrer(target: Descriptor, node: Manifest | Index) -> Descriptor:
    """The descriptor that a list of referrers holds ("Listing Referrers")."""
    artifact_type = node.artifact_type
    if not artifact_type and isinstance(node, Manifest):
        artifact_type = node.config.media_type
    return replace(target, artifact_type=artifact_type, annotations=node.annotations)


# --- delete


async def delete_manifest(request: web.Request, repository: Repository) -> web.StreamResponse:
    """DELETE: takes a tag away, or hides a manifest with its tags here, unless an index here needs
    it. The image stays, dangling, and whatever holds it."""
    text = request.match_info["reference"]
    digest = parse_digest(text) if ":" in text else None
    tag = "" if digest else _tag(request, repository)

    def hide(session: WriteSession) -> bool:
        if digest is None:
            return _untag(session, tag)
        if holder := session.repository_holder(repository.full, digest):
            raise refuse_deletion(
                f"{holder} in {repository.name} needs {digest}: delete it first", "GET, HEAD, PUT"
            )
        return _unlink(session, repository, digest)

    if not await repository.backing.metadata.write(hide):
        raise _unknown(request, repository)
    return web.Response(status=202)


def _untag(session: WriteSession, name: str) -> bool:
    if session.image_by_name(name) is None:
        return False
    untag_image(session, name, "", now_us())
    return True


def _unlink(session: WriteSession, repository: Repository, digest: Digest) -> bool:
    record = session.image_by_target(digest)
    here = [one.name for one in record.names if one.repository == repository.full] if record else []
    for name in here:
        _untag(session, name)
    learned = session.forget_repo_digest(f"{repository.full}@{digest}")
    session.delete_lease(repository.lease(digest))
    return session.unlink(repository.full, digest) or learned or bool(here)

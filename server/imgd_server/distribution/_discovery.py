"""Content discovery: tags, referrers, and the catalog (OCI distribution 1.1)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from aiohttp import web

from imgd_server.distribution._headers import next_page, page
from imgd_server.distribution._protocol import parse_digest, refuse
from imgd_server.distribution._repository import Repository
from imgd_server.metadata import ReadSession
from imgd_server.oci import media

__all__ = ["list_referrers", "list_tags", "names_of", "page_of"]

# "Pulling manifests", `<name>`.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*", re.ASCII)
# Names that are looked at in one go: among them are such as no client can ask for.
_BATCH = 1000
# A page of referrers ends after so many: most have none or a handful.
_MAX_REFERRERS = 500


async def list_tags(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET: the tags in lexical order, paged by `n` and `last`."""
    limit, last = page(request)

    def tags(session: ReadSession) -> list[str] | None:
        if not session.has_repository(repository.full):
            return None
        return session.repository_tags(repository.full, last, limit + 1)

    found = await repository.backing.metadata.read(tags)
    if found is None:
        raise refuse("NAME_UNKNOWN", f"no repository {repository.name}")
    path = f"/v2/{repository.name}/tags/list"
    return page_of(path, {"name": repository.name}, "tags", found, limit)


def page_of(
    path: str, body: dict[str, object], key: str, found: Sequence[str], limit: int
) -> web.Response:
    """A page of names; `found` has one more than fits where more pages follow."""
    names = found[:limit]
    more = len(found) > limit and limit
    headers = next_page(path, n=limit, last=names[-1]) if more else None
    return web.json_response({**body, key: names}, headers=headers)


async def list_referrers(request: web.Request, repository: Repository) -> web.StreamResponse:
    """GET: an index of the manifests here whose subject is a digest. A subject that nobody knows
    has none."""
    subject = parse_digest(request.match_info["digest"])
    wanted = request.query.get("artifactType", "")
    last = request.query.get("last", "")
    found, more = await repository.backing.metadata.read(
        lambda session: session.referrers(repository.full, subject, wanted, last, _MAX_REFERRERS)
    )
    index = {
        "schemaVersion": 2,
        "mediaType": media.OCI_INDEX,
        "manifests": [one.to_json() for one in found],
    }
    headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    if more:
        parameters = {"artifactType": wanted} if wanted else {}
        path = f"/v2/{repository.name}/referrers/{subject}"
        headers |= next_page(path, **parameters, last=found[-1].digest)
    # As bytes: a text's media type would get a charset.
    headers["Content-Type"] = media.OCI_INDEX
    return web.Response(body=json.dumps(index).encode(), headers=headers)


def names_of(session: ReadSession, host: str, last: str, limit: int) -> list[str]:
    """Names of repositories behind `last`: those of `host` without it, others in full; at most
    `limit` of each kind, in no order. Those of registries with a port are left out: such a name is
    none that the specification has, and clients refuse to ask for it."""
    own = f"{host}/"
    # Between the two are the names that begin with `own`: "0" follows "/".
    end = f"{host}0"

    def between(after: str, end: str, prefix: str = "") -> list[str]:
        found: list[str] = []
        more = True
        while more and len(found) < limit:
            page = session.repositories(after, _BATCH)
            names = [name for name in page if not end or name < end]
            shorts = (name.removeprefix(prefix) for name in names)
            found += filter(_NAME.fullmatch, shorts)
            more = len(names) == _BATCH
            after = page[-1] if page else after
        return found[:limit]

    return [
        *between(own + last, end, own),
        *between(last, own),
        *between(max(last, end), ""),
    ]

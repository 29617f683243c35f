"""Lists that registries give in pages: what is on one, and where the next one is.

What a registry says of a next page is hostile input: it may not lead to another host, nor in a
circle, nor on without end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from imgd_server.errors import Error, Reason
from imgd_server.registry._answers import is_encoded, protocol_error
from imgd_server.registry._asking import Asker, Call
from imgd_server.registry._http import Response
from imgd_server.registry._url import Url

__all__ = ["MAX_PAGES", "NAMES_A_PAGE", "name_pages", "parse_object", "read_body", "walk"]

MAX_PAGES: Final = 100
"""Pages read for one call: 100,000 names where the registry gives as many as it is asked for."""

NAMES_A_PAGE: Final = 1000
"""What is asked for at once; Docker Hub and most others give no more."""

# docker-registry 2 gives every tag in one answer, and repositories with 100,000 exist.
_MAX_NAMES_BYTES = 8 << 20
_MAX_NAMES = 250_000
# A list of names holds two lists or objects; the bound keeps small ones from filling the memory.
_MAX_CONTAINERS = 10_000
# RFC 8288, 3. A run of blanks can be read in one way only, so that no header is slow.
_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*-]+(?:=(?:"[^"]*"|[^\s,;"]*))?)*)')
_RELATION = re.compile(r';\s*rel=(?:"([^"]*)"|([^\s,;"]*))', re.IGNORECASE)

_T = TypeVar("_T")


def walk(
    client: Asker,
    call: Call,
    accept: str,
    read: Callable[[Response], _T],
    beyond: Callable[[_T], str] = lambda _: "",
) -> Iterator[_T]:
    """The pages of a list, from the call's target on, as far as `Link` headers lead.

    Where there is none, `beyond` says the target of the page behind one; empty at the end. Raises
    what `Asker.ask` raises, and REGISTRY_PROTOCOL for a Link that can't be followed,
    and for more than `MAX_PAGES` pages.
    """
    visited = set[str]()
    host = call.domain
    target = call.target
    for _ in range(MAX_PAGES):
        visited.add(target)
        with client.ask(replace(call, target=target), "GET", {"Accept": accept}) as response:
            page = read(response)
        host = response.host
        yield page
        linked = _next(response, lambda target: client.target_of(call, target))
        target = linked or beyond(page)
        if linked in visited:
            raise protocol_error(response, "leads from page to page in a circle")
        if not target or target in visited:
            return
    raise Error(
        Reason.REGISTRY_PROTOCOL,
        f"{host} gives a list of more than {MAX_PAGES} pages, and in no order",
        host=host,
    )


def name_pages(client: Asker, call: Call, key: str, last: str = "") -> Iterator[list[str]]:
    """Pages of names behind `last`, as they come: `key` of the answers' JSON objects. Raises as
    `walk`, also for more than 250,000 names."""
    left = _MAX_NAMES

    def at(last: str) -> str:
        parameters = {"n": str(NAMES_A_PAGE), **({"last": last} if last else {})}
        return f"{call.target}?{urlencode(parameters)}"

    def beyond(names: list[str]) -> str:
        # A full page without a Link need not be the last one (OCI distribution 1.1).
        return at(names[-1]) if len(names) == NAMES_A_PAGE else ""

    def read(response: Response) -> list[str]:
        # Null is what docker-registry says of a repository that has lost its last tag.
        names = parse_object(response, read_body(response, _MAX_NAMES_BYTES)).get(key) or []
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            raise protocol_error(response, "answers no list of names")
        nonlocal left
        left -= len(names)
        if left < 0:
            raise protocol_error(response, f"lists more than {_MAX_NAMES} names")
        return names

    return walk(client, replace(call, target=at(last)), "application/json", read, beyond)


def read_body(response: Response, limit: int) -> bytes:
    """A whole body. Raises REGISTRY_PROTOCOL for one beyond the limit, or encoded, and
    REGISTRY_UNREACHABLE for one that ends too early."""
    if is_encoded(response):
        raise protocol_error(response, "answers in a Content-Encoding")
    raw = response.read(limit) if (response.length or 0) <= limit else b""
    if max(response.length or 0, len(raw)) > limit:
        raise protocol_error(response, f"answers more than {limit} bytes")
    if response.cut:
        host = response.host
        raise Error(Reason.REGISTRY_UNREACHABLE, f"{host} ended an answer too early", host=host)
    return raw


def parse_object(response: Response, raw: bytes) -> dict[str, Any]:
    """An answer's JSON object. Raises REGISTRY_PROTOCOL for another thing."""
    try:
        small = raw.count(b"[") + raw.count(b"{") <= _MAX_CONTAINERS
        found = json.loads(raw) if small else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise protocol_error(response, "answers no JSON object")
    return found


def _next(response: Response, target_of: Callable[[str], str]) -> str:
    """The target of the next page; empty where no Link leads to one."""
    for match in _LINK.finditer(response.headers.get("link", "")):
        relations = {
            word
            for quoted, plain in _RELATION.findall(match[2])
            for word in (quoted or plain).lower().split()
        }
        if "next" not in relations:
            continue
        try:
            found = Url.parse(match[1], response.url)
        except ValueError:
            raise protocol_error(response, "gives a next page that is no usable URL") from None
        # Not by the scheme: a registry behind a proxy may not know of its TLS, and ours is kept.
        target = target_of(found.target)
        if found.label != response.url.label or not target:
            raise protocol_error(response, "gives a next page that is not its own")
        return target
    return ""

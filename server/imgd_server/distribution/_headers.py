"""Headers and query parameters with a grammar of their own. Nothing here does I/O."""

from __future__ import annotations

import re
from urllib.parse import quote

from aiohttp import web

from imgd_server.distribution._protocol import refuse

__all__ = ["MAX_PAGE", "byte_range", "chunk_range", "matches", "next_page", "page"]

# An answer of so many names stays below 1 MiB.
MAX_PAGE = 4000

# Bounded, for int() refuses thousands of digits with an error of its own.
_NUMBER = r"\d{1,19}"
_RANGE = re.compile(rf"bytes=({_NUMBER})?-({_NUMBER})?", re.ASCII)
_CONTENT_RANGE = re.compile(rf"(?:bytes )?({_NUMBER})-({_NUMBER})(?:/(?:\*|{_NUMBER}))?", re.ASCII)


def matches(request: web.Request, digest: str) -> bool:
    """Whether the client has this already (If-None-Match, RFC 9110, section 13.1.2)."""
    return any(tag.value in (digest, "*") for tag in request.if_none_match or ())


def byte_range(request: web.Request, digest: str, size: int) -> tuple[int, int] | None:
    """The wanted part of a blob, from start to before end (RFC 9110, section 14); None for all.

    Several ranges, other units and what does not parse are passed over, as is a range that was
    meant for other content (If-Range). Refuses what holds no byte of the blob, 416.
    """
    match = _RANGE.fullmatch(request.headers.get("Range", ""))
    if not match or match[0] == "bytes=-":
        return None
    if request.headers.get("If-Range", f'"{digest}"') != f'"{digest}"':
        return None
    first, last = match[1], match[2]
    start = int(first) if first else max(size - int(last), 0)
    end = min(int(last) + 1, size) if first and last else size
    if start >= end:
        raise refuse(
            "SIZE_INVALID",
            f"the blob has {size} bytes, none of them in {match[0]}",
            416,
            headers={"Content-Range": f"bytes */{size}"},
        )
    return start, end


def chunk_range(request: web.Request, offset: int) -> bool:
    """Whether a chunk may follow on the first `offset` bytes of its upload: it says no place, or
    this one (Content-Range). Refuses one whose length is not that of its range."""
    given = request.headers.get("Content-Range")
    if given is None:
        return True
    match = _CONTENT_RANGE.fullmatch(given)
    if not match or int(match[1]) != offset or int(match[2]) < offset:
        return False
    length = request.content_length
    if length is not None and length != int(match[2]) - offset + 1:
        raise refuse("SIZE_INVALID", f"the chunk has {length} bytes, and its range is {match[0]}")
    return True


def page(request: web.Request) -> tuple[int, str]:
    """How many names a request wants (`n`), and behind which one (`last`)."""
    text = request.query.get("n", str(MAX_PAGE))
    if not re.fullmatch(_NUMBER, text, re.ASCII):
        raise refuse("PAGINATION_NUMBER_INVALID", f"n is a number of names, unlike {text[:50]!r}")
    return min(int(text), MAX_PAGE), request.query.get("last", "")


def next_page(path: str, **parameters: str | int) -> dict[str, str]:
    """The Link header that leads to the next page (RFC 8288)."""
    query = "&".join(f"{key}={quote(str(value), safe='/')}" for key, value in parameters.items())
    return {"Link": f'<{path}?{query}>; rel="next"'}

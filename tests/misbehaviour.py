"""What a hostile registry does instead of what is right (`tests.hostile`).

A fault is a function from a request and its right answer to the answer that is sent.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce

__all__ = [
    "PIECE",
    "Answer",
    "Fault",
    "Request",
    "both",
    "chunked",
    "drip",
    "header",
    "html",
    "ignore_range",
    "raw",
    "redirect",
    "refuse",
    "replaced",
    "reset",
    "stall",
    "truncate",
    "unframed",
]

PIECE = 16 << 10
"""Bytes of a body that are sent at once."""


@dataclass(frozen=True)
class Request:
    """What a client asked. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What is sent. A Content-Length that is not among `headers` is added."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bytes = b""
    """The whole blob where `body` is a range of it."""
    raw: bytes | None = None
    """These bytes instead of an HTTP answer; then the connection ends."""
    cut: int | None = None
    """After so many bytes of the body the connection ends; -1 is before the head."""
    abort: bool = False
    """Whether a cut resets the connection (RST) or just closes it (FIN)."""
    stall: int | None = None
    """After so many bytes of the body nothing comes until `release`; -1 is before the head."""
    piece: int = PIECE
    pause: float = 0.0
    """Seconds between the pieces."""
    framing: str = "length"
    """How the body's end is told: `length`, `chunked`, or `close`."""

    def having(self, **headers: str | None) -> Answer:
        """With these headers, `_` for `-`; None takes one away."""
        changed = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = {name: value for name, value in self.headers.items() if name not in changed}
        new = {name: value for name, value in changed.items() if value is not None}
        return replace(self, headers={**kept, **new})


Fault = Callable[[Request, Answer], Answer]


def both(*faults: Fault) -> Fault:
    """One fault after the other."""
    return lambda request, answer: reduce(lambda so_far, one: one(request, so_far), faults, answer)


def reset(after: int | None = None) -> Fault:
    """The connection is reset after so many bytes of the body; None: before the head."""
    at = -1 if after is None else after
    return lambda _, answer: replace(answer, cut=at, abort=True)


def truncate(after: int | None = None) -> Fault:
    """The connection is closed after so many bytes of the body; None: before the head."""
    return lambda _, answer: replace(answer, cut=-1 if after is None else after)


def stall(after: int | None = None) -> Fault:
    """Nothing comes after so many bytes of the body, until `release`; None: not even a head."""
    return lambda _, answer: replace(answer, stall=-1 if after is None else after)


def drip(piece: int, pause: float) -> Fault:
    """The body comes in pieces of so many bytes, with pauses of so many seconds."""
    return lambda _, answer: replace(answer, piece=piece, pause=pause)


def chunked(piece: int = PIECE) -> Fault:
    """The body comes in chunks (RFC 9112, 7.1), without a length."""
    return lambda _, answer: replace(answer, framing="chunked", piece=piece)


def unframed() -> Fault:
    """The body ends with the connection (RFC 9112, 6.3)."""
    return lambda _, answer: replace(answer, framing="close")


def header(**headers: str | None) -> Fault:
    """Other headers, `_` for `-`: `header(Content_Range="bytes 0-1/2")`; None takes one away."""
    return lambda _, answer: answer.having(**headers)


def ignore_range() -> Fault:
    """The whole blob and a 200, whatever range was asked for."""
    return lambda _, answer: replace(
        answer.having(Content_Range=None),
        status=200 if answer.status == 206 else answer.status,
        body=answer.whole or answer.body,
    )


def replaced(body: bytes | Callable[[bytes], bytes], media_type: str | None = None) -> Fault:
    """Another body, with its own length."""

    def fault(_: Request, answer: Answer) -> Answer:
        new = body(answer.body) if callable(body) else body
        answer = replace(answer, body=new)
        return answer.having(Content_Type=media_type) if media_type is not None else answer

    return fault


def refuse(status: int, code: str | None = None, message: str = "", **headers: str | None) -> Fault:
    """An error; with a `code` in a registry's JSON, else without a body."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode() if code else b""
    plain = Answer(status, {"Content-Type": "application/json"} if code else {}, body)
    return lambda _request, _answer: plain.having(**headers)


def html(status: int = 200) -> Fault:
    """A web page."""
    page = b"<!doctype html><title>Welcome</title>" + b"<p>" * 100
    return lambda _request, _answer: Answer(status, {"Content-Type": "text/html"}, page)


def redirect(location: str | Callable[[Request], str], status: int = 307) -> Fault:
    """A redirect, with a body as many servers send one."""
    return lambda request, _: Answer(
        status,
        {"Location": location(request) if callable(location) else location},
        b"<a>Moved</a>",
    )


def raw(data: bytes) -> Fault:
    """Bytes that need not be HTTP."""
    return lambda _, answer: replace(answer, raw=data)

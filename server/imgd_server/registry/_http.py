"""HTTP/1.1 answers (RFC 9110, 9112), byte by byte, so that a cut loses none of what came before it.

Nothing is read without a bound: a head has at most `MAX_HEAD` bytes, and comes within a time; of a
body a least pace is asked for.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from imgd_server.registry._connection import Connection, ProtocolError, translated
from imgd_server.registry._protocol import Cancellation
from imgd_server.registry._url import Url

__all__ = ["MAX_HEAD", "Head", "Response", "read_head", "request_head"]

MAX_HEAD: Final = 64 << 10
"""Bytes of an answer's status lines and headers. Servers allow clients 8 to 32 KiB."""

# A body's bytes are handed on after so long even when the buffer is not full, so that progress
# over a slow line is seen.
_PATIENCE = 0.1
# Bytes a second below which a body counts as stopped: every line is faster, and a server that drips
# would hold a thread for days.
_LEAST_PACE = 1024
_READ = 64 << 10

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: .*)?", re.DOTALL)
_FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Head:
    """An answer without its body.

    `headers` have lower-case names, and repeated ones are joined by commas. `length` is what
    Content-Length announces, also where there is no body; None where it is chunked, or ends with
    the connection. `keep` says whether the connection may serve another request.
    """

    status: int
    headers: Mapping[str, str]
    length: int | None
    chunked: bool
    has_body: bool
    keep: bool


def request_head(
    method: str,
    url: Url,
    headers: Mapping[str, str],
    body: bytes | None = None,
    *,
    absolute: bool = False,
) -> bytes:
    """A request, ready to be sent; `absolute` is for proxies. Header values must be ASCII and
    printable."""
    lines = [f"{method} {url if absolute else url.target} HTTP/1.1", f"Host: {url.label}"]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if not all(line.isascii() and line.isprintable() for line in lines):
        raise ValueError("a header holds what no header may")
    return "\r\n".join([*lines, "", ""]).encode() + (body or b"")


def read_head(connection: Connection, method: str) -> Head:
    """The next final answer's head; informational ones (1xx) are passed over."""
    left = MAX_HEAD

    def line() -> bytes:
        nonlocal left
        found = connection.line()
        left -= len(found) + 2
        if left < 0:
            raise ProtocolError("its headers are too long")
        return found

    while True:
        match = _STATUS.fullmatch(line())
        if match is None:
            raise ProtocolError("an answer does not begin with a status")
        headers: dict[str, str] = {}
        while field := line():
            name, value = _field(field)
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        status = int(match[2])
        if status >= 200 or status == 101:
            break
    chunked, length = _framing(headers)
    has_body = method != "HEAD" and status not in (101, 204, 304) and length != 0
    tokens = headers.get("connection", "").lower().replace(",", " ").split()
    framed = chunked or length is not None or not has_body
    keep = match[1] == b"1" and "close" not in tokens and framed
    return Head(status, headers, length, chunked, has_body, keep)


def _field(line: bytes) -> tuple[str, str]:
    match = _FIELD.fullmatch(line.decode("latin-1"))
    if match is None:
        raise ProtocolError("a header is malformed")
    return match[1].lower(), match[2]


def _framing(headers: Mapping[str, str]) -> tuple[bool, int | None]:
    """Whether a body is chunked, and else its length (RFC 9112, 6.3)."""
    if coding := headers.get("transfer-encoding"):
        if coding.lower() != "chunked":
            raise ProtocolError("it uses an unknown transfer coding")
        return True, None
    if "content-length" not in headers:
        return False, None
    lengths = {one.strip() for one in headers["content-length"].split(",")}
    length = lengths.pop()
    if lengths or not (length.isascii() and length.isdigit() and len(length) < 20):
        raise ProtocolError("its Content-Length is no length")
    return False, int(length)


class Response:
    """An answer whose body is still to be read. Close it.

    The body may keep the reader waiting for `read_timeout` seconds, and as long again with every
    `read_timeout` × 1024 bytes; the time between reads is not counted.
    """

    def __init__(
        self,
        connection: Connection,
        head: Head,
        url: Url,
        read_timeout: float,
        cancellation: Cancellation,
        release: Callable[[bool], None],
    ) -> None:
        self._connection, self._cancellation, self._release = connection, cancellation, release
        self._keep, self._chunked = head.keep, head.chunked
        self.url = url
        self.host = url.label
        self.status = head.status
        self.headers = head.headers
        self.length = head.length
        self.complete = not head.has_body
        """Whether the body ended where its framing says; of one that has none, nobody knows."""
        self.cut = False
        """Whether the body ended before that."""
        self.credentialed = False
        """Whether somebody's credentials were in the request."""
        # Bytes left of the body, or of its chunk: 0 before a chunk's end, None before its size.
        self._left = head.length
        self._ended = self.complete
        self._closed = False
        self._failure: Exception | None = None
        self._read_timeout = read_timeout
        self._restart_pace()

    def _restart_pace(self) -> None:
        self._time_left = self._read_timeout
        self._bytes_due = self._read_timeout * _LEAST_PACE

    def readinto(self, buffer: memoryview) -> int:
        """Bytes of the body into `buffer`: as many as come soon after the first.

        0 at the end, which may be too early (`cut`). Bytes that came before a failure are handed
        over first. Raises REGISTRY_UNREACHABLE, REGISTRY_TIMEOUT, REGISTRY_PROTOCOL, CANCELLED.
        """
        filled = 0
        began = time.monotonic()
        with translated(self.host, self._cancellation):
            while filled < len(buffer) and not self._ended and self._failure is None:
                wait = min(_PATIENCE, self._time_left) if filled else self._time_left
                self._connection.deadline = began + wait
                try:
                    filled += self._read_some(buffer[filled:])
                except TimeoutError:
                    if filled:
                        break
                    raise
                except (OSError, ProtocolError) as error:
                    self._failure = error
            self._time_left -= time.monotonic() - began
            self._bytes_due -= filled
            if self._bytes_due <= 0:
                self._restart_pace()
            if not filled:
                self._cancellation.check()
                if self._failure is not None:
                    raise self._failure
        return filled

    def _read_some(self, buffer: memoryview) -> int:
        if self._chunked and not self._left and not self._next_chunk():
            return 0
        got = self._connection.readinto(buffer[: self._left])
        if got == 0:
            self._ended = True
            self.cut = self._chunked or self._left is not None
        elif self._left is not None:
            self._left -= got
            if self._left == 0 and not self._chunked:
                self._ended = self.complete = True
        return got

    def _next_chunk(self) -> bool:
        """Reads on to the bytes of the next chunk; False at the end (RFC 9112, 7.1)."""
        if self._left == 0:
            if self._connection.line():
                raise ProtocolError("a chunk has no end")
            self._left = None
        match = _CHUNK.fullmatch(self._connection.line())
        if match is None:
            raise ProtocolError("a chunk has no size")
        self._left = int(match[1], 16) or None
        if self._left is None:
            self._ended = self.complete = True
            # Trailers are nothing that a registry needs; a connection with them is not kept.
            with contextlib.suppress(OSError, ProtocolError):
                self._keep = self._keep and not self._connection.line()
                return False
            self._keep = False
        return self._left is not None

    def read(self, limit: int) -> bytes:
        """The body, at most `limit` bytes and one more (so that a longer one can be told)."""
        data = bytearray()
        piece = memoryview(bytearray(min(limit + 1, _READ)))
        while got := self.readinto(piece[: limit + 1 - len(data)]):
            data += piece[:got]
        return bytes(data)

    def close(self) -> None:
        """Ends; a connection whose body was read to the end serves the next request."""
        if not self._closed:
            self._closed = True
            self._release(self._keep and self.complete)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self.close()

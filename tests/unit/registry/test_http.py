from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation
from imgd_server.registry._connection import Connection, ProtocolError
from imgd_server.registry._http import MAX_HEAD, Head, Response, read_head, request_head
from imgd_server.registry._url import Url
from tests.unit.registry.conftest import FakeSocket, Piece

URL = Url.parse("http://h.io:5000/x?y")


def connected(*pieces: Piece) -> Connection:
    connection = Connection(URL, named=True)
    sock = FakeSocket([pieces])
    sock.sendall(b"")
    connection._sock = sock  # type: ignore[assignment]
    connection.deadline = time.monotonic() + 60
    return connection


def head(data: bytes, method: str = "GET") -> Head:
    return read_head(connected(data), method)


def answer(*pieces: Piece, method: str = "GET", read_timeout: float = 60.0) -> Response:
    connection = connected(*pieces)
    kept: list[bool] = []
    response = Response(
        connection, read_head(connection, method), URL, read_timeout, Cancellation(), kept.append
    )
    response.kept = kept  # type: ignore[attr-defined]
    return response


def kept(response: Response) -> bool:
    """Whether the connection is kept when the answer is closed."""
    response.close()
    response.close()
    [keep] = response.kept  # type: ignore[attr-defined]
    return bool(keep)


# --- heads


def test_a_request() -> None:
    assert request_head("GET", URL, {"Accept": "*/*"}) == (
        b"GET /x?y HTTP/1.1\r\nHost: h.io:5000\r\nAccept: */*\r\n\r\n"
    )
    assert request_head("POST", URL, {}, b"ab") == (
        b"POST /x?y HTTP/1.1\r\nHost: h.io:5000\r\nContent-Length: 2\r\n\r\nab"
    )
    assert b"Host: [::1]\r\n" in request_head("GET", Url.parse("http://[::1]/"), {})
    for value in ("a\r\nb: c", "\x00", "ü"):
        with pytest.raises(ValueError, match="header"):
            request_head("GET", URL, {"X": value})


def test_a_head() -> None:
    found = head(
        b"HTTP/1.1 206 Partial Content\r\nContent-TYPE:a/b; c=d \r\nX:\r\n"
        b"WWW-Authenticate: Basic\r\nwww-authenticate:\tBearer\r\ncontent-length: 5\r\n\r\n"
    )
    assert found == Head(
        206,
        {
            "content-type": "a/b; c=d",
            "x": "",
            "www-authenticate": "Basic, Bearer",
            "content-length": "5",
        },
        length=5,
        chunked=False,
        has_body=True,
        keep=True,
    )


@pytest.mark.parametrize(
    ("data", "method", "length", "has_body", "keep"),
    [
        (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\n", "HEAD", 5, False, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "GET", 0, False, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n", "GET", 5, True, True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\n", "GET", 5,
         True, True),
        (b"HTTP/1.1 204 No\r\n\r\n", "GET", None, False, True),
        (b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n", "GET", 5, False, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", "HEAD", None, False, True),
        (b"HTTP/1.1 200 OK\r\n\r\n", "GET", None, True, False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", 5, True, False),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: Close\r\n\r\n", "GET", 5,
         True, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nContent-Length: 5\r\n\r\n", "GET", None,
         True, True),
        (b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\n"
         b"HTTP/1.1 200 OK\nContent-Length: 1\n\n", "GET", 1, True, True),
    ],
)  # fmt: skip
def test_framing(data: bytes, method: str, length: int | None, has_body: bool, keep: bool) -> None:
    found = head(data, method)
    assert (found.length, found.has_body, found.keep) == (length, has_body, keep)
    assert "a" not in found.headers


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-x\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 99 x\r\n\r\n",
        b"HTTP/1.1 2000 x\r\n\r\n",
        b"HTTP/1.1 -20 x\r\n\r\n",
        b"http/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: yyyy\r\n" * 8000 + b"\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 8000,
    ],
    ids=range(20),
)
def test_what_is_not_http(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        head(data)


@given(st.binary() | st.binary().map(lambda data: b"HTTP/1.1 200 OK\r\n" + data))
def test_any_head(data: bytes) -> None:
    try:
        assert 100 <= head(data).status <= 999
    except (ProtocolError, ConnectionError):
        pass


# --- bodies


BODY = bytes(range(256)) * 40
FRAMINGS: dict[str, Callable[[bytes], bytes]] = {
    "length": lambda body: b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body),
    "close": lambda body: b"HTTP/1.1 200 OK\r\n\r\n" + body,
    "chunked": lambda body: (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"".join(
            b"%x;ext=1\r\n%b\r\n" % (len(part), part)
            for part in (body[at : at + 1000] for at in range(0, len(body), 1000))
        )
        + b"0\r\n\r\n"
    ),
}


def drain(response: Response, size: int) -> bytes:
    data, buffer = b"", memoryview(bytearray(size))
    while got := response.readinto(buffer):
        data += buffer[:got]
    return data


@pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
@given(data=st.data())
def test_a_body_is_the_same_however_it_comes(framing: Callable[[bytes], bytes], data: Any) -> None:
    wire = framing(BODY)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=5)))
    ends = itertools.pairwise([0, *cuts, len(wire)])
    response = answer(*(wire[start:end] for start, end in ends))
    assert drain(response, data.draw(st.integers(1, 20_000))) == BODY
    assert not response.cut
    assert response.complete == (framing is not FRAMINGS["close"])
    assert kept(response) == response.complete


@pytest.mark.parametrize("framing", ["length", "chunked"])
@given(data=st.data())
def test_what_came_before_a_cut_is_handed_over(framing: str, data: Any) -> None:
    wire = FRAMINGS[framing](BODY)
    start = wire.index(b"\r\n\r\n") + 4
    end = data.draw(st.integers(start, len(wire) - 8))
    failure = data.draw(st.sampled_from([ConnectionResetError(104, "reset"), b""]))
    response = answer(wire[:end], failure)
    buffer = memoryview(bytearray(data.draw(st.integers(1, 20_000))))
    got = b""
    with pytest.raises(Error) as caught:  # noqa: PT012
        while length := response.readinto(buffer):
            got += buffer[:length]
        assert response.cut
        raise Error(Reason.REGISTRY_UNREACHABLE, "cut")
    assert caught.value.reason is Reason.REGISTRY_UNREACHABLE
    assert BODY.startswith(got)
    if framing == "length":
        assert len(got) == end - start
    assert not kept(response)


@pytest.mark.parametrize(
    "chunks",
    [
        b"x\r\n",
        b"-1\r\nx",
        b"0x5\r\nhello\r\n",
        b"\r\n",
        b"5\r\nhelloX\r\n0\r\n\r\n",
        b"f" * 16 + b"\r\n",
        b"5;" + b"x" * 20_000,
    ],
)
def test_chunks_that_are_none(chunks: bytes) -> None:
    response = answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
    with pytest.raises(Error) as caught:
        drain(response, 100)
    assert caught.value.reason is Reason.REGISTRY_PROTOCOL
    assert not kept(response)


@pytest.mark.parametrize("end", [b"X: trailer\r\n\r\n", b"", b"y" * 20_000])
def test_trailers_end_the_connection_but_spoil_nothing(end: bytes) -> None:
    response = answer(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + end
    )
    assert drain(response, 100) == b"hello"
    assert response.complete
    assert not kept(response)


def test_reading_within_a_limit() -> None:
    wire = FRAMINGS["length"](BODY)
    assert answer(wire).read(len(BODY)) == BODY
    assert answer(wire).read(100) == BODY[:101]
    assert answer(wire).read(0) == BODY[:1]
    unread = answer(wire)
    assert not kept(unread)


# --- time


class Clock:
    """A clock that only goes on when something waits."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


class Slow(FakeSocket):
    """Gives `size` bytes each `pause` seconds, and keeps to the time-out."""

    def __init__(self, clock: Clock, size: int, pause: float, data: bytes) -> None:
        super().__init__([])
        self._clock, self._size, self._pause, self._data = clock, size, pause, data
        self._timeout = 0.0
        self.given = 0

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0
        self._timeout = seconds

    def recv(self, length: int) -> bytes:
        self._clock.now += min(self._pause, self._timeout)
        if self._pause > self._timeout:
            self._pause -= self._timeout
            raise TimeoutError
        size = min(self._size, length)
        piece, self._data = self._data[:size], self._data[size:]
        self.given += len(piece)
        return piece


def slow(clock: Clock, size: int, pause: float, data: bytes) -> Connection:
    connection = connected()
    connection._sock = Slow(clock, size, pause, data)  # type: ignore[assignment]
    connection.deadline = clock.now + 10
    return connection


def body_of(connection: Connection, framing: str, read_timeout: float = 10.0) -> Response:
    chunked = framing == "chunked"
    length = 10_000 if framing == "length" else None
    found = Head(200, {}, length, chunked, has_body=True, keep=True)
    return Response(connection, found, URL, read_timeout, Cancellation(), lambda _: None)


def test_a_head_has_one_time_out_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    connection = slow(clock, 1, 0.9, b"HTTP/1.1 200 OK\r\n\r\n")
    with pytest.raises(TimeoutError):
        read_head(connection, "GET")
    assert clock.now == pytest.approx(1010.0)


@pytest.mark.parametrize("framing", ["length", "close", "chunked"])
@pytest.mark.parametrize(("size", "pause", "enough"), [(100, 1.0, False), (2000, 1.0, True)])
def test_a_body_has_a_least_pace(
    framing: str, size: int, pause: float, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    data = b"2710\r\n" + b"x" * 10_000 + b"\r\n0\r\n\r\n" if framing == "chunked" else b"x" * 10_000
    response = body_of(slow(clock, size, pause, data), framing)
    if enough:
        assert drain(response, 1 << 19) == b"x" * 10_000
    else:
        with pytest.raises(Error) as caught:
            drain(response, 1 << 19)
        assert caught.value.reason is Reason.REGISTRY_TIMEOUT
        assert clock.now == pytest.approx(1010.0, abs=1.1)


def test_endless_chunk_lines_are_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    chunk = b"1;" + b"x" * 200 + b"\r\na\r\n"
    response = body_of(slow(clock, len(chunk), 0.1, chunk * 1000), "chunked")
    with pytest.raises(Error) as caught:
        drain(response, 1 << 19)
    assert caught.value.reason is Reason.REGISTRY_TIMEOUT
    assert clock.now == pytest.approx(1010.0, abs=0.2)


def test_the_time_between_reads_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    response = body_of(slow(clock, 1000, 0.5, b"x" * 10_000), "length")
    buffer, got = memoryview(bytearray(1 << 19)), 0
    while length := response.readinto(buffer):
        got += length
        clock.now += 3600.0
    assert got == 10_000


def test_bytes_are_handed_on_soon_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    response = body_of(slow(clock, 500, 0.06, b"x" * 10_000), "length")
    assert response.readinto(memoryview(bytearray(1 << 19))) == 500
    assert clock.now == pytest.approx(1000.1)
    # What was on its way when the patience ended is not lost.
    assert response.readinto(memoryview(bytearray(1 << 19))) >= 500


def test_a_cancelled_read_says_so() -> None:
    cancellation = Cancellation()
    for end in (b"", ConnectionResetError(104, "reset"), TimeoutError(), OSError(9, "closed")):
        connection = connected(end)
        found = Head(200, {}, 5, chunked=False, has_body=True, keep=True)
        response = Response(connection, found, URL, 60.0, cancellation, lambda _: None)
        cancellation.cancel()
        with pytest.raises(Error) as caught:
            response.readinto(memoryview(bytearray(10)))
        assert caught.value.reason is Reason.CANCELLED

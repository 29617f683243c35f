"""A network without sockets: each connection says what its script says."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from imgd_server.registry import _connection, _transport
from imgd_server.registry._url import Url

Piece = bytes | BaseException
"""What a read gives: bytes (no more than asked for), an error; b"" is the end."""


class FakeSocket:
    """One connection. Each request that is sent makes the next answer's pieces readable."""

    def __init__(self, answers: Sequence[Sequence[Piece]]) -> None:
        self._answers = deque(answers)
        self._pieces: deque[Piece] = deque()
        self._gone = threading.Event()
        self.sent: list[str] = []
        self.closed = False
        self.readable = False
        """What the kernel says of it while it is idle."""

    def settimeout(self, seconds: float) -> None:
        assert seconds > 0

    def sendall(self, data: bytes) -> None:
        self.sent.append(data.decode())
        if self._answers:
            self._pieces.extend(self._answers.popleft())

    def recv(self, length: int) -> bytes:
        piece = self._pieces.popleft() if self._pieces else b""
        if isinstance(piece, Block):
            piece.reached.set()
            assert self._gone.wait(60), "nobody woke the reader"
            return b""
        if isinstance(piece, BaseException):
            raise piece
        if len(piece) > length:
            self._pieces.appendleft(piece[length:])
        return piece[:length]

    def recv_into(self, buffer: memoryview) -> int:
        data = self.recv(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def do_handshake(self) -> None:
        self.recv(0)

    def shut_down(self) -> None:
        self._gone.set()

    def close(self) -> None:
        self.closed = True


class Block(Exception):  # noqa: N818 - not raised
    """A read that waits until the connection is shut down. `reached` is set when it waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()


@dataclass
class Net:
    """Where connections are dialled: each gets the next script."""

    scripts: deque[Sequence[Sequence[Piece]] | BaseException] = field(default_factory=deque)
    sockets: list[FakeSocket] = field(default_factory=list)
    dialled: list[tuple[str, bool, bool]] = field(default_factory=list)
    """Label, whether it was named, and whether it was configured."""
    handshakes: list[FakeSocket] = field(default_factory=list)
    """The connections that speak TLS."""
    meanwhile: deque[Callable[[], object]] = field(default_factory=deque)
    """What others do while a connection is dialled: one is called for each."""

    def connection(self, *answers: Sequence[Piece]) -> None:
        """The next connection gives these answers, one a request."""
        self.scripts.append(answers)

    def refusal(self, error: BaseException) -> None:
        """The next connection fails so."""
        self.scripts.append(error)

    def dial(self, url: Url, *, named: bool, configured: bool, **_: Any) -> FakeSocket:
        self.dialled.append((url.label, named, configured))
        if self.meanwhile:
            self.meanwhile.popleft()()
        script = self.scripts.popleft()
        if isinstance(script, BaseException):
            raise script
        self.sockets.append(FakeSocket(script))
        return self.sockets[-1]

    def wrap_socket(self, sock: FakeSocket, **_: Any) -> FakeSocket:
        self.handshakes.append(sock)
        return sock

    @property
    def sent(self) -> list[str]:
        """Every request, over all connections."""
        return [request for sock in self.sockets for request in sock.sent]


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch) -> Net:
    net = Net()
    monkeypatch.setattr(_connection, "dial", net.dial)
    monkeypatch.setattr(_connection, "_readable", lambda sock: sock.readable)
    monkeypatch.setattr(_connection, "_shut_down", lambda sock: sock.shut_down())
    monkeypatch.setattr(
        _transport.Transport, "_tls", lambda _, url: net if url.scheme == "https" else None
    )
    return net

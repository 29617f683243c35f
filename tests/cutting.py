"""A line to a server that breaks where a test wants it to.

    with cutting(registry) as line:
        cut = line.at(1_000_000, "reset")
        ...  # what goes to line.address comes to the registry
        cut.wait()

Bytes are counted as they go to the client, and as they come from it, heads included. What a broken
line did not hand over is not counted.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

__all__ = ["Cut", "Line", "cutting"]

PATIENCE = 60.0
_PIECE = 64 << 10

How = Literal["reset", "close", "hold"]


class Cut:
    """A place on the line, in bytes to the client since the line was there (with `up`, from it),
    and `how` it ends there.

    `hold` lets nothing further through until `go_on`, or the end of the connection.
    """

    def __init__(self, place: int, how: How, up: bool) -> None:
        self.place, self.how, self.up = place, how, up
        self._reached, self._over = threading.Event(), threading.Event()
        if how != "hold":
            self._over.set()

    def wait(self) -> None:
        """Waits until the bytes before it have gone."""
        if not self._reached.wait(PATIENCE):
            raise TimeoutError(f"nothing came as far as {self.place} bytes")

    @property
    def reached(self) -> bool:
        """Whether the bytes before it have gone."""
        return self._reached.is_set()

    def go_on(self) -> None:
        """Lets through what was held."""
        self._over.set()

    def meet(self) -> None:
        """The line has come to it."""
        self._reached.set()

    def hold_up(self) -> None:
        """Waits while it holds."""
        if self.reached:
            self._over.wait(PATIENCE)


class Line:
    """A running line. `sent` are the bytes that went to the client, `taken` those from it."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()
        self._threads: list[threading.Thread] = []
        self._cuts: list[Cut] = []
        self._ending = False
        self.sent = self.taken = 0

    def at(self, more: int, how: How, *, up: bool = False) -> Cut:
        """Ends every connection, or holds all up, after so many more bytes (with `up`, from the
        client)."""
        with self._lock:
            cut = Cut((self.taken if up else self.sent) + more, how, up)
            self._cuts.append(cut)
            return cut

    def mend(self) -> None:
        """Forgets the cuts that it has not come to."""
        with self._lock:
            self._cuts = [one for one in self._cuts if one.reached]

    def start(self) -> None:
        """Begins to accept."""
        self._run(self._accept)

    def end(self) -> None:
        """Ends every connection, and the line."""
        # Whoever waits in accept wakes up.
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            self._ending = True
            cuts, connections = [*self._cuts], [*self._open]
        for cut in cuts:
            cut.go_on()
        for connection in connections:
            connection.end(abort=False)
        for thread in self._threads:
            thread.join(PATIENCE)
        self._listener.close()

    def _run(self, target: Callable[..., None], *arguments: _Connection) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            connection = _Connection(client, socket.create_connection(self._upstream, PATIENCE))
            with self._lock:
                self._open.add(connection)
                if self._ending:
                    connection.end(abort=False)
            self._run(self._serve, connection)

    def _serve(self, connection: _Connection) -> None:
        up = threading.Thread(target=self._pour, args=(connection, True))
        up.start()
        self._pour(connection, False)
        up.join(PATIENCE)
        with self._lock:
            self._open.discard(connection)
            self.sent -= connection.close()

    def _pour(self, connection: _Connection, up: bool) -> None:
        """What one side says, until either ends."""
        source = connection.client if up else connection.server
        try:
            while data := source.recv(_PIECE):
                while data:
                    data = data[self._pass(connection, data, up) :]
        except OSError:
            pass
        connection.end(abort=False)

    def _pass(self, connection: _Connection, data: bytes, up: bool) -> int:
        """Hands some bytes on, up to the next cut; returns how many."""
        for cut in [*self._cuts]:
            cut.hold_up()
        with self._lock:
            passed = self.taken if up else self.sent
            cuts = [one for one in self._cuts if one.up == up and not one.reached]
            length = min(len(data), cuts[0].place - passed) if cuts else len(data)
            passed += length
            self.sent, self.taken = (self.sent, passed) if up else (passed, self.taken)
            met = cuts[0] if cuts and passed >= cuts[0].place else None
            if met:
                met.meet()
        connection.send(data[:length], up)
        if met and met.how != "hold":
            with self._lock:
                for one in self._open:
                    one.end(abort=met.how == "reset")
        return length


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self._ended = self._abort = False
        server.settimeout(None)

    def send(self, data: bytes, up: bool) -> None:
        """Hands bytes to the client, or with `up` to the server."""
        if self._ended:
            raise ConnectionResetError
        (self.server if up else self.client).sendall(data)

    def end(self, *, abort: bool) -> None:
        """Makes both sides end, with a reset (RST) for the client or not; `close` follows."""
        self._ended = True
        self._abort |= abort
        # Whoever waits in recv wakes up. A reset is sent by the close.
        sides = ((self.client, socket.SHUT_RD if abort else socket.SHUT_RDWR),
                 (self.server, socket.SHUT_RDWR))  # fmt: skip
        for side, what in sides:
            try:
                side.shutdown(what)
            except OSError:
                pass

    def close(self) -> int:
        """Closes both sides; returns how many bytes of those sent never arrived."""
        lost = 0
        if self._abort:
            (lost,) = struct.unpack("i", fcntl.ioctl(self.client, termios.TIOCOUTQ, bytes(4)))
            # A close that lingers for no time resets (socket(7)).
            self.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.client.close()
        self.server.close()
        return lost


@contextmanager
def cutting(upstream: str) -> Iterator[Line]:
    """Runs a line to a server at `host:port`."""
    line = Line(upstream)
    line.start()
    try:
        yield line
    finally:
        line.end()

"""Messages between the daemon and its workers: JSON over a socket pair, descriptors beside it."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

__all__ = ["Message", "receive", "send"]

Message = dict[str, Any]
"""A JSON object."""

# Descriptors with one message: a layer's directory and its source.
_MAX_FDS = 2
_PREFIX = 4
# Bytes of a message; `_worker` cuts what would be longer.
_MAX_MESSAGE = 1 << 20


def send(peer: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Sends a message. Raises OSError once the peer is gone."""
    data = json.dumps(message).encode()
    data = len(data).to_bytes(_PREFIX, "big") + data
    sent = socket.send_fds(peer, [data], fds) if fds else peer.send(data)
    peer.sendall(data[sent:])


def receive(peer: socket.socket) -> tuple[Message, list[int]] | None:
    """Waits for a message and its descriptors, which are the caller's then; None once the peer is
    gone. Raises OSError for a message that is too long."""
    fds: list[int] = []
    head = b""
    while len(head) < _PREFIX:
        more, got, _, _ = socket.recv_fds(peer, _PREFIX - len(head), _MAX_FDS)
        fds += got
        if not more:
            return None
        head += more
    size = int.from_bytes(head, "big")
    if size > _MAX_MESSAGE:
        for fd in fds:
            os.close(fd)
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    data = bytearray(size)
    view = memoryview(data)
    while view:
        received = peer.recv_into(view)
        if not received:
            return None
        view = view[received:]
    message: Message = json.loads(data)
    return message, fds

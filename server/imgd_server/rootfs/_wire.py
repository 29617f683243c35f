"""Messages between the daemon and its workers: JSON over a socket pair, descriptors beside it."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

__all__ = ["Message", "receive", "send"]

Message = dict[str, Any]
"""A JSON object."""

# Descriptors with one message: a layer's directory and its source.
_MAX_FDS = 2
_PREFIX = 4


def send(peer: socket.socket, message: Message, fds: Sequence[int] = ()) -> None:
    """Sends a message. Raises OSError once the peer is gone."""
    data = json.dumps(message).encode()
    data = len(data).to_bytes(_PREFIX, "big") + data
    sent = socket.send_fds(peer, [data], fds) if fds else peer.send(data)
    peer.sendall(data[sent:])


def receive(peer: socket.socket) -> tuple[Message, list[int]] | None:
    """Waits for a message and its descriptors, which are the caller's then; None once the peer is
    gone."""
    fds: list[int] = []
    head = b""
    while len(head) < _PREFIX:
        more, got, _, _ = socket.recv_fds(peer, _PREFIX - len(head), _MAX_FDS)
        fds += got
        if not more:
            return None
        head += more
    data = bytearray(int.from_bytes(head, "big"))
    view = memoryview(data)
    while view:
        received = peer.recv_into(view)
        if not received:
            return None
        view = view[received:]
    message: Message = json.loads(data)
    return message, fds

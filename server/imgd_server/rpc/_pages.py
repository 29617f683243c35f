"""Page sizes and tokens.

A token holds a position and is bound to its query by a checksum. It grants nothing, so it needs no
secret, and stays good across restarts and replicas.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Iterable
from typing import Any, TypeVar

from google.protobuf.message import Message

from imgd_server.errors import FieldError, Reason
from imgd_server.rpc._limits import MAX_ANSWER_BYTES

__all__ = ["decode_token", "encode_token", "fitting", "page_size"]

M = TypeVar("M", bound=Message)

_SUM = 8


def page_size(asked: int, default: int = 100, most: int = 1000) -> int:
    """How many to answer with."""
    return min(asked or default, most)


def fitting(messages: Iterable[M]) -> list[M]:
    """The first messages, as many as an answer can hold, and one at least."""
    taken: list[M] = []
    size = 0
    for message in messages:
        # The field's tag and length take some bytes more.
        size += message.ByteSize() + 8
        if taken and size > MAX_ANSWER_BYTES:
            break
        taken.append(message)
    return taken


def encode_token(query: object, position: object) -> str:
    """The token to go on behind `position` of `query`; both are JSON values."""
    payload = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_checksum(query, payload) + payload).decode().rstrip("=")


def decode_token(query: object, token: str, kinds: tuple[type, ...]) -> Any:
    """The position in a token, as a tuple with a value of each of `kinds`.

    Raises PAGE_TOKEN_INVALID for one that is not of this query.
    """
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if _checksum(query, raw[_SUM:]) == raw[:_SUM]:
            position = json.loads(raw[_SUM:])
            if isinstance(position, list) and _fit(position, kinds):
                return tuple(position)
    except (binascii.Error, ValueError, RecursionError):
        pass
    raise FieldError(
        "page_token",
        "page_token: not a token of this list with these filters; start again without one",
        reason=Reason.PAGE_TOKEN_INVALID,
    )


def _fit(position: list[object], kinds: tuple[type, ...]) -> bool:
    # Anybody can compute the checksum, so a position can be anything.
    return [*map(type, position)] == [*kinds] and all(
        -(2**63) <= one < 2**63 for one in position if isinstance(one, int)
    )


def _checksum(query: object, payload: bytes) -> bytes:
    text = json.dumps(query, sort_keys=True, default=str).encode()
    return hashlib.blake2b(text + b"\0" + payload, digest_size=_SUM).digest()

"""Page sizes and tokens.

A token holds a position and is bound to its query by a checksum. It grants nothing, so it needs no
secret, and stays good across restarts and replicas.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Any

from imgd_server.errors import FieldError, Reason

__all__ = ["decode_token", "encode_token", "page_size"]

_SUM = 8


def page_size(asked: int, default: int = 100, most: int = 1000) -> int:
    """How many to answer with."""
    return min(asked or default, most)


def encode_token(query: object, position: object) -> str:
    """The token to go on behind `position` of `query`; both are JSON values."""
    payload = json.dumps(position, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_checksum(query, payload) + payload).decode().rstrip("=")


def decode_token(query: object, token: str) -> Any:
    """The position in a token. Raises PAGE_TOKEN_INVALID for one that is not of this query."""
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        if _checksum(query, raw[_SUM:]) == raw[:_SUM]:
            return json.loads(raw[_SUM:])
    except (binascii.Error, ValueError):
        pass
    raise FieldError(
        "page_token",
        "page_token: not a token of this list with these filters; start again without one",
        reason=Reason.PAGE_TOKEN_INVALID,
    )


def _checksum(query: object, payload: bytes) -> bytes:
    text = json.dumps(query, sort_keys=True, default=str).encode()
    return hashlib.blake2b(text + b"\0" + payload, digest_size=_SUM).digest()

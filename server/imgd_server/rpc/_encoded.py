"""Answers that are kept as they go over the wire."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message

__all__ = ["EncodedAnswers", "serializer"]

# The lists of some ten thousand images.
_MOST_BYTES = 16 << 20


def serializer(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """A method's serializer that leaves alone what is encoded already."""
    return lambda answer: answer if isinstance(answer, bytes) else encode(answer)


class EncodedAnswers:
    """Answers by request, as long as what they tell has the same version."""

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self._most = most
        self._version: int | None = None
        self._answers: dict[bytes, bytes] = {}
        self._size = 0

    def get(self, request: Message, version: int | None) -> bytes | None:
        """The answer that was put for such a request and this version."""
        if version is None or version != self._version:
            return None
        return self._answers.get(_key(request))

    def put(self, request: Message, version: int | None, encoded: bytes) -> None:
        """Keeps an encoded answer; the oldest go where there is no room."""
        if version is None:
            return
        if version != self._version:
            self._version, self._size = version, 0
            self._answers.clear()
        key = _key(request)
        self._size += len(key) + len(encoded)
        if known := self._answers.pop(key, None):
            self._size -= len(key) + len(known)
        self._answers[key] = encoded
        while self._size > self._most:
            oldest = next(iter(self._answers))
            self._size -= len(oldest) + len(self._answers.pop(oldest))


def _key(request: Message) -> bytes:
    return request.SerializeToString(deterministic=True)

"""Answers that are kept as they go over the wire."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import Message

__all__ = ["EncodedAnswers", "serializer"]

# The lists of some ten thousand images.
_MOST_BYTES = 16 << 20


def serializer(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """A method's serializer that leaves alone what is encoded already."""
    return lambda answer: answer if isinstance(answer, bytes) else encode(answer)


class EncodedAnswers:
    """Answers by request, as long as what they tell has the same version. Belongs to one loop."""

    def __init__(self, most: int = _MOST_BYTES) -> None:
        self._most = most
        self._version: int | None = None
        self._answers: dict[bytes, bytes] = {}
        self._making: dict[bytes, asyncio.Future[bytes]] = {}
        self._size = 0

    async def get(
        self, request: Message, version: int | None, make: Callable[[], Awaitable[bytes]]
    ) -> bytes:
        """The encoded answer to a request: kept, or being made for another caller, or made now.

        `version` is the newest, and None where nothing may be kept.
        """
        if version is None:
            return await make()
        if version != self._version:
            self._version, self._size = version, 0
            self._answers, self._making = {}, {}
        key = request.SerializeToString(deterministic=True)
        if (kept := self._answers.get(key)) is not None:
            return kept
        making = self._making.get(key)
        if making is None:
            making = self._making[key] = asyncio.ensure_future(make())
            making.add_done_callback(lambda made: self._keep(key, version, made))
        # Who leaves must not end it for the others.
        return await asyncio.shield(making)

    def _keep(self, key: bytes, version: int, made: asyncio.Future[bytes]) -> None:
        """Keeps an answer; the oldest go where there is no room."""
        failed = made.cancelled() or made.exception() is not None
        if version != self._version:
            return
        del self._making[key]
        if failed:
            return
        self._answers[key] = made.result()
        self._size += len(key) + len(made.result())
        while self._size > self._most:
            oldest = next(iter(self._answers))
            self._size -= len(oldest) + len(self._answers.pop(oldest))

"""Callers who are refused while they send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from imgd_server.errors import Error

__all__ = ["heard_out"]

# As much as a daemon reads in a tenth of a second.
_HEARD_BYTES = 64 << 20
_HEARD_SECONDS = 5.0


@asynccontextmanager
async def heard_out(requests: AsyncIterator[Any]) -> AsyncIterator[None]:
    """Lets a caller who is refused send what he has begun to, within bounds: to one who sends when
    his call ends, grpc.aio tells of an internal error instead of the reason."""
    try:
        yield
    except Error:
        left = _HEARD_BYTES
        with suppress(TimeoutError):
            async with asyncio.timeout(_HEARD_SECONDS):
                while left > 0 and (request := await anext(requests, None)) is not None:
                    left -= len(request.data)
        raise

"""A scripted daemon, and a client of each kind."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.scripted import AsyncFace, Face, ScriptedDaemon, SyncFace


@pytest.fixture
async def daemon() -> AsyncIterator[ScriptedDaemon]:
    """A daemon that listens; what it says is the test's."""
    # Sockets have short paths.
    with tempfile.TemporaryDirectory(prefix="imgd-") as folder:
        found = ScriptedDaemon(f"unix:{folder}/imgd.sock")
        await found.start()
        yield found
        await found.stop()


@pytest.fixture(params=[SyncFace, AsyncFace], ids=["sync", "asyncio"])
async def connect(
    request: pytest.FixtureRequest, daemon: ScriptedDaemon
) -> AsyncIterator[Callable[..., Face]]:
    """Opens clients of one kind, and closes them at the end."""
    opened: list[Face] = []

    def open_client(**options: Any) -> Face:
        face: Face = request.param(daemon.address, **options)
        opened.append(face)
        return face

    yield open_client
    for face in opened:
        await face.close(face.client)

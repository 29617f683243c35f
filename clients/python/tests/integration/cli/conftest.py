"""imgctl, against a daemon that says what the test tells it to."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from tests.scripted import ScriptedDaemon, within

# As the installed command, but for its patience.
_SCRIPT = """
import sys
from imgd_client.cli import _connect
from imgd_client.cli.__main__ import main
_connect._PATIENCE = 0.3
sys.exit(main())
"""


@dataclass(frozen=True)
class Done:
    """What became of a command."""

    status: int
    printed: str
    told: str


@pytest.fixture
async def daemon() -> AsyncIterator[ScriptedDaemon]:
    """A daemon that listens; what it says is the test's."""
    with tempfile.TemporaryDirectory(prefix="imgd-") as folder:
        found = ScriptedDaemon(f"unix:{folder}/imgd.sock")
        await found.start()
        yield found
        await found.stop()


@pytest.fixture
def imgctl(daemon: ScriptedDaemon) -> Callable[..., Awaitable[Done]]:
    """Runs a command to its end."""

    async def run(*words: str, keys: str = "") -> Done:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            _SCRIPT,
            "--address",
            daemon.address,
            *words,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        printed, told = await within(process.communicate(keys.encode()))
        assert process.returncode is not None
        return Done(process.returncode, printed.decode(), told.decode())

    return run

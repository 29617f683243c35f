"""`imgd demo`: a daemon with sample images, and a pull that one can watch.

It is what `make run` starts. The pull is `imgctl`'s, in a process of its own, over gRPC: what is
seen is what any caller sees.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from imgd_server.config import Config

__all__ = ["demo"]

SAMPLE = "samples/python:latest"
# As a shell says it (128 and SIGINT).
_INTERRUPTED = 130


class Serve(Protocol):
    """What runs a daemon: `app.serve`."""

    async def __call__(
        self, config: Config, stop: asyncio.Event, ready: Callable[[str], None], /
    ) -> None:
        """Serves until `stop`; calls `ready` with the host of the registry inside."""
        ...


async def demo(serve: Serve, *, once: bool) -> int:
    """Serves from a fresh state, pulls a sample, lists it; then stops, or goes on serving.

    Returns the first failed command's exit status, or 0.
    """
    with tempfile.TemporaryDirectory(prefix="imgd-demo-") as state:
        address = f"unix:{state}/imgd.sock"
        config = Config(
            root=f"{state}/state",
            listen=[address],
            registry_listen="127.0.0.1:0",
            samples=True,
        )
        _say(f"starting imgd on {address}, with sample images in the registry inside")
        stop = asyncio.Event()
        host: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        daemon = asyncio.create_task(serve(config, stop, host.set_result))
        try:
            started: list[asyncio.Future[Any]] = [daemon, host]
            await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
            if not host.done():
                return 0  # stopped before it served; a failure is raised below
            for words in (["pull", f"{host.result()}/{SAMPLE}"], ["images"]):
                if status := await _imgctl(stop, address, *words):
                    return status
            if not once:
                _say(f"serving; call it with: {_program()} --address {address} images")
                _say("Ctrl-C ends it")
                await daemon
            return 0
        finally:
            stop.set()
            await daemon


async def _imgctl(stop: asyncio.Event, address: str, *words: str) -> int:
    """Runs imgctl to its end, or to the daemon's; returns its exit status."""
    _say(f"$ imgctl {' '.join(words)}")
    process = await asyncio.create_subprocess_exec(_program(), "--address", address, *words)
    ended = asyncio.create_task(process.wait())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if not ended.done():
        # It would wait for a daemon that does not come back.
        with suppress(ProcessLookupError):
            process.terminate()
        await ended
        return _INTERRUPTED
    return ended.result()


def _program() -> str:
    beside = Path(sys.executable).with_name("imgctl")
    return str(beside) if beside.exists() else shutil.which("imgctl") or "imgctl"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()

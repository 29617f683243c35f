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
from pathlib import Path
from typing import Any, Protocol

from imgd_server.config import Config

__all__ = ["demo"]

SAMPLE = "samples/python:latest"


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
            if (status := await _walk(address, host.result())) or once:
                return status
            _say(f"serving; call it with: imgctl --address {address} images   (Ctrl-C ends it)")
            await daemon
            return 0
        finally:
            stop.set()
            await daemon


async def _walk(address: str, host: str) -> int:
    for words in (["pull", f"{host}/{SAMPLE}"], ["images"]):
        _say(f"$ imgctl {' '.join(words)}")
        process = await asyncio.create_subprocess_exec(_imgctl(), "--address", address, *words)
        if status := await process.wait():
            return status
    return 0


def _imgctl() -> str:
    beside = Path(sys.executable).with_name("imgctl")
    return str(beside) if beside.exists() else shutil.which("imgctl") or "imgctl"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()

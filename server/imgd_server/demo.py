"""`imgd demo`: a daemon with sample images, and a pull that one can watch.

It is what `make run` starts. The pull is `imgctl`'s, in a process of its own, over gRPC: what is
seen is what any caller sees.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from imgd_server.config import Config

__all__ = ["demo"]

SAMPLE = "samples/python:latest"


async def demo(serve: Callable[[Config], Coroutine[Any, Any, None]], *, once: bool) -> int:
    """Serves from a fresh state, pulls a sample, lists it; then stops, or goes on serving.

    Returns the first failed command's exit status, or 0.
    """
    with tempfile.TemporaryDirectory(prefix="imgd-demo-") as state:
        directory = Path(state)
        address = f"unix:{directory}/imgd.sock"
        config = Config(
            root=f"{directory}/state",
            listen=[address],
            registry_listen="127.0.0.1:0",
            samples=True,
            log_level="warning",
            log_format="text",
        )
        _say(f"starting imgd on {address}, with sample images in the registry inside")
        daemon = asyncio.create_task(serve(config))
        try:
            status = await _walk(address, daemon)
            if status or once:
                return status
            _say(f"serving; call it with: imgctl --address {address} images   (Ctrl-C ends it)")
            await daemon
            return 0
        finally:
            if not daemon.done():
                os.kill(os.getpid(), 15)
                await daemon


async def _walk(address: str, daemon: asyncio.Task[None]) -> int:
    host = await _registry_host(address, daemon)
    for words in (["pull", f"{host}/{SAMPLE}"], ["images"]):
        _say(f"$ imgctl {' '.join(words)}")
        process = await asyncio.create_subprocess_exec(_imgctl(), "--address", address, *words)
        if status := await process.wait():
            return status
    return 0


async def _registry_host(address: str, daemon: asyncio.Task[None]) -> str:
    """Asks the daemon, as soon as it answers, where its registry is."""
    while True:
        process = await asyncio.create_subprocess_exec(
            _imgctl(),
            "--address",
            address,
            "info",
            "--format",
            "{{.RegistryHost}}",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        output, _ = await process.communicate()
        if process.returncode == 0 and output.strip():
            return output.decode().strip()
        if daemon.done():
            daemon.result()
        await asyncio.sleep(0.1)


def _imgctl() -> str:
    beside = Path(sys.executable).with_name("imgctl")
    return str(beside) if beside.exists() else shutil.which("imgctl") or "imgctl"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()

"""A client's executable, which is asked one thing at a time."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError

from imgd.conformance.v1.client_pb2 import ClientRequest, ClientResponse

__all__ = ["PATIENCE", "ROOT", "ClientProcess", "executable", "languages"]

ROOT = Path(__file__).resolve().parents[2]
# A net for a client that hangs, far above what any case takes.
PATIENCE = 90.0
# The longest answer: what is read is reported as a hash, and lists are short.
_LARGEST = 16 << 20


def languages() -> list[str]:
    """The clients of the repository, by the names of their folders."""
    return sorted(path.parent.name for path in (ROOT / "clients").glob("*/tasks"))


def executable(language: str) -> Path:
    """Where `clients/LANGUAGE/tasks build` puts the executable."""
    return ROOT / "clients" / language / "build" / "conformance"


class ClientProcess:
    """A running executable. What it writes to its standard error goes to `log`."""

    def __init__(self, program: Path, log: BinaryIO) -> None:
        self._program = program
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def ask(self, request: ClientRequest) -> ClientResponse:
        """Sends a request and waits for its answer; starts the executable where it does not run.

        Raises:
            RuntimeError: It ended, said what is no answer, or said nothing for too long.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._ask(request)
        except TimeoutError:
            await self.stop()
            raise RuntimeError(f"the executable said nothing for {PATIENCE:.0f} s") from None
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            await self.stop()
            raise RuntimeError("the executable ended, or its answer did") from error
        except (DecodeError, ValueError) as error:
            await self.stop()
            raise RuntimeError(f"the executable's answer is none: {error}") from error

    async def _ask(self, request: ClientRequest) -> ClientResponse:
        process = self._process or await self._start()
        assert process.stdin
        assert process.stdout
        encoded = request.SerializeToString()
        process.stdin.write(_varint(len(encoded)) + encoded)
        await process.stdin.drain()
        length = await _read_varint(process.stdout)
        if length > _LARGEST:
            raise ValueError(f"an answer of {length} bytes")
        response = ClientResponse.FromString(await process.stdout.readexactly(length))
        if response.case_name != request.case_name:
            raise ValueError(f"an answer to {response.case_name!r}")
        return response

    async def _start(self) -> asyncio.subprocess.Process:
        # Nothing of the runner's own settings is to reach a client.
        environment = {key: value for key, value in os.environ.items() if "IMGD" not in key}
        self._process = await asyncio.create_subprocess_exec(
            self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env=environment,
        )
        return self._process

    async def stop(self) -> int | None:
        """Ends it by the end of its input, or by force; returns its exit status, None by force."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                return await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
            return None


def _varint(value: int) -> bytes:
    """A length as protobuf's delimited messages begin with it."""
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


async def _read_varint(stream: asyncio.StreamReader) -> int:
    value = 0
    for shift in range(0, 35, 7):
        (byte,) = await stream.readexactly(1)
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
    raise ValueError("a length that does not end")

"""Archives on their way to a daemon that does not want all of them."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import AsyncIterator, Generator
from typing import Any

import grpc
import grpc.aio
import pytest

from imgd_client import AsyncClient, InvalidArgument


class _Refused:
    """A call that the daemon ends after so many messages, as grpc.aio has it then."""

    def __init__(self, wanted: int) -> None:
        self.wanted, self.sent = wanted, 0

    def done(self) -> bool:
        return self.sent >= self.wanted

    async def write(self, _: object) -> None:
        if self.done():
            raise asyncio.InvalidStateError("RPC already finished.")
        self.sent += 1

    async def done_writing(self) -> None:
        pass

    def cancel(self) -> None:
        pass

    def __await__(self) -> Generator[Any, None, None]:
        yield from asyncio.sleep(0).__await__()
        nothing = grpc.aio.Metadata()
        raise grpc.aio.AioRpcError(grpc.StatusCode.INVALID_ARGUMENT, nothing, nothing, "no archive")


@pytest.mark.parametrize("wanted", [1, 2, 3])
@pytest.mark.parametrize("method", ["load", "import_image"])
async def test_a_refusal_before_all_is_sent_is_told_as_one(
    method: str, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def source() -> AsyncIterator[bytes]:
        for _ in range(2):
            yield b"no archive"

    call = _Refused(wanted)
    async with AsyncClient("unix:/nowhere.sock") as client:
        for name in ("LoadImages", "ImportImage"):
            monkeypatch.setattr(client.archives._stub, name, lambda: call)
        with pytest.raises(InvalidArgument, match="no archive"):
            await getattr(client.archives, method)(source())
    assert call.sent == wanted


async def test_a_file_is_not_read_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    class File(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert threading.get_ident() != loop
            return super().read(size)

    loop, call = threading.get_ident(), _Refused(3)
    async with AsyncClient("unix:/nowhere.sock") as client:
        monkeypatch.setattr(client.archives._stub, "LoadImages", lambda: call)
        with pytest.raises(InvalidArgument, match="no archive"):
            await client.archives.load(File(b"x" * (2 << 20)))
    assert call.sent == 3

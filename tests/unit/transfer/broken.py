"""A metadata store that fails when it is told to, and a transfer that stands still meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from imgd_server.errors import Error, Reason
from imgd_server.metadata import SqliteMetadataStore, TransferRecord, WriteSession
from tests.unit.transfer.fakes import (
    HOST,
    Gate,
    Lab,
    Trick,
    layer_of,
    layered,
    spec_for,
)

T = TypeVar("T")

__all__ = ["APP", "FULL", "Broken", "broken", "held"]

APP = f"{HOST}/app:1"
FULL = Error(Reason.DISK_FULL, "no room to write the metadata; free some")


async def held(lab: Lab, gate: Gate, **more: Any) -> TransferRecord:
    """A transfer that stands at a gate, in its layer."""
    image = layered(1000)
    lab.registry.push(image, APP)
    lab.registry.trick(layer_of(image)[0], Trick(gate=gate, at=500))
    record = await lab.manager.start(spec_for(**more))
    await gate.reached()
    return record


class Broken(SqliteMetadataStore):
    """A metadata store whose writes wait or fail while it is told to, and tell when they do."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self.arrived = asyncio.Event()
        """Somebody writes."""
        self._passing = asyncio.Event()
        self._passing.set()
        self._held = 0

    def hold(self, most: int = 1000) -> None:
        """The next writes wait, so many at the most."""
        self._passing.clear()
        self.arrived.clear()
        self._held = most

    def let_go(self) -> None:
        """Lets them pass, and all others."""
        self._held = 0
        self._passing.set()

    async def write(self, function: Callable[[WriteSession], T]) -> T:
        self.arrived.set()
        if self._held:
            self._held -= 1
            await self._passing.wait()
        if self.failure:
            self.failed.set()
            raise self.failure
        return await super().write(function)


def broken(lab: Lab) -> Broken:
    assert isinstance(lab.metadata, Broken)
    return lab.metadata

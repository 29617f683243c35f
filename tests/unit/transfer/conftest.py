"""A lab for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.unit.transfer.fakes import Lab, open_lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """A manager over fresh stores and an empty registry."""
    async with open_lab(tmp_path) as one:
        yield one


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """What is logged is not printed: with tracebacks that takes seconds."""
    with capture_logs():
        yield

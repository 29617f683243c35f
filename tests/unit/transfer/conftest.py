"""A lab for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.transfer.fakes import Lab, open_lab


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """A manager over fresh stores and an empty registry."""
    async with open_lab(tmp_path) as one:
        yield one

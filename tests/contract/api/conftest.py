"""A server for each test."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.contract.api.served import Api, serve


@pytest.fixture
async def api(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> AsyncIterator[Api]:
    """A running server over empty stores, which has no reason to log an error."""
    with capture_logs() as logs:
        async with serve(tmp_path) as running:
            running.logs = logs
            yield running
    assert [one for one in logs if one["log_level"] in ("warning", "error")] == []
    # gRPC tells of what handlers raise, asyncio of what nobody looked at.
    assert [one for one in caplog.records if one.levelno >= logging.WARNING] == []

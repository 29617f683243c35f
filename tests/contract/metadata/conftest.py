"""The stores that the suite is about. Another backend is one more line of `BACKENDS`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from imgd_server.metadata import MetadataStore, SqliteMetadataStore

Opener = Callable[[], Awaitable[MetadataStore]]


def sqlite(folder: Path) -> Opener:
    return lambda: SqliteMetadataStore.open(folder / "metadata.db")


BACKENDS = {"sqlite": sqlite}


@pytest.fixture(params=BACKENDS)
async def opener(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    """Opens the store; each time another object over the same data."""
    opened: list[MetadataStore] = []
    backend = BACKENDS[request.param](tmp_path)

    async def open_store() -> MetadataStore:
        opened.append(await backend())
        return opened[-1]

    yield open_store
    for store in opened:
        await store.close()


@pytest.fixture
async def store(opener: Opener) -> MetadataStore:
    """One store."""
    return await opener()

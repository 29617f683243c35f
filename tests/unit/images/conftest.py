"""Stores for images made in memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgd_server.content import LocalContentStore
from imgd_server.metadata._schema import migrate
from imgd_server.metadata._session import Session
from imgd_server.oci import Descriptor, Digest
from tests.fake_images import FakeImage


class Shelf(LocalContentStore):
    """A content store that images are put on with one word."""

    def put(self, data: bytes) -> Digest:
        """Stores bytes."""
        digest = Digest.of(data)
        with self.ingest(digest, digest, len(data)) as ingest:
            ingest.write(data)
            ingest.commit()
        return digest

    def add(self, image: FakeImage, *, without: tuple[str, ...] = ()) -> Descriptor:
        """Stores an image but for some digests; returns its target."""
        manifests = {digest: raw for digest, (_, raw) in image.manifests.items()}
        for digest, data in {**image.blobs, **manifests}.items():
            if digest not in without:
                self.put(data)
        return Descriptor(image.media_type, Digest(image.digest), len(image.raw))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "content")


@pytest.fixture
def session() -> Iterator[Session]:
    """A session over an empty store in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    connection.execute("PRAGMA foreign_keys = ON")
    yield Session(connection)
    connection.close()

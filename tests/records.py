"""Metadata records for tests that care for few of their fields."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, Self

from imgd_server.errors import Error
from imgd_server.metadata import (
    BlobRef,
    ImageRecord,
    LeaseRecord,
    MetadataStore,
    Name,
    TransferRecord,
    WriteSession,
)
from imgd_server.oci import Descriptor, Digest, media

__all__ = [
    "BusyWriter",
    "blob_ref",
    "by_digest",
    "image_record",
    "lease_record",
    "manifest_target",
    "tag",
    "transfer_record",
]


def manifest_target(content: str, media_type: str = media.OCI_MANIFEST) -> Descriptor:
    """The descriptor of what `content` (any text) stands for."""
    return Descriptor(media_type, Digest.of(content.encode()), len(content))


def image_record(content: str, **fields: Any) -> ImageRecord:
    """An image of its own, named by any text; its ID is the digest of that text and `config`."""
    settings: dict[str, Any] = {
        "uid": f"UID{content}",
        "target": manifest_target(content),
        "image_id": Digest.of(f"{content} config".encode()),
        "kind": "image",
        "artifact_type": "",
        "created": None,
        "stored": 1_000_000,
        "last_used": None,
        "content_size": 0,
        "unpacked_size": None,
        "pinned": False,
        "complete": True,
        "platform": "linux/amd64",
    }
    return ImageRecord(**{**settings, **fields})


def tag(name: str) -> Name:
    """A tag, from its full name."""
    return Name(name, name.rpartition(":")[0])


def by_digest(repository: str, content: str) -> Name:
    """A reference by the digest of what `content` stands for."""
    return Name(f"{repository}@{manifest_target(content).digest}", repository, by_digest=True)


def blob_ref(content: str, size: int = 10, *, stored: bool = True) -> BlobRef:
    """A layer, named by any text."""
    return BlobRef(Digest.of(content.encode()), size, media.OCI_LAYER_GZIP, stored)


def lease_record(lease_id: str, expires: int = 1000, **fields: Any) -> LeaseRecord:
    """A lease that begins at 0."""
    return LeaseRecord(lease_id, created=0, expires=expires, **fields)


def transfer_record(uid: str, **fields: Any) -> TransferRecord:
    """A transfer that runs."""
    settings: dict[str, Any] = {
        "uid": uid,
        "request_id": "",
        "spec": {"source": "somewhere"},
        "state": "RUNNING",
        "attempt": 1,
        "created": 1_000_000,
    }
    return TransferRecord(**{**settings, **fields})


class BusyWriter:
    """Keeps a store's writer busy, so that whatever is written meanwhile waits, and waits together.

    `fails` says that the function that keeps it busy is to fail with one of our errors.
    """

    def __init__(self, store: MetadataStore) -> None:
        self._store = store
        self._begun, self._go = threading.Event(), threading.Event()
        self.fails = False

    def _wait(self, _: WriteSession) -> None:
        self._begun.set()
        # A net for a test that hangs.
        assert self._go.wait(60)

    async def __aenter__(self) -> Self:
        self._task = asyncio.ensure_future(self._store.write(self._wait))
        assert await asyncio.to_thread(self._begun.wait, 60)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._go.set()
        [answer] = await asyncio.gather(self._task, return_exceptions=True)
        assert isinstance(answer, Error) if self.fails else answer is None

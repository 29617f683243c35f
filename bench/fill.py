"""Stores of many images of five tags each, for lists: imgd's and containerd's.

`python -m bench.fill imgd METADATA_FILE COUNT [EVENTS]` writes the store that a daemon then opens,
with so many events in its history;
`python -m bench.fill containerd SOCKET NAMESPACE COUNT` asks a containerd, whose records have one
name each, for five times as many. Contents are not there: lists don't look at them.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc.aio

from bench.listing import names
from bench.wire import descriptor, field
from imgd_server.images import new_uid
from imgd_server.metadata import (
    BlobRef,
    EventRecord,
    ImageRecord,
    Name,
    PlatformRecord,
    SqliteMetadataStore,
    WriteSession,
)
from imgd_server.oci import Descriptor, Digest, media

# In one transaction.
_BATCH = 500
_AT_ONCE = 64


def digest(text: str) -> str:
    """The digest of a text."""
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


async def fill_imgd(path: Path, count: int, events: int = 0) -> None:
    """Writes imgd's store."""
    store = await SqliteMetadataStore.open(path)
    for start in range(0, count, _BATCH):
        numbers = range(start, min(start + _BATCH, count))

        def put(session: WriteSession, numbers: range = numbers) -> None:
            for number in numbers:
                _put(session, number)

        await store.write(put)

    def happen(session: WriteSession) -> None:
        for number in range(events):
            name = names(number % count)[0]
            session.add_event(EventRecord("IMAGE", "tag", name, now, {"name": name}))

    now = time.time_ns() // 1000
    await store.write(happen)
    await store.close()


def _put(session: WriteSession, number: int) -> None:
    target = Descriptor(media.OCI_MANIFEST, Digest(digest(f"manifest {number}")), 1234)
    repository = names(number)[0].rpartition(":")[0]
    record = ImageRecord(
        uid=new_uid(),
        target=target,
        image_id=digest(f"config {number}"),
        kind="image",
        artifact_type="",
        created=1_600_000_000_000_000 + number,
        stored=1_700_000_000_000_000 + number,
        last_used=None,
        content_size=0,
        unpacked_size=None,
        pinned=False,
        complete=True,
        platform="linux/amd64",
        labels={"team": f"{number % 50}", "app": f"{number}"},
        names=tuple(Name(name, repository) for name in names(number)),
        repo_digests=(f"{repository}@{target.digest}",),
    )
    platform = PlatformRecord("linux/amd64", target, record.image_id, True, 5678)
    blobs = [
        BlobRef(Digest(digest(f"layer {number} {layer}")), 1000, media.OCI_LAYER_GZIP)
        for layer in range(6)
    ]
    session.put_image(record, [platform], blobs)


async def fill_containerd(socket: str, namespace: str, count: int) -> None:
    """Creates containerd's records (containerd/api/services/images/v1/images.proto)."""
    waiting: Iterator[bytes] = iter(
        [
            field(1, field(1, name.encode()) + field(3, descriptor(digest(f"manifest {number}"))))
            for number in range(count)
            for name in names(number)
        ]
    )
    async with grpc.aio.insecure_channel(f"unix:{socket}") as channel:
        create: Any = channel.unary_unary("/containerd.services.images.v1.Images/Create")

        async def work() -> None:
            for request in waiting:
                await create(request, metadata=[("containerd-namespace", namespace)])

        await asyncio.gather(*(work() for _ in range(_AT_ONCE)))


if __name__ == "__main__":
    if sys.argv[1] == "imgd":
        asyncio.run(fill_imgd(Path(sys.argv[2]), *map(int, sys.argv[3:])))
    else:
        asyncio.run(fill_containerd(sys.argv[2], sys.argv[3], int(sys.argv[4])))

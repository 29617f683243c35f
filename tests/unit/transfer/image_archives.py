"""Image archives made by hand, so that a test can make wrong ones; and how to load and save."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from imgd_server.metadata import ImageRecord, TransferRecord
from imgd_server.transfer import (
    ArchiveEndpoint,
    ArchiveForm,
    Inbox,
    Outbox,
    StoreEndpoint,
    TransferManager,
    TransferSpec,
)
from tests.fake_images import OCI_INDEX, FakeImage, descriptor
from tests.unit.rootfs.archives import archive, directory, file

__all__ = [
    "FULL_NAME",
    "LAYOUT",
    "REF_NAME",
    "blob",
    "docker_archive",
    "layout",
    "load",
    "parts_of",
    "save",
    "tar",
]

FULL_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
# A net under whatever should happen by itself.
PATIENCE = 90.0


def tar(files: Mapping[str, bytes]) -> bytes:
    """An archive of files, in their order."""
    return archive(*(file(name.encode(), data) for name, data in files.items()))


def blob(data: bytes) -> str:
    """Where a layout has it."""
    return f"blobs/sha256/{hashlib.sha256(data).hexdigest()}"


def parts_of(*images: FakeImage) -> dict[str, bytes]:
    """All blobs of images, by their paths in a layout."""
    found: dict[str, bytes] = {}
    for image in images:
        for _, raw in image.manifests.values():
            found[blob(raw)] = raw
        for data in image.blobs.values():
            found[blob(data)] = data
    return found


def layout(
    *entries: tuple[FakeImage, Mapping[str, str]],
    without: Iterable[bytes] = (),
    more: Mapping[str, bytes] | None = None,
    index: Any = None,
) -> dict[str, bytes]:
    """The files of an OCI layout; each entry has its annotations."""
    found = {
        "oci-layout": LAYOUT,
        **parts_of(*(image for image, _ in entries)),
        "index.json": json.dumps(
            index
            or {
                "schemaVersion": 2,
                "mediaType": OCI_INDEX,
                "manifests": [
                    descriptor(image.raw, image.media_type, annotations=dict(annotations))
                    for image, annotations in entries
                ],
            }
        ).encode(),
        **(more or {}),
    }
    for data in without:
        del found[blob(data)]
    return found


def docker_archive(
    config: bytes, layers: Sequence[bytes], tags: Sequence[str] | None, *, old: bool = True
) -> bytes:
    """What `docker save` writes: folders of layers (`old`), and its document at the end."""
    entries: list[bytes] = []
    paths: list[str] = []
    for number, layer in enumerate(layers):
        folder = f"{number:064x}" if old else "layers"
        path = f"{folder}/layer.tar" if old else f"{folder}/{number}.tar"
        paths.append(path)
        if old:
            entries += [directory(folder.encode() + b"/")]
            entries += [file(f"{folder}/VERSION".encode(), b"1.0")]
            entries += [file(f"{folder}/json".encode(), b"{}")]
        entries.append(file(path.encode(), layer))
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    entries.append(file(name.encode(), config))
    document = [{"Config": name, "RepoTags": tags, "Layers": paths}]
    entries.append(file(b"manifest.json", json.dumps(document).encode()))
    entries.append(file(b"repositories", b"{}"))
    return archive(*entries)


async def load(
    manager: TransferManager,
    data: bytes,
    *,
    images: tuple[str, ...] = (),
    piece: int = 1 << 20,
    destination: StoreEndpoint | None = None,
    **spec: Any,
) -> tuple[TransferRecord, list[ImageRecord]]:
    """Loads an archive, sent in pieces; the transfer's end, and what was loaded."""
    async with asyncio.timeout(PATIENCE):
        record = await manager.start(
            TransferSpec(ArchiveEndpoint(images), destination or StoreEndpoint(), **spec)
        )
        inbox = manager.pipe(record.uid)
        assert isinstance(inbox, Inbox)
        for start in range(0, len(data), piece):
            if not await inbox.put(data[start : start + piece]):
                break
        inbox.finish()
        return await manager.ended(record.uid), inbox.loaded


async def save(
    manager: TransferManager,
    *images: str,
    form: ArchiveForm = ArchiveForm.BOTH,
    **spec: Any,
) -> tuple[TransferRecord, bytes]:
    """Saves images; the transfer's end, and what came out."""
    async with asyncio.timeout(PATIENCE):
        record = await manager.start(
            TransferSpec(StoreEndpoint(), ArchiveEndpoint(images, form), **spec)
        )
        outbox = manager.pipe(record.uid)
        assert isinstance(outbox, Outbox)
        chunks = [chunk async for chunk in outbox.chunks()]
        return await manager.ended(record.uid), b"".join(chunks)

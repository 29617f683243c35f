"""What the store says that it uses."""

from __future__ import annotations

from pathlib import Path

from imgd_server.images import Usage, collect, describe, usage_of
from imgd_server.metadata import ContainerRecord, ImageRecord, SqliteMetadataStore, WriteSession
from imgd_server.oci import Platform
from tests.fake_images import FakeImage, make_image
from tests.records import lease_record
from tests.unit.images.conftest import Shelf

NOW = 1000
PLAIN = "application/vnd.oci.image.layer.v1.tar"
SHARED = b"s" * 10_000


async def test_what_is_shared_counts_once(tmp_path: Path, shelf: Shelf) -> None:
    metadata = await SqliteMetadataStore.open(tmp_path / "metadata.db")

    async def add(image: FakeImage) -> ImageRecord:
        found = describe(shelf, shelf.add(image), Platform("linux", "amd64"))
        return await metadata.write(
            lambda session: session.put_image(found.record, found.platforms, found.blobs)
        )

    first, second = (
        make_image([SHARED, own * 100], layer_type=PLAIN, labels={"own": own.decode()})
        for own in (b"a", b"b")
    )
    used = await add(first)
    await add(second)
    free = shelf.put(b"free")
    held = shelf.put(b"held")
    for key, size in (("upload:a:1", 3), ("upload:a:2", 5), (str(free), 0)):
        with shelf.ingest(key) as ingest:
            ingest.write(bytes(size))

    def hold(session: WriteSession) -> None:
        session.put_lease(lease_record("l", NOW + 1, digests=(held,)))
        session.put_lease(lease_record("upload:a:1", NOW + 1))
        for name, state in (("one", "RUNNING"), ("two", "EXITED")):
            session.put_container(
                ContainerRecord(name, used.uid, "x", used.image_id, state, NOW - 1)
            )

    await metadata.write(hold)
    found = await usage_of(metadata, shelf, NOW)

    def size_of(image: FakeImage) -> int:
        return len(image.raw) + sum(map(len, image.blobs.values()))

    total = size_of(first) + size_of(second) - len(SHARED)
    assert found.images == Usage(2, 1, total, size_of(second) - len(SHARED))
    assert found.containers == Usage(2, 1)
    assert found.blobs == Usage(9, 8, total + 8, 4)
    assert found.partials == Usage(3, 1, 8, 5)
    # What is said to be reclaimable is what a collection frees.
    freed = await collect(metadata, shelf, lambda: NOW, dry_run=False)
    assert freed.freed_bytes == found.blobs.reclaimable + found.partials.reclaimable
    assert (await usage_of(metadata, shelf, NOW)).blobs == Usage(8, 8, total + 4, 0)
    await metadata.close()

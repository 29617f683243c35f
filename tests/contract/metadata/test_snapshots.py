"""What keeps unpacked layers, in any metadata store."""

from __future__ import annotations

from dataclasses import replace

from imgd_server.metadata import ContainerRecord, MetadataStore, WriteSession
from imgd_server.oci import Digest
from tests.records import image_record, lease_record

ONE, TWO, THREE, FREE = (Digest.of(text) for text in (b"one", b"two", b"three", b"free"))


async def held(store: MetadataStore, now: int) -> set[str]:
    return await store.read(lambda session: session.held_snapshots([ONE, TWO, THREE, FREE], now))


async def test_images_and_unexpired_leases_hold_snapshots(store: MetadataStore) -> None:
    def put(session: WriteSession) -> None:
        for text in "ab":
            session.put_image(image_record(text), (), ())
        session.add_snapshots("UIDa", [ONE, TWO])
        session.add_snapshots("UIDa", [TWO])
        session.add_snapshots("UIDb", [TWO])
        session.add_snapshots("nobody", [FREE])
        session.put_lease(lease_record("lease", 10, digests=(THREE,)))

    await store.write(put)
    assert await held(store, 9) == {ONE, TWO, THREE}
    assert await held(store, 10) == {ONE, TWO}
    await store.write(lambda session: session.delete_image("UIDa"))
    assert await held(store, 10) == {TWO}
    # An image that is stored again, as by another pull, keeps what it had.
    await store.write(lambda session: session.put_image(image_record("b"), (), ()))
    assert await held(store, 10) == {TWO}
    await store.write(lambda session: session.delete_image("UIDb"))
    assert await held(store, 9) == {THREE}


async def test_a_container_keeps_its_root_file_system(store: MetadataStore) -> None:
    record = ContainerRecord("web", "UIDa", "a", "sha256:1", "CREATED", 1, rootfs='{"kind": 1}')

    def put(session: WriteSession) -> None:
        session.put_image(image_record("a"), (), ())
        session.put_container(record)

    await store.write(put)
    assert await store.read(lambda session: session.container("web")) == record
    gone = replace(record, rootfs="")
    await store.write(lambda session: session.put_container(gone))
    assert await store.read(lambda session: session.container("web")) == gone

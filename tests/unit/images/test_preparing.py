"""Root file systems and views: what stays of them, whatever happens and whoever leaves."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from imgd.v1 import container_service_pb2
from imgd_server.errors import Error, Reason
from imgd_server.images import (
    BundleRequest,
    LayerUnpacker,
    NewContainer,
    Rootfs,
    RootfsManager,
    RootfsStore,
    ViewStore,
    create_container,
    describe,
)
from imgd_server.metadata import (
    ContainerRecord,
    LeaseRecord,
    Name,
    SqliteMetadataStore,
    WriteSession,
)
from imgd_server.oci import Digest, Platform
from imgd_server.rootfs import AppliedLayer, LayerStats, Snapshot, SnapshotStore
from imgd_server.rpc._containers import ContainerServicer
from imgd_server.rpc._limits import MAX_ANSWER_BYTES
from tests.fake_images import make_image, make_index, make_layer
from tests.unit.images.conftest import Shelf

IMAGE = "h.io/app:1"
LAYER = make_layer({"file": b"x"})

Register = Callable[[WriteSession, int], ContainerRecord]


class Unpacked:
    """An unpacker that has unpacked the one layer already."""

    def __init__(self, folder: Path) -> None:
        self.store = SnapshotStore(folder, "copy")
        digest = Digest.of(LAYER)
        draft = self.store.claim(digest)
        assert draft is not None
        (draft.path / "file").write_bytes(b"x")
        self._made = self.store.commit(draft, None, AppliedLayer(digest, LayerStats(file_bytes=1)))

    def unpack(self, *_: object) -> list[Snapshot]:
        return [self._made]

    def close(self) -> None:
        pass


@pytest.fixture
async def metadata(tmp_path: Path, shelf: Shelf) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    target = shelf.add(make_image([LAYER]))
    described = describe(shelf, target, Platform("linux", "amd64"))

    def show(session: WriteSession) -> None:
        record = session.put_image(described.record, described.platforms, described.blobs)
        session.put_name(Name(IMAGE, "h.io/app"), record.uid)

    await store.write(show)
    yield store
    await store.close()


@pytest.fixture
async def manager(
    tmp_path: Path, metadata: SqliteMetadataStore, shelf: Shelf
) -> AsyncIterator[RootfsManager]:
    unpacker = LayerUnpacker(cast(Any, Unpacked(tmp_path / "snapshots")))
    store = RootfsStore(tmp_path / "containers", unpacker.store, ())
    yield RootfsManager(metadata, shelf, unpacker, store)
    await asyncio.to_thread(unpacker.close)


async def leases(metadata: SqliteMetadataStore) -> list[LeaseRecord]:
    return [*await metadata.read(lambda session: session.expired_leases(1 << 62, 100))]


async def drop(metadata: SqliteMetadataStore, lease: LeaseRecord) -> None:
    await metadata.write(lambda session: session.delete_lease(lease.lease_id))


def folders(tmp_path: Path) -> list[str]:
    root = tmp_path / "containers"
    return [path.name for path in root.iterdir()] if root.exists() else []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
async def test_a_full_disk_is_no_defect(
    tmp_path: Path,
    metadata: SqliteMetadataStore,
    manager: RootfsManager,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, "no")

    async def record(_: Register) -> None:
        raise AssertionError("there is nothing to record")

    monkeypatch.setattr("imgd_server.images._rootfs.os.symlink", fail)
    monkeypatch.setattr("imgd_server.images._rootfs.copy_tree", fail)
    with pytest.raises((Error, OSError)) as caught:
        await manager.create(NewContainer(IMAGE, "web"), None, record)
    full = isinstance(caught.value, Error) and caught.value.reason is Reason.DISK_FULL
    assert full == (code != errno.EIO)
    assert (folders(tmp_path), await leases(metadata)) == ([], [])


async def test_what_a_root_file_system_stands_on_is_durable_first(
    tmp_path: Path, metadata: SqliteMetadataStore, manager: RootfsManager
) -> None:
    unsynced = tmp_path / "snapshots" / "copy" / "unsynced"
    assert unsynced.exists()

    async def record(register: Register) -> bool:
        found = unsynced.exists()
        await metadata.write(lambda session: register(session, 2))
        return found

    assert not await manager.create(NewContainer(IMAGE, "web"), None, record)


@pytest.mark.parametrize("platform", ["", "linux/arm64"])
async def test_what_was_chosen_before_is_unpacked_and_nothing_else(
    metadata: SqliteMetadataStore, manager: RootfsManager, shelf: Shelf, platform: str
) -> None:
    """By default it would be another platform's, which has come since; or one that is twice in the
    index, for the same platform."""
    images = [
        make_image([LAYER], architecture=architecture, config={"Labels": {"n": str(number)}})
        for number, architecture in enumerate(("amd64", "arm64", "arm64"))
    ]
    target = shelf.add(make_index([(image, None) for image in images]))
    described = describe(shelf, target, Platform("linux", "amd64"))

    def show(session: WriteSession) -> str:
        return session.put_image(described.record, described.platforms, described.blobs).uid

    uid = await metadata.write(show)

    async def record(register: Register) -> ContainerRecord:
        return await metadata.write(lambda session: register(session, 2))

    chosen = images[2]
    wanted = NewContainer(IMAGE, platform=platform, uid=uid, manifest=Digest(chosen.digest))
    made = await manager.create(wanted, None, record)
    assert made.image_id == chosen.image_id
    assert made.platform == "linux/arm64"


@pytest.mark.parametrize("leaves", [False, True])
@pytest.mark.parametrize("outcome", ["recorded", "refused", "broken", "answered before"])
async def test_files_stay_with_a_record_alone(
    tmp_path: Path,
    metadata: SqliteMetadataStore,
    manager: RootfsManager,
    outcome: str,
    *,
    leaves: bool,
) -> None:
    """Also when the caller leaves while the record is written, which nobody can take back."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def record(register: Register) -> str:
        begun.set()
        await go_on.wait()
        if outcome == "broken":
            raise RuntimeError("a defect")
        if outcome == "refused":
            other = NewContainer(IMAGE, "web")
            await metadata.write(lambda session: create_container(session, other, 1))
        if outcome != "answered before":
            await metadata.write(lambda session: register(session, 2))
        return "done"

    making = asyncio.create_task(manager.create(NewContainer(IMAGE, "web"), None, record))
    await begun.wait()
    (key,) = folders(tmp_path)
    assert [one.lease_id for one in await leases(metadata)] == [f"rootfs:{key}"]
    if leaves:
        making.cancel()
        await asyncio.sleep(0)
    go_on.set()
    (result,) = await asyncio.gather(making, return_exceptions=True)
    if leaves:
        assert isinstance(result, asyncio.CancelledError)
    elif outcome == "refused":
        assert isinstance(result, Error)
        assert result.reason is Reason.CONTAINER_EXISTS
    elif outcome == "broken":
        assert isinstance(result, RuntimeError)
    else:
        assert result == "done"
    assert folders(tmp_path) == ([key] if outcome == "recorded" else [])
    known = await metadata.read(lambda session: session.container("web"))
    assert (known is not None) == (outcome in ("recorded", "refused"))
    if outcome == "recorded":
        assert known is not None
        assert Rootfs.from_json(known.rootfs).key == key
        assert await asyncio.to_thread(manager._store.sweep, {key}) == 0
        # It is a record's, no more one that is made just now.
        assert await asyncio.to_thread(manager._store.sweep, set()) == 1
    assert await leases(metadata) == []


@pytest.mark.parametrize("lease_id", ["", "mine"])
@pytest.mark.parametrize("at", [1, 2, 3])
async def test_who_leaves_before_a_view_is_there_leaves_no_lease_without_a_name(
    metadata: SqliteMetadataStore,
    manager: RootfsManager,
    monkeypatch: pytest.MonkeyPatch,
    at: int,
    lease_id: str,
) -> None:
    """Leaving takes no write back that is on its way."""
    writes = 0
    reached = asyncio.Event()
    write = metadata.write

    async def counting(function: Callable[[WriteSession], Any]) -> Any:
        nonlocal writes
        writes += 1
        answer = await write(function)
        if writes == at:
            reached.set()
            await asyncio.Event().wait()  # the answer is late
        return answer

    monkeypatch.setattr(metadata, "write", counting)
    mounting = asyncio.create_task(manager.mount(IMAGE, None, lease_id, 0))
    await reached.wait()
    mounting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await mounting
    # The caller knows the name of its own, and may go on with it or delete it.
    left = ["mine"] if at == 3 and lease_id else []
    assert [one.lease_id for one in await leases(metadata)] == left


async def test_what_nobody_can_look_up_at_the_end_is_swept_at_a_start(
    tmp_path: Path,
    metadata: SqliteMetadataStore,
    manager: RootfsManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The metadata fail, as while the daemon stops: files stay, and nothing that keeps them."""
    read = metadata.read

    async def fail(*_: object) -> None:
        raise Error(Reason.SHUTTING_DOWN, "the store is closed")

    async def record(register: Register) -> None:
        monkeypatch.setattr(metadata, "read", fail)
        raise Error(Reason.DISK_FULL, "no room for a record")

    with pytest.raises(Error):
        await manager.create(NewContainer(IMAGE, "web"), None, record)
    (key,) = folders(tmp_path)
    monkeypatch.setattr(metadata, "read", read)
    assert [one.lease_id for one in await leases(metadata)] == [f"rootfs:{key}"]
    await manager.restore()
    assert folders(tmp_path) == []
    assert await leases(metadata) == []


async def test_a_place_that_can_not_be_is_refused_before_the_work(
    tmp_path: Path,
    metadata: SqliteMetadataStore,
    manager: RootfsManager,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Unpacking may take a minute."""
    unpacked: list[object] = []
    monkeypatch.setattr(Unpacked, "unpack", lambda *_: unpacked.append(1))
    elsewhere = str(tmp_path / "elsewhere")

    async def record(register: Register) -> None:
        raise AssertionError

    async def refused(work: Awaitable[object]) -> Reason:
        with pytest.raises(Error) as caught:
            await work
        return caught.value.reason

    bundle = BundleRequest(path=elsewhere)
    made = manager.create(NewContainer(IMAGE, "web"), bundle, record)
    assert await refused(made) is Reason.FIELD_INVALID
    assert await refused(manager.mount(IMAGE, None, "", 0, elsewhere)) is Reason.UNSUPPORTED
    views = ViewStore(tmp_path / "views", SnapshotStore(tmp_path / "more", "copy"), ())
    monkeypatch.setattr(manager, "_views", views)
    assert await refused(manager.mount(IMAGE, None, "", 0, elsewhere)) is Reason.FIELD_INVALID
    assert unpacked == []
    assert await leases(metadata) == []


async def test_a_view_has_the_lease_that_it_tells_of(
    metadata: SqliteMetadataStore, manager: RootfsManager
) -> None:
    for wanted in ("", "mine"):
        view = await manager.mount(IMAGE, None, wanted, 0)
        assert view.platform == Platform("linux", "amd64")
        assert view.mount is not None
        assert "ro" in view.mount["options"]
        (lease,) = await leases(metadata)
        assert lease.lease_id == view.lease_id
        assert not wanted or lease.lease_id == wanted
        await drop(metadata, lease)


async def test_answers_hold_as_much_of_a_diff_as_they_may(
    metadata: SqliteMetadataStore, manager: RootfsManager
) -> None:
    """Paths of 3 kB that are no UTF-8, and become three times as long on the wire."""

    async def record(register: Register) -> None:
        await metadata.write(lambda session: register(session, 1))

    await manager.create(NewContainer(IMAGE, "web"), None, record)
    known = await metadata.read(lambda session: session.container("web"))
    assert known is not None
    folder = os.open(Rootfs.from_json(known.rootfs).mounts[0]["source"], os.O_RDONLY)
    for _ in range(12):
        os.mkdir(b"\xff" * 255, dir_fd=folder)
        inner = os.open(b"\xff" * 255, os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = inner
    for number in range(600):
        os.close(os.open(f"{number}", os.O_WRONLY | os.O_CREAT, dir_fd=folder))
    os.close(folder)
    request = container_service_pb2.DiffContainerRequest(name="containers/web")
    answers = [
        one
        async for one in ContainerServicer(metadata, manager).DiffContainer(
            request, cast(Any, None)
        )
    ]
    assert max(one.ByteSize() for one in answers) < MAX_ANSWER_BYTES
    assert sum(len(one.changes) for one in answers) == 612
    assert len(answers) < 20

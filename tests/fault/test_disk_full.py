"""A disk that fills up while content or metadata are written: nothing half-visible, and all goes on
when there is room again.

The disk is a small tmpfs. Where it can't be mounted, files that may not grow stand in for it (as on
a file system with a quota), and the run's end says so.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

import pytest

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error, Kind, Reason
from imgd_server.images import check_store
from imgd_server.metadata import ReadSession, SqliteMetadataStore, WriteSession
from imgd_server.oci import Digest
from tests import peers
from tests.records import BusyWriter, image_record, tag

SIZE = 8 << 20
FILES = 100
CHUNK = 256 << 10


class Disk(Protocol):
    """A place that can be filled."""

    path: Path

    def fill(self) -> None:
        """Leaves no room."""

    def free(self) -> None:
        """Makes room again."""


class SmallDisk:
    """A tmpfs, and a file that takes what is left of it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fill(self) -> None:
        with (self.path / "ballast").open("ab", buffering=0) as ballast:
            for step in (CHUNK, 1):
                try:
                    while ballast.write(bytes(step)):
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        (self.path / "ballast").unlink()


class SmallFiles:
    """A folder in which, once it is full, no file of this process grows beyond some kilobytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _limit(self, size: int) -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    def fill(self) -> None:
        largest = max((one.stat().st_size for one in self.path.rglob("*.db-wal")), default=CHUNK)
        self._limit(largest)

    def free(self) -> None:
        self._limit(resource.RLIM_INFINITY)


@contextmanager
def mounted(path: Path) -> Iterator[bool]:
    """Mounts a tmpfs, if that may be done."""
    library = ctypes.CDLL(None, use_errno=True)
    options = f"size={SIZE},nr_inodes={FILES},mode=0700".encode()
    if library.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, options) != 0:
        yield False
        return
    try:
        yield True
    finally:
        # MNT_DETACH: a test that failed may have left files open.
        library.umount2(os.fsencode(path), 2)


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    path = tmp_path / "disk"
    path.mkdir()
    with mounted(path) as is_mounted:
        if is_mounted:
            yield SmallDisk(path)
            return
        peers.missing.setdefault("a tmpfs of its own (small files stand in for it)", []).append(
            request.node.nodeid
        )
        files = SmallFiles(path)
        yield files
        files.free()


@pytest.fixture(params=[False, True], ids=["as it comes", "small files"])
def any_disk(request: pytest.FixtureRequest, disk: Disk) -> Iterator[Disk]:
    """The disk, and the way of those that can't mount one, so that both are known to work."""
    if not request.param or isinstance(disk, SmallFiles):
        yield disk
        return
    files = SmallFiles(disk.path)
    yield files
    files.free()


def full(error: pytest.ExceptionInfo[Error], disk: Disk) -> bool:
    """Whether a refusal says what it should, and nothing of where."""
    assert error.value.reason is Reason.DISK_FULL
    assert error.value.kind is Kind.RESOURCE_EXHAUSTED
    assert str(disk.path) not in error.value.message
    return True


# --- content


DATA = os.urandom(4 * CHUNK)
DIGEST = Digest.of(DATA)


def put(store: LocalContentStore) -> int:
    """Stores DATA; returns at which byte it went on."""
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        begun = ingest.offset
        for start in range(begun, len(DATA), CHUNK):
            ingest.write(DATA[start : start + CHUNK])
        ingest.commit()
    return begun


def test_a_disk_that_fills_up_during_a_blob(any_disk: Disk) -> None:
    disk = any_disk
    store = LocalContentStore(disk.path / "content")
    with store.ingest(DIGEST, DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:CHUNK])
    disk.fill()
    for _ in range(2):  # trying again changes nothing
        with pytest.raises(Error) as caught:
            put(store)
        assert full(caught, disk)
        assert store.find(DIGEST) is None
        assert list(store.blobs()) == []
        # What was written is kept, and the key is free.
        kept = store.partial(DIGEST)
        assert kept is not None
        assert CHUNK <= kept.size < len(DATA)
    disk.free()
    assert put(store) >= CHUNK
    assert store.read(DIGEST, len(DATA)) == DATA
    assert list(store.partials()) == []


def test_a_full_disk_still_reads_and_deletes(any_disk: Disk) -> None:
    disk = any_disk
    store = LocalContentStore(disk.path / "content")
    put(store)
    disk.fill()
    assert store.verify(DIGEST)
    assert store.delete(DIGEST) == len(DATA)
    # What was deleted is room.
    if isinstance(disk, SmallDisk):
        assert put(store) == 0
    disk.free()


def test_no_room_for_another_file(disk: Disk) -> None:
    """A file system has so many and no more, however small they are."""
    if not isinstance(disk, SmallDisk):
        return  # the unit test of the store fails the system call instead
    store = LocalContentStore(disk.path / "content")
    crowd = disk.path / "crowd"
    crowd.mkdir()
    with suppress(OSError):
        for number in range(FILES):
            (crowd / str(number)).touch()
    with pytest.raises(Error) as caught:
        store.ingest("key")
    assert full(caught, disk)
    for one in crowd.iterdir():
        one.unlink()
    assert put(store) == 0


def test_no_room_for_a_new_store(disk: Disk) -> None:
    if not isinstance(disk, SmallDisk):
        return  # a store without blobs fits into small files
    disk.fill()
    with pytest.raises(Error) as caught:
        LocalContentStore(disk.path / "content")
    assert full(caught, disk)
    disk.free()
    store = LocalContentStore(disk.path / "content")
    assert put(store) == 0
    assert (disk.path / "content" / "oci-layout").read_text() == '{"imageLayoutVersion":"1.0.0"}'


# --- metadata


def add(content: str, padding: int = 0) -> Callable[[WriteSession], None]:
    def run(session: WriteSession) -> None:
        labels = {"padding": "x" * padding}
        names = (tag(f"a.b/x:{content}"),)
        session.put_image(image_record(content, names=names, labels=labels), (), ())

    return run


async def uids(store: SqliteMetadataStore) -> list[str]:
    def look(session: ReadSession) -> list[str]:
        images = [image for _, image in session.list_images(None, 1000)]
        assert session.count_images() == len(images)
        assert all(len(image.names) == 1 for image in images)
        return sorted(image.uid for image in images)

    return await store.read(look)


async def test_a_disk_that_fills_up_during_a_commit(any_disk: Disk) -> None:
    disk = any_disk
    path = disk.path / "metadata.db"
    store = await SqliteMetadataStore.open(path)
    await store.write(add("1"))
    disk.fill()
    for _ in range(2):
        with pytest.raises(Error) as caught:
            await store.write(add("2", SIZE // 8))
        assert full(caught, disk)
        assert await uids(store) == ["UID1"]
    # Each of those who waited together is refused for itself.
    async with BusyWriter(store):
        writes = asyncio.gather(
            *(store.write(add(str(number), SIZE // 8)) for number in range(3, 6)),
            return_exceptions=True,
        )
        await asyncio.sleep(0)
    refusals = await writes
    assert [getattr(one, "reason", None) for one in refusals] == [Reason.DISK_FULL] * 3
    assert len({id(one) for one in refusals}) == 3
    assert await uids(store) == ["UID1"]
    disk.free()
    await store.write(add("2", SIZE // 8))
    await store.write(lambda session: session.delete_image("UID1"))
    assert await uids(store) == ["UID2"]
    await store.close()
    # And it is so on disk.
    again = await SqliteMetadataStore.open(path)
    assert await uids(again) == ["UID2"]
    assert await again.verify() == []
    await again.close()


async def test_a_store_opens_on_a_full_disk_or_says_why(any_disk: Disk) -> None:
    disk = any_disk
    path = disk.path / "metadata.db"
    store = await SqliteMetadataStore.open(path)
    await store.write(add("1"))
    await store.close()
    disk.fill()
    try:
        store = await SqliteMetadataStore.open(path)
        assert await uids(store) == ["UID1"]
        await store.close()
    except Error as error:
        assert error.reason is Reason.DISK_FULL  # noqa: PT017 - either will do
    with pytest.raises(Error) as caught:
        await SqliteMetadataStore.open(disk.path / "new.db")
    assert full(caught, disk)
    disk.free()
    for name, expected in (("metadata.db", ["UID1"]), ("new.db", [])):
        store = await SqliteMetadataStore.open(disk.path / name)
        assert await uids(store) == expected
        await store.close()


async def test_the_whole_store_checks_out_afterwards(any_disk: Disk) -> None:
    disk = any_disk
    content = LocalContentStore(disk.path / "content")
    metadata = await SqliteMetadataStore.open(disk.path / "metadata.db")
    disk.fill()
    with pytest.raises(Error):
        put(content)
    with pytest.raises(Error):
        await metadata.write(add("1", SIZE // 8))
    disk.free()
    found = check_store(metadata, content, verify_content=True)
    assert [problem async for _, problems in found for problem in problems] == []
    await metadata.close()

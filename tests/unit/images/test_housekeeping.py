"""What the daemon does by itself: when, in which order, and what stops it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from imgd_server.errors import Error, Reason
from imgd_server.images import Housekeeper, HousekeepingConfig, Water, describe
from imgd_server.metadata import (
    ContainerRecord,
    EventRecord,
    ImageRecord,
    KeptAnswer,
    SqliteMetadataStore,
    WriteSession,
)
from imgd_server.oci import Descriptor, Digest, Platform
from imgd_server.rootfs import AppliedLayer, LayerStats, SnapshotStore
from tests.fake_images import make_image
from tests.records import lease_record, tag, transfer_record
from tests.unit.images.conftest import Shelf

# A net for what should happen by itself.
PATIENCE = 90.0
SECOND = 1_000_000
START = 1000 * SECOND
SIZE = 100_000
AMD64 = Platform("linux", "amd64")


class Clock:
    """Time that stands still."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class Disk(Shelf):
    """A store on a disk on which other programs have so much."""

    total, others = 10 * SIZE, 0

    def room(self) -> tuple[int, int]:
        used = sum(info.size for info in self.blobs())
        return self.total, self.total - self.others - used


@pytest.fixture
async def metadata(tmp_path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    yield store
    await store.close()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "content")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(autouse=True)
def logs() -> Iterator[list[Any]]:
    with capture_logs() as found:
        yield found


async def add(
    metadata: SqliteMetadataStore, shelf: Shelf, name: str, used: int, size: int = SIZE
) -> ImageRecord:
    """An image of about `size` bytes under a name, used so many seconds before the start."""
    layer = (name.encode() * size)[:size]
    image = make_image([layer], layer_type="application/vnd.oci.image.layer.v1.tar")
    found = describe(shelf, shelf.add(image), AMD64)

    def show(session: WriteSession) -> ImageRecord:
        record = session.put_image(found.record, found.platforms, found.blobs)
        session.put_name(tag(f"registry.test/{name}:1"), record.uid)
        session.touch_image(record.uid, START - used * SECOND)
        return record

    return await metadata.write(show)


async def names(metadata: SqliteMetadataStore) -> str:
    """The names that are left, each of one letter."""
    found = await metadata.read(lambda session: session.list_images(None, 100))
    return "".join(sorted(name.repository[-1] for _, one in found for name in one.names))


async def history(metadata: SqliteMetadataStore) -> list[tuple[str, str]]:
    found = await metadata.read(lambda session: session.events(0, None, 1000))
    return [(one.kind, one.action) for one in found]


def keeper(metadata: SqliteMetadataStore, disk: Shelf, clock: Clock, **config: Any) -> Housekeeper:
    settings = {"grace": 10.0, "interval": 0.01, "collect_delay": 0.0, **config}
    return Housekeeper(metadata, disk, clock, HousekeepingConfig(**settings))


# --- water marks


@pytest.mark.parametrize(
    ("mark", "excess"),
    [
        (Water(), 0),
        (Water(share=0.5), 20),
        (Water(share=0.9), -20),
        (Water(size=30), 10),
        (Water(size=60), -20),
    ],
)
def test_how_much_is_too_much(mark: Water, excess: int) -> None:
    assert mark.excess(100, 30, 40) == excess


@pytest.mark.parametrize(
    ("high", "low"),
    [
        (Water(share=0.35), Water(share=0.25)),
        (Water(size=int(3.5 * SIZE)), Water(size=int(2.5 * SIZE))),
    ],
    ids=["share", "size"],
)
async def test_the_one_unused_for_longest_goes_first(
    metadata: SqliteMetadataStore,
    disk: Disk,
    clock: Clock,
    logs: list[Any],
    high: Water,
    low: Water,
) -> None:
    house = keeper(metadata, disk, clock, high=high, low=low)
    for name, used in (("a", 300), ("b", 500), ("c", 400)):
        await add(metadata, disk, name, used)
    assert await house.make_room() == 0
    assert await names(metadata) == "abc"
    await add(metadata, disk, "d", 200)
    assert await house.make_room() == 2
    assert await names(metadata) == "ad"
    assert sum(info.size for info in disk.blobs()) < 2.1 * SIZE
    evicted = [("IMAGE", "untag"), ("IMAGE", "evict"), ("IMAGE", "delete")]
    assert await history(metadata) == [*evicted, *evicted, ("COLLECTION", "collect")]
    assert [one["names"] for one in logs if one["event"] == "image evicted"] == [
        ["registry.test/b:1"],
        ["registry.test/c:1"],
    ]


async def test_what_is_held_or_wanted_is_not_taken(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock, logs: list[Any]
) -> None:
    images = {name: await add(metadata, disk, name, 900) for name in "abc"}
    await add(metadata, disk, "d", 5)
    await add(metadata, disk, "e", 100)

    def hold(session: WriteSession) -> None:
        session.set_pinned(images["a"].uid, True)
        session.put_lease(lease_record("l", 2 * START, images=(images["b"].uid,)))
        session.put_container(
            ContainerRecord("c", images["c"].uid, "c", images["c"].image_id, "EXITED", START)
        )

    await metadata.write(hold)
    house = keeper(metadata, disk, clock, high=Water(size=1), low=Water(size=1))
    assert await house.make_room() == 1
    assert await names(metadata) == "abcd"
    # That no more can be done is said once, and looked at cheaply.
    assert await house.make_room() == 0
    warnings = [one for one in logs if one["log_level"] == "warning"]
    assert [one["event"] for one in warnings] == ["the disk is too full, and no image can be taken"]
    collected = [one for one in logs if one["event"] == "collected"]
    assert len(collected) == 2
    # The one that was used a moment ago goes when the moment is over.
    clock.now += 10 * SECOND
    assert await house.make_room() == 1
    assert await names(metadata) == "abc"


async def test_more_leased_images_than_are_taken_at_once(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgd_server.images._housekeeping._EVICTED_AT_ONCE", 2)
    held = [(await add(metadata, disk, name, 900, 1000)).uid for name in "abc"]
    await add(metadata, disk, "d", 100)
    await metadata.write(
        lambda session: session.put_lease(lease_record("l", START + 1, images=tuple(held)))
    )
    house = keeper(metadata, disk, clock, high=Water(size=SIZE), low=Water(size=SIZE))
    assert await house.make_room() == 1
    assert await names(metadata) == "abc"


async def test_garbage_goes_before_images(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock
) -> None:
    await add(metadata, disk, "a", 900)
    disk.put(b"g" * 3 * SIZE)
    house = keeper(metadata, disk, clock, high=Water(share=0.3), low=Water(share=0.2))
    assert await house.make_room() == 0
    assert await names(metadata) == "a"
    assert sum(info.size for info in disk.blobs()) < 2 * SIZE


async def test_what_failed_transfers_left_goes_before_images(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock
) -> None:
    def leave(uid: str, data: bytes, **fields: Any) -> Callable[[WriteSession], None]:
        left = lease_record(f"transfer:{uid}", 2 * START, digests=(Digest.of(data),))
        disk.put(data)

        def put(session: WriteSession) -> None:
            session.put_transfer(transfer_record(uid, **fields))
            session.put_lease(left)

        return put

    failed = {"state": "FAILED", "ended": START}
    await add(metadata, disk, "a", 900)
    await metadata.write(leave("RUNS", b"r" * SIZE))
    await metadata.write(leave("FAILED", b"f" * SIZE, **failed))
    garbage = disk.put(b"g" * SIZE)
    house = keeper(metadata, disk, clock, high=Water(share=0.35), low=Water(share=0.32))
    # While it is enough that garbage goes, it stays for who resumes.
    assert await house.make_room() == 0
    assert disk.find(garbage) is None
    assert disk.find(Digest.of(b"f" * SIZE))
    house = keeper(metadata, disk, clock, high=Water(share=0.25), low=Water(share=0.22))
    assert await house.make_room() == 0
    assert disk.find(Digest.of(b"f" * SIZE)) is None
    assert disk.find(Digest.of(b"r" * SIZE))
    assert await names(metadata) == "a"
    # Also when it was full before, and there is no image to take.
    house = keeper(metadata, disk, clock, high=Water(share=0.01), low=Water(share=0.01))
    assert await house.make_room() == 1
    await metadata.write(leave("AGAIN", b"f" * SIZE, **failed))
    assert await house.make_room() == 0
    assert disk.find(Digest.of(b"f" * SIZE)) is None
    assert disk.find(Digest.of(b"r" * SIZE))


async def test_a_size_is_of_all_that_is_stored(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock
) -> None:
    """What a transfer holds and has not finished counts as well as images do."""
    await add(metadata, disk, "a", 900)
    held = disk.put(b"h" * SIZE)
    with disk.ingest("upload:1") as ingest:
        ingest.write(bytes(SIZE))

    def hold(session: WriteSession) -> None:
        session.put_lease(lease_record("l", 2 * START, digests=(held,)))
        session.put_lease(lease_record("upload:1", 2 * START))

    await metadata.write(hold)
    high = Water(size=4 * SIZE)
    assert await keeper(metadata, disk, clock, high=high, low=high).make_room() == 0
    high = Water(size=int(2.5 * SIZE))
    assert await keeper(metadata, disk, clock, high=high, low=high).make_room() == 1
    assert disk.find(held)


async def test_unpacked_layers_count_as_stored_and_as_freed(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    snapshots = SnapshotStore(tmp_path / "snapshots", "copy")

    def unpacked(session: WriteSession, uid: str, chain: Digest) -> None:
        session.add_snapshots(uid, [chain])
        session.set_unpacked_size(uid, SIZE)

    for name, used in (("a", 900), ("b", 800)):
        image = await add(metadata, disk, name, used, SIZE // 10)
        chain = Digest.of(name.encode())
        draft = snapshots.claim(chain)
        assert draft
        snapshots.commit(draft, None, AppliedLayer(chain, LayerStats(file_bytes=SIZE)))
        await metadata.write(lambda session: unpacked(session, image.uid, chain))  # noqa: B023
    mark = Water(size=int(1.5 * SIZE))
    config = HousekeepingConfig(grace=10.0, high=mark, low=mark)
    house = Housekeeper(metadata, disk, clock, config, [snapshots])
    assert await house.make_room() == 1
    assert await names(metadata) == "b"


async def test_layers_that_others_need_free_nothing(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock
) -> None:
    """Taking an image whose layers another one has does not help; the next one is taken too."""
    await add(metadata, disk, "a", 900)
    first = await metadata.read(lambda session: session.image_by_name("registry.test/a:1"))
    assert first
    blobs = await metadata.read(lambda session: session.image_blobs(first.uid))
    await metadata.write(
        lambda session: session.put_image(
            ImageRecord(
                **{
                    **{name: getattr(first, name) for name in first.__slots__},
                    "uid": "TWIN",
                    "target": Descriptor(first.target.media_type, Digest.of(b"twin"), 4),
                    "names": (tag("registry.test/b:1"),),
                    "last_used": START - 800 * SECOND,
                }
            ),
            (),
            blobs,
        )
    )
    await add(metadata, disk, "c", 700)
    house = keeper(metadata, disk, clock, high=Water(size=SIZE), low=Water(size=int(1.5 * SIZE)))
    assert await house.make_room() == 2
    assert await names(metadata) == "c"


# --- time


async def test_what_is_over_ends(metadata: SqliteMetadataStore, disk: Disk, clock: Clock) -> None:
    def put(session: WriteSession) -> None:
        session.put_lease(lease_record("over", START))
        session.put_lease(lease_record("holds", START + 1))
        session.put_transfer(transfer_record("OVER", state="FAILED", expires=START))
        session.put_transfer(transfer_record("KEPT", state="FAILED", expires=START + 1))
        session.keep_answer(KeptAnswer("over", "", b"", START))
        session.keep_answer(KeptAnswer("kept", "", b"", START + 1))
        for age in (61, 59):
            session.add_event(EventRecord("IMAGE", "pull", f"images/{age}", START - age * SECOND))

    await metadata.write(put)
    await keeper(metadata, disk, clock, event_retention=60.0).expire()

    def left(session: WriteSession) -> list[object]:
        return [
            session.lease("over") is None,
            session.lease("holds") is None,
            session.transfer("OVER") is None,
            session.transfer("KEPT") is None,
            session.kept_answer("over") is None,
            session.kept_answer("kept") is None,
            [one.subject for one in session.events(0, None, 10)],
        ]

    assert await metadata.write(left) == [
        *(True, False, True, False, True, False),
        ["images/59", "leases/over"],
    ]


async def test_the_history_is_kept_by_number(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock
) -> None:
    def put(session: WriteSession) -> None:
        for number in range(10):
            session.add_event(EventRecord("IMAGE", "pull", f"images/{number}", START))

    await metadata.write(put)
    await keeper(metadata, disk, clock, event_limit=3).expire()
    assert len(await history(metadata)) == 3


# --- the tasks


@asynccontextmanager
async def working(house: Housekeeper) -> AsyncIterator[None]:
    house.start()
    try:
        async with asyncio.timeout(PATIENCE):
            yield
    finally:
        await asyncio.wait_for(house.close(), PATIENCE)


async def until(check: Callable[[], bool]) -> None:
    while not check():
        await asyncio.sleep(0.005)


async def test_a_removal_is_followed_by_a_collection(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock
) -> None:
    image = await add(metadata, disk, "a", 5)
    house = keeper(metadata, disk, clock, interval=3600.0)

    def remove(session: WriteSession) -> None:
        session.delete_image(image.uid)
        session.add_event(EventRecord("IMAGE", "delete", f"images/{image.uid}", START))

    async with working(house):
        await until(lambda: house._feed._reading is not None)
        await metadata.write(remove)
        await until(lambda: not [*disk.blobs()])


async def test_what_was_discarded_before_a_kill_is_freed_after_the_start(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    disk.discard(disk.put(b"too large to be freed at once" * 50_000))
    assert [*(tmp_path / "content" / "trash").iterdir()]
    async with working(keeper(metadata, disk, clock, interval=3600.0)):
        await until(lambda: not [*(tmp_path / "content" / "trash").iterdir()])


async def test_what_has_a_time_ends_then_and_not_with_the_next_look(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgd_server.images._housekeeping._PRECISION", 0.01)
    image = await add(metadata, disk, "a", 5)

    def put(session: WriteSession) -> None:
        expires = START + SECOND // 10
        session.put_lease(lease_record("l", expires))
        session.put_container(
            ContainerRecord("c", image.uid, "a", "", "RUNNING", START, heartbeat=1, expires=expires)
        )

    async with working(keeper(metadata, disk, clock, interval=3600.0)):
        # It has looked, and found nothing that ends.
        await until(lambda: metadata._change is not None)
        await metadata.write(put)
        clock.now += SECOND
        while ("CONTAINER", "die") not in await history(metadata):
            await asyncio.sleep(0.005)
    assert ("LEASE", "delete") in await history(metadata)


async def test_collections_come_by_themselves(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock
) -> None:
    house = keeper(metadata, disk, clock, collect_interval=0.02)
    async with working(house):
        for number in range(2):
            disk.put(b"%d" % number)
            await until(lambda: not [*disk.blobs()])


@pytest.mark.parametrize("defect", [False, True])
async def test_one_failure_does_not_end_the_house_keeping(
    metadata: SqliteMetadataStore,
    disk: Disk,
    clock: Clock,
    logs: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    defect: bool,
) -> None:
    read, write = metadata.read, metadata.write

    async def fail(_: object) -> object:
        raise ZeroDivisionError if defect else Error(Reason.TOO_BUSY, "held by a backup")

    house = keeper(metadata, disk, clock, collect_interval=0.02)
    disk.put(b"garbage")
    with monkeypatch.context() as patch:
        patch.setattr(metadata, "read", fail)
        patch.setattr(metadata, "write", fail)
        house.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await until(lambda: sum("failed" in one["event"] for one in logs) > 5)
                metadata.read, metadata.write = read, write  # type: ignore[method-assign]
                await until(lambda: not [*disk.blobs()])
        finally:
            await house.close()
    assert {one["log_level"] for one in logs if "failed" in one["event"]} == {"error"}


async def test_what_was_unpacked_becomes_durable(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock, tmp_path: Path
) -> None:
    snapshots, chain = SnapshotStore(tmp_path / "snapshots", "copy"), Digest.of(b"layer")
    draft = snapshots.claim(chain)
    assert draft
    snapshots.commit(draft, None, AppliedLayer(chain, LayerStats()))
    unsynced = tmp_path / "snapshots" / "copy" / "unsynced"
    assert unsynced.exists()
    config = HousekeepingConfig(interval=0.01)
    async with working(Housekeeper(metadata, disk, clock, config, [snapshots])):
        await until(lambda: not unsynced.exists())
    assert snapshots.has(chain)


async def test_closing_does_not_wait_for_a_collection(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, goes_on = threading.Event(), threading.Event()

    def slow() -> Iterator[Digest]:
        reached.set()
        assert goes_on.wait(PATIENCE)
        yield from ()

    monkeypatch.setattr(disk, "digests", slow)
    house = keeper(metadata, disk, clock)
    callers = [asyncio.create_task(house.collect()) for _ in range(2)]
    assert await asyncio.to_thread(reached.wait, PATIENCE)
    await house.close()
    for caller in (*callers, asyncio.create_task(house.collect())):
        with pytest.raises(Error) as caught:
            await caller
        assert caught.value.reason is Reason.SHUTTING_DOWN
    goes_on.set()


async def test_those_who_wait_for_a_collection_share_the_next(
    metadata: SqliteMetadataStore,
    disk: Disk,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    logs: list[Any],
) -> None:
    digests, reached, goes_on = disk.digests, threading.Event(), threading.Event()

    def slow() -> Iterator[Digest]:
        reached.set()
        assert goes_on.wait(PATIENCE)
        yield from digests()

    monkeypatch.setattr(disk, "digests", slow)
    house = keeper(metadata, disk, clock)
    first = asyncio.create_task(house.collect())
    assert await asyncio.to_thread(reached.wait, PATIENCE)
    real = [asyncio.create_task(house.collect()) for _ in range(20)]
    dry = [asyncio.create_task(house.collect(dry_run=True)) for _ in range(20)]
    await asyncio.sleep(0)
    # One that leaves takes it from nobody.
    real.pop(0).cancel()
    goes_on.set()
    await first
    assert len({id(one) for one in await asyncio.gather(*real)}) == 1
    assert len({id(one) for one in await asyncio.gather(*dry)}) == 1
    assert [one["dry_run"] for one in logs if one["event"] == "collected"] == [False, False, True]
    # And whoever comes later has one of his own, which sees what came since.
    disk.put(b"garbage")
    assert (await house.collect()).deleted_blobs == 1


async def test_a_caller_who_leaves_does_not_stop_a_collection(
    metadata: SqliteMetadataStore, disk: Disk, clock: Clock
) -> None:
    disk.put(b"garbage")
    house = keeper(metadata, disk, clock)
    caller = asyncio.create_task(house.collect())
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    async with asyncio.timeout(PATIENCE):
        await until(lambda: not [*disk.blobs()])
    await house.close()

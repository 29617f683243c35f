"""Whether there is room for a pull, and that what it shows is held before it is shown."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import _describe as describing
from imgd_server.images import collect
from imgd_server.metadata import EventRecord
from imgd_server.oci import Descriptor, Digest, Platform
from imgd_server.transfer import _room as room
from imgd_server.transfer import now_us
from imgd_server.transfer._room import RESERVE, Room
from tests.fake_images import make_image, make_index
from tests.unit.transfer.fakes import (
    HOST,
    Gate,
    Lab,
    Trick,
    layer_of,
    layered,
    outcome_of,
    spec_for,
)

APP = f"{HOST}/app:1"
OCTETS = "application/octet-stream"


def blob(content: str, size: int) -> Descriptor:
    return Descriptor(OCTETS, Digest.of(content.encode()), size)


class Small(LocalContentStore):
    """A store on a disk of which so much is free."""

    free = 0

    def room(self) -> tuple[int, int]:
        return 1 << 40, self.free


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small(tmp_path / "small")


async def refused(space: Room, *targets: Descriptor) -> dict[str, str]:
    with pytest.raises(Error) as caught:
        async with space.claim(targets):
            pass
    assert (caught.value.reason, caught.value.origin) == (Reason.DISK_FULL, Origin.DESTINATION)
    return caught.value.metadata


async def test_pulls_count_each_others_need_and_each_blob_once(small: Small) -> None:
    space = Room(small)
    small.free = RESERVE + 100
    async with space.claim([blob("a", 60)]):
        # The same blob, and what fits beside it.
        async with space.claim([blob("a", 60), blob("b", 40)]):
            assert await refused(space, blob("c", 1)) == {
                "needed_bytes": str(RESERVE + 101),
                "free_bytes": str(RESERVE + 100),
            }
        assert await refused(space, blob("c", 41)) != {}
    async with space.claim([blob("c", 100)]):
        pass
    assert await refused(space, blob("c", 1 << 62))


async def test_what_is_here_needs_no_room(small: Small) -> None:
    space = Room(small)
    small.free = RESERVE + 4
    with small.ingest(blob("half", 10).digest) as ingest:
        ingest.write(b"123456")
        async with space.claim([blob("half", 10)]):
            pass
        assert await refused(space, blob("half", 11))
    with small.ingest("x") as ingest:
        ingest.write(b"whole")
        here = Descriptor(OCTETS, ingest.commit(Digest.of(b"whole")).digest, 5)
    small.free = 0
    async with space.claim([here]):
        pass


async def test_of_two_that_come_at_once_one_has_its_room(small: Small) -> None:
    space = Room(small)
    small.free = RESERVE + 100
    done = asyncio.Event()

    async def one(name: str) -> bool:
        try:
            async with space.claim([blob(name, 60)]):
                await done.wait()
                return True
        except Error:
            done.set()
            return False

    async with asyncio.timeout(90):
        assert sorted(await asyncio.gather(one("a"), one("b"))) == [False, True]


async def test_a_pull_without_room_ends_before_its_first_layer(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = layered(5000, 7000)
    lab.registry.push(image, APP)
    monkeypatch.setattr(room, "RESERVE", 1 << 62)
    record = await lab.pull()
    failure = outcome_of(record).failure
    assert failure
    assert (failure.reason, failure.origin, failure.reference) == (
        Reason.DISK_FULL,
        Origin.DESTINATION,
        APP,
    )
    assert int(failure.metadata["needed_bytes"]) > int(failure.metadata["free_bytes"])
    digests = {layer_of(image, number)[0] for number in range(2)}
    assert not digests & {one.digest for one in lab.content.blobs()}
    assert list(lab.content.partials()) == []
    assert await lab.names() == {}
    monkeypatch.setattr(room, "RESERVE", 0)
    assert (await lab.pull()).state == "SUCCEEDED"


# --- what is shown is held


async def test_what_others_left_of_an_index_is_held_before_it_is_shown(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = Platform.host()
    own = make_image([b"own"], os=host.os, architecture=host.architecture)
    other = make_image([b"other"], architecture="s390x")
    index = make_index(
        [
            (own, {"os": host.os, "architecture": host.architecture}),
            (other, {"os": "linux", "architecture": "s390x"}),
        ]
    )
    lab.registry.push(index, APP)
    # Left by a pull that was cut off, say; nobody holds it.
    left = {**other.blobs, other.digest: other.raw}
    for digest, data in left.items():
        with lab.content.ingest(digest) as ingest:
            ingest.write(data)
            ingest.commit(Digest(digest))
    original = describing.describe
    seen: list[int] = []

    def describe(*arguments: object) -> object:
        found = original(*arguments)  # type: ignore[arg-type]
        # As soon as it is seen, somebody collects.
        loop_run(collect(lab.metadata, lab.content, now_us, dry_run=False))
        seen.append(1)
        return found

    loop = asyncio.get_running_loop()

    def loop_run(work: object) -> None:
        asyncio.run_coroutine_threadsafe(work, loop).result(30)  # type: ignore[arg-type]

    monkeypatch.setattr(describing, "describe", describe)
    assert (await lab.pull()).state == "SUCCEEDED"
    assert len(seen) == 2
    image = await lab.metadata.read(lambda session: session.image_by_name(APP))
    assert image
    blobs = await lab.metadata.read(lambda session: session.image_blobs(image.uid))
    for one in blobs:
        assert one.stored == (lab.content.find(one.digest) is not None), one.digest
    assert not image.complete
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert {one.digest for one in blobs if one.stored} == {
        one.digest for one in lab.content.blobs()
    }


# --- what the history tells


async def history(lab: Lab) -> list[EventRecord]:
    found = await lab.metadata.read(lambda session: session.events(0, None, 100))
    return [one for one in found if one.kind == "TRANSFER"]


async def test_the_history_tells_of_transfers(lab: Lab) -> None:
    image = layered(10)
    lab.registry.push(image, APP)
    done = await lab.pull()
    failed = await lab.pull(f"{HOST}/none:1")
    start, finish, other, failure = await history(lab)
    assert {one.subject for one in (start, finish)} == {f"transfers/{done.uid}"}
    assert {one.subject for one in (other, failure)} == {f"transfers/{failed.uid}"}
    assert start.attributes == {"name": APP, "familiar": APP, "attempt": "1"}
    outcome = outcome_of(done)
    assert finish.attributes == {
        "name": APP,
        "familiar": APP,
        "state": "succeeded",
        "fetched_bytes": str(outcome.fetched_bytes),
        "digest": image.digest,
        "image": f"images/{outcome.image}",
        "image_id": image.image_id,
    }
    assert (failure.action, failure.attributes["state"]) == ("finish", "failed")
    assert failure.attributes["reason"] == "REMOTE_NOT_FOUND"


async def test_the_history_tells_of_each_attempt(lab: Lab) -> None:
    image = layered(1000)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(layer_of(image)[0], Trick(gate=gate, at=10))
    record = await lab.manager.start(spec_for())
    await gate.reached()
    await lab.manager.cancel(record.uid)
    gate.open()
    await lab.manager.resume(record.uid, None)
    await lab.end(record.uid)
    told = [
        (one.action, one.attributes.get("attempt") or one.attributes["state"])
        for one in await history(lab)
    ]
    assert told == [
        ("start", "1"),
        ("finish", "cancelled"),
        ("start", "2"),
        ("finish", "succeeded"),
    ]

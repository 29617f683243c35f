"""Large blobs by parts: which parts there are, who fetches them, and what faults come to."""

from __future__ import annotations

import asyncio
import errno
import random
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import pytest

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.registry import Cancellation, Privacy, RangeStream
from imgd_server.transfer import Node, RangesConfig
from imgd_server.transfer._flight import Flight, Slots
from imgd_server.transfer._lanes import Lane
from imgd_server.transfer._ranges import Part, Parts, Ranges
from imgd_server.transfer._rates import Rates
from imgd_server.transfer._widening import Widening
from tests.fake_images import FakeImage
from tests.unit.transfer.fakes import (
    HOST,
    PATIENCE,
    Gate,
    Lab,
    Trick,
    layer_of,
    layered,
    open_lab,
    outcome_of,
    spec_for,
)

MB = 1 << 20
SIZE = 1_000_000
PART = 100_000
DATA = bytes(range(250)) * (SIZE // 250)
CONFIG = RangesConfig(threshold=SIZE, part=PART, streams=4)
HONEST = Trick()


# --- which parts there are


@pytest.mark.parametrize("seed", range(40))
def test_parts_are_what_is_missing_each_once(seed: int) -> None:
    order = random.Random(seed)
    size, length = order.randint(1, 1000), order.randint(20, 300)
    marks = sorted(order.sample(range(size + 1), k=min(order.randint(0, 8), size)))
    there = [*pairwise(marks)][::2]
    parts, now = Parts(size, there, length), 0.0
    got = [one for start, end in there for one in range(start, end)]
    running: list[Part] = []
    while not parts.complete:
        now += 0.01
        if part := parts.next(now):
            assert part.begin < part.end
            running.append(part)
        assert running
        if order.random() < 0.6:
            done = running.pop(order.randrange(len(running)))
            # Some fail on the way; what they have brought is not fetched again.
            done.place = order.choice([done.end, done.end, (done.begin + done.end) // 2])
            got += range(done.begin, done.place)
            parts.ended(done, now)
    assert sorted(got) == [*range(size)]


def test_parts_are_longer_for_who_is_quick() -> None:
    parts = Parts(1000, [], 10)
    first = parts.next(0.0)
    assert first
    assert (first.begin, first.end) == (0, 10)
    first.place = first.end
    parts.ended(first, 0.4)
    second = parts.next(0.5)
    assert second
    assert (second.begin, second.end) == (10, 35)  # 25 bytes a second
    second.place = second.end
    parts.ended(second, 0.5001)
    third = parts.next(0.6)
    assert third
    assert third.end - third.begin == 40


def test_the_pace_is_a_streams_and_goes_on_from_part_to_part() -> None:
    parts = Parts(1000, [], 100)
    assert parts.pace(0.0) == 0.0
    first, second = parts.next(0.0), parts.next(0.0)
    assert first
    assert second
    parts.came(first, 100, 0.4)
    assert parts.pace(0.4) == pytest.approx(125)
    parts.ended(first, 0.4)
    parts.ended(second, 0.4)
    assert parts.next(0.4)
    assert parts.pace(0.4) == pytest.approx(250)
    # It stands: what was before soon counts no more.
    assert parts.pace(1.4) == pytest.approx(250 * 0.2 / 1.2)


def test_a_short_tail_goes_with_what_is_before_it() -> None:
    part = Parts(122, [(0, 100)], 20).next(0.0)
    assert part
    assert (part.begin, part.end) == (100, 122)


def test_nobody_runs_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("imgd_server.transfer._ranges._AHEAD", 300)
    parts = Parts(1000, [], 100)
    first = [parts.next(0.0) for _ in range(3)]
    assert parts.next(0.0) is None
    assert first[0] is not None
    first[0].place = 50
    parts.ended(first[0], 1.0)
    again = parts.next(1.0)
    assert again
    assert (again.begin, again.end) == (50, 100)


def slow_and_quick(size: int = 1000) -> tuple[Parts, Part]:
    """One that stands still, and another one that has fetched a part in a second."""
    parts = Parts(size, [], 100)
    slow, quick = parts.next(0.0), parts.next(0.0)
    assert slow
    assert quick
    slow.host, slow.place = "one.io", 10
    for tenth in range(1, 11):
        parts.came(quick, 10, tenth / 10)
    parts.ended(quick, 1.0)
    return parts, slow


def test_nobody_is_slow_while_all_stand() -> None:
    parts, _ = slow_and_quick(300)
    fresh = parts.next(1.0)
    assert fresh
    assert parts.next(4.0) is None
    parts.came(fresh, 10, 4.0)
    assert parts.next(4.0) is None
    # What it lost to the pause, it is given: 2.5 s.
    parts.came(fresh, 10, 4.4)
    assert parts.next(4.4) is None
    assert parts.next(4.5)


def test_who_stands_for_long_is_slow_even_if_all_do() -> None:
    parts, slow = slow_and_quick(200)
    assert parts.next(6.9) is None
    twin = parts.next(7.0)
    assert twin
    assert twin.begin == slow.place


def test_a_slow_part_is_asked_for_again_elsewhere() -> None:
    parts, slow = slow_and_quick()
    fresh = parts.next(1.4)
    assert fresh
    assert fresh.begin == 200  # not yet
    parts.came(fresh, 1, 1.5)
    parts.came(fresh, 1, 2.0)
    twin = parts.next(2.0)
    assert twin
    assert (twin.begin, twin.end, twin.avoid) == (10, 100, "one.io")
    again = parts.next(2.0)
    assert again
    assert again.begin == 300  # once
    twin.place = twin.end
    parts.ended(twin, 2.5)
    assert slow.lost
    assert slow.cancellation.cancelled
    parts.ended(slow, 2.6)
    fresh.place, again.place = fresh.end, again.end
    parts.ended(fresh, 3.0)
    parts.ended(again, 3.0)
    last = parts.next(3.0)
    assert last
    assert last.begin == 400
    assert parts.left == 1000 - last.end


@pytest.mark.parametrize("first", ["slow", "twin"])
def test_when_one_of_two_fails_the_other_goes_on(first: str) -> None:
    parts, slow = slow_and_quick(200)
    twin = parts.next(7.0)
    assert twin
    twin.place = 70
    fails, stays = (slow, twin) if first == "slow" else (twin, slow)
    parts.ended(fails, 8.0)
    assert not stays.cancellation.cancelled
    assert parts.left == 0
    parts.ended(stays, 8.0)
    left = parts.next(8.0)
    assert left
    assert (left.begin, left.end) == (70, 100)


def test_the_slow_one_may_win() -> None:
    parts, slow = slow_and_quick(200)
    twin = parts.next(7.0)
    assert twin
    slow.place = slow.end
    parts.ended(slow, 7.5)
    assert twin.cancellation.cancelled
    parts.ended(twin, 7.5)
    assert parts.complete


def test_what_is_asked_for_again_is_bounded() -> None:
    parts, slow = slow_and_quick(200)
    now = 7.0
    again = 0
    while twin := parts.next(now):
        assert twin.begin == 10
        again += twin.end - twin.begin
        parts.ended(twin, now)  # it fails
        now += 10
    assert again == 2 * 90  # of two parts and a thirty-second
    assert parts.running == [slow]


class Standing:
    """A stream of a part of DATA, which stands behind its first byte until it is cancelled."""

    host, etag, private = "one.io", "", Privacy.NONE

    def __init__(self, begin: int, end: int, cancellation: Cancellation) -> None:
        self.offset, self.end, self._place = begin, end, begin
        self.stands, self._go_on = threading.Event(), threading.Event()
        cancellation.on_cancel(self._go_on.set)

    def readinto(self, buffer: memoryview) -> int:
        if self._place > self.offset:
            self.stands.set()
            assert self._go_on.wait(PATIENCE)
            raise Error(Reason.CANCELLED, "cut off")
        buffer[0] = DATA[self._place]
        self._place += 1
        return 1

    def close(self) -> None:
        pass


def test_nobody_writes_once_the_first_stream_has_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Digest.of(DATA)

    def open_part(begin: int, end: int, cancellation: Cancellation, _: str) -> RangeStream:
        stream = Standing(begin, end, cancellation)
        if begin == 0:
            helper.start()
            assert stands.wait(PATIENCE)
        else:
            stream.stands = stands
        return cast(RangeStream, stream)

    with LocalContentStore(tmp_path).ingest(digest, digest, len(DATA)) as ingest:
        ranges = Ranges(Flight[Any]("layer"), len(DATA), ingest, open_part, CONFIG)
        helper, stands = threading.Thread(target=ranges.help), threading.Event()
        write_at = ingest.write_at

        def broken(place: int, data: bytes) -> int:
            if place == 0:
                raise OSError(errno.EIO, "the disk is broken")
            return write_at(place, data)

        monkeypatch.setattr(ingest, "write_at", broken)
        with pytest.raises(OSError, match="broken"):
            ranges.run()
        assert ranges._helpers == 0
        helper.join(PATIENCE)


@pytest.mark.parametrize("seconds", [0.1, 0.4])
def test_another_stream_is_wanted_while_one_gets_little(tmp_path: Path, seconds: float) -> None:
    now, wanted = 0.0, []

    class Paced(Standing):
        def readinto(self, buffer: memoryview) -> int:
            nonlocal now
            if self._place > 0:
                wanted.append(ranges.wants())
            now += seconds
            got = DATA[self._place : min(self._place + 1000, self.end)]
            buffer[: len(got)] = got
            self._place += len(got)
            return len(got)

    def open_part(begin: int, end: int, cancellation: Cancellation, _: str) -> RangeStream:
        return cast(RangeStream, Paced(begin, end, cancellation))

    digest, config = Digest.of(DATA), RangesConfig(SIZE, PART, streams=4, enough=5000)
    with LocalContentStore(tmp_path).ingest(digest, digest, len(DATA)) as ingest:
        ranges = Ranges(Flight[Any]("layer"), len(DATA), ingest, open_part, config, lambda: now)
        ranges.run()
        ingest.commit()
    # Of the last part nothing is left for others.
    first = wanted[: (SIZE - PART) // 1000 - 1]
    assert set(first) == {seconds == 0.4}


# --- in a pull


async def until(met: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not met():
            await asyncio.sleep(0.005)


def prepared(lab: Lab, *sizes: int, seed: int = 1) -> tuple[FakeImage, str]:
    image = layered(*(sizes or (SIZE,)), seed=seed)
    lab.registry.push(image, f"{HOST}/app:1")
    lab.registry.piece = 10_000
    return image, layer_of(image)[0]


def stored(lab: Lab, image: FakeImage) -> bool:
    digest, data = layer_of(image)
    with lab.content.open(Digest(digest)) as reader:
        return reader.pread(len(data) + 1, 0) == data


async def test_streams_share_a_large_layer(tmp_path: Path) -> None:
    async with open_lab(tmp_path, ranges=CONFIG) as lab:
        image, digest = prepared(lab)
        gate = Gate()
        lab.registry.trick(digest, Trick(gate=gate, at=10_000))
        record = await lab.manager.start(spec_for())
        # The others bring all but the part of the one that stands.
        await until(lambda: lab.registry.served.get(digest, 0) == SIZE - PART + 10_000)
        found = lab.content.partial(digest)
        assert found
        assert found.size == SIZE - PART + 10_000
        gate.open()
        ended = await lab.end(record.uid)
        assert outcome_of(ended).failure is None
        assert stored(lab, image)
        assert lab.registry.served[digest] == SIZE
        assert not lab.registry.asked("blob", digest)
        assert 2 <= lab.registry.most_streams <= CONFIG.streams
        assert lab.content.partial(digest) is None


@dataclass
class Wanting:
    """Parts of which one more stream could bring some, as `Widening` sees them."""

    crowded: bool = False
    wanted: bool = True

    def wants(self) -> bool:
        return self.wanted and not self.crowded


async def admitted(
    *,
    taken: int = 1,
    waiting: int = 0,
    slots: int = 2,
    rate: int = 0,
    roomy: bool = True,
    wanted: bool = True,
) -> tuple[bool, bool]:
    """Whether one more stream is let in, and whether those that are there are to leave: with so
    many of a registry's two turns taken, so many more waited for, and so many slots of the transfer
    of which its first stream has one."""
    lane = Lane("blob", 4, 2)
    rates = Rates()
    rates.limit("one", rate)
    flight: Flight[None] = Flight("key", spare=Slots(slots), rates=rates, sharers=["one"])
    assert flight.spare
    async with AsyncExitStack() as stack:
        stack.callback(lane.executor.shutdown)
        await stack.enter_async_context(flight.spare)
        for _ in range(taken):
            await stack.enter_async_context(lane.take(HOST))
        others = [asyncio.ensure_future(take_a_turn(lane)) for _ in range(waiting)]
        await asyncio.sleep(0)
        ranges = Wanting(wanted=wanted)
        found = Widening(flight, lane, HOST, lambda: roomy).admits(cast("Ranges", ranges))
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    return found, ranges.crowded


async def take_a_turn(lane: Lane) -> None:
    async with lane.take(HOST):
        pass


async def test_one_more_stream_needs_room_everywhere() -> None:
    assert await admitted() == (True, False)
    assert await admitted(roomy=False) == (False, False)
    assert await admitted(slots=1) == (False, False)
    assert await admitted(rate=1 << 40) == (False, False)
    assert await admitted(wanted=False) == (False, False)
    assert await admitted(taken=2) == (False, False)
    assert await admitted(taken=2, waiting=1) == (False, True)


async def test_a_blob_that_is_there_waits_for_no_slot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another blob may have taken the one that a helper was to have."""
    flight: Flight[None] = Flight("key", spare=Slots(1))
    lane, ranges = Lane("test", 2, 2), cast("Ranges", Wanting())
    widening = Widening(flight, lane, HOST, lambda: True)
    monkeypatch.setattr(Widening, "admits", lambda *_: not flight.spare.waiting)  # type: ignore[union-attr]
    assert flight.spare
    async with asyncio.timeout(PATIENCE), flight.spare:
        async with widening.going_on():
            widening.ranges = ranges
            while not flight.spare.waiting:
                await asyncio.sleep(0.01)
        assert not flight.spare.waiting
    lane.executor.shutdown()


@pytest.mark.parametrize("why", ["small", "host", "concurrency", "registry", "rate"])
async def test_without_room_one_stream_brings_all(tmp_path: Path, why: str) -> None:
    more: dict[str, Any] = {"max_threads_per_registry": 1} if why == "registry" else {}
    async with open_lab(tmp_path, ranges=CONFIG, **more) as lab:
        image, digest = prepared(lab, SIZE - 1 if why == "small" else SIZE)
        lab.registry.roomy = why != "host"
        ended = await lab.pull(
            max_concurrency=1 if why == "concurrency" else 0,
            max_bytes_per_second=1 << 40 if why == "rate" else 0,
        )
        assert outcome_of(ended).failure is None
        assert stored(lab, image)
        assert bool(lab.registry.asked("blob", digest)) == (why == "small")
        assert bool(lab.registry.asked("range", digest)) == (why != "small")
        assert lab.registry.served[digest] == len(layer_of(image)[1])


async def test_blobs_that_wait_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who helps leaves when another layer comes that needs its place."""
    made: list[Ranges] = []

    class Watched(Ranges):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self)

    monkeypatch.setattr("imgd_server.transfer._fetch.Ranges", Watched)
    async with open_lab(tmp_path, ranges=CONFIG, max_threads_per_registry=2) as lab:
        image, digest = prepared(lab)
        first, second = Gate(), Gate()
        lab.registry.trick(
            digest, Trick(gate=first, at=10_000), Trick(gate=second, at=PART + 10_000)
        )
        record = await lab.manager.start(spec_for())
        await first.reached()
        await second.reached()
        other = layered(50, seed=9)
        lab.registry.push(other, f"{HOST}/other:1")
        small = await lab.manager.start(spec_for(f"{HOST}/other:1"))
        await until(lambda: made[0].crowded)
        asked = len(lab.registry.calls)
        second.open()
        assert outcome_of(await lab.end(small.uid)).failure is None
        blobs = [one for one in lab.registry.calls[asked:] if one.kind in ("blob", "range")]
        assert blobs[0].digest != digest
        first.open()
        assert outcome_of(await lab.end(record.uid)).failure is None
        assert stored(lab, image)


OTHER = bytes(SIZE)
FAULTS = {
    "the whole": Trick(ignores_range=True),
    "another tag": Trick(etag="other"),
    "a reset": Trick(cut=PART + 20_000),
    "an error": Trick(error=Error(Reason.REGISTRY_UNAVAILABLE, "500", host=HOST)),
    "no such blob": Trick(error=Error(Reason.REMOTE_NOT_FOUND, "404", host=HOST)),
    "a length": Trick(error=Error(Reason.SIZE_MISMATCH, "length", host=HOST)),
    "others' bytes": Trick(body=OTHER),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_a_second_stream_gets_wrong(tmp_path: Path, fault: str) -> None:
    async with open_lab(tmp_path, ranges=CONFIG) as lab:
        image, digest = prepared(lab)
        gate = Gate()
        lab.registry.trick(digest, Trick(gate=gate, at=10_000), FAULTS[fault])
        record = await lab.manager.start(spec_for())
        await until(lambda: len(lab.registry.asked("range", digest)) >= 2)
        gate.open()
        ended = await lab.end(record.uid)
        assert outcome_of(ended).failure is None
        assert stored(lab, image)
        served = lab.registry.served[digest]
        assert SIZE <= served <= SIZE * 2 + PART
        if fault in ("a reset", "an error", "no such blob"):
            assert served == SIZE


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_the_first_stream_gets_wrong(tmp_path: Path, fault: str) -> None:
    trick = FAULTS[fault]
    async with open_lab(tmp_path, ranges=CONFIG) as lab:
        image, digest = prepared(lab)
        lab.registry.trick(digest, trick)
        ended = await lab.pull()
        failure = outcome_of(ended).failure
        if fault == "no such blob":
            assert failure
            assert failure.reason is Reason.REMOTE_NOT_FOUND
            return
        assert failure is None
        assert stored(lab, image)
        bound = 2 * SIZE + PART if fault == "others' bytes" else SIZE + PART
        assert lab.registry.served[digest] <= bound
        if fault == "the whole":  # it is used
            assert lab.registry.served[digest] == SIZE


async def test_a_changed_tag_in_the_middle_is_one_stream_from_there(tmp_path: Path) -> None:
    alone = RangesConfig(threshold=SIZE, part=PART, streams=1)
    async with open_lab(tmp_path, ranges=alone) as lab:
        image, digest = prepared(lab)
        lab.registry.trick(digest, Trick(etag="a"), Trick(etag="a"), Trick(etag="b"))
        assert outcome_of(await lab.pull()).failure is None
        assert stored(lab, image)
        (last,) = lab.registry.asked("blob", digest)
        assert last.offset == lab.registry.asked("range", digest)[2].offset > 0
        assert lab.registry.served[digest] == SIZE


async def test_who_stands_still_is_overtaken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgd_server.transfer._ranges._GRACE", 0.0)
    monkeypatch.setattr("imgd_server.transfer._ranges._LOOK", 0.01)
    async with open_lab(tmp_path, ranges=CONFIG) as lab:
        image, digest = prepared(lab)
        never = Gate()
        lab.registry.trick(digest, HONEST, Trick(gate=never, at=0))
        # Where the second part begins depends on how quick the first one was.
        record = await lab.manager.start(spec_for())
        ended = await lab.end(record.uid)
        assert outcome_of(ended).failure is None
        assert stored(lab, image)


async def test_cancelled_with_gaps_and_resumed(tmp_path: Path) -> None:
    async with open_lab(tmp_path, ranges=CONFIG) as lab:
        image, digest = prepared(lab)
        lab.registry.trick(digest, Trick(gate=Gate(), at=10_000))
        record = await lab.manager.start(spec_for())
        there = SIZE - PART + 10_000
        await until(lambda: lab.registry.served.get(digest, 0) == there)
        assert (await lab.manager.cancel(record.uid)).state == "CANCELLED"
        found = lab.content.partial(digest)
        assert found
        assert found.size == there
        ended = await lab.pull()
        outcome = outcome_of(ended)
        assert outcome.failure is None
        assert stored(lab, image)
        assert lab.registry.served[digest] == SIZE
        first = lab.registry.asked("range", digest)[-1]
        assert first.offset == 10_000
        node = next(one for one in ended.nodes if one["node_id"] == digest)
        (download,) = Node.from_json(node).activities
        assert (download.resumed, download.current, download.moved) == (there, SIZE, SIZE - there)


async def test_bytes_of_several_that_are_wrong_are_dropped(tmp_path: Path) -> None:
    async with open_lab(tmp_path, ranges=CONFIG) as lab:
        _, digest = prepared(lab)
        lab.registry.trick(digest, *[Trick(body=OTHER)] * 60)
        failure = outcome_of(await lab.pull()).failure
        assert failure
        assert failure.reason is Reason.DIGEST_MISMATCH
        assert lab.content.partial(digest) is None

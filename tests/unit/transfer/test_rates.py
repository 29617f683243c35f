"""Bounds on bytes a second, by a clock that the test moves."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.registry import Cancellation, Credentials
from imgd_server.transfer import RangesConfig, RetryPolicy, TransferSpec
from imgd_server.transfer._flight import Flight
from imgd_server.transfer._lanes import Lanes
from imgd_server.transfer._ranges import Ranges
from imgd_server.transfer._rates import Bucket, Rates
from tests.unit.transfer.fakes import (
    HOST,
    Lab,
    Trick,
    layer_of,
    layered,
    open_lab,
    outcome_of,
    spec_for,
)
from tests.unit.transfer.taking import TO, copy_spec, open_taker, push_spec


class Clock:
    """Moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_bucket_gives_what_a_rate_allows(clock: Clock) -> None:
    bucket = Bucket(1000, clock)
    assert [bucket.take(500) for _ in range(3)] == [0.5, 1.0, 1.5]
    clock.now += 1.5
    assert bucket.take(100) == pytest.approx(0.1)


def test_a_pause_saves_up_little(clock: Clock) -> None:
    bucket = Bucket(1000, clock)
    clock.now += 3600
    assert bucket.take(250) == pytest.approx(0.0)
    assert bucket.take(1000) == pytest.approx(1.0)


def test_all_of_a_daemon_share_its_bound(clock: Clock) -> None:
    rates = Rates(1_000_000, clock, clock.sleep)
    begun, cancellation = clock.now, Cancellation()
    for number in range(100):
        rates.spend([f"t{number % 3}"], 50_000, cancellation)
    assert clock.now - begun == pytest.approx(5.0, abs=0.3)
    assert max(clock.slept) <= 0.2


def test_a_transfer_has_a_bound_of_its_own_until_its_end(clock: Clock) -> None:
    rates, begun = Rates(0, clock, clock.sleep), clock.now
    rates.limit("slow", 1000)
    rates.limit("free", 0)
    rates.spend(["free"], 10**9, Cancellation())
    assert clock.now == begun
    rates.spend(["slow"], 2000, Cancellation())
    assert clock.now - begun == pytest.approx(2.0)
    rates.forget("slow")
    rates.forget("never was")
    rates.spend(["slow"], 10**9, Cancellation())
    assert clock.now - begun == pytest.approx(2.0)


def test_shared_work_is_as_fast_as_the_most_generous_of_them(clock: Clock) -> None:
    rates = Rates(0, clock, clock.sleep)
    rates.limit("slow", 1000)
    rates.limit("fast", 10_000)
    assert rates.of(["slow"]) is not rates.of(["fast"])
    assert rates.of(["slow", "fast"]) is rates.of(["fast"])
    assert rates.of(["slow", "unbounded"]) is None
    assert rates.of([]) is None


@pytest.mark.parametrize(
    ("whole", "own", "portion"),
    [(0, 0, 1 << 19), (8 << 20, 0, 1 << 19), (80_000, 0, 10_000), (80_000, 40_000, 5000),
     (0, 1024, 4096)],
)  # fmt: skip
def test_pieces_fit_the_rate(clock: Clock, whole: int, own: int, portion: int) -> None:
    rates = Rates(whole, clock, clock.sleep)
    rates.limit("one", own)
    assert rates.portion(["one"], 1 << 19) == portion


def test_whoever_cancels_does_not_wait(clock: Clock) -> None:
    cancellation = Cancellation()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        cancellation.cancel()

    rates = Rates(1024, clock, sleep)
    with pytest.raises(Error) as caught:
        rates.spend(["one"], 1 << 20, cancellation)
    assert caught.value.reason is Reason.CANCELLED
    assert len(clock.slept) == 1


def test_bounded_blobs_wait_on_threads_of_their_own() -> None:
    rates = Rates()
    rates.limit("slow", 1000)
    lanes = Lanes(2, 1)
    try:
        flight: Flight[None] = Flight("key", rates=rates)
        flight.sharers.append("slow")
        assert flight.limited
        assert lanes.of(flight) is lanes.limited
        flight.sharers.append("free")
        assert lanes.of(flight) is lanes.blobs
    finally:
        lanes.close()


@pytest.mark.parametrize(
    ("rate", "asked", "at_once"),
    [(0, 0, 6), (0, 3, 3), (0, 64, 6), (1024, 0, 1), (1024, 4, 4)],
)
async def test_blobs_at_once(tmp_path: Path, rate: int, asked: int, at_once: int) -> None:
    async with open_lab(tmp_path) as lab:
        spec = spec_for(max_concurrency=asked, max_bytes_per_second=rate)
        assert lab.manager._engine.concurrency(spec) == at_once


def lane() -> str:
    """Whose thread this is."""
    return threading.current_thread().name.partition("_")[0]


async def paid(lab: Lab, spec: TransferSpec, clock: Clock) -> float:
    """Seconds that a transfer's bytes take, by the lab's clock."""
    begun = clock.now
    record = await lab.manager.start(spec)
    ended = await lab.end(record.uid)
    assert outcome_of(ended).failure is None
    assert not lab.manager._engine.flights.rates._own
    return clock.now - begun


@pytest.fixture
def by_the_clock(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Daemons whose bounds go by `clock`."""
    monkeypatch.setattr(
        "imgd_server.transfer._manager.Rates", lambda rate: Rates(rate, clock, clock.sleep)
    )


@pytest.mark.usefixtures("by_the_clock")
@pytest.mark.parametrize("parts", [False, True])
@pytest.mark.parametrize(("daemon", "own"), [(0, 50_000), (50_000, 0), (50_000, 1_000_000)])
async def test_a_pull_takes_as_long_as_its_bound_says(
    tmp_path: Path,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    daemon: int,
    own: int,
    parts: bool,
) -> None:
    ranges = RangesConfig(threshold=1 if parts else 1 << 30, part=100_000, streams=1)
    async with open_lab(tmp_path, max_bytes_per_second=daemon, ranges=ranges) as lab:
        image = layered(1_000_000, seed=3)
        lab.registry.push(image, f"{HOST}/app:1")
        lanes, note = set(), lab.registry.note

        def look(what: str) -> None:
            if what == "read":
                lanes.add(lane())
            note(what)

        monkeypatch.setattr(lab.registry, "note", look)
        spent = await paid(lab, spec_for(max_bytes_per_second=own, max_concurrency=1), clock)
        assert lanes == {"limited" if own else "blob"}
        moved = sum(lab.registry.served.values())
        assert moved >= 1_000_000
        assert spent == pytest.approx(moved / 50_000, abs=0.5)
        assert max(clock.slept) <= 0.2
        # What is here costs nothing.
        assert await paid(lab, spec_for(max_bytes_per_second=1024), clock) == 0.0


@pytest.mark.usefixtures("by_the_clock")
@pytest.mark.parametrize("copied", [False, True])
async def test_a_push_and_a_copy_too(tmp_path: Path, clock: Clock, copied: bool) -> None:
    async with open_taker(tmp_path) as taking:
        image = layered(500_000, seed=4)
        if copied:
            taking.taker.registry.push(image, "source.test/app:1")
            spec = copy_spec("source.test/app:1", all_platforms=True, max_bytes_per_second=50_000)
        else:
            await taking.store(image, TO)
            spec = push_spec(max_bytes_per_second=50_000)
        lanes = set()

        def before(what: str, *_: object) -> None:
            if what == "send":
                lanes.add(lane())

        taking.taker.before = before
        spent = await paid(taking.lab, spec, clock)
        assert lanes == {"limited"}
        assert taking.holds(image, TO)
        assert taking.taker.sent >= 500_000
        assert spent == pytest.approx(taking.taker.sent / 50_000, abs=0.5)


@pytest.mark.usefixtures("by_the_clock")
async def test_bytes_that_only_prove_count_too(tmp_path: Path, clock: Clock) -> None:
    """What somebody else's credentials brought is fetched once more, and dropped."""
    alice, bob = Credentials("alice", "a"), Credentials("bob", "b")
    async with open_lab(tmp_path) as lab:
        image = layered(1_000_000, seed=6)
        for name, reader in ((f"{HOST}/app", alice), ("other.test/app", bob)):
            lab.registry.push(image, f"{name}:1")
            lab.registry.readers[name] = {reader}
        assert (await lab.outcome(f"{HOST}/app:1", credentials=alice)).failure is None
        served = sum(lab.registry.served.values())
        spec = spec_for("other.test/app:1", credentials=bob, max_bytes_per_second=50_000)
        spent = await paid(lab, spec, clock)
        moved = sum(lab.registry.served.values()) - served
        assert moved >= 1_000_000
        assert spent == pytest.approx(moved / 50_000, abs=0.5)


@pytest.mark.usefixtures("by_the_clock")
async def test_a_resumed_pull_keeps_its_bound(tmp_path: Path, clock: Clock) -> None:
    async with open_lab(tmp_path, retry=RetryPolicy(attempts=1)) as lab:
        image = layered(1_000_000, seed=5)
        lab.registry.push(image, f"{HOST}/app:1")
        lab.registry.trick(layer_of(image)[0], Trick(cut=400_000))
        record = await lab.manager.start(spec_for(max_bytes_per_second=50_000))
        assert outcome_of(await lab.end(record.uid)).failure
        before, served = clock.now, sum(lab.registry.served.values())
        again = await lab.manager.resume(record.uid)
        assert TransferSpec.from_json(again.spec).max_bytes_per_second == 50_000
        assert outcome_of(await lab.end(record.uid)).failure is None
        rest = sum(lab.registry.served.values()) - served
        assert rest >= 600_000
        assert clock.now - before == pytest.approx(rest / 50_000, abs=0.5)


def test_a_part_that_waits_for_a_bound_is_not_slow(tmp_path: Path, clock: Clock) -> None:
    """Its stream's pace is that of the line, 10,000 bytes a second here."""
    data = bytes(40_000)

    class Line:
        offset, end, host, etag = 0, len(data), HOST, ""
        place = 0

        def readinto(self, buffer: memoryview) -> int:
            got = min(len(buffer), len(data) - self.place)
            clock.now += got / 10_000
            self.place += got
            return got

        def close(self) -> None:
            pass

    def opened(*_: Any) -> Any:
        return Line()

    flight: Flight[None] = Flight("key", rates=Rates(1024, clock, clock.sleep))
    digest = Digest.of(data)
    with LocalContentStore(tmp_path).ingest(digest, digest, len(data)) as ingest:
        begun, ranges = (
            clock.now,
            Ranges(flight, len(data), ingest, opened, RangesConfig(1, len(data), 1), clock),
        )
        assert ranges.run() is None
        assert ranges._parts._rate == pytest.approx(10_000)
        assert clock.now - begun == pytest.approx(len(data) / 1024, abs=1)

"""A failure at every step, one after another: no name moves, nothing is half, all resumes."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from imgd_server.content import ContentStore, LocalContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images import check_store
from imgd_server.metadata import SqliteMetadataStore, WriteSession
from imgd_server.oci import Digest
from imgd_server.transfer import LeaseRequest, RetryPolicy, TransferState
from tests.fake_images import FakeImage, make_index
from tests.unit.transfer.fakes import (
    HOST,
    FakeRegistry,
    Gate,
    Lab,
    Trick,
    layer_of,
    layered,
    open_lab,
    outcome_of,
    settled,
    size_of,
    spec_for,
)

T = TypeVar("T")

APP = f"{HOST}/app:1"


class Steps:
    """Counts steps of any threads, and fails at one of them."""

    def __init__(self, failure: BaseException) -> None:
        self._lock = threading.Lock()
        self.failure = failure
        self.at = 0
        self.count = 0

    def arm(self, at: int) -> None:
        self.at, self.count = at, 0

    def __call__(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == self.at:
                raise self.failure


class FaultyIngest:
    def __init__(self, real: Any, step: Steps) -> None:
        self._real, self._step = real, step

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._real, name)
        if name in ("write", "commit", "restart"):
            self._step()
        return value

    def __enter__(self) -> FaultyIngest:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()


class FaultyContent:
    """A content store of which any call may fail."""

    def __init__(self, real: ContentStore, step: Steps) -> None:
        self._real, self._step = real, step

    def __getattr__(self, name: str) -> Any:
        self._step()
        return getattr(self._real, name)

    def ingest(self, *arguments: Any, **more: Any) -> Any:
        self._step()
        return FaultyIngest(self._real.ingest(*arguments, **more), self._step)


def faulty_metadata(step: Steps) -> type[SqliteMetadataStore]:
    """A metadata store of which any transaction may fail, before it began or in its middle."""

    class Faulty(SqliteMetadataStore):
        async def read(self, function: Callable[[Any], T]) -> T:
            step()
            return await super().read(function)

        async def write(self, function: Callable[[WriteSession], T]) -> T:
            step()

            def failing(session: WriteSession) -> T:
                result = function(session)
                step()
                return result

            return await super().write(failing)

    return Faulty


BEFORE, AFTER = layered(1000, 2000), layered(1000, 20_000)
INDEX = make_index([(layered(1000, 700), {"os": "linux", "architecture": "s390x"}), (AFTER, None)])


async def prove_nothing_changed(lab: Lab) -> None:
    assert await lab.names() == {APP: BEFORE.digest}
    assert await lab.metadata.read(lambda session: session.count_images()) == 1
    assert await lab.metadata.read(lambda session: session.lease("mine")) is None
    async for _, problems in check_store(lab.metadata, lab.content, verify_content=True):
        assert problems == []


async def play(
    root: Path, target: FakeImage, where: str, steps: Steps, at: int
) -> tuple[bool, str]:
    """One pull in which step `at` fails; says whether there was such a step, and the state."""
    registry = FakeRegistry()
    registry.piece = 16_384
    registry.push(BEFORE, APP)
    async with open_lab(
        root,
        registry,
        retry=RetryPolicy(attempts=1),
        record_interval=0.001,
        store=faulty_metadata(steps) if where == "metadata" else SqliteMetadataStore,
        wrap_content=(lambda one: FaultyContent(one, steps))
        if where == "content"
        else lambda one: one,
    ) as lab:
        steps.arm(0)
        assert (await lab.pull()).state == "SUCCEEDED"
        registry.push(target, APP)
        if where == "registry":
            registry.steps, registry.fault = 0, (at, steps.failure)
        steps.arm(at)
        try:
            # The lease is of the same transaction as the name.
            record = await lab.manager.start(
                spec_for(all_platforms=True, lease=LeaseRequest("mine"))
            )
        except (Error, OSError):
            steps.arm(0)
            assert lab.manager.running == 0
            await prove_nothing_changed(lab)
            return True, "REFUSED"
        events = await lab.watch(record.uid)
        happened = (registry.steps if where == "registry" else steps.count) >= at
        registry.fault = None
        steps.arm(0)
        ended = events[-1].view.record
        assert settled(events[-1].view.progress.nodes.values())
        if ended.state == "SUCCEEDED":
            assert await lab.names() == {APP: target.digest}
            assert await lab.metadata.read(lambda session: session.lease("mine"))
            return happened, ended.state
        assert ended.state == "FAILED"
        assert outcome_of(ended).failure is not None
        await prove_nothing_changed(lab)
        # And once the fault is gone, it goes on.
        await lab.manager.resume(record.uid, None)
        assert (await lab.end(record.uid)).state == "SUCCEEDED"
        assert await lab.names() == {APP: target.digest}
        async for _, problems in check_store(lab.metadata, lab.content, verify_content=True):
            assert problems == []
        return happened, "FAILED"


@pytest.mark.parametrize(
    ("where", "failure"),
    [
        ("registry", Error(Reason.REGISTRY_DENIED, "no")),
        ("registry", RuntimeError("a defect")),
        ("content", Error(Reason.DISK_FULL, "no room")),
        ("content", OSError(5, "Input/output error")),
        ("metadata", Error(Reason.DISK_FULL, "no room")),
        ("metadata", OSError(5, "Input/output error")),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, Exception) else one,
)
async def test_a_failure_at_every_step(tmp_path: Path, where: str, failure: BaseException) -> None:
    states = []
    for at in range(1, 200):
        root = tmp_path / str(at)
        root.mkdir()
        happened, state = await play(root, INDEX, where, Steps(failure), at)
        if not happened:
            break
        states.append(state)
    else:
        raise AssertionError("there are too many steps")
    assert len(states) > 6
    # Nearly each of them is one that the pull cannot do without.
    assert states.count("SUCCEEDED") <= 2


@pytest.mark.parametrize("place", ["manifest", "layer", "last byte"])
async def test_a_kill_is_no_different_from_a_stop(tmp_path: Path, place: str) -> None:
    """The daemon goes without a word to its stores, and the next one finds them whole."""
    registry = FakeRegistry()
    registry.push(BEFORE, APP)
    async with open_lab(tmp_path, registry) as lab:
        await lab.pull()
        registry.push(AFTER, APP)
        gate = Gate()
        layer, data = layer_of(AFTER, 1)
        at = len(data) // 2 if place == "layer" else len(data) - 1
        registry.trick(AFTER.digest if place == "manifest" else layer, Trick(gate=gate, at=at))
        record = await lab.manager.start(spec_for())
        await gate.reached()
        # A second daemon over the same files: it sees what a crash would leave.
        async with open_lab(tmp_path, FakeRegistry()) as next_one:
            await prove_nothing_changed(next_one)
            known = await next_one.manager.get(record.uid)
            assert TransferState[known.state] is TransferState.INTERRUPTED


async def test_content_that_goes_away_before_the_commit_gets_no_name(tmp_path: Path) -> None:
    """Whatever took it: a name never points at what is not whole."""
    taken, _ = layer_of(AFTER, 0)

    class Losing(LocalContentStore):
        def find(self, digest: Digest) -> Any:
            found = super().find(digest)
            if found and digest == AFTER.image_id:
                self.delete(Digest(taken))
            return found

    async with open_lab(tmp_path, wrap_content=lambda _: Losing(tmp_path / "content")) as lab:
        lab.registry.push(AFTER, APP)
        outcome = await lab.outcome()
        assert outcome.failure is not None
        assert (outcome.failure.reason, outcome.failure.digest) == (Reason.STORE_CORRUPT, taken)
        assert await lab.names() == {}


async def test_every_byte_is_fetched_once_over_all_attempts(tmp_path: Path) -> None:
    """A registry that breaks after each piece, and a caller who tries again each time."""
    registry = FakeRegistry()
    image = layered(400_000, 300_000)
    registry.push(image, APP)
    places = range(50_000, 400_000, 50_000)
    for number in (0, 1):
        registry.trick(layer_of(image, number)[0], *[Trick(cut=place) for place in places])
    async with open_lab(tmp_path, registry, retry=RetryPolicy(attempts=1)) as lab:
        # One at a time: nothing moves beside the one that breaks.
        record = await lab.pull(max_concurrency=1)
        fetched = outcome_of(record).fetched_bytes
        attempts = 1
        while record.state != "SUCCEEDED":
            assert attempts < 30
            await lab.manager.resume(record.uid, None)
            record = await lab.end(record.uid)
            fetched += outcome_of(record).fetched_bytes
            attempts += 1
        assert attempts > 5
        assert record.attempt == attempts
        assert fetched == size_of(image)
        assert sum(registry.served.values()) == sum(map(len, image.blobs.values()))

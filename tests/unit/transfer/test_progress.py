"""The pure state behind a watch: figures, versions, parts."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imgd_server.errors import Error, Origin, Reason
from imgd_server.metadata import TransferRecord
from imgd_server.oci import Descriptor, Digest, Platform
from imgd_server.rpc import _convert
from imgd_server.transfer import (
    ActivityKind,
    Node,
    NodeKind,
    NodeState,
    Progress,
    Retry,
    TransferView,
    WatchEvent,
    WatchEventKind,
)
from imgd_server.transfer._progress import outline
from tests.unit.transfer.fakes import settled, spec_for

MEBIBYTE = 1 << 20


@dataclass
class FakeWork:
    done_bytes: int = 0
    resumed_bytes: int = 0
    moved_bytes: int = 0
    host: str = ""
    retry: Retry | None = None


def node_of(number: int, size: int = 100) -> Node:
    digest = Digest.of(str(number).encode())
    return Node(digest, NodeKind.LAYER, Descriptor("application/x", digest, size))


class Watching(RuleBasedStateMachine):
    """Any order of changes, seen by watchers who look at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.progress = Progress(7 << 32, clock=lambda: self.now)
        self.works: dict[str, FakeWork] = {}
        self.seen: dict[int, int] = {}
        self.known: dict[int, dict[str, object]] = {}
        self.received = 0

    @initialize()
    def first_node(self) -> None:
        self.progress.add(node_of(0))

    def nodes(self, *, active: bool) -> list[Node]:
        return [
            one for one in self.progress.nodes.values() if (one.node_id in self.works) is active
        ]

    @rule(size=st.integers(0, 1000))
    def add(self, size: int) -> None:
        self.progress.add(node_of(len(self.progress.nodes), size))

    @rule(pick=st.integers(0), before=st.integers(0, 500))
    def begin(self, pick: int, before: int) -> None:
        idle = [one for one in self.nodes(active=False) if not one.state.final]
        if idle:
            node = idle[pick % len(idle)]
            # Others may have fetched a part before this transfer took its share.
            work = FakeWork(done_bytes=before, moved_bytes=before)
            self.works[node.node_id] = work
            self.progress.begin(node, ActivityKind.DOWNLOAD, work, node.size)

    @rule(pick=st.integers(0), more=st.integers(0, 400))
    def move(self, pick: int, more: int) -> None:
        if active := self.nodes(active=True):
            work = self.works[active[pick % len(active)].node_id]
            work.done_bytes += more
            work.moved_bytes += more
            work.retry = None

    @rule(pick=st.integers(0), restart=st.booleans())
    def fail_attempt(self, pick: int, restart: bool) -> None:
        if active := self.nodes(active=True):
            work = self.works[active[pick % len(active)].node_id]
            work.retry = Retry(2, 5, Error(Reason.REGISTRY_TIMEOUT, "slow"))
            if restart:
                work.done_bytes = work.resumed_bytes = 0

    @rule(
        pick=st.integers(0),
        state=st.sampled_from([NodeState.DONE, NodeState.WAITING, NodeState.EXISTS]),
    )
    def end(self, pick: int, state: NodeState) -> None:
        if active := self.nodes(active=True):
            node = active[pick % len(active)]
            del self.works[node.node_id]
            self.progress.end(node, state)
            assert settled([node])

    @rule(pick=st.integers(0))
    def fail(self, pick: int) -> None:
        if active := self.nodes(active=True):
            node = active[pick % len(active)]
            del self.works[node.node_id]
            self.progress.fail(node, Error(Reason.REMOTE_NOT_FOUND, "gone"))

    @rule(seconds=st.floats(0, 8))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def plan(self) -> None:
        self.progress.planned = True
        self.progress.touch()

    @rule(who=st.integers(0, 3))
    def look(self, who: int) -> None:
        self.progress.refresh()
        if who in self.seen:
            parts = self.progress.changes(self.seen[who])
        else:
            parts = self.progress.picture()
            self.known[who] = {}
        for version, nodes in parts:
            assert version > self.seen.get(who, 0)
            self.seen[who] = version
            self.known[who].update((one.node_id, one.to_json()) for one in nodes)
        assert self.known[who] == {
            one.node_id: one.to_json() for one in self.progress.nodes.values()
        }
        assert not self.progress.changes(self.seen[who])

    @precondition(lambda self: self.seen)
    @rule()
    def attach_again(self) -> None:
        who = min(self.seen)
        before = self.seen.pop(who)
        self.look_first(who, before)

    def look_first(self, who: int, before: int) -> None:
        self.progress.refresh()
        first = self.progress.picture()
        assert first[0][0] >= before
        self.seen[who] = first[-1][0]
        self.known[who] = {one.node_id: one.to_json() for _, part in first for one in part}

    @invariant()
    def figures_hold(self) -> None:
        progress = self.progress
        assert progress.current_bytes >= 0
        assert (
            0
            <= progress.moved_bytes
            <= sum(w.moved_bytes for w in self.works.values())
            + sum(a.moved for one in progress.nodes.values() for a in one.activities)
        )
        assert progress.rate >= 0
        assert progress.remaining is None or progress.remaining >= 0
        assert (progress.total_bytes is not None) == progress.planned
        received = progress._received
        assert received >= self.received
        self.received = received
        for node in progress.nodes.values():
            assert (node.state is NodeState.RETRYING) == (node.retry is not None)
            if node.node_id not in self.works:
                assert settled([node])

    def teardown(self) -> None:
        self.progress.settle()
        assert settled(self.progress.nodes.values())
        end = self.progress.seal()
        late = self.progress.picture()
        assert late == self.progress.picture()
        highest = max([*self.seen.values(), self.progress.version])
        assert highest <= late[0][0]
        assert self.progress.base + late[-1][0] < end


TestWatching = Watching.TestCase


def view_of(progress: Progress) -> TransferView:
    spec = spec_for(
        f"registry.test/{'a' * 240}:{'t' * 128}", tags=(f"registry.test/{'b' * 240}:1",) * 100
    )
    return TransferView(TransferRecord("U", "", spec.to_json(), "RUNNING", 1, 1), progress, "", 0)


def failure_of(length: int) -> Error:
    return Error(
        Reason.REGISTRY_UNAVAILABLE,
        "м" * length,
        origin=Origin.SOURCE,
        reference="r" * 300,
        digest=Digest.of(b""),
        host="h" * 200,
        http_status=503,
        registry_code="c" * 64,
        retry_after=1.5,
        metadata={"k" * 20: "v" * 500},
    )


@settings(max_examples=20)
@given(
    count=st.integers(1, 2000),
    failing=st.integers(1, 50),
    length=st.integers(0, 2000),
    wide=st.booleans(),
)
def test_no_event_is_too_large_and_together_they_tell_all(
    count: int, failing: int, length: int, wide: bool
) -> None:
    progress = Progress(1 << 32)
    for number in range(count):
        node = progress.add(node_of(number, 2**63 - 1))
        node.label = "é" * 255 if wide else "linux/amd64"
        progress.begin(node, ActivityKind.DOWNLOAD, FakeWork(host="m" * 200), 2**63 - 1)
        if number % failing == 0:
            progress.fail(node, failure_of(length))
    # Somebody saw the first nodes as they were; then one of the first changed.
    seen = progress.nodes[Digest.of(b"0")].version
    progress.touch(progress.nodes[Digest.of(b"0")])
    view = view_of(progress)
    for parts, kind in (
        (progress.changes(seen), WatchEventKind.UPDATE),
        (progress.picture(), WatchEventKind.SNAPSHOT),
    ):
        versions = [version for version, _ in parts]
        assert versions == sorted(set(versions))
        told = {one.node_id for _, part in parts for one in part}
        assert told == set(progress.nodes)
        for version, nodes in parts:
            event = _convert.transfer_event(WatchEvent(kind, version, view, nodes))
            assert event.ByteSize() < MEBIBYTE
            assert sum(_convert._node(one).ByteSize() for one in nodes) <= sum(
                one.weight for one in nodes
            )


def test_an_update_in_parts_can_be_left_in_the_middle() -> None:
    """Whoever has a part's number has seen all changes up to it, whatever comes after."""
    progress = Progress(0)
    nodes = [progress.add(node_of(number)) for number in range(2500)]
    for node in nodes:
        node.label = "x" * 200
    progress.touch(nodes[3])
    first, *_ = progress.changes(0)
    rest = progress.changes(first[0])
    assert nodes[3] not in first[1]
    assert {one.node_id for one in first[1]} | {
        one.node_id for _, part in rest for one in part
    } == set(progress.nodes)


def test_the_picture_stands_in_the_order_of_discovery() -> None:
    progress = Progress(0)
    nodes = [progress.add(node_of(number)) for number in range(2500)]
    progress.touch(nodes[0])
    assert [one for _, part in progress.picture() for one in part] == nodes
    # One event is enough for a few changes: they keep that order as well.
    seen = progress.version
    progress.touch(nodes[9])
    progress.touch(nodes[4])
    assert progress.changes(seen) == [(progress.version, [nodes[4], nodes[9]])]


def test_a_restart_shows_fewer_bytes_and_no_negative_rate() -> None:
    now = 0.0
    progress = Progress(0, clock=lambda: now)
    node = progress.add(node_of(1, 1000))
    progress.planned = True
    work = FakeWork(done_bytes=300, resumed_bytes=300)
    progress.begin(node, ActivityKind.DOWNLOAD, work, 1000)
    progress.refresh()
    now, work.done_bytes, work.moved_bytes = 1.0, 800, 500
    progress.refresh()
    assert (progress.current_bytes, progress.moved_bytes, progress.rate) == (800, 500, 500)
    assert progress.remaining == pytest.approx(0.4)
    # The server changed the blob: from the beginning.
    now, work.done_bytes, work.resumed_bytes, work.moved_bytes = 2.0, 100, 0, 600
    progress.refresh()
    assert (progress.current_bytes, progress.moved_bytes, progress.rate) == (100, 100, 300)
    assert node.activities[0].resumed == 0
    progress.end(node, NodeState.DONE)
    assert (progress.current_bytes, progress.remaining) == (1000, 0)


def test_a_late_share_does_not_count_what_came_before_as_speed() -> None:
    now = 0.0
    progress = Progress(0, clock=lambda: now)
    node = progress.add(node_of(1, 1000))
    progress.refresh()
    now = 1.0
    work = FakeWork(done_bytes=900, moved_bytes=900)
    progress.begin(node, ActivityKind.DOWNLOAD, work, 1000)
    now, work.done_bytes, work.moved_bytes = 2.0, 910, 910
    progress.refresh()
    assert progress.rate == 5
    assert progress.current_bytes == 910


def test_a_node_shows_no_endless_texts() -> None:
    digest = Digest.of(b"x")
    long = "x" * MEBIBYTE
    for platform in (
        Platform(long, "amd64"),
        Platform("linux", "amd64", long),
        Platform("linux", "amd64", os_version=long),
        Platform("linux", "amd64", os_features=(long,)),
    ):
        shown = outline(Descriptor(long, digest, 5, (long,), {"a": long}, b"12345", long, platform))
        assert Node(digest, NodeKind.LAYER, shown).weight < 4096
        assert (shown.digest, shown.size) == (digest, 5)
    usual = Descriptor("application/x", digest, 5, artifact_type="y", platform=Platform("a", "b"))
    assert outline(usual) == usual


def test_a_node_survives_its_record() -> None:
    progress = Progress(0)
    node = progress.add(node_of(1))
    node.layer_index, node.parent_id, node.label = 3, "parent", "linux/amd64"
    progress.begin(node, ActivityKind.RESOLVE)
    progress.end(node, NodeState.WAITING, "registry.test")
    work = FakeWork(done_bytes=60, resumed_bytes=10, moved_bytes=50)
    progress.begin(node, ActivityKind.DOWNLOAD, work, 100)
    progress.fail(node, failure_of(3))
    again = Node.from_json(node.to_json())
    assert again.to_json() == node.to_json()
    assert again.current == 60
    assert Progress(0, [again]).moved_bytes == 50
    assert again.failure is not None
    assert again.failure.reason is Reason.REGISTRY_UNAVAILABLE

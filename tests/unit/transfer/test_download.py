"""Bytes: verified, resumed, tried again, never mixed, never fetched twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from imgd_server.content import LocalContentStore
from imgd_server.errors import Error, Origin, Reason
from imgd_server.oci import Digest
from imgd_server.transfer import NodeState, RetryPolicy, TransferState, WatchEventKind
from tests.unit.transfer.fakes import (
    HOST,
    FakeRegistry,
    Gate,
    Lab,
    Trick,
    altered,
    begun,
    layer_of,
    layered,
    open_lab,
    outcome_of,
    size_of,
    spec_for,
)

APP = f"{HOST}/app:1"
LOST = Error(Reason.REGISTRY_UNREACHABLE, f"lost {HOST}", host=HOST)


async def test_a_broken_connection_goes_on_where_it_stopped(lab: Lab) -> None:
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    lab.registry.piece = 50_000
    lab.registry.trick(digest, Trick(cut=120_000), Trick(cut=120_001), Trick(cut=250_000))
    record = await lab.manager.start(spec_for())
    events = await lab.watch(record.uid)
    outcome = outcome_of(events[-1].view.record)
    assert outcome.failure is None
    assert [call.offset for call in lab.registry.asked("blob", digest)] == [
        0,
        120_000,
        120_001,
        250_000,
    ]
    assert lab.registry.served[digest] == len(data)
    assert outcome.fetched_bytes == size_of(image)
    assert outcome.reused_bytes == 0
    assert lab.content.verify(Digest(digest))
    activity = events[-1].view.progress.nodes[digest].activities[-1]
    # What the last attempt found, of all that came.
    assert (activity.resumed, activity.moved, activity.current) == (250_000, 300_000, 300_000)


async def test_a_retry_is_shown_with_its_number_time_and_cause(tmp_path: Path) -> None:
    """And the node is active again after it."""
    policy = RetryPolicy(first=30.0, ceiling=30.0)
    image = layered(1000)
    digest, _ = layer_of(image)
    async with open_lab(tmp_path, retry=policy) as lab:
        lab.registry.push(image, APP)
        limited = Error(
            Reason.REGISTRY_RATE_LIMITED,
            "slower, please",
            host=HOST,
            http_status=429,
            registry_code="TOOMANYREQUESTS",
            retry_after=40.0,
        )
        lab.registry.trick(digest, Trick(error=limited))
        record = await lab.manager.start(spec_for())
        async for event in lab.manager.watch(record.uid, 0.0):
            node = event.view.progress.nodes.get(digest)
            if node and node.state is NodeState.RETRYING:
                break
        else:
            raise AssertionError("no retry was shown")
        assert node.retry is not None
        assert node.retry.attempt == 2
        # Not before the registry allows it.
        assert node.retry.next_time - node.activities[0].started >= 40_000_000
        failure = node.retry.failure
        assert (failure.reason, failure.http_status) == (Reason.REGISTRY_RATE_LIMITED, 429)
        assert failure.origin is Origin.SOURCE
        assert node.failure is None
        ended = await lab.manager.cancel(record.uid)
        assert ended.state == "CANCELLED"
        assert len(lab.registry.asked("blob", digest)) == 1


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (LOST, 5),
        (Error(Reason.REGISTRY_TIMEOUT, "slow"), 5),
        (Error(Reason.REGISTRY_UNAVAILABLE, "500"), 5),
        (Error(Reason.REGISTRY_RATE_LIMITED, "429", retry_after=0.001), 5),
        # Longer than anybody would wait: the caller is told.
        (Error(Reason.REGISTRY_RATE_LIMITED, "429", retry_after=3600.0), 1),
        (Error(Reason.REGISTRY_DENIED, "403"), 1),
        (Error(Reason.REGISTRY_UNAUTHORIZED, "401"), 1),
        (Error(Reason.REMOTE_NOT_FOUND, "404"), 1),
        (Error(Reason.REGISTRY_PROTOCOL, "html"), 1),
        (Error(Reason.EGRESS_DENIED, "no"), 1),
    ],
    ids=lambda value: value.reason.name if isinstance(value, Error) else "",
)
async def test_what_may_pass_is_tried_again_and_the_rest_is_not(
    lab: Lab, error: Error, attempts: int
) -> None:
    image = layered(1000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP)
    lab.registry.trick(digest, *[Trick(error=error)] * 10)
    record = await lab.pull()
    failure = outcome_of(record).failure
    assert record.state == "FAILED"
    assert failure is not None
    assert failure.reason is error.reason
    assert failure.origin is Origin.SOURCE
    assert (failure.digest, failure.reference) == (digest, APP)
    assert len(lab.registry.asked("blob", digest)) == attempts
    assert await lab.names() == {}


async def test_gained_bytes_begin_the_count_of_attempts_anew(lab: Lab) -> None:
    image = layered(1_000_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    lab.registry.trick(digest, *[Trick(cut=place) for place in range(70_000, 1_000_000, 70_000)])
    record = await lab.pull()
    assert record.state == "SUCCEEDED"
    assert lab.registry.served[digest] == len(data)


@pytest.mark.parametrize(
    "tricks",
    [
        # From the beginning each time, and never to the end.
        [Trick(ignores_range=True, cut=500_000)] * 50,
        # A byte each time.
        [Trick(cut=100_000 + place) for place in range(50)],
    ],
    ids=["starts over", "byte by byte"],
)
async def test_a_registry_that_gets_nowhere_is_given_up(lab: Lab, tricks: list[Trick]) -> None:
    image = layered(1_000_000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP)
    lab.registry.trick(digest, *tricks)
    outcome = await lab.outcome()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.REGISTRY_UNREACHABLE
    assert len(lab.registry.asked("blob", digest)) <= 6


async def test_a_server_that_ignores_ranges_makes_no_mix(lab: Lab) -> None:
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    lab.registry.trick(digest, Trick(cut=200_000), Trick(ignores_range=True))
    record = await lab.manager.start(spec_for())
    events = await lab.watch(record.uid)
    outcome = outcome_of(events[-1].view.record)
    assert outcome.failure is None
    assert lab.content.read(Digest(digest), 1 << 20) == data
    # It came twice in part, and both times over the network.
    assert outcome.fetched_bytes == size_of(image) + 200_000
    assert outcome.reused_bytes == 0
    node = events[-1].view.progress.nodes[digest]
    assert node.activities[-1].resumed == 0
    assert events[-1].view.progress.moved_bytes == size_of(image)


@pytest.mark.parametrize(
    "second", [Trick(), Trick(body=b"another" * 10)], ids=["honest", "changed for good"]
)
async def test_a_blob_that_changed_is_fetched_anew_once(lab: Lab, second: Trick) -> None:
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    changed = bytes(len(data))
    lab.registry.trick(digest, Trick(cut=100_000), Trick(body=changed))
    lab.registry.trick(digest, second)
    outcome = await lab.outcome()
    offsets = [call.offset for call in lab.registry.asked("blob", digest)]
    assert offsets == [0, 100_000, 0]
    if second.body is None:
        assert outcome.failure is None
        assert lab.content.read(Digest(digest), 1 << 20) == data
        assert outcome.reused_bytes == 0
    else:
        assert outcome.failure is not None
        assert outcome.failure.reason in (Reason.DIGEST_MISMATCH, Reason.SIZE_MISMATCH)
        assert lab.content.find(Digest(digest)) is None
        assert await lab.names() == {}


@pytest.mark.parametrize("extra", [b"", b"x"], ids=["other bytes", "longer"])
async def test_wrong_bytes_for_good_fail_after_one_clean_attempt(lab: Lab, extra: bytes) -> None:
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    lab.registry.trick(digest, *[Trick(body=bytes(len(data)) + extra)] * 9)
    outcome = await lab.outcome()
    assert outcome.failure is not None
    wanted = Reason.SIZE_MISMATCH if extra else Reason.DIGEST_MISMATCH
    assert (outcome.failure.reason, outcome.failure.digest) == (wanted, digest)
    assert outcome.failure.origin is Origin.SOURCE
    assert [call.offset for call in lab.registry.asked("blob", digest)] == [0, 0]
    assert lab.content.find(Digest(digest)) is None
    # Nothing of them is left to go on with.
    assert digest not in [one.key for one in lab.content.partials()]


async def test_partial_bytes_serve_a_later_pull(lab: Lab) -> None:
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP, f"{HOST}/other:2")
    lab.registry.trick(digest, *[Trick(cut=200_000)] * 9)
    failed = await lab.pull()
    assert failed.state == "FAILED"
    assert outcome_of(failed).fetched_bytes == size_of(image) - 100_000
    lab.registry._tricks.clear()
    record = await lab.manager.start(spec_for(f"{HOST}/other:2"))
    events = await lab.watch(record.uid)
    assert lab.registry.asked("blob", digest)[-1].offset == 200_000
    assert lab.registry.served[digest] == len(data)
    outcome = outcome_of(events[-1].view.record)
    assert outcome.fetched_bytes == 100_000
    assert outcome.reused_bytes == size_of(image) - 100_000
    activity = events[-1].view.progress.nodes[digest].activities[-1]
    assert (activity.resumed, activity.current, activity.moved) == (200_000, 300_000, 100_000)


async def test_partial_bytes_are_held_by_a_lease_until_the_image_holds_them(lab: Lab) -> None:
    image = layered(300_000, 1000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    record = await lab.manager.start(spec_for())
    await gate.reached()
    name = f"transfer:{record.uid}"
    lease = await lab.metadata.read(lambda session: session.lease(name))
    assert lease is not None
    assert {image.digest, *image.blobs} == set(lease.digests)
    ended = await lab.manager.cancel(record.uid)
    lease = await lab.metadata.read(lambda session: session.lease(name))
    assert lease is not None
    assert ended.ended is not None
    week = 7 * 24 * 3600 * 1_000_000
    assert lease.expires - ended.ended == week
    gate.open()
    await lab.manager.resume(record.uid, None)
    assert (await lab.end(record.uid)).state == "SUCCEEDED"
    assert await lab.metadata.read(lambda session: session.lease(name)) is None


async def test_what_is_here_is_not_fetched(lab: Lab) -> None:
    image = layered(1000, 2000)
    lab.registry.push(image, APP)
    await lab.pull()
    other = layered(1000, 5000)
    lab.registry.push(other, f"{HOST}/other:1")
    lab.registry.calls.clear()
    record = await lab.manager.start(spec_for(f"{HOST}/other:1"))
    events = await lab.watch(record.uid)
    shared, _ = layer_of(image)
    node = events[-1].view.progress.nodes[shared]
    assert node.state is NodeState.EXISTS
    assert node.activities == []
    assert not lab.registry.asked("blob", shared)
    assert outcome_of(events[-1].view.record).reused_bytes == 1000
    assert events[-1].view.progress.current_bytes == size_of(other)


async def test_a_descriptor_with_a_wrong_size_is_refused_though_the_blob_is_here(lab: Lab) -> None:
    image = layered(1000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP)
    await lab.pull()
    lie = altered(image, b'"size": 1000', b'"size": 1001')
    lab.registry.push(lie, f"{HOST}/lie:1")
    outcome = await lab.outcome(f"{HOST}/lie:1")
    assert outcome.failure is not None
    assert (outcome.failure.reason, outcome.failure.digest) == (Reason.SIZE_MISMATCH, digest)
    assert outcome.failure.origin is Origin.SOURCE
    assert list(await lab.names()) == [APP]


async def test_never_more_blobs_at_once_than_the_caller_wants(lab: Lab) -> None:
    image = layered(*range(1000, 1010))
    lab.registry.push(image, APP)
    gates = [Gate() for _ in range(10)]
    for number, gate in enumerate(gates):
        lab.registry.trick(layer_of(image, number)[0], Trick(gate=gate, at=10))
    record = await lab.manager.start(spec_for(max_concurrency=2))
    for gate in gates[:2]:
        await gate.reached()
    for gate in gates:
        gate.open()
    assert (await lab.end(record.uid)).state == "SUCCEEDED"
    assert lab.registry.most_streams == 2


async def test_two_repositories_with_one_blob_take_turns(tmp_path: Path) -> None:
    """The second waits, which is no failed attempt, finds the blob, and did not fetch it."""
    image = layered(300_000)
    digest, data = layer_of(image)
    never = RetryPolicy(first=3600.0, ceiling=3600.0)
    async with open_lab(tmp_path, retry=never, heartbeat=0.02) as lab:
        lab.registry.push(image, APP, f"{HOST}/other:1")
        gate = Gate()
        lab.registry.trick(digest, Trick(gate=gate, at=100_000))
        first = await lab.manager.start(spec_for())
        await gate.reached()
        second = await lab.manager.start(spec_for(f"{HOST}/other:1"))
        # So long that an attempt would have failed by then.
        async for event in lab.manager.watch(second.uid):
            node = event.view.progress.nodes.get(digest)
            if event.kind is WatchEventKind.HEARTBEAT and node and node.activities:
                assert node.state is NodeState.ACTIVE
                break
        gate.open()
        ends = [await lab.end(first.uid), await lab.end(second.uid)]
        assert [end.state for end in ends] == ["SUCCEEDED", "SUCCEEDED"]
        assert lab.registry.served[digest] == len(data)
        assert len(lab.registry.asked("blob", digest)) == 1
        assert outcome_of(ends[1]).fetched_bytes == 0
        assert outcome_of(ends[1]).reused_bytes == size_of(image)


async def test_who_waits_for_a_blob_goes_on_where_the_other_stopped(lab: Lab) -> None:
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP, f"{HOST}/other:1")
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    first = await lab.manager.start(spec_for())
    await gate.reached()
    second = await lab.manager.start(spec_for(f"{HOST}/other:1"))
    await lab.until(second.uid, begun(digest))
    assert (await lab.manager.cancel(first.uid)).state == "CANCELLED"
    assert (await lab.end(second.uid)).state == "SUCCEEDED"
    assert [call.offset for call in lab.registry.asked("blob", digest)] == [0, 100_000]
    assert lab.registry.served[digest] == len(data)


async def test_who_waits_for_a_blob_is_not_held_up_by_the_others_pauses(tmp_path: Path) -> None:
    """Nor by its failure: one registry is down, the other is not."""
    image = layered(300_000)
    digest, data = layer_of(image)
    async with open_lab(tmp_path, retry=RetryPolicy(first=3600.0, ceiling=3600.0)) as lab:
        lab.registry.push(image, APP, f"{HOST}/other:1")
        lab.registry.trick(digest, Trick(cut=100_000))
        first = await lab.manager.start(spec_for())
        await lab.until(
            first.uid,
            lambda progress: (
                digest in progress.nodes and progress.nodes[digest].state is NodeState.RETRYING
            ),
        )
        assert (await lab.pull(f"{HOST}/other:1")).state == "SUCCEEDED"
        assert lab.registry.served[digest] == len(data)
        assert (await lab.manager.cancel(first.uid)).state == "CANCELLED"


async def test_waiting_for_a_blob_can_be_given_up(lab: Lab) -> None:
    image = layered(300_000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP, f"{HOST}/other:1")
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    first = await lab.manager.start(spec_for())
    await gate.reached()
    second = await lab.manager.start(spec_for(f"{HOST}/other:1"))
    await lab.until(second.uid, begun(digest))
    assert (await lab.manager.cancel(second.uid)).state == "CANCELLED"
    gate.open()
    assert (await lab.end(first.uid)).state == "SUCCEEDED"


async def test_a_lie_about_a_size_harms_nobody_else(lab: Lab) -> None:
    """Of two manifests of one repository, one says another size of the same blob."""
    image = layered(300_000)
    digest, data = layer_of(image)
    liar = altered(image, b'"size": 300000', b'"size": 900000')
    lab.registry.push(image, APP)
    lab.registry.push(liar, f"{HOST}/app:lie")
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    lying = await lab.manager.start(spec_for(f"{HOST}/app:lie"))
    await gate.reached()
    honest = await lab.manager.start(spec_for())
    await lab.until(honest.uid, begun(digest))
    gate.open()
    assert (await lab.end(honest.uid)).state == "SUCCEEDED"
    failure = outcome_of(await lab.end(lying.uid)).failure
    assert failure is not None
    assert failure.reason is Reason.SIZE_MISMATCH
    assert lab.content.read(Digest(digest), 1 << 20) == data


async def test_a_full_disk_is_the_destinations_fault_and_is_not_tried_again(
    tmp_path: Path,
) -> None:
    class Full(LocalContentStore):
        def ingest(self, *args: object, **more: object):  # type: ignore[no-untyped-def]
            raise Error(Reason.DISK_FULL, "no room")

    image = layered(1000)
    async with open_lab(tmp_path, wrap_content=lambda one: Full(tmp_path / "content")) as lab:
        lab.registry.push(image, APP)
        outcome = await lab.outcome()
    assert outcome.failure is not None
    assert outcome.failure.reason is Reason.DISK_FULL
    assert outcome.failure.origin is Origin.DESTINATION
    assert len(lab.registry.asked("manifest")) == 1


@pytest.mark.parametrize("again", ["resume", "pull"])
async def test_a_stopped_daemon_goes_on_with_the_bytes_it_has(tmp_path: Path, again: str) -> None:
    image = layered(300_000, 1000)
    digest, _ = layer_of(image)
    registry = FakeRegistry()
    registry.push(image, APP)
    gate = Gate()
    registry.trick(digest, Trick(gate=gate, at=200_000))
    async with open_lab(tmp_path, registry) as lab:
        record = await lab.manager.start(spec_for())
        await gate.reached()
    gate.open()
    async with open_lab(tmp_path, registry) as lab:
        known = await lab.manager.get(record.uid)
        assert TransferState[known.state] is TransferState.INTERRUPTED
        if again == "resume":
            await lab.manager.resume(record.uid, None)
            assert (await lab.end(record.uid)).state == "SUCCEEDED"
        else:
            assert (await lab.pull()).state == "SUCCEEDED"
    assert sum(registry.served.values()) == sum(map(len, image.blobs.values()))


def test_pauses_grow_and_never_undercut_what_the_registry_wants() -> None:
    policy = RetryPolicy(first=1.0, factor=2.0, ceiling=5.0)
    for failures, most in ((1, 1.0), (2, 2.0), (3, 4.0), (4, 5.0), (50, 5.0)):
        for _ in range(20):
            assert most / 2 <= policy.delay(failures, None) <= most
            assert policy.delay(failures, 60.0) == 60.0

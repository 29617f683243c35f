"""Many callers of one thing: one download, whoever comes and goes."""

from __future__ import annotations

import asyncio

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.registry import Credentials
from imgd_server.transfer import PullResult, TransferState
from tests.unit.transfer.fakes import (
    HOST,
    FakeRegistry,
    Gate,
    Lab,
    Trick,
    begun,
    layer_of,
    layered,
    outcome_of,
    size_of,
    spec_for,
)

APP = f"{HOST}/app:1"


def all_once(registry: FakeRegistry) -> bool:
    """Whether no blob and no manifest was asked for twice."""
    asked = [call.digest for call in registry.calls if call.kind != "resolve"]
    return len(asked) == len(set(asked))


async def test_fifty_callers_share_one_download(lab: Lab) -> None:
    image = layered(300_000, 200_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    records = [await lab.manager.start(spec_for()) for _ in range(50)]
    await gate.reached()
    for record in records:
        await lab.until(record.uid, begun(digest))
    leading = await anext(aiter(lab.manager.watch(records[0].uid)))
    assert (leading.view.leader, leading.view.followers) == ("", 49)
    following = await anext(aiter(lab.manager.watch(records[7].uid)))
    assert (following.view.leader, following.view.followers) == (records[0].uid, 0)
    # Each sees the bytes move.
    assert following.view.progress.nodes[digest].activities[0].current == 100_000
    gate.open()
    ends = await asyncio.gather(*(lab.watch(record.uid) for record in records))
    assert all_once(lab.registry)
    assert lab.registry.served[digest] == len(data)
    outcomes = [outcome_of(events[-1].view.record) for events in ends]
    assert all(one.failure is None for one in outcomes)
    # Every byte was fetched for one of them, and reused by the others.
    assert sum(one.fetched_bytes for one in outcomes) == size_of(image)
    assert all(one.fetched_bytes + one.reused_bytes == size_of(image) for one in outcomes)
    results = [one.pull_result for one in outcomes]
    assert results.count(PullResult.DOWNLOADED) == 1
    assert results.count(PullResult.UP_TO_DATE) == 49


async def test_the_leader_leaves_and_the_others_go_on(lab: Lab) -> None:
    image = layered(300_000, 1000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    leader = await lab.manager.start(spec_for())
    await gate.reached()
    follower = await lab.manager.start(spec_for())
    await lab.until(follower.uid, begun(digest))
    left = await lab.manager.cancel(leader.uid)
    assert left.state == "CANCELLED"
    view = (await anext(aiter(lab.manager.watch(follower.uid)))).view
    assert (view.leader, view.followers) == ("", 0)
    gate.open()
    done = await lab.end(follower.uid)
    assert done.state == "SUCCEEDED"
    assert all_once(lab.registry)
    assert lab.registry.served[digest] == len(data)
    fetched = [outcome_of(one).fetched_bytes for one in (left, done)]
    assert sum(fetched) == size_of(image)
    # What came until the leader left came for the leader.
    assert fetched[0] >= 100_000


async def test_a_follower_leaves_and_the_leader_goes_on(lab: Lab) -> None:
    image = layered(300_000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    leader = await lab.manager.start(spec_for())
    await gate.reached()
    follower = await lab.manager.start(spec_for())
    await lab.until(follower.uid, begun(digest))
    left = await lab.manager.cancel(follower.uid)
    assert left.state == "CANCELLED"
    assert outcome_of(left).fetched_bytes == 0
    gate.open()
    assert (await lab.end(leader.uid)).state == "SUCCEEDED"
    assert all_once(lab.registry)


async def test_when_all_have_left_the_download_stops_and_its_bytes_stay(lab: Lab) -> None:
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    records = [await lab.manager.start(spec_for()) for _ in range(3)]
    await gate.reached()
    for record in records:
        await lab.until(record.uid, begun(digest))
    for record in records:
        assert (await lab.manager.cancel(record.uid)).state == "CANCELLED"
    await lab.manager._engine.flights.drain()
    assert lab.registry.open_streams == 0
    assert [(one.key, one.size) for one in lab.content.partials()] == [(digest, 100_000)]
    again = await lab.manager.resume(records[1].uid, None)
    assert again.attempt == 2
    assert (await lab.end(again.uid)).state == "SUCCEEDED"
    assert lab.registry.served[digest] == len(data)


async def test_whoever_comes_while_the_last_one_leaves_goes_on(lab: Lab) -> None:
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    first = await lab.manager.start(spec_for())
    await gate.reached()
    for _ in range(5):
        cancelling = asyncio.create_task(lab.manager.cancel(first.uid))
        second = await lab.manager.start(spec_for())
        await cancelling
        first = second
    assert (await lab.end(first.uid)).state == "SUCCEEDED"
    assert lab.registry.served[digest] == len(data)


async def test_a_failure_is_every_sharers_and_names_each_ones_reference(lab: Lab) -> None:
    image = layered(300_000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP, f"{HOST}/app:2")
    gate = Gate()
    # It names the one that asked.
    gone = Error(Reason.REGISTRY_DENIED, "no", host=HOST, http_status=403, reference=APP)
    lab.registry.trick(digest, Trick(gate=gate, error=gone))
    records = [await lab.manager.start(spec_for(f"{HOST}/app:{tag}")) for tag in (1, 2)]
    for record in records:
        await lab.until(record.uid, begun(digest))
    gate.open()
    failures = [outcome_of(await lab.end(record.uid)).failure for record in records]
    assert len(lab.registry.asked("blob", digest)) == 1
    for tag, failure in enumerate(failures, 1):
        assert failure is not None
        assert (failure.reason, failure.digest) == (Reason.REGISTRY_DENIED, digest)
        assert (failure.reference, failure.http_status) == (f"{HOST}/app:{tag}", 403)
        assert failure.origin is Origin.SOURCE


ALICE, BOB = Credentials("alice", "secret-a"), Credentials("bob", "secret-b")


async def test_callers_with_different_credentials_do_not_share(lab: Lab) -> None:
    """Whoever may not, may not, whatever others may."""
    image = layered(300_000)
    digest, data = layer_of(image)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=100_000))
    alice = await lab.manager.start(spec_for(credentials=ALICE))
    await gate.reached()
    denied = Error(Reason.REGISTRY_UNAUTHORIZED, "who?", host=HOST, http_status=401)
    lab.registry.trick(APP, Trick(error=denied))
    mallory = await lab.pull(credentials=BOB)
    assert mallory.state == "FAILED"
    failure = outcome_of(mallory).failure
    assert failure is not None
    assert failure.reason is Reason.REGISTRY_UNAUTHORIZED
    bob = await lab.manager.start(spec_for(credentials=BOB))
    await lab.until(bob.uid, begun(digest))
    view = (await anext(aiter(lab.manager.watch(bob.uid)))).view
    assert (view.leader, view.followers) == ("", 0)
    # The leader's end is not theirs either.
    await lab.manager.cancel(alice.uid)
    assert (await lab.end(bob.uid)).state == "SUCCEEDED"
    scopes = [call.scope for call in lab.registry.asked("resolve")]
    assert scopes == [ALICE.scope, BOB.scope, BOB.scope]
    assert [call.scope for call in lab.registry.asked("blob", digest)] == [ALICE.scope, BOB.scope]
    assert lab.registry.served[digest] == len(data)


@pytest.mark.parametrize(
    "other",
    [
        spec_for(platforms=["linux/amd64"]),
        spec_for(credentials=ALICE),
        spec_for(f"{HOST}/app:2"),
    ],
)
async def test_who_wants_something_else_leads_itself(lab: Lab, other: object) -> None:
    image = layered(1000)
    lab.registry.push(image, APP, f"{HOST}/app:2")
    gate = Gate()
    lab.registry.trick(layer_of(image)[0], Trick(gate=gate, at=10))
    await lab.manager.start(spec_for())
    await gate.reached()
    record = await lab.manager.start(other)  # type: ignore[arg-type]
    view = (await anext(aiter(lab.manager.watch(record.uid)))).view
    assert (view.leader, view.followers) == ("", 0)
    gate.open()
    assert TransferState[(await lab.end(record.uid)).state] is TransferState.SUCCEEDED

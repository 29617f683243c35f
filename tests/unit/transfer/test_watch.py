"""Watching: a snapshot, absolute events, one end; from any moment, at any pace."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.transfer import (
    ActivityKind,
    Node,
    NodeState,
    RetryPolicy,
    TransferState,
    WatchEvent,
    WatchEventKind,
    _progress,
)
from tests.unit.transfer.fakes import (
    HOST,
    PATIENCE,
    FakeRegistry,
    Gate,
    Lab,
    Trick,
    check_events,
    layer_of,
    layered,
    open_lab,
    outcome_of,
    retrying,
    settled,
    size_of,
    spec_for,
)

APP = f"{HOST}/app:1"


def told(events: list[WatchEvent]) -> dict[str, Node]:
    """What a watcher knows after some events. (Nodes are live: only for ended transfers.)"""
    return {node.node_id: node for event in events for node in event.nodes}


async def test_a_whole_watch(lab: Lab) -> None:
    image = layered(300_000, 200_000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP)
    lab.registry.piece = 20_000
    record = await lab.manager.start(spec_for())
    assert record.state == "PENDING"
    current = total = 0
    events, states = [], []
    async with asyncio.timeout(PATIENCE):
        async for event in lab.manager.watch(record.uid, 0.0):
            events.append(event)
            progress = event.view.progress
            states.append(event.view.record.state)
            # Absolute figures, that here only rise.
            assert progress.current_bytes >= current
            assert progress.total_bytes is None or progress.total_bytes == size_of(image)
            current, total = progress.current_bytes, progress.total_bytes or total
    check_events(events)
    assert (current, total) == (size_of(image), size_of(image))
    assert [one for one in dict.fromkeys(states) if one != "PENDING"] == ["RUNNING", "SUCCEEDED"]
    progress = events[-1].view.progress
    assert progress.done_nodes == len(progress.nodes) == 4
    assert progress.moved_bytes == size_of(image)
    root = progress.nodes[APP]
    assert [one.kind for one in root.activities] == [ActivityKind.RESOLVE, ActivityKind.DOWNLOAD]
    assert root.host == progress.nodes[digest].host == HOST
    for node in progress.nodes.values():
        assert node.state is NodeState.DONE
        for activity in node.activities:
            assert activity.ended is not None
            assert activity.started <= activity.ended
            assert activity.total in (None, activity.current)
    assert settled(told(events).values())


async def test_a_watcher_who_takes_its_time_misses_no_end(lab: Lab) -> None:
    """It holds nobody up, and finds every phase's end in the next event that it takes."""
    image = layered(30_000, 20_000, 10_000)
    lab.registry.push(image, APP)
    lab.registry.piece = 100
    gate = Gate()
    lab.registry.trick(APP, Trick(gate=gate))
    record = await lab.manager.start(spec_for())
    watching = aiter(lab.manager.watch(record.uid, 0.0))
    events = [await anext(watching)]
    gate.open()
    # The transfer goes to its end while the slow one looks at its first event.
    assert (await lab.end(record.uid)).state == "SUCCEEDED"
    async for event in watching:
        events.append(event)
    check_events(events)
    kinds = [event.kind for event in events]
    assert kinds == [WatchEventKind.SNAPSHOT, WatchEventKind.UPDATE, WatchEventKind.FINISHED]
    nodes = told(events)
    assert set(nodes) == {APP, *image.blobs}
    assert all(node.state is NodeState.DONE for node in nodes.values())
    assert settled(nodes.values())


async def test_a_long_interval_gets_few_events_and_every_end(lab: Lab) -> None:
    image = layered(300_000)
    lab.registry.push(image, APP)
    lab.registry.piece = 1000
    record = await lab.manager.start(spec_for())
    slow, quick = await asyncio.gather(lab.watch(record.uid, 3600.0), lab.watch(record.uid, 0.0))
    assert [event.kind for event in slow] == [
        WatchEventKind.SNAPSHOT,
        WatchEventKind.UPDATE,
        WatchEventKind.FINISHED,
    ]
    assert len(quick) >= len(slow)
    assert slow[-1].sequence == quick[-1].sequence
    assert set(told(slow)) == {APP, *image.blobs}


async def test_the_interval_has_a_floor(tmp_path: Path) -> None:
    async with open_lab(tmp_path, min_watch_interval=3600.0) as lab:
        lab.registry.push(layered(300_000), APP)
        lab.registry.piece = 1000
        record = await lab.manager.start(spec_for())
        assert len(await lab.watch(record.uid, 0.0)) == 3


async def test_a_quiet_stretch_has_heartbeats_whatever_the_interval(tmp_path: Path) -> None:
    image = layered(1000)
    async with open_lab(tmp_path, heartbeat=0.005) as lab:
        lab.registry.push(image, APP)
        gate = Gate()
        lab.registry.trick(layer_of(image)[0], Trick(gate=gate, at=500))
        record = await lab.manager.start(spec_for())
        await gate.reached()
        last = 0
        for interval in (0.001, 3600.0):
            beats: list[int] = []
            async with asyncio.timeout(PATIENCE):
                async for event in lab.manager.watch(record.uid, interval):
                    if event.kind is WatchEventKind.HEARTBEAT:
                        beats.append(event.sequence - last)
                    last = event.sequence
                    if len(beats) == 3:
                        break
            assert beats == [0, 0, 0]
        gate.open()
        events = await lab.watch(record.uid)
        assert events[-1].kind is WatchEventKind.FINISHED


async def test_attaching_in_the_middle_begins_with_the_whole_picture(lab: Lab) -> None:
    image = layered(1000, 2000)
    digest, _ = layer_of(image, 1)
    lab.registry.push(image, APP)
    gate = Gate()
    lab.registry.trick(digest, Trick(gate=gate, at=500))
    record = await lab.manager.start(spec_for())
    await lab.until(record.uid, lambda progress: progress.done_nodes == 3)
    # It stands at the gate, with all that comes before it.
    await lab.until(record.uid, lambda progress: progress.nodes[digest].current == 500)
    watching = aiter(lab.manager.watch(record.uid, 0.0))
    first = await anext(watching)
    assert [node.node_id for node in first.nodes] == [
        APP,
        image.image_id,
        layer_of(image)[0],
        digest,
    ]
    assert first.nodes[-1].state is NodeState.ACTIVE
    assert first.nodes[-1].activities[0].current == 500
    # Again, with what was seen before: no lower number.
    again = await anext(aiter(lab.manager.watch(record.uid, 0.0)))
    assert again.sequence >= first.sequence
    gate.open()
    rest = [event async for event in watching]
    check_events([first, *rest])
    # After the end: the same end, and all that was told before it.
    late = await lab.watch(record.uid)
    assert [event.kind for event in late] == [WatchEventKind.SNAPSHOT, WatchEventKind.FINISHED]
    assert late[-1].sequence == rest[-1].sequence
    assert late[0].sequence >= rest[-2].sequence
    assert [node.to_json() for node in late[0].nodes] == [
        node.to_json() for node in rest[-1].view.progress.nodes.values()
    ]
    assert late[-1].view.progress.current_bytes == rest[-1].view.progress.current_bytes
    assert late[-1].view.progress.moved_bytes == rest[-1].view.progress.moved_bytes


async def test_numbers_rise_across_restarts_and_resumes(tmp_path: Path) -> None:
    image = layered(1000)
    registry = FakeRegistry()
    registry.push(image, APP)
    gates = [Gate(), Gate()]
    for gate in gates:
        registry.trick(layer_of(image)[0], Trick(gate=gate, at=500))
    last = 0
    uid = ""
    for number, gate in enumerate(gates):
        async with open_lab(tmp_path, registry) as lab:
            if number:
                events = await lab.watch(uid)
                assert events[0].sequence > last
                assert outcome_of(events[-1].view.record).failure is not None
                last = events[-1].sequence
                await lab.manager.resume(uid, None)
            else:
                # The config comes before the layer that stands at the gate.
                uid = (await lab.manager.start(spec_for(max_concurrency=1))).uid
            await gate.reached()
            event = await anext(aiter(lab.manager.watch(uid)))
            assert event.sequence > last
            last = event.sequence
    for gate in gates:
        gate.open()
    async with open_lab(tmp_path, registry) as lab:
        events = await lab.watch(uid)
        assert events[0].sequence > last
        last = events[-1].sequence
        await lab.manager.resume(uid, None)
        events = await lab.watch(uid)
        assert events[0].sequence > last
        last = events[-1].sequence
        assert last < 2**53
    async with open_lab(tmp_path, registry) as lab:
        events = await lab.watch(uid)
        assert events[-1].sequence == last
        assert TransferState[events[-1].view.record.state] is TransferState.SUCCEEDED
        assert [node.state for node in events[0].nodes] == [NodeState.EXISTS] * 2 + [NodeState.DONE]


async def test_numbers_rise_after_a_crash(tmp_path: Path) -> None:
    """Nothing of the run was stored but that it was accepted."""
    image = layered(1000)
    gate = Gate()
    async with open_lab(tmp_path) as crashed:
        crashed.registry.push(image, APP)
        crashed.registry.trick(layer_of(image)[0], Trick(gate=gate, at=500))
        record = await crashed.manager.start(spec_for())
        await gate.reached()
        seen = (await anext(aiter(crashed.manager.watch(record.uid)))).sequence
        # Another daemon over the same files, while this one has not said a word to them.
        async with open_lab(tmp_path) as lab:
            events = await lab.watch(record.uid)
            assert events[0].sequence > seen
            failure = outcome_of(events[-1].view.record).failure
            assert failure is not None
            assert failure.reason is Reason.INTERRUPTED
            lab.registry.push(image, APP)
            await lab.manager.resume(record.uid, None)
            again = await lab.watch(record.uid)
            assert again[0].sequence > events[-1].sequence


async def test_a_large_image_is_told_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_progress, "_MAX_WEIGHT", 4096)
    image = layered(*range(100, 140))
    async with open_lab(tmp_path) as lab:
        lab.registry.push(image, APP)
        gate = Gate()
        lab.registry.trick(image.image_id, Trick(gate=gate, at=5))
        record = await lab.manager.start(spec_for(max_concurrency=1))
        await gate.reached()
        wanted = {APP, *image.blobs}
        before = 0
        for _ in range(3):
            events: list[WatchEvent] = []
            async with asyncio.timeout(PATIENCE):
                async for event in lab.manager.watch(record.uid, 0.0):
                    events.append(event)
                    if set(told(events)) == wanted:
                        break
            assert len(events) > 5
            numbers = [event.sequence for event in events]
            assert numbers == sorted(set(numbers))
            assert numbers[0] >= before
            before = numbers[-1]
        gate.open()
        events = await lab.watch(record.uid)
        late = await lab.watch(record.uid)
        assert set(told(late)) == set(told(events)) == wanted
        assert late[-1].sequence == events[-1].sequence
        assert settled(told(events).values())


async def test_a_failure_is_data_and_the_watch_ends_well(lab: Lab) -> None:
    image = layered(1000, 2000)
    digest, _ = layer_of(image)
    lab.registry.push(image, APP)
    denied = Error(Reason.REGISTRY_DENIED, "no", host=HOST, http_status=403, registry_code="DENIED")
    gate = Gate()
    lab.registry.trick(layer_of(image, 1)[0], Trick(gate=gate, at=1500))
    lab.registry.trick(digest, Trick(error=denied))
    record = await lab.manager.start(spec_for())
    live = await lab.watch(record.uid)
    ended = live[-1].view.record
    for events in (live, await lab.watch(record.uid)):
        assert events[-1].view.record == ended
        failure = outcome_of(ended).failure
        assert ended.state == "FAILED"
        assert failure is not None
        assert (failure.reason, failure.digest, failure.host) == (
            Reason.REGISTRY_DENIED,
            digest,
            HOST,
        )
        assert (failure.http_status, failure.registry_code) == (403, "DENIED")
        nodes = told(events)
        assert nodes[digest].state is NodeState.FAILED
        assert nodes[digest].failure is not None
        # The one that was given up with it is not active for ever.
        assert nodes[layer_of(image, 1)[0]].state is NodeState.WAITING
        assert settled(nodes.values())
    outcome = outcome_of(ended)
    assert outcome.target is not None
    assert outcome.target.digest == image.digest
    assert outcome.fetched_bytes >= len(image.raw)


@pytest.mark.parametrize("retry", [True, False])
async def test_a_cancelled_transfer_leaves_nothing_active(tmp_path: Path, retry: bool) -> None:
    image = layered(300_000, 2000)
    digest, _ = layer_of(image)
    policy = RetryPolicy(first=3600.0, ceiling=3600.0)
    async with open_lab(tmp_path, retry=policy) as lab:
        lab.registry.push(image, APP)
        gate = Gate()
        lab.registry.trick(digest, Trick(cut=100_000) if retry else Trick(gate=gate, at=100_000))
        record = await lab.manager.start(spec_for(max_concurrency=1))
        if retry:
            await lab.until(record.uid, retrying(digest))
        else:
            await gate.reached()
        watching = asyncio.create_task(lab.watch(record.uid))
        await lab.until(record.uid, lambda _: True)
        ended = await lab.manager.cancel(record.uid)
        for events in (await watching, await lab.watch(record.uid)):
            assert events[-1].view.record.state == ended.state == "CANCELLED"
            nodes = told(events)
            assert settled(nodes.values())
            assert nodes[digest].state is NodeState.WAITING
            assert nodes[digest].current == 100_000
            assert nodes[digest].retry is None
            # One that never began has nothing that ended.
            assert nodes[layer_of(image, 1)[0]].activities == []


async def test_a_stop_ends_watches_with_a_reason(tmp_path: Path) -> None:
    image = layered(1000)
    gate = Gate()
    async with open_lab(tmp_path) as lab:
        lab.registry.push(image, APP)
        lab.registry.trick(layer_of(image)[0], Trick(gate=gate, at=500))
        record = await lab.manager.start(spec_for())
        await gate.reached()
        watching = [asyncio.create_task(lab.watch(record.uid, pause)) for pause in (0.0, 3600.0)]
        await lab.until(record.uid, lambda _: True)
        await lab.manager.close()
        for task in watching:
            with pytest.raises(Error) as refused:
                await task
            assert refused.value.reason is Reason.SHUTTING_DOWN
            assert refused.value.retry_after is not None
        # What has ended can still be read.
        assert (await lab.end(record.uid)).state == "INTERRUPTED"


async def test_who_is_not_there_cannot_be_watched(lab: Lab) -> None:
    with pytest.raises(Error) as refused:
        await lab.watch("NOBODY")
    assert refused.value.reason is Reason.TRANSFER_NOT_FOUND

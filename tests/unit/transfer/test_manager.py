"""A transfer's life: accepted, run, steered, recorded, forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import collect
from imgd_server.metadata import LeaseRecord, TransferRecord
from imgd_server.registry import Credentials
from imgd_server.transfer import (
    LeaseRequest,
    NodeState,
    TransferConfig,
    TransferManager,
    TransferSpec,
    TransferState,
    now_us,
)
from tests.unit.transfer.broken import APP, FULL, Broken, broken, held
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

SECRETS = Credentials("user-name-7d1", "pass-word-8f2")


# --- accepting


async def test_a_record_is_there_at_once_and_durable(lab: Lab) -> None:
    gate = Gate()
    record = await held(lab, gate, tags=("mine",), platforms=["linux/amd64"])
    assert (record.state, record.attempt, record.started, record.ended) == (
        "PENDING",
        1,
        None,
        None,
    )
    now = await lab.manager.get(record.uid)
    assert now.state == "RUNNING"
    assert now.started is not None
    assert now.started >= record.created
    stored = await lab.metadata.read(lambda session: session.transfer(record.uid))
    assert stored is not None
    assert TransferSpec.from_json(stored.spec) == spec_for(
        tags=("docker.io/library/mine:latest",), platforms=["linux/amd64"]
    )
    gate.open()
    ended = await lab.end(record.uid)
    assert ended.ended is not None
    assert ended.expires is not None
    assert ended.expires - ended.ended == 24 * 3600 * 1_000_000
    assert await lab.metadata.read(lambda session: session.transfer(record.uid)) == ended
    assert lab.manager.running == 0


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (spec_for(f"{HOST}/UPPER"), Reason.REFERENCE_INVALID),
        (spec_for(APP, tags=("bad tag",)), Reason.REFERENCE_INVALID),
        (spec_for(APP, platforms=["a/b/c/d"]), Reason.PLATFORM_INVALID),
    ],
)
async def test_what_is_wrong_with_the_request_is_said_at_once(
    lab: Lab, spec: TransferSpec, reason: Reason
) -> None:
    with pytest.raises(Error) as refused:
        await lab.manager.start(spec)
    assert refused.value.reason is reason
    assert await lab.manager.list([], None, 10) == []


async def test_the_same_request_id_is_the_same_transfer(lab: Lab) -> None:
    gate = Gate()
    image = layered(1000)
    lab.registry.push(image, APP, f"{HOST}/app:2")
    lab.registry.trick(APP, Trick(gate=gate))
    first, again = await asyncio.gather(
        lab.manager.start(spec_for(), "mine"), lab.manager.start(spec_for(), "mine")
    )
    assert first.uid == again.uid
    # Also with other credentials: a retry may have fresh ones.
    await gate.reached()
    third = await lab.manager.start(spec_for(credentials=SECRETS), "mine")
    assert (third.uid, third.state) == (first.uid, "RUNNING")
    with pytest.raises(Error) as refused:
        await lab.manager.start(spec_for(f"{HOST}/app:2"), "mine")
    assert refused.value.reason is Reason.REQUEST_ID_REUSED
    assert lab.manager.running == 1
    gate.open()
    await lab.end(first.uid)
    after = await lab.manager.start(spec_for(), "mine")
    assert (after.uid, after.state) == (first.uid, "SUCCEEDED")
    assert len(lab.registry.asked("resolve")) == 1
    other = await lab.manager.start(spec_for(), "another")
    assert other.uid != first.uid
    await lab.end(other.uid)
    # Once it is forgotten, the ID means nothing.
    await lab.manager.delete(first.uid)
    fresh = await lab.manager.start(spec_for(f"{HOST}/app:2"), "mine")
    assert fresh.uid != first.uid
    await lab.end(fresh.uid)


async def collected(lab: Lab) -> int:
    """How many blobs and partials a collection frees."""
    found = await collect(lab.metadata, lab.content, now_us, dry_run=False)
    return found.deleted_blobs + found.deleted_partials


async def test_a_transfer_that_is_deleted_holds_nothing_any_more(lab: Lab) -> None:
    gate = Gate()
    record = await held(lab, gate)
    await lab.manager.cancel(record.uid)
    # Until its thread has let go of the file.
    await lab.manager._engine.flights.drain()
    assert await collected(lab) == 0
    await lab.manager.delete(record.uid)
    assert await collected(lab) > 0
    assert not list(lab.content.blobs())
    assert not list(lab.content.partials())
    events = await lab.metadata.read(lambda session: session.events(0, None, 100))
    assert [one.action for one in events if one.kind == "TRANSFER"] == ["start", "finish", "delete"]


async def test_a_success_ends_the_holds_of_those_that_failed_before(lab: Lab) -> None:
    """Nobody would find out why the image's bytes stay when it is removed."""
    gate, other = Gate(), layered(300, seed=2)
    lab.registry.push(other, f"{HOST}/other:1")
    layer = layer_of(other)[0]
    lab.registry.trick(layer, Trick(error=Error(Reason.REGISTRY_DENIED, "403", host=HOST)))
    assert (await lab.pull(f"{HOST}/other:1")).state == "FAILED"
    for _ in range(2):
        await lab.manager.cancel((await held(lab, gate)).uid)
    gate.open()
    done = await lab.pull()
    image = outcome_of(done).image
    assert (done.state, await collected(lab)) == ("SUCCEEDED", 0)
    await lab.metadata.write(lambda session: session.delete_image(image))
    await collected(lab)
    # What another one left is kept for a resume.
    left = {info.digest for info in lab.content.blobs()}
    assert other.digest in left
    assert left <= {other.digest, other.image_id}


async def test_what_a_pull_left_is_held_for_a_while(tmp_path: Path) -> None:
    async with open_lab(tmp_path, partial_lifetime=100.0) as lab:

        async def held_for(uid: str) -> float:
            found = await lab.metadata.read(lambda session: session.lease(f"transfer:{uid}"))
            assert found is not None
            assert found.digests
            return (found.expires - now_us()) / 1e6

        gate = Gate()
        record = await held(lab, gate)
        assert await held_for(record.uid) > 86400
        await lab.manager.cancel(record.uid)
        assert await held_for(record.uid) <= 100
        # A resumed run holds it for as long as it takes; and what a crash left has its time too.
        lab.registry.trick(layer_of(layered(1000))[0], Trick(gate=gate, at=900))
        await lab.manager.resume(record.uid)
        await lab.until(record.uid, lambda progress: progress.planned)
        assert await held_for(record.uid) > 86400
        running = await lab.metadata.read(lambda session: session.transfer(record.uid))
        assert running is not None
        await lab.manager.close()
        await lab.metadata.write(lambda session: session.put_transfer(running))
        await lab.metadata.write(
            lambda session: session.put_lease(
                LeaseRecord(f"transfer:{record.uid}", 0, now_us() + 10**12)
            )
        )
        lab.manager = TransferManager(
            lab.metadata, lab.content, lab.registry, TransferConfig(partial_lifetime=50.0)
        )
        await lab.manager.open()
        assert (await lab.manager.get(record.uid)).state == "INTERRUPTED"
        assert await held_for(record.uid) <= 50


async def test_so_many_wait_and_no_more(tmp_path: Path) -> None:
    async with open_lab(tmp_path, max_running=1, max_pending=2) as lab:
        gate = Gate()
        failed = await lab.pull(f"{HOST}/none:1")
        first = await held(lab, gate)
        starts = (lab.manager.start(spec_for(), f"request {number}") for number in range(10))
        answers = await asyncio.gather(*starts, return_exceptions=True)
        accepted = [one for one in answers if isinstance(one, TransferRecord)]
        refused = [one for one in answers if isinstance(one, Error)]
        assert (len(accepted), len(refused)) == (2, 8)
        assert {error.reason for error in refused} == {Reason.TOO_BUSY}
        assert all(error.retry_after for error in refused)
        assert len(await lab.manager.list([], None, 100)) == 4
        # Who repeats a request that was accepted is answered all the same.
        again = await lab.manager.start(spec_for(), accepted[0].request_id)
        assert again.uid == accepted[0].uid
        with pytest.raises(Error) as busy:
            await lab.manager.resume(failed.uid)
        assert busy.value.reason is Reason.TOO_BUSY
        assert (await lab.manager.get(failed.uid)).attempt == 1
        await lab.manager.cancel(accepted[0].uid)
        last = await lab.manager.start(spec_for())
        gate.open()
        for record in (first, accepted[1], last):
            assert (await lab.end(record.uid)).state == "SUCCEEDED"


async def test_nothing_is_accepted_that_cannot_be_recorded(tmp_path: Path) -> None:
    async with open_lab(tmp_path, store=Broken) as lab:
        lab.registry.push(layered(10), APP)
        broken(lab).failure = FULL
        with pytest.raises(Error) as refused:
            await lab.manager.start(spec_for())
        assert refused.value.reason is Reason.DISK_FULL
        assert lab.manager.running == 0
        broken(lab).failure = None
        assert await lab.manager.list([], None, 10) == []
        assert lab.registry.calls == []
        assert (await lab.pull()).state == "SUCCEEDED"


async def test_a_caller_who_goes_while_it_is_accepted_leaves_a_transfer_that_runs(
    tmp_path: Path,
) -> None:
    """Never a record that waits for ever."""
    async with open_lab(tmp_path, store=Broken) as lab:
        lab.registry.push(layered(10), APP)
        broken(lab).hold()
        starting = asyncio.create_task(lab.manager.start(spec_for()))
        await broken(lab).arrived.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        broken(lab).let_go()
        async with asyncio.timeout(PATIENCE):
            while not (records := await lab.manager.list([], None, 10)):
                await asyncio.sleep(0)
        assert (await lab.end(records[0].uid)).state == "SUCCEEDED"


async def test_a_stopping_daemon_accepts_nothing_and_loses_nothing(tmp_path: Path) -> None:
    async with open_lab(tmp_path, store=Broken) as lab:
        lab.registry.push(layered(10), APP)
        broken(lab).hold()
        starting = asyncio.create_task(lab.manager.start(spec_for()))
        await broken(lab).arrived.wait()
        closing = asyncio.create_task(lab.manager.close())
        await asyncio.sleep(0)
        broken(lab).let_go()
        await closing
        record = await starting
        assert (await lab.manager.get(record.uid)).state == "INTERRUPTED"
        for refused in (lab.manager.start(spec_for()), lab.manager.resume(record.uid, None)):
            with pytest.raises(Error) as error:
                await refused
            assert error.value.reason is Reason.SHUTTING_DOWN
        assert lab.registry.calls == []


async def test_a_start_that_the_stop_overtakes_is_interrupted(lab: Lab) -> None:
    """It was let in, and is not yet known, when the stop interrupts all that are."""
    lab.registry.push(layered(10), APP)
    starting = asyncio.create_task(lab.manager.start(spec_for()))
    closing = asyncio.create_task(lab.manager.close())
    record = await starting
    await closing
    assert (await lab.manager.get(record.uid)).state == "INTERRUPTED"
    assert lab.registry.calls == []


# --- cancelling


async def test_cancelling_before_the_run_began(lab: Lab) -> None:
    lab.registry.push(layered(10), APP)
    record = await lab.manager.start(spec_for())
    async with asyncio.timeout(PATIENCE):
        ended = await lab.manager.cancel(record.uid)
    assert ended.state == "CANCELLED"
    failure = outcome_of(ended).failure
    assert failure is not None
    assert failure.reason is Reason.CANCELLED
    assert await lab.metadata.read(lambda session: session.transfer(record.uid)) == ended


async def test_cancelling_is_idempotent_and_leaves_what_ended(lab: Lab) -> None:
    gate = Gate()
    record = await held(lab, gate)
    ends = await asyncio.gather(*(lab.manager.cancel(record.uid) for _ in range(3)))
    assert {end.state for end in ends} == {"CANCELLED"}
    assert await lab.manager.cancel(record.uid) == ends[0]
    gate.open()
    done = await lab.pull()
    assert (await lab.manager.cancel(done.uid)).state == "SUCCEEDED"
    with pytest.raises(Error) as refused:
        await lab.manager.cancel("NOBODY")
    assert refused.value.reason is Reason.TRANSFER_NOT_FOUND


async def test_cancelling_what_is_just_being_resumed(tmp_path: Path) -> None:
    async with open_lab(tmp_path, store=Broken) as lab:
        failed = await lab.pull(f"{HOST}/none:1")
        lab.registry.calls.clear()
        broken(lab).hold()
        resuming = asyncio.create_task(lab.manager.resume(failed.uid, None))
        await broken(lab).arrived.wait()
        cancelling = asyncio.create_task(lab.manager.cancel(failed.uid))
        await asyncio.sleep(0)
        broken(lab).let_go()
        assert (await resuming).attempt == 2
        ended = await cancelling
        assert (ended.state, ended.attempt) == ("CANCELLED", 2)
        assert lab.registry.calls == []


async def test_a_cancellation_during_the_commit_comes_too_late(tmp_path: Path) -> None:
    """The name may have moved: then the transfer has succeeded."""
    async with open_lab(tmp_path, store=Broken) as lab:
        gate = Gate()
        record = await held(lab, gate)
        broken(lab).hold()
        gate.open()
        await broken(lab).arrived.wait()
        cancelling = asyncio.create_task(lab.manager.cancel(record.uid))
        await asyncio.sleep(0)
        broken(lab).let_go()
        assert (await cancelling).state == "SUCCEEDED"
        assert list(await lab.names()) == [APP]


async def test_the_last_share_that_is_given_up_cancels(lab: Lab) -> None:
    """Callers of one repeated request have a share each, as long as they are there."""
    gate = Gate()
    image = layered(1000)
    lab.registry.push(image, APP)
    lab.registry.trick(layer_of(image)[0], *[Trick(gate=gate, at=500)] * 3)
    first = await lab.manager.start(spec_for(), "mine", shared=True)
    again = await lab.manager.start(spec_for(), "mine", shared=True)
    assert again.uid == first.uid
    lab.manager.leave(first.uid)
    assert (await lab.manager.get(first.uid)).state == "RUNNING"
    lab.manager.leave(first.uid)
    assert (await lab.end(first.uid)).state == "CANCELLED"
    # Somebody who started it without a share, or resumed it, wants it whoever leaves.
    for start in (
        lab.manager.start(spec_for(), "kept", shared=True),
        lab.manager.resume(first.uid, None),
    ):
        record = await start
        if record.request_id == "kept":
            await lab.manager.start(spec_for(), "kept")
        lab.manager.leave(record.uid)
        assert (await lab.manager.get(record.uid)).state in ("PENDING", "RUNNING")
    gate.open()
    assert (await lab.end(first.uid)).state == "SUCCEEDED"
    lab.manager.leave(first.uid)


async def test_who_waits_for_its_turn_can_be_cancelled_at_once(tmp_path: Path) -> None:
    async with open_lab(tmp_path, max_running=1) as lab:
        gate = Gate()
        first = await held(lab, gate)
        second = await lab.manager.start(spec_for())
        third = await lab.manager.start(spec_for())
        event = await anext(aiter(lab.manager.watch(second.uid)))
        assert event.view.record.state == "PENDING"
        assert event.view.record.started is None
        async with asyncio.timeout(PATIENCE):
            assert (await lab.manager.cancel(second.uid)).state == "CANCELLED"
        gate.open()
        # And does not hold up who waits behind it.
        assert (await lab.end(third.uid)).state == "SUCCEEDED"
        assert (await lab.end(first.uid)).state == "SUCCEEDED"


# --- looking


async def test_lists_tell_what_is_under_way(tmp_path: Path) -> None:
    async with open_lab(tmp_path, max_running=1) as lab:
        gate = Gate()
        done = [await lab.pull(f"{HOST}/none:{number}") for number in range(3)]
        running = await held(lab, gate)
        pending = [await lab.manager.start(spec_for()) for _ in range(2)]

        async def states(*wanted: str) -> list[str]:
            found, after = [], None
            while page := await lab.manager.list([TransferState[one] for one in wanted], after, 2):
                found += [one.uid for one in page]
                after = (page[-1].created, page[-1].uid)
            return found

        newest_first = [one.uid for one in reversed(pending)]
        assert await states("RUNNING") == [running.uid]
        assert await states("PENDING") == newest_first
        assert await states("FAILED") == [one.uid for one in reversed(done)]
        assert await states("RUNNING", "FAILED") == [
            running.uid,
            *(one.uid for one in reversed(done)),
        ]
        assert await states("SUCCEEDED") == []
        assert len(await states()) == 6
        listed = {one.uid: one.state for one in await lab.manager.list([], None, 10)}
        assert listed[running.uid] == "RUNNING"
        assert lab.manager.running == 3
        gate.open()
        for one in pending:
            await lab.end(one.uid)


async def test_records_go_when_their_time_is_over(tmp_path: Path) -> None:
    async with open_lab(tmp_path, retention=0.0) as lab:
        lab.registry.push(layered(10), APP)
        gone = await lab.manager.start(spec_for(), "mine")
        assert (await lab.end(gone.uid)).state == "SUCCEEDED"
        # A daemon that runs for months forgets, too.
        record = await lab.manager.start(spec_for(), "mine")
        assert record.uid != gone.uid
        await lab.end(record.uid)
        with pytest.raises(Error) as refused:
            await lab.manager.get(gone.uid)
        assert refused.value.reason is Reason.TRANSFER_NOT_FOUND
    async with open_lab(tmp_path) as lab:
        assert await lab.manager.list([], None, 10) == []
        assert list(await lab.names()) == [APP]


async def test_deleting(lab: Lab) -> None:
    gate = Gate()
    record = await held(lab, gate)
    with pytest.raises(Error) as refused:
        await lab.manager.delete(record.uid)
    assert refused.value.reason is Reason.TRANSFER_STATE
    gate.open()
    await lab.end(record.uid)
    await lab.manager.delete(record.uid)
    for call in (lab.manager.delete, lab.manager.get, lab.manager.cancel):
        with pytest.raises(Error) as refused:
            await call(record.uid)
        assert refused.value.reason is Reason.TRANSFER_NOT_FOUND
    with pytest.raises(Error) as refused:
        await lab.manager.resume(record.uid, None)
    assert refused.value.reason is Reason.TRANSFER_NOT_FOUND


@pytest.mark.parametrize("first", ["delete", "resume"])
async def test_whoever_deletes_and_whoever_resumes_agree(tmp_path: Path, first: str) -> None:
    """In whatever order the store takes the two."""
    async with open_lab(tmp_path, store=Broken) as lab:
        failed = await lab.pull(f"{HOST}/none:1")
        broken(lab).hold(most=2 if first == "delete" else 1)
        deleting = asyncio.create_task(lab.manager.delete(failed.uid))
        await broken(lab).arrived.wait()
        resuming = asyncio.create_task(lab.manager.resume(failed.uid, None))
        if first == "resume":
            assert (await resuming).attempt == 2
        else:
            async with asyncio.timeout(PATIENCE):
                while not lab.manager.running:
                    await asyncio.sleep(0)
        broken(lab).let_go()
        loser = resuming if first == "delete" else deleting
        with pytest.raises(Error) as refused:
            await loser
        if first == "delete":
            assert refused.value.reason is Reason.TRANSFER_NOT_FOUND
            await deleting
            assert await lab.manager.list([], None, 10) == []
            assert lab.manager.running == 0
        else:
            assert refused.value.reason is Reason.TRANSFER_STATE
            assert (await lab.end(failed.uid)).attempt == 2


# --- resuming


async def test_resuming_runs_the_same_again(lab: Lab) -> None:
    gate = Gate()
    record = await held(lab, gate, tags=("mine",), lease=LeaseRequest("kept"))
    with pytest.raises(Error) as refused:
        await lab.manager.resume(record.uid, None)
    assert refused.value.reason is Reason.TRANSFER_STATE
    await lab.manager.cancel(record.uid)
    gate.open()
    resumed = await lab.manager.resume(record.uid, SECRETS)
    assert (resumed.uid, resumed.state, resumed.attempt) == (record.uid, "PENDING", 2)
    assert (resumed.ended, resumed.expires, resumed.outcome) == (None, None, None)
    assert resumed.created == record.created
    ended = await lab.end(record.uid)
    assert (ended.state, ended.attempt) == ("SUCCEEDED", 2)
    assert list(await lab.names()) == ["docker.io/library/mine:latest"]
    assert outcome_of(ended).lease == "kept"
    assert lab.registry.calls[-1].scope == SECRETS.scope
    with pytest.raises(Error) as refused:
        await lab.manager.resume(record.uid, None)
    assert refused.value.reason is Reason.TRANSFER_STATE


async def test_of_many_who_resume_one_does(lab: Lab) -> None:
    failed = await lab.pull(f"{HOST}/none:1")
    lab.registry.push(layered(10), f"{HOST}/none:1")
    answers = await asyncio.gather(
        *(lab.manager.resume(failed.uid, None) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, TransferRecord) for one in answers) == 1
    for one in answers:
        if isinstance(one, Error):
            assert one.reason is Reason.TRANSFER_STATE
    ended = await lab.end(failed.uid)
    assert (ended.state, ended.attempt) == ("SUCCEEDED", 2)


async def test_a_resume_that_cannot_be_recorded_leaves_the_end_as_it_was(tmp_path: Path) -> None:
    async with open_lab(tmp_path, store=Broken) as lab:
        failed = await lab.pull(f"{HOST}/none:1")
        broken(lab).hold()
        resuming = asyncio.create_task(lab.manager.resume(failed.uid, None))
        await broken(lab).arrived.wait()
        # Whoever looks or waits meanwhile is told in the end.
        watching = asyncio.create_task(lab.watch(failed.uid))
        cancelling = asyncio.create_task(lab.manager.cancel(failed.uid))
        await asyncio.sleep(0)
        broken(lab).failure = FULL
        broken(lab).let_go()
        with pytest.raises(Error) as refused:
            await resuming
        assert refused.value.reason is Reason.DISK_FULL
        broken(lab).failure = None
        assert (await watching)[-1].view.record == failed
        assert await cancelling == failed
        assert await lab.manager.get(failed.uid) == failed
        assert lab.manager.running == 0
        lab.registry.push(layered(10), f"{HOST}/none:1")
        assert (await lab.manager.resume(failed.uid, None)).attempt == 2
        assert (await lab.end(failed.uid)).state == "SUCCEEDED"


# --- stopping


async def test_a_stop_interrupts_what_runs_and_what_waits(tmp_path: Path) -> None:
    gate = Gate()
    async with open_lab(tmp_path, max_running=1) as lab:
        running = await held(lab, gate)
        pending = await lab.manager.start(spec_for())
        done = await lab.manager.cancel((await lab.manager.start(spec_for())).uid)
    gate.open()
    async with open_lab(tmp_path) as lab:
        lab.registry.push(layered(1000), APP)
        for record, started in ((running, True), (pending, False)):
            known = await lab.manager.get(record.uid)
            failure = outcome_of(known).failure
            assert known.state == "INTERRUPTED"
            assert failure is not None
            assert (failure.reason, failure.origin) == (Reason.INTERRUPTED, Origin.DAEMON)
            assert (known.started is not None) is started
            assert known.ended is not None
            assert known.expires is not None
            events = await lab.watch(record.uid)
            assert all(
                node.state in (NodeState.DONE, NodeState.WAITING) for node in events[0].nodes
            )
            assert bool(events[0].nodes) is started
            await lab.manager.resume(record.uid, None)
            assert (await lab.end(record.uid)).state == "SUCCEEDED"
        assert await lab.manager.get(done.uid) == done


async def test_a_stop_while_the_end_is_being_committed_waits_for_it(tmp_path: Path) -> None:
    async with open_lab(tmp_path, store=Broken) as lab:
        gate = Gate()
        record = await held(lab, gate)
        watching = asyncio.create_task(lab.watch(record.uid))
        await lab.until(record.uid, lambda _: True)
        broken(lab).hold()
        gate.open()
        await broken(lab).arrived.wait()
        closing = asyncio.create_task(lab.manager.close())
        with pytest.raises(Error) as refused:
            await watching
        assert refused.value.reason is Reason.SHUTTING_DOWN
        broken(lab).let_go()
        await closing
        assert (await lab.manager.get(record.uid)).state == "SUCCEEDED"
        assert list(await lab.names()) == [APP]

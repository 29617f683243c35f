"""How transfers end: when the disk refuses, which of several causes is told, and what never is."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from imgd_server.errors import Error, Origin, Reason
from imgd_server.registry import Credentials
from imgd_server.transfer import (
    LeaseRequest,
    PullPolicy,
    RegistryEndpoint,
    TransferSpec,
    TransferState,
    WatchEvent,
)
from imgd_server.transfer._endings import cause_of
from tests.unit.transfer.broken import APP, FULL, Broken, broken, held
from tests.unit.transfer.fakes import (
    PATIENCE,
    FakeRegistry,
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


# --- ends that the disk refuses


@pytest.mark.parametrize("failure", [FULL, OSError(5, "Input/output error")])
async def test_an_end_that_cannot_be_recorded_is_known_and_recorded_later(
    tmp_path: Path, failure: BaseException
) -> None:
    async with open_lab(tmp_path, store=Broken, record_interval=0.005) as lab:
        gate = Gate()
        record = await held(lab, gate)
        watching = asyncio.create_task(lab.watch(record.uid))
        broken(lab).failure = failure
        gate.open()
        async with asyncio.timeout(PATIENCE):
            ended = (await watching)[-1].view.record
        outcome = outcome_of(ended)
        assert ended.state == "FAILED"
        assert outcome.failure is not None
        wanted = Reason.DISK_FULL if isinstance(failure, Error) else Reason.INTERNAL
        assert outcome.failure.reason is wanted
        if wanted is Reason.DISK_FULL:
            assert outcome.failure.origin is Origin.DESTINATION
        assert await lab.names() == {}
        # In the metadata it is still accepted, and nothing more; nobody is told so.
        stored = await lab.metadata.read(lambda session: session.transfer(record.uid))
        assert stored is not None
        assert stored.state == "PENDING"
        assert await lab.manager.get(record.uid) == ended
        assert (await lab.manager.list([TransferState.FAILED], None, 10))[0].uid == record.uid
        assert await lab.manager.list([TransferState.PENDING], None, 10) == []
        assert (await lab.watch(record.uid))[-1].view.record == ended
        assert await lab.manager.cancel(record.uid) == ended
        assert lab.manager.running == 0
        broken(lab).failure = None
        async with asyncio.timeout(PATIENCE):
            while await lab.metadata.read(lambda s: s.transfer(record.uid)) != ended:
                await asyncio.sleep(0.001)
        await lab.manager.resume(record.uid, None)
        assert (await lab.end(record.uid)).state == "SUCCEEDED"


@pytest.mark.parametrize("deed", ["resume", "delete", "stop"])
async def test_an_end_that_is_not_recorded_yet_can_be_gone_on_from(
    tmp_path: Path, deed: str
) -> None:
    async with open_lab(tmp_path, store=Broken, record_interval=3600.0) as lab:
        gate = Gate()
        record = await held(lab, gate)
        broken(lab).failure = FULL
        gate.open()
        ended = await lab.end(record.uid)
        assert ended.state == "FAILED"
        with pytest.raises(Error) as refused:
            await lab.manager.resume(record.uid, None)
        assert refused.value.reason is Reason.DISK_FULL
        assert await lab.manager.get(record.uid) == ended
        broken(lab).failure = None
        if deed == "resume":
            await lab.manager.resume(record.uid, None)
            assert (await lab.end(record.uid)).state == "SUCCEEDED"
        elif deed == "delete":
            await lab.manager.delete(record.uid)
            assert await lab.manager.list([], None, 10) == []
        await lab.manager.close()
        # The end that was kept back goes over nothing that came after it.
        stored = await lab.metadata.read(lambda session: session.transfer(record.uid))
        if deed == "delete":
            assert stored is None
        else:
            assert stored is not None
            assert stored.state == ("SUCCEEDED" if deed == "resume" else "FAILED")


async def test_a_daemon_that_could_not_record_an_end_finds_an_interrupted_transfer(
    tmp_path: Path,
) -> None:
    async with open_lab(tmp_path, store=Broken, record_interval=3600.0) as lab:
        gate = Gate()
        record = await held(lab, gate)
        broken(lab).failure = FULL
        gate.open()
        last = (await lab.watch(record.uid))[-1].sequence
        await lab.manager.close()
        broken(lab).failure = None
    async with open_lab(tmp_path) as lab:
        events = await lab.watch(record.uid)
        assert events[-1].view.record.state == "INTERRUPTED"
        assert events[0].sequence > last


async def test_a_hold_that_cannot_be_taken_fails_the_pull(tmp_path: Path) -> None:
    async with open_lab(tmp_path, store=Broken) as lab:
        gate = Gate()
        image = layered(10)
        lab.registry.push(image, APP)
        lab.registry.trick(APP, Trick(gate=gate))
        record = await lab.manager.start(spec_for())
        await gate.reached()
        broken(lab).failure = FULL
        gate.open()
        await broken(lab).failed.wait()
        broken(lab).failure = None
        ended = await lab.end(record.uid)
        failure = outcome_of(ended).failure
        assert ended.state == "FAILED"
        assert failure is not None
        assert (failure.reason, failure.origin) == (Reason.DISK_FULL, Origin.DESTINATION)
        # Nothing was fetched that nobody holds.
        assert not lab.registry.asked("manifest")


async def test_an_image_that_goes_while_it_is_found_present(tmp_path: Path) -> None:
    async with open_lab(tmp_path, store=Broken) as lab:
        lab.registry.push(layered(10), APP)
        await lab.pull()
        (uid,) = [one.uid for _, one in await lab.metadata.read(lambda s: s.list_images(None, 9))]
        record = await lab.manager.start(spec_for(policy=PullPolicy.NEVER))
        broken(lab).hold(most=1)
        await broken(lab).arrived.wait()
        await lab.metadata.write(lambda session: session.delete_image(uid))
        broken(lab).let_go()
        ended = await lab.end(record.uid)
        failure = outcome_of(ended).failure
        assert ended.state == "FAILED"
        assert failure is not None
        assert failure.reason is Reason.IMAGE_NOT_FOUND
        assert await lab.names() == {}


# --- causes


def test_the_first_real_cause_wins() -> None:
    cancelled = Error(Reason.CANCELLED, "cancelled")
    first = Error(Reason.REGISTRY_TIMEOUT, "slow")
    second = Error(Reason.REMOTE_NOT_FOUND, "gone")
    defect = KeyError("x")
    group = BaseExceptionGroup
    assert cause_of(first) is first
    assert cause_of(group("", [cancelled, first, second])) is first
    assert cause_of(group("", [cancelled, group("", [cancelled, second]), first])) is second
    assert cause_of(group("", [asyncio.CancelledError(), cancelled, first])) is first
    assert cause_of(group("", [cancelled, defect])) is defect
    assert cause_of(group("", [cancelled])) is cancelled


async def test_several_failures_at_once_tell_the_cause(lab: Lab) -> None:
    image = layered(*range(1000, 1006))
    lab.registry.push(image, APP)
    gate = Gate()
    denied = Error(Reason.REGISTRY_DENIED, "no")
    for number in range(5):
        lab.registry.trick(layer_of(image, number)[0], Trick(gate=gate, at=10))
    last, _ = layer_of(image, 5)
    lab.registry.trick(last, Trick(error=denied))
    outcome = await lab.outcome()
    assert outcome.failure is not None
    assert (outcome.failure.reason, outcome.failure.digest) == (Reason.REGISTRY_DENIED, last)


async def test_a_defect_is_logged_and_its_words_are_kept_from_callers(lab: Lab) -> None:
    image = layered(10)
    lab.registry.push(image, APP)
    lab.registry.fault = (2, RuntimeError("/root/secret-place"))
    with capture_logs() as logs:
        outcome = await lab.outcome()
    failure = outcome.failure
    assert failure is not None
    assert (failure.reason, failure.origin) == (Reason.INTERNAL, Origin.DAEMON)
    assert "secret-place" not in failure.message
    (defect,) = [one for one in logs if "incident" in one]
    assert defect["incident"] in failure.message
    assert isinstance(defect["exc_info"], BaseException)


# --- secrets


async def test_secrets_are_never_kept_nor_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = layered(1000)
    registry = FakeRegistry()
    registry.push(image, APP)
    registry.trick(layer_of(image)[0], Trick(error=Error(Reason.REGISTRY_DENIED, "no")))
    secrets = [
        SECRETS,
        Credentials(identity_token="identity-token-9a3"),
        Credentials(registry_token="registry-token-ab4"),
    ]
    events: list[WatchEvent] = []
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        async with open_lab(tmp_path, registry) as lab:
            for number, one in enumerate(secrets):
                await lab.pull(credentials=one, lease=LeaseRequest("x"))
                record = await lab.manager.start(spec_for(credentials=one), f"request-{number}")
                events += await lab.watch(record.uid)
            failed = (await lab.manager.list([TransferState.FAILED], None, 10))[0]
            await lab.manager.resume(failed.uid, SECRETS)
            events += await lab.watch(failed.uid)
    told = f"{logs}{caplog.text}{events}{failed}"
    kept = b"".join(one.read_bytes() for one in tmp_path.glob("metadata.db*"))
    assert b"registry.test/app" in kept
    for word in ("user-name-7d1", "pass-word-8f2", "identity-token-9a3", "registry-token-ab4"):
        assert word not in told
        assert word.encode() not in kept


def test_a_spec_survives_its_record_without_credentials() -> None:
    spec = spec_for(
        credentials=SECRETS,
        platforms=["linux/amd64"],
        max_concurrency=3,
        max_bytes_per_second=4096,
        tags=("a/b:1",),
        policy=PullPolicy.IF_NOT_PRESENT,
        lease=LeaseRequest("mine", 5.0),
    )
    again = TransferSpec.from_json(spec.to_json())
    assert again == spec_for(
        platforms=["linux/amd64"],
        max_concurrency=3,
        max_bytes_per_second=4096,
        tags=("a/b:1",),
        policy=PullPolicy.IF_NOT_PRESENT,
        lease=LeaseRequest("mine", 5.0),
    )
    assert isinstance(again.source, RegistryEndpoint)
    assert again.source.credentials is None
    whole = spec_for(all_platforms=True)
    assert TransferSpec.from_json(whole.to_json()) == whole

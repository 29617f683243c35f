"""Copies: from registry to registry, with nothing stored, and each side with its own faults."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Origin, Reason
from imgd_server.oci import Digest
from imgd_server.registry import Cancellation, Credentials
from imgd_server.transfer import ActivityKind, NodeState, TransferState, _sources
from tests.fake_images import make_index
from tests.unit.transfer.fakes import (
    HOST,
    Gate,
    Trick,
    altered,
    layer_of,
    layered,
    outcome_of,
    size_of,
)
from tests.unit.transfer.images import APP, OTHER, child, for_platform, index_of
from tests.unit.transfer.taking import TO, Taking, copy_spec, open_taker, push_spec

AMD64, ARM = "linux/amd64", "linux/arm64"
IMAGE = layered(3500, 2500)
LAYER, DATA = layer_of(IMAGE)
# Another registry, so that nothing can be mounted.
FROM = "elsewhere.test/app:1"


@pytest.fixture
async def taking(tmp_path: Path) -> AsyncIterator[Taking]:
    async with open_taker(tmp_path) as one:
        yield one


def stored(taking: Taking) -> list[str]:
    """Everything in the store."""
    content = taking.lab.content
    return [*(one.digest for one in content.blobs()), *(one.key for one in content.partials())]


async def test_a_copy_passes_through_and_is_stored_nowhere(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, FROM)
    record = await taking.lab.manager.start(copy_spec(FROM))
    events = await taking.lab.watch(record.uid)
    outcome = outcome_of(events[-1].view.record)
    assert taking.holds(IMAGE, TO)
    assert taking.taker.order[-1] == "1"
    assert not stored(taking)
    assert await taking.lab.names() == {}
    assert outcome.target is not None
    assert (outcome.target.digest, outcome.references) == (IMAGE.digest, (TO,))
    assert outcome.uploaded_bytes == size_of(IMAGE)
    assert outcome.fetched_bytes == size_of(IMAGE) + len(IMAGE.raw)
    assert (outcome.image, outcome.image_id) == ("", "")
    nodes = events[-1].view.progress.nodes
    assert {node.state for node in nodes.values()} == {NodeState.DONE}
    kinds = [activity.kind for activity in nodes[TO].activities]
    assert kinds == [ActivityKind.RESOLVE, ActivityKind.DOWNLOAD, ActivityKind.UPLOAD]
    events_kept = await taking.lab.metadata.read(lambda session: session.events(0, None, 100))
    assert {(one.kind, one.attributes["name"]) for one in events_kept} == {("TRANSFER", FROM)}


async def test_a_copy_within_one_registry_mounts(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, APP)
    outcome = await taking.done(copy_spec(APP))
    assert taking.holds(IMAGE, TO)
    assert taking.taker.sent == 0
    assert {path for path, _ in taking.taker.mounts} == {"app"}
    assert outcome.reused_bytes == size_of(IMAGE) - len(IMAGE.raw)


async def test_another_tag_of_the_same_repository_moves_nothing(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, APP)
    await taking.done(copy_spec(APP, f"{HOST}/app:2"))
    assert taking.holds(IMAGE, f"{HOST}/app:2")
    assert taking.taker.order == ["2"]
    assert not taking.taker.mounts


@pytest.mark.parametrize(
    ("more", "pushed"),
    [
        ({"all_platforms": True}, "all"),
        ({"platforms": (ARM,)}, ARM),
        ({"platforms": (AMD64, ARM, OTHER)}, "all"),
        ({"platforms": (AMD64, ARM)}, None),
        ({"platforms": ("linux/riscv64",)}, None),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
async def test_one_platform_or_all(
    taking: Taking, more: dict[str, Any], pushed: str | None, nested: bool
) -> None:
    index = index_of(AMD64, ARM, OTHER)
    if nested:
        index = make_index([(index, None)])
    taking.taker.registry.push(index, FROM)
    if pushed is None:
        failure = await taking.fail(copy_spec(FROM, **more))
        several = len(more["platforms"]) > 1
        wants = Reason.UNSUPPORTED if several else Reason.REMOTE_PLATFORM_NOT_FOUND
        assert (failure.reason, failure.origin) == (wants, Origin.SOURCE)
        assert not taking.taker.order
        return
    await taking.done(copy_spec(FROM, **more))
    if pushed == "all" and nested and "platforms" in more:
        index = index_of(AMD64, ARM, OTHER)
    assert taking.holds(index if pushed == "all" else for_platform(pushed), TO)


async def test_a_single_manifest_is_for_the_platform_that_is_named(taking: Taking) -> None:
    taking.taker.registry.push(for_platform(ARM), FROM)
    failure = await taking.fail(copy_spec(FROM, platforms=(AMD64,)))
    assert (failure.reason, failure.origin) == (Reason.REMOTE_PLATFORM_NOT_FOUND, Origin.SOURCE)
    assert ARM in failure.message
    await taking.done(copy_spec(FROM, platforms=(ARM,)))
    assert taking.holds(for_platform(ARM), TO)


async def test_all_tags_are_copied_page_by_page(taking: Taking) -> None:
    images = [layered(100 + number, seed=number) for number in range(5)]
    for number, image in enumerate(images):
        taking.taker.registry.push(image, f"elsewhere.test/app:{number}")
    outcome = await taking.done(copy_spec("elsewhere.test/app", f"{HOST}/all", all_tags=True))
    names = [f"{HOST}/all:{number}" for number in range(5)]
    assert outcome.references == tuple(names)
    for name, image in zip(names, images, strict=True):
        assert taking.holds(image, name)


async def test_a_repository_without_tags(taking: Taking) -> None:
    failure = await taking.fail(copy_spec("elsewhere.test/app", f"{HOST}/all", all_tags=True))
    assert (failure.reason, failure.origin) == (Reason.REMOTE_NOT_FOUND, Origin.SOURCE)


async def test_data_in_a_descriptor_are_sent_from_there(taking: Taking) -> None:
    """The registry need not have them as a blob."""

    old = f'"digest": "{LAYER}"'
    inline = f'{old}, "data": "{base64.b64encode(DATA).decode()}"'
    image = altered(IMAGE, old.encode(), inline.encode())
    taking.taker.registry.push(image, FROM)
    del taking.taker.registry.blobs["elsewhere.test/app", LAYER]
    await taking.done(copy_spec(FROM))
    assert taking.taker.registry.blobs[f"{HOST}/team/app", LAYER] == DATA


@pytest.mark.parametrize("ignores_range", [False, True])
async def test_a_source_that_breaks_is_asked_on(taking: Taking, ignores_range: bool) -> None:
    """What came before is hashed once, and sent once."""
    registry = taking.taker.registry
    registry.piece = 700
    registry.push(IMAGE, FROM)
    # The first answer about the digest is about whether the destination has it.
    registry.trick(LAYER, Trick(cut=2100), Trick(ignores_range=ignores_range))
    await taking.done(copy_spec(FROM))
    assert taking.holds(IMAGE, TO)
    assert [call.offset for call in registry.asked("blob", LAYER)] == [0, 2100]
    assert taking.taker.sent == sum(map(len, IMAGE.blobs.values()))
    assert taking.taker.begun == len(IMAGE.blobs)


async def test_wrong_bytes_are_the_sources_fault_and_never_complete(taking: Taking) -> None:
    registry = taking.taker.registry
    registry.push(IMAGE, FROM)
    wrong = b"x" + DATA[1:]
    registry.blobs["elsewhere.test/app", LAYER] = wrong
    failure = await taking.fail(copy_spec(FROM))
    assert (failure.reason, failure.origin) == (Reason.DIGEST_MISMATCH, Origin.SOURCE)
    assert (failure.digest, failure.reference) == (LAYER, FROM)
    # Asked once more, in case it was the connection; then begun anew.
    assert [call.offset for call in registry.asked("blob", LAYER)] == [0, 0]
    assert all(len(kept) < len(DATA) for kept in taking.taker.uploads.values() if kept != b"")
    assert TO not in registry.tags


@pytest.mark.parametrize("side", [Origin.SOURCE, Origin.DESTINATION])
async def test_a_failure_names_its_side(taking: Taking, side: Origin) -> None:
    registry = taking.taker.registry
    registry.push(IMAGE, FROM)
    denied = Error(Reason.REGISTRY_DENIED, "no", host=HOST, http_status=403)

    def before(kind: str, about: str, offset: int, cancellation: Cancellation) -> None:
        if kind == "find" and about == LAYER:
            raise denied

    if side is Origin.SOURCE:
        registry.trick(LAYER, Trick(error=denied))
    else:
        taking.taker.before = before
    failure = await taking.fail(copy_spec(FROM))
    assert (failure.reason, failure.origin) == (Reason.REGISTRY_DENIED, side)
    assert failure.reference == (FROM if side is Origin.SOURCE else TO)


@pytest.mark.parametrize("what", ["name", "manifest", "child"])
async def test_what_the_source_has_not(taking: Taking, what: str) -> None:
    registry = taking.taker.registry
    index = index_of(AMD64, ARM)
    if what != "name":
        registry.push(index, FROM)
        gone = index.digest if what == "manifest" else child(index, 1)
        del registry.manifests["elsewhere.test/app", gone]
    failure = await taking.fail(copy_spec(FROM))
    assert (failure.reason, failure.origin) == (Reason.REMOTE_NOT_FOUND, Origin.SOURCE)
    assert TO not in registry.tags


async def test_each_side_gets_its_own_credentials(taking: Taking) -> None:
    registry = taking.taker.registry
    registry.push(IMAGE, FROM)
    alice, bob = Credentials("alice", "a"), Credentials("bob", "b")
    await taking.done(copy_spec(FROM, credentials=(alice, bob)))
    assert {call.scope for call in registry.calls} == {alice.scope}
    assert taking.taker.scopes == {bob.scope}


async def test_a_cancelled_copy_can_be_resumed(taking: Taking) -> None:
    taking.taker.registry.push(IMAGE, FROM)
    gate = Gate()

    def before(kind: str, about: str, offset: int, cancellation: Cancellation) -> None:
        if (kind, about, offset) == ("send", LAYER, 2000):
            gate.pass_through(cancellation)

    taking.taker.before = before
    record = await taking.lab.manager.start(copy_spec(FROM))
    await gate.reached()
    await taking.lab.manager.cancel(record.uid)
    gate.open()
    alice, bob = Credentials("alice", "a"), Credentials("bob", "b")
    await taking.lab.manager.resume(record.uid, alice, bob)
    again = await taking.lab.end(record.uid)
    assert again.state == TransferState.SUCCEEDED.name
    assert taking.holds(IMAGE, TO)
    assert not stored(taking)


async def test_manifests_in_memory_are_bounded(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(_sources, "_MAX_IN_MEMORY", 1000)
    taking.taker.registry.push(index_of(AMD64, ARM, OTHER), FROM)
    failure = await taking.fail(copy_spec(FROM))
    assert (failure.reason, failure.origin) == (Reason.MANIFEST_TOO_LARGE, Origin.SOURCE)


async def test_what_was_copied_can_be_pulled(taking: Taking) -> None:
    index = index_of(AMD64, ARM)
    taking.taker.registry.push(index, FROM)
    await taking.done(copy_spec(FROM))
    outcome = await taking.lab.outcome(TO, all_platforms=True)
    assert outcome.failure is None
    assert taking.lab.content.find(Digest(index.digest)) is not None


async def test_one_blob_is_sent_once_to_one_place_whatever_its_source(taking: Taking) -> None:
    await taking.store(IMAGE, TO)
    taking.taker.registry.push(IMAGE, FROM)
    gate = Gate()

    def before(kind: str, about: str, offset: int, cancellation: Cancellation) -> None:
        if (kind, about, offset) == ("send", LAYER, 2000):
            gate.pass_through(cancellation)

    taking.taker.before = before
    push = await taking.lab.manager.start(push_spec())
    await gate.reached()
    copy = await taking.lab.manager.start(copy_spec(FROM))
    await taking.lab.until(
        copy.uid,
        lambda progress: LAYER in progress.nodes and bool(progress.nodes[LAYER].activities),
    )
    gate.open()
    for one in (push, copy):
        assert outcome_of(await taking.lab.end(one.uid)).failure is None
    assert taking.taker.order.count(LAYER) == 1
    assert taking.taker.sent == sum(map(len, IMAGE.blobs.values()))

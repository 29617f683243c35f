"""What came with somebody's credentials is given to those who prove their own."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import collect
from imgd_server.oci import Descriptor, Digest, Platform, Reference
from imgd_server.registry import Credentials, Privacy
from imgd_server.transfer import NodeState, ProofConfig, PullPolicy, now_us
from imgd_server.transfer._flight import Flight
from tests.fake_images import FakeImage, make_document, make_index
from tests.unit.transfer.fakes import (
    HOST,
    Gate,
    Lab,
    Trick,
    begun,
    layer_of,
    layered,
    open_lab,
    outcome_of,
    size_of,
    spec_for,
)

APP = f"{HOST}/app:1"
ALICE, BOB = Credentials("alice", "a"), Credentials("bob", "b")
STRANGERS = [
    None,
    Credentials(anonymous=True),
    Credentials("alice", "wrong"),
    Credentials("mallory"),
]
IMAGE = layered(3000, 2000)
SECRET, BYTES = layer_of(IMAGE)
EVIL = "evil.test/app"


@pytest.fixture
async def kept(lab: Lab) -> Lab:
    """A lab with an image that Alice pulled, and that Bob may read too."""
    await keep(lab)
    return lab


async def keep(lab: Lab) -> None:
    lab.registry.push(IMAGE, APP)
    lab.registry.readers[f"{HOST}/app"] = {ALICE, BOB}
    assert (await lab.outcome(credentials=ALICE)).failure is None
    lab.registry.calls.clear()


async def failure(lab: Lab, reference: str = APP, **more: object) -> Error:
    found = (await lab.outcome(reference, **more)).failure
    assert found
    return found


# --- the image itself


@pytest.mark.parametrize("policy", PullPolicy)
@pytest.mark.parametrize("who", STRANGERS)
async def test_strangers_are_refused_whatever_the_policy(
    who: Credentials | None, policy: PullPolicy, kept: Lab
) -> None:
    refused = await failure(kept, credentials=who, policy=policy)
    assert refused.reason is Reason.REGISTRY_UNAUTHORIZED
    # Also by a name that the store alone gave it, or none.
    assert (kept.registry.calls == []) == (policy is PullPolicy.NEVER)
    assert f"{HOST}/app" in refused.reference
    if policy is PullPolicy.IF_NOT_PRESENT:
        assert "is here, but its registry does not give it to you" in refused.message


async def test_another_reader_asks_once_and_then_needs_no_registry(kept: Lab) -> None:
    for _ in range(2):
        outcome = await kept.outcome(credentials=BOB, policy=PullPolicy.IF_NOT_PRESENT)
        assert (outcome.failure, outcome.fetched_bytes) == (None, 0)
        assert [call.kind for call in kept.registry.calls] == ["resolve"]
    outcome = await kept.outcome(credentials=BOB, policy=PullPolicy.NEVER)
    assert outcome.failure is None
    assert len(kept.registry.calls) == 1


async def test_a_re_pull_is_one_request_and_proves(kept: Lab) -> None:
    for who in (ALICE, BOB):
        outcome = await kept.outcome(credentials=who)
        assert (outcome.failure, outcome.fetched_bytes) == (None, 0)
    assert [call.kind for call in kept.registry.calls] == ["resolve", "resolve"]
    outcome = await kept.outcome(credentials=BOB, policy=PullPolicy.NEVER)
    assert outcome.failure is None


async def test_the_first_pull_proves_for_its_caller(kept: Lab) -> None:
    for policy in (PullPolicy.IF_NOT_PRESENT, PullPolicy.NEVER):
        assert (await kept.outcome(credentials=ALICE, policy=policy)).failure is None
    assert kept.registry.calls == []


async def test_what_was_asked_is_shown(kept: Lab) -> None:
    record = await kept.manager.start(
        spec_for(APP, credentials=BOB, policy=PullPolicy.IF_NOT_PRESENT)
    )
    [node] = (await kept.watch(record.uid))[-1].view.progress.nodes.values()
    assert (node.state, node.host) == (NodeState.EXISTS, HOST)


async def test_a_registry_that_is_away_gives_no_proof(kept: Lab) -> None:
    away = Error(Reason.REGISTRY_UNREACHABLE, "no route", host=HOST)
    kept.registry.trick(APP, *[Trick(error=away)] * 10)
    refused = await failure(kept, credentials=BOB, policy=PullPolicy.IF_NOT_PRESENT)
    assert refused.reason is Reason.REGISTRY_UNREACHABLE
    assert f"is here, but {HOST} can't be asked whether these credentials may" in refused.message
    # Whose proof is good does not notice.
    outcome = await kept.outcome(credentials=ALICE, policy=PullPolicy.IF_NOT_PRESENT)
    assert outcome.failure is None


async def test_proofs_end_and_outlive_a_restart(tmp_path: Path) -> None:
    key = b"k" * 32
    async with open_lab(tmp_path, proofs=ProofConfig(key=key)) as lab:
        await keep(lab)
        registry = lab.registry
    never: dict[str, Any] = {"credentials": ALICE, "policy": PullPolicy.NEVER}
    async with open_lab(tmp_path, registry, proofs=ProofConfig(key=key)) as lab:
        assert (await lab.outcome(**never)).failure is None
    # Ended, or hashed with another key.
    for config in (ProofConfig(0.0, key=key), ProofConfig()):
        async with open_lab(tmp_path, registry, proofs=config) as lab:
            assert (await failure(lab, **never)).reason is Reason.REGISTRY_UNAUTHORIZED
            present: dict[str, Any] = {"credentials": ALICE, "policy": PullPolicy.IF_NOT_PRESENT}
            assert (await lab.outcome(**present)).failure is None
    assert [call.kind for call in registry.calls] == ["resolve", "resolve"]


async def test_a_machine_with_one_user_may_share(tmp_path: Path) -> None:
    async with open_lab(tmp_path, proofs=ProofConfig(share=True)) as lab:
        await keep(lab)
        for policy in (PullPolicy.NEVER, PullPolicy.IF_NOT_PRESENT):
            assert (await lab.outcome(policy=policy)).failure is None
        assert lab.registry.calls == []


async def test_what_is_for_everybody_is_free(kept: Lab) -> None:
    # The registry opens the repository: the first who notices frees it for all.
    del kept.registry.readers[f"{HOST}/app"]
    assert (await kept.outcome()).failure is None
    kept.registry.calls.clear()
    for who in STRANGERS:
        outcome = await kept.outcome(credentials=who, policy=PullPolicy.NEVER)
        assert outcome.failure is None
    assert kept.registry.calls == []


async def test_what_was_here_stays_free(lab: Lab) -> None:
    lab.registry.push(IMAGE, f"{HOST}/public:1", APP)
    assert (await lab.outcome(f"{HOST}/public:1")).failure is None
    lab.registry.readers[f"{HOST}/app"] = {ALICE}
    assert (await lab.outcome(APP, credentials=ALICE)).failure is None
    outcome = await lab.outcome(f"{HOST}/public:1", policy=PullPolicy.NEVER)
    assert outcome.failure is None


async def test_a_name_given_here_opens_nothing(kept: Lab) -> None:
    mine: dict[str, Any] = {
        "credentials": ALICE,
        "policy": PullPolicy.NEVER,
        "tags": ("other.test/mine:1",),
    }
    assert (await kept.outcome(**mine)).failure is None
    refused = await failure(kept, "other.test/mine:1", policy=PullPolicy.NEVER)
    assert refused.reason is Reason.REGISTRY_UNAUTHORIZED
    # Another registry's credentials are not shown to the one that gave it.
    refused = await failure(
        kept, "other.test/mine:1", credentials=BOB, policy=PullPolicy.IF_NOT_PRESENT
    )
    assert refused.reason is Reason.REMOTE_NOT_FOUND
    assert {call.reference for call in kept.registry.calls} == {"other.test/mine:1"}


@pytest.mark.parametrize("name", ["cafe", "other.test/fade:1"])
async def test_a_name_that_reads_as_an_id_is_still_a_name(name: str, kept: Lab) -> None:
    mine: dict[str, Any] = {"credentials": ALICE, "policy": PullPolicy.NEVER, "tags": (name,)}
    assert (await kept.outcome(**mine)).failure is None
    with pytest.raises(Error, match="came from another registry"):
        await kept.manager.proofs.admit_named(name, BOB)
    assert kept.registry.calls == []


async def test_containers_want_a_proof_too(kept: Lab) -> None:
    proofs, image = kept.manager.proofs, IMAGE.digest
    for name in (APP, image, image[7:23]):
        for who in STRANGERS:
            with pytest.raises(Error) as caught:
                await proofs.admit_named(name, who)
            assert caught.value.reason is Reason.REGISTRY_UNAUTHORIZED
        assert await proofs.admit_named(name, ALICE)
    # Nor what somebody else brings in the moment after.
    with pytest.raises(Error) as caught:
        await proofs.admit_named(f"{HOST}/gone:1", None)
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND
    kept.registry.calls.clear()
    assert await proofs.admit_named(image, BOB) == await proofs.admit_named(APP, BOB)
    assert [call.kind for call in kept.registry.calls] == ["resolve"]


# --- parts of it, by way of another repository


def stolen(*, mine: FakeImage | None = None) -> FakeImage:
    """An image whose manifest lists somebody else's layer."""
    mine = mine or layered(500, seed=2)
    layer = IMAGE.document["layers"][0]
    document = {**mine.document, "layers": [*mine.document["layers"], layer]}
    return make_document(document, blobs=mine.blobs)


async def assert_untouched(lab: Lab) -> None:
    assert [name for name in await lab.names() if "evil" in name] == []


async def test_a_digest_is_no_way_to_a_layer(kept: Lab) -> None:
    kept.registry.push(stolen(), f"{EVIL}:1")
    # Whoever knows the digest knows the size.
    kept.registry.sizes[EVIL, SECRET] = len(BYTES)
    for policy in (PullPolicy.ALWAYS, PullPolicy.IF_NOT_PRESENT):
        refused = await failure(kept, f"{EVIL}:1", policy=policy)
        assert (refused.reason, refused.digest) == (Reason.REMOTE_NOT_FOUND, SECRET)
    await assert_untouched(kept)
    kept.registry.blobs[EVIL, SECRET] = b"x" * len(BYTES)
    refused = await failure(kept, f"{EVIL}:1")
    assert refused.reason is Reason.DIGEST_MISMATCH
    await assert_untouched(kept)


async def test_whoever_has_the_bytes_has_proven_it(kept: Lab) -> None:
    kept.registry.push(stolen(), f"{EVIL}:1")
    kept.registry.blobs[EVIL, SECRET] = BYTES
    kept.registry.trick(SECRET, Trick(cut=1000))
    kept.registry.readers[EVIL] = {BOB}
    first = await kept.outcome(f"{EVIL}:1", credentials=BOB)
    assert (first.failure, first.reused_bytes) == (None, 0)
    asked = [call.offset for call in kept.registry.asked("blob", SECRET)]
    assert asked == [0, 1000]
    kept.registry.calls.clear()
    again = await kept.outcome(f"{EVIL}:1", credentials=BOB)
    assert (again.failure, again.fetched_bytes) == (None, 0)
    assert [call.kind for call in kept.registry.calls] == ["resolve"]


async def test_a_registry_does_not_lie_to_itself(kept: Lab) -> None:
    image = stolen()
    other = f"{HOST}/other"
    kept.registry.push(image, f"{other}:1")
    refused = await failure(kept, f"{other}:1")
    assert (refused.reason, refused.digest) == (Reason.REMOTE_NOT_FOUND, SECRET)
    kept.registry.blobs[other, SECRET] = BYTES
    kept.registry.calls.clear()
    outcome = await kept.outcome(f"{other}:1")
    assert outcome.failure is None
    assert len(kept.registry.asked("size", SECRET)) == 1
    assert kept.registry.asked("blob", SECRET) == []


async def test_a_size_that_is_another_is_no_proof(kept: Lab) -> None:
    other = f"{HOST}/other"
    kept.registry.push(stolen(), f"{other}:1")
    kept.registry.sizes[other, SECRET] = len(BYTES) + 1
    assert (await failure(kept, f"{other}:1")).reason is Reason.SIZE_MISMATCH


async def test_a_digest_is_no_way_to_a_manifest(kept: Lab) -> None:
    target = Descriptor(IMAGE.media_type, Digest(IMAGE.digest), len(IMAGE.raw))
    kept.registry.tags[f"{EVIL}:1"] = target
    refused = await failure(kept, f"{EVIL}:1")
    assert refused.reason is Reason.REMOTE_CHANGED
    assert "has no such manifest" in refused.message
    await assert_untouched(kept)


@pytest.mark.parametrize("right", [False, True])
async def test_inline_data_is_a_proof_if_it_is_right(right: bool, kept: Lab) -> None:
    data = base64.b64encode(BYTES if right else b"x" * len(BYTES)).decode()
    layer = {**IMAGE.document["layers"][0], "data": data}
    mine = layered(500, seed=2)
    document = {**mine.document, "layers": [layer]}
    kept.registry.push(make_document(document, blobs=mine.blobs), f"{EVIL}:1")
    found = (await kept.outcome(f"{EVIL}:1")).failure
    assert (found is None) == right
    if not right:
        await assert_untouched(kept)


async def test_whoever_waits_for_it_gets_nothing(lab: Lab) -> None:
    """The layer is not here when the manifest is read, and comes with Alice's credentials."""
    lab.registry.push(stolen(), f"{EVIL}:1")
    lab.registry.blobs[EVIL, SECRET] = b"x" * len(BYTES)
    first = str(stolen().document["layers"][0]["digest"])
    gate = Gate()
    lab.registry.trick(first, Trick(gate=gate))
    record = await lab.manager.start(spec_for(f"{EVIL}:1", max_concurrency=1))
    await lab.until(record.uid, begun(first))
    await gate.reached()
    await keep(lab)
    gate.open()
    refused = outcome_of(await lab.end(record.uid)).failure
    assert refused
    assert (refused.reason, refused.digest) == (Reason.DIGEST_MISMATCH, SECRET)


async def test_a_part_is_no_way_to_the_whole(lab: Lab) -> None:
    """Alice's pull is cut off near the layer's end, and another registry has the rest."""
    lab.registry.push(IMAGE, APP)
    lab.registry.readers[f"{HOST}/app"] = {ALICE}
    cut = len(BYTES) - 1
    lab.registry.trick(SECRET, *[Trick(cut=cut)] * 20)
    assert (await failure(lab, credentials=ALICE)).reason is Reason.REGISTRY_UNREACHABLE
    lab.registry._tricks.clear()
    lab.registry.push(stolen(), f"{EVIL}:1")
    lab.registry.blobs[EVIL, SECRET] = b"x" * cut + BYTES[cut:]
    refused = await failure(lab, f"{EVIL}:1")
    assert (refused.reason, refused.digest) == (Reason.DIGEST_MISMATCH, SECRET)
    await assert_untouched(lab)
    # Alice goes on where it was.
    outcome = await lab.outcome(credentials=ALICE)
    assert outcome.failure is None
    assert outcome.fetched_bytes < size_of(IMAGE)


async def test_marks_that_somebody_made_before_are_no_proof(lab: Lab) -> None:
    """Mallory names the digest, with credentials for his own registry, before Alice has it."""
    lab.registry.push(stolen(), f"{EVIL}:1")
    lab.registry.readers[EVIL] = {BOB}
    assert (await failure(lab, f"{EVIL}:1", credentials=BOB)).reason is Reason.REMOTE_NOT_FOUND
    await keep(lab)
    refused = await failure(lab, f"{EVIL}:1", credentials=BOB)
    assert (refused.reason, refused.digest) == (Reason.REMOTE_NOT_FOUND, SECRET)
    assert (await lab.outcome(credentials=ALICE, policy=PullPolicy.NEVER)).failure is None


async def test_what_is_left_of_an_index_is_not_taken_along(lab: Lab) -> None:
    images = [
        layered(1000, seed=seed, architecture=architecture)
        for seed, architecture in ((5, "amd64"), (6, "arm64"))
    ]
    platforms = [{"os": "linux", "architecture": one} for one in ("amd64", "arm64")]
    index = make_index(zip(images, platforms, strict=True))
    lab.registry.push(index, APP, f"{EVIL}:1")
    for digest in images[1].blobs:
        del lab.registry.blobs[EVIL, digest]
    lab.registry.readers[f"{HOST}/app"] = {ALICE}
    assert (await lab.outcome(credentials=ALICE, platforms=["linux/arm64"])).failure is None
    image = (await lab.outcome(credentials=ALICE, platforms=["linux/arm64"])).image
    await lab.metadata.write(lambda session: session.delete_image(image))
    assert (await lab.outcome(f"{EVIL}:1", platforms=["linux/amd64"])).failure is None
    found = await lab.metadata.read(
        lambda session: session.image_platforms(session.image_by_name(f"{EVIL}:1").uid)  # type: ignore[union-attr]
    )
    assert [one.complete for one in found] == [True, False]


async def test_of_an_index_each_platform_is_for_those_who_get_it(lab: Lab) -> None:
    """Who has an index, and one platform of it, elsewhere, has no other platform by that."""
    images = [
        layered(1000, seed=seed, architecture=architecture)
        for seed, architecture in ((5, "amd64"), (6, "arm64"))
    ]
    platforms = [{"os": "linux", "architecture": one} for one in ("amd64", "arm64")]
    index = make_index(zip(images, platforms, strict=True))
    lab.registry.push(index, APP, f"{EVIL}:1")
    for digest in images[1].blobs:
        del lab.registry.blobs[EVIL, digest]
    lab.registry.readers[f"{HOST}/app"] = {ALICE}
    assert (await lab.outcome(credentials=ALICE, platforms=["linux/arm64"])).failure is None
    assert (await lab.outcome(f"{EVIL}:1", platforms=["linux/amd64"])).failure is None
    amd64, arm64 = map(Platform.parse, ("linux/amd64", "linux/arm64"))
    secret: dict[str, Any] = {"platforms": ["linux/arm64"]}
    refused = await failure(lab, f"{EVIL}:1", policy=PullPolicy.NEVER, **secret)
    assert refused.reason is Reason.REGISTRY_UNAUTHORIZED
    refused = await failure(lab, f"{EVIL}:1", policy=PullPolicy.IF_NOT_PRESENT, **secret)
    assert refused.reason is Reason.REMOTE_NOT_FOUND
    proofs = lab.manager.proofs
    for name in (f"{EVIL}:1", APP):
        for who in STRANGERS:
            with pytest.raises(Error) as caught:
                await proofs.admit_named(name, who, arm64)
            assert caught.value.reason is Reason.REGISTRY_UNAUTHORIZED
            assert (await proofs.admit_named(name, who, amd64))[1] == images[0].digest
        assert (await proofs.admit_named(name, ALICE, arm64))[1] == images[1].digest
    never: dict[str, Any] = {"policy": PullPolicy.NEVER, "credentials": ALICE}
    assert (await lab.outcome(**never, **secret)).failure is None


async def test_streams_that_end_at_once_do_not_hide_what_one_of_them_was_given_for(
    lab: Lab,
) -> None:
    """One tells that it was given to everybody just while another tells the opposite."""
    flight: Flight[None] = Flight("blob")
    target = Descriptor("application/octet-stream", Digest(SECRET), len(BYTES))
    mark = lab.manager.fetcher._marking(flight, Reference.parse(APP), target)
    meanwhile = [Privacy.ASKED]

    class Nothing(int):
        """Privacy.NONE, and whoever compares it is overtaken."""

        def __gt__(self, other: int) -> bool:
            if meanwhile:
                mark(meanwhile.pop())
            return int(self) > other

    await asyncio.to_thread(mark, cast(Privacy, Nothing(0)))
    await asyncio.to_thread(lambda: [mark(one) for one in meanwhile])
    assert flight.private is Privacy.ASKED


async def test_marks_go_with_the_bytes(kept: Lab) -> None:
    digest = Digest(SECRET)
    image = await kept.metadata.read(lambda session: session.image_by_name(APP))
    assert image
    await collect(kept.metadata, kept.content, now_us, dry_run=False)
    assert await kept.metadata.read(lambda session: session.is_private(digest))
    await kept.metadata.write(lambda session: session.delete_image(image.uid))
    await collect(kept.metadata, kept.content, now_us, dry_run=True)
    assert await kept.metadata.read(lambda session: session.is_private(digest))
    await collect(kept.metadata, kept.content, now_us, dry_run=False)
    assert kept.content.find(digest) is None
    assert not await kept.metadata.read(lambda session: session.is_private(digest))


async def test_marks_of_what_never_came_go_too(lab: Lab) -> None:
    lab.registry.push(IMAGE, APP)
    lab.registry.readers[f"{HOST}/app"] = {ALICE}
    digest = Digest(SECRET)
    lab.registry.trick(SECRET, *[Trick(cut=10)] * 20)
    assert (await failure(lab, credentials=ALICE)).reason is Reason.REGISTRY_UNREACHABLE
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert await lab.metadata.read(lambda session: session.is_private(digest))
    await lab.metadata.write(lambda session: session.delete_transfer_leases())
    await collect(lab.metadata, lab.content, now_us, dry_run=False)
    assert not await lab.metadata.read(lambda session: session.is_private(digest))


def test_who_somebody_is_tells_no_secret() -> None:
    config = ProofConfig(key=b"k" * 32)
    every = [ALICE, BOB, *STRANGERS, Credentials(identity_token="a"), Credentials("al", "icea"),
             Credentials(registry_token="a"), Credentials("a")]  # fmt: skip
    scopes = [config.scope(one) for one in every]
    assert len(set(scopes)) == len(every)
    assert config.scope(replace(ALICE)) == scopes[0]
    assert ProofConfig().scope(ALICE) != scopes[0]
    assert "k" * 5 not in repr(config)

"""Tags that move, or go, and tokens that end while a transfer is under way: what arrives is one
image, whole, and it is the one that the name pointed at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from imgd_server.errors import Origin, Reason
from imgd_server.registry import Credentials
from imgd_server.transfer import NodeState, PullResult
from tests.fake_images import FakeImage, make_image, make_index
from tests.hostile import Answer, Fault, HostileRegistry, Request, both, truncate
from tests.pulling import Puller, noise, pulling
from tests.pushing import Pusher, copy_spec, push_spec, pushing
from tests.taking import TakingRegistry

PATIENCE = 60.0
PLAIN = "application/vnd.oci.image.layer.v1.tar"
ALICE = Credentials("alice", "open sesame")


def version(number: int) -> FakeImage:
    """An index of two images, with layers of this version alone."""
    images = [
        make_image([noise(100_000, 10 * number + place)], layer_type=PLAIN, architecture=one)
        for place, one in enumerate(("amd64", "arm64"))
    ]
    platforms = [{"os": "linux", "architecture": one} for one in ("amd64", "arm64")]
    return make_index(list(zip(images, platforms, strict=True)))


OLD, NEW = version(1), version(2)
CHILDREN = [one["digest"] for one in OLD.document["manifests"]]
# The requests with which the tag moves.
MOMENTS = {
    "when it is looked at": "HEAD .*/manifests/1$",
    "with the index": f"GET .*/manifests/{OLD.digest}",
    "with a manifest below": f"GET .*/manifests/{CHILDREN[0]}",
    "with a layer": "GET .*/blobs/",
}


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        yield registry


@pytest.fixture
async def puller(tmp_path: Path) -> AsyncIterator[Puller]:
    async with pulling(tmp_path / "root") as one:
        yield one


@pytest.fixture
async def pusher(tmp_path: Path) -> AsyncIterator[Pusher]:
    async with pushing(tmp_path / "root") as one:
        yield one


def moving(registry: HostileRegistry, image: FakeImage | None) -> Fault:
    """The tag moves while a request is answered as if it had not; None: it goes."""

    def fault(request: Request, answer: Answer) -> Answer:
        if image:
            registry.add("library/app", image, "1")
        else:
            registry.remove_tag("library/app", "1")
        return answer

    return fault


@pytest.mark.parametrize("to", [NEW, None], ids=["moves", "goes"])
@pytest.mark.parametrize("pattern", MOMENTS.values(), ids=MOMENTS)
async def test_a_pull_ends_with_what_the_tag_was(
    pattern: str, to: FakeImage | None, puller: Puller, registry: HostileRegistry
) -> None:
    reference = registry.add("library/app", OLD, "1")
    registry.on(pattern, moving(registry, to), times=1)
    outcome = await puller.pull(reference, all_platforms=True)
    assert outcome.pull_result is PullResult.DOWNLOADED
    await puller.assert_stored(outcome, OLD, reference)
    if to:
        again = await puller.pull(reference, all_platforms=True)
        assert again.pull_result is PullResult.UPDATED
        await puller.assert_stored(again, NEW, reference)
    else:
        failure = await puller.fail(reference, all_platforms=True)
        assert failure.reason is Reason.REMOTE_NOT_FOUND
        # What is here stays.
        await puller.assert_stored(outcome, OLD, reference)


async def test_a_tag_that_moves_between_a_cut_and_the_rest_goes_on_with_what_it_was(
    puller: Puller, registry: HostileRegistry
) -> None:
    """The bytes that came are good for the pull that goes on, and a later one gets the new."""
    reference = registry.add("library/app", OLD, "1")
    registry.on("GET .*/blobs/", both(truncate(40_000), moving(registry, NEW)), times=3)
    outcome = await puller.pull(reference, all_platforms=True)
    await puller.assert_stored(outcome, OLD, reference)
    assert registry.served("GET .*/blobs/") == sum(map(len, OLD.blobs.values()))
    again = await puller.pull(reference, all_platforms=True)
    await puller.assert_stored(again, NEW, reference)


async def test_an_image_that_is_deleted_in_the_middle_is_a_clear_error(
    puller: Puller, registry: HostileRegistry
) -> None:
    """The tag's new image is not taken for the rest of the former one."""
    reference = registry.add("library/app", OLD, "1")

    def collect(request: Request, answer: Answer) -> Answer:
        registry.forget()
        registry.add("library/app", NEW, "1")
        return answer

    registry.on(f"GET .*/manifests/{OLD.digest}", collect, times=1)
    failure = await puller.fail(reference, all_platforms=True)
    assert (failure.reason, failure.origin) == (Reason.REMOTE_NOT_FOUND, Origin.SOURCE)
    assert failure.digest in CHILDREN
    await puller.assert_untouched()
    outcome = await puller.pull(reference, all_platforms=True)
    await puller.assert_stored(outcome, NEW, reference)


# --- pushes and copies


@pytest.mark.parametrize("pattern", MOMENTS.values(), ids=MOMENTS)
async def test_a_copy_ends_with_what_the_tag_was(
    pattern: str, pusher: Pusher, registry: HostileRegistry
) -> None:
    read = registry.add("library/app", OLD, "1")
    registry.on(pattern, moving(registry, NEW), times=1)
    with TakingRegistry() as there:
        outcome = await pusher.copy(read, f"{there.host}/team/app:1")
        assert there.holds("team/app", OLD, "1")
        assert outcome.target is not None
        assert outcome.target.digest == OLD.digest
        blobs, _ = there.content
        assert blobs == set(OLD.blobs)
        await pusher.copy(read, f"{there.host}/team/app:1")
        assert there.holds("team/app", NEW, "1")


async def test_a_name_that_somebody_else_moves_meanwhile_is_ours_in_the_end(
    pusher: Pusher,
) -> None:
    with TakingRegistry() as there:
        name = f"{there.host}/team/app:1"
        await pusher.store(OLD, name)

        def meanwhile(request: Request, answer: Answer) -> Answer:
            there.add("team/app", NEW, "1")
            return answer

        there.on("PUT .*/manifests/sha256", meanwhile, times=1)
        await pusher.push(name, all_platforms=True)
        assert there.holds("team/app", OLD, "1")


async def test_a_name_that_moves_here_is_pushed_as_it_was(pusher: Pusher) -> None:
    """The store's own tag moves while its former image is on its way."""
    with TakingRegistry() as there:
        name = f"{there.host}/team/app:1"
        await pusher.store(OLD, name)
        stopped = there.halt("POST")
        uid = await pusher.start(push_spec(name, all_platforms=True))
        assert await asyncio.to_thread(stopped.wait, PATIENCE)
        await pusher.store(NEW, name)
        there.release()
        _, outcome, _ = await pusher.end(uid)
        assert outcome.target is not None
        assert outcome.target.digest == OLD.digest
        assert there.holds("team/app", OLD, "1")


# --- tokens


@pytest.mark.parametrize("pattern", ["GET .*/manifests/", "GET .*/blobs/"])
@pytest.mark.parametrize("side", ["source", "destination", "both"])
async def test_tokens_that_end_in_the_middle_of_a_copy(
    pattern: str, side: str, pusher: Pusher, registry: HostileRegistry
) -> None:
    read = registry.add("library/app", OLD, "1")
    registry.require_bearer(user=ALICE.user, password=ALICE.password)
    with TakingRegistry() as there:
        there.require_bearer(user=ALICE.user, password=ALICE.password)

        def expire(request: Request, answer: Answer) -> Answer:
            for one, ends in ((registry, "source"), (there, "destination")):
                if side in (ends, "both"):
                    one.tokens.clear()
            return answer

        # Not again and again: of several requests at once each could end what another just got.
        fault = both(expire, truncate(20_000)) if "blobs" in pattern else expire
        expired = registry.on(pattern, fault, times=1)
        spec = copy_spec(read, f"{there.host}/team/app:1", credentials=(ALICE, ALICE))
        uid = await pusher.start(spec)
        state, outcome, nodes = await pusher.end(uid)
        assert state.name == "SUCCEEDED", outcome.failure
        assert there.holds("team/app", OLD, "1")
        assert {one.state for one in nodes.values()} <= {NodeState.DONE, NodeState.EXISTS}
        assert expired.hits == 1

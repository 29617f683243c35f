"""Registries that name what they do not have: digests of what came with somebody's credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgd_server.errors import Reason
from imgd_server.registry import Credentials
from tests.fake_images import FakeImage, make_document, make_image, make_layer
from tests.hostile import Answer, HostileRegistry, Request, truncate
from tests.pulling import noise, pulling

SECRET = make_image([make_layer({"secret": noise(300_000)})])
LAYER = SECRET.document["layers"][0]
DIGEST, BYTES = LAYER["digest"], SECRET.blobs[LAYER["digest"]]
ALICE, MALLORY = Credentials("alice", "open sesame"), Credentials("mallory", "m")


def stolen() -> FakeImage:
    """An image that lists the layer beside its own."""
    mine = make_image([make_layer({"mine": b"of mallory"})])
    return make_document(
        {**mine.document, "layers": [*mine.document["layers"], LAYER]}, blobs=mine.blobs
    )


@pytest.fixture
def home() -> Iterator[HostileRegistry]:
    with HostileRegistry() as home:
        home.require_basic(ALICE.user, ALICE.password)
        home.add("private/app", SECRET, "1")
        yield home


@pytest.fixture
def evil() -> Iterator[HostileRegistry]:
    """It says of the layer whatever helps, and has not its bytes."""
    with HostileRegistry() as evil:
        evil.add("evil/app", stolen(), "1")
        evil.on(f"HEAD .*{DIGEST}", _has_it)
        yield evil


def _has_it(request: Request, answer: Answer) -> Answer:
    del request, answer
    return Answer(200, {"Content-Length": str(len(BYTES)), "Docker-Content-Digest": DIGEST})


@pytest.mark.parametrize("guarded", [False, True])
async def test_a_digest_alone_opens_nothing(
    guarded: bool, home: HostileRegistry, evil: HostileRegistry, tmp_path: Path
) -> None:
    if guarded:
        evil.require_basic(MALLORY.user, MALLORY.password)
    who = MALLORY if guarded else None
    async with pulling(tmp_path) as puller:
        await puller.pull(f"{home.host}/private/app:1", credentials=ALICE)
        for _ in range(2):
            failure = await puller.fail(f"{evil.host}/evil/app:1", credentials=who)
            assert failure.reason is Reason.REMOTE_NOT_FOUND
            assert (failure.digest, failure.host) == (DIGEST, evil.host)
        found = await puller.metadata.read(
            lambda session: session.image_by_name(f"{evil.host}/evil/app:1")
        )
        assert found is None


async def test_other_bytes_open_nothing_and_the_right_ones_do(
    home: HostileRegistry, evil: HostileRegistry, tmp_path: Path
) -> None:
    whole = make_document(stolen().document, blobs={**stolen().blobs, DIGEST: BYTES})
    evil.add("evil/app", whole, "right")
    async with pulling(tmp_path) as puller:
        await puller.pull(f"{home.host}/private/app:1", credentials=ALICE)
        evil.on(f"GET .*{DIGEST}", lambda _, answer: Answer(200, answer.headers, b"x" * len(BYTES)))
        failure = await puller.fail(f"{evil.host}/evil/app:right")
        assert (failure.reason, failure.digest) == (Reason.DIGEST_MISMATCH, DIGEST)
    with HostileRegistry() as honest:
        honest.add("evil/app", whole, "1")
        honest.on(f"GET .*{DIGEST}", truncate(100_000), times=1)
        async with pulling(tmp_path) as puller:
            outcome = await puller.pull(f"{honest.host}/evil/app:1")
            await puller.assert_stored(outcome, whole, f"{honest.host}/evil/app:1")
        # Each byte once, also where the line broke.
        ranges = [one.headers.get("range") for one in honest.matching(f"GET .*{DIGEST}")]
        assert ranges == [None, f"bytes=100000-{len(BYTES) - 1}"]

"""Registries that name what they do not have: digests of what came with somebody's credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import Credentials
from imgd_server.transfer import (
    PullPolicy,
    RangesConfig,
    RegistryEndpoint,
    StoreEndpoint,
    TransferSpec,
    TransferState,
)
from tests.fake_images import FakeImage, make_document, make_image, make_layer
from tests.hostile import Answer, HostileRegistry, Request, reset, truncate
from tests.pulling import Puller, noise, pulling

SECRET = make_image([make_layer({"secret": noise(300_000)})])
LAYER = SECRET.document["layers"][0]
DIGEST, BYTES = LAYER["digest"], SECRET.blobs[LAYER["digest"]]
BOGUS = Credentials(registry_token="bogus")
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


# --- registries that ask for credentials here and there


async def _present(puller: Puller, reference: str, who: Credentials | None) -> TransferState:
    """How a pull ends that takes what is here, if it may."""
    spec = TransferSpec(
        RegistryEndpoint(reference, who), StoreEndpoint(policy=PullPolicy.IF_NOT_PRESENT)
    )
    state, _ = await puller.end((await puller.manager.start(spec)).uid)
    return state


async def _is_private(puller: Puller, digest: str) -> bool:
    return await puller.metadata.read(lambda session: session.is_private(digest))


@pytest.mark.parametrize("asks", ["/blobs/", "/manifests/sha256:"])
@pytest.mark.parametrize("parts", [False, True])
async def test_what_is_asked_for_with_credentials_is_private_whoever_sees_the_rest(
    asks: str, parts: bool, evil: HostileRegistry, tmp_path: Path
) -> None:
    ranges = RangesConfig(threshold=100_000, part=50_000) if parts else None
    with HostileRegistry() as home:
        home.require_basic(ALICE.user, ALICE.password, asks)
        reference = home.add("half/app", SECRET, "1")
        async with pulling(tmp_path, ranges=ranges) as puller:
            outcome = await puller.pull(reference, credentials=ALICE)
            await puller.assert_stored(outcome, SECRET, reference)
            assert await _is_private(puller, DIGEST)
            failure = await puller.fail(f"{evil.host}/evil/app:1")
            assert (failure.reason, failure.digest) == (Reason.REMOTE_NOT_FOUND, DIGEST)
            # More than once: what somebody sent before, and got nothing for, proves nothing later.
            for stranger in [None, MALLORY, BOGUS] * 2:
                failure = await puller.fail(reference, credentials=stranger)
                assert failure.reason is Reason.REGISTRY_UNAUTHORIZED
                assert await _present(puller, reference, stranger) is TransferState.FAILED
                with pytest.raises(Error) as caught:
                    await puller.manager.proofs.admit_named(reference, stranger)
                assert caught.value.reason is Reason.REGISTRY_UNAUTHORIZED
            home.requests.clear()
            assert await _present(puller, reference, ALICE) is TransferState.SUCCEEDED
            assert not home.requests
            await puller.pull(reference, credentials=ALICE)
            assert not home.matching(f"GET .*{DIGEST}")


async def test_bytes_that_came_by_a_redirect_are_private_from_the_first_one_on(
    evil: HostileRegistry, tmp_path: Path
) -> None:
    def lead(request: Request, answer: Answer) -> Answer:
        del request
        if storage.requests:
            return Answer(404)
        to = {"Location": f"{storage.url}/files/{DIGEST}"}
        return Answer(307, to) if answer.status == 200 else answer

    with HostileRegistry() as home, HostileRegistry() as storage:
        home.require_basic(ALICE.user, ALICE.password, "/blobs/")
        reference = home.add("half/app", SECRET, "1")
        storage.put_blob(BYTES)
        home.on(f"GET .*{DIGEST}", lead)
        storage.on("/files/", reset(after=100_000))
        async with pulling(tmp_path) as puller:
            # Its part stays here, and whoever goes on from it has yet to prove all of it.
            await puller.fail(reference, credentials=ALICE)
            assert await _is_private(puller, DIGEST)
            assert (await puller.fail(f"{evil.host}/evil/app:1")).digest == DIGEST


async def test_what_a_registry_shows_to_everybody_by_now_is_free(tmp_path: Path) -> None:
    with HostileRegistry() as home:
        home.require_basic(ALICE.user, ALICE.password, "/blobs/")
        reference = home.add("half/app", SECRET, "1")
        async with pulling(tmp_path) as puller:
            await puller.pull(reference, credentials=ALICE)
            blobs = len(home.matching(f"GET .*{DIGEST}"))
            home.require_basic(ALICE.user, ALICE.password, "never")
            assert await _present(puller, reference, None) is TransferState.SUCCEEDED
            await puller.pull(reference)
            assert len(home.matching(f"GET .*{DIGEST}")) == blobs
            assert not await _is_private(puller, DIGEST)
            assert not await _is_private(puller, SECRET.digest)


@pytest.mark.parametrize("who", [BOGUS, MALLORY])
async def test_what_is_sent_for_one_manifest_proves_nothing_for_another(
    who: Credentials, tmp_path: Path
) -> None:
    """A registry that guards one tag, and takes no look at what is sent for others."""
    other = make_image([make_layer({"other": noise(1000)})])
    with HostileRegistry() as home:
        home.require_basic(ALICE.user, ALICE.password, "/manifests/secret")
        secret = home.add("half/app", SECRET, "secret")
        public = home.add("half/app", other, "public")
        async with pulling(tmp_path) as puller:
            await puller.pull(secret, credentials=ALICE)
            for _ in range(2):
                assert (await puller.fail(secret, credentials=who)).reason is (
                    Reason.REGISTRY_UNAUTHORIZED
                )
                await puller.pull(public, credentials=who)
            assert home.matching("HEAD .*/manifests/public")[0].headers.get("authorization")
            assert await _present(puller, secret, who) is TransferState.FAILED
            assert await _present(puller, secret, ALICE) is TransferState.SUCCEEDED


async def test_one_proof_does_for_all_blobs_of_a_repository(tmp_path: Path) -> None:
    """Also where credentials are sent from the first request on, so that nobody is refused."""
    image = make_image([make_layer({str(one): noise(1000, one)}) for one in range(8)])
    token = Credentials(registry_token="T")

    def guard(request: Request, answer: Answer) -> Answer:
        if request.headers.get("authorization") == "Bearer T":
            return answer
        return Answer(401, {"WWW-Authenticate": 'Basic realm="x"'})

    with HostileRegistry() as home:
        home.on("/blobs/", guard)
        reference = home.add("half/app", image, "1")
        blobs = "HEAD .*/blobs/"
        async with pulling(tmp_path / "a") as puller:
            await puller.pull(reference, credentials=token)
            assert await _is_private(puller, image.image_id)
            home.requests.clear()
            # One with the token, and one without, to know what the first one tells.
            await puller.pull(reference, credentials=token)
            assert len(home.matching(blobs)) == 2
            for _ in range(2):
                await puller.pull(reference, credentials=token)
            assert len(home.matching(blobs)) == 2
            assert await _present(puller, reference, token) is TransferState.SUCCEEDED
            assert await _present(puller, reference, MALLORY) is TransferState.FAILED
            assert all([await _is_private(puller, digest) for digest in image.blobs])

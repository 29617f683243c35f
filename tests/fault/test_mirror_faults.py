"""Pulls through mirrors that die, stall, lie and limit, and from registries that limit.

Nothing here is about time: what counts is who was asked how often.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Reason
from imgd_server.registry import Credentials, RegistryConfig, _hosts, parse_registries
from imgd_server.transfer import TransferState
from tests.fake_images import FakeImage, make_image, make_layer
from tests.hostile import (
    Answer,
    Fault,
    HostileRegistry,
    Request,
    html,
    raw,
    redirect,
    refuse,
    replaced,
    reset,
    stall,
    truncate,
)
from tests.pulling import Puller, noise, pulling

LAYERS = [make_layer({"noise": noise(150_000, seed)}) for seed in range(4)]
IMAGE = make_image(LAYERS)
DIGESTS = [one["digest"] for one in IMAGE.document["layers"]]
BIG = IMAGE.blobs[DIGESTS[0]]
CUT = 100_000


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.add("library/app", IMAGE, "1")
        yield registry


@pytest.fixture
def mirror() -> Iterator[HostileRegistry]:
    with HostileRegistry(address="127.0.0.2") as mirror:
        mirror.add("library/app", IMAGE, "1")
        yield mirror


@pytest.fixture
def reference(registry: HostileRegistry) -> str:
    return f"{registry.host}/library/app:1"


@pytest.fixture(autouse=True)
def no_second_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """A mirror that was left out stays so for the test, however slow the machine is."""
    monkeypatch.setattr(_hosts, "_FIRST_PAUSE", 1e6)


def mirrored(
    registry: HostileRegistry, *mirrors: HostileRegistry | str, more: str = "", **config: Any
) -> RegistryConfig:
    hosts = [one if isinstance(one, str) else one.url for one in mirrors]
    tables = [f'["{registry.host}".host."{host}"]\n{more}\n' for host in hosts]
    return RegistryConfig(registries=parse_registries("".join(tables)), **config)


async def assert_pulls(puller: Puller, reference: str, image: FakeImage = IMAGE) -> None:
    outcome = await puller.pull(reference)
    await puller.assert_stored(outcome, image, reference)


def blobs(registry: HostileRegistry) -> list[str]:
    return [one.path.partition("?")[0][-71:] for one in registry.matching("GET .*/blobs/")]


async def test_all_comes_from_a_mirror_that_is_well(
    registry: HostileRegistry, mirror: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    async with pulling(tmp_path, mirrored(registry, mirror)) as puller:
        await assert_pulls(puller, reference)
    assert registry.requests == []
    assert sorted(blobs(mirror)) == sorted(IMAGE.blobs)
    assert {one.path.partition("?")[2] for one in mirror.requests} == {
        f"ns={registry.host}".replace(":", "%3A")
    }


DEAD: dict[str, Fault] = {
    "resets": reset(),
    "hangs up": truncate(),
    "500": refuse(500),
    "429": refuse(429),
    "429 with a time": refuse(429, Retry_After="60"),
    "429 for a day": refuse(429, Retry_After="86400"),
    "a web page": html(),
    "no HTTP": raw(b"SSH-2.0-OpenSSH\r\n"),
    "stalls": stall(),
    "a private redirect": redirect("http://127.0.0.3:1/v2/x"),
}


@pytest.mark.parametrize("fault", DEAD.values(), ids=DEAD)
async def test_a_dead_mirror_is_asked_once_for_two_pulls(
    fault: Fault,
    registry: HostileRegistry,
    mirror: HostileRegistry,
    reference: str,
    tmp_path: Path,
) -> None:
    mirror.on("", fault)
    other = make_image([make_layer({"other": b"x"})])
    second = registry.add("library/other", other, "1")
    config = mirrored(registry, mirror, more="answer_timeout = 0.2")
    async with pulling(tmp_path, config) as puller:
        await assert_pulls(puller, reference)
        await assert_pulls(puller, second, other)
    assert len(mirror.requests) == 1
    # One request each, and no retry.
    assert sorted(blobs(registry)) == sorted([*IMAGE.blobs, *other.blobs])


async def test_a_mirror_where_nobody_listens_costs_no_retry(
    registry: HostileRegistry, mirror: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    with HostileRegistry(address="127.0.0.3") as gone:
        pass
    async with pulling(tmp_path, mirrored(registry, gone, mirror)) as puller:
        await assert_pulls(puller, reference)
    assert registry.requests == []
    assert sorted(blobs(mirror)) == sorted(IMAGE.blobs)


async def test_what_a_mirror_has_not_comes_from_the_next(
    registry: HostileRegistry, mirror: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    mirror.on(DIGESTS[1], refuse(404, "BLOB_UNKNOWN"))
    mirror.on("HEAD", refuse(404, "MANIFEST_UNKNOWN"))
    async with pulling(tmp_path, mirrored(registry, mirror)) as puller:
        await assert_pulls(puller, reference)
    assert blobs(registry) == [DIGESTS[1]]
    assert [one.method for one in registry.matching("/manifests/")] == ["HEAD"]
    # It stays in use.
    assert sorted(blobs(mirror)) == sorted(IMAGE.blobs)


@pytest.mark.parametrize(
    "fault", [reset(CUT), truncate(CUT), stall(CUT)], ids=["reset", "close", "stall"]
)
async def test_a_mirror_that_stops_in_the_middle_is_taken_over_where_it_stopped(
    fault: Fault,
    registry: HostileRegistry,
    mirror: HostileRegistry,
    reference: str,
    tmp_path: Path,
) -> None:
    mirror.on(f"GET .*{DIGESTS[0]}", fault)
    config = mirrored(registry, mirror, more="answer_timeout = 3")
    async with pulling(tmp_path, config) as puller:
        await assert_pulls(puller, reference)
    assert len(mirror.matching(f"GET .*{DIGESTS[0]}")) == 1
    (rest,) = registry.matching(f"GET .*{DIGESTS[0]}")
    assert rest.headers["range"] == f"bytes={CUT}-{len(BIG) - 1}"
    assert rest.sent == len(BIG) - CUT


LIES: dict[str, Fault] = {
    "other bytes": replaced(lambda body: bytes(len(body))),
    "too few": replaced(lambda body: body[:-1]),
    "too many": replaced(lambda body: body + b"x"),
}


@pytest.mark.parametrize("fault", LIES.values(), ids=LIES)
async def test_a_mirror_that_lies_about_a_blob_is_not_believed(
    fault: Fault,
    registry: HostileRegistry,
    mirror: HostileRegistry,
    reference: str,
    tmp_path: Path,
) -> None:
    image = make_image([LAYERS[0]])
    for one in (registry, mirror):
        one.add("library/one", image, "1")
    mirror.on(f"GET .*{DIGESTS[0]}", fault)
    name = f"{registry.host}/library/one:1"
    async with pulling(tmp_path, mirrored(registry, mirror)) as puller:
        await assert_pulls(puller, name, image)
        assert len(mirror.matching(f"GET .*{DIGESTS[0]}")) == 1
        assert registry.served(DIGESTS[0]) == len(BIG)
        before = len(mirror.requests)
        await assert_pulls(puller, reference)
        assert len(mirror.requests) == before


async def test_a_mirror_that_lies_about_manifests_is_not_believed(
    registry: HostileRegistry, mirror: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    evil = make_image([make_layer({"evil": b"x"})])
    mirror.on("GET .*/manifests/sha256", replaced(evil.raw))
    async with pulling(tmp_path, mirrored(registry, mirror)) as puller:
        await assert_pulls(puller, reference)
    assert len(mirror.matching("/manifests/sha256")) == 1
    assert blobs(mirror) == []


async def test_all_mirrors_and_the_registry_dead_end_in_the_registrys_error(
    registry: HostileRegistry, mirror: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    mirror.on("", refuse(502))
    registry.on("", refuse(503))
    async with pulling(tmp_path, mirrored(registry, mirror)) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.host, failure.http_status) == (
            Reason.REGISTRY_UNAVAILABLE,
            registry.host,
            503,
        )
        await puller.assert_untouched()
        # When one of them is back, it serves.
        mirror.behave()
        await assert_pulls(puller, reference)


async def test_a_mirror_with_a_login_does_not_get_the_registrys(
    registry: HostileRegistry,
    mirror: HostileRegistry,
    reference: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SERVER", "open sesame")
    registry.require_basic("alice", "open sesame")
    mirror.require_basic("alice", "open sesame")
    config = mirrored(registry, mirror)
    tables = f'"{registry.host}" = {{user = "alice", password_env = "SERVER", host = '
    tables += f'{{"{mirror.url}" = {{}}}}}}'
    config = RegistryConfig(registries=parse_registries(tables))
    async with pulling(tmp_path, config) as puller:
        await assert_pulls(puller, reference)
    assert [one.headers for one in mirror.requests if "authorization" in one.headers] == []
    assert sorted(set(blobs(registry))) == sorted(IMAGE.blobs)


# --- limits


async def test_nobody_asks_while_a_registry_wants_peace(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    """Six pulls meet a 429 that names a time: until then none of them asks again."""
    pulls = {}
    for number in range(6):
        image = make_image([make_layer({"n": noise(2000, 100 + number)})])
        pulls[registry.add(f"library/app{number}", image, "1")] = image
    peace: list[float] = []
    refused = []

    def limit(request: Request, answer: Answer) -> Answer:
        peace.append(time.monotonic() + 1)
        if time.monotonic() >= peace[0]:
            return answer
        refused.append(request.path)
        return refuse(429, Retry_After="1")(request, answer)

    registry.on("GET .*/blobs/", limit)
    # One at a time, so that all the others have not asked yet.
    async with pulling(tmp_path, RegistryConfig(host_requests=1)) as puller:
        uids = {await puller.start(name): name for name in pulls}
        for uid, name in uids.items():
            state, outcome = await puller.end(uid)
            assert state is TransferState.SUCCEEDED, outcome.failure
            await puller.assert_stored(outcome, pulls[name], name)
    assert len(refused) == 1
    everything = [digest for image in pulls.values() for digest in image.blobs]
    assert sorted(blobs(registry)) == sorted([*{*everything}, refused[0][-71:]])


async def test_limits_without_a_time_are_weathered(
    registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    limited = registry.on("GET .*/blobs/", refuse(429), times=2)
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, reference)
    assert limited.hits == 2
    assert len(blobs(registry)) == len(IMAGE.blobs) + 2


async def test_one_request_at_a_time_is_enough_for_all(
    registry: HostileRegistry, mirror: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    """Whatever becomes of a request, its turn ends: with redirects, refusals, logins and cuts."""
    registry.require_bearer()
    registry.on(f"GET .*{DIGESTS[0]}$", redirect(lambda asked: f"{mirror.url}{asked.path}"))
    registry.on(f"GET .*{DIGESTS[1]}$", redirect(f"../blobs/{DIGESTS[1]}?again"))
    registry.on(f"GET .*{DIGESTS[2]}$", reset(1000), times=1)
    registry.on(f"GET .*{DIGESTS[3]}$", reset(), times=1)
    mirror.on("/blobs/", refuse(500), times=1)
    config = RegistryConfig(host_requests=1, allowed_hosts={"127.0.0.2"})
    async with pulling(tmp_path, config) as puller:
        await assert_pulls(puller, reference)


async def test_limits_of_one_account_are_not_anothers(
    registry: HostileRegistry, reference: str, tmp_path: Path
) -> None:
    alice = Credentials("alice", "open sesame")
    registry.require_basic(alice.user, alice.password)
    registry.on("HEAD", refuse(429, Retry_After="100"), times=1)
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(reference)
        assert failure.reason is Reason.REGISTRY_RATE_LIMITED
        assert failure.retry_after is not None
        asked = len(registry.requests)
        # Without asking the registry again.
        failure = await puller.fail(reference)
        assert failure.reason is Reason.REGISTRY_RATE_LIMITED
        assert len(registry.requests) == asked
        outcome = await puller.pull(reference, credentials=alice)
        await puller.assert_stored(outcome, IMAGE, reference)

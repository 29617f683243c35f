"""The pull-through cache: right and wrong upstreams behind the registry inside."""

from __future__ import annotations

import asyncio
import io
import json
import random
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from imgd_server.distribution import CacheConfig, RegistryServer
from imgd_server.errors import Error, Reason
from imgd_server.images import collect
from imgd_server.metadata import ImageRecord
from imgd_server.oci import Digest
from imgd_server.transfer import now_us
from tests.daemon import PATIENCE, run_daemon
from tests.fake_images import FakeImage, digest_of, make_image, make_index
from tests.hostile import (
    Fault,
    HostileRegistry,
    both,
    ignore_range,
    redirect,
    refuse,
    replaced,
    reset,
    stall,
    truncate,
    unframed,
)
from tests.peers import require
from tests.real_images import RealImages, raw_manifest, run
from tests.registries import docker_registry
from tests.registry_inside import Answer, Inside, serve_inside

LAYER = 3 << 20
PLAIN = "application/vnd.oci.image.layer.v1.tar"


def noise(seed: int, size: int = LAYER) -> bytes:
    return random.Random(seed).randbytes(size)


def app(*seeds: int, size: int = LAYER) -> FakeImage:
    return make_image([noise(seed, size) for seed in seeds], layer_type=PLAIN)


SMALL = app(1, 2, size=10_000)
LARGE = app(3)
LARGE_LAYER = digest_of(noise(3))


@pytest.fixture(autouse=True)
def pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that failed is left alone for longer than any test takes."""
    monkeypatch.setattr("imgd_server.distribution._cache._PAUSE", 300.0)


@pytest.fixture
def upstream() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        yield registry


Serve = Callable[..., AbstractAsyncContextManager[Inside]]


@pytest.fixture
def serve(tmp_path: Path, upstream: HostileRegistry) -> Serve:
    """The registry inside, with the upstream's images; `fresh` 0 asks for a tag each time."""

    def serve(fresh: float = 0.0, default: bool = False) -> AbstractAsyncContextManager[Inside]:
        host = upstream.host
        config = CacheConfig(frozenset({host}), host if default else "", fresh)
        return serve_inside(tmp_path / "state", cache=config)

    return serve


@pytest.fixture
async def inside(serve: Serve) -> AsyncIterator[Inside]:
    async with serve() as inside:
        yield inside


class Cached:
    """A repository of the upstream, as clients of the cache see it."""

    def __init__(self, inside: Inside, upstream: HostileRegistry, name: str = "app") -> None:
        self.inside, self.upstream = inside, upstream
        self.full = f"{upstream.host}/{name}"

    async def manifest(self, reference: str, method: str = "GET") -> Answer:
        return await self.inside.call(method, f"/v2/{self.full}/manifests/{reference}")

    async def blob(self, digest: str, method: str = "GET", **headers: str) -> Answer:
        path = f"/v2/{self.full}/blobs/{digest}"
        return await self.inside.call(method, path, headers=headers)

    async def pull(self, tag: str, image: FakeImage) -> Answer:
        """As a client does that has nothing yet."""
        answer = await self.manifest(tag)
        assert (answer.status, answer.body) == (200, image.raw), answer
        for digest, data in image.blobs.items():
            assert (await self.blob(digest)).body == data
        return answer

    async def named(self, tag: str) -> ImageRecord | None:
        return await self.inside.metadata.read(
            lambda session: session.image_by_name(f"{self.full}:{tag}")
        )


@pytest.fixture
def cached(inside: Inside, upstream: HostileRegistry) -> Cached:
    return Cached(inside, upstream)


# --- what comes, and what it is here


async def test_a_collection_forgets_no_mark_of_what_comes(
    cached: Cached, upstream: HostileRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a blob that is asked for by its digest alone nobody knows that everybody gets it."""
    upstream.add("app", SMALL, "1")
    metadata, content = cached.inside.metadata, cached.inside.content
    write, collecting = metadata.write, False

    async def write_and_collect(change: Any) -> Any:
        nonlocal collecting
        result = await write(change)
        if not collecting:
            collecting = True
            await collect(metadata, content, now_us, dry_run=False)
            collecting = False
        return result

    monkeypatch.setattr(metadata, "write", write_and_collect)
    digest, data = next(iter(SMALL.blobs.items()))
    assert (await cached.blob(digest)).body == data
    assert await metadata.read(lambda session: session.is_private(digest))


async def test_an_image_comes_once_and_is_one_of_the_store(
    cached: Cached, upstream: HostileRegistry
) -> None:
    upstream.add("app", SMALL, "1")
    answer = await cached.pull("1", SMALL)
    assert answer.headers["Docker-Content-Digest"] == SMALL.digest
    assert answer.headers["Content-Type"] == SMALL.media_type
    assert "Warning" not in answer.headers
    await cached.pull("1", SMALL)
    for digest in SMALL.blobs:
        assert len(upstream.matching(f"GET .*/blobs/{digest}")) == 1
    assert len(upstream.matching("GET .*/manifests/")) == 1
    image = await cached.named("1")
    assert image is not None
    assert image.complete
    assert image.target.digest == SMALL.digest
    assert image.repo_digests == (f"{cached.full}@{SMALL.digest}",)
    assert image.last_used is not None
    tags = await cached.inside.call("GET", f"/v2/{cached.full}/tags/list")
    assert tags.json["tags"] == ["1"]
    # What held it while it came is gone.
    now = now_us()
    for digest in (SMALL.digest, *SMALL.blobs):
        lease = f"upload:{cached.full}@{digest}"
        assert await cached.inside.metadata.read(lambda session: session.lease(lease)) is None  # noqa: B023
    held = await cached.inside.metadata.read(lambda session: session.held_digests(now))
    assert {SMALL.digest, *SMALL.blobs} <= held


async def test_a_head_fetches_nothing(cached: Cached, upstream: HostileRegistry) -> None:
    upstream.add("app", LARGE, "1")
    for reference in ("1", LARGE.digest):
        answer = await cached.manifest(reference, "HEAD")
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["Content-Length"] == str(len(LARGE.raw))
        assert answer.headers["Docker-Content-Digest"] == LARGE.digest
    answer = await cached.blob(LARGE_LAYER, "HEAD")
    assert (answer.status, answer.headers["Content-Length"]) == (200, str(LAYER))
    assert {one.method for one in upstream.requests} == {"HEAD"}
    assert list(cached.inside.content.blobs()) == []
    assert (await cached.manifest("2", "HEAD")).status == 404


async def test_what_was_only_looked_at_is_no_repository(
    cached: Cached, upstream: HostileRegistry
) -> None:
    upstream.add("app", SMALL, "1")
    await cached.pull("1", SMALL)
    upstream.add("zzz", SMALL, "1")
    other = Cached(cached.inside, upstream, "zzz")

    async def leases() -> list[str]:
        found = await cached.inside.metadata.read(lambda session: session.list_leases("", 0, 100))
        return [one.lease_id for one in found]

    before = await leases()
    for digest, data in SMALL.blobs.items():
        answer = await other.blob(digest, "HEAD")
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(len(data)))
    assert (await other.manifest("1", "HEAD")).status == 200
    tags = await cached.inside.call("GET", f"/v2/{other.full}/tags/list")
    assert (tags.status, tags.code) == (404, "NAME_UNKNOWN")
    assert await leases() == before


async def test_a_fresh_tag_is_not_asked_for(serve: Serve, upstream: HostileRegistry) -> None:
    upstream.add("app", SMALL, "1")
    async with serve(fresh=3600.0) as inside:
        cached = Cached(inside, upstream)
        await cached.manifest("1", "HEAD")
        for _ in range(5):
            await cached.pull("1", SMALL)
        assert len(upstream.matching("HEAD .*/manifests/1$")) == 1
        assert (await cached.manifest("1", "HEAD")).status == 200
        assert len(upstream.matching("HEAD ")) == 1


async def test_a_tag_moves_when_what_it_needs_is_here(
    cached: Cached, upstream: HostileRegistry
) -> None:
    upstream.add("app", SMALL, "1")
    await cached.pull("1", SMALL)
    upstream.add("app", LARGE, "1")
    assert (await cached.manifest("1")).body == LARGE.raw
    before = await cached.named("1")
    assert before is not None
    assert before.target.digest == SMALL.digest
    # Until then it is the whole image that is served without the upstream.
    rule = upstream.on("/manifests/", refuse(503))
    answer = await cached.manifest("1")
    assert (answer.body, "Warning" in answer.headers) == (SMALL.raw, True)
    assert rule.hits == 1
    for digest, data in LARGE.blobs.items():
        assert (await cached.blob(digest)).body == data
    after = await cached.named("1")
    assert after is not None
    assert (after.target.digest, after.complete) == (LARGE.digest, True)
    former = await cached.inside.metadata.read(
        lambda session: session.image_by_target(SMALL.digest)
    )
    assert former is not None
    assert former.names == ()


async def test_a_platform_is_enough_for_an_image_and_others_may_come(
    cached: Cached, upstream: HostileRegistry
) -> None:
    children = [
        make_image([noise(seed, 5000)], architecture=name, layer_type=PLAIN)
        for seed, name in ((11, "amd64"), (12, "arm64"))
    ]
    index = make_index(
        [
            (child, {"os": "linux", "architecture": child_arch})
            for child, child_arch in zip(children, ("amd64", "arm64"), strict=True)
        ]
    )
    upstream.add("app", index, "1")
    assert (await cached.manifest("1")).body == index.raw
    assert await cached.named("1") is None
    for number, child in enumerate(children):
        assert (await cached.manifest(child.digest)).body == child.raw
        for digest, data in child.blobs.items():
            assert (await cached.blob(digest)).body == data
        image = await cached.named("1")
        assert image is not None
        assert image.complete == (number == 1)
        platforms = await cached.inside.metadata.read(
            lambda session: session.image_platforms(image.uid)  # noqa: B023
        )
        assert [one.complete for one in platforms] == [True, number == 1]


async def test_by_digest_it_is_held_and_no_image(cached: Cached, upstream: HostileRegistry) -> None:
    upstream.add("app", SMALL)
    for _ in range(2):
        assert (await cached.manifest(SMALL.digest)).body == SMALL.raw
    assert len(upstream.matching("/manifests/")) == 2  # one HEAD, one GET
    for digest, data in SMALL.blobs.items():
        assert (await cached.blob(digest)).body == data
    await collect(cached.inside.metadata, cached.inside.content, now_us, dry_run=False)
    upstream.on("", reset())
    for digest, data in SMALL.blobs.items():
        assert (await cached.blob(digest)).body == data
    assert (await cached.manifest(SMALL.digest)).body == SMALL.raw
    assert await cached.inside.metadata.read(lambda session: session.count_images()) == 0


async def test_a_tag_that_is_looked_at_and_pulled_by_digest(
    cached: Cached, upstream: HostileRegistry
) -> None:
    """As containerd does."""
    upstream.add("app", SMALL, "1")
    digest = (await cached.manifest("1", "HEAD")).headers["Docker-Content-Digest"]
    assert (await cached.manifest(digest)).body == SMALL.raw
    for blob, data in SMALL.blobs.items():
        assert await cached.named("1") is None
        assert (await cached.blob(blob)).body == data
    assert await cached.named("1") is not None
    # Another tag of it needs nothing more.
    upstream.add("app", SMALL, "2")
    await cached.manifest("2", "HEAD")
    assert await cached.named("2") is not None


async def test_an_artifact_is_one_too(cached: Cached, upstream: HostileRegistry) -> None:
    artifact = make_image([b"{}"], config_type="application/vnd.test+json", layer_type="text/plain")
    upstream.add("app", artifact, "doc")
    await cached.pull("doc", artifact)
    image = await cached.named("doc")
    assert image is not None
    assert (image.kind, image.complete) == ("artifact", True)


async def test_what_comes_is_held_from_the_start(cached: Cached, upstream: HostileRegistry) -> None:
    upstream.add("app", LARGE, "1")
    assert (await cached.manifest("1")).status == 200
    upstream.on("GET .*/blobs/", stall(after=2 << 20))
    getting = asyncio.create_task(cached.blob(LARGE_LAYER))
    await asyncio.to_thread(upstream.wait_for, f"GET .*/blobs/{LARGE_LAYER}")
    await collect(cached.inside.metadata, cached.inside.content, now_us, dry_run=False)
    upstream.held.set()
    assert (await getting).body == noise(3)
    await collect(cached.inside.metadata, cached.inside.content, now_us, dry_run=False)
    assert {one.digest for one in cached.inside.content.blobs()} >= {LARGE.digest, LARGE_LAYER}


# --- streams


async def read(stream: aiohttp.StreamReader, count: int) -> bytes:
    async with asyncio.timeout(PATIENCE):
        return await stream.readexactly(count)


def open_blob(cached: Cached, digest: str) -> aiohttp.client._RequestContextManager:
    url = URL(f"http://{cached.inside.host}/v2/{cached.full}/blobs/{digest}", encoded=True)
    return cached.inside.http.get(url)


async def test_bytes_go_out_as_they_come(cached: Cached, upstream: HostileRegistry) -> None:
    upstream.add("app", LARGE, "1")
    await cached.manifest("1")
    upstream.on("GET .*/blobs/", stall(after=2 << 20))
    async with open_blob(cached, LARGE_LAYER) as answer:
        assert answer.status == 200
        assert answer.content_length == LAYER
        early = await read(answer.content, 1 << 20)
        assert list(cached.inside.content.partials()) == []  # it is being written
        upstream.held.set()
        assert early + await answer.read() == noise(3)


async def test_many_clients_are_one_to_the_upstream(
    cached: Cached, upstream: HostileRegistry
) -> None:
    upstream.add("app", LARGE, "1")
    manifests = await asyncio.gather(*(cached.manifest("1") for _ in range(20)))
    assert {one.body for one in manifests} == {LARGE.raw}
    assert len(upstream.matching("GET .*/manifests/")) == 1
    upstream.on("GET .*/blobs/", stall(after=1 << 20))
    clients = [asyncio.create_task(cached.blob(LARGE_LAYER)) for _ in range(50)]
    leaving = open_blob(cached, LARGE_LAYER)
    async with leaving as answer:
        await read(answer.content, 100)
        # It leaves in the middle, and some who wait.
    for one in clients[:10]:
        one.cancel()
    upstream.held.set()
    answers = await asyncio.gather(*clients[10:])
    assert {one.body for one in answers} == {noise(3)}
    assert len(upstream.matching("GET .*/blobs/")) == 1
    assert upstream.served("/blobs/") == LAYER


@pytest.mark.parametrize("after", [0, 1 << 20])
async def test_what_nobody_wants_any_more_is_not_fetched(
    cached: Cached, upstream: HostileRegistry, after: int
) -> None:
    upstream.add("app", LARGE, "1")
    await cached.manifest("1")
    upstream.on("GET .*/blobs/", stall(after=after), times=1)
    getting = asyncio.create_task(cached.blob(LARGE_LAYER))
    await asyncio.to_thread(upstream.wait_for, "GET .*/blobs/")
    getting.cancel()
    async with asyncio.timeout(PATIENCE):
        # Until its writer has let go of it.
        while not list(cached.inside.content.partials()):
            await asyncio.sleep(0.01)
    assert (await cached.blob(LARGE_LAYER)).body == noise(3)
    assert len(upstream.matching("GET .*/blobs/")) == 2


async def test_a_manifest_that_has_gone_is_asked_for_anew(
    serve: Serve, upstream: HostileRegistry
) -> None:
    async with serve(fresh=3600.0) as inside:
        cached = Cached(inside, upstream)
        upstream.add("app", SMALL, "1")
        await cached.manifest("1", "HEAD")
        upstream.forget()
        upstream.add("app", LARGE, "1")
        assert (await cached.manifest("1")).status == 404
        assert (await cached.manifest("1")).body == LARGE.raw


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-2000000", 100, 2_000_001),
        (f"bytes={LAYER - 1}-", LAYER - 1, LAYER),
        ("bytes=1000000-", 1_000_000, LAYER),
        ("bytes=-5", LAYER - 5, LAYER),
    ],
)
async def test_a_part_of_what_is_still_coming(
    cached: Cached, upstream: HostileRegistry, wanted: str, start: int, end: int
) -> None:
    upstream.add("app", LARGE, "1")
    await cached.manifest("1")
    answer = await cached.blob(LARGE_LAYER, Range=wanted)
    assert (answer.status, answer.body) == (206, noise(3)[start:end])
    assert answer.headers["Content-Range"] == f"bytes {start}-{end - 1}/{LAYER}"
    assert (await cached.blob(LARGE_LAYER, Range=f"bytes={LAYER}-")).status == 416


@pytest.mark.parametrize(
    "fault", [reset(1 << 20), truncate(1 << 20), both(ignore_range(), reset(2 << 20))]
)
async def test_a_cut_upstream_is_gone_on_with(
    cached: Cached, upstream: HostileRegistry, fault: Fault
) -> None:
    upstream.add("app", LARGE, "1")
    await cached.manifest("1")
    upstream.on("GET .*/blobs/", fault, times=1)
    assert (await cached.blob(LARGE_LAYER)).body == noise(3)
    assert len(upstream.matching("GET .*/blobs/")) == 2


WRONG = replaced(lambda body: body[:-1] + bytes([body[-1] ^ 1]))


async def test_wrong_bytes_never_make_a_whole_blob(
    cached: Cached, upstream: HostileRegistry
) -> None:
    upstream.add("app", LARGE, "1")
    await cached.manifest("1")
    rule = upstream.on("GET .*/blobs/", WRONG)
    for headers in ({}, {"Range": "bytes=10-20"}):
        try:
            status = (await cached.blob(LARGE_LAYER, **headers)).status
        except aiohttp.ClientPayloadError:
            status = 0
        # It is cut, or it was over before anything was sent.
        assert status in (0, 502)
    assert rule.hits == 4
    assert cached.inside.content.find(Digest(LARGE_LAYER)) is None
    assert await cached.named("1") is None
    upstream.behave()
    assert (await cached.blob(LARGE_LAYER)).body == noise(3)


async def test_a_blob_that_was_begun_wrong_is_cut(
    cached: Cached, upstream: HostileRegistry
) -> None:
    """What was sent to the client is not what was verified in the end."""
    upstream.add("app", LARGE, "1")
    await cached.manifest("1")
    other = replaced(lambda body: b"\0" + body[1:])
    upstream.on("GET .*/blobs/", both(other, stall(after=2 << 20)), times=1)
    async with open_blob(cached, LARGE_LAYER) as answer:
        assert (await read(answer.content, 1))[0] == 0
        upstream.held.set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()
    # The second attempt was right, and is what the next one gets.
    assert (await cached.blob(LARGE_LAYER)).body == noise(3)
    assert len(upstream.matching("GET .*/blobs/")) == 2


# --- when the upstream fails

FAULTS: list[tuple[Fault, int, bool]] = [
    # The upstream's fault; what a client gets that asks for what is not here; whether the upstream
    # has failed rather than answered.
    (refuse(500), 502, True),
    (refuse(503), 502, True),
    (refuse(429, Retry_After="0"), 429, True),
    (refuse(429), 429, True),
    (reset(), 502, True),
    (truncate(), 502, True),
    (refuse(418), 502, True),
    (refuse(404), 404, False),
    (refuse(401), 404, False),
    (refuse(403), 404, False),
]


@pytest.mark.parametrize(("fault", "status", "failed"), FAULTS)
async def test_what_is_here_is_served_when_the_upstream_fails(
    cached: Cached, upstream: HostileRegistry, fault: Fault, status: int, failed: bool
) -> None:
    upstream.add("app", SMALL, "1")
    await cached.pull("1", SMALL)
    upstream.on("", fault)
    asked = []
    for _ in range(3):
        answer = await cached.manifest("1")
        asked.append(len(upstream.requests))
        if failed:
            assert (answer.status, answer.body) == (200, SMALL.raw)
            assert answer.headers["Warning"].startswith("110 ")
        else:
            assert (answer.status, answer.code) == (404, "MANIFEST_UNKNOWN")
    # One that failed is left alone for a while.
    assert (asked[0] == asked[-1]) is failed
    for digest, data in SMALL.blobs.items():
        assert (await cached.blob(digest)).body == data
    assert (await cached.manifest(SMALL.digest)).body == SMALL.raw


@pytest.mark.parametrize("paused", [True, False])
@pytest.mark.parametrize("fault", [refuse(429, Retry_After="0"), refuse(503), reset()])
async def test_a_manifest_without_its_blobs_is_served_each_time(
    cached: Cached,
    upstream: HostileRegistry,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    paused: bool,
) -> None:
    if not paused:
        monkeypatch.setattr("imgd_server.distribution._cache._PAUSE", 0.0)
    upstream.add("app", SMALL, "1")
    assert (await cached.manifest("1")).status == 200
    # The tag has moved, and what it points at now has not come.
    upstream.add("app", LARGE, "1")
    assert (await cached.manifest("1", "HEAD")).headers["ETag"] == f'"{LARGE.digest}"'
    upstream.on("", fault)
    for method in ("HEAD", "GET", "HEAD", "GET", "GET"):
        answer = await cached.manifest("1", method)
        assert (answer.status, answer.headers["ETag"]) == (200, f'"{SMALL.digest}"')
        assert answer.headers["Warning"].startswith("110 ")
        answer = await cached.manifest(SMALL.digest, method)
        assert answer.status == 200
    assert await cached.named("1") is None
    upstream.behave()
    monkeypatch.setattr(cached.inside.server._cache, "_paused", {})
    await cached.pull("1", LARGE)


@pytest.mark.parametrize(("fault", "status", "failed"), FAULTS)
async def test_what_is_not_here_is_said_so(
    cached: Cached, upstream: HostileRegistry, fault: Fault, status: int, failed: bool
) -> None:
    upstream.on("", fault)
    for answer in (
        await cached.manifest("1"),
        await cached.manifest(SMALL.digest),
        await cached.blob(LARGE_LAYER),
    ):
        assert answer.status == status
        # What fails is not said to be unknown.
        codes = {404: ("MANIFEST_UNKNOWN", "BLOB_UNKNOWN"), 429: ("TOOMANYREQUESTS",)}
        assert answer.code in codes.get(status, ("UNAVAILABLE",))
        assert ("Retry-After" in answer.headers) == (status == 429)
    # Nothing is left of it, and it comes when the upstream is well again.
    assert list(cached.inside.content.blobs()) == []
    upstream.behave()
    upstream.add("app", SMALL, "1")
    await cached.pull("1", SMALL)


async def test_an_upstream_that_wants_to_be_left_alone_is(
    cached: Cached, upstream: HostileRegistry
) -> None:
    upstream.on("", refuse(429, Retry_After="100"))
    assert (await cached.manifest("1")).status == 429
    upstream.behave()
    upstream.add("app", SMALL, "1")
    asked = len(upstream.requests)
    answer = await cached.manifest("1")
    assert answer.status == 429
    assert 0 < int(answer.headers["Retry-After"]) <= 100
    assert len(upstream.requests) == asked


async def test_an_upstream_is_asked_again_after_its_pause(
    cached: Cached, upstream: HostileRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgd_server.distribution._cache._PAUSE", 0.0)
    upstream.add("app", SMALL, "1")
    await cached.pull("1", SMALL)
    upstream.on("", refuse(503), times=2)
    for _ in range(2):
        assert "Warning" in (await cached.manifest("1")).headers
    assert "Warning" not in (await cached.manifest("1")).headers


async def test_a_blob_whose_fetching_fails_before_a_byte_has_a_status(
    cached: Cached, upstream: HostileRegistry
) -> None:
    upstream.add("app", SMALL, "1")
    await cached.manifest("1")
    upstream.on("GET .*/blobs/", refuse(500))
    answer = await cached.blob(digest_of(noise(1, 10_000)))
    assert (answer.status, answer.code) == (502, "UNAVAILABLE")


async def test_an_upstream_that_hides_a_size(cached: Cached, upstream: HostileRegistry) -> None:
    upstream.add("app", SMALL, "1")
    upstream.on("HEAD .*/blobs/", unframed())
    answer = await cached.blob(digest_of(noise(1, 10_000)))
    assert (answer.status, answer.code) == (502, "UNAVAILABLE")
    # A manifest tells it, too.
    await cached.pull("1", SMALL)


async def test_a_restart_keeps_what_is_here(serve: Serve, upstream: HostileRegistry) -> None:
    upstream.add("app", SMALL, "1")
    async with serve() as inside:
        await Cached(inside, upstream).pull("1", SMALL)
    upstream.on("", reset())
    async with serve() as inside:
        answer = await Cached(inside, upstream).pull("1", SMALL)
        assert answer.headers["Warning"].startswith("110 ")


async def test_a_layer_after_a_restart_needs_no_manifest_again(
    serve: Serve, upstream: HostileRegistry
) -> None:
    upstream.add("app", SMALL, "1")
    async with serve() as inside:
        await Cached(inside, upstream).manifest("1")
    async with serve() as inside:
        for digest, data in SMALL.blobs.items():
            assert (await Cached(inside, upstream).blob(digest)).body == data


# --- what is none of the cache's business


async def test_nobody_gets_what_the_upstream_would_not_give(
    cached: Cached, upstream: HostileRegistry
) -> None:
    """Knowing a digest opens no repository: not by asking, nor with a manifest that names it."""
    secret = noise(3)
    await cached.inside.push_blob("private", secret)
    assert (await cached.blob(LARGE_LAYER)).status == 404
    upstream.add("app", LARGE, "1")
    upstream.on(f"/blobs/{LARGE_LAYER}", refuse(404))
    config = next(one for one in LARGE.blobs if one != LARGE_LAYER)
    assert (await cached.manifest("1")).status == 200
    assert (await cached.blob(config)).status == 200
    for _ in range(2):
        assert (await cached.blob(LARGE_LAYER)).status == 404
    assert await cached.named("1") is None
    mount = f"/v2/own/blobs/uploads/?mount={LARGE_LAYER}&from={cached.full}"
    assert (await cached.inside.call("POST", mount)).status == 202


async def test_what_is_stored_already_is_not_fetched_again(
    cached: Cached, upstream: HostileRegistry
) -> None:
    await cached.inside.push_blob("private", noise(3))
    upstream.add("app", LARGE, "1")
    await cached.pull("1", LARGE)
    await cached.pull("1", LARGE)
    assert [one.method for one in upstream.matching(f"/blobs/{LARGE_LAYER}")] == ["HEAD"]
    image = await cached.named("1")
    assert image is not None
    assert image.complete


@pytest.mark.parametrize("change", ["size", "manifest", "config"])
async def test_a_lying_manifest_makes_no_image(
    cached: Cached, upstream: HostileRegistry, change: str
) -> None:
    document = SMALL.document
    raw = SMALL.raw
    blobs = dict(SMALL.blobs)
    if change == "size":
        document["layers"][0]["size"] += 1
        raw = json.dumps(document).encode()
    elif change == "config":
        blobs = {digest_of(b"no JSON"): b"no JSON"} | blobs
        document["config"] |= {"digest": digest_of(b"no JSON"), "size": 7}
        raw = json.dumps(document).encode()
    else:
        raw = b'{"schemaVersion": 2, "layers": 7}'
    manifest = {digest_of(raw): (SMALL.media_type, raw)}
    upstream.add("app", FakeImage(raw, SMALL.media_type, blobs, manifest), "1")
    answer = await cached.manifest("1")
    assert answer.status == (400 if change == "manifest" else 200)
    answers = [await cached.blob(digest) for digest in blobs]
    assert await cached.named("1") is None
    assert [one.status for one in answers].count(200) >= 2


async def test_the_egress_policy_holds(cached: Cached, upstream: HostileRegistry) -> None:
    with HostileRegistry(address="127.0.0.2") as inner:
        inner.add("app", LARGE, "1")
        upstream.add("app", LARGE, "1")
        await cached.manifest("1")
        upstream.on("/blobs/", redirect(f"{inner.url}/files/{LARGE_LAYER}"))
        answer = await cached.blob(LARGE_LAYER)
        assert (answer.status, answer.code) == (403, "DENIED")
        assert inner.requests == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PUT", "manifests/1"),
        ("DELETE", "manifests/1"),
        ("POST", "blobs/uploads/"),
        ("DELETE", f"blobs/{LARGE_LAYER}"),
    ],
)
async def test_nothing_is_pushed_into_a_cache(
    cached: Cached, upstream: HostileRegistry, method: str, path: str
) -> None:
    upstream.add("app", SMALL, "1")
    await cached.pull("1", SMALL)
    answer = await cached.inside.call(method, f"/v2/{cached.full}/{path}", data=io.BytesIO(b""))
    assert (answer.status, answer.code, answer.headers["Allow"]) == (
        405,
        "UNSUPPORTED",
        "GET, HEAD",
    )
    await cached.pull("1", SMALL)


async def test_other_registries_are_not_asked(inside: Inside, upstream: HostileRegistry) -> None:
    with HostileRegistry() as other:
        other.add("app", SMALL, "1")
        assert (await inside.call("GET", f"/v2/{other.host}/app/manifests/1")).status == 404
        assert (await inside.call("GET", f"/v2/app/manifests/1?ns={other.host}")).status == 404
        assert other.requests == upstream.requests == []


@pytest.mark.parametrize("path", ["/v2/{host}/app/{what}", "/v2/app/{what}?ns={host}"])
async def test_the_host_is_in_the_path_or_beside_it(
    inside: Inside, upstream: HostileRegistry, path: str
) -> None:
    upstream.add("app", SMALL, "1")
    for what, body in (
        ("manifests/1", SMALL.raw),
        *((f"blobs/{k}", v) for k, v in SMALL.blobs.items()),
    ):
        answer = await inside.call("GET", path.format(host=upstream.host, what=what))
        assert (answer.status, answer.body) == (200, body)


@pytest.mark.parametrize("namespace", ["", "app", "evil", "a/b", "..", "a@b", "x.test:y", "%00"])
async def test_a_namespace_is_a_host_or_refused(inside: Inside, namespace: str) -> None:
    answer = await inside.call("GET", f"/v2/app/manifests/1?ns={namespace}")
    assert answer.status == (400 if namespace else 404)


async def test_the_default_upstream_has_what_is_none_here(
    serve: Serve, upstream: HostileRegistry
) -> None:
    upstream.add("team/app", SMALL, "1")
    upstream.add("own", LARGE, "1")
    async with serve(default=True) as inside:
        await inside.push("own", "1", SMALL)
        assert (await inside.call("GET", "/v2/own/manifests/1")).body == SMALL.raw
        assert (await inside.call("GET", "/v2/own/manifests/2")).status == 404
        assert upstream.requests == []
        assert (await inside.call("GET", "/v2/team/app/manifests/1")).body == SMALL.raw
        answer = await inside.call("GET", f"/v2/team/app/blobs/{digest_of(noise(1, 10_000))}")
        assert answer.body == noise(1, 10_000)
        assert (await inside.call("GET", "/v2/new/manifests/1")).status == 404
        # What is pushed is our own from then on.
        assert (await inside.push("new", "1", LARGE)).status == 201
        upstream.add("new", SMALL, "1")
        assert (await inside.call("GET", "/v2/new/manifests/1")).body == LARGE.raw
        assert (await inside.call("DELETE", "/v2/new/manifests/1")).status == 202


@pytest.mark.parametrize("known", ["by a blob that was looked at", "by what is here"])
async def test_what_a_cache_shows_by_default_is_not_pushed_to(
    serve: Serve, upstream: HostileRegistry, known: str
) -> None:
    upstream.add("app", SMALL, "1")
    blob = next(iter(SMALL.blobs))
    if known == "by what is here":
        async with serve(default=True) as before:
            assert (await before.call("GET", "/v2/app/manifests/1")).status == 200
    async with serve(default=True) as inside:
        if known != "by what is here":
            # As clients do that push: what is there they don't send.
            assert (await inside.call("HEAD", f"/v2/app/blobs/{blob}")).status == 200
        for method, path in (
            ("POST", "blobs/uploads/"),
            ("PUT", "manifests/2"),
            ("DELETE", "manifests/1"),
            ("DELETE", f"manifests/{SMALL.digest}"),
            ("DELETE", f"blobs/{blob}"),
        ):
            answer = await inside.call(method, f"/v2/app/{path}", data=io.BytesIO(SMALL.raw))
            assert (answer.status, answer.code) == (405, "UNSUPPORTED"), path
            assert answer.headers["Allow"] == "GET, HEAD"
        assert (await inside.call("GET", "/v2/app/manifests/1")).body == SMALL.raw
        # Of another name nobody has said so.
        assert (await inside.call("DELETE", "/v2/other/manifests/1")).status == 404


async def test_a_registry_is_not_its_own_upstream(
    inside: Inside, upstream: HostileRegistry
) -> None:
    cache = inside.server._cache
    assert cache is not None
    server = RegistryServer(inside.content, inside.metadata, own_host=upstream.host, cache=cache)
    with pytest.raises(Error, match="is this registry itself") as caught:
        await server.start("127.0.0.1", 0)
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.message.startswith("registry_cache: ")
    server = RegistryServer(inside.content, inside.metadata, own_host="a.test", cache=cache)
    with pytest.raises(Error, match="is this registry itself"):
        await server.start("localhost", upstream.port)


# --- a whole daemon, Debian's registry behind it, and other people's clients


def test_clients_of_a_daemon_before_a_real_registry(
    tmp_path: Path, real_images: RealImages
) -> None:
    with docker_registry(tmp_path / "upstream") as host:
        for kind in ("app", "multi"):
            real_images.push(kind, f"{host}/team/{kind}:1")
        raw = {kind: raw_manifest(f"{host}/team/{kind}:1") for kind in ("app", "multi")}
        flags = [
            *("--registry-listen", "127.0.0.1:0", "--registry-cache", host),
            *("--registry-cache-default", host, "--registry-cache-fresh", "0"),
        ]
        with run_daemon(tmp_path / "state", *flags) as daemon:
            name = f"{daemon.registry}/team"
            target = f"dir:{tmp_path / 'copied'}"
            run("skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{name}/app:1", target)
            assert (tmp_path / "copied" / "manifest.json").read_bytes() == raw["app"]
            run("crane", "--platform=all", "validate", f"--remote={name}/multi:1")
            listed = daemon.imgctl("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()
            assert sorted(listed) == [f"{host}/team/app:1", f"{host}/team/multi:1"]
            known = [one for one in daemon.log if one.get("level") in ("warning", "error")]
            assert known == []
            pushed = subprocess.run(
                [str(require("crane")), "tag", f"{name}/app:1", "2"],
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
            assert pushed.returncode != 0
            assert "is a cache here" in pushed.stderr
            # It is an image like others: pulled here, it moves no byte.
            done = daemon.imgctl("pull", f"{host}/team/app:1")
            assert done.returncode == 0, done
    # The upstream is gone, and so was the daemon.
    with run_daemon(tmp_path / "state", *flags) as daemon:
        for kind in ("app", "multi"):
            assert raw_manifest(f"{daemon.registry}/team/{kind}:1") == raw[kind]
            run("crane", "--platform=all", "validate", f"--remote={daemon.registry}/team/{kind}:1")
        events = [one["event"] for one in daemon.log if one.get("level") == "warning"]
        assert set(events) == {"upstream failed; serving what is here"}
        assert daemon.imgctl("rmi", f"{host}/team/app:1").returncode == 0

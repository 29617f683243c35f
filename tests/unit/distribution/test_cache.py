"""The pull-through cache without a network: following a download, answers, names."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any, cast

import pytest
from aiohttp import web

from imgd_server.app import serve
from imgd_server.config import Config
from imgd_server.content import ContentStore, LocalContentStore
from imgd_server.distribution import Cache, CacheConfig, RegistryServer
from imgd_server.distribution._cache import refuse_upstream
from imgd_server.distribution._follow import Follower
from imgd_server.distribution._protocol import Refusal
from imgd_server.errors import Error, Reason
from imgd_server.metadata import MetadataStore
from imgd_server.oci import Descriptor, Digest
from imgd_server.registry import RegistryClient
from imgd_server.transfer import Fetcher, Flight, RetryPolicy


class Client:
    """What a client has got."""

    def __init__(self) -> None:
        self.got = bytearray()

    async def write(self, data: bytes) -> None:
        self.got += data
        await asyncio.sleep(0)


def download(
    content: LocalContentStore, data: bytes, chance: random.Random, wrong: float
) -> Flight[None]:
    """A flight that writes `data`; its attempts begin anew now and then, and with a chance of
    `wrong` each but the last has other bytes."""
    digest = Digest.of(data)
    flight: Flight[None] = Flight("x")

    async def attempt(body: bytes, end: int) -> None:
        with content.ingest(digest, digest, len(data), resume=chance.random() < 0.5) as ingest:
            flight.done_bytes = ingest.offset
            while ingest.offset < end:
                size = chance.randint(1, 400)
                ingest.write(body[ingest.offset : min(ingest.offset + size, end)])
                flight.done_bytes = ingest.offset
                if chance.random() < 0.7:
                    await asyncio.sleep(0)
                if chance.random() < 0.05:
                    ingest.restart()
                    flight.done_bytes = 0

    async def work() -> None:
        for _ in range(chance.randint(0, 3)):
            other = bytes(reversed(data)) if chance.random() < wrong else data
            await attempt(other, chance.randint(0, len(data)))
        content.drop_partial(digest)
        await attempt(data, len(data))
        with content.ingest(digest, digest, len(data)) as ingest:
            ingest.commit()

    flight.task = asyncio.create_task(work())
    return flight


@pytest.mark.parametrize("seed", range(60))
async def test_a_client_gets_what_was_verified_or_less(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    content = LocalContentStore(tmp_path)
    data = chance.randbytes(chance.choice([1, 2, 700, 5000]))
    start = chance.choice([0, 0, chance.randrange(len(data))])
    end = chance.choice([len(data), len(data), chance.randint(start + 1, len(data))])
    wrong = chance.choice([0.0, 0.5])
    flight = download(content, data, chance, wrong)
    target = Descriptor("x", Digest.of(data), len(data))
    client = Client()
    follower = Follower(flight, content, target, start, end, lambda: False)
    await follower.begin()
    failed: Error | None = None
    try:
        with await follower.send(cast(web.StreamResponse, client)) as reader:
            assert len(client.got) == follower.sent_to - start < end - start
            client.got += reader.pread(end - follower.sent_to, follower.sent_to)
    except Error as error:
        failed = error
    if failed:
        assert failed.reason is Reason.DIGEST_MISMATCH
        assert wrong
        assert len(client.got) < end - start
    else:
        assert client.got == data[start:end]


@pytest.mark.parametrize("begun", [False, True])
async def test_a_download_that_fails_fails_its_followers(tmp_path: Path, begun: bool) -> None:
    content = LocalContentStore(tmp_path)
    data = b"0123456789"
    flight: Flight[None] = Flight("x")
    go_on = asyncio.Event()

    async def work() -> None:
        digest = Digest.of(data)
        with content.ingest(digest, digest, 10) as ingest:
            if begun:
                ingest.write(data)
                flight.done_bytes = 10
            await go_on.wait()
            ingest.abort()
        raise Error(Reason.REGISTRY_TIMEOUT, "stopped")

    flight.task = asyncio.create_task(work())
    client, target = Client(), Descriptor("x", Digest.of(data), 10)
    follower = Follower(flight, content, target, 0, 10, lambda: False)
    sending: asyncio.Task[Any]
    if begun:
        await follower.begin()
        sending = asyncio.create_task(follower.send(cast(web.StreamResponse, client)))
        while len(client.got) < 9:
            await asyncio.sleep(0)
    else:
        sending = asyncio.create_task(follower.begin())
    go_on.set()
    with pytest.raises(Error, match="stopped"):
        await sending
    # All came, and the last byte was not given away.
    assert client.got == (data[:9] if begun else b"")


# --- answers


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (Reason.REMOTE_NOT_FOUND, 404, "BLOB_UNKNOWN"),
        (Reason.REGISTRY_UNAUTHORIZED, 404, "BLOB_UNKNOWN"),
        (Reason.REGISTRY_DENIED, 404, "BLOB_UNKNOWN"),
        (Reason.REGISTRY_RATE_LIMITED, 429, "TOOMANYREQUESTS"),
        (Reason.EGRESS_DENIED, 403, "DENIED"),
        (Reason.REGISTRY_TIMEOUT, 504, "UNAVAILABLE"),
        (Reason.REGISTRY_UNREACHABLE, 502, "UNAVAILABLE"),
        (Reason.REGISTRY_UNAVAILABLE, 502, "UNAVAILABLE"),
        (Reason.REGISTRY_TLS, 502, "UNAVAILABLE"),
        (Reason.DIGEST_MISMATCH, 502, "UNAVAILABLE"),
        (Reason.MANIFEST_TOO_LARGE, 502, "UNAVAILABLE"),
    ],
)
def test_an_upstreams_failure_is_its_own(reason: Reason, status: int, code: str) -> None:
    refusal = refuse_upstream(Error(reason, "it failed", host="up.test"), "BLOB_UNKNOWN")
    assert refusal.status == status
    assert refusal.errors == [{"code": code, "message": "it failed"}]
    # A 401 would make clients log in here.
    assert "WWW-Authenticate" not in refusal.headers


def test_our_own_failure_is_ours() -> None:
    assert refuse_upstream(Error(Reason.DISK_FULL, "full"), "BLOB_UNKNOWN").status == 507


@pytest.mark.parametrize(("wanted", "given"), [(None, "11"), (0.5, "1"), (99.2, "100")])
def test_a_limit_says_when_to_come_again(wanted: float | None, given: str) -> None:
    error = Error(Reason.REGISTRY_RATE_LIMITED, "slow", host="up.test", retry_after=wanted)
    assert refuse_upstream(error, "BLOB_UNKNOWN").headers["Retry-After"] == given
    # One that is busy in another way may say so, too, and need not.
    error.reason = Reason.REGISTRY_UNAVAILABLE
    said = refuse_upstream(error, "BLOB_UNKNOWN").headers.get("Retry-After")
    assert said == (given if wanted else None)


# --- names


@pytest.fixture
async def server(tmp_path: Path) -> RegistryServer:
    content, nothing = cast(ContentStore, None), cast(Any, None)
    fetcher = Fetcher(cast(RegistryClient, None), content, nothing, nothing, RetryPolicy())
    cache = Cache(fetcher, CacheConfig(frozenset({"docker.io", "up.test:5000"})))
    return RegistryServer(content, cast(MetadataStore, None), own_host="reg.test", cache=cache)


@pytest.mark.parametrize(
    ("name", "namespace", "full", "cached"),
    [
        ("docker.io/library/app", "", "docker.io/library/app", True),
        ("docker.io/app", "", "docker.io/library/app", True),
        ("index.docker.io/app", "", "docker.io/library/app", True),
        ("library/app", "docker.io", "docker.io/library/app", True),
        ("library/app", "index.docker.io", "docker.io/library/app", True),
        ("app", "up.test:5000", "up.test:5000/app", True),
        ("docker.io/app", "up.test:5000", "up.test:5000/docker.io/app", True),
        ("app", "up.test", "up.test/app", False),
        ("up.test/app", "", "up.test/app", False),
        ("app", "reg.test", "reg.test/app", False),
        ("library/app", "", "reg.test/library/app", False),
    ],
)
async def test_a_namespace_stands_before_the_name(
    server: RegistryServer, name: str, namespace: str, full: str, cached: bool
) -> None:
    found = server.resolve(name, namespace)
    assert found.full == full
    assert (found.cache is not None) is cached
    # What an answer links to needs no namespace.
    assert server.resolve(found.name).full == full


@pytest.mark.parametrize("namespace", ["app", "evil", "a/b", "..", "a@b", "x.test:y", "\0", "a b"])
async def test_what_is_no_host_is_refused(server: RegistryServer, namespace: str) -> None:
    with pytest.raises(Refusal) as caught:
        server.resolve("app", namespace)
    assert caught.value.status == 400


async def test_the_default_must_be_an_upstream(tmp_path: Path) -> None:
    config = Config(
        root=str(tmp_path),
        listen=[f"unix:{tmp_path}/s"],
        registry_listen="127.0.0.1:0",
        registry_cache=["a.test"],
        registry_cache_default="b.test",
    )
    with pytest.raises(Error, match=r"registry_cache_default: b\.test"):
        await serve(config)

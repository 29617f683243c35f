"""The cache killed in the middle, and an upstream that is cut again and again."""

from __future__ import annotations

import http.client
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imgd_server.app import check
from imgd_server.config import Config
from tests.daemon import PATIENCE, Daemon, run_daemon
from tests.fake_images import FakeImage, digest_of, make_image
from tests.hostile import Fault, HostileRegistry, refuse, replaced, reset, stall, truncate

LAYER = 4 << 20
DATA = random.Random(1).randbytes(LAYER)
IMAGE = make_image([DATA], layer_type="application/vnd.oci.image.layer.v1.tar")
BLOB = digest_of(DATA)
# What a kill may cost: sent, and not yet written.
IN_FLIGHT = 1 << 20


@pytest.fixture
def upstream() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.add("app", IMAGE, "1")
        yield registry


@contextmanager
def caching(root: Path, upstream: HostileRegistry) -> Iterator[Daemon]:
    flags = ["--registry-listen", "127.0.0.1:0", "--registry-cache", upstream.host]
    with run_daemon(root, *flags) as daemon:
        yield daemon


def ask(daemon: Daemon, upstream: HostileRegistry, path: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(daemon.registry, timeout=PATIENCE)
    connection.request("GET", f"/v2/{upstream.host}/app/{path}", headers={"Connection": "close"})
    return connection.getresponse()


def get(daemon: Daemon, upstream: HostileRegistry, path: str) -> bytes | None:
    """A whole answer; None for one that was cut."""
    with ask(daemon, upstream, path) as answer:
        try:
            data = answer.read()
        except (http.client.IncompleteRead, ConnectionError):
            return None
        return data if answer.status == 200 else None


def pull(daemon: Daemon, upstream: HostileRegistry, image: FakeImage = IMAGE) -> None:
    assert get(daemon, upstream, "manifests/1") == image.raw
    for digest, data in image.blobs.items():
        assert get(daemon, upstream, f"blobs/{digest}") == data


async def whole(root: Path) -> None:
    """What `imgd fsck --verify-content` finds: nothing."""
    assert await check(Config(root=str(root)), verify_content=True) == []


@pytest.mark.parametrize("after", [1, 1 << 20, LAYER - 1])
async def test_a_killed_daemon_goes_on_where_it_was(
    tmp_path: Path, upstream: HostileRegistry, after: int
) -> None:
    root = tmp_path / "state"
    with caching(root, upstream) as daemon:
        assert get(daemon, upstream, "manifests/1") == IMAGE.raw
        upstream.on(f"GET .*/blobs/{BLOB}", stall(after=after), times=1)
        with ask(daemon, upstream, f"blobs/{BLOB}") as answer:
            # As much as came before it stalled, the last byte of the blob apart.
            begun = answer.read(after)
            assert begun == DATA[:after]
            daemon.kill()
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()
    upstream.held.set()
    await whole(root)
    served = upstream.served(f"/blobs/{BLOB}")
    with caching(root, upstream) as daemon:
        assert daemon.imgctl("images", "-q").stdout == ""
        pull(daemon, upstream)
        assert upstream.host in daemon.imgctl("images").stdout
    assert upstream.served(f"/blobs/{BLOB}") - served <= LAYER - after + IN_FLIGHT
    resumed = upstream.matching(f"GET .*/blobs/{BLOB}")[-1].headers.get("range")
    assert (resumed or "").startswith("bytes=")
    await whole(root)


async def test_a_daemon_killed_after_the_last_byte_serves_without_its_upstream(
    tmp_path: Path, upstream: HostileRegistry
) -> None:
    root = tmp_path / "state"
    with caching(root, upstream) as daemon:
        pull(daemon, upstream)
        daemon.kill()
    upstream.on("", reset())
    with caching(root, upstream) as daemon:
        pull(daemon, upstream)
    await whole(root)


async def test_a_stop_does_not_wait_for_what_is_fetched(
    tmp_path: Path, upstream: HostileRegistry
) -> None:
    root = tmp_path / "state"
    with caching(root, upstream) as daemon:
        assert get(daemon, upstream, "manifests/1") == IMAGE.raw
        upstream.on(f"GET .*/blobs/{BLOB}", stall(after=1 << 20))
        with ask(daemon, upstream, f"blobs/{BLOB}") as answer:
            assert answer.read(1000) == DATA[:1000]
            assert daemon.stop() == 0
    upstream.behave()
    await whole(root)


def test_an_upstream_that_is_cut_again_and_again(tmp_path: Path, upstream: HostileRegistry) -> None:
    """Each cut costs what was under way; a client sees none of them, or a cut and never a mix."""
    step = LAYER // 8
    with caching(tmp_path / "state", upstream) as daemon:
        assert get(daemon, upstream, "manifests/1") == IMAGE.raw
        for fault in (reset, truncate):
            for _ in range(4):
                upstream.on(f"GET .*/blobs/{BLOB}", fault(step), times=1)
        data = None
        for _ in range(9):
            data = data or get(daemon, upstream, f"blobs/{BLOB}")
        assert data == DATA


def test_a_storm_of_limits_and_lies_leaves_nothing_wrong(
    tmp_path: Path, upstream: HostileRegistry
) -> None:
    chance = random.Random(7)
    faults: list[Callable[[], Fault]] = [
        lambda: refuse(429, Retry_After="0"),
        lambda: refuse(500),
        lambda: reset(chance.randrange(LAYER)),
        lambda: truncate(chance.randrange(LAYER)),
        lambda: replaced(lambda body: body[: len(body) // 2]),
        lambda: replaced(lambda body: bytes(len(body))),
        lambda: replaced(b"{}"),
    ]
    with caching(tmp_path / "state", upstream) as daemon:
        for fault in faults:
            upstream.behave()
            upstream.on("", fault())
            for path, right in (("manifests/1", IMAGE.raw), (f"blobs/{BLOB}", DATA)):
                assert get(daemon, upstream, path) in (None, right)
        upstream.behave()
        pull(daemon, upstream)
        assert [one for one in daemon.log if one.get("level") == "error"] == []

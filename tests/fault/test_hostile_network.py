"""Pulls over lines that break, from registries that recover: nothing twice, never a mix."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from imgd_server.errors import Reason
from imgd_server.registry import RegistryConfig
from imgd_server.transfer import NodeState, TransferState
from tests.fake_images import digest_of, make_image, make_layer
from tests.hostile import (
    Fault,
    HostileRegistry,
    both,
    chunked,
    drip,
    header,
    ignore_range,
    raw,
    refuse,
    replaced,
    reset,
    stall,
    truncate,
    unframed,
)
from tests.pulling import Puller, noise, pulling

LAYER = make_layer({"noise": noise(700_000)})
IMAGE = make_image([make_layer({"etc/hello": b"hello\n"}), LAYER])
BLOB = gzip.compress(LAYER, 1, mtime=0)
SIZE = len(BLOB)
PATH = f"/blobs/{digest_of(BLOB)}"
CUT = 100_000
# Long enough for a busy machine to answer within it, short enough to be waited for.
IMPATIENT = RegistryConfig(read_timeout=0.5, connect_timeout=5.0)
# Where a machine that pauses for a moment would be seen in what is asked for.
CALM = RegistryConfig(read_timeout=3.0, connect_timeout=60.0)


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        yield registry


async def assert_pulls(puller: Puller, registry: HostileRegistry, **options: object) -> None:
    reference = registry.add("library/app", IMAGE, "1")
    outcome = await puller.pull(reference, **options)
    await puller.assert_stored(outcome, IMAGE, reference)


def offsets(registry: HostileRegistry) -> list[str]:
    return [one.headers.get("range", "") for one in registry.matching(PATH)]


def ranged(fault: Fault) -> Fault:
    """A fault for the requests for a range only."""
    return lambda asked, right: fault(asked, right) if "range" in asked.headers else right


# --- resume


async def test_a_download_goes_on_at_the_byte_where_it_was_cut(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(PATH, truncate(CUT))
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, registry)
    assert offsets(registry) == ["", *(f"bytes={at}-{SIZE - 1}" for at in range(CUT, SIZE, CUT))]
    assert registry.served(PATH) == SIZE


@pytest.mark.parametrize(
    "fault",
    [both(chunked(10_000), truncate(CUT)), both(unframed(), truncate(CUT)), reset(CUT)],
    ids=["chunked", "unframed", "reset"],
)
async def test_other_cuts_are_survived(
    fault: Fault, registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(PATH, fault, times=2)
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, registry)
    # A reset may take with it what the client's system had not handed over yet.
    assert registry.served(PATH) <= SIZE + 2 * CUT


async def test_a_later_pull_goes_on_where_an_earlier_one_failed(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    reference = registry.add("library/app", IMAGE, "1")
    registry.on(PATH, truncate(CUT), times=1)
    registry.on(PATH, ranged(refuse(503)))
    async with pulling(tmp_path) as puller:
        failure = await puller.fail(reference)
        assert failure.reason is Reason.REGISTRY_UNAVAILABLE
        await puller.assert_untouched()
    registry.behave()
    async with pulling(tmp_path) as puller:
        outcome = await puller.pull(reference)
        await puller.assert_stored(outcome, IMAGE, reference)
        assert outcome.fetched_bytes <= SIZE - CUT + len(IMAGE.raw) + 2000
    assert offsets(registry)[-1] == f"bytes={CUT}-{SIZE - 1}"
    assert registry.served(PATH) == SIZE


WRONG_RANGES: dict[str, Fault] = {
    "a 200": ignore_range(),
    "a 416": refuse(416),
    "no Content-Range": header(Content_Range=None),
    "another start": header(Content_Range=f"bytes {CUT - 1}-{SIZE - 2}/{SIZE}"),
    "another end": both(
        replaced(lambda body: body[:10]), header(Content_Range=f"bytes {CUT}-{CUT + 9}/{SIZE}")
    ),
    "another size": header(Content_Range=f"bytes {CUT}-{SIZE - 1}/{SIZE + 1}"),
    "another unit": header(Content_Range=f"lines {CUT}-{SIZE - 1}/{SIZE}"),
    "nonsense": header(Content_Range="bytes ٣-4/5".encode().decode("latin-1")),
    "several parts": header(Content_Range=None, Content_Type="multipart/byteranges; boundary=x"),
}


@pytest.mark.parametrize("fault", WRONG_RANGES.values(), ids=WRONG_RANGES.keys())
async def test_a_wrong_answer_to_a_range_starts_the_blob_over(
    fault: Fault, registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(PATH, truncate(CUT), times=1)
    registry.on(PATH, ranged(fault))
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, registry)
    assert offsets(registry)[:2] == ["", f"bytes={CUT}-{SIZE - 1}"]
    assert len(offsets(registry)) <= 3


async def test_a_range_of_an_unknown_whole_is_fine(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(PATH, truncate(CUT), times=1)
    registry.on(PATH, ranged(header(Content_Range=f"bytes {CUT}-{SIZE - 1}/*")))
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, registry)
    assert registry.served(PATH) == SIZE


async def test_a_blob_that_changed_meanwhile_is_never_mixed(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(PATH, both(replaced(noise(SIZE, 8)), truncate(CUT)), times=1)
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, registry)
    assert offsets(registry) == ["", f"bytes={CUT}-{SIZE - 1}", ""]


async def test_another_blob_is_thrown_away_and_asked_for_once_more(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(PATH, replaced(noise(SIZE, 8)), times=1)
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, registry)
    assert offsets(registry) == ["", ""]


# --- odd, and right


ODD: dict[str, tuple[str, Fault]] = {
    "all in chunks": ("", chunked(5000)),
    "all without a length": ("", unframed()),
    "chunks of one byte": ("/manifests/", chunked(1)),
    "no HEAD": ("HEAD", refuse(405)),
    "a HEAD that is not found": ("HEAD", refuse(404)),
    "a HEAD without a digest": ("HEAD", header(Docker_Content_Digest=None)),
    "a HEAD with a digest that is none": ("HEAD", header(Docker_Content_Digest="md5:abc")),
    "no type": ("/manifests/", header(Content_Type=None)),
    "a type that says nothing": ("/manifests/", header(Content_Type="application/json")),
    "parameters": (
        "/manifests/",
        header(Content_Type="Application/Vnd.OCI.image.manifest.v1+json; charset=utf-8"),
    ),
    "no keep-alive": ("", header(Connection="close")),
    "connections that end unannounced": (
        "GET",
        lambda _, right: replace(right, cut=len(right.body)),
    ),
    "early hints": (
        "HEAD",
        raw(
            b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
            b"HTTP/1.1 405 No\r\nContent-Length: 0\r\n\r\n"
        ),
    ),
    "lines that end in LF": ("HEAD", raw(b"HTTP/1.1 405 No\nContent-Length: 0\n\n")),
}


@pytest.mark.parametrize(("pattern", "fault"), ODD.values(), ids=ODD.keys())
async def test_odd_registries_serve(
    pattern: str, fault: Fault, registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(pattern, fault)
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, registry)


BURSTS: dict[str, Fault] = {
    "500": refuse(500),
    "503 with a time": refuse(503, Retry_After="0"),
    "408": refuse(408),
    "429 without a time": refuse(429, "TOOMANYREQUESTS"),
    "429 with a date that is over": refuse(429, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT"),
    "429 with nonsense": refuse(429, Retry_After="soon"),
    "a reset": reset(),
    "a close": truncate(),
}


@pytest.mark.parametrize("pattern", ["HEAD", "GET .*/manifests/", PATH])
@pytest.mark.parametrize("fault", BURSTS.values(), ids=BURSTS.keys())
async def test_a_burst_of_failures_is_outlived(
    fault: Fault, pattern: str, registry: HostileRegistry, tmp_path: Path
) -> None:
    rule = registry.on(pattern, fault, times=2)
    async with pulling(tmp_path) as puller:
        await assert_pulls(puller, registry)
    assert rule.hits == 2


async def test_a_wait_that_the_registry_asks_for_is_shown(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    reference = registry.add("library/app", IMAGE, "1")
    registry.on(PATH, refuse(429, Retry_After="1"), times=1)
    async with pulling(tmp_path) as puller:
        uid = await puller.start(reference)
        retries = [
            (node.state, node.retry.attempt, node.retry.failure.reason)
            async for event in puller.manager.watch(uid)
            for node in event.nodes
            if node.retry
        ]
        assert (NodeState.RETRYING, 2, Reason.REGISTRY_RATE_LIMITED) in retries
        state, _ = await puller.end(uid)
        assert state is TransferState.SUCCEEDED


# --- silence


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("HEAD", stall()),
        ("GET .*/manifests/", stall()),
        ("GET .*/manifests/", stall(10)),
        (PATH, stall()),
        (PATH, stall(0)),
        (PATH, stall(CUT)),
        (PATH, both(chunked(1000), stall(CUT))),
    ],
)
async def test_a_stall_is_a_timeout_and_survived_once(
    pattern: str, fault: Fault, registry: HostileRegistry, tmp_path: Path
) -> None:
    registry.on(pattern, fault, times=1)
    async with pulling(tmp_path, CALM) as puller:
        await assert_pulls(puller, registry)
    assert registry.served(PATH) == SIZE


async def test_a_registry_that_is_silent_for_good(
    registry: HostileRegistry, tmp_path: Path
) -> None:
    reference = registry.add("library/app", IMAGE, "1")
    registry.on("", stall())
    async with pulling(tmp_path, IMPATIENT) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.host) == (Reason.REGISTRY_TIMEOUT, registry.host)
        await puller.assert_untouched()


@pytest.mark.parametrize("framing", [lambda _, right: right, chunked(), unframed()])
async def test_a_drip_is_a_stall(framing: Fault, registry: HostileRegistry, tmp_path: Path) -> None:
    reference = registry.add("library/app", IMAGE, "1")
    registry.on(PATH, both(framing, drip(1, 0.02)))
    async with pulling(tmp_path, IMPATIENT) as puller:
        failure = await puller.fail(reference)
        assert (failure.reason, failure.host) == (Reason.REGISTRY_TIMEOUT, registry.host)
        await puller.assert_untouched()


async def test_a_slow_line_is_no_stall(registry: HostileRegistry, tmp_path: Path) -> None:
    # In all far longer than the time-out, and never slower than 1 KiB a second.
    registry.on(PATH, drip(10_000, 0.06))
    async with pulling(tmp_path, CALM) as puller:
        await assert_pulls(puller, registry)
    assert offsets(registry) == [""]


@pytest.mark.parametrize(
    ("pattern", "fault", "sent"),
    [
        ("HEAD", stall(), 0),
        ("GET .*/manifests/", stall(10), 0),
        (PATH, stall(), 0),
        (PATH, stall(CUT), CUT),
        ("/token", stall(), 0),
    ],
)
async def test_a_cancellation_wakes_a_blocked_pull_and_keeps_its_bytes(
    pattern: str, fault: Fault, sent: int, registry: HostileRegistry, tmp_path: Path
) -> None:
    reference = registry.add("library/app", IMAGE, "1")
    registry.require_bearer()
    registry.on(pattern, fault, times=1)
    # With these times the test ends only because of the cancellation.
    async with pulling(tmp_path, RegistryConfig(read_timeout=3600.0)) as puller:
        uid = await puller.start(reference)
        await asyncio.to_thread(registry.wait_for, pattern)
        async for event in puller.manager.watch(uid):
            node = event.view.progress.nodes.get(digest_of(BLOB))
            if not sent or (node and node.current >= sent):
                break
        record = await puller.manager.cancel(uid)
        assert record.state == TransferState.CANCELLED.name
        await puller.assert_untouched()
        # The stalled answer still hangs.
        await assert_pulls(puller, registry)
    assert registry.served(PATH) == SIZE

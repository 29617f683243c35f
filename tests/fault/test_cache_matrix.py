"""Every fault at every place behind the pull-through cache: clients get what is right, a status
that fits, or a cut; never wrong bytes, and nothing wrong is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from imgd_server.distribution import CacheConfig
from imgd_server.oci import Digest
from imgd_server.transfer import RetryPolicy
from tests.fake_images import make_image, make_index
from tests.hostile import (
    Answer,
    Fault,
    HostileRegistry,
    Request,
    both,
    chunked,
    drip,
    header,
    html,
    raw,
    redirect,
    refuse,
    replaced,
    reset,
    stall,
    truncate,
    unframed,
)
from tests.pulling import noise
from tests.registry_inside import Inside, serve_inside

PLAIN = "application/vnd.oci.image.layer.v1.tar"
IMAGE = make_image([noise(150_000)], layer_type=PLAIN)
INDEX = make_index([(IMAGE, {"os": "linux", "architecture": "amd64"})])
CONFIG = IMAGE.image_id
LAYER = str(IMAGE.document["layers"][0]["digest"])
QUICK = RetryPolicy(attempts=2, first=0.001, ceiling=0.002, longest=5.0)

PLACES = {
    "a look at the name": "HEAD .*/manifests/1",
    "the index": f"GET .*/manifests/{INDEX.digest}",
    "the manifest": f"GET .*/manifests/{IMAGE.digest}",
    "the config": f"GET .*/blobs/{CONFIG}",
    "the layer": f"GET .*/blobs/{LAYER}",
}


def half(fault: str) -> Fault:
    """A fault in the middle of a body."""
    made = {"reset": reset, "close": truncate, "stall": stall}[fault]
    return lambda request, answer: made(len(answer.body) // 2)(request, answer)


def another(request: Request, answer: Answer) -> Answer:
    """Other bytes, and as many."""
    return replaced(noise(len(answer.body), 9))(request, answer)


FAULTS: dict[str, Fault] = {
    "a reset": reset(),
    "a close": truncate(),
    "a close in the head": raw(b"HTTP/1.1 200 OK\r\nConte"),
    "a reset in the body": half("reset"),
    "a close in the body": half("close"),
    "a cut of chunks": both(chunked(), half("close")),
    "a cut without a length": both(unframed(), half("close")),
    "silence": stall(),
    "silence in the body": half("stall"),
    "a drip": drip(1, 0.05),
    "429": refuse(429, "TOOMANYREQUESTS"),
    "429 for an hour": refuse(429, Retry_After="3600"),
    "500": refuse(500),
    "502 with a page": html(502),
    "a page": html(),
    "a length too short": lambda request, answer: header(
        Content_Length=str(max(len(answer.body) - 1, 0))
    )(request, answer),
    "another's bytes": another,
    "nothing": replaced(b""),
    "a circle": redirect(lambda asked: asked.path),
    "a way to a private host": redirect("http://127.0.0.2:1/x"),
    "100 MB": both(replaced(bytes(100 << 20)), chunked(1 << 16)),
    "a deep bomb": replaced(b"[" * 1_000_000),
}
SLOW = {"silence", "silence in the body", "a drip"}
# The status of what does not come, where that is not 502.
STATUSES = {
    **dict.fromkeys(SLOW, 504),
    "429": 429,
    "429 for an hour": 429,
    "a way to a private host": 403,
}


@pytest.fixture
def upstream() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        registry.add("library/app", INDEX, "1")
        yield registry


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upstream that failed is asked again at once."""
    monkeypatch.setattr("imgd_server.distribution._cache._PAUSE", 0.0)


async def fetched(inside: Inside, upstream: HostileRegistry) -> list[tuple[int, bytes | None]]:
    """All of the image through the cache: statuses, and bodies (None for those that were cut)."""
    found: list[tuple[int, bytes | None]] = []
    kinds = (("manifests", "1"), ("manifests", IMAGE.digest), ("blobs", CONFIG), ("blobs", LAYER))
    for kind, name in kinds:
        path = f"/v2/{upstream.host}/library/app/{kind}/{name}"
        try:
            answer = await inside.call("GET", path)
        except aiohttp.ClientError:
            found.append((200, None))
        else:
            found.append((answer.status, answer.body if answer.status == 200 else b""))
    return found


RIGHT = [(200, one) for one in (INDEX.raw, IMAGE.raw, IMAGE.blobs[CONFIG], IMAGE.blobs[LAYER])]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_at_every_place(
    name: str, place: str, upstream: HostileRegistry, tmp_path: Path
) -> None:
    rule = upstream.on(PLACES[place], FAULTS[name])
    cache = CacheConfig(frozenset({upstream.host}), "", 0.0)
    patience = 0.5 if name in SLOW else 60.0
    async with serve_inside(tmp_path, cache=cache, retry=QUICK, read_timeout=patience) as inside:
        for (status, body), (_, right) in zip(await fetched(inside, upstream), RIGHT, strict=True):
            assert status in (200, STATUSES.get(name, 502))
            assert status != 200 or body in (right, None), "never wrong bytes as if they were right"
        assert 0 < rule.hits <= 40
        for blob in inside.content.blobs():
            assert inside.content.verify(Digest(blob.digest))
    # The upstream is well again, and so is what comes of it.
    upstream.behave()
    async with serve_inside(tmp_path, cache=cache, retry=QUICK) as inside:
        assert await fetched(inside, upstream) == RIGHT

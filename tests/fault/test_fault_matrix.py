"""Every fault at every place of a pull: an end in success, or one clear error, and never a mix.

An index, a manifest below it, a config and a layer: each is served wrong for good, and then once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgd_server.errors import Origin, Reason
from imgd_server.registry import RegistryConfig
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
from tests.pulling import ATTEMPTS, noise, pulling

PLAIN = "application/vnd.oci.image.layer.v1.tar"
IMAGE = make_image([noise(150_000)], layer_type=PLAIN)
INDEX = make_index([(IMAGE, {"os": "linux", "architecture": "amd64"})])
OTHER = make_image([noise(150_000, 8)], layer_type=PLAIN, labels={"other": "one"})
CONFIG = str(IMAGE.document["config"]["digest"])
LAYER = str(IMAGE.document["layers"][0]["digest"])

PLACES = {
    "a look at the name": "HEAD",
    "the index": f"GET .*/manifests/{INDEX.digest}",
    "the manifest": f"GET .*/manifests/{IMAGE.digest}",
    "the config": f"GET .*/blobs/{CONFIG}",
    "the layer": f"GET .*/blobs/{LAYER}",
}
BLOBS = {"the config", "the layer"}
# What nobody may be made to take: of a manifest no more than 4 MiB are read, of a blob its size.
HUGE = 100 << 20
DEEP = b'{"schemaVersion":2,"layers":' + b"[" * 1_000_000
UNREACHABLE, TIMEOUT = {Reason.REGISTRY_UNREACHABLE}, {Reason.REGISTRY_TIMEOUT}
LIMITED, UNAVAILABLE = {Reason.REGISTRY_RATE_LIMITED}, {Reason.REGISTRY_UNAVAILABLE}
PROTOCOL, DENIED = {Reason.REGISTRY_PROTOCOL}, {Reason.EGRESS_DENIED}
WRONG = {Reason.DIGEST_MISMATCH, Reason.SIZE_MISMATCH}
LARGE = {Reason.MANIFEST_TOO_LARGE, Reason.SIZE_MISMATCH}


def middle(fault: str) -> Fault:
    """A fault in the middle of a body."""
    made = {"reset": reset, "close": truncate, "stall": stall}[fault]
    return lambda request, answer: made(len(answer.body) // 2)(request, answer)


def last_byte(request: Request, answer: Answer) -> Answer:
    return truncate(len(answer.body) - 1)(request, answer)


def another(request: Request, answer: Answer) -> Answer:
    """Other bytes, and as many."""
    return replaced(noise(len(answer.body), 9))(request, answer)


def length(more: int) -> Fault:
    """A wrong Content-Length; where it is too long, the connection ends before."""

    def fault(request: Request, answer: Answer) -> Answer:
        wrong = header(Content_Length=str(len(answer.body) + more))(request, answer)
        return truncate(len(answer.body))(request, wrong) if more > 0 else wrong

    return fault


@dataclass(frozen=True)
class Wrong:
    """What is served, the reasons that may come of it, and whether it is survived once."""

    fault: Fault
    reasons: set[Reason]
    once: bool = True
    bodies: bool = True
    """Whether it is of bodies, which the answer to a HEAD has none of."""


FAULTS = {
    "a reset": Wrong(reset(), UNREACHABLE, bodies=False),
    "a close": Wrong(truncate(), UNREACHABLE, bodies=False),
    "a close in the first line": Wrong(raw(b"HTTP/1.1 20"), UNREACHABLE, bodies=False),
    "a close in the head": Wrong(raw(b"HTTP/1.1 200 OK\r\nContent-Le"), UNREACHABLE, bodies=False),
    "a close before the head's end": Wrong(
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n"), UNREACHABLE, bodies=False
    ),
    "a close in a chunk's head": Wrong(
        raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n4"), UNREACHABLE
    ),
    "a reset in the body": Wrong(middle("reset"), UNREACHABLE),
    "a close in the body": Wrong(middle("close"), UNREACHABLE),
    "a close before the last byte": Wrong(last_byte, UNREACHABLE | WRONG),
    "a cut of chunks": Wrong(both(chunked(), middle("close")), UNREACHABLE | WRONG),
    "a cut without a length": Wrong(both(unframed(), middle("close")), UNREACHABLE | WRONG),
    "silence": Wrong(stall(), TIMEOUT, once=False, bodies=False),
    "silence in the body": Wrong(middle("stall"), TIMEOUT, once=False),
    "a drip": Wrong(drip(1, 0.05), TIMEOUT, once=False),
    "429": Wrong(refuse(429, "TOOMANYREQUESTS"), LIMITED, bodies=False),
    "429 with a time": Wrong(refuse(429, Retry_After="0"), LIMITED, bodies=False),
    "429 for an hour": Wrong(refuse(429, Retry_After="3600"), LIMITED, once=False, bodies=False),
    "500": Wrong(refuse(500, "UNKNOWN"), UNAVAILABLE, bodies=False),
    "502 with a page": Wrong(html(502), UNAVAILABLE, bodies=False),
    "a length too short": Wrong(length(-1), WRONG),
    "a length too long": Wrong(length(1), UNREACHABLE | WRONG),
    "another's bytes": Wrong(another, WRONG),
    "nothing": Wrong(replaced(b""), WRONG),
    "a circle": Wrong(redirect(lambda asked: asked.path), PROTOCOL, once=False, bodies=False),
    "a way to a private host": Wrong(
        redirect("http://127.0.0.2:1/x"), DENIED, once=False, bodies=False
    ),
    "a way to the metadata service": Wrong(
        redirect("http://169.254.169.254/latest"), DENIED, once=False, bodies=False
    ),
    "100 MB": Wrong(replaced(bytes(HUGE)), LARGE),
    "100 MB in chunks": Wrong(both(replaced(bytes(HUGE)), chunked(1 << 16)), LARGE),
    "100 MB without a length": Wrong(both(replaced(bytes(HUGE)), unframed()), LARGE),
    "a deep bomb": Wrong(replaced(DEEP), WRONG),
}


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        yield registry


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_at_every_place(
    name: str, place: str, registry: HostileRegistry, tmp_path: Path
) -> None:
    wrong, pattern = FAULTS[name], PLACES[place]
    if place == "a look at the name" and wrong.bodies:
        # What a HEAD says of the body is a GET's matter.
        registry.on("HEAD", refuse(405))
        pattern = "GET .*/manifests/1$"
    reference = registry.add("library/app", INDEX, "1")
    slow = wrong.reasons == TIMEOUT
    config = RegistryConfig(read_timeout=0.5 if slow else 60.0)
    rule = registry.on(pattern, wrong.fault)
    async with pulling(tmp_path, config) as puller:
        failure = await puller.fail(reference)
        assert failure.reason in wrong.reasons, failure.message
        assert (failure.origin, failure.reference) == (Origin.SOURCE, reference)
        assert 0 < rule.hits <= 2 * ATTEMPTS * 5
        assert registry.served(pattern) <= ATTEMPTS * (16 << 20)
        await puller.assert_untouched()
    # Then only once; and where that is not survived, at the next try.
    registry.behave()
    survived = wrong.once and (wrong.reasons != LARGE or place in BLOBS)
    once = registry.on(pattern, wrong.fault, times=1)
    if wrong.bodies and place == "a look at the name":
        registry.on("HEAD", refuse(405))
    async with pulling(tmp_path) as puller:
        if not survived:
            registry.behave()
        outcome = await puller.pull(reference)
        await puller.assert_stored(outcome, INDEX, reference)
        assert once.hits == survived

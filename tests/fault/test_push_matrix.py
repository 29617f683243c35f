"""Every fault at every step of a push and of a copy: an end in success, or one clear error, and the
name points at what is whole or where it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgd_server.errors import Origin, Reason
from imgd_server.registry import RegistryConfig
from imgd_server.transfer import TransferState
from tests.fake_images import make_image, make_index
from tests.hostile import (
    Fault,
    HostileRegistry,
    both,
    chunked,
    drip,
    html,
    raw,
    redirect,
    refuse,
    replaced,
    reset,
    stall,
    truncate,
)
from tests.pulling import noise
from tests.pushing import copy_spec, push_spec, pushing
from tests.taking import TakingRegistry

PLAIN = "application/vnd.oci.image.layer.v1.tar"
CHUNK = 100_000
IMAGE = make_image([noise(250_000), b"small"], layer_type=PLAIN)
INDEX = make_index([(IMAGE, {"os": "linux", "architecture": "amd64"})])
BEFORE = make_image([b"before"])
# The answers to these are served wrong; what was asked for was done all the same.
STEPS = {
    "a look for a blob": "HEAD .*/blobs/sha256",
    "the begin of an upload": "POST .*/blobs/uploads/",
    "a chunk": "PATCH .*/blobs/uploads/",
    "the end of an upload": "PUT .*/blobs/uploads/",
    "a look for a manifest": "HEAD .*/manifests/",
    "a manifest below": "PUT .*/manifests/sha256",
    "the name": "PUT .*/manifests/1",
}
UNREACHABLE, TIMEOUT = {Reason.REGISTRY_UNREACHABLE}, {Reason.REGISTRY_TIMEOUT}
LIMITED, UNAVAILABLE = {Reason.REGISTRY_RATE_LIMITED}, {Reason.REGISTRY_UNAVAILABLE}
PROTOCOL, DENIED = {Reason.REGISTRY_PROTOCOL}, {Reason.EGRESS_DENIED}


@dataclass(frozen=True)
class Wrong:
    """What is served, the reasons that may come of it, and whether it is survived once."""

    fault: Fault
    reasons: set[Reason]
    once: bool = True


FAULTS = {
    "a reset": Wrong(reset(), UNREACHABLE),
    "a close": Wrong(truncate(), UNREACHABLE),
    "a close in the head": Wrong(raw(b"HTTP/1.1 201 Created\r\nLocat"), UNREACHABLE),
    "no HTTP": Wrong(raw(b"SSH-2.0-OpenSSH_9.2\r\n"), PROTOCOL, once=False),
    "silence": Wrong(stall(), TIMEOUT, once=False),
    "429": Wrong(refuse(429, "TOOMANYREQUESTS"), LIMITED),
    "429 with a time": Wrong(refuse(429, Retry_After="0"), LIMITED),
    "429 for an hour": Wrong(refuse(429, Retry_After="3600"), LIMITED, once=False),
    "500": Wrong(refuse(500, "UNKNOWN"), UNAVAILABLE),
    "502 with a page": Wrong(html(502), UNAVAILABLE),
    "a circle": Wrong(redirect(lambda asked: asked.path), PROTOCOL, once=False),
    # What has a body that is a manifest follows no redirect.
    "a way to the metadata service": Wrong(
        redirect("http://169.254.169.254/latest"), DENIED | PROTOCOL, once=False
    ),
    "a refusal of 100 MB": Wrong(
        both(refuse(403), replaced(bytes(100 << 20)), chunked(1 << 16)),
        {Reason.REGISTRY_DENIED},
        once=False,
    ),
    "a refusal that drips": Wrong(
        both(refuse(403), replaced(bytes(1000)), drip(1, 0.05)),
        {Reason.REGISTRY_DENIED},
        once=False,
    ),
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer of three chunks."""
    monkeypatch.setattr("imgd_server.registry._push._CHUNK", CHUNK)


@pytest.fixture
def registry() -> Iterator[TakingRegistry]:
    with TakingRegistry() as registry:
        registry.add("team/app", BEFORE, "1")
        yield registry


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", FAULTS)
async def test_every_fault_at_every_step(
    name: str, step: str, registry: TakingRegistry, tmp_path: Path
) -> None:
    wrong, pattern = FAULTS[name], STEPS[step]
    target = f"{registry.host}/team/app:1"
    slow = wrong.reasons == TIMEOUT or "drips" in name
    config = RegistryConfig(read_timeout=0.5 if slow else 60.0)
    # A copy and a push do the same here: both are tried, in turns.
    copied = (list(FAULTS).index(name) + list(STEPS).index(step)) % 2 == 0
    with HostileRegistry() as source:
        read = source.add("from/app", INDEX, "1")
        spec = copy_spec(read, target) if copied else push_spec(target, all_platforms=True)
        rule = registry.on(pattern, wrong.fault)
        async with pushing(tmp_path, config) as pusher:
            if not copied:
                await pusher.store(INDEX, target)
            state, outcome, _ = await pusher.end(await pusher.start(spec))
            assert 0 < rule.hits <= 60
            if state is TransferState.SUCCEEDED:
                # What was taken unheard is found to be there at the next attempt.
                assert step in ("a chunk", "the end of an upload", "a manifest below", "the name")
                assert registry.holds("team/app", INDEX, "1")
            else:
                failure = outcome.failure
                assert failure
                assert failure.reason in wrong.reasons, failure.message
                assert (failure.origin, failure.reference) == (Origin.DESTINATION, target)
                if step == "the name" and registry.tagged("team/app", "1") != BEFORE.raw:
                    assert registry.holds("team/app", INDEX, "1")
                else:
                    assert registry.tagged("team/app", "1") == BEFORE.raw
        registry.behave()
        once = registry.on(pattern, wrong.fault, times=1)
        async with pushing(tmp_path) as pusher:
            if not wrong.once:
                registry.behave()
            await pusher.succeed(spec)
            assert registry.holds("team/app", INDEX, "1")
            assert once.hits <= wrong.once

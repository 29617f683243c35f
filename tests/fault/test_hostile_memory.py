"""A real daemon that is sent far too much, by many at once: each call ends in one clear error, and
the daemon's memory stays within bounds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imgd_client import Client, ImgdError
from tests.daemon import Daemon, run_daemon
from tests.fake_images import FakeImage, descriptor, digest_of, make_document, make_image
from tests.hostile import Answer, Fault, HostileRegistry

HUGE = bytes(100 << 20)
# Callers at once, and what each may cost: 250,000 names are the most.
CALLERS = 6
EACH = 48 << 20
IMAGE, OTHER = make_image([b"layer"]), make_image([b"another"])
DEEP = b'{"tags":' + b"[" * (2 << 20)
WIDE = b'{"tags":[' + b"[]," * (1 << 20) + b"[]]}"
LONG = b'{"tags":["' + b"x" * (3 << 20) + b'"]}'
MANY = json.dumps({"name": "app", "tags": [f"t{number}" for number in range(400_000)]}).encode()
# Answers from which everything is left out.
LEFT_OUT = {("a long name", 200), ("many names", 200)}


def configured(config: bytes) -> FakeImage:
    """An image with such a config."""
    found = descriptor(config, IMAGE.document["config"]["mediaType"])
    document = {**IMAGE.document, "config": found}
    return make_document(document, blobs={**IMAGE.blobs, digest_of(config): config})


BOMBS = {
    "a deep manifest": make_document(b'{"a":' * 800_000),
    "a wide manifest": make_document(WIDE),
    "a deep config": configured(b'{"a":' * 800_000),
    "a wide config": configured(b'{"os":"linux","a":[' + b"[]," * (1 << 20) + b"[]]}"),
    "a config of 100 MB": configured(HUGE),
}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with run_daemon(tmp_path / "root") as one:
        yield one


@pytest.fixture
def client(daemon: Daemon) -> Iterator[Client]:
    with Client(daemon.address) as one:
        yield one


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as one:
        one.add("library/app", IMAGE, "1")
        yield one


class Memory:
    """What a daemon's process has at the most."""

    def __init__(self, daemon: Daemon) -> None:
        self._folder = Path(f"/proc/{daemon.process.pid}")
        # From here on its peak is counted anew (proc(5)), where the kernel lets us.
        with suppress(OSError):
            (self._folder / "clear_refs").write_text("5")
        self._before = self._peak()

    def _peak(self) -> int:
        status = (self._folder / "status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    @property
    def grown(self) -> int:
        """By how many bytes the peak rose."""
        return self._peak() - self._before


def pull(client: Client, host: str) -> Any:
    return client.pull(f"{host}/library/app:1").result()


def tags(client: Client, host: str) -> Any:
    return list(client.registry.tags(f"{host}/library/app"))


def referrers(client: Client, host: str) -> Any:
    return list(client.registry.referrers(f"{host}/library/app@{IMAGE.digest}"))


def catalog(client: Client, host: str) -> Any:
    return list(client.registry.repositories(host))


def search(client: Client, host: str) -> Any:
    return list(client.registry.search("app", registry=host))


def manifest(client: Client, host: str) -> Any:
    return client.registry.manifest(f"{host}/library/app:1", include_config=True)


def copy(client: Client, host: str) -> Any:
    return client.transfers.copy(f"{host}/library/app:1", f"{host}/to/app:1").result()


def sent(body: bytes, status: int = 200, kind: str = "application/json") -> Fault:
    """An answer that does not say before how long it is."""
    answer = Answer(status, {"Content-Type": kind}, body)
    return lambda _request, _answer: replace(answer, framing="chunked", piece=1 << 16)


ASKED: dict[str, tuple[Callable[[Client, str], Any], str]] = {
    "a pull": (pull, "GET .*/manifests/"),
    "a copy": (copy, "GET .*/manifests/"),
    "a manifest": (manifest, "GET .*/manifests/"),
    "tags": (tags, "/tags/list"),
    "referrers": (referrers, "/referrers/"),
    "a catalog": (catalog, "/_catalog"),
    "a search": (search, "/v1/search"),
    "a token": (pull, "/token"),
}
SENT: dict[str, bytes] = {
    "100 MB": HUGE,
    "a deep bomb": DEEP,
    "a wide bomb": WIDE,
    "a long name": LONG,
    "many names": MANY,
}
REASONS = {
    "DIGEST_MISMATCH",
    "MANIFEST_INVALID",
    "MANIFEST_TOO_LARGE",
    "REGISTRY_DENIED",
    "REGISTRY_PROTOCOL",
    "REGISTRY_UNAUTHORIZED",
}


def all_at_once(client: Client, call: Callable[[Client, str], Any], host: str) -> set[str]:
    """What becomes of so many callers: reasons, and `nothing` for an empty list."""

    def one(_: int) -> str:
        try:
            found = call(client, host)
        except ImgdError as error:
            return str(error.reason)
        # No reference could hold such names: they are left out.
        assert found == []
        return "nothing"

    with ThreadPoolExecutor(CALLERS) as pool:
        return set(pool.map(one, range(CALLERS)))


def good_pull(client: Client, registry: HostileRegistry, name: str) -> None:
    """The daemon is well, also with this registry."""
    registry.behave()
    done = client.pull(registry.add(name, OTHER, "1")).result().outcome
    assert done.target.digest == OTHER.digest


@pytest.mark.parametrize("what", ASKED)
def test_answers_without_end(
    what: str, daemon: Daemon, client: Client, registry: HostileRegistry
) -> None:
    call, pattern = ASKED[what]
    good_pull(client, registry, "library/before")
    if what == "a token":
        registry.require_bearer()
    for name, body in SENT.items():
        for status in (200, 403):
            registry.behave()
            registry.requests.clear()
            registry.on(pattern, sent(body, status))
            memory = Memory(daemon)
            found = all_at_once(client, call, registry.host)
            assert found <= REASONS | {"nothing"}, (name, status)
            assert found != {"nothing"} or (name, status) in LEFT_OUT, (name, status)
            assert memory.grown < CALLERS * EACH, (name, status)
            # It hangs up; what had gone out by then is the sockets'.
            assert registry.served(pattern) < CALLERS * 3 * (24 << 20)
    good_pull(client, registry, "library/after")
    assert [one for one in daemon.log if one.get("level") == "error"] == []


@pytest.mark.parametrize("image", BOMBS.values(), ids=BOMBS)
def test_bombs_that_are_what_their_digest_says(
    image: FakeImage, daemon: Daemon, client: Client, registry: HostileRegistry
) -> None:
    good_pull(client, registry, "library/before")
    registry.add("library/app", image, "1")
    # A config is not read by who only passes it on.
    calls = [pull] if image.blobs else [pull, copy, manifest]
    for call in calls:
        memory = Memory(daemon)
        found = all_at_once(client, call, registry.host)
        assert found <= {"MANIFEST_INVALID", "CONFIG_INVALID", "MANIFEST_TOO_LARGE"}
        assert memory.grown < CALLERS * EACH
    good_pull(client, registry, "library/after")

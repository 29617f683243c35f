"""Every fault at every look into a registry: one clear error that names it, or the right answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from imgd_client import Client, ImgdError
from tests.daemon import run_daemon
from tests.fake_images import make_image, make_index
from tests.hostile import (
    Answer,
    Fault,
    HostileRegistry,
    Request,
    drip,
    html,
    raw,
    redirect,
    refuse,
    reset,
    stall,
    truncate,
)

IMAGE = make_image([b"layer"])
INDEX = make_index([(IMAGE, {"os": "linux", "architecture": "amd64"})])
SUBJECT = INDEX.digest


def tags(client: Client, host: str) -> Any:
    return list(client.registry.tags(f"{host}/library/app"))


def catalog(client: Client, host: str) -> Any:
    return list(client.registry.repositories(host))


def referrers(client: Client, host: str) -> Any:
    return [one.digest for one in client.registry.referrers(f"{host}/library/app@{SUBJECT}")]


def search(client: Client, host: str) -> Any:
    return [one.repository for one in client.registry.search("app", registry=host)]


def resolve(client: Client, host: str) -> Any:
    return client.registry.resolve(f"{host}/library/app:1").target.digest


def manifest(client: Client, host: str) -> Any:
    found = client.registry.manifest(
        f"{host}/library/app:1", platform="linux/amd64", include_config=True
    )
    return found.raw


# What is asked, where, and what is right.
LOOKS: dict[str, tuple[Callable[[Client, str], Any], str, Any]] = {
    "tags": (tags, "GET .*/tags/list", ["1", "2"]),
    "a catalog": (catalog, "GET .*/_catalog", ["library/app"]),
    "referrers": (referrers, "GET .*/referrers/", [IMAGE.digest]),
    "a search": (search, "GET /v1/search", None),
    "a digest": (resolve, "HEAD .*/manifests/1", INDEX.digest),
    "a manifest": (manifest, f"GET .*/manifests/{INDEX.digest}", IMAGE.raw),
    "a config": (manifest, f"GET .*/blobs/{IMAGE.image_id}", IMAGE.raw),
}
LISTS = {
    "/tags/list": b'{"name": "library/app", "tags": ["1", "2"]}',
    "/_catalog": b'{"repositories": ["library/app"]}',
    "/v1/search": b'{"num_results": 1, "results": [{"name": "library/app"}]}',
}
LISTED = "/tags/list|/_catalog|/v1/search|/referrers/"
FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "a reset": (reset(), {"REGISTRY_UNREACHABLE"}),
    "a close": (truncate(), {"REGISTRY_UNREACHABLE"}),
    "a close in the head": (raw(b"HTTP/1.1 200 OK\r\nCont"), {"REGISTRY_UNREACHABLE"}),
    "a close in the body": (
        lambda request, answer: truncate(len(answer.body) // 2)(request, answer),
        {"REGISTRY_UNREACHABLE", "DIGEST_MISMATCH", "SIZE_MISMATCH"},
    ),
    "silence": (stall(), {"REGISTRY_TIMEOUT"}),
    "silence in the body": (stall(10), {"REGISTRY_TIMEOUT"}),
    "a drip": (drip(1, 0.2), {"REGISTRY_TIMEOUT"}),
    "429": (refuse(429, "TOOMANYREQUESTS", Retry_After="0"), {"REGISTRY_RATE_LIMITED"}),
    "500": (refuse(500), {"REGISTRY_UNAVAILABLE"}),
    "503 with a page": (html(503), {"REGISTRY_UNAVAILABLE"}),
    "a page": (html(), {"REGISTRY_PROTOCOL", "DIGEST_MISMATCH", "SIZE_MISMATCH"}),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), {"REGISTRY_PROTOCOL"}),
    "a circle": (redirect(lambda asked: asked.path), {"REGISTRY_PROTOCOL"}),
    "a way to a private host": (redirect("http://127.0.0.2:1/x"), {"EGRESS_DENIED"}),
    "a private realm": (
        refuse(401, WWW_Authenticate='Bearer realm="http://127.0.0.2:1/token",service="x"'),
        {"EGRESS_DENIED"},
    ),
}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Client]]:
    """Clients of two daemons: one has little patience with registries, the other much."""
    folder = tmp_path_factory.mktemp("daemons")
    with (
        run_daemon(folder / "hasty", "--read-timeout", "0.5") as hasty,
        run_daemon(folder / "calm", "--read-timeout", "60") as calm,
        Client(hasty.address) as hasty_client,
        Client(calm.address) as calm_client,
    ):
        yield {"hasty": hasty_client, "calm": calm_client}
        said = [*hasty.log, *calm.log]
    assert [entry for entry in said if entry.get("level") == "error"] == []


def right(request: Request, answer: Answer) -> Answer:
    """What this registry tells of itself."""
    for path, body in LISTS.items():
        if path in request.path:
            return Answer(200, {"Content-Type": "application/json"}, body)
    index = make_index([(IMAGE, None)])
    return Answer(200, {"Content-Type": index.media_type}, index.raw)


# An answer to HEAD has none.
OF_BODIES = {"a close in the body", "silence in the body", "a drip", "a page"}
CASES = [
    (name, look) for name in FAULTS for look in LOOKS if look != "a digest" or name not in OF_BODIES
]


@pytest.mark.parametrize(("name", "look"), CASES)
def test_every_fault_at_every_look(name: str, look: str, clients: dict[str, Client]) -> None:
    call, pattern, wanted = LOOKS[look]
    fault, reasons = FAULTS[name]
    with HostileRegistry() as registry:
        registry.add("library/app", INDEX, "1")
        registry.on(LISTED, right)
        rule = registry.on(pattern, fault)
        with pytest.raises(ImgdError) as caught:
            call(clients["hasty" if reasons == {"REGISTRY_TIMEOUT"} else "calm"], registry.host)
        assert caught.value.reason in reasons, caught.value
        assert registry.host in str(caught.value) or "127.0.0.2" in str(caught.value)
        assert 0 < rule.hits <= 30
        registry.behave()
        registry.on(LISTED, right)
        expected = [f"{registry.host}/library/app"] if look == "a search" else wanted
        assert call(clients["calm"], registry.host) == expected

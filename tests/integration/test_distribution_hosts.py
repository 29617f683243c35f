"""Who may talk to the registry inside, and what it makes of hostile URLs."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from imgd_server.content import LocalContentStore
from imgd_server.distribution import RegistryServer
from imgd_server.errors import Error, Reason
from imgd_server.metadata import SqliteMetadataStore
from tests.fake_images import make_image
from tests.registry_inside import Inside, serve_inside


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    async with serve_inside(tmp_path) as inside:
        yield inside


async def ask(inside: Inside, *lines: str, path: str = "/v2/") -> tuple[int, str]:
    request = "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""])
    answer = await inside.send(request.encode("latin-1"))
    return answer.status, answer.code


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost:5000",
        "127.0.0.1",
        "127.0.0.1:80",
        "127.1.2.3:5000",
        "[::1]",
        "[::1]:5000",
        "registry.test",
    ],
)
async def test_loopback_and_our_own_host_are_answered(inside: Inside, host: str) -> None:
    assert await ask(inside, f"Host: {host}") == (200, "")


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:5000",
        "localhost.evil.example",
        "evil-localhost",
        "127.0.0.1.evil.example",
        "127.0.0.1@evil.example",
        "127.999.1.1",
        "127.1.2.3:5000:5000",
        "[127.0.0.1",
        "1270.0.1.1",
        "10.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "[::2]",
        "registry.test.evil.example",
        "registry.test:5000",
        "",
    ],
)
async def test_a_foreign_host_is_refused(inside: Inside, host: str) -> None:
    """A web page that points its own name at this address must not get in (DNS rebinding)."""
    assert await ask(inside, f"Host: {host}") == (421, "DENIED")
    assert await ask(inside, f"Host: {host}", path="/v2/app/manifests/1") == (421, "DENIED")


async def test_no_second_host_gets_in(inside: Inside) -> None:
    status, _ = await ask(inside, "Host: localhost", "Host: evil.example")
    assert status in (400, 421)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8080", 200),
        ("http://127.0.0.1", 200),
        ("http://evil.example", 421),
        ("https://localhost.evil.example", 421),
        ("null", 421),
        ("", 421),
    ],
)
async def test_a_page_from_elsewhere_is_refused(inside: Inside, origin: str, status: int) -> None:
    """A browser sends a form anywhere, and says from where."""
    for method, path in (("GET", "/v2/"), ("POST", "/v2/app/blobs/uploads/")):
        answer = await inside.call(method, path, headers={"Origin": origin})
        assert answer.status == (status if status != 200 or method == "GET" else 202)


async def test_the_base_says_what_this_is(inside: Inside) -> None:
    for path in ("/v2/", "/v2"):
        answer = await inside.call("GET", path)
        assert (answer.status, answer.json) == (200, {})
        assert answer.headers["Docker-Distribution-API-Version"] == "registry/2.0"
        assert (await inside.call("HEAD", path)).status == 200


HOSTILE = [
    "/v2/../../etc/passwd/manifests/1",
    "/v2/%2e%2e/%2e%2e/etc/manifests/1",
    "/v2/a/../../b/manifests/1",
    "/v2/a%2F..%2F..%2Fb/manifests/1",
    "/v2/..%2f..%2fetc%2fpasswd/blobs/sha256:" + "a" * 64,
    "/v2/a//b/manifests/1",
    "/v2/UPPER/manifests/1",
    "/v2/" + "a" * 300 + "/manifests/1",
    "/v2/" + "a/" * 150 + "a/manifests/1",
    "/v2/%C3%A4/manifests/1",
    "/v2/%ff%fe/manifests/1",
    "/v2/a%00b/manifests/1",
    "/v2/a%0d%0aX: y/manifests/1",
    "/v2/a%20b/tags/list",
    "/v2/a@sha256:b/tags/list",
    "/v2/.a/tags/list",
    "/v2/%252e%252e/tags/list",
]


@pytest.mark.parametrize("path", HOSTILE)
@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_hostile_name_is_refused(inside: Inside, method: str, path: str) -> None:
    with capture_logs() as logs:
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        answer = await inside.send(request.encode("latin-1"))
    # A path that climbs out of /v2/ is no endpoint.
    assert 400 <= answer.status < 500
    assert "root:" not in answer.body.decode("latin-1")
    assert logs == []
    assert list(inside.content.blobs()) == []


async def test_an_unknown_endpoint_is_said_so(inside: Inside) -> None:
    for path in ("/", "/v1/", "/v2/app", "/v2/app/unknown", "/v2/app/blobs/uploads/x/y"):
        answer = await inside.call("GET", path)
        assert (answer.status, answer.code) == (404, "UNSUPPORTED")


async def test_an_unknown_method_is_said_so(inside: Inside) -> None:
    await inside.push("app", "1", make_image())
    answer = await inside.call("POST", "/v2/app/manifests/1")
    assert (answer.status, answer.code) == (405, "UNSUPPORTED")
    assert set(answer.headers["Allow"].split(",")) == {"DELETE", "GET", "HEAD", "PUT"}
    assert (await inside.call("OPTIONS", "/v2/app/blobs/uploads/")).status == 405


async def test_a_bug_is_logged_and_not_shown(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret")

    monkeypatch.setattr(inside.content, "open", broken)
    digest = await inside.push_blob("app", b"data")
    with capture_logs() as logs:
        answer = await inside.call("GET", f"/v2/app/blobs/{digest}")
    assert (answer.status, answer.code) == (500, "UNSUPPORTED")
    assert b"secret" not in answer.body
    (line,) = logs
    assert line["event"] == "registry request failed"
    assert isinstance(line["exc_info"], RuntimeError)
    assert f"incident {line['incident']}" in answer.json["errors"][0]["message"]


async def test_a_failure_of_the_store_is_logged_and_not_shown(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise Error(Reason.STORE_CORRUPT, "a secret")

    monkeypatch.setattr(inside.content, "open", broken)
    digest = await inside.push_blob("app", b"data")
    with capture_logs() as logs:
        answer = await inside.call("GET", f"/v2/app/blobs/{digest}")
    assert answer.status == 500
    assert b"secret" not in answer.body
    (line,) = logs
    assert str(line["exc_info"]) == "a secret"
    assert f"incident {line['incident']}" in answer.json["errors"][0]["message"]


# --- where it listens


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[RegistryServer]:
    metadata = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    server = RegistryServer(LocalContentStore(tmp_path / "content"), metadata)
    yield server
    await server.stop()
    await metadata.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "::", "", "example.com", "127.0.0.1.x"])
async def test_only_loopback_is_listened_on(server: RegistryServer, host: str) -> None:
    with pytest.raises(Error) as caught:
        await server.start(host, 0)
    assert caught.value.reason is Reason.FIELD_INVALID


async def test_a_taken_port_is_refused(server: RegistryServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(Error) as caught:
            await server.start("127.0.0.1", taken.getsockname()[1])
        assert caught.value.reason is Reason.TOO_BUSY
    # It was not half started.
    assert server.own_host == ""
    await server.start("127.0.0.1", 0)


@pytest.mark.parametrize(("host", "written"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
async def test_its_address_names_its_images(
    server: RegistryServer, host: str, written: str
) -> None:
    if host == "::1" and not _has_ipv6():
        pytest.skip("this machine has no IPv6 loopback")
    address, port = await server.start(host, 0)
    assert address == host
    assert server.own_host == f"{written}:{port}"
    assert server.resolve("app").full == f"{written}:{port}/app"


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False

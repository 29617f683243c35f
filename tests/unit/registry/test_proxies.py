from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation, Proxies
from imgd_server.registry._connection import TransportConfig
from imgd_server.registry._transport import Request, Transport
from imgd_server.registry._url import Url
from tests.unit.registry.conftest import Block, Net

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
TUNNEL = b"HTTP/1.1 200 Connection established\r\nVia: p\r\n\r\n"
BOTH = {"HTTP_PROXY": "p.corp:3128", "https_proxy": "http://alice:open%20sesame@p.corp"}


@pytest.mark.parametrize(
    ("exceptions", "url", "used"),
    [
        ("", "https://h.io/", True),
        ("*", "https://h.io/", False),
        ("h.io", "https://h.io/", False),
        ("h.io", "https://a.h.io/", False),
        (".h.io", "https://a.b.h.io/", False),
        ("*.h.io", "https://a.h.io/", False),
        ("h.io", "https://nearh.io/", True),
        ("x.io, H.IO ,", "https://h.io/", False),
        ("h.io:5000", "https://h.io/", True),
        ("h.io:5000", "https://h.io:5000/", False),
        ("10.0.0.0/8", "https://10.1.2.3/", False),
        ("10.0.0.0/8", "https://11.1.2.3/", True),
        ("10.0.0.0/8", "https://h.io/", True),
        ("10.1.2.3", "https://10.1.2.3:5000/", False),
        ("10.1.2.3:80", "https://10.1.2.3/", True),
        ("10.1.2.3:443", "https://10.1.2.3/", False),
        ("2001:db8::1", "https://[2001:db8::1]/", False),
        ("[2001:db8::1]", "https://[2001:db8::1]/", False),
        ("[2001:db8::1]:443", "https://[2001:db8::1]/", False),
        ("", "https://localhost/", False),
        ("", "https://127.0.0.1:5000/", False),
        ("", "http://[::1]/", False),
    ],
)
def test_who_is_reached_through_a_proxy(exceptions: str, url: str, used: bool) -> None:
    proxies = Proxies.from_environment({**BOTH, "NO_PROXY": exceptions})
    assert (proxies.of(Url.parse(url)) is not None) == used


def test_which_proxy() -> None:
    proxies = Proxies.from_environment({**BOTH, "HTTPS_PROXY": "other.corp"})
    plain, secure = (proxies.of(Url.parse(f"{one}://h.io/")) for one in ("http", "https"))
    assert plain
    assert secure
    assert (plain.url.label, plain.headers) == ("p.corp:3128", {})
    assert (secure.url.label, secure.url.port) == ("p.corp", 80)
    assert secure.headers == {"Proxy-Authorization": "Basic YWxpY2U6b3BlbiBzZXNhbWU="}
    assert "sesame" not in repr(proxies)
    assert "YWxp" not in repr(proxies)
    assert Proxies.from_environment({}) == Proxies()


@pytest.mark.parametrize("text", ["https://u:secret@p.corp", "socks5://p", "http://", "p:99999"])
def test_a_proxy_that_is_none_is_refused_without_its_secret(text: str) -> None:
    with pytest.raises(Error) as caught:
        Proxies.from_environment({"HTTPS_PROXY": text})
    assert caught.value.reason is Reason.FIELD_INVALID
    assert caught.value.message.startswith("HTTPS_PROXY: ")
    assert "secret" not in caught.value.message


# --- requests


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The addresses that are known here, by host."""
    known: dict[str, str] = {}

    def look_up(host: str, port: int, **_: Any) -> list[Any]:
        if host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (known[host], port))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


@pytest.fixture
def transport(net: Net, addresses: dict[str, str]) -> Iterator[Transport]:
    transport = Transport(TransportConfig(proxies=Proxies.from_environment(BOTH)))
    yield transport
    transport.close()
    assert all(sock.closed for sock in net.sockets)


def send(
    transport: Transport, url: str, named: str = "h.io", cancellation: Cancellation | None = None
) -> bytes:
    request = Request("GET", Url.parse(url), authorization="Basic x", named=named)
    with transport.send(request, cancellation or Cancellation()) as response:
        return response.read(100)


def fail(transport: Transport, url: str, named: str = "h.io") -> Error:
    with pytest.raises(Error) as caught:
        send(transport, url, named)
    return caught.value


def test_with_tls_through_a_tunnel(net: Net, transport: Transport) -> None:
    net.connection([TUNNEL], [OK], [OK])
    assert [send(transport, "https://h.io/x") for _ in range(2)] == [b"ok", b"ok"]
    tunnel, *requests = net.sent
    assert tunnel == (
        "CONNECT h.io:443 HTTP/1.1\r\nHost: h.io:443\r\n"
        "Proxy-Authorization: Basic YWxpY2U6b3BlbiBzZXNhbWU=\r\n\r\n"
    )
    for request in requests:
        assert request.startswith("GET /x HTTP/1.1\r\nHost: h.io\r\n")
        assert "Proxy-" not in request
    # The proxy is configured, wherever it is.
    assert net.dialled == [("p.corp", True, True)]
    assert len(net.handshakes) == 1


def test_without_tls_the_proxy_is_told_the_whole_url(net: Net, transport: Transport) -> None:
    net.connection([OK])
    assert send(transport, "http://h.io:5000/x?y") == b"ok"
    (request,) = net.sent
    assert request.startswith("GET http://h.io:5000/x?y HTTP/1.1\r\nHost: h.io:5000\r\n")
    assert net.dialled == [("p.corp:3128", True, True)]


@pytest.mark.parametrize(
    ("answer", "reason", "says"),
    [
        (b"HTTP/1.1 403 No\r\n\r\n", Reason.EGRESS_DENIED, "refuses to connect to h.io: HTTP 403"),
        (b"HTTP/1.1 407 No\r\n\r\n", Reason.EGRESS_DENIED, "HTTP 407"),
        (b"HTTP/1.1 502 No\r\n\r\n", Reason.REGISTRY_UNREACHABLE, "fails to connect"),
        (b"HTTP/1.1 101 No\r\n\r\n", Reason.REGISTRY_UNREACHABLE, "HTTP 101"),
        (b"SSH-2.0\r\n", Reason.REGISTRY_PROTOCOL, "the proxy p.corp answers no HTTP"),
        (TUNNEL + b"more", Reason.REGISTRY_UNREACHABLE, "HTTP 200"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200, Reason.REGISTRY_UNREACHABLE, "HTTP 200"),
        (b"", Reason.REGISTRY_UNREACHABLE, "closed the connection"),
    ],
)
def test_a_proxy_that_does_not(
    answer: bytes, reason: Reason, says: str, net: Net, transport: Transport
) -> None:
    net.connection([answer])
    error = fail(transport, "https://h.io/x")
    assert (error.reason, error.host) == (reason, "h.io")
    assert says in error.message
    assert "sesame" not in error.message
    assert net.handshakes == []


def test_waiting_for_a_proxy_can_be_cancelled(net: Net, transport: Transport) -> None:
    block, cancellation = Block(), Cancellation()
    net.connection([block])
    failed: list[Error] = []

    def work() -> None:
        try:
            send(transport, "https://h.io/x", cancellation=cancellation)
        except Error as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert block.reached.wait(60)
    cancellation.cancel()
    thread.join(60)
    assert [one.reason for one in failed] == [Reason.CANCELLED]


# --- where it may lead


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize(
    ("host", "address", "named", "denied"),
    [
        ("10.0.0.1", "10.0.0.1", "h.io", True),
        ("10.0.0.1", "10.0.0.1", "10.0.0.1", False),
        ("in.corp", "10.0.0.1", "h.io", True),
        ("in.corp", "10.0.0.1", "in.corp", False),
        ("169.254.169.254", "169.254.169.254", "169.254.169.254", True),
        ("cdn.io", "8.8.8.8", "h.io", False),
        ("unknown.io", "", "h.io", False),
    ],
)
def test_where_a_proxy_may_lead(
    scheme: str,
    host: str,
    address: str,
    named: str,
    denied: bool,
    net: Net,
    transport: Transport,
    addresses: dict[str, str],
) -> None:
    if address:
        addresses[host] = address
    url = f"{scheme}://{host}/x"
    if denied:
        assert fail(transport, url, named).reason is Reason.EGRESS_DENIED
        assert net.dialled == []
    else:
        net.connection(*([[TUNNEL]] if scheme == "https" else []), [OK])
        assert send(transport, url, named) == b"ok"


def test_what_is_configured_is_not_judged(net: Net, addresses: dict[str, str]) -> None:
    addresses["in.corp"] = "10.0.0.1"
    proxies = Proxies.from_environment(BOTH)
    transport = Transport(TransportConfig(allowed_hosts={"in.corp"}, proxies=proxies))
    net.connection([TUNNEL], [OK])
    assert send(transport, "https://in.corp/x") == b"ok"
    transport.close()

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation
from imgd_server.registry._connection import TransportConfig
from imgd_server.registry._transport import Request, Transport
from imgd_server.registry._url import Url
from tests.unit.registry.conftest import Block, Net, Piece

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
def transport(net: Net) -> Iterator[Transport]:
    transport = Transport(TransportConfig())
    yield transport
    transport.close()
    assert all(sock.closed for sock in net.sockets)


def moved(location: str, status: int = 307, body: bytes = b"moved") -> bytes:
    head = f"HTTP/1.1 {status} Moved\r\nLocation: {location}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def request(url: str = "http://h.io/x", **more: Any) -> Request:
    return Request("GET", Url.parse(url), **{"named": "h.io", **more})


def send(transport: Transport, asked: Request, cancellation: Cancellation | None = None) -> bytes:
    with transport.send(asked, cancellation or Cancellation()) as response:
        return response.read(1000)


def fail(transport: Transport, asked: Request) -> Error:
    with pytest.raises(Error) as caught:
        send(transport, asked)
    return caught.value


def headers(sent: str) -> Mapping[str, str]:
    lines = sent.split("\r\n\r\n")[0].split("\r\n")[1:]
    return dict(line.split(": ", 1) for line in lines)


# --- connections


def test_a_connection_is_used_again(net: Net, transport: Transport) -> None:
    net.connection([OK], [OK], [OK])
    assert [send(transport, request()) for _ in range(3)] == [b"ok"] * 3
    assert len(net.sent) == 3
    assert headers(net.sent[0])["Accept-Encoding"] == "identity"
    assert headers(net.sent[0])["User-Agent"].startswith("imgd/")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["close", "HTTP/1.0", "until the end", "cut", "more than asked for"],
)
def test_a_connection_is_not_used_again(answer: bytes, net: Net, transport: Transport) -> None:
    net.connection([answer], [b"never"])
    net.connection([OK])
    assert [send(transport, request()) for _ in range(2)] == [b"ok"] * 2
    assert [sock.closed for sock in net.sockets] == [True, False]


def test_a_body_that_was_not_read_ends_its_connection(net: Net, transport: Transport) -> None:
    net.connection([OK], [b"never"])
    net.connection([OK])
    transport.send(request(), Cancellation()).close()
    assert send(transport, request()) == b"ok"
    assert len(net.sockets) == 2


@pytest.mark.parametrize("end", [b"", ConnectionResetError(104, "reset"), b"HTTP/9 nonsense\n"])
def test_a_connection_that_went_stale_is_no_failure(
    end: bytes | Exception, net: Net, transport: Transport
) -> None:
    net.connection([OK], [end])
    net.connection([OK])
    assert [send(transport, request()) for _ in range(2)] == [b"ok"] * 2
    assert len(net.sockets) == 2


def test_a_connection_that_is_known_to_be_stale_is_not_tried(
    net: Net, transport: Transport
) -> None:
    net.connection([OK], [b"never"])
    net.connection([OK])
    send(transport, request())
    net.sockets[0].readable = True
    assert send(transport, request()) == b"ok"
    assert len(net.sockets[0].sent) == 1


def test_a_fresh_connection_that_fails_is_a_failure(net: Net, transport: Transport) -> None:
    net.connection([OK], [b""])
    net.connection([b""])
    send(transport, request())
    failure = fail(transport, request())
    assert (failure.reason, failure.host) == (Reason.REGISTRY_UNREACHABLE, "h.io")
    assert "closed the connection" in failure.message


def test_connections_are_for_their_origin(net: Net, transport: Transport) -> None:
    urls = ["http://h.io/", "http://h.io:81/", "http://i.io/", "https://h.io/"]
    for _ in urls:
        net.connection([OK], [OK])
    for url in urls * 2:
        send(transport, request(url))
    assert [sock.sent[0].split("Host: ")[1].split("\r\n")[0] for sock in net.sockets] == [
        "h.io",
        "h.io:81",
        "i.io",
        "h.io",
    ]
    assert [len(sock.sent) for sock in net.sockets] == [2, 2, 2, 2]


def test_one_that_the_caller_named_is_not_for_who_is_led_there(
    net: Net, transport: Transport
) -> None:
    net.connection([OK], [b"never"])
    net.refusal(Error(Reason.EGRESS_DENIED, "private"))
    send(transport, request())
    assert fail(transport, request(named="other.io")).reason is Reason.EGRESS_DENIED
    assert net.dialled == [("h.io", True, False), ("h.io", False, False)]


def test_what_is_allowed_is_configured(net: Net) -> None:
    transport = Transport(TransportConfig(allowed_hosts=["H.io", "[::1]:5000"]))
    for url in ("http://h.io/", "http://x.h.io/", "http://[::1]:5000/", "http://[::1]/"):
        net.connection([OK])
        send(transport, request(url))
    assert [configured for _, _, configured in net.dialled] == [True, False, True, False]
    transport.close()


def test_idle_connections_end(
    net: Net, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    net.connection([OK])
    net.connection([OK])
    send(transport, request())
    now += 60.0
    # Somebody else's request is enough: what nobody asks for again must not stay open.
    send(transport, request("http://i.io/"))
    assert [sock.closed for sock in net.sockets] == [True, False]


def test_idle_connections_are_bounded(net: Net, transport: Transport) -> None:
    for _ in range(20):
        net.connection([OK])
    responses = [transport.send(request(), Cancellation()) for _ in range(20)]
    for response in responses:
        response.read(10)
        response.close()
    assert sum(not sock.closed for sock in net.sockets) == 8
    for number in range(100):
        net.connection([OK])
        send(transport, request(f"http://h{number}.io/"))
    assert sum(not sock.closed for sock in net.sockets) == 64


def test_what_ends_after_the_transport_is_closed(net: Net) -> None:
    transport = Transport(TransportConfig())
    net.connection([OK])
    with transport.send(request(), Cancellation()) as response:
        transport.close()
        assert response.read(10) == b"ok"
    assert net.sockets[0].closed


# --- cancelling


def catch(transport: Transport, cancellation: Cancellation, failures: list[Error]) -> None:
    try:
        send(transport, request(), cancellation)
    except Error as error:
        failures.append(error)


def test_a_cancellation_wakes_a_reader(net: Net, transport: Transport) -> None:
    block = Block()
    scripts: list[list[Piece]] = [[block], [OK[:-1], block]]
    for pieces in scripts:
        block.reached.clear()
        net.connection(pieces)
        cancellation = Cancellation()
        failures: list[Error] = []

        def read(
            cancellation: Cancellation = cancellation, failures: list[Error] = failures
        ) -> None:
            try:
                send(transport, request(), cancellation)
            except Error as error:
                failures.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        assert block.reached.wait(60)
        cancellation.cancel()
        thread.join(60)
        assert not thread.is_alive()
        assert [failure.reason for failure in failures] == [Reason.CANCELLED]
    assert all(sock.closed for sock in net.sockets)


def test_a_cancellation_before_the_start(net: Net, transport: Transport) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Error) as caught:
        send(transport, request(), cancellation)
    assert caught.value.reason is Reason.CANCELLED
    assert net.dialled == []


def test_a_cancellation_afterwards_harms_no_other(net: Net, transport: Transport) -> None:
    net.connection([OK], [OK])
    cancellation = Cancellation()
    send(transport, request(), cancellation)
    cancellation.cancel()
    assert send(transport, request()) == b"ok"
    assert len(net.sockets) == 1


def test_a_cancelled_connection_is_not_kept(net: Net, transport: Transport) -> None:
    net.connection([OK])
    cancellation = Cancellation()
    with transport.send(request(), cancellation) as response:
        response.read(10)
        cancellation.cancel()
    assert net.sockets[0].closed


# --- redirects


def test_redirects_are_followed_and_keep_what_was_asked(net: Net, transport: Transport) -> None:
    net.connection([moved("/y")], [moved("http://cdn.io/z?s=1", 302)])
    net.connection([OK])
    asked = request(headers={"Range": "bytes=5-"}, authorization="Bearer secret")
    with transport.send(asked, Cancellation()) as response:
        assert str(response.url) == "http://cdn.io/z?s=1"
        assert response.host == "cdn.io"
        assert response.read(10) == b"ok"
    first, second, third = net.sent
    assert [one.split()[1] for one in (first, second, third)] == ["/x", "/y", "/z?s=1"]
    assert all(headers(one)["Range"] == "bytes=5-" for one in (first, second, third))
    assert headers(first)["Authorization"] == headers(second)["Authorization"] == "Bearer secret"
    assert "secret" not in third
    assert net.dialled == [("h.io", True, False), ("cdn.io", False, False)]


@pytest.mark.parametrize("elsewhere", ["http://h.io:81/", "http://x.h.io/", "https://h.io/"])
def test_credentials_stay_at_their_origin(elsewhere: str, net: Net, transport: Transport) -> None:
    back = "https://h.io/" if elsewhere.startswith("https") else "http://h.io/back"
    net.connection([moved(elsewhere)], [OK])
    net.connection([moved(back)], [OK])
    send(transport, request(authorization="Basic secret"))
    carried = [["secret" in sent for sent in sock.sent] for sock in net.sockets]
    assert carried == ([[True], [False, False]] if back[4] == "s" else [[True, True], [False]])


def test_no_redirect_leaves_tls(net: Net, transport: Transport) -> None:
    net.connection([moved("http://h.io/")])
    failure = fail(transport, request("https://h.io/"))
    assert (failure.reason, failure.host) == (Reason.EGRESS_DENIED, "h.io")
    assert len(net.sent) == 1


def test_redirects_end(net: Net, transport: Transport) -> None:
    net.connection(*[[moved("/x")]] * 50)
    failure = fail(transport, request())
    assert (failure.reason, failure.http_status) == (Reason.REGISTRY_PROTOCOL, 307)
    assert len(net.sent) == 6


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_each_kind_of_redirect(status: int, net: Net, transport: Transport) -> None:
    net.connection([moved("/y", status)], [OK])
    assert send(transport, request()) == b"ok"


@pytest.mark.parametrize("status", [300, 304, 305])
def test_what_is_no_redirect(status: int, net: Net, transport: Transport) -> None:
    net.connection([moved("/y", status, b"")])
    with transport.send(request(), Cancellation()) as response:
        assert response.status == status


def test_a_body_that_may_hold_a_secret_goes_nowhere_else(net: Net, transport: Transport) -> None:
    net.connection([moved("http://i.io/")])
    asked = Request("POST", Url.parse("http://h.io/"), body=b"secret", named="h.io")
    with transport.send(asked, Cancellation()) as response:
        assert response.status == 307
    assert len(net.sent) == 1


def test_a_redirect_whose_body_never_ends_is_followed(net: Net, transport: Transport) -> None:
    net.connection([moved("/y", body=b"moved")[:-1], TimeoutError()])
    net.connection([OK])
    assert send(transport, request()) == b"ok"


# --- failures


@pytest.mark.parametrize(
    ("error", "reason", "words"),
    [
        (TimeoutError(), Reason.REGISTRY_TIMEOUT, "stopped answering"),
        (ConnectionResetError(104, "Connection reset by peer"), Reason.REGISTRY_UNREACHABLE,
         "reset by peer"),
        (OSError("odd"), Reason.REGISTRY_UNREACHABLE, "odd"),
        (ssl.SSLEOFError(8, "EOF"), Reason.REGISTRY_UNREACHABLE, "TLS"),
        (ssl.SSLError(1, "[SSL: BAD_RECORD_MAC] x"), Reason.REGISTRY_TLS, "no safe connection"),
    ],
)  # fmt: skip
def test_what_sockets_raise(
    error: Exception, reason: Reason, words: str, net: Net, transport: Transport
) -> None:
    net.connection([error])
    failure = fail(transport, request("https://h.io/"))
    assert (failure.reason, failure.host) == (reason, "h.io")
    assert words in failure.message

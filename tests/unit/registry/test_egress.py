from __future__ import annotations

import errno
import select
import socket
import threading
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation, _egress
from imgd_server.registry._url import Url

PUBLIC = ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = [
    "127.0.0.1",
    "127.255.0.9",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.0.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.2.1",
    "240.0.0.1",
    "::1",
    "fd00::1",
    "fec0::1",
    "2001:db8::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::127.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "2002:7f00:1::",
    "2002:c0a8:1::1",
]
METADATA = [
    "169.254.169.254",
    "169.254.1.1",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "100.100.100.200",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
]
NOBODY = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "::ffff:0.0.0.0"]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert not _egress._denied("h.io", address, named=False)
    assert not _egress._denied("h.io", address, named=True)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_for_callers_only(address: str) -> None:
    assert "private" in _egress._denied("h.io", address, named=False)
    assert not _egress._denied("h.io", address, named=True)


@pytest.mark.parametrize("address", METADATA)
def test_metadata_addresses_are_for_nobody(address: str) -> None:
    for named in (False, True):
        assert "metadata" in _egress._denied("h.io", address, named=named)


@pytest.mark.parametrize("address", NOBODY)
def test_addresses_of_no_host(address: str) -> None:
    for named in (False, True):
        assert _egress._denied("h.io", address, named=named)


@pytest.mark.parametrize("host", ["localhost", "registry.localhost", "127.0.0.1"])
def test_a_name_of_this_machine_has_its_addresses(host: str) -> None:
    assert not _egress._denied(host, "127.0.0.1", named=True)
    assert not _egress._denied(host, "::ffff:127.0.0.1", named=True)
    assert _egress._denied(host, "8.8.8.8", named=True)
    assert _egress._denied(host, "10.0.0.1", named=True)


# --- dialling


class FakeDial:
    """`socket.socket` that connects as `outcomes` say, by address: 0, an errno, or None: never."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **outcomes: int | None) -> None:
        self._outcomes = outcomes
        self.tried: list[str] = []
        self.open: set[str] = set()
        self.polls = 0
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 80)) for one in outcomes]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        monkeypatch.setattr(socket, "socket", lambda *_: FakeConnecting(self))
        monkeypatch.setattr(select, "poll", lambda: FakePoll(self))

    def outcome(self, address: str) -> int | None:
        return self._outcomes[address]


class FakeConnecting:
    def __init__(self, dial: FakeDial) -> None:
        self._dial, self.address = dial, ""

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def connect_ex(self, address: tuple[str, int]) -> int:
        self.address = address[0]
        self._dial.tried.append(self.address)
        self._dial.open.add(self.address)
        return errno.EINPROGRESS

    def getsockopt(self, *_: int) -> int:
        return self._dial.outcome(self.address) or 0

    def setsockopt(self, *_: int) -> None:
        pass

    def close(self) -> None:
        self._dial.open.discard(self.address)


class FakePoll:
    def __init__(self, dial: FakeDial) -> None:
        self._dial, self._socket = dial, FakeConnecting(dial)

    def register(self, sock: FakeConnecting, _: int) -> None:
        self._socket = sock

    def poll(self, _: float) -> list[int]:
        self._dial.polls += 1
        return [] if self._dial.outcome(self._socket.address) is None else [1]


def dial(url: str = "http://h.io/", *, patience: float = 60.0, **more: Any) -> socket.socket:
    options = {"named": True, "configured": False, "cancellation": Cancellation(), **more}
    return _egress.dial(Url.parse(url), patience=patience, **options)


def fail(**options: Any) -> Error:
    with pytest.raises(Error) as caught:
        dial(**options)
    assert caught.value.host == "h.io"
    return caught.value


def test_the_first_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDial(monkeypatch, **{"8.8.8.8": errno.ECONNREFUSED, "8.8.4.4": 0, "9.9.9.9": 0})
    dial()
    assert (fake.tried, fake.open) == (["8.8.8.8", "8.8.4.4"], {"8.8.4.4"})


def test_each_address_has_a_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDial(monkeypatch, **{"8.8.8.8": None, "8.8.4.4": 0})
    dial(patience=0.0)
    assert (fake.tried, fake.open) == (["8.8.8.8", "8.8.4.4"], {"8.8.4.4"})


def test_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDial(monkeypatch, **{"8.8.8.8": errno.EHOSTUNREACH, "8.8.4.4": errno.ECONNREFUSED})
    failure = fail()
    assert failure.reason is Reason.REGISTRY_UNREACHABLE
    assert "refused" in failure.message
    assert not fake.open
    fake = FakeDial(monkeypatch, **{"8.8.8.8": None})
    assert fail(patience=0.0).reason is Reason.REGISTRY_TIMEOUT
    assert not fake.open
    FakeDial(monkeypatch)
    assert fail().reason is Reason.REGISTRY_UNREACHABLE


def test_what_is_denied_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDial(monkeypatch, **{"10.0.0.1": 0, "127.0.0.1": 0})
    assert fail(named=False).reason is Reason.EGRESS_DENIED
    assert fake.tried == []
    fake = FakeDial(monkeypatch, **{"10.0.0.1": 0, "8.8.8.8": 0})
    dial(named=False)
    assert fake.tried == ["8.8.8.8"]
    dial(named=False, configured=True)
    assert fake.tried == ["8.8.8.8", "10.0.0.1"]


def test_a_cancellation_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeDial(monkeypatch, **{"8.8.8.8": None})
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Error) as caught:
        dial(cancellation=cancellation)
    assert caught.value.reason is Reason.CANCELLED
    assert (fake.polls, fake.open) == (1, set())


def test_a_silent_name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_egress, "_LOOK_UP", 0.001)
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(60) and [])
    assert fail(patience=0.0).reason is Reason.REGISTRY_TIMEOUT
    cancellation = Cancellation()
    cancellation.cancel()
    with pytest.raises(Error) as caught:
        dial(cancellation=cancellation)
    assert caught.value.reason is Reason.CANCELLED
    answered.set()


@pytest.mark.parametrize(
    "error", [socket.gaierror(-2, "Name or service not known"), UnicodeError("label too long")]
)
def test_a_name_that_is_not_known(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    failure = fail()
    assert failure.reason is Reason.REGISTRY_UNREACHABLE
    assert "no address for h.io" in failure.message

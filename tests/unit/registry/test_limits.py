from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation, PausedError, _limits
from imgd_server.registry._connection import TransportConfig
from imgd_server.registry._limits import HostLimits, Turn
from imgd_server.registry._transport import Request, Transport
from imgd_server.registry._url import Url
from tests.unit.registry.conftest import Net

NET = 60.0
HOST, OTHER = Url.parse("https://h.io/v2/"), Url.parse("https://other.io/v2/")
NEVER = Cancellation()


@dataclass
class Clock:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_limits, "time", clock)
    return clock


def room(limits: HostLimits) -> int:
    """How many requests a host gets at once now."""
    turns: list[Turn] = []
    gone = Cancellation()
    waiting = threading.Event()
    gone.on_cancel(waiting.set)

    def enter_all() -> None:
        try:
            while True:
                turns.append(limits.enter(HOST, "", gone))
        except Error:
            return

    thread = threading.Thread(target=enter_all)
    thread.start()
    # What it gets it gets at once; it waits where it can be cancelled.
    host = limits._hosts
    while thread.is_alive():
        known = host.get(HOST.origin)
        if known and known.running >= int(known.limit):
            gone.cancel()
            thread.join(NET)
    for turn in turns:
        turn.leave()
    return len(turns)


def ask(limits: HostLimits, status: int, wait: float | None = None, account: str = "") -> None:
    turn = limits.enter(HOST, account, NEVER)
    turn.answered(status, wait)
    turn.leave()


def test_a_host_gets_so_many_at_once_and_no_more() -> None:
    limits = HostLimits(3)
    assert room(limits) == 3
    assert room(limits) == 3


def test_a_limited_answer_halves_and_answers_bring_it_back_one_by_one() -> None:
    limits = HostLimits(8)
    ask(limits, 429)
    assert room(limits) == 4
    ask(limits, 429)
    assert room(limits) == 2
    # A round of answers for one more: 2, then 3.
    for _ in range(3):
        ask(limits, 200)
    assert room(limits) == 3
    for _ in range(100):
        ask(limits, 404)
    assert room(limits) == 8


def test_it_never_falls_below_one() -> None:
    limits = HostLimits(4)
    for _ in range(10):
        ask(limits, 429)
    assert room(limits) == 1


def test_those_under_way_at_a_halving_halve_no_further() -> None:
    limits = HostLimits(8)
    turns = [limits.enter(HOST, "", NEVER) for _ in range(8)]
    for turn in turns:
        turn.answered(429, None)
        turn.leave()
        turn.leave()
    assert room(limits) == 4


@pytest.mark.parametrize(
    ("status", "wait", "halves"), [(503, 1.0, True), (503, None, False), (500, 1.0, False)]
)
def test_which_answers_limit(status: int, wait: float | None, halves: bool, clock: Clock) -> None:
    limits = HostLimits(4)
    ask(limits, status, wait)
    clock.now += 2
    assert room(limits) == (2 if halves else 4)


def test_nobody_asks_a_host_before_the_time_that_it_named(clock: Clock) -> None:
    limits = HostLimits(4)
    ask(limits, 429, 30.0)
    ask(HostLimits(4), 200)
    with pytest.raises(PausedError) as caught:
        limits.enter(HOST, "", NEVER)
    error = caught.value
    assert (error.reason, error.retry_after, error.host, error.http_status) == (
        Reason.REGISTRY_RATE_LIMITED,
        30.0,
        "h.io",
        0,
    )
    # It holds for one account at one host, uploads among its requests.
    with pytest.raises(PausedError):
        limits.enter(HOST, "", NEVER, counted=False)
    limits.enter(HOST, "alice", NEVER).leave()
    limits.enter(OTHER, "", NEVER).leave()
    clock.now += 30
    ask(limits, 200)


@pytest.mark.parametrize("wait", [0.0, 3600.0])
def test_what_nobody_would_wait_for_is_left_to_who_asks_again(wait: float, clock: Clock) -> None:
    limits = HostLimits(4)
    ask(limits, 429, wait)
    ask(limits, 200)


def test_a_shorter_pause_does_not_end_a_longer_one(clock: Clock) -> None:
    limits = HostLimits(4)
    first, second = (limits.enter(HOST, "", NEVER) for _ in range(2))
    first.answered(429, 60.0)
    second.answered(429, 1.0)
    clock.now += 30
    with pytest.raises(PausedError) as caught:
        limits.enter(HOST, "", NEVER)
    assert caught.value.retry_after == 30.0


def waiter(limits: HostLimits, cancellation: Cancellation) -> tuple[threading.Thread, list[object]]:
    came: list[object] = []

    def enter() -> None:
        try:
            came.append(limits.enter(HOST, "", cancellation))
        except Error as error:
            came.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    return thread, came


@pytest.mark.parametrize("how", ["leave", "cancel", "pause"])
def test_who_waits_goes_on(how: str, clock: Clock) -> None:
    limits, cancellation = HostLimits(1), Cancellation()
    turn = limits.enter(HOST, "", NEVER)
    thread, came = waiter(limits, cancellation)
    ends: dict[str, Callable[[], None]] = {
        "leave": turn.leave,
        "cancel": cancellation.cancel,
        "pause": lambda: turn.answered(429, 5.0),
    }
    ends[how]()
    thread.join(NET)
    (found,) = came
    if how == "leave":
        assert isinstance(found, Turn)
    elif how == "cancel":
        assert isinstance(found, Error)
        assert found.reason is Reason.CANCELLED
    else:
        assert isinstance(found, PausedError)


def test_uploads_wait_for_nobody_and_tell_of_limits_too() -> None:
    limits = HostLimits(2)
    turns = [limits.enter(HOST, "", NEVER) for _ in range(2)]
    upload = limits.enter(HOST, "", NEVER, counted=False)
    upload.answered(429, None)
    upload.leave()
    for turn in turns:
        turn.leave()
    assert room(limits) == 1


def test_what_is_remembered_is_bounded(clock: Clock) -> None:
    limits = HostLimits(2)
    for number in range(300):
        ask(limits, 429, 10.0, f"account {number}")
    assert len(limits._hosts[HOST.origin].until) == _limits._MAX_ACCOUNTS
    # Those whose time is over go first.
    clock.now += 11
    ask(limits, 429, 10.0, "last")
    assert list(limits._hosts[HOST.origin].until) == ["last"]
    for number in range(_limits._MAX_HOSTS + 1):
        limits.enter(Url("http", f"h{number}", 80), "", NEVER).leave()
    assert len(limits._hosts) == _limits._MAX_HOSTS


def test_a_turn_lasts_until_the_answer_is_closed(net: Net) -> None:
    transport = Transport(TransportConfig(host_requests=1))
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    net.connection([ok], [ok])
    request = Request("GET", HOST, named="h.io")
    first = transport.send(request, NEVER)
    assert first.read(10) == b"ok"
    cancellation = Cancellation()
    failed: list[Error] = []

    def ask_again() -> None:
        try:
            transport.send(request, cancellation)
        except Error as error:
            failed.append(error)

    thread = threading.Thread(target=ask_again)
    thread.start()
    cancellation.cancel()
    thread.join(NET)
    assert [one.reason for one in failed] == [Reason.CANCELLED]
    assert len(net.sent) == 1
    first.close()
    with transport.send(request, NEVER) as second:
        assert second.read(10) == b"ok"
    transport.close()

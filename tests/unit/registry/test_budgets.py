from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.registry import HttpRegistryClient, RateBudget, _budgets
from imgd_server.registry._budgets import RateBudgets
from imgd_server.registry._transport import Request
from imgd_server.registry._url import Url
from tests.unit.registry.conftest import Net
from tests.unit.registry.test_lookups import NEVER


class Clock:
    now = 1000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(_budgets, "time", clock)
    return clock


def told(budgets: RateBudgets) -> RateBudget:
    (found,) = budgets.all()
    return found


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("100;w=21600", (100, 21600)),
        ("100", (100, None)),
        (" 100 ; w=60", (100, 60)),
        ("100, 100;w=60, 1000;w=3600", (100, None)),
        ('100;w=60;comment="x"', (100, 60)),
        ("0;w=21600", (0, 21600)),
    ],
)
def test_a_quota_is_read(clock: Clock, value: str, expected: tuple[int, int | None]) -> None:
    budgets = RateBudgets()
    budgets.record("h.io", 200, {"ratelimit-limit": value})
    found = told(budgets)
    assert (found.limit, found.window) == expected
    assert (found.remaining, found.blocked_until, found.updated) == (None, None, 1000.0)


@given(st.text(max_size=30))
def test_any_header_is_read_or_left(value: str) -> None:
    budgets = RateBudgets()
    budgets.record("h.io", 429, {"ratelimit-limit": value, "retry-after": value})
    for one in budgets.all():
        assert one.limit is None or 0 <= one.limit < 10**18


@pytest.mark.parametrize("value", ["", "x", "-1", "1e9", "9" * 30, "100w=60"])
def test_what_is_no_quota_tells_nothing(value: str) -> None:
    budgets = RateBudgets()
    budgets.record("h.io", 200, {"ratelimit-limit": value, "ratelimit-remaining": value})
    assert budgets.all() == []


def test_the_last_word_counts(clock: Clock) -> None:
    budgets = RateBudgets()
    quota = {"ratelimit-limit": "100;w=60", "ratelimit-remaining": "7;w=60"}
    budgets.record("h.io", 200, quota)
    clock.now = 1010.0
    budgets.record("h.io", 200, {**quota, "ratelimit-remaining": "6;w=60"})
    clock.now = 1020.0
    # An answer that tells nothing changes nothing.
    budgets.record("h.io", 200, {})
    assert told(budgets) == RateBudget("h.io", 100, 6, 60, None, 1010.0)


def test_a_block_lasts_as_long_as_was_said_or_until_a_request_is_taken(clock: Clock) -> None:
    budgets = RateBudgets()
    budgets.record("h.io", 200, {"ratelimit-limit": "100;w=60", "ratelimit-remaining": "1;w=60"})
    budgets.record("h.io", 429, {"retry-after": "30"})
    assert told(budgets) == RateBudget("h.io", 100, 1, 60, 1030.0, 1000.0)
    # Refused once more without a word, it lasts.
    budgets.record("h.io", 429, {})
    assert told(budgets).blocked_until == 1030.0
    clock.now = 1030.0
    assert told(budgets).blocked_until is None
    clock.now = 1029.0
    budgets.record("h.io", 200, {})
    assert told(budgets) == RateBudget("h.io", 100, 1, 60, None, 1000.0)


def test_no_block_comes_of_an_answer_that_is_no_refusal(clock: Clock) -> None:
    budgets = RateBudgets()
    budgets.record("h.io", 200, {"retry-after": "30"})
    assert budgets.all() == []
    budgets.record("h.io", 503, {"retry-after": "30"})
    assert told(budgets) == RateBudget("h.io", None, None, None, 1030.0, 1000.0)


def test_so_many_hosts_are_remembered(clock: Clock) -> None:
    budgets = RateBudgets()
    for number in range(1001):
        budgets.record(f"h{number:04}", 200, {"ratelimit-limit": "1"})
        budgets.record("h0000", 200, {})
    found = [one.host for one in budgets.all()]
    assert found == ["h0000", *(f"h{number:04}" for number in range(2, 1001))]


def test_every_answer_is_listened_to(net: Net) -> None:
    net.connection([b"HTTP/1.1 429 No\r\nRateLimit-Limit: 5;w=1\r\nContent-Length: 0\r\n\r\n"])
    client = HttpRegistryClient()
    url = Url.parse("https://registry-1.docker.io/v2/")
    client._transport.send(Request("GET", url), NEVER).close()
    client.close()
    # By the name that references have.
    assert [(one.host, one.limit) for one in client.rate_budgets] == [("docker.io", 5)]

"""Durations and times as Go and docker read them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import click
import pytest

from imgd_client.cli._times import DURATION, MOMENT

_NOW = 1_700_000_000.0


@pytest.fixture
def kolkata(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A zone that is neither UTC nor a whole number of hours from it, and a known time."""
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    with monkeypatch.context() as patched:
        patched.setattr(time, "time", lambda: _NOW)
        yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h30m", 5400),
        ("1.5h", 5400),
        (".5s", 0.5),
        ("1.s", 1),
        ("+10ms", 0.01),
        ("2m3s4ms5us", 123.004005),
        ("7µs", 7e-6),
        ("3ns", 3e-9),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert DURATION.convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "0", "-5m", "5", "1d", "h", "1h 2m", "5m\n", "٣s", "1e3s", "0s", "1..2s"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no duration"):
        DURATION.convert(text, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # What docker's own tests have, in a zone of their own.
        ("2026-01-02T15:04:05Z", "2026-01-02T15:04:05+00:00"),
        ("2026-01-02T15:04:05+02:00", "2026-01-02T13:04:05+00:00"),
        ("2026-01-02T15:04:05.123456789Z", "2026-01-02T15:04:05.123456+00:00"),
        ("2026-01-02T15:04:05", "2026-01-02T09:34:05+00:00"),
        ("2026-01-02T15:04", "2026-01-02T09:34:00+00:00"),
        ("2026-01-02T15", "2026-01-02T09:30:00+00:00"),
        ("2026-01-02", "2026-01-01T18:30:00+00:00"),
        ("2026-01-02Z", "2026-01-02T00:00:00+00:00"),
        ("2026-01-02-07:00", "2026-01-02T07:00:00+00:00"),
        ("1378216169", "2013-09-03T13:49:29+00:00"),
        ("1378216169.000001999", "2013-09-03T13:49:29.000001+00:00"),
        ("1378216169.5", "2013-09-03T13:49:29.500000+00:00"),
        ("0", "1970-01-01T00:00:00+00:00"),
        ("0s", "2023-11-14T22:13:20+00:00"),
        ("10m", "2023-11-14T22:03:20+00:00"),
        ("-10m", "2023-11-14T22:23:20+00:00"),
    ],
)
def test_moments(kolkata: None, text: str, expected: str) -> None:
    found = MOMENT.convert(text, None, None)

    assert found.astimezone(UTC) == datetime.fromisoformat(expected)


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2026-13-01", "2026-01-02T25:00", "2026-01-02 15:04", "20260102T15"),
        *("2026-W01-1", "2026-01-02\n", "999999999999", "99999999h", "1.", "2026-01-02+25:00"),
    ],
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no time"):
        MOMENT.convert(text, None, None)

"""Durations and times as Go and docker read them."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta

import click

__all__ = ["DURATION", "MOMENT", "Duration", "Moment"]

# In seconds (Go's time.ParseDuration).
_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION = re.compile(rf"([+-]?)((?:{_PART.pattern})+|0)", re.ASCII)
# What docker takes for a time (api/types/time): its parts may end early, the zone is the local one.
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d(?::\d\d(?::\d\d(?:\.\d{1,9})?)?)?))?(Z|[+-]\d\d:\d\d)?", re.ASCII
)
_SECONDS = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?", re.ASCII)


def _duration(text: str) -> float | None:
    """Seconds; None for what is no duration."""
    found = _DURATION.fullmatch(text)
    if not found:
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(found[2]))
    return -seconds if found[1] == "-" else seconds


def _moment(text: str, now: float) -> datetime | None:
    """A time; None for what is none. Raises ValueError and OverflowError for one beyond all."""
    if (ago := _duration(text)) is not None and text != "0":
        return datetime.fromtimestamp(now, UTC) - timedelta(seconds=ago)
    if found := _SECONDS.fullmatch(text):
        fraction = timedelta(microseconds=int((found[2] or "0").ljust(9, "0")) // 1000)
        return datetime.fromtimestamp(int(found[1]), UTC) + fraction
    if found := _TIME.fullmatch(text):
        # The local zone is what astimezone() takes where there is none.
        return datetime.fromisoformat(f"{found[1]}T{found[2] or '00'}{found[3] or ''}").astimezone()
    return None


class Duration(click.ParamType[float]):
    """A length of time that is longer than nothing: Go's `1h30m`. In seconds."""

    name = "duration"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Reads it."""
        seconds = _duration(value) if isinstance(value, str) else value
        if seconds is None or seconds <= 0:
            self.fail(f"{value!r} is no duration, such as 90s or 1h30m", param, ctx)
        return seconds


class Moment(click.ParamType[datetime]):
    """A point in time: RFC 3339, a date, unix seconds, or a Go duration ago."""

    name = "time"

    def convert(
        self, value: str | datetime, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Reads it."""
        try:
            found = _moment(value, time.time()) if isinstance(value, str) else value
        except (ValueError, OverflowError):
            found = None
        if found is None:
            known = "RFC 3339, a date, unix seconds, or a duration ago such as 10m"
            self.fail(f"{value!r} is no time: {known}", param, ctx)
        return found


DURATION = Duration()
MOMENT = Moment()

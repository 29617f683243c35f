"""Sizes, durations and times as docker prints them (github.com/docker/go-units)."""

from __future__ import annotations

import time

__all__ = ["columns", "ellipsis", "go_time", "human_duration", "human_size", "rfc3339"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
# Go's durations end there, at 292 years.
_LONGEST = ((1 << 63) - 1) / 1e9


def human_size(size: float, precision: int = 4) -> str:
    """`HumanSizeWithPrecision`: decimal units, so many significant digits."""
    index = 0
    while size >= 1000.0 and index < len(_UNITS) - 1:
        size /= 1000.0
        index += 1
    # Go's %.*g and Python's agree.
    return f"{size:.{precision}g}{_UNITS[index]}"


def human_duration(seconds: float) -> str:
    """`HumanDuration`: roughly how long, in words."""
    seconds = min(seconds, _LONGEST)
    whole = int(seconds)
    hours = int(seconds / 3600 + 0.5)
    if whole < 60:
        return _seconds(whole)
    if whole < 3600:
        return "About a minute" if whole < 120 else f"{whole // 60} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    # Here, and only here, docker does not round the hours.
    return f"{int(seconds / 3600) // 24 // 365} years"


def _seconds(whole: int) -> str:
    if whole < 1:
        return "Less than a second"
    return "1 second" if whole == 1 else f"{whole} seconds"


def go_time(seconds: int) -> str:
    """A time as Go's `Time.String` has it, in the local zone: `2024-05-06 09:08:09 +0200 CEST`."""
    found = time.localtime(seconds)
    date = f"{found.tm_year:04d}-{found.tm_mon:02d}-{found.tm_mday:02d}"
    return f"{date} {time.strftime('%H:%M:%S', found)} {_offset(found)} {found.tm_zone}"


def rfc3339(seconds: int) -> str:
    """A time by RFC 3339 in the local zone, `2024-05-06T09:08:09+02:00`; `Z` where that is UTC."""
    found = time.localtime(seconds)
    date = f"{found.tm_year:04d}-{found.tm_mon:02d}-{found.tm_mday:02d}"
    zone = _offset(found, ":") if found.tm_gmtoff else "Z"
    return f"{date}T{time.strftime('%H:%M:%S', found)}{zone}"


def _offset(found: time.struct_time, colon: str = "") -> str:
    # Zones of old had offsets with seconds, which Go leaves out.
    minutes = abs(found.tm_gmtoff) // 60
    sign = "-" if found.tm_gmtoff < 0 else "+"
    return f"{sign}{minutes // 60:02d}{colon}{minutes % 60:02d}"


def ellipsis(text: str, width: int) -> str:
    """`formatter.Ellipsis`: cut to so many columns, the last an ellipsis. Wide ones count twice."""
    if columns(text) <= width:
        return text
    kept = 0
    while columns(text[: kept + 1]) < width:
        kept += 1
    return f"{text[:kept]}…"


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: East Asian wide characters take two."""
    if text.isascii():
        return len(text)
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)

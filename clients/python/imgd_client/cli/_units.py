"""Sizes and durations as docker prints them (github.com/docker/go-units, size.go, duration.go)."""

from __future__ import annotations

__all__ = ["human_duration", "human_size"]

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")


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

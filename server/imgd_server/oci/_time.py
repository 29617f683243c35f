"""Timestamps of configs and annotations."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from ._errors import FormatError, show

_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})"
    r"(?:\.([0-9]+))?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))"
)
_RULE: Final = "a time is RFC 3339 (2006-01-02T15:04:05Z)"


def parse_rfc3339(text: str) -> datetime:
    """Read an RFC 3339 time as an aware UTC one; finer than microseconds is cut off.

    A leap second is the first instant of the next minute.

    Raises:
        FormatError: ``CONFIG_INVALID``.
    """
    found = _RFC3339.fullmatch(text)
    if found is None:
        raise _bad(text)
    year, month, day, hour, minute, second = (int(found[n]) for n in range(1, 7))
    micro = int((found[7] or "0")[:6].ljust(6, "0"))
    leap = second == 60
    offset = timedelta()
    if found[8]:
        hours, minutes = int(found[9]), int(found[10])
        if hours > 23 or minutes > 59:
            raise _bad(text)
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if found[8] == "-" else 1)
    try:
        local = datetime(
            year, month, day, hour, minute, 59 if leap else second, 0 if leap else micro, UTC
        )
        return local - offset + timedelta(seconds=leap)
    except (ValueError, OverflowError) as error:
        raise _bad(text) from error


def _bad(text: str) -> FormatError:
    return FormatError("CONFIG_INVALID", f"{_RULE}, not {show(text)}", text)

"""What registries tell of how many requests they take."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace

from imgd_server.registry._answers import retry_after

__all__ = ["RateBudget", "RateBudgets"]

# Hosts remembered, those that were silent for longest leave first.
_MAX_HOSTS = 1000
# Docker Hub's form, `100;w=21600`. Of several policies the first is the one that applies now (IETF
# draft-ietf-httpapi-ratelimit-headers-03, 3.1).
_QUOTA = re.compile(r"\s*([0-9]{1,18})\s*(?:;\s*w=([0-9]{1,9}))?(?:[;,\s].*)?", re.DOTALL)
# The statuses whose Retry-After says for how long nothing is accepted.
_REFUSALS = {429, 503}


@dataclass(frozen=True, slots=True)
class RateBudget:
    """A host's budget: requests in a window (seconds), as far as it tells.

    `blocked_until` (None while it accepts requests) and `updated` are seconds since the epoch.
    """

    host: str
    limit: int | None = None
    remaining: int | None = None
    window: int | None = None
    blocked_until: float | None = None
    updated: float = 0.0
    """When it last told of any."""


class RateBudgets:
    """The budgets by host, from every answer. Safe to use from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[str, RateBudget] = OrderedDict()

    def record(self, host: str, status: int, headers: Mapping[str, str]) -> None:
        """Keeps what an answer tells; header names are in lower case."""
        limit, window = _quota(headers.get("ratelimit-limit", ""))
        remaining, again = _quota(headers.get("ratelimit-remaining", ""))
        wait = retry_after(headers.get("retry-after", "")) if status in _REFUSALS else None
        quota = limit is not None or remaining is not None
        now = time.time()
        with self._lock:
            known = self._known.get(host)
            if known is None:
                if not quota and wait is None:
                    return
                known = RateBudget(host)
            if quota:
                known = RateBudget(host, limit, remaining, window or again, known.blocked_until)
            if wait is not None:
                known = replace(known, blocked_until=now + wait)
            elif status not in _REFUSALS:
                known = replace(known, blocked_until=None)
            told = quota or wait is not None
            self._known[host] = replace(known, updated=now) if told else known
            self._known.move_to_end(host)
            if len(self._known) > _MAX_HOSTS:
                self._known.popitem(last=False)

    def all(self) -> list[RateBudget]:
        """The budgets that are known now, in the order of hosts."""
        now = time.time()
        with self._lock:
            found = sorted(self._known.values(), key=lambda one: one.host)
        return [
            replace(one, blocked_until=None)
            if one.blocked_until is not None and one.blocked_until <= now
            else one
            for one in found
        ]


def _quota(value: str) -> tuple[int | None, int | None]:
    """The number in a header, and its window in seconds."""
    match = _QUOTA.fullmatch(value)
    if match is None:
        return None, None
    return int(match[1]), int(match[2]) if match[2] else None

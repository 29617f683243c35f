"""When to try again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

__all__ = ["Backoff"]

_FIRST = 0.1
_LONGEST = 5.0
# A daemon that asks for more than this is not believed.
_LONGEST_ASKED = 60.0


class Backoff:
    """Delays that double up to a bound, each drawn from its upper half, until patience ends.

    The draw keeps a thousand watchers of one daemon from coming back in the same moment.
    """

    def __init__(
        self,
        patience: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._patience = patience
        self._clock = clock
        self._draw = draw
        self._failures = 0
        self._since: float | None = None

    def reset(self) -> None:
        """Something worked."""
        self._failures = 0
        self._since = None

    def next_delay(self, asked: float | None = None) -> float | None:
        """Seconds to wait after a failure, at least those that the daemon asked for.

        None when the time since the first failure exceeds the patience.
        """
        now = self._clock()
        self._since = now if self._since is None else self._since
        left = self._since + self._patience - now
        if left <= 0:
            return None
        delay = min(_LONGEST, _FIRST * 2.0 ** min(self._failures, 10)) * (0.5 + self._draw() / 2)
        self._failures += 1
        return min(max(delay, min(asked or 0.0, _LONGEST_ASKED)), left)

"""How many bytes a second may move: in all, and for each transfer that wants a bound of its own.

A thread takes what has moved and then waits until it was allowed to, so that the pause is never
within a read, and no read seems to stall.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from imgd_server.registry import Cancellation

__all__ = ["MAX_RATE", "MIN_RATE", "Bucket", "Rates"]

MIN_RATE = 1024
"""The smallest bound there is, in bytes a second: with less no registry keeps a connection."""
MAX_RATE = 1 << 53
"""The largest: more are no whole numbers in JSON, and no line's."""

# A pause is cut into such parts, in seconds: whoever cancels does not wait for longer.
_SLICE = 0.2
# So much may come at once after a pause, in seconds of the rate.
_BURST = 0.25
# Bytes that are moved between two looks at the bucket: a part of a second's, and not so few that
# the calls cost more than the bytes.
_LOOKS, _LEAST = 8, 4096


class Bucket:
    """So many bytes a second, for all who take from it, in the order of their taking."""

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        """Bytes a second."""
        self._clock = clock
        self._lock = threading.Lock()
        self._paid = clock()

    def take(self, count: int) -> float:
        """Takes bytes that have moved; returns the seconds to wait for them."""
        with self._lock:
            now, cost = self._clock(), count / self.rate
            # A piece has been paid for by the time that it took to come.
            self._paid = max(self._paid, now - max(_BURST, cost)) + cost
            return max(0.0, self._paid - now)


class Rates:
    """The bounds of a daemon and of its transfers, by their uids; 0 bytes a second is none.

    Work that several transfers share is held to the most generous bound among theirs, and to none
    when one has none.
    """

    def __init__(
        self,
        rate: int = 0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        self._whole = Bucket(rate, clock) if rate else None
        self._own: dict[str, Bucket] = {}

    def limit(self, uid: str, rate: int) -> None:
        """Bounds a transfer, until `forget`."""
        if rate:
            self._own[uid] = Bucket(rate, self._clock)

    def forget(self, uid: str) -> None:
        """Ends a transfer's bound."""
        self._own.pop(uid, None)

    def of(self, sharers: Iterable[str]) -> Bucket | None:
        """The bucket of work that these share, beside the daemon's; None for none."""
        found = [self._own.get(uid) for uid in [*sharers]]
        buckets = [bucket for bucket in found if bucket]
        if not buckets or len(buckets) < len(found):
            return None
        return max(buckets, key=lambda bucket: bucket.rate)

    def portion(self, sharers: Iterable[str], most: int) -> int:
        """How many bytes to move at once, so that the pauses between are short."""
        rates = [bucket.rate for bucket in (self._whole, self.of(sharers)) if bucket]
        return min([most, *(max(_LEAST, rate // _LOOKS) for rate in rates)])

    def spend(self, sharers: Iterable[str], count: int, cancellation: Cancellation) -> float:
        """Takes what has moved, and waits for it; returns the seconds of that. Raises CANCELLED."""
        buckets = [bucket for bucket in (self._whole, self.of(sharers)) if bucket]
        if not buckets:
            return 0.0
        begun = self._clock()
        until = begun + max(bucket.take(count) for bucket in buckets)
        while (left := until - self._clock()) > 0:
            cancellation.check()
            self._sleep(min(left, _SLICE))
        return self._clock() - begun

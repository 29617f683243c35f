"""Attempts: blocking work in a thread, tried again while that may help."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

from imgd_server.errors import Error, Reason
from imgd_server.registry import PausedError
from imgd_server.threads import in_thread
from imgd_server.transfer._flight import Flight
from imgd_server.transfer._progress import Retry, now_us

__all__ = ["RetryPolicy", "is_transient", "persist"]

T = TypeVar("T")

# An attempt that gains less than this gained nothing: a registry that hands a layer out byte by
# byte, one connection each, is not worth the connections.
_GAIN = 64 << 10

# Of attempts that found their host to be left in peace: others wait for it too, and each of them
# may use up what the host then takes.
_MAX_HELD = 50

_TRANSIENT = {
    Reason.REGISTRY_UNREACHABLE,
    Reason.REGISTRY_UNAVAILABLE,
    Reason.REGISTRY_TIMEOUT,
    Reason.REGISTRY_RATE_LIMITED,
    Reason.TOO_BUSY,
}
# The bytes may be those of an earlier attempt, which the server has changed since, or which a power
# cut has damaged. They were thrown away, and one clean attempt tells.
_SPOILT = {Reason.DIGEST_MISMATCH, Reason.SIZE_MISMATCH}


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how soon to try again; seconds.

    `attempts` are in a row without bytes gained: a connection that breaks now and then is no
    reason to give a large layer up. `longest` bounds what a registry's Retry-After may ask for.
    """

    attempts: int = 5
    first: float = 0.25
    factor: float = 2.0
    ceiling: float = 15.0
    longest: float = 120.0

    def delay(self, failures: int, wanted: float | None) -> float:
        """The pause after so many failures in a row: exponential, jittered, at least `wanted`."""
        pause = min(self.first * self.factor ** max(failures - 1, 0), self.ceiling)
        return max(pause * random.uniform(0.5, 1.0), wanted or 0.0)  # noqa: S311 - no secret


async def persist(
    flight: Flight[Any],
    work: Callable[[], T],
    executor: Executor,
    policy: RetryPolicy,
    judge: Callable[[Error], object],
    turn: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    reach: Callable[[], int] | None = None,
) -> T:
    """Attempts `work` until one succeeds, or it is no use; each attempt in a `turn` of its own.

    `judge` completes each error. `reach` is how many bytes are safe (by default the flight's done
    ones): an attempt that adds to them counts as the first.
    """

    def attempt() -> T:
        flight.cancellation.check()
        return work()

    safe = reach or (lambda: flight.done_bytes)
    failures, number, spoilt, held, furthest = 0, 1, 0, 0, 0
    while True:
        try:
            async with turn():
                furthest = max(furthest, safe())
                return await in_thread(attempt, executor)
        except Error as error:
            flight.cancellation.check()
            judge(error)
            # Bytes that were moved before are no gain: a server may start over each time.
            if safe() >= furthest + _GAIN:
                failures = 1
            elif isinstance(error, PausedError) and held < _MAX_HELD:
                held += 1
            else:
                failures += 1
            spoilt += error.reason in _SPOILT
            wait = _pause(policy, error, failures, spoilt)
            if wait is None:
                raise
            number += 1
            flight.retry = Retry(number, now_us() + int(wait * 1e6), error)
        await asyncio.sleep(wait)
        flight.retry = None


def _pause(policy: RetryPolicy, error: Error, failures: int, spoilt: int) -> float | None:
    again = is_transient(error) or (error.reason in _SPOILT and spoilt == 1)
    if not again or failures >= policy.attempts:
        return None
    if error.retry_after is not None and error.retry_after > policy.longest:
        return None
    return policy.delay(failures, error.retry_after)


def is_transient(error: Error) -> bool:
    """Whether the same may succeed a little later."""
    return error.reason in _TRANSIENT

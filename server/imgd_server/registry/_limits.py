"""How many requests a host gets at once, and when it gets none: learned from its answers.

What it takes is halved when it limits, and grows again by one for each round of requests that it
answered (additive increase, multiplicative decrease: as TCP's congestion control, RFC 5681, 3.1).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field

from imgd_server.registry._protocol import Cancellation, PausedError
from imgd_server.registry._url import Url

__all__ = ["HostLimits", "Turn"]

# Hosts remembered, the longest unused leave first; and accounts that one of them made wait.
_MAX_HOSTS = 1000
_MAX_ACCOUNTS = 100
# Nobody waits for longer, so a registry that asks for more is asked again by whoever tries again:
# it may be the first who knows that the limit is gone.
_LONGEST_PAUSE = 120.0


@dataclass(slots=True)
class _Host:
    """What is known of a host. `until` is by account, of `time.monotonic`."""

    changed: threading.Condition
    ceiling: float
    limit: float
    running: int = 0
    halvings: int = 0
    until: dict[str, float] = field(default_factory=dict)

    def wake(self) -> None:
        """Lets those who wait look again."""
        with self.changed:
            self.changed.notify_all()

    def pause(self, account: str, wait: float) -> None:
        """Asks nothing of an account for so many seconds."""
        now = time.monotonic()
        for known in [one for one, until in self.until.items() if until <= now]:
            del self.until[known]
        if len(self.until) >= _MAX_ACCOUNTS:
            del self.until[next(iter(self.until))]
        self.until[account] = max(now + wait, self.until.get(account, 0.0))
        # Those who wait for their turn are told now, and not one by one.
        self.changed.notify_all()


class Turn:
    """Permission for one exchange with a host. It ends with `leave`."""

    def __init__(self, host: _Host, account: str, *, counted: bool) -> None:
        self._host, self._account, self._counted = host, account, counted
        self._halvings = host.halvings

    def answered(self, status: int, wait: float | None) -> None:
        """Tells of an answer; `wait` is its Retry-After in seconds."""
        host = self._host
        with host.changed:
            if status != 429 and (status != 503 or wait is None):
                host.limit = min(host.limit + 1 / host.limit, host.ceiling)
                return
            # Those that began before the last halving say nothing about it.
            if self._halvings == host.halvings:
                host.halvings += 1
                host.limit = max(host.limit / 2, 1.0)
            if wait is not None and 0 < wait <= _LONGEST_PAUSE:
                host.pause(self._account, wait)

    def leave(self) -> None:
        """Lets somebody else begin. Further calls do nothing."""
        with self._host.changed:
            if self._counted:
                self._counted = False
                self._host.running -= 1
                self._host.changed.notify_all()


class HostLimits:
    """The limits of all hosts, for all who ask them. Safe to use from many threads."""

    def __init__(self, ceiling: int) -> None:
        self._ceiling = float(ceiling)
        self._lock = threading.RLock()
        self._hosts: OrderedDict[tuple[str, str, int], _Host] = OrderedDict()

    def enter(
        self, url: Url, account: str, cancellation: Cancellation, *, counted: bool = True
    ) -> Turn:
        """Waits until the host may be asked once more.

        What is not `counted` waits for nobody. Raises PausedError while the host wants no requests
        of an account, and CANCELLED.
        """
        with self._lock:
            host = self._host(url)
            forget = cancellation.on_cancel(host.wake)
            try:
                while True:
                    cancellation.check()
                    if (left := host.until.get(account, 0.0) - time.monotonic()) > 0:
                        raise PausedError(url.label, left)
                    if not counted:
                        break
                    if host.running < int(host.limit):
                        host.running += 1
                        break
                    host.changed.wait()
            finally:
                forget()
            return Turn(host, account, counted=counted)

    def has_room(self, url: Url) -> bool:
        """Whether whoever comes now would not wait. A host that wants no requests of anybody has no
        room for what nobody needs."""
        with self._lock:
            host = self._hosts.get(url.origin)
            if host is None:
                return True
            now = time.monotonic()
            paused = any(until > now for until in host.until.values())
            return host.running < int(host.limit) and not paused

    def _host(self, url: Url) -> _Host:
        host = self._hosts.get(url.origin)
        if host is None:
            changed = threading.Condition(self._lock)
            host = self._hosts[url.origin] = _Host(changed, self._ceiling, self._ceiling)
        self._hosts.move_to_end(url.origin)
        if len(self._hosts) > _MAX_HOSTS:
            self._hosts.popitem(last=False)
        return host

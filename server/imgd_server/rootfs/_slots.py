"""A bound on how many work at once, that waits in order and can be cancelled."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from imgd_server.rootfs._protocol import Cancellation

__all__ = ["Slot", "Slots"]


class Slots:
    """So many may work at once; the others wait in the order of their coming."""

    def __init__(self, number: int) -> None:
        self._free = number
        self._waiting: deque[object] = deque()
        self._condition = threading.Condition()

    @contextmanager
    def take(self, cancellation: Cancellation) -> Iterator[Slot]:
        """Waits for a slot, and keeps it until left. Raises CANCELLED soon after the
        cancellation."""
        slot = Slot(self)
        slot.take(cancellation)
        try:
            yield slot
        finally:
            slot.give_back()

    def acquire(self, cancellation: Cancellation) -> None:
        """Waits for a slot. Raises CANCELLED."""
        ticket = object()

        def wake() -> None:
            with self._condition:
                self._condition.notify_all()

        take_back = cancellation.on_cancel(wake)
        try:
            with self._condition:
                self._waiting.append(ticket)
                try:
                    while not self._free or self._waiting[0] is not ticket:
                        cancellation.check()
                        self._condition.wait()
                    self._free -= 1
                finally:
                    self._waiting.remove(ticket)
                    self._condition.notify_all()
        finally:
            take_back()

    def release(self) -> None:
        """Gives a slot back."""
        with self._condition:
            self._free += 1
            self._condition.notify_all()


class Slot:
    """One of the slots, which its owner may give back for a while. Used by one thread at a time."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._held = False

    def take(self, cancellation: Cancellation) -> None:
        """Waits for a slot, unless this is one. Raises CANCELLED."""
        if not self._held:
            self._slots.acquire(cancellation)
            self._held = True

    def give_back(self) -> None:
        """Lets somebody else have it."""
        if self._held:
            self._held = False
            self._slots.release()

"""A bound on how many work at once."""

from __future__ import annotations

import threading

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation
from imgd_server.rootfs._slots import Slots

PATIENCE = 60.0


class Waiting(Slots):
    """Tells when somebody has begun to wait."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.came = threading.Semaphore(0)
        wait = self._condition.wait

        def told(timeout: float | None = None) -> bool:
            self.came.release()
            return wait(timeout)

        self._condition.wait = told  # type: ignore[method-assign]


def test_the_first_who_came_is_the_first_who_works() -> None:
    slots = Waiting(1)
    order: list[int] = []

    def work(number: int) -> None:
        with slots.take(Cancellation()):
            order.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    with slots.take(Cancellation()):
        for thread in threads:
            thread.start()
            assert slots.came.acquire(timeout=PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    assert order == [0, 1, 2]


def test_who_gives_up_waiting_is_passed_over() -> None:
    slots = Waiting(1)
    cancellation = Cancellation()
    refused: list[Error] = []
    worked = threading.Event()

    def give_up() -> None:
        with pytest.raises(Error) as caught:
            slots.acquire(cancellation)
        refused.append(caught.value)

    def work() -> None:
        with slots.take(Cancellation()):
            worked.set()

    slots.acquire(Cancellation())
    first = threading.Thread(target=give_up)
    first.start()
    assert slots.came.acquire(timeout=PATIENCE)
    second = threading.Thread(target=work)
    second.start()
    assert slots.came.acquire(timeout=PATIENCE)
    cancellation.cancel()
    first.join(PATIENCE)
    assert [error.reason for error in refused] == [Reason.CANCELLED]
    assert not worked.is_set()
    slots.release()
    second.join(PATIENCE)
    assert worked.is_set()

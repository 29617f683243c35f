"""Pulls: a transfer that is started, watched, and cancelled when it is left."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

from imgd.v1 import transfer_pb2

from ._errors import ImgdError
from ._watch import AsyncWatch, Watch, outcome

__all__ = ["AsyncPullStream", "PullStream"]


class PullStream:
    """A transfer that belongs to its caller: iterate it for events, or ask for its `result()`.

    Leaving it before the end (`close()`, `with`, or letting go of it) cancels the transfer, unless
    it is detached. What was fetched stays for a while, so that a later pull goes on there, and
    others that pull the same are not hurt.
    """

    def __init__(
        self,
        transfer: transfer_pb2.Transfer,
        watch: Watch,
        cancel: Callable[[str, bool], object],
        *,
        detach: bool = False,
    ) -> None:
        self.transfer = transfer
        """The record: as it was accepted, and after the end with its outcome."""
        self._watch = watch
        self._cancel = cancel
        self._owned = not detach
        self._closing = threading.RLock()

    @property
    def name(self) -> str:
        """The transfer's resource name."""
        return self.transfer.name

    def __iter__(self) -> Iterator[transfer_pb2.TransferEvent]:
        return self

    def __next__(self) -> transfer_pb2.TransferEvent:
        event = next(self._watch)
        if event.HasField("finished"):
            self.transfer = event.finished.transfer
            self._owned = False
        return event

    def result(self) -> transfer_pb2.Transfer:
        """Waits for the end and returns the record with its outcome.

        Raises:
            TransferFailed: It did not end well.
            Cancelled: It was closed meanwhile, here.
            Unavailable: The daemon went away for longer than the client's patience.
        """
        try:
            for _ in self:
                pass
        except BaseException:
            self.close()
            raise
        return outcome(self.transfer if self._watch.finished else None)

    def detach(self) -> None:
        """From here on, leaving does not cancel the transfer."""
        self._owned = False

    def close(self) -> None:
        """Stops watching, and cancels the transfer when it has not ended. Idempotent."""
        self._watch.close()
        # Whoever comes second waits: the client may be closed next, and with it the cancellation.
        with self._closing:
            if self._owned:
                self._owned = False
                # It is over, or the daemon is gone; there is nothing to do about either.
                with suppress(ImgdError):
                    self._cancel(self.name, True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Without waiting for the answer: this may run anywhere.
        with suppress(Exception):
            if self._owned:
                self._owned = False
                self._watch.close()
                self._cancel(self.name, False)


class AsyncPullStream:
    """A transfer that belongs to its caller, for asyncio; see `PullStream`.

    It starts when it is entered, iterated or asked for its `result()`.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[transfer_pb2.Transfer]],
        watch: Callable[[str], AsyncWatch],
        leave: Callable[[str], Awaitable[None]],
        forget: Callable[[str], None],
        *,
        detach: bool = False,
    ) -> None:
        self.transfer = transfer_pb2.Transfer()
        """The record: empty before the start, and after the end with its outcome."""
        self._start = start
        self._open_watch = watch
        self._watch: AsyncWatch | None = None
        self._leave = leave
        self._forget = forget
        self._owned = not detach
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Future[transfer_pb2.Transfer] | None = None

    @property
    def name(self) -> str:
        """The transfer's resource name; empty before the start."""
        return self.transfer.name

    async def start(self) -> transfer_pb2.Transfer:
        """Starts it unless it is started, and returns its record."""
        if self._watch is None:
            self._loop = asyncio.get_running_loop()
            starting = self._starting = self._starting or asyncio.ensure_future(self._start())
            try:
                self.transfer = await asyncio.shield(starting)
            except ImgdError:
                self._starting = None
                raise
            except asyncio.CancelledError:
                # The daemon may have accepted it. The wait is bounded by the client's timeout.
                with suppress(ImgdError):
                    self.transfer = await starting
                    if self._owned:
                        await self._leave(self.name)
                self._owned = False
                raise
            self._attach()
        return self.transfer

    def _attach(self) -> None:
        # Several tasks may have waited for the same start.
        if self._watch is None:
            self._watch = self._open_watch(self.name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> transfer_pb2.TransferEvent:
        await self.start()
        assert self._watch is not None
        event = await anext(self._watch)
        if event.HasField("finished"):
            self.transfer = event.finished.transfer
            self._owned = False
        return event

    async def result(self) -> transfer_pb2.Transfer:
        """Waits for the end and returns the record with its outcome; see `PullStream.result`."""
        try:
            async for _ in self:
                pass
        except BaseException:
            await self.aclose()
            raise
        return outcome(self.transfer if self._watch and self._watch.finished else None)

    def detach(self) -> None:
        """From here on, leaving does not cancel the transfer."""
        self._owned = False

    async def aclose(self) -> None:
        """Stops watching, and cancels the transfer when it has not ended. Idempotent."""
        if self._starting is not None:
            # By another task, maybe, and the daemon may accept it.
            with suppress(ImgdError):
                await self.start()
        if self._watch is not None:
            await self._watch.aclose()
            if self._owned:
                self._owned = False
                await self._leave(self.name)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        with suppress(Exception):
            if self._watch is not None and self._owned and self._loop is not None:
                self._owned = False
                self._loop.call_soon_threadsafe(self._forget, self.name)

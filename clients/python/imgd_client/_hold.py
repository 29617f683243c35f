"""Holds: a lease or container for the length of a `with` block, kept alive meanwhile."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from ._calls import AsyncStreams, Streams
from ._errors import FailedPrecondition, ImgdError, NotFound

__all__ = ["AsyncHold", "Hold"]

# After an attempt that failed, in seconds; sooner than the usual turn.
_AGAIN = 1.0


class _Named(Protocol):
    @property
    def name(self) -> str:
        """The resource name."""
        ...


_Record = TypeVar("_Record", bound=_Named)


class _Held(Generic[_Record]):
    """What both kinds of hold know, without I/O."""

    def __init__(self, every: float) -> None:
        self.lost: ImgdError | None = None
        """Why it holds no more, though it was not left; None while it holds."""
        self._every = every
        self._record: _Record | None = None

    @property
    def record(self) -> _Record:
        """The lease or container, as the daemon told it last. Raises ValueError before `with`."""
        if self._record is None:
            raise ValueError("a hold is taken by `with`, and has no record before")
        return self._record

    @property
    def name(self) -> str:
        """Its resource name."""
        return self.record.name

    def _after(self, error: ImgdError) -> float | None:
        """Seconds until the next attempt after one that failed; None when there is to be none."""
        if isinstance(error, NotFound):
            self.lost = error
        # A container that was stopped needs no more signs of life, and holds until it is removed.
        ended = isinstance(error, NotFound | FailedPrecondition)
        return None if ended else min(self._every, _AGAIN)


class Hold(_Held[_Record]):
    """Holds an image for the length of a `with` block, and lets it go at the end.

    A thread renews it meanwhile, also across a restart of the daemon. When somebody else ended it,
    `lost` says so, and the end of the block raises NotFound unless it raises already. Closing the
    client lets it go, too.
    """

    def __init__(
        self,
        take: Callable[[], _Record],
        renew: Callable[[str], _Record],
        release: Callable[[str], None],
        every: float,
        streams: Streams,
    ) -> None:
        super().__init__(every)
        self._take = take
        self._renew = renew
        self._release = release
        self._streams = streams
        self._over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="imgd-hold", daemon=True)

    def _keep(self) -> None:
        wait: float | None = self._every
        while wait is not None and not self._over.wait(wait):
            try:
                self._record = self._renew(self.name)
                wait = self._every
            except ImgdError as error:
                wait = self._after(error)

    def _end(self) -> ImgdError | None:
        """Lets it go once; returns why that failed."""
        if self._record is None or self._over.is_set():
            return None
        self._over.set()
        self._keeper.join()
        try:
            self._release(self.name)
        except ImgdError as error:
            return error
        return None

    def close(self) -> None:
        """Lets it go, in the block already. Idempotent, and silent about a daemon that is gone."""
        self._end()

    def __enter__(self) -> Self:
        try:
            self._record = self._take()
        except KeyboardInterrupt:
            # The daemon may have done it; the same request_id finds it.
            with suppress(ImgdError):
                self._release(self._take().name)
            raise
        self._keeper.start()
        self._streams.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure = self._end()
        if kind is None and (failure := self.lost or failure):
            raise failure


class AsyncHold(_Held[_Record]):
    """Holds an image for the length of an `async with` block; see `Hold`. A task renews it."""

    def __init__(
        self,
        take: Callable[[], Awaitable[_Record]],
        renew: Callable[[str], Awaitable[_Record]],
        release: Callable[[str], Awaitable[None]],
        every: float,
        streams: AsyncStreams,
    ) -> None:
        super().__init__(every)
        self._take = take
        self._renew = renew
        self._release = release
        self._streams = streams
        self._keeper: asyncio.Task[None] | None = None

    async def _keep(self) -> None:
        wait: float | None = self._every
        while wait is not None:
            await asyncio.sleep(wait)
            try:
                self._record = await self._renew(self.name)
                wait = self._every
            except ImgdError as error:
                wait = self._after(error)

    async def _end(self) -> ImgdError | None:
        if self._keeper is None:
            return None
        keeper, self._keeper = self._keeper, None
        keeper.cancel()
        try:
            await self._release(self.name)
        except ImgdError as error:
            return error
        return None

    async def aclose(self) -> None:
        """Lets it go, in the block already. Idempotent, and silent about a daemon that is gone."""
        await self._end()

    async def __aenter__(self) -> Self:
        taking = asyncio.ensure_future(self._take())
        try:
            self._record = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # The daemon may have done it. The wait is bounded by the client's timeout.
            with suppress(ImgdError):
                await self._release((await taking).name)
            raise
        self._keeper = asyncio.create_task(self._keep())
        self._streams.add(self)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failure = await self._end()
        if kind is None and (failure := self.lost or failure):
            raise failure

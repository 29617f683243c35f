"""A large blob fetched by parts, by as many streams as there is room for.

Each stream takes the next part when it has one; whoever has written hashes what is there in order
(`Ingest.write_at`). A part whose stream is much slower than the others is asked for once more,
elsewhere if possible, and the first who brings a byte brings it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from imgd_server.content import Ingest
from imgd_server.errors import Error, Reason
from imgd_server.registry import Cancellation, RangeStream
from imgd_server.transfer._flight import Flight

__all__ = ["CHUNK", "Open", "Part", "Parts", "Ranges", "RangesConfig"]

# Measured on 309 MB in six layers, fsync included: 0.30 s with 512 KiB, 0.45 s with 1 MiB. Writes
# of 1 MiB and more cost the kernel half as much time again.
CHUNK = 1 << 19
# Nobody fetches further ahead of what is there in order: that is hashed and unpacked from the
# kernel's cache.
_AHEAD = 256 << 20
# A part is as long as what a stream gets in a second, within bounds: a request costs a round trip.
_SECONDS, _LONGEST = 1.0, 4
# Slow is who has less than a quarter of what others get, after so many seconds.
_GRACE, _SLOW = 2.0, 0.25
# When nobody gets anything for longer, we stand, or the line does, and it tells nothing of one
# stream; unless it lasts. Seconds.
_STILL, _DEAD = 0.5, 6.0
# A stream that gets so many bytes a second is no reason for another one: a layer is inflated at 200
# MB/s, and on two cores the registry's machine or ours is the bound. On loopback, 309 MB in six
# layers took 0.42 s with more streams, and 0.38 s without.
_ENOUGH = 128 << 20
# Seconds for which the parts before one count beside it.
_YOUNG = 0.2
# Whoever has nothing left to take looks so often whether somebody is slow; seconds.
_LOOK = 0.25

Open = Callable[[int, int, Cancellation, str], RangeStream]
"""Opens the bytes from a start to an end, rather not at a host."""


@dataclass(frozen=True, slots=True)
class RangesConfig:
    """Blobs of `threshold` bytes and more are fetched in parts of about `part` bytes, by at most
    `streams` streams: more than one while a stream gets less than `enough` bytes a second."""

    threshold: int = 64 << 20
    part: int = 16 << 20
    streams: int = 6
    enough: int = _ENOUGH


@dataclass(eq=False)
class Part:
    """A stream's part of a blob, from `begin` to before `end`; it is at `place`.

    `twin` fetches the same, since one of the two was slow; rather not at the host `avoid`. As far
    as `reach` one that has failed brought it; `lost` says that one brought all.
    """

    begin: int
    end: int
    since: float
    place: int = 0
    avoid: str = ""
    host: str = ""
    reach: int = 0
    lost: bool = False
    twin: Part | None = None
    cancellation: Cancellation = field(default_factory=Cancellation)

    def __post_init__(self) -> None:
        self.place = self.begin


class _Refused(Exception):  # noqa: N818 - what the server does, and no failure of ours
    """A server sends something else than the part that it was asked for."""


class Parts:
    """Which parts of a blob are to be fetched, and who fetches them. Pure: the caller has a lock.

    `there` are the ranges that need not be fetched, in order.
    """

    def __init__(self, size: int, there: list[tuple[int, int]], part: int) -> None:
        self._part = part
        self._todo: list[tuple[int, int]] = []
        reach = 0
        for start, end in [*there, (size, size)]:
            if reach < start:
                self._todo.append((reach, start))
            reach = end
        self.running: list[Part] = []
        self._rate = 0.0
        self._last = 0.0
        # Bytes that may be asked for twice are a small part of all, as far as it depends on us.
        self._spare = 2 * part + size // 32

    @property
    def complete(self) -> bool:
        """Whether all is there."""
        return not self._todo and not self.running

    @property
    def left(self) -> int:
        """Bytes that nobody fetches yet."""
        return sum(end - start for start, end in self._todo)

    def pace(self, now: float) -> float:
        """Bytes a second of a stream, on average, in the parts that are running; in one that has
        only begun, as those before."""
        before = _YOUNG if self._rate else 0.0
        spent = before + sum(now - one.since for one in self.running)
        came = before * self._rate + sum(one.place - one.begin for one in self.running)
        return came / spent if spent > 0 else 0.0

    def next(self, now: float) -> Part | None:
        """What to fetch next; None when there is nothing that somebody else does not do as well."""
        if not self.running:
            self._last = now
        return self._slow(now) or self._fresh(now)

    def came(self, part: Part, length: int, now: float) -> None:
        """Notes that a stream has so many bytes more."""
        part.place += length
        still = now - self._last - _STILL
        self._last = now
        if still > 0:
            for one in self.running:
                one.since = min(one.since + still, now)

    def paused(self, part: Part, seconds: float, now: float) -> None:
        """Notes that a stream has waited for a bound, which is neither slow nor standing still."""
        part.since += seconds
        self._last = now

    def _fresh(self, now: float) -> Part | None:
        if not self._todo:
            return None
        start, end = self._todo[0]
        front = min((one.place for one in self.running), default=start)
        if start - front >= _AHEAD:
            return None
        length = max(self._part, min(int(self._rate * _SECONDS), _LONGEST * self._part))
        stop = min(start + length, end)
        # Not a tail that is hardly worth the request.
        if end - stop < self._part // 4:
            stop = end
        self._todo[0:1] = [(stop, end)] if stop < end else []
        part = Part(start, stop, now)
        self.running.append(part)
        return part

    def _slow(self, now: float) -> Part | None:
        """A part once more whose stream is much slower than others."""
        if not self._rate or _STILL < now - self._last < _DEAD:
            return None
        for one in self.running:
            spent = now - one.since
            due = _SLOW * self._rate * spent
            lags = spent >= _GRACE and one.place - one.begin < due
            if one.twin is None and lags and one.end - one.place <= self._spare:
                self._spare -= one.end - one.place
                twin = Part(one.place, one.end, now, avoid=one.host, twin=one)
                one.twin = twin
                self.running.append(twin)
                return twin
        return None

    def ended(self, part: Part, now: float) -> None:
        """Notes that a stream has ended. What is missing of its part is for others, and who fetches
        the same as one that has all of it is cancelled."""
        self.running.remove(part)
        twin, part.twin = part.twin, None
        if part.place >= part.end:
            self._measure(part, now)
        if twin is not None:
            twin.twin, twin.reach = None, max(twin.reach, part.place)
            if part.place >= part.end:
                twin.lost = True
                twin.cancellation.cancel()
        elif not part.lost:
            self._put_back(max(part.place, part.reach), part.end)

    def _put_back(self, start: int, end: int) -> None:
        if start < end:
            self._todo.append((start, end))
            self._todo.sort()

    def _measure(self, part: Part, now: float) -> None:
        if (spent := now - part.since) > 0 and part.place > part.begin:
            rate = (part.place - part.begin) / spent
            self._rate = rate if not self._rate else 0.7 * self._rate + 0.3 * rate


class Ranges:
    """One attempt at a blob by parts. `run` is one stream, in the attempt's thread; each `help` is
    one more, in a thread of its own, while `wants` says so.

    As long as there is one stream, it writes in order as if there were no parts.
    """

    def __init__(
        self,
        flight: Flight[Any],
        size: int,
        ingest: Ingest,
        open_part: Open,
        config: RangesConfig,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._flight, self._ingest, self._open, self._config = flight, ingest, open_part, config
        self._clock = clock
        self._changed = threading.Condition()
        # Held while something is written in order.
        self._alone = threading.Lock()
        there = ingest.ranges
        self._parts = Parts(size, there, config.part)
        self._spread = len(there) > 1 or bool(there and there[0][0])
        if self._spread:
            ingest.open_ranks()
        self._etags: dict[str, str] = {}
        self._failure: BaseException | None = None
        self._streams = self._helpers = 0
        self._over = False
        self.refused = False
        """Whether a server does not serve parts, or not always: one stream is to bring the blob."""
        self.crowded = False
        """Whether others wait for what helpers take: they leave at the end of their parts."""
        self.streams: dict[str, RangeStream] = {}
        """The last stream of each host that has served some of it."""

    def wants(self) -> bool:
        """Whether one more stream would have something to do."""
        with self._changed:
            # Not before somebody has served a part.
            if self.refused or self._failure or self.crowded or self._over or not self._etags:
                return False
            if not 0 < self._streams < self._config.streams or not self._parts.left:
                return False
            return self._parts.pace(self._clock()) < self._config.enough

    def run(self) -> RangeStream | None:
        """Fetches; returns with all parts written, or when it is `refused`: then perhaps with the
        blob's stream from its beginning, open. Raises Error, when no other stream goes on either.
        """
        forget = self._flight.cancellation.on_cancel(self._cancel)
        whole, failed = None, None
        try:
            while part := self._take(alone=True):
                try:
                    whole = self._fetch(part)
                except Error as error:
                    failed = error
                    break
                if whole:
                    break
            self._wait()
            self._flight.cancellation.check()
            if self._failure:
                raise self._failure
            if not self.refused and not self._parts.complete:
                assert failed
                raise failed
            return whole
        except BaseException as error:
            self._failure = self._failure or error
            self._cancel()
            self._wait()
            if whole:
                whole.close()
            raise
        finally:
            forget()

    def help(self) -> None:
        """Fetches parts while there are some, and nobody else waits for what that takes."""
        with self._changed:
            if self._over:
                return
            self._helpers += 1
        try:
            self._open_up()
            while part := self._take(alone=False):
                if whole := self._fetch(part):
                    whole.close()
        except Error:
            pass  # the part is for others, who say so if it is no better with them
        finally:
            with self._changed:
                self._helpers -= 1
                self._changed.notify_all()

    def _take(self, *, alone: bool) -> Part | None:
        """The next part for a stream, whose first one makes it count."""
        with self._changed:
            while True:
                if self.refused or self._failure or self._flight.cancellation.cancelled:
                    return None
                if not alone and self.crowded:
                    return None
                part = self._parts.next(self._clock())
                if part is not None:
                    self._streams += 1
                    return part
                if not alone or self._parts.complete:
                    return None
                self._changed.wait(_LOOK)

    def _wait(self) -> None:
        """Until no stream writes any more, nor ever will."""
        with self._changed:
            while self._helpers:
                self._changed.wait()
            self._over = True

    def _cancel(self) -> None:
        with self._changed:
            for part in self._parts.running:
                part.cancellation.cancel()
            self._changed.notify_all()

    def _fetch(self, part: Part) -> RangeStream | None:
        """Brings a part, or returns the stream of the whole blob if that is what there is."""
        whole = None
        try:
            stream = self._open(part.begin, part.end, part.cancellation, part.avoid)
            try:
                whole = self._check(part, stream)
                if whole is None:
                    self._pour(part, stream)
            finally:
                if whole is None:
                    stream.close()
        except _Refused:
            self.refused = True
        except Error as error:
            if error.reason is Reason.SIZE_MISMATCH:
                self.refused = True
            elif not part.lost:
                if error.reason is Reason.DISK_FULL:
                    self._failure = error
                raise
        except BaseException as error:
            self._failure = error
            raise
        finally:
            with self._changed:
                self._streams -= 1
                self._parts.ended(part, self._clock())
                self._changed.notify_all()
        return whole

    def _check(self, part: Part, stream: RangeStream) -> RangeStream | None:
        with self._changed:
            part.host = stream.host
            known = self._etags.setdefault(stream.host, stream.etag)
            self.streams[stream.host] = stream
            self._flight.host = stream.host
        if (stream.offset, stream.end) != (part.begin, part.end):
            self.refused = True
            return stream
        if stream.etag != known:
            raise _Refused
        return None

    def _pour(self, part: Part, stream: RangeStream) -> None:
        flight, buffer = self._flight, memoryview(bytearray(CHUNK))
        while part.place < part.end:
            got = stream.readinto(buffer[: min(part.end - part.place, flight.portion(CHUNK))])
            if not got:
                raise _Refused
            fresh = self._write(part.place, buffer[:got])
            with self._changed:
                self._parts.came(part, got, self._clock())
                flight.done_bytes += fresh
                flight.moved_bytes += got
            if pause := flight.spend(got):
                with self._changed:
                    self._parts.paused(part, pause, self._clock())
        # To the end of the answer, so that the connection serves the next part.
        stream.readinto(buffer)

    def _write(self, place: int, data: memoryview) -> int:
        with self._alone:
            if not self._spread:
                self._ingest.write(data)
                return len(data)
        return self._ingest.write_at(place, data)

    def _open_up(self) -> None:
        """From here on the first stream is not the only one."""
        with self._alone:
            if not self._spread:
                self._ingest.open_ranks()
                self._spread = True

"""The pull-through cache: what other registries have, fetched when it is asked for.

A manifest is asked for at its upstream, by tag again when a while has passed; a blob comes once for
all who want it (`_follow` hands it on as it comes). What has come is held for a day, as a push is;
with the last blob of a platform it becomes an image, and its tag moves there.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog

from imgd_server.distribution._protocol import Refusal, refuse, refuse_error
from imgd_server.distribution._repository import HOLD_US, Found, Repository
from imgd_server.errors import Error, Reason
from imgd_server.images import children, describe_held, read_manifest, tag_image
from imgd_server.metadata import ReadSession, WriteSession
from imgd_server.oci import (
    Descriptor,
    Digest,
    Platform,
    Reference,
    media,
)
from imgd_server.registry import Resolved
from imgd_server.threads import in_thread
from imgd_server.transfer import Fetcher, Flight, FlightTable, Lanes, RetryPolicy, now_us

__all__ = ["Cache", "CacheConfig", "refuse_upstream"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# Threads that fetch, over all clients; one blob takes one. An upstream that stands still has no
# more than its part.
_THREADS, _THREADS_PER_UPSTREAM = 32, 16
# A client waits, and goes elsewhere or asks again by itself.
_MANIFESTS = RetryPolicy(attempts=2, longest=2.0)
_BLOBS = RetryPolicy(attempts=3, longest=5.0)
# With something to serve, nobody waits for a second try.
_WITH_STALE = RetryPolicy(attempts=1)
# An upstream that failed is left alone for so long where there is something to serve, or for as
# long as it asked; seconds.
_PAUSE, _LONGEST_PAUSE = 10.0, 300.0
# What an upstream fails with; the rest is its answer.
_FAILURES = {
    Reason.REGISTRY_UNREACHABLE,
    Reason.REGISTRY_UNAVAILABLE,
    Reason.REGISTRY_TIMEOUT,
    Reason.REGISTRY_RATE_LIMITED,
    Reason.REGISTRY_TLS,
    Reason.REGISTRY_PROTOCOL,
}
# Why an image can't be shown now: its manifest is still to be asked for, or it is no time.
_NOT_YET = {Reason.BLOB_NOT_FOUND, Reason.DISK_FULL, Reason.TOO_BUSY, Reason.SHUTTING_DOWN}
_NOT_FOR_US = {Reason.REMOTE_NOT_FOUND, Reason.REGISTRY_UNAUTHORIZED, Reason.REGISTRY_DENIED}
# Remembered: what tags pointed at, sizes that manifests told, tags whose image is not whole yet.
_MAX_MARKS, _MAX_SIZES, _MAX_WAITING = 10_000, 50_000, 1000
# Last uses are recorded so precisely, and holds renewed when they are so old; microseconds.
_USE_US, _RENEW_US = 60_000_000, HOLD_US // 24


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """`upstreams` are hosts as image names have them; `default` is the one whose names need no
    host, or empty; a tag is asked for again after `fresh` seconds."""

    upstreams: frozenset[str] = frozenset()
    default: str = ""
    fresh: float = 60.0


@dataclass(frozen=True, slots=True)
class _Mark:
    """What a tag pointed at, when its upstream was asked (`time.monotonic`), and which manifest of
    it was here then, if any."""

    target: Descriptor
    at: float
    had: Descriptor | None


class _Recent(OrderedDict[Any, T]):
    """A mapping that forgets what was set first."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def __setitem__(self, key: Any, value: T) -> None:
        super().__setitem__(key, value)
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)


class Cache:
    """An Upstream. It belongs to one event loop. `fetcher` is the one of transfers: of a blob there
    is one writer."""

    def __init__(
        self, fetcher: Fetcher, config: CacheConfig, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.config = config
        self._lanes = Lanes(_THREADS, _THREADS_PER_UPSTREAM)
        # Flights of its own: a transfer's end with the manager, which ends before the registry.
        self._flights = FlightTable(fetcher.rates)
        self._fetcher = replace(fetcher, lanes=self._lanes)
        self._clock = clock
        self._marks: _Recent[_Mark] = _Recent(_MAX_MARKS)
        self._sizes: _Recent[int] = _Recent(_MAX_SIZES)
        self._waiting: _Recent[Descriptor] = _Recent(_MAX_WAITING)
        # Repositories that answered without credentials lately: what they have is for everybody.
        self._public: _Recent[bool] = _Recent(_MAX_MARKS)
        # When upstreams last said that they have something in a repository.
        self._known: _Recent[float] = _Recent(_MAX_MARKS)
        self._paused: dict[str, float] = {}
        self._settling = asyncio.Lock()

    async def close(self) -> None:
        """Lets go of files and threads, when no request is under way any more."""
        await self._flights.drain()
        await asyncio.to_thread(self._lanes.close)

    async def has(self, repository: Repository) -> bool:
        """Whether something of an upstream's repository is here, or was asked for within a day and
        is there."""
        said = self._known.get(repository.full)
        if said is not None and self._clock() < said + HOLD_US / 1_000_000:
            return True
        return await repository.backing.metadata.read(
            lambda session: session.has_repository(repository.full)
        )

    # --- manifests

    async def manifest(
        self, repository: Repository, tag: str, digest: Digest | None, *, whole: bool
    ) -> Found:
        """See Upstream."""
        try:
            if digest:
                return Found(await self._by_digest(repository, digest, whole=whole))
            return await self._by_tag(repository, Reference.parse(tag), whole=whole)
        except Error as error:
            raise refuse_upstream(error, "MANIFEST_UNKNOWN") from None

    async def _by_digest(
        self, repository: Repository, digest: Digest, *, whole: bool
    ) -> Descriptor:
        if known := await self._shown(repository, digest):
            await self._learn(repository, known)
            return known
        reference = Reference.parse(f"{repository.full}@{digest}")
        target = await self._resolve(reference, _MANIFESTS)
        if whole:
            await self._store(repository, target)
        return target

    async def _by_tag(self, repository: Repository, reference: Reference, *, whole: bool) -> Found:
        name, domain = str(reference), reference.domain
        had = await self._had(repository, name)
        mark = self._marks.get(name)
        target = mark.target if mark and self._clock() < mark.at + self.config.fresh else None
        if had and target is None and self._clock() < self._paused.get(domain, 0.0):
            return Found(had, stale=True)
        try:
            if target is None:
                target = await self._resolve(reference, _WITH_STALE if had else _MANIFESTS)
                self._marks[name] = _Mark(target, self._clock(), had)
            await self._ready(repository, name, target, whole=whole)
        except Error as error:
            # It may have been said of a manifest that has gone since.
            self._marks.pop(name, None)
            if error.reason not in _FAILURES or not had:
                raise
            # It may be served again, and is not fresh.
            self._marks[name] = _Mark(had, float("-inf"), None)
            self._pause(domain, error)
            return Found(had, stale=True)
        return Found(target)

    async def _ready(
        self, repository: Repository, name: str, target: Descriptor, *, whole: bool
    ) -> None:
        """Stores what a tag points at, and sees to it that the tag moves there in the end."""
        self._waiting[repository.full, name] = target
        if await self._shown(repository, target.digest):
            await self._learn(repository, target)
            await self._settle(repository, name)
        elif whole:
            await self._store(repository, target)

    async def _had(self, repository: Repository, name: str) -> Descriptor | None:
        """What can be served without the upstream: the whole image that has the name, or else the
        manifest that it was last said to be, or the one before, where that has not come."""

        def look(session: ReadSession) -> tuple[str, Descriptor, int] | None:
            record = session.image_by_name(name)
            return (record.uid, record.target, record.last_used or 0) if record else None

        backing, now = repository.backing, now_us()
        if found := await backing.metadata.read(look):
            uid, target, used = found
            if now - used > _USE_US:
                await backing.metadata.write(lambda session: session.touch_image(uid, now))
            return target if await self._shown(repository, target.digest) else None
        mark = self._marks.get(name)
        for said in (mark.target, mark.had) if mark else ():
            if said and (here := await self._shown(repository, said.digest)):
                return here
        return None

    async def _shown(self, repository: Repository, digest: Digest) -> Descriptor | None:
        """A manifest that the repository shows and that is stored."""
        content, metadata = repository.backing.content, repository.backing.metadata
        target = await metadata.read(
            lambda session: session.repository_manifest(repository.full, digest)
        )
        stored = await in_thread(lambda: content.find(digest)) if target else None
        return target if stored else None

    async def _resolve(self, reference: Reference, policy: RetryPolicy) -> Descriptor:
        async def work(flight: Flight[Resolved]) -> Resolved:
            return await replace(self._fetcher, policy=policy).resolve(flight, reference, None)

        async with self._share(("resolve", str(reference)), work) as flight:
            resolved = await flight.result()
        self._public[reference.name] = not resolved.private
        self._known[reference.name] = self._clock()
        return resolved.target

    async def _claim(self, repository: Repository, digest: Digest) -> None:
        """Before content is fetched: holds it, and says whose it will be when it comes with the
        daemon's credentials. Those who may read here may have it; pulls by gRPC prove their own
        (ADR-0013)."""
        content = repository.backing.content
        # Held before it is there, and before it is marked: a collection forgets the mark of what is
        # neither here nor held.
        await repository.backing.metadata.write(lambda session: repository.hold(session, digest))
        if not self._public.get(repository.full) and not await in_thread(
            lambda: content.find(digest)
        ):
            await repository.backing.metadata.write(
                lambda session: session.mark_private(repository.full, [digest])
            )

    async def _store(self, repository: Repository, target: Descriptor) -> None:
        """Fetches a manifest that the upstream has in this repository, and shows it here."""
        reference = Reference.parse(f"{repository.full}@{target.digest}")

        async def work(flight: Flight[None]) -> None:
            fetcher = replace(self._fetcher, policy=_MANIFESTS)
            await self._claim(repository, target.digest)
            await fetcher.manifest(flight, reference, target, None)

            def show(session: WriteSession) -> None:
                # Its blobs are not shown before the upstream has given them, too.
                session.link_manifest(repository.full, target, blobs=[target.digest])
                session.give_private(repository.full, [target.digest])

            await repository.backing.metadata.write(show)

        async with self._share(("manifest", repository.full, target.digest), work) as flight:
            await flight.result()
        await self._learn(repository, target)
        await self._settle_all(repository)

    async def _learn(self, repository: Repository, target: Descriptor) -> None:
        """Remembers how large a manifest's blobs are, and renews its hold where that gets old."""
        content, metadata = repository.backing.content, repository.backing.metadata

        parts = children(await in_thread(lambda: read_manifest(content, target)))
        for part in parts:
            self._sizes[repository.full, part.digest] = part.size
        digests = [part.digest for part in parts]

        def is_old(session: ReadSession) -> bool:
            lease = session.lease(repository.lease(target.digest))
            if lease is None:
                return target.digest not in session.held_among([target.digest], now_us())
            return lease.expires < now_us() + HOLD_US - _RENEW_US or not lease.digests[1:]

        if await metadata.read(is_old):
            await metadata.write(lambda session: repository.hold(session, target.digest, *digests))

    # --- blobs

    async def blob(
        self, repository: Repository, digest: Digest, *, whole: bool
    ) -> Descriptor | None:
        """See Upstream."""
        content = repository.backing.content
        stored = await in_thread(lambda: content.find(digest))
        size = None if stored else self._sizes.get((repository.full, digest))
        if size is None:
            # Who knows a digest has not shown that this repository has it.
            size = await self._size(repository, digest)
        if stored and stored.size != size:
            raise refuse("UNAVAILABLE", f"{digest} has another size at its registry", 502)
        if not (stored and whole):
            return Descriptor("application/octet-stream", digest, size)
        await self._landed(repository, digest)
        return None

    async def _size(self, repository: Repository, digest: Digest) -> int:
        reference = Reference.parse(repository.full)

        async def work(flight: Flight[int]) -> int:
            return await replace(self._fetcher, policy=_MANIFESTS).blob_size(
                flight, reference, digest, None
            )

        try:
            async with self._share(("size", repository.full, digest), work) as flight:
                size = await flight.result()
        except Error as error:
            raise refuse_upstream(error, "BLOB_UNKNOWN") from None
        self._known[repository.full] = self._clock()
        return size

    @asynccontextmanager
    async def fetching(
        self, repository: Repository, target: Descriptor
    ) -> AsyncIterator[Flight[None]]:
        """See Upstream."""
        reference = Reference.parse(repository.full)

        async def work(flight: Flight[None]) -> None:
            await self._claim(repository, target.digest)
            await replace(self._fetcher, policy=_BLOBS).blob(flight, reference, target, None)
            await self._landed(repository, target.digest)

        async with self._share(
            ("blob", repository.full, target.digest, str(target.size)), work
        ) as flight:
            yield flight

    @asynccontextmanager
    async def _share(
        self, key: tuple[str, ...], work: Callable[[Flight[T]], Awaitable[T]]
    ) -> AsyncIterator[Flight[T]]:
        async with self._flights.join(key, "", work) as flight:
            yield flight

    # --- images

    async def _landed(self, repository: Repository, digest: Digest) -> None:
        """Shows a blob, and the images that have waited for it."""

        def show(session: WriteSession) -> None:
            repository.hold(session, digest)
            session.link_blob(repository.full, digest)
            session.give_private(repository.full, [digest])

        await repository.backing.metadata.write(show)
        await self._settle_all(repository)

    async def _settle_all(self, repository: Repository) -> None:
        for full, name in list(self._waiting):
            if full == repository.full:
                await self._settle(repository, name)

    async def _settle(self, repository: Repository, name: str) -> None:
        """Makes what a tag points at an image of that name, once a platform of it is whole."""
        async with self._settling:
            target = self._waiting.get((repository.full, name))
            if target is None:
                return
            try:
                done = await self._is_whole(repository, name, target)
            except Error as error:
                # What a client asked for it gets, image or not.
                done = error.reason not in _NOT_YET
                if done:
                    _log.warning("cached image can't be shown", name=name, why=error.message)
            if done and self._waiting.get((repository.full, name)) is target:
                del self._waiting[repository.full, name]

    async def _is_whole(self, repository: Repository, name: str, target: Descriptor) -> bool:
        content, metadata = repository.backing.content, repository.backing.metadata
        held: set[str] = {target.digest}

        async def hold(blobs: Sequence[Descriptor]) -> None:
            def hold_shown(session: WriteSession) -> list[Digest]:
                shown = [
                    one.digest
                    for one in blobs
                    if session.repository_has_blob(repository.full, one.digest)
                ]
                repository.hold(session, target.digest, *shown)
                return shown

            held.update(await metadata.write(hold_shown))

        found = await describe_held(content, target, Platform.host(), held, hold)
        if not found.record.complete and not any(one.complete for one in found.platforms):
            return False

        def show(session: WriteSession) -> None:
            now = now_us()
            record = replace(
                found.record, last_used=now, repo_digests=(f"{repository.full}@{target.digest}",)
            )
            image = session.put_image(record, found.platforms, found.blobs)
            stored = [one for one in found.blobs if one.stored]
            closed = session.closed_to("", [one.digest for one in stored])
            if any(repository.full in givers for givers in closed.values()):
                # Manifests that everybody was shown stand for blobs that not everybody was given.
                shown = [one.digest for one in stored if _is_shown(one.media_type)]
                session.mark_private(repository.full, shown)
                session.give_private(repository.full, shown)
            tag_image(session, f"images/{image.uid}", name, None, now)
            for blob in found.blobs:
                if blob.stored:
                    session.delete_lease(repository.lease(blob.digest))

        await metadata.write(show)
        return found.record.complete

    # --- failures

    def _pause(self, domain: str, error: Error) -> None:
        wait = min(max(error.retry_after or 0.0, _PAUSE), _LONGEST_PAUSE)
        self._paused[domain] = self._clock() + wait
        _log.warning(
            "upstream failed; serving what is here", upstream=domain, reason=error.reason.name
        )


def _is_shown(media_type: str) -> bool:
    return media.is_manifest(media_type) or media.is_index(media_type)


def refuse_upstream(error: Error, unknown: str) -> Refusal:
    """The answer where an upstream fails, or has not what is asked for: then its code is `unknown`.
    A failure must not have that one: clients match codes, and would say that there is no such
    image."""
    wait = error.retry_after
    if error.reason in _NOT_FOR_US:
        # Its 401 would make clients log in here.
        return refuse(unknown, error.message, 404)
    if error.reason is Reason.REGISTRY_RATE_LIMITED:
        return refuse("TOOMANYREQUESTS", error.message, headers=_again(wait or _PAUSE))
    if error.reason is Reason.EGRESS_DENIED:
        return refuse("DENIED", error.message, 403)
    slow = error.reason is Reason.REGISTRY_TIMEOUT
    if slow or error.host:
        headers = None if wait is None else _again(wait)
        return refuse("UNAVAILABLE", error.message, 504 if slow else 502, headers=headers)
    return refuse_error(error)


def _again(wait: float) -> dict[str, str]:
    return {"Retry-After": str(int(wait) + 1)}

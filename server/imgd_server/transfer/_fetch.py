"""One blob or manifest from a registry into the store, with retries: the work of a flight.

Reading, hashing and writing happen in one worker thread a blob: each of the three lets go of the
interpreter's lock, and large chunks make the cost per chunk vanish.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, TypeVar

from imgd_server.content import ContentStore, Ingest
from imgd_server.errors import Error, Origin, Reason
from imgd_server.metadata import MetadataStore
from imgd_server.oci import MAX_CONFIG_BYTES, Descriptor, Digest, Reference, media
from imgd_server.registry import (
    BlobStream,
    Cancellation,
    Credentials,
    Privacy,
    RangeStream,
    RegistryClient,
    Resolved,
)
from imgd_server.transfer._flight import Flight, Turns
from imgd_server.transfer._lanes import Lane, Lanes
from imgd_server.transfer._ranges import CHUNK, Ranges, RangesConfig
from imgd_server.transfer._rates import Rates
from imgd_server.transfer._retry import RetryPolicy, persist
from imgd_server.transfer._widening import Widening

__all__ = ["Fetcher", "blame", "is_here"]

T = TypeVar("T")

# Blobs whose givers are known before a pull's end has recorded them.
_MAX_GIVEN = 10_000
_STORE_SIDE = {Reason.BLOB_NOT_FOUND, Reason.DISK_FULL, Reason.STORE_CORRUPT, Reason.TOO_BUSY}


def blame(error: Error) -> Error:
    """The error of a pull with the side at fault, where nobody has said so yet."""
    if error.origin is Origin.UNSPECIFIED:
        error.origin = Origin.DESTINATION if error.reason in _STORE_SIDE else Origin.SOURCE
    return error


def _commit(ingest: Ingest, *streams: BlobStream) -> None:
    """Makes the bytes of streams, or of earlier ones, a blob."""
    try:
        ingest.commit()
    except Error as error:
        if error.reason is Reason.DIGEST_MISMATCH:
            for stream in streams:
                stream.distrust()
        raise


def is_here(content: ContentStore, target: Descriptor) -> bool:
    """Whether the store has the content. Raises SIZE_MISMATCH when the descriptor lies about it."""
    found = content.find(target.digest)
    if found is not None and found.size != target.size:
        raise Error(
            Reason.SIZE_MISMATCH,
            f"{target.digest} has {found.size} bytes, and its descriptor says {target.size}",
            origin=Origin.SOURCE,
            digest=target.digest,
        )
    return found is not None


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Gets things from registries into the store. Its methods are flights' work.

    Several flights may want one digest: from different repositories, or with different credentials.
    What a registry gives for credentials is marked as such before its first byte is stored.
    They take turns, attempt by attempt, so that each finds the blob there or goes on where another
    stopped, and none waits while another pauses.
    """

    registry: RegistryClient
    content: ContentStore
    metadata: MetadataStore
    lanes: Lanes
    policy: RetryPolicy
    ranges: RangesConfig = field(default_factory=RangesConfig)
    rates: Rates = field(default_factory=Rates)
    _writers: Turns = field(default_factory=Turns)
    _given: OrderedDict[str, tuple[str, ...]] = field(default_factory=OrderedDict)

    def givers(self, digest: Digest) -> tuple[str, ...]:
        """The repositories that gave a blob from its first byte to its last, of late: a pull's end
        records that, and others who waited for the blob go on before."""
        return self._given.get(digest, ())

    def _note_given(self, flight: Flight[None], reference: Reference, target: Descriptor) -> None:
        flight.stored = True
        if not (flight.resumed_bytes or target.data or target.urls):
            # Of one blob there is one writer.
            names = {*self._given.pop(target.digest, ()), reference.name}
            self._given[target.digest] = tuple(names)
            if len(self._given) > _MAX_GIVEN:
                self._given.popitem(last=False)

    async def resolve(
        self, flight: Flight[Any], reference: Reference, credentials: Credentials | None
    ) -> Resolved:
        """What the reference points at now."""
        return await self.persist(
            flight,
            reference,
            lambda: self.registry.resolve(reference, credentials, flight.cancellation),
        )

    async def blob_size(
        self,
        flight: Flight[Any],
        reference: Reference,
        digest: Digest,
        credentials: Credentials | None,
    ) -> int:
        """How large a blob is, in bytes."""
        found = await self.persist(
            flight,
            reference,
            lambda: self.registry.blob_size(reference, digest, credentials, flight.cancellation),
        )
        flight.tell(found.private)
        return found.size

    def _marking(
        self, flight: Flight[Any], reference: Reference, target: Descriptor
    ) -> Callable[[Privacy], None]:
        """What a thread tells, before it stores anything of an answer, whether that was given for
        credentials."""
        loop = asyncio.get_running_loop()

        async def write() -> None:
            await self.metadata.write(
                lambda session: session.mark_private(reference.name, [target.digest])
            )

        def mark(private: Privacy) -> None:
            # Two streams of a blob may both do it, which is as good.
            if private and not flight.private:
                asyncio.run_coroutine_threadsafe(write(), loop).result()
            flight.tell(private)

        return mark

    async def manifest(
        self,
        flight: Flight[None],
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
    ) -> None:
        """A manifest or index, verified and durable."""
        mark = self._marking(flight, reference, target)

        def fetch() -> None:
            if is_here(self.content, target):
                return
            fetched = self.registry.fetch_manifest(
                reference, target, credentials, flight.cancellation
            )
            flight.host = fetched.host
            if target.data is None:
                flight.moved_bytes += len(fetched.raw)
            mark(fetched.private)
            with self.content.ingest(
                target.digest, target.digest, target.size, resume=False
            ) as ingest:
                ingest.write(fetched.raw)
                flight.done_bytes = ingest.offset
                ingest.commit()
                flight.stored = True

        await self.persist(flight, reference, fetch, target.digest)

    async def read(
        self,
        flight: Flight[Any],
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
    ) -> bytes:
        """A manifest or index, or another small blob, verified, and not stored."""

        def fetch() -> bytes:
            if media.is_manifest(target.media_type) or media.is_index(target.media_type):
                fetched = self.registry.fetch_manifest(
                    reference, target, credentials, flight.cancellation
                )
                flight.host, raw = fetched.host, fetched.raw
                flight.tell(fetched.private)
            elif target.data is not None:
                return target.data
            else:
                raw = self._read_small(flight, reference, target, credentials)
            flight.moved_bytes += len(raw)
            flight.done_bytes = len(raw)
            return raw

        return await self.persist(flight, reference, fetch)

    def _read_small(
        self,
        flight: Flight[Any],
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
    ) -> bytes:
        if target.size > MAX_CONFIG_BYTES:
            raise Error(
                Reason.MANIFEST_TOO_LARGE,
                f"{target.digest} has {target.size} bytes, and {MAX_CONFIG_BYTES} is the most",
                digest=target.digest,
            )
        data = bytearray(target.size)
        filled = 0
        with self.registry.open_blob(
            reference, target, 0, credentials, flight.cancellation
        ) as stream:
            flight.host = stream.host
            flight.tell(stream.private)
            while got := stream.readinto(memoryview(data)[filled:]):
                filled += got
        raw = bytes(data[:filled])
        if Digest.of(raw, target.digest.algorithm) != target.digest:
            stream.distrust()
            raise Error(
                Reason.DIGEST_MISMATCH,
                f"the bytes of {target.digest} have another digest",
                digest=target.digest,
            )
        return raw

    async def blob(
        self,
        flight: Flight[None],
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
    ) -> None:
        """A blob, verified and durable; goes on where an earlier attempt stopped."""
        widening = Widening(
            flight,
            self.lanes.blobs,
            reference.domain,
            lambda: self.registry.has_room(reference),
        )
        mark = self._marking(flight, reference, target)
        by_parts = target.size >= self.ranges.threshold and not (target.data or target.urls)

        def fetch() -> None:
            nonlocal by_parts
            if is_here(self.content, target):
                return
            stream: BlobStream | None = None
            with self.content.ingest(target.digest, target.digest, target.size) as ingest:
                if by_parts:
                    ranges = self._ranges(flight, reference, target, credentials, ingest, mark)
                    if self._run(ranges, widening, flight, ingest):
                        self._note_given(flight, reference, target)
                        return
                    by_parts = False
                flight.resumed_bytes = flight.done_bytes = ingest.offset
                if target.data is not None:
                    ingest.restart()
                    flight.resumed_bytes = 0
                    ingest.write(target.data)
                elif ingest.offset < target.size or target.size == 0:
                    with self.registry.open_blob(
                        reference, target, ingest.offset, credentials, flight.cancellation
                    ) as stream:
                        mark(stream.private)
                        self._pour(flight, stream, ingest)
                flight.done_bytes = ingest.offset
                _commit(ingest, *([stream] if stream else []))
                self._note_given(flight, reference, target)

        async with widening.going_on() if by_parts else nullcontext():
            await self.persist(flight, reference, fetch, target.digest, self.lanes.of(flight))

    def _ranges(
        self,
        flight: Flight[None],
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
        ingest: Ingest,
        mark: Callable[[Privacy], None],
    ) -> Ranges:
        def open_part(start: int, end: int, cancellation: Cancellation, avoid: str) -> RangeStream:
            stream = self.registry.open_range(
                reference, target, start, end, credentials, cancellation, avoid
            )
            try:
                mark(stream.private)
            except BaseException:
                stream.close()
                raise
            return stream

        return Ranges(flight, target.size, ingest, open_part, self.ranges)

    def _run(
        self, ranges: Ranges, widening: Widening, flight: Flight[None], ingest: Ingest
    ) -> bool:
        """Fetches by parts, and says whether that was possible: if not, what came in order stays,
        or the blob came as a whole."""
        flight.resumed_bytes = flight.done_bytes = sum(end - start for start, end in ingest.ranges)
        widening.ranges = ranges
        try:
            whole = ranges.run()
        finally:
            widening.ranges = None
        if ranges.refused:
            ingest.close_ranks()
            if whole is None:
                return False
            with whole:
                self._pour(flight, whole, ingest)
        flight.done_bytes = ingest.ranges[0][1] if ingest.ranges else 0
        _commit(ingest, *ranges.streams.values())
        return True

    def _pour(self, flight: Flight[None], stream: BlobStream, ingest: Ingest) -> None:
        flight.host = stream.host
        if stream.offset != ingest.offset:
            # The server ignored the range: from the start, never a mix of two bodies.
            ingest.restart()
            flight.resumed_bytes = 0
        flight.done_bytes = ingest.offset
        buffer = memoryview(bytearray(CHUNK))
        try:
            while length := stream.readinto(buffer[: flight.portion(CHUNK)]):
                ingest.write(buffer[:length])
                flight.done_bytes += length
                flight.moved_bytes += length
                flight.spend(length)
        except Error as error:
            if error.reason is Reason.SIZE_MISMATCH:
                ingest.abort()
            raise
        flight.cancellation.check()

    async def persist(
        self,
        flight: Flight[Any],
        reference: Reference,
        fetch: Callable[[], T],
        digest: Digest | None = None,
        lane: Lane | None = None,
    ) -> T:
        """Attempts until one succeeds, or it is no use; alone with what is stored as `digest`, and
        on a lane, by default that of small requests, among what else the registry is asked."""
        lane = lane or self.lanes.requests

        def judge(error: Error) -> None:
            if blame(error).origin is Origin.SOURCE:
                # The store that finds bytes wrong does not know whose they are.
                error.host = error.host or flight.host

        @asynccontextmanager
        async def turn() -> AsyncIterator[None]:
            alone = self._writers.take(digest) if digest else nullcontext()
            async with alone, lane.take(reference.domain):
                yield

        return await persist(flight, fetch, lane.executor, self.policy, judge, turn)

"""A registry in memory that a test can hold, break and count, and a daemon's inside around it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from imgd_server.content import ContentStore, LocalContentStore
from imgd_server.errors import Error, Reason
from imgd_server.metadata import MetadataStore, SqliteMetadataStore, TransferRecord
from imgd_server.oci import Descriptor, Digest, Reference
from imgd_server.registry import (
    BlobSize,
    BlobStream,
    Cancellation,
    Credentials,
    FetchedManifest,
    Privacy,
    RangeStream,
    RegistryPusher,
    Resolved,
)
from imgd_server.transfer import (
    Listing,
    Node,
    NodeState,
    Outcome,
    Progress,
    RegistryEndpoint,
    RetryPolicy,
    StoreEndpoint,
    TransferConfig,
    TransferManager,
    TransferSpec,
    TransferState,
    WatchEvent,
    WatchEventKind,
)
from tests.fake_images import FakeImage, digest_of, make_image

__all__ = [
    "HOST",
    "PATIENCE",
    "Call",
    "FakeRegistry",
    "Gate",
    "Lab",
    "Trick",
    "altered",
    "begun",
    "check_events",
    "layer_of",
    "layered",
    "open_lab",
    "outcome_of",
    "retrying",
    "settled",
    "size_of",
    "spec_for",
]

HOST = "registry.test"
# A net under whatever should happen by itself.
PATIENCE = 90.0


class Gate:
    """Stops whoever comes to it, until it is opened."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        """Lets everybody pass, now and later."""
        self._open.set()

    async def reached(self) -> None:
        """Waits until somebody stands before it."""
        assert await asyncio.to_thread(self._reached.wait, PATIENCE), "nobody came"

    def pass_through(self, cancellation: Cancellation) -> None:
        """Waits before it. Raises CANCELLED when that comes first."""
        leave = threading.Event()
        self._reached.set()
        forget = [cancellation.on_cancel(leave.set)]
        while not self._open.wait(0.005) and not leave.is_set():
            pass
        forget[0]()
        cancellation.check()


@dataclass(frozen=True)
class Trick:
    """How one answer differs from an honest one.

    `error` is raised instead of it; `gate` is waited for before byte `at` of a blob, or before an
    error or any other answer; the connection breaks at byte `cut`; the body is `body`.
    """

    error: Error | None = None
    gate: Gate | None = None
    at: int = 0
    cut: int | None = None
    body: bytes | None = None
    ignores_range: bool = False
    etag: str = ""
    host: str = HOST


@dataclass(frozen=True)
class Call:
    """A request that was made: `resolve`, `manifest` or `blob`."""

    kind: str
    reference: str
    digest: str
    offset: int
    scope: str


HONEST = Trick()


@dataclass
class _Stream:
    """A `BlobStream` of a body from `offset` on, as a trick wants it."""

    registry: FakeRegistry
    digest: str
    body: bytes
    offset: int
    trick: Trick
    cancellation: Cancellation
    host: str = HOST
    end: int = 0
    etag: str = ""
    private: Privacy = Privacy.NONE
    place: int = field(init=False)

    def __post_init__(self) -> None:
        self.place = self.offset

    def readinto(self, buffer: memoryview) -> int:
        self.registry.note("read")
        self.cancellation.check()
        end = min(len(self.body), self.place + min(len(buffer), self.registry.piece))
        trick = self.trick
        if trick.gate and self.place <= trick.at < max(end, self.place + 1):
            if self.place == trick.at:
                trick.gate.pass_through(self.cancellation)
            else:
                end = trick.at
        if trick.cut is not None and end > trick.cut:
            if self.place >= trick.cut:
                raise Error(Reason.REGISTRY_UNREACHABLE, f"lost {HOST}", host=HOST)
            end = trick.cut
        got = end - self.place
        buffer[:got] = self.body[self.place : end]
        self.place = end
        self.registry.count(self.digest, got)
        return got

    def distrust(self) -> None:
        pass

    def close(self) -> None:
        self.registry.stream(-1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class FakeRegistry:
    """A `RegistryClient` that reads memory. Repositories are by full name (`registry.test/app`)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.tags: dict[str, Descriptor] = {}
        self.manifests: dict[tuple[str, str], bytes] = {}
        self.blobs: dict[tuple[str, str], bytes] = {}
        self.calls: list[Call] = []
        self.steps = 0
        """How often anything was asked of it, reads of streams included."""
        self.fault: tuple[int, BaseException] | None = None
        """The step that raises, and what."""
        self.served: dict[str, int] = {}
        """Blob bytes that were handed out, by digest."""
        self.roomy = True
        """Whether it takes one request more."""
        self.piece = 1 << 20
        """So many bytes at most come at once."""
        self.open_streams = self.most_streams = 0
        """How many blobs are being read now, and were at the most."""
        self.readers: dict[str, set[Credentials]] = {}
        """Who may read a repository; everybody where it is not named."""
        self.sizes: dict[tuple[str, str], int] = {}
        """What a repository says of blobs that it has not."""
        self._tricks: dict[str, list[Trick]] = {}

    # --- for the test

    def push(self, image: FakeImage, *references: str) -> Descriptor:
        """Puts an image under references (each with a tag); returns its descriptor."""
        target = Descriptor(image.media_type, Digest(image.digest), len(image.raw))
        for reference in references:
            name = reference.rpartition(":")[0]
            self.tags[reference] = target
            for digest, (_, raw) in image.manifests.items():
                self.manifests[name, digest] = raw
            for digest, data in image.blobs.items():
                self.blobs[name, digest] = data
        return target

    def trick(self, subject: str, *tricks: Trick) -> None:
        """What the next answers about a digest, or the resolving of a reference, are to be like."""
        self._tricks.setdefault(subject, []).extend(tricks)

    def asked(self, kind: str, digest: str = "") -> list[Call]:
        """The calls of a kind, about a digest if given."""
        return [call for call in self.calls if call.kind == kind and digest in ("", call.digest)]

    def note(self, _what: str) -> None:
        """Counts a step, and fails at the one that is to fail."""
        with self._lock:
            self.steps += 1
            if self.fault and self.steps == self.fault[0]:
                raise self.fault[1]

    def count(self, digest: str, length: int) -> None:
        """Counts blob bytes."""
        with self._lock:
            self.served[digest] = self.served.get(digest, 0) + length

    def stream(self, change: int) -> None:
        """Counts open streams."""
        with self._lock:
            self.open_streams += change
            self.most_streams = max(self.most_streams, self.open_streams)

    # --- RegistryClient

    def resolve(
        self, reference: Reference, credentials: Credentials | None, cancellation: Cancellation
    ) -> Resolved:
        self._answer("resolve", reference, str(reference), 0, credentials, cancellation)
        if reference.digest:
            raw = self.manifests.get((reference.name, reference.digest))
            known = [one for one in self.tags.values() if one.digest == reference.digest]
            if raw is None or not known:
                raise _absent(reference)
            return Resolved(known[0], HOST, self._privacy(reference))
        if str(reference) not in self.tags:
            raise _absent(reference)
        return Resolved(self.tags[str(reference)], HOST, self._privacy(reference))

    def fetch_manifest(
        self,
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> FetchedManifest:
        trick = self._answer("manifest", reference, target.digest, 0, credentials, cancellation)
        if target.data is not None:
            return FetchedManifest(target, target.data, "")
        raw = self.manifests.get((reference.name, target.digest))
        if raw is None:
            raise _absent(reference)
        return FetchedManifest(target, raw if trick.body is None else trick.body, HOST)

    def open_blob(
        self,
        reference: Reference,
        target: Descriptor,
        offset: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> BlobStream:
        trick = self._answer("blob", reference, target.digest, offset, credentials, cancellation)
        body = self.blobs.get((reference.name, target.digest))
        for url in target.urls if body is None else ():
            body = body or self.blobs.get((url, target.digest))
        if body is None:
            raise _absent(reference)
        body = body if trick.body is None else trick.body
        self.stream(1)
        start = 0 if trick.ignores_range else offset
        return _Stream(self, target.digest, body, start, trick, cancellation)

    def has_room(self, reference: Reference) -> bool:
        return self.roomy

    def open_range(
        self,
        reference: Reference,
        target: Descriptor,
        start: int,
        end: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
        avoid: str = "",
    ) -> RangeStream:
        trick = self._answer("range", reference, target.digest, start, credentials, cancellation)
        body = self.blobs.get((reference.name, target.digest))
        if body is None:
            raise _absent(reference)
        body = body if trick.body is None else trick.body
        self.stream(1)
        if trick.ignores_range:
            start, end = 0, len(body)
        host = trick.host if trick.host != avoid else HOST
        return _Stream(
            self, target.digest, body[:end], start, trick, cancellation, host, end, trick.etag
        )

    def blob_size(
        self,
        reference: Reference,
        digest: Digest,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> BlobSize:
        self._answer("size", reference, digest, 0, credentials, cancellation)
        body = self.blobs.get((reference.name, digest))
        if (reference.name, digest) in self.sizes:
            return BlobSize(self.sizes[reference.name, digest])
        if body is None:
            raise _absent(reference)
        return BlobSize(len(body), self._privacy(reference))

    def close(self) -> None:
        """Does nothing."""

    def _privacy(self, reference: Reference) -> Privacy:
        return Privacy.ASKED if reference.name in self.readers else Privacy.NONE

    def _answer(
        self,
        kind: str,
        reference: Reference,
        subject: str,
        offset: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> Trick:
        scope = credentials.scope if credentials else ""
        with self._lock:
            self.calls.append(Call(kind, str(reference), subject, offset, scope))
            tricks = self._tricks.get(subject)
            trick = tricks.pop(0) if tricks else HONEST
        self.note(kind)
        cancellation.check()
        if trick.gate and (trick.error or kind not in ("blob", "range")):
            trick.gate.pass_through(cancellation)
        if trick.error:
            raise trick.error
        allowed = self.readers.get(reference.name)
        if allowed is not None and credentials not in allowed:
            raise Error(Reason.REGISTRY_UNAUTHORIZED, f"{HOST} says no", host=HOST, http_status=401)
        return trick


def _absent(reference: Reference) -> Error:
    return Error(Reason.REMOTE_NOT_FOUND, f"{HOST} has no {reference}", host=HOST, http_status=404)


def layered(*sizes: int, seed: int = 1, **more: Any) -> FakeImage:
    """An image whose layers have these many bytes, not compressed, unlike those of other seeds."""
    layers = [
        b"".join(
            (seed * 1_000_003 + position * 8191 + block).to_bytes(8, "big")
            for block in range(size // 8 + 1)
        )[:size]
        for position, size in enumerate(sizes)
    ]
    return make_image(
        layers,
        layer_type="application/vnd.oci.image.layer.v1.tar",
        **{"labels": {"seed": str(seed)}, **more},
    )


def layer_of(image: FakeImage, number: int = 0) -> tuple[str, bytes]:
    """The digest and bytes of one of its layers."""
    digest = str(image.document["layers"][number]["digest"])
    return digest, image.blobs[digest]


def size_of(image: FakeImage) -> int:
    """The bytes of all that it is made of."""
    return sum(map(len, image.blobs.values())) + sum(
        len(raw) for _, raw in image.manifests.values()
    )


def altered(image: FakeImage, old: bytes, new: bytes) -> FakeImage:
    """The image with other words in its manifest."""
    raw = image.raw.replace(old, new)
    assert raw != image.raw
    return replace(
        image, raw=raw, manifests={**image.manifests, digest_of(raw): (image.media_type, raw)}
    )


def begun(digest: str) -> Callable[[Progress], bool]:
    """Whether something goes on, or went on, at a node."""
    return lambda progress: digest in progress.nodes and bool(progress.nodes[digest].activities)


def retrying(digest: str) -> Callable[[Progress], bool]:
    """Whether a node waits for its next attempt."""
    return lambda progress: (
        digest in progress.nodes and progress.nodes[digest].state is NodeState.RETRYING
    )


def spec_for(
    reference: str = f"{HOST}/app:1",
    *,
    credentials: Credentials | None = None,
    platforms: Iterable[str] = (),
    all_platforms: bool = False,
    max_concurrency: int = 0,
    max_bytes_per_second: int = 0,
    **destination: Any,
) -> TransferSpec:
    """A pull."""
    return TransferSpec(
        RegistryEndpoint(reference, credentials),
        StoreEndpoint(**destination),
        platforms=tuple(platforms),
        all_platforms=all_platforms,
        max_concurrency=max_concurrency,
        max_bytes_per_second=max_bytes_per_second,
    )


@dataclass
class Lab:
    """What a daemon holds, without its wire."""

    root: Path
    content: ContentStore
    metadata: MetadataStore
    registry: FakeRegistry
    manager: TransferManager

    async def pull(self, reference: str = f"{HOST}/app:1", **more: Any) -> TransferRecord:
        """Pulls, and returns the record at the end."""
        record = await self.manager.start(spec_for(reference, **more))
        return await self.end(record.uid)

    async def end(self, uid: str) -> TransferRecord:
        """Waits for a transfer's end, and returns its record."""
        return (await self.watch(uid))[-1].view.record

    async def watch(self, uid: str, interval: float = 0.0) -> list[WatchEvent]:
        """All events of a watch. Fails unless they are as every watch's must be."""
        events = []
        async with asyncio.timeout(PATIENCE):
            async for event in self.manager.watch(uid, interval):
                events.append(event)
        check_events(events)
        return events

    async def outcome(self, reference: str = f"{HOST}/app:1", **more: Any) -> Outcome:
        """Pulls, and returns the outcome."""
        return outcome_of(await self.pull(reference, **more))

    async def until(self, uid: str, wanted: Callable[[Progress], bool]) -> None:
        """Waits until a transfer's progress is as wanted."""
        async with asyncio.timeout(PATIENCE):
            async for event in self.manager.watch(uid, 0.0):
                if wanted(event.view.progress):
                    return
        raise AssertionError("it ended before")

    async def names(self) -> dict[str, str]:
        """Every name in the store, and the digest that it points at."""
        images = await self.metadata.read(lambda session: session.list_images(None, 1000))
        return {name.name: one.target.digest for _, one in images for name in one.names}


def outcome_of(record: TransferRecord) -> Outcome:
    """A record's outcome."""
    assert record.outcome is not None
    return Outcome.from_json(record.outcome)


def check_events(events: list[WatchEvent]) -> None:
    """Fails unless a whole watch is as the contract wants it."""
    kinds = [event.kind for event in events]
    assert kinds[0] is WatchEventKind.SNAPSHOT
    assert kinds.count(WatchEventKind.SNAPSHOT) == 1
    assert kinds[-1] is WatchEventKind.FINISHED
    assert kinds.count(WatchEventKind.FINISHED) == 1
    numbers = [event.sequence for event in events if event.kind is not WatchEventKind.HEARTBEAT]
    assert numbers == sorted(set(numbers)), "sequence numbers rise strictly"
    assert numbers[0] > 0
    assert numbers[-1] < 2**53
    last = 0
    for event in events:
        if event.kind is WatchEventKind.HEARTBEAT:
            assert event.sequence == last, "a heartbeat repeats the last number"
        last = event.sequence
    assert TransferState[events[-1].view.record.state].ended


def settled(nodes: Iterable[Node]) -> bool:
    """Whether nothing goes on at any of them."""
    return all(
        activity.ended is not None for node in nodes for activity in node.activities
    ) and not any(node.state.name in ("ACTIVE", "RETRYING") for node in nodes)


@asynccontextmanager
async def open_lab(
    root: Path,
    registry: FakeRegistry | None = None,
    store: type[SqliteMetadataStore] = SqliteMetadataStore,
    wrap_content: Callable[[ContentStore], ContentStore] = lambda one: one,
    writing: tuple[RegistryPusher, Listing] | None = None,
    **config: Any,
) -> AsyncIterator[Lab]:
    """A manager over real stores in `root`; closed at the end as the daemon closes it."""
    metadata = await store.open(root / "metadata.db")
    content = wrap_content(LocalContentStore(root / "content"))
    registry = registry or FakeRegistry()
    settings = TransferConfig(
        **{
            # Fifty watchers at once must leave the threads some of the processor.
            "min_watch_interval": 0.02,
            "retry": RetryPolicy(first=0.001, ceiling=0.001),
            "max_threads": 8,
            **config,
        }
    )
    pusher, listing = writing or (None, None)
    manager = TransferManager(metadata, content, registry, settings, pusher=pusher, listing=listing)
    await manager.open()
    lab = Lab(root, content, metadata, registry, manager)
    try:
        yield lab
    finally:
        await lab.manager.close()
        await lab.metadata.close()
        assert registry.open_streams == 0, "a stream was left open"
        assert not lab.manager._engine.flights._leaving, "somebody was not waited for"

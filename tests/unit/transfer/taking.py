"""A registry in memory that takes pushes, and a daemon's inside that can write to it."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imgd_server.errors import Error, Reason
from imgd_server.images import describe
from imgd_server.metadata import ImageRecord, Name, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform, Reference, parse_manifest
from imgd_server.registry import (
    BlobSource,
    Cancellation,
    Credentials,
    NamePage,
    PushedBlob,
    PushedManifest,
    Upload,
)
from imgd_server.transfer import (
    Outcome,
    RegistryEndpoint,
    StoreEndpoint,
    TransferSpec,
    TransferState,
)
from tests.fake_images import FakeImage
from tests.unit.transfer.fakes import HOST, FakeRegistry, Lab, open_lab, outcome_of

__all__ = ["TO", "Taker", "Taking", "copy_spec", "open_taker", "push_spec"]

TO = f"{HOST}/team/app:1"
_AMD64 = Platform("linux", "amd64")
_PIECE = 1000


@dataclass
class Taker:
    """A `RegistryPusher` and `Listing` into the memory of a FakeRegistry."""

    registry: FakeRegistry
    order: list[str] = field(default_factory=list)
    """What was completed: digests of blobs, and names of manifests."""
    sent: int = 0
    """Bytes of blobs that came."""
    begun: int = 0
    """How many uploads were begun."""
    mounts: list[tuple[str, str]] = field(default_factory=list)
    """Every mount that was tried: from where, and what."""
    uploads: dict[str, bytearray] = field(default_factory=dict)
    before: Callable[[str, str, int, Cancellation], None] = lambda *_: None
    """Called before anything: what it is (`find`, `send`, `put`), about what, from where on."""
    scopes: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def find_blob(
        self,
        reference: Reference,
        target: Descriptor,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> str | None:
        self.before("find", target.digest, 0, cancellation)
        self.scopes.add(credentials.scope if credentials else "")
        return HOST if (reference.name, target.digest) in self.registry.blobs else None

    def push_blob(
        self,
        reference: Reference,
        target: Descriptor,
        source: BlobSource,
        upload: Upload,
        mounts: Sequence[str],
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> PushedBlob:
        if not upload.location:
            for path in mounts:
                self.mounts.append((path, target.digest))
                if data := self.registry.blobs.get((f"{reference.domain}/{path}", target.digest)):
                    self.registry.blobs[reference.name, target.digest] = data
                    return PushedBlob(HOST, mounted=True)
            with self._lock:
                self.begun += 1
                upload.location = f"upload-{self.begun}"
            self.uploads[upload.location] = bytearray()
        kept = self.uploads[upload.location]
        self._receive(kept, target, source, cancellation)
        if Digest.of(bytes(kept), target.digest.algorithm) != target.digest:
            upload.location = ""
            raise Error(Reason.DIGEST_MISMATCH, f"{HOST} has other bytes", digest=target.digest)
        self.registry.blobs[reference.name, target.digest] = bytes(kept)
        self.order.append(target.digest)
        return PushedBlob(HOST, mounted=False)

    def _receive(
        self,
        kept: bytearray,
        target: Descriptor,
        source: BlobSource,
        cancellation: Cancellation,
    ) -> None:
        descriptor = source.fileno()
        if descriptor is not None:
            with open(f"/proc/self/fd/{descriptor}", "rb") as file:
                while len(kept) < target.size:
                    self.before("send", target.digest, len(kept), cancellation)
                    file.seek(len(kept))
                    self._take(kept, source, file.read(_PIECE))
        elif target.size > len(kept):
            with source.open(len(kept)) as stream:
                buffer = memoryview(bytearray(_PIECE))
                while len(kept) < target.size:
                    self.before("send", target.digest, len(kept), cancellation)
                    got = stream.readinto(buffer)
                    assert got
                    self._take(kept, source, bytes(buffer[:got]))

    def _take(self, kept: bytearray, source: BlobSource, data: bytes) -> None:
        source.sent(len(kept), len(data))
        kept += data
        with self._lock:
            self.sent += len(data)

    def find_manifest(
        self, reference: Reference, credentials: Credentials | None, cancellation: Cancellation
    ) -> Digest | None:
        if reference.digest:
            known = (reference.name, reference.digest) in self.registry.manifests
            return reference.digest if known else None
        found = self.registry.tags.get(str(reference))
        return found.digest if found else None

    def push_manifest(
        self,
        reference: Reference,
        target: Descriptor,
        raw: bytes,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> PushedManifest:
        name = str(reference.digest or reference.tag)
        self.before("put", name, 0, cancellation)
        assert Digest.of(raw) == target.digest
        parsed = parse_manifest(raw, target.media_type)
        self.registry.manifests[reference.name, target.digest] = raw
        if reference.tag:
            self.registry.tags[str(reference)] = target
        self.order.append(name)
        return PushedManifest(HOST, knows_subject=parsed.subject is not None)

    # --- lists

    def tags(
        self,
        repository: Reference,
        after: str,
        limit: int,
        fits: Callable[[str], bool],
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> NamePage:
        """Pages of two."""
        prefix = f"{repository.name}:"
        names = sorted(one[len(prefix) :] for one in self.registry.tags if one.startswith(prefix))
        rest = [name for name in names if name > after]
        return NamePage(rest[:2], rest[1] if len(rest) > 2 else "")

    def referrers(
        self,
        reference: Reference,
        artifact_type: str,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> list[Descriptor]:
        found = []
        for (name, digest), raw in self.registry.manifests.items():
            parsed = parse_manifest(raw)
            subject = parsed.subject.digest if parsed.subject else None
            if (name, subject) == (reference.name, reference.digest):
                found.append(Descriptor(parsed.media_type, Digest(digest), len(raw)))
        return found


@dataclass
class Taking:
    """A lab whose registry takes pushes."""

    lab: Lab
    taker: Taker

    async def store(
        self, image: FakeImage, *names: str, without: Sequence[str] = ()
    ) -> ImageRecord:
        """Stores an image under names (tags, or by digest), without some digests."""
        blobs = {**image.blobs, **{digest: raw for digest, (_, raw) in image.manifests.items()}}
        for digest in blobs.keys() - set(without):
            with self.lab.content.ingest(digest, Digest(digest), len(blobs[digest])) as ingest:
                ingest.write(blobs[digest])
                ingest.commit()
        target = Descriptor(image.media_type, Digest(image.digest), len(image.raw))
        found = describe(self.lab.content, target, _AMD64)

        def show(session: WriteSession) -> ImageRecord:
            record = session.put_image(found.record, found.platforms, found.blobs)
            for name in names:
                parsed = Reference.parse(name)
                session.put_name(
                    Name(name, parsed.name, by_digest=parsed.digest is not None), record.uid
                )
            kept = session.image(record.uid)
            assert kept
            return kept

        return await self.lab.metadata.write(show)

    async def run(self, spec: TransferSpec) -> Outcome:
        """Runs a transfer to its end."""
        record = await self.lab.manager.start(spec)
        ended = await self.lab.end(record.uid)
        outcome = outcome_of(ended)
        assert (ended.state == TransferState.SUCCEEDED.name) == (outcome.failure is None)
        return outcome

    async def done(self, spec: TransferSpec) -> Outcome:
        """Runs a transfer that succeeds."""
        outcome = await self.run(spec)
        assert outcome.failure is None, outcome.failure.message
        return outcome

    async def fail(self, spec: TransferSpec) -> Error:
        """Runs a transfer that fails."""
        failure = (await self.run(spec)).failure
        assert failure is not None
        return failure

    def holds(self, image: FakeImage, *references: str) -> bool:
        """Whether the registry has all of an image under references."""
        registry = self.taker.registry
        for reference in references:
            name = Reference.parse(reference).name
            if registry.tags[reference].digest != image.digest:
                return False
            if any(registry.blobs.get((name, one)) != data for one, data in image.blobs.items()):
                return False
            for digest, (_, raw) in image.manifests.items():
                if registry.manifests.get((name, digest)) != raw:
                    return False
        return True


def push_spec(
    image: str = TO,
    reference: str = "",
    *,
    credentials: Credentials | None = None,
    all_tags: bool = False,
    include_referrers: bool = False,
    **more: Any,
) -> TransferSpec:
    """A push; `more` are of TransferSpec."""
    endpoint = RegistryEndpoint(reference or image, credentials, all_tags, include_referrers)
    return TransferSpec(StoreEndpoint(image=image), endpoint, **more)


def copy_spec(
    source: str,
    destination: str = TO,
    *,
    credentials: tuple[Credentials | None, Credentials | None] = (None, None),
    all_tags: bool = False,
    include_referrers: bool = False,
    **more: Any,
) -> TransferSpec:
    """A copy, of all platforms unless `more` says others."""
    more = more or {"all_platforms": True}
    read = RegistryEndpoint(source, credentials[0], all_tags, include_referrers)
    return TransferSpec(read, RegistryEndpoint(destination, credentials[1]), **more)


@asynccontextmanager
async def open_taker(
    root: Path, registry: FakeRegistry | None = None, **more: Any
) -> AsyncIterator[Taking]:
    """A lab with a registry that takes pushes."""
    registry = registry or FakeRegistry()
    taker = Taker(registry)
    async with open_lab(root, registry, writing=(taker, taker), **more) as lab:
        yield Taking(lab, taker)

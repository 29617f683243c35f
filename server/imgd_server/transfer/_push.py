"""A push or a copy: from a source to names in a registry.

Blobs go first, several at once: those that are there are left, those that another repository of
the registry has are mounted. Manifests go last, what an index lists before the index, and names
last of all, so that no name ever points at what is not whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import MAX_INDEX_DEPTH
from imgd_server.oci import (
    Descriptor,
    Index,
    Manifest,
    Platform,
    Reference,
    is_attestation,
    media,
)
from imgd_server.registry import Credentials
from imgd_server.transfer._flight import Flight, FlightTable
from imgd_server.transfer._progress import (
    ActivityKind,
    Node,
    NodeKind,
    NodeState,
    Progress,
    outline,
)
from imgd_server.transfer._send import Sender
from imgd_server.transfer._sources import Source, load
from imgd_server.transfer._walk import MAX_REFERRER_DEPTH, Walk

__all__ = ["Destination", "Push", "Pushed"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Destination:
    """A repository to write to. `mounts` gives the paths of the registry's other repositories that
    may have some blobs, by digest."""

    credentials: Credentials | None
    sender: Sender
    mounts: Callable[[Sequence[Descriptor]], Awaitable[Mapping[str, Sequence[str]]]]


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a push wrote: targets by the name that they have now."""

    targets: Mapping[str, Descriptor]
    fetched_bytes: int
    uploaded_bytes: int
    reused_bytes: int
    warnings: tuple[str, ...]


@dataclass(slots=True)
class Push:
    """One caller's push or copy of `names`: pairs of what is read and where it goes, all in one
    repository each. `reused` are bytes that were there already, or mounted."""

    uid: str
    names: Sequence[tuple[Reference, Reference]]
    source: Source
    destination: Destination
    platforms: tuple[Platform, ...]
    explicit: bool
    all_platforms: bool
    include_referrers: bool
    concurrency: int
    flights: FlightTable
    progress: Progress
    target: Descriptor | None = None
    uploaded: int = 0
    reused: int = 0
    _walk: Walk = field(init=False)
    _slots: asyncio.Semaphore = field(init=False)
    # What each referrer refers to, by the referrer's digest.
    _subjects: dict[str, Descriptor] = field(default_factory=dict)
    # Referrers that the registry lists by itself.
    _listed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.concurrency)
        # What is not wanted is left out before the walk: what is named must be whole.
        self._walk = Walk(
            self.names[0][0], self.platforms, self.explicit, True, self.progress, self
        )

    @property
    def fetched(self) -> int:
        """Bytes that came over the network. Of a copy, what goes out came in before."""
        return self.source.fetched + self.uploaded if self.source.fetched else 0

    @property
    def _repository(self) -> Reference:
        return self.names[0][1]

    async def run(self) -> Pushed:
        """Pushes. Raises Error, with its origin set, or a group of them."""
        roots: list[tuple[Node, Descriptor, Reference]] = []
        for read, written in self.names:
            node = self.progress.add(
                Node(str(written), NodeKind.MANIFEST, None, label=written.familiar())
            )
            try:
                target = await self._find(node, read)
            except Error as error:
                raise self._refuse(node, error) from error
            if written.digest and written.digest != target.digest:
                raise self._refuse(node, _another(written, target))
            await self._walk.plan(node, target, self.platforms)
            roots.append((node, target, written))
        if self.include_referrers:
            await self._find_referrers([(node, target) for node, target, _ in roots])
        self.progress.planned = True
        self.progress.touch()
        await self._send_blobs()
        await self._send_manifests()
        for node, target, written in roots:
            await self._put(node, target, written)
        return Pushed(
            {str(written): target for _, target, written in roots},
            self.fetched,
            self.uploaded,
            self.reused,
            tuple(self._walk.warnings),
        )

    # --- what to move

    async def _find(self, node: Node, reference: Reference) -> Descriptor:
        """What is to be named: the reference's target, or one platform's manifest below it."""
        target = await self.source.find(node, reference)
        wanted = self.platforms
        for depth in range(MAX_INDEX_DEPTH + 1):
            self.target = target
            node.target = outline(target)
            node.kind = NodeKind.INDEX if media.is_index(target.media_type) else NodeKind.MANIFEST
            self.progress.touch(node)
            parsed = await load(self.source, node, target)
            if isinstance(parsed, Manifest):
                if self.explicit:
                    await self._walk.check_platform(node, parsed)
                return target
            if self.all_platforms:
                return target
            chosen = await self._walk.choose(node, parsed, depth, wanted)
            if len(chosen) > 1:
                return self._whole(target, parsed, chosen)
            ((target, wanted),) = chosen.values()
        raise Error(
            Reason.INDEX_TOO_DEEP,
            f"{reference.familiar()} nests indexes deeper than {MAX_INDEX_DEPTH}",
            origin=Origin.SOURCE,
        )

    def _whole(self, target: Descriptor, index: Index, chosen: Mapping[str, object]) -> Descriptor:
        """The index, where all of it is wanted: for a part of one there is no name."""
        if all(one.digest in chosen or is_attestation(one) for one in index.manifests):
            return target
        raise Error(
            Reason.UNSUPPORTED,
            "a name can point at one platform's manifest or at the whole index: choose one "
            "platform, or all",
            origin=Origin.SOURCE,
        )

    async def _find_referrers(self, subjects: Sequence[tuple[Node, Descriptor]]) -> None:
        """Adds what refers to the roots and to what is below them, and what refers to that."""
        seen: set[str] = set()
        waiting = [*subjects, *self._walk.below.values()]
        for depth in range(1, MAX_REFERRER_DEPTH + 1):
            found: list[tuple[Node, Descriptor]] = []
            for node, subject in waiting:
                if subject.digest in seen:
                    continue
                seen.add(subject.digest)
                try:
                    referrers = await self.source.referrers(node, subject)
                except Error as error:
                    raise self._refuse(node, error) from error
                for referrer in referrers:
                    child = self._walk.child_node(node, referrer)
                    await self._walk.plan(child, referrer, self.platforms, depth)
                    self._subjects[referrer.digest] = subject
                    found.append((child, referrer))
            waiting = found

    # --- the walk's ground

    async def load(self, node: Node, target: Descriptor) -> Manifest | Index:
        """See Ground."""
        await self.source.hold([target])
        try:
            return await load(self.source, node, target)
        except Error as error:
            raise self._refuse(node, error) from error

    async def load_config(self, node: Node, target: Descriptor) -> bytes:
        """See Ground."""
        try:
            return await self.source.read(node, target)
        except Error as error:
            raise self._refuse(node, error) from error

    async def hold(self, targets: Sequence[Descriptor]) -> None:
        """See Ground."""
        await self.source.hold(targets)

    def found(self, target: Descriptor, manifest: Manifest) -> None:
        """See Ground."""

    def _refuse(self, node: Node, error: Error) -> Error:
        """Marks a node as failed, and returns the error to raise, of this caller alone."""
        own = Error.from_json(error.to_json())
        if own.origin is Origin.UNSPECIFIED:
            own.origin = Origin.SOURCE
        side = 0 if own.origin is Origin.SOURCE else 1
        own.reference = str(self.names[0][side])
        self.progress.fail(node, own)
        return own

    # --- sending

    async def _send_blobs(self) -> None:
        blobs = [
            (node, target)
            for node, target in self._walk.blobs.values()
            if not self._is_foreign(node, target)
        ]
        mounts = await self.destination.mounts([target for _, target in blobs])
        async with asyncio.TaskGroup() as group:
            for node, target in blobs:
                group.create_task(self._send_blob(node, target, mounts.get(target.digest, ())))

    def _is_foreign(self, node: Node, target: Descriptor) -> bool:
        """Whether a layer is fetched from its own URLs, and so not pushed (OCI image 1.1)."""
        if not (media.is_foreign_layer(target.media_type) and target.urls):
            return False
        self.progress.end(node, NodeState.EXISTS)
        self._walk.warnings.append(
            f"the layer {target.digest} was not pushed: it is fetched from its own URLs"
        )
        return True

    async def _send_blob(self, node: Node, target: Descriptor, mounts: Sequence[str]) -> None:
        destination = self.destination

        async def work(flight: Flight[NodeState]) -> NodeState:
            opening = self.source.open(flight, target)
            return await destination.sender.blob(
                flight, self._repository, target, opening, mounts, destination.credentials
            )

        key = ("push", *self._scope, self.source.key, target.digest, target.size)
        async with self._slots:
            await self._share(node, target, key, work, lambda state: state)

    async def _send_manifests(self) -> None:
        """All manifests below names: single ones first, then indexes, which list them."""
        below = [*self._walk.below.values()]
        singles = [one for one in below if one[0].kind is not NodeKind.INDEX]
        async with asyncio.TaskGroup() as group:
            for node, target in singles:
                group.create_task(self._send_manifest(node, target))
        for node, target in below:
            if node.kind is NodeKind.INDEX:
                await self._send_manifest(node, target)
        # One after the other, for those of one subject share a list.
        for digest, subject in self._subjects.items():
            if digest not in self._listed:
                await self._list(*self._walk.below[digest], subject)

    async def _send_manifest(self, node: Node, target: Descriptor) -> None:
        async with self._slots:
            await self._put(node, target, self._named(target))

    def _named(self, target: Descriptor) -> Reference:
        return replace(self._repository, tag=None, digest=target.digest)

    async def _put(self, node: Node, target: Descriptor, reference: Reference) -> None:
        destination = self.destination
        raw = await self.source.read(node, target)

        async def work(flight: Flight[tuple[NodeState, bool]]) -> tuple[NodeState, bool]:
            return await destination.sender.manifest(
                flight, reference, target, raw, destination.credentials
            )

        key = ("put", *self._scope, str(reference), target.digest)
        _, knows_subject = await self._share(node, target, key, work, lambda found: found[0])
        if knows_subject:
            self._listed.add(target.digest)

    async def _list(self, node: Node, target: Descriptor, subject: Descriptor) -> None:
        """Lists a referrer at its subject, where the registry does not do so by itself."""
        destination = self.destination
        raw = await self.source.read(node, target)

        async def work(flight: Flight[None]) -> None:
            await destination.sender.list_referrer(
                flight, self._named(subject), target, raw, destination.credentials
            )

        key = ("list", *self._scope, subject.digest, target.digest)
        async with self.flights.join(key, self.uid, work) as flight:
            try:
                await flight.result()
            except Error as error:
                raise self._refuse(node, error) from error

    async def _share(
        self,
        node: Node,
        target: Descriptor,
        key: tuple[object, ...],
        work: Callable[[Flight[T]], Awaitable[T]],
        state_of: Callable[[T], NodeState],
    ) -> T:
        """Does one piece of work, alone or with others who want it, and shows it."""
        claimed = 0
        async with self.flights.join(key, self.uid, work) as flight:
            activity = self.progress.begin(node, ActivityKind.UPLOAD, flight, target.size)
            try:
                result = await flight.result()
            except Error as error:
                error.digest = error.digest or target.digest
                raise self._refuse(node, error) from error
            finally:
                claimed = flight.claim(self.uid)
                self.uploaded += claimed
        self.progress.end(node, state_of(result), flight.host, only=activity)
        self.reused += max(target.size - claimed, 0)
        return result

    @property
    def _scope(self) -> tuple[str, str]:
        credentials = self.destination.credentials
        return self._repository.name, credentials.scope if credentials else ""


def _another(written: Reference, target: Descriptor) -> Error:
    return Error(
        Reason.REFERENCE_INVALID,
        f"{written.familiar()} names another digest than what is to go there, which is "
        f"{target.digest}",
        origin=Origin.DESTINATION,
        digest=target.digest,
    )

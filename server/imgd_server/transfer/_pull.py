"""A pull, from a reference to a description of what is now stored.

Nothing here changes images and names: the manager does that at the end, in one transaction, so that
a pull that fails or dies shows nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import Description, Unpacked, describe_held, read_manifest
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    Descriptor,
    Digest,
    Index,
    Manifest,
    Platform,
    Reference,
    is_attestation,
    media,
)
from imgd_server.registry import Credentials, Resolved
from imgd_server.transfer._fetch import Fetcher, blame, is_here
from imgd_server.transfer._flight import Flight, FlightTable, Slots, Turns
from imgd_server.transfer._progress import (
    ActivityKind,
    Node,
    NodeKind,
    NodeState,
    Progress,
    outline,
)
from imgd_server.transfer._proofs import Gate, Proven, fetch_proof
from imgd_server.transfer._room import Room
from imgd_server.transfer._send import as_referrer
from imgd_server.transfer._sources import Listing
from imgd_server.transfer._unpack import Unpacking
from imgd_server.transfer._walk import MAX_REFERRER_DEPTH, Walk

__all__ = ["Pull", "Pulled"]

# Signatures and attestations of one image; each is a request, and a node that people watch.
_MAX_REFERRERS = 1000

_Fetch = Callable[[Flight[None], Reference, Descriptor, Credentials | None], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a pull stored: its target, its description, how its bytes came, and what that proves."""

    target: Descriptor
    description: Description
    proven: Proven
    fetched_bytes: int
    reused_bytes: int
    warnings: tuple[str, ...]
    unpacked: tuple[Unpacked, ...] = ()
    referrers: tuple[Referrer, ...] = ()


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest that refers to another one of the pull, as lists of referrers show it, and all
    that it is made of, itself included."""

    target: Descriptor
    subject: Digest
    blobs: tuple[Digest, ...]


@dataclass(frozen=True, slots=True)
class Referring:
    """A referrer that is planned."""

    walk: Walk
    target: Descriptor
    subject: Descriptor

    @property
    def found(self) -> Referrer:
        """What it is, once its blobs are here."""
        parts = [one for _, one in (*self.walk.below.values(), *self.walk.blobs.values())]
        blobs = (self.target.digest, *(one.digest for one in parts))
        return Referrer(self.target, self.subject.digest, blobs)


@dataclass(slots=True)
class Pull:
    """One caller's pull. `protect` must hold the digests that it is given before it returns.
    `listing` lists what refers to the image, where that is wanted too; `last` says that no other
    pull of the transfer comes behind it.

    `target`, `fetched` and `reused` (bytes) tell how far it came, also when it fails.
    """

    uid: str
    reference: Reference
    platforms: tuple[Platform, ...]
    explicit: bool
    all_platforms: bool
    credentials: Credentials | None
    concurrency: int
    fetcher: Fetcher
    flights: FlightTable
    progress: Progress
    room: Room
    gate: Gate
    protect: Callable[[Sequence[Descriptor]], Awaitable[None]]
    unpacking: Unpacking | None = None
    listing: Listing | None = None
    last: bool = True
    target: Descriptor | None = None
    fetched: int = 0
    reused: int = 0
    uploaded: int = 0
    _held: set[str] = field(default_factory=set)
    _here: set[str] = field(default_factory=set)
    _asked: dict[str, Descriptor] = field(default_factory=dict)
    _referring: bool = False
    _turns: Turns = field(default_factory=Turns)
    _proving: asyncio.Lock = field(default_factory=asyncio.Lock)
    _slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        self._slots = Slots(self.concurrency)

    @property
    def _content(self) -> ContentStore:
        return self.fetcher.content

    @property
    def _scope(self) -> tuple[str, str]:
        """What shared work is keyed by, beside the digest."""
        scope = self.credentials.scope if self.credentials else ""
        return self.reference.name, scope

    async def run(self) -> Pulled:
        """Pulls. Raises Error, with its origin set, or a group of them."""
        root = self.progress.add(
            Node(str(self.reference), NodeKind.MANIFEST, None, label=self.reference.familiar())
        )
        target = await self._find(root)
        walk = Walk(
            self.reference, self.platforms, self.explicit, self.all_platforms, self.progress, self
        )
        parsed = await walk.plan(root, target, self.platforms)
        single = parsed if isinstance(parsed, Manifest) else None
        if single and self.explicit:
            await walk.check_platform(root, single)
        referrers = await self._find_referrers(walk, root, target) if self.listing else []
        blobs = {**walk.blobs}
        for one in referrers:
            blobs |= one.walk.blobs
        self.progress.planned = self.last
        self.progress.touch()
        await self._fetch_blobs([*blobs.values()])
        if single and not self.explicit and not self.all_platforms:
            await walk.check_platform(root, single)
        description = await describe_held(
            self._content, target, Platform.host(), self._held, self._hold_open
        )
        await asyncio.to_thread(self._check_stored, description)
        return Pulled(
            target,
            description,
            self.gate.proven([*self._asked.values()]),
            self.fetched,
            self.reused,
            tuple(walk.warnings),
            tuple(self.unpacking.unpacked) if self.unpacking else (),
            tuple(one.found for one in referrers),
        )

    # --- the target

    async def _find(self, root: Node) -> Descriptor:
        """The target, with its manifest stored.

        Between the two requests a tag may move, and the registry may collect what it pointed at:
        then the name is asked once more.
        """
        while True:
            before, target = self.target, await self._resolve(root)
            try:
                await self._get(
                    root, target, self.fetcher.manifest, forgiven=Reason.REMOTE_NOT_FOUND
                )
                return target
            except Error as error:
                if error.reason is not Reason.REMOTE_NOT_FOUND:
                    raise
                self._asked.pop(target.digest, None)
                if self.reference.digest:
                    raise self._refuse(root, error) from None
                if before:
                    raise self._refuse(root, self._changed(target, error)) from error

    def _changed(self, target: Descriptor, error: Error) -> Error:
        return Error(
            Reason.REMOTE_CHANGED,
            f"{error.host} says that {self.reference.familiar()} is {target.digest}, and has no "
            "such manifest: the tag is being moved; pull it again",
            digest=target.digest,
            host=error.host,
            http_status=error.http_status,
            registry_code=error.registry_code,
        )

    async def _resolve(self, root: Node) -> Descriptor:
        key = ("resolve", *self._scope, self.reference.tag, self.reference.digest)

        async def work(flight: Flight[Resolved]) -> Resolved:
            resolved = await self.fetcher.resolve(flight, self.reference, self.credentials)
            flight.host = resolved.host
            return resolved

        async with self.flights.join(key, self.uid, work) as flight:
            self.progress.begin(root, ActivityKind.RESOLVE, flight)
            try:
                resolved = await flight.result()
            except Error as error:
                raise self._refuse(root, self._own(error)) from error
        self.target = target = resolved.target
        self.gate.private = self.gate.told = resolved.private
        root.target = outline(target)
        root.kind = NodeKind.INDEX if media.is_index(target.media_type) else NodeKind.MANIFEST
        self.progress.end(root, NodeState.WAITING, flight.host)
        return target

    # --- the walk's ground

    async def load(self, node: Node, target: Descriptor) -> Manifest | Index:
        """See Ground."""
        await self._get(node, target, self.fetcher.manifest)
        return await self._parse(node, target)

    async def load_config(self, node: Node, target: Descriptor) -> bytes:
        """See Ground."""
        await self._get(node, target, self.fetcher.blob)
        return await asyncio.to_thread(self._content.read, target.digest, MAX_CONFIG_BYTES)

    async def hold(self, targets: Sequence[Descriptor]) -> None:
        """See Ground."""
        fresh = [target for target in targets if target.digest not in self._held]
        if fresh:
            await self.protect(fresh)
            self._held.update(target.digest for target in fresh)
            if self.gate.private:
                await self.gate.mark(await asyncio.to_thread(self._absent, fresh))

    async def _hold_open(self, targets: Sequence[Descriptor]) -> None:
        """Holds what is here, and was not asked for, as far as this pull may have it."""
        await self.protect(targets)
        closed = await self.gate.closed(targets)
        self._held.update(one.digest for one in targets if one.digest not in closed)

    def _absent(self, targets: Sequence[Descriptor]) -> list[Descriptor]:
        return [one for one in targets if self._content.find(one.digest) is None]

    def found(self, target: Descriptor, manifest: Manifest) -> None:
        """See Ground."""
        if self.unpacking and not is_attestation(target) and not self._referring:
            self.unpacking.plan(target.digest, manifest)

    async def _parse(self, node: Node, target: Descriptor) -> Manifest | Index:
        try:
            return await asyncio.to_thread(read_manifest, self._content, target)
        except Error as error:
            raise self._refuse(node, error) from error

    def _refuse(self, node: Node, error: Error) -> Error:
        """Marks a node as failed, and returns the error to raise."""
        blame(error)
        error.reference = error.reference or str(self.reference)
        self.progress.fail(node, error)
        return error

    def _own(self, error: Error) -> Error:
        """An error of shared work for this caller, whose reference may be another."""
        own = Error.from_json(error.to_json())
        own.reference = str(self.reference)
        return own

    # --- what refers to it

    async def _find_referrers(self, walk: Walk, root: Node, target: Descriptor) -> list[Referring]:
        """Plans what refers to the target and to what was chosen below it, and what refers to
        that, as a push does."""
        self._referring = True
        found: dict[str, Referring] = {}
        seen: set[str] = set()
        waiting = [(root, target), *walk.below.values()]
        for _ in range(MAX_REFERRER_DEPTH):
            subjects, waiting = waiting, []
            for node, subject in subjects:
                if subject.digest in seen:
                    continue
                seen.add(subject.digest)
                for listed in await self._list_referrers(node, subject):
                    if listed.digest in found or listed.digest in self._asked:
                        continue
                    if len(found) == _MAX_REFERRERS:
                        raise self._refuse(root, _too_many(self.reference))
                    child = walk.child_node(node, listed)
                    parsed = await self.load(child, listed)
                    if parsed.subject is None or parsed.subject.digest != subject.digest:
                        walk.warnings.append(
                            f"{listed.digest} is listed as referring to {subject.digest}, and "
                            "does not"
                        )
                        continue
                    below = Walk(self.reference, self.platforms, False, True, self.progress, self)
                    await below.plan(child, listed, self.platforms)
                    found[listed.digest] = Referring(below, as_referrer(listed, parsed), subject)
                    waiting.append((child, listed))
        return [*found.values()]

    async def _list_referrers(self, node: Node, subject: Descriptor) -> list[Descriptor]:
        listing = self.listing
        assert listing
        where = Reference.parse(f"{self.reference.name}@{subject.digest}")

        async def work(flight: Flight[list[Descriptor]]) -> list[Descriptor]:
            return await self.fetcher.persist(
                flight,
                where,
                lambda: listing.referrers(where, "", self.credentials, flight.cancellation),
            )

        key = ("referrers", *self._scope, subject.digest)
        async with self.flights.join(key, self.uid, work) as flight:
            try:
                return await flight.result()
            except Error as error:
                raise self._refuse(node, self._own(error)) from error

    # --- fetching

    async def _fetch_blobs(self, blobs: Sequence[tuple[Node, Descriptor]]) -> None:
        wanted = [child for node, child in blobs if not node.state.final]
        # Asked for at once; of each it is asked again when it is to be used, unless it is open.
        absent = {one.digest for one in await asyncio.to_thread(self._absent, wanted)}
        await self.gate.closed([one for one in wanted if one.digest not in absent])
        try:
            async with self.room.claim(wanted), asyncio.TaskGroup() as group:
                if self.unpacking:
                    group.create_task(self.unpacking.run())
                for node, child in blobs:
                    group.create_task(self._get(node, child, self.fetcher.blob))
        except Error as error:
            error.reference = error.reference or str(self.reference)
            raise

    async def _get(
        self, node: Node, target: Descriptor, fetch: _Fetch, *, forgiven: Reason | None = None
    ) -> None:
        """Brings one descriptor's content here, alone or with others who want it.

        A failure is the node's as well, unless it has the reason `forgiven`.
        """
        await self.hold([target])
        self._asked[target.digest] = target
        # Several manifests of one image may refer to it.
        async with self._slots, self._turns.take(node.node_id):
            if node.failure:
                raise node.failure
            if node.node_id in self._here or node.state.final:
                return
            if not await self._exists(node, target):
                await self.gate.mark([target])
                await self._share(node, target, fetch, forgiven)

    async def _share(
        self, node: Node, target: Descriptor, fetch: _Fetch, forgiven: Reason | None
    ) -> None:
        async def work(flight: Flight[None]) -> None:
            flight.spare = self._slots
            await fetch(flight, self.reference, target, self.credentials)

        # Whoever says something else of a digest is not to harm those who are right.
        key = (fetch.__name__, *self._scope, target.digest, target.size, target.urls)
        claimed = 0
        async with self.flights.join(key, self.uid, work) as flight:
            activity = self.progress.begin(node, ActivityKind.DOWNLOAD, flight, target.size)
            try:
                await flight.result()
            except Error as error:
                raise self._failed(node, target, error, forgiven) from error
            finally:
                claimed = flight.claim(self.uid)
                self.fetched += claimed
        self.gate.private = max(self.gate.private, flight.private)
        if not flight.stored or flight.resumed_bytes:
            # Another pull brought it, or a part of it.
            claimed += await self._prove(node, target)
        self.progress.end(node, NodeState.DONE, flight.host, only=activity)
        self._arrived(node, target, NodeState.DONE)
        self.reused += max(target.size - claimed, 0)

    def _failed(
        self, node: Node, target: Descriptor, error: Error, forgiven: Reason | None = None
    ) -> Error:
        """What shared work failed with, as this caller's error and its node's."""
        own = self._own(error)
        own.digest = own.digest or target.digest
        if own.reason is forgiven:
            self.progress.end(node, NodeState.WAITING)
            return own
        if own.reason is Reason.REMOTE_NOT_FOUND and node.parent_id:
            own.message = self._incomplete(node, own)
        return self._refuse(node, own)

    async def _prove(self, node: Node, target: Descriptor) -> int:
        """Makes sure that this pull may use content which is here, and which it did not fetch.
        Returns how many bytes that took."""
        closed = await self.gate.closed([target])
        if self.reference.name not in closed.get(target.digest, ()):
            return await self._prove_by(node, target, closed)
        # What its own repository gave: the first proof may do for the others, which wait for it.
        async with self._proving:
            return await self._prove_by(node, target, await self.gate.closed([target]))

    async def _prove_by(self, node: Node, target: Descriptor, closed: dict[str, list[str]]) -> int:
        if target.digest not in closed:
            return 0

        async def work(flight: Flight[None]) -> None:
            givers = [*closed[target.digest], *self.fetcher.givers(target.digest)]
            await fetch_proof(
                flight, self.fetcher, self.reference, target, self.credentials, givers
            )

        key = ("prove", *self._scope, target.digest, target.size, target.urls)
        claimed = 0
        async with self.flights.join(key, self.uid, work) as flight:
            activity = self.progress.begin(node, ActivityKind.DOWNLOAD, flight, target.size)
            try:
                await flight.result()
            except Error as error:
                raise self._failed(node, target, error) from error
            finally:
                claimed = flight.claim(self.uid)
                self.fetched += claimed
        self.progress.end(node, NodeState.WAITING, flight.host, only=activity)
        self.gate.open(target, flight.private)
        return claimed

    def _incomplete(self, node: Node, error: Error) -> str:
        """Says of what a registry has not that it is only a part of what was asked for."""
        manifest = node.kind in (NodeKind.MANIFEST, NodeKind.INDEX)
        label = f" ({node.label})" if manifest and node.label else ""
        whole, help_ = ("index", ", or pull another platform") if manifest else ("image", "")
        return (
            f"{error.host} has {self.reference.familiar()}, but not {error.digest}{label}, a part "
            f"of it: the {whole} is incomplete at the registry; push it again{help_}"
        )

    async def _exists(self, node: Node, target: Descriptor) -> bool:
        try:
            here = await asyncio.to_thread(is_here, self._content, target)
        except Error as error:
            raise self._refuse(node, error) from None
        if here:
            claimed = await self._prove(node, target)
            self.reused += max(target.size - claimed, 0)
            state = NodeState.DONE if claimed else NodeState.EXISTS
            self.progress.end(node, state)
            self._arrived(node, target, state)
        return here

    def _arrived(self, node: Node, target: Descriptor, state: NodeState) -> None:
        """A blob is here; its node may have more to do."""
        self._here.add(node.node_id)
        if self.unpacking:
            self.unpacking.arrived(target, state)

    def _check_stored(self, description: Description) -> None:
        """The last look before a name may point here."""
        stored = {blob.digest for blob in description.blobs if blob.stored}
        for digest, target in self._asked.items():
            # What refers to the image is no part of it.
            if digest not in stored and self._content.find(target.digest) is None:
                raise Error(
                    Reason.STORE_CORRUPT,
                    f"{digest} was taken away while its image was pulled; pull it again",
                    origin=Origin.DESTINATION,
                    digest=digest,
                )


def _too_many(reference: Reference) -> Error:
    return Error(
        Reason.UNSUPPORTED,
        f"more than {_MAX_REFERRERS} manifests refer to {reference.familiar()}",
    )

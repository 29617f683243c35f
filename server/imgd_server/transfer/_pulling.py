"""A pull as a run: whether it is needed at all, what it holds, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from imgd_server.errors import Error
from imgd_server.images import Unpacked
from imgd_server.metadata import ImageRecord, ReadSession
from imgd_server.oci import Descriptor, Digest, Platform, Reference
from imgd_server.transfer import _commit
from imgd_server.transfer._engine import Engine
from imgd_server.transfer._flight import Flight
from imgd_server.transfer._outcome import Outcome
from imgd_server.transfer._progress import ActivityKind, Node, NodeKind, NodeState
from imgd_server.transfer._proofs import Gate
from imgd_server.transfer._pull import Pull
from imgd_server.transfer._run import Commit, Run
from imgd_server.transfer._sources import MAX_TAGS, RegistrySource
from imgd_server.transfer._spec import PullPolicy, RegistryEndpoint, StoreEndpoint
from imgd_server.transfer._unpack import Unpacking, stored_manifests, unpack_stored

__all__ = ["pull"]


async def pull(engine: Engine, run: Run) -> Commit:
    """Does the work of a pull; what it returns shows what is stored then."""
    return await _Pulling(engine, run).work()


def _root(reference: Reference) -> Node:
    return Node(str(reference), NodeKind.MANIFEST, None, label=reference.familiar())


@dataclass(slots=True)
class _Several:
    """How far several pulls came; a `Moving`."""

    pulls: list[Pull] = field(default_factory=list)

    @property
    def target(self) -> Descriptor | None:
        return self.pulls[-1].target if self.pulls else None

    @property
    def fetched(self) -> int:
        return sum(one.fetched for one in self.pulls)

    @property
    def reused(self) -> int:
        return sum(one.reused for one in self.pulls)

    @property
    def uploaded(self) -> int:
        return 0


@dataclass(frozen=True, slots=True)
class _Pulling:
    engine: Engine
    run: Run

    @property
    def _source(self) -> RegistryEndpoint:
        assert isinstance(self.run.spec.source, RegistryEndpoint)
        return self.run.spec.source

    @property
    def _destination(self) -> StoreEndpoint:
        assert isinstance(self.run.spec.destination, StoreEndpoint)
        return self.run.spec.destination

    @property
    def _wanted(self) -> tuple[Platform, ...]:
        return tuple(map(Platform.parse, self.run.spec.platforms)) or (Platform.host(),)

    async def work(self) -> Commit:
        reference = Reference.parse(self._source.reference)
        if self._source.all_tags:
            return await self._all_tags(reference)
        return partial(_commit.end_pull, show=await self._one(reference, self._destination))

    async def _all_tags(self, repository: Reference) -> Commit:
        """Pulls tag by tag, each of which moves when its image is whole. The first one that fails
        ends it, as in `docker pull --all-tags`; those before it stay."""
        run, destination = self.run, self._destination
        assert self.engine.sender  # `check` has seen to that
        tags = await RegistrySource(
            run.record.uid,
            repository.name,
            self._source.credentials,
            self.engine.fetcher,
            self.engine.sender.listing,
            self.engine.flights,
            run.progress,
        ).tags(MAX_TAGS)
        names = [repository.with_tag(tag) for tag in tags]
        for name in names:
            run.progress.add(_root(name))
        run.moving = moving = _Several()
        before: Outcome | None = None
        for name in names[:-1]:
            show = await self._one(name, destination, moving)
            before = _commit.joined(before, await self.engine.metadata.write(show))
            run.given.append(str(name))
            if destination.lease and before.lease:
                # A generated one holds them all.
                lease = replace(destination.lease, lease_id=before.lease)
                destination = replace(destination, lease=lease)
        show = await self._one(names[-1], destination, moving, last=True)
        return partial(_commit.end_pull, show=show, before=before)

    async def _one(
        self,
        reference: Reference,
        destination: StoreEndpoint,
        several: _Several | None = None,
        *,
        last: bool = False,
    ) -> _commit.Show:
        """Does the work for one reference, of several if so."""
        engine, run = self.engine, self.run
        unpacking = self._unpacking() if destination.unpack else None
        if destination.policy is not PullPolicy.ALWAYS:
            present = partial(
                _commit.present_image,
                reference=reference,
                wanted=self._wanted,
                explicit=bool(run.spec.platforms),
                all_platforms=run.spec.all_platforms,
            )
            image, parts = await engine.metadata.read(partial(self._here, present=present))
            if image and await self._admitted(image, parts, reference):

                def admitted(session: ReadSession, uid: str = image.uid) -> ImageRecord | None:
                    found = present(session)
                    return found if found and found.uid == uid else None

                return partial(
                    _commit.show_present,
                    present=admitted,
                    reference=reference,
                    destination=destination,
                    unpacked=await self._unpack(parts, unpacking) if unpacking else (),
                )
            if destination.policy is PullPolicy.NEVER:
                raise _commit.not_here(reference)

        async def protect(targets: Sequence[Descriptor]) -> None:
            await self._hold([target.digest for target in targets])

        assert engine.sender or not self._source.include_referrers  # `check` has seen to that
        work = Pull(
            uid=run.record.uid,
            reference=reference,
            platforms=self._wanted,
            explicit=bool(run.spec.platforms),
            all_platforms=run.spec.all_platforms,
            credentials=self._source.credentials,
            concurrency=engine.concurrency(run.spec),
            fetcher=engine.fetcher,
            flights=engine.flights,
            progress=run.progress,
            room=engine.room,
            gate=Gate(engine.metadata, engine.config.proofs, reference, self._source.credentials),
            protect=protect,
            unpacking=unpacking,
            listing=engine.sender.listing
            if engine.sender and self._source.include_referrers
            else None,
            last=several is None or last,
        )
        if several is None:
            run.moving = work
        else:
            several.pulls.append(work)
        return partial(
            _commit.show_pulled,
            pulled=await work.run(),
            reference=reference,
            destination=destination,
        )

    async def _admitted(
        self, image: ImageRecord, parts: Sequence[Descriptor], reference: Reference
    ) -> bool:
        """Whether a stored image, and of it the manifests `parts`, may be given to this caller."""
        progress = self.run.progress
        node = _root(reference)

        def watch(flight: Flight[Any]) -> None:
            nonlocal node
            node = progress.add(node)
            progress.begin(node, ActivityKind.RESOLVE, flight)

        try:
            admitted = await self.engine.proofs.admit(
                image,
                str(reference),
                self._source.credentials,
                parts=parts,
                uid=self.run.record.uid,
                may_ask=self._destination.policy is not PullPolicy.NEVER,
                watch=watch,
            )
        except Error as error:
            if node.activities:
                progress.fail(node, error)
            raise
        if node.activities:
            progress.end(node, NodeState.EXISTS if admitted else NodeState.WAITING)
        return admitted

    async def _hold(self, digests: Sequence[Digest]) -> None:
        await self.engine.metadata.write(
            lambda session: _commit.hold(session, self.run.record.uid, digests)
        )

    def _unpacking(self) -> Unpacking:
        engine = self.engine
        assert engine.unpacker  # `check` has seen to that, or the spec is one of another daemon
        return Unpacking(engine.unpacker, engine.fetcher.content, self.run.progress, self._hold)

    def _here(
        self, session: ReadSession, present: Callable[[ReadSession], ImageRecord | None]
    ) -> tuple[ImageRecord | None, list[Descriptor]]:
        """The stored image, if there is one, and the manifests of it that this is for: chosen
        once, since more may come while the caller proves that these are for him."""
        image, spec = present(session), self.run.spec
        if image is None:
            return None, []
        return image, stored_manifests(
            session,
            image,
            self._wanted,
            explicit=bool(spec.platforms),
            all_platforms=spec.all_platforms,
        )

    async def _unpack(
        self, targets: Sequence[Descriptor], unpacking: Unpacking
    ) -> tuple[Unpacked, ...]:
        """Unpacks what is stored."""
        content = self.engine.fetcher.content
        return await unpack_stored(unpacking, self.run.progress, content, targets, self._hold)

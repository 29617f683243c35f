"""A pull as a run: whether it is needed at all, what it holds, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from imgd_server.errors import Error
from imgd_server.images import Unpacked
from imgd_server.metadata import ImageRecord, ReadSession
from imgd_server.oci import Descriptor, Digest, Platform, Reference
from imgd_server.transfer import _commit
from imgd_server.transfer._engine import Engine
from imgd_server.transfer._flight import Flight
from imgd_server.transfer._progress import ActivityKind, Node, NodeKind, NodeState
from imgd_server.transfer._proofs import Gate
from imgd_server.transfer._pull import Pull
from imgd_server.transfer._run import Commit, Run
from imgd_server.transfer._spec import PullPolicy, RegistryEndpoint, StoreEndpoint
from imgd_server.transfer._unpack import Unpacking, stored_manifests, unpack_stored

__all__ = ["pull"]


async def pull(engine: Engine, run: Run) -> Commit:
    """Does the work of a pull; what it returns shows what is stored then."""
    return await _Pulling(engine, run).work()


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
        engine, run, destination = self.engine, self.run, self._destination
        reference = Reference.parse(self._source.reference)
        unpacking = self._unpacking() if destination.unpack else None
        if destination.policy is not PullPolicy.ALWAYS:
            present = partial(
                _commit.present_image,
                reference=reference,
                wanted=self._wanted,
                explicit=bool(run.spec.platforms),
                all_platforms=run.spec.all_platforms,
            )
            image = await engine.metadata.read(present)
            if image and await self._admitted(image, reference):

                def admitted(session: ReadSession, uid: str = image.uid) -> ImageRecord | None:
                    found = present(session)
                    return found if found and found.uid == uid else None

                return partial(
                    _commit.commit_present,
                    present=admitted,
                    reference=reference,
                    destination=destination,
                    unpacked=await self._unpack(image, unpacking) if unpacking else (),
                )
            if destination.policy is PullPolicy.NEVER:
                raise _commit.not_here(reference)

        async def protect(targets: Sequence[Descriptor]) -> None:
            await self._hold([target.digest for target in targets])

        run.moving = work = Pull(
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
        )
        return partial(
            _commit.commit_pull,
            pulled=await work.run(),
            reference=reference,
            destination=destination,
        )

    async def _admitted(self, image: ImageRecord, reference: Reference) -> bool:
        """Whether a stored image may be given to this caller."""
        progress = self.run.progress
        node = Node(str(reference), NodeKind.MANIFEST, None, label=reference.familiar())

        def watch(flight: Flight[Any]) -> None:
            progress.begin(progress.add(node), ActivityKind.RESOLVE, flight)

        try:
            admitted = await self.engine.proofs.admit(
                image,
                str(reference),
                self._source.credentials,
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

    async def _unpack(self, image: ImageRecord, unpacking: Unpacking) -> tuple[Unpacked, ...]:
        """Unpacks what is stored."""
        spec = self.run.spec

        def manifests(session: ReadSession) -> list[Descriptor]:
            return stored_manifests(
                session,
                image,
                self._wanted,
                explicit=bool(spec.platforms),
                all_platforms=spec.all_platforms,
            )

        targets = await self.engine.metadata.read(manifests)
        content = self.engine.fetcher.content
        return await unpack_stored(unpacking, self.run.progress, content, targets, self._hold)

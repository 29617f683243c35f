"""A push or a copy as a run: what is chosen of the store and held there, and how it ends."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import choose_target, find_image
from imgd_server.metadata import ImageRecord, PlatformRecord, ReadSession, WriteSession
from imgd_server.oci import Descriptor, Digest, FormatError, Platform, Reference, media
from imgd_server.transfer import _commit
from imgd_server.transfer._engine import Engine
from imgd_server.transfer._push import Destination, Push
from imgd_server.transfer._run import Commit, Run
from imgd_server.transfer._send import Sender
from imgd_server.transfer._sources import MAX_TAGS, RegistrySource, StoreSource
from imgd_server.transfer._spec import RegistryEndpoint, StoreEndpoint, TransferSpec

__all__ = ["push"]

# Repositories to mount a blob from: each attempt is a request.
_MAX_MOUNTS = 3
# Images that are looked through for them: a base layer is in thousands.
_MAX_IMAGES = 100
_MAX_REFERRERS = 1000


async def push(engine: Engine, run: Run) -> Commit:
    """Does the work of a push or copy; what it returns notes what was written."""
    if engine.sender is None:
        engine.check(run.spec)
    assert engine.sender
    return await _Pushing(engine, engine.sender, run).work()


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What is pushed of the store: by the name that it gets, the image and what goes of it."""

    images: Mapping[str, ImageRecord]
    targets: Mapping[str, Descriptor]
    held: frozenset[str]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Pushing:
    engine: Engine
    sender: Sender
    run: Run

    @property
    def _endpoint(self) -> RegistryEndpoint:
        assert isinstance(self.run.spec.destination, RegistryEndpoint)
        return self.run.spec.destination

    @property
    def _uid(self) -> str:
        return self.run.record.uid

    async def work(self) -> Commit:
        source = self.run.spec.source
        if isinstance(source, StoreEndpoint):
            return await self._push(source)
        assert isinstance(source, RegistryEndpoint)
        return await self._copy(source)

    async def _push(self, endpoint: StoreEndpoint) -> Commit:
        def choose(session: WriteSession) -> _Chosen:
            # One transaction: what is chosen is held from then on, whatever becomes of the image.
            chosen = _choose(session, endpoint.image, self._endpoint, self.run.spec)
            self._hold(session, [Digest(digest) for digest in chosen.held])
            return chosen

        chosen = await self.engine.metadata.write(choose)
        held = set(chosen.held)

        async def protect(targets: Sequence[Descriptor]) -> None:
            fresh = [target.digest for target in targets if target.digest not in held]
            if fresh:
                await self.engine.metadata.write(lambda session: self._hold(session, fresh))
                held.update(fresh)

        async def referrers(subject: Descriptor) -> Sequence[Descriptor]:
            return await self.engine.metadata.read(
                lambda session: _referrers(session, chosen.images.values(), subject)
            )

        names = [Reference.parse(name) for name in chosen.targets]
        work = self._moving(
            [(name, name) for name in names],
            StoreSource(self.engine.fetcher.content, chosen.targets, protect, referrers),
            (),
        )
        pushed = await work.run()
        pushed = replace(pushed, warnings=(*chosen.warnings, *pushed.warnings))
        images = {name: image.uid for name, image in chosen.images.items()}
        return partial(_commit.commit_push, pushed=pushed, images=images)

    async def _copy(self, endpoint: RegistryEndpoint) -> Commit:
        read, written = (Reference.parse(one.reference) for one in (endpoint, self._endpoint))
        source = RegistrySource(
            self._uid,
            read.name,
            endpoint.credentials,
            self.engine.fetcher,
            self.sender.listing,
            self.engine.flights,
            self.run.progress,
        )
        names = [(read, written)]
        if endpoint.all_tags:
            tags = await source.tags(MAX_TAGS)
            names = [(read.with_tag(tag), written.with_tag(tag)) for tag in tags]
        same = (read.path,) if read.domain == written.domain and read.path != written.path else ()
        pushed = await self._moving(names, source, same).run()
        return partial(_commit.commit_push, pushed=pushed, images={})

    def _moving(
        self,
        names: Sequence[tuple[Reference, Reference]],
        source: StoreSource | RegistrySource,
        mounts: Sequence[str],
    ) -> Push:
        spec, sides = self.run.spec, (self.run.spec.source, self._endpoint)
        stored = isinstance(source, StoreSource)
        wishes = [one.include_referrers for one in sides if isinstance(one, RegistryEndpoint)]

        async def find_mounts(targets: Sequence[Descriptor]) -> Mapping[str, Sequence[str]]:
            return await self.engine.metadata.read(
                lambda session: _mounts(session, names[0][1], targets, mounts)
            )

        self.run.moving = work = Push(
            uid=self._uid,
            names=names,
            source=source,
            destination=Destination(self._endpoint.credentials, self.sender, find_mounts),
            platforms=tuple(map(Platform.parse, spec.platforms)) or (Platform.host(),),
            # What goes of the store is chosen already.
            explicit=bool(spec.platforms) and not stored,
            all_platforms=spec.all_platforms or stored,
            include_referrers=any(wishes),
            concurrency=self.engine.concurrency(spec),
            flights=self.engine.flights,
            progress=self.run.progress,
        )
        return work

    def _hold(self, session: WriteSession, digests: Sequence[Digest]) -> None:
        _commit.hold(session, self._uid, digests)


def _choose(
    session: ReadSession, image: str, endpoint: RegistryEndpoint, spec: TransferSpec
) -> _Chosen:
    """The images to push, by the names that they get. Raises IMAGE_NOT_FOUND, IMAGE_INCOMPLETE,
    PLATFORM_NOT_FOUND, REFERENCE_INVALID, UNSUPPORTED."""
    written = Reference.parse(endpoint.reference)
    images: dict[str, ImageRecord] = {}
    try:
        if endpoint.all_tags:
            repository = Reference.parse(image)
            for tag in session.repository_tags(repository.name, "", MAX_TAGS + 1):
                if record := session.image_by_name(str(repository.with_tag(tag))):
                    images[str(written.with_tag(tag))] = record
            _check_tags(repository, images)
        else:
            record = find_image(session, image)
            _check_name(record, image, written)
            images[str(written)] = record
        wanted = tuple(map(Platform.parse, spec.platforms))
        targets: dict[str, Descriptor] = {}
        warnings: list[str] = []
        for name, record in images.items():
            targets[name], warning = _target(session, record, wanted, spec)
            warnings += [f"{name}: {warning}"] if warning else []
    except Error as error:
        error.origin = Origin.SOURCE
        error.reference = error.reference or str(written)
        raise
    held = {
        blob.digest
        for record in images.values()
        for blob in session.image_blobs(record.uid)
        if blob.stored
    }
    return _Chosen(images, targets, frozenset(held), tuple(warnings))


def _check_tags(repository: Reference, images: Mapping[str, ImageRecord]) -> None:
    if not images:
        raise Error(Reason.IMAGE_NOT_FOUND, f"{repository.familiar_name} has no tag here")
    if len(images) > MAX_TAGS:
        raise Error(
            Reason.UNSUPPORTED,
            f"{repository.familiar_name} has more than {MAX_TAGS} tags here: push them one by one",
        )


def _check_name(record: ImageRecord, image: str, written: Reference) -> None:
    """Refuses a name that nobody gave: an ID that is read as one, because nothing else says where
    to push to (`sha256:…` could be a repository with a tag)."""
    try:
        own = Reference.parse(image).with_default_tag() == written
    except FormatError:
        return
    known = {*(name.name for name in record.names), *record.repo_digests}
    if own and str(replace(written, tag=None) if written.digest else written) not in known:
        raise Error(
            Reason.REFERENCE_INVALID,
            f"{image} is an image's ID, and no name: say where to push it",
        )


def _target(
    session: ReadSession, record: ImageRecord, wanted: Sequence[Platform], spec: TransferSpec
) -> tuple[Descriptor, str]:
    """What is pushed of an image, and a remark where that is not all of it."""
    platforms = session.image_platforms(record.uid)
    if wanted:
        found = {target.digest: target for target in _chosen(record, platforms, wanted)}
        if len(found) == 1:
            ((digest, target),) = found.items()
            # An index of one is left out, as of several.
            if digest == record.target.digest:
                target = record.target
            _check_complete(record, [one for one in platforms if one.manifest.digest == digest])
            return replace(target, data=None), ""
        if any(one.manifest.digest not in found for one in platforms):
            raise Error(
                Reason.UNSUPPORTED,
                "a name can point at one platform's manifest or at the whole index: choose one "
                "platform, or all",
            )
    if record.complete:
        return record.target, ""
    complete = [one for one in platforms if one.complete]
    whole = wanted or spec.all_platforms or spec.require_complete
    if whole or not complete or not media.is_index(record.target.media_type):
        _check_complete(record, platforms)
        raise _incomplete(record, "attestations, or what belongs to no platform")
    target = choose_target(record, complete, None)
    chosen = next(one for one in complete if one.manifest.digest == target.digest)
    return replace(target, data=None), (
        f"only {chosen.platform or target.digest} was pushed, as {target.digest}: of the index "
        f"{record.target.digest} not everything is stored"
    )


def _chosen(
    record: ImageRecord, platforms: Sequence[PlatformRecord], wanted: Sequence[Platform]
) -> list[Descriptor]:
    return [choose_target(record, platforms, one) for one in wanted]


def _check_complete(record: ImageRecord, platforms: Sequence[PlatformRecord]) -> None:
    missing = [one.platform or one.manifest.digest for one in platforms if not one.complete]
    if missing:
        raise _incomplete(record, ", ".join(missing)[:500])


def _incomplete(record: ImageRecord, missing: str) -> Error:
    return Error(
        Reason.IMAGE_INCOMPLETE,
        f"not all of {record.target.digest} is stored: {missing} is missing; pull it with all "
        "platforms, or push one that is here",
        digest=record.target.digest,
        metadata={"missing": missing},
    )


def _referrers(
    session: ReadSession, images: Iterable[ImageRecord], subject: Descriptor
) -> list[Descriptor]:
    """What refers to a manifest, in the repositories that the images have names in."""
    found: dict[str, Descriptor] = {}
    for repository in _repositories([*images]):
        listed, _ = session.referrers(repository, subject.digest, "", "", _MAX_REFERRERS)
        found.update((one.digest, one) for one in listed)
    return [*found.values()]


def _repositories(images: Sequence[ImageRecord]) -> list[str]:
    """Where images are known to be: repositories that served or took them first, then names."""
    learned = [text.partition("@")[0] for one in images for text in one.repo_digests]
    named = [name.repository for one in images for name in one.names]
    return [*dict.fromkeys([*learned, *named])]


def _mounts(
    session: ReadSession,
    written: Reference,
    targets: Sequence[Descriptor],
    first: Sequence[str],
) -> dict[str, list[str]]:
    """Paths of other repositories of a registry that may have blobs, by digest."""
    known: dict[str, ImageRecord | None] = {}
    found: dict[str, list[str]] = {}
    for target in targets:
        uids = session.images_with_blob(target.digest)[:_MAX_IMAGES]
        for uid in uids:
            if uid not in known:
                known[uid] = session.image(uid)
        images = [image for uid in uids if (image := known[uid])]
        names = [Reference.parse(name) for name in _repositories(images)]
        paths = [
            name.path
            for name in names
            if name.domain == written.domain and name.path != written.path
        ]
        found[target.digest] = [*dict.fromkeys([*first, *paths])][:_MAX_MOUNTS]
    return found

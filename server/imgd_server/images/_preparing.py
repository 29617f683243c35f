"""Making root file systems for containers, and read-only views of images, while nobody may take
what they stand on."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import structlog

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason
from imgd_server.images._bundle import BundleRequest
from imgd_server.images._containers import NewContainer, container_exists, create_container
from imgd_server.images._inspect import Inspection, inspect
from imgd_server.images._leases import delete_lease, take_lease
from imgd_server.images._lookup import find_image, new_uid
from imgd_server.images._rootfs import Mount, Rootfs, RootfsStore
from imgd_server.images._unpacking import LayerUnpacker, Unpacked, layers_of, record_unpacked
from imgd_server.images._views import ViewStore
from imgd_server.metadata import (
    ContainerRecord,
    ImageRecord,
    LeaseRecord,
    MetadataStore,
    PlatformRecord,
    ReadSession,
    WriteSession,
)
from imgd_server.oci import Digest, Platform
from imgd_server.rootfs import (
    Compression,
    FileChange,
    PackedLayer,
    Snapshot,
    no_room,
    stored_layer,
)
from imgd_server.threads import ended, in_thread

__all__ = ["Packer", "RootfsManager", "View", "lease_for", "to_its_end"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# How long what is being prepared is held, in microseconds; a crash leaves no more than that.
_HELD = 24 * 3600 * 1_000_000
# The colon keeps it apart from callers' leases.
_LEASE = "rootfs:"
_PAGE = 1000
# Changes that are told at once, and bytes of their paths: where those are no UTF-8, a byte becomes
# three on the wire, and an answer has 1 MiB at the most.
_CHANGES = 500
_CHANGES_BYTES = 200_000

Registered = Callable[[WriteSession, int], ContainerRecord]
Packer = Callable[
    [Callable[[bytes], None], Compression, int | None, Callable[[], None]], PackedLayer
]


@dataclass(frozen=True, slots=True)
class View:
    """An image that can be mounted, read-only, as long as its lease lasts; `mount` is None where
    the daemon has done it."""

    mount: Mount | None
    lease_id: str
    platform: Platform


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An image's layers, unpacked and held until `_finish` or `_give_up`; with a root file system,
    or without."""

    key: str
    image: ImageRecord
    inspection: Inspection
    unpacked: Unpacked
    rootfs: Rootfs | None = None


class RootfsManager:
    """What containers and mounts need of an image. Its methods belong to the event loop."""

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        unpacker: LayerUnpacker,
        store: RootfsStore,
        views: ViewStore | None = None,
    ) -> None:
        self._metadata, self._content = metadata, content
        self._unpacker, self._store, self._views = unpacker, store, views

    async def create(
        self,
        wanted: NewContainer,
        bundle: BundleRequest | None,
        record: Callable[[Registered], Awaitable[T]],
    ) -> T:
        """Makes a root file system, and a bundle if one is asked for, and registers a container
        with it: `record` runs the function that it is given in one transaction, or finds that there
        is nothing to do, and its answer is returned. Whatever becomes of that, and whoever leaves
        meanwhile, files stay only with the container's record.

        Raises CONTAINER_EXISTS, IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, PLATFORM_NOT_FOUND,
        BLOB_NOT_FOUND, FIELD_INVALID for a bundle that can't be, UNSUPPORTED for what has no root
        file system or mounts that can't be said, OSError, what unpacking raises and what `record`
        raises.
        """
        return await to_its_end(self._create(wanted, bundle, record))

    async def _create(
        self,
        wanted: NewContainer,
        bundle: BundleRequest | None,
        record: Callable[[Registered], Awaitable[T]],
    ) -> T:
        if bundle:
            self._store.check(bundle)
        await self._metadata.read(lambda session: _check_free(session, wanted.container_id))
        platform = Platform.parse(wanted.platform) if wanted.platform else None
        image = f"images/{wanted.uid}" if wanted.uid else wanted.image
        unpacked = await self._unpack(image, platform, _now(), wanted.manifest)
        prepared = await self._prepare(unpacked, bundle, wanted.container_id)
        made, config = prepared.rootfs, prepared.inspection.config
        assert made is not None
        complete = replace(
            wanted,
            container_id=wanted.container_id or new_uid().lower(),
            uid=prepared.image.uid,
            manifest=prepared.inspection.target.digest,
            rootfs=made.to_json(),
            platform=wanted.platform or (str(config.platform) if config else ""),
        )

        def register(session: WriteSession, now: int) -> ContainerRecord:
            registered = create_container(session, complete, now)
            self._finish(session, prepared, now)
            return registered

        recording = asyncio.ensure_future(record(register))
        try:
            return await asyncio.shield(recording)
        finally:
            await asyncio.shield(self._conclude(recording, prepared, complete))

    async def _conclude(
        self, recording: asyncio.Future[Any], prepared: _Prepared, container: NewContainer
    ) -> None:
        """Keeps or takes back what was prepared, by what is recorded: a write goes on when whoever
        waits for it has left."""
        await ended(recording)
        try:
            known = await self._metadata.read(
                lambda session: session.container(container.container_id)
            )
        except BaseException:
            # Nobody can say now whether it was recorded: the next start, or its removal, looks.
            self._store.release(prepared.key)
            raise
        if known is not None and known.rootfs == container.rootfs:
            self._store.release(prepared.key)
        else:
            await self._give_up(prepared)

    async def mount(
        self, image: str, platform: Platform | None, lease_id: str, ttl: int, target: str = ""
    ) -> View:
        """Unpacks an image and holds it with a lease, as `take_lease` has it; with a `target`
        mounts it there until the lease ends. A caller who leaves before the answer leaves no lease
        that has no name yet, and no mount.

        Raises IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, PLATFORM_NOT_FOUND, BLOB_NOT_FOUND, UNSUPPORTED
        where there is nothing to see or it can't be mounted, FIELD_INVALID for a target that can't
        be, OSError, and what unpacking raises.
        """
        return await to_its_end(self._mount(image, platform, lease_id, ttl, target))

    async def _mount(
        self, image: str, platform: Platform | None, lease_id: str, ttl: int, target: str
    ) -> View:
        views = self._views if target else None
        if views is not None:
            views.check(target)
        elif target:
            raise Error(Reason.UNSUPPORTED, "target_path: this daemon mounts no views")
        prepared = await self._unpack(image, platform, _now())
        taken = lease_id or new_uid().lower()

        def hold(session: WriteSession) -> None:
            now = _now()
            take_lease(session, taken, ttl, prepared.image.uid, now)
            self._finish(session, prepared, now)

        snapshots = prepared.unpacked.snapshots
        try:
            mount = None
            if views is None:
                mount = await asyncio.to_thread(self._store.view, snapshots)
            else:
                await in_thread(lambda: views.make(prepared.key, taken, target, snapshots))
            await self._metadata.write(hold)
            if views is not None:
                views.release(prepared.key)
        except BaseException:
            if views is not None:
                await asyncio.shield(self._end_view(views, prepared.key))
            await asyncio.shield(self._release(prepared.key))
            if not lease_id:
                # Writes have an order: this one comes after `hold`, which nobody may have seen end.
                await asyncio.shield(self._end_lease(taken))
            raise
        config = prepared.inspection.config
        return View(mount, taken, platform or (config.platform if config else Platform.host()))

    async def _end_view(self, views: ViewStore, key: str) -> None:
        """Takes back a view. What fails is left to `end_views`."""
        try:
            await in_thread(lambda: views.remove(key))
        except OSError:
            _log.exception("a view stays mounted for now")

    async def _unpack(
        self, image: str, platform: Platform | None, now: int, manifest: Digest | None = None
    ) -> _Prepared:
        """Unpacks a stored image as far as it is not, and holds it and its snapshots; where its
        `manifest` was chosen before, nothing else of it.

        Raises IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, PLATFORM_NOT_FOUND, UNSUPPORTED for an artifact,
        BLOB_NOT_FOUND, and what unpacking raises; then nothing is held.
        """
        key = new_uid().lower()

        def begin(session: WriteSession) -> tuple[ImageRecord, list[PlatformRecord]]:
            record = find_image(session, image)
            session.put_lease(lease_for(key, now, images=(record.uid,)))
            platforms = session.image_platforms(record.uid)
            if manifest:
                platforms = [one for one in platforms if one.manifest.digest == manifest]
            return record, platforms

        try:
            record, platforms = await self._metadata.write(begin)
            found = await asyncio.to_thread(inspect, self._content, record, platforms, platform)
            if found.config is None:
                raise Error(Reason.UNSUPPORTED, "this is no image of a root file system")
            layers = layers_of(found.manifest, found.config)
            chains = self._unpacker.chains([diff_id for _, diff_id in layers])
            held = lease_for(key, now, digests=tuple(chains))
            await self._metadata.write(lambda session: session.put_lease(held))
            stored = await asyncio.to_thread(
                lambda: [
                    stored_layer(self._content, layer.digest, diff_id) for layer, diff_id in layers
                ]
            )
            snapshots = await self._unpacker.unpack(stored, lambda *_: None)
            # A root file system is lost without what it stands on.
            await self._unpacker.sync(snapshots)
            if await self._metadata.read(lambda session: session.has_private_content()):
                await self._unpacker.prove(self._content, stored)
        except BaseException:
            await asyncio.shield(self._release(key))
            raise
        return _Prepared(key, record, found, Unpacked(found.target.digest, snapshots))

    async def _prepare(
        self, unpacked: _Prepared, bundle: BundleRequest | None, hostname: str
    ) -> _Prepared:
        """Makes a root file system of what is unpacked. Raises as `RootfsStore.make`; then nothing
        is held."""
        stopped = threading.Event()

        def check() -> None:
            if stopped.is_set():
                raise Error(Reason.CANCELLED, "cancelled")

        making = asyncio.ensure_future(
            asyncio.to_thread(
                self._store.make,
                unpacked.key,
                unpacked.unpacked.snapshots,
                unpacked.inspection,
                bundle,
                hostname or unpacked.key[:12],
                check,
            )
        )
        try:
            made = await asyncio.shield(making)
        except BaseException:
            stopped.set()
            await asyncio.shield(self._abandon(making, unpacked))
            raise
        return replace(unpacked, rootfs=made)

    async def _abandon(self, making: asyncio.Future[Rootfs], prepared: _Prepared) -> None:
        await ended(making)
        await self._give_up(prepared)

    def _finish(self, session: WriteSession, prepared: _Prepared, now: int) -> None:
        """In the transaction that shows what it was prepared for: the image holds its snapshots
        from here on."""
        record_unpacked(session, prepared.image.uid, [prepared.unpacked])
        delete_lease(session, _LEASE + prepared.key, now)

    async def _give_up(self, prepared: _Prepared) -> None:
        """Takes back what was prepared."""
        await asyncio.to_thread(self._store.remove, prepared.key)
        await self._release(prepared.key)

    async def _release(self, key: str) -> None:
        await self._end_lease(_LEASE + key)

    async def _end_lease(self, lease_id: str) -> None:
        await self._metadata.write(lambda session: delete_lease(session, lease_id, _now()))

    async def remove(self, record: ContainerRecord) -> None:
        """Removes the files of a container whose record is gone. What fails is left to a sweep."""
        if not record.rootfs:
            return
        key = Rootfs.from_json(record.rootfs).key
        try:
            await asyncio.to_thread(self._store.remove, key)
        except OSError:
            _log.exception("a container's files stay for now", container=record.container_id)

    async def changes(self, record: ContainerRecord) -> AsyncIterator[list[FileChange]]:
        """What a container changed, in the order of paths, some at a time. Raises CONTAINER_STATE
        for one without a root file system, STORE_CORRUPT where it has lost what is below it."""
        rootfs, snapshots = await self._stand(record)
        found = self._store.changes(rootfs, snapshots)

        step: asyncio.Future[list[FileChange]] | None = None
        try:
            while True:
                step = asyncio.ensure_future(asyncio.to_thread(_some, found))
                if not (changes := await asyncio.shield(step)):
                    return
                yield changes
        finally:
            if step is not None:
                await ended(step)  # it has files open, whoever has left
            found.close()

    async def packer(self, record: ContainerRecord) -> Packer:
        """What writes a container's changes as a layer, in a thread; see `RootfsStore.pack`. Raises
        as `changes` does."""
        rootfs, snapshots = await self._stand(record)
        return partial(self._store.pack, rootfs, snapshots)

    async def exporter(
        self, record: ContainerRecord
    ) -> Callable[[Callable[[bytes], None], Callable[[], None]], None]:
        """What writes all of a container's files, in a thread; see `RootfsStore.export`. Raises as
        `changes` does."""
        rootfs, snapshots = await self._stand(record)
        return partial(self._store.export, rootfs, snapshots)

    async def _stand(self, record: ContainerRecord) -> tuple[Rootfs, list[Snapshot]]:
        if not record.rootfs:
            raise Error(
                Reason.CONTAINER_STATE,
                f"containers/{record.container_id} has no root file system",
                metadata={"container": f"containers/{record.container_id}"},
            )
        rootfs = Rootfs.from_json(record.rootfs)
        return rootfs, await asyncio.to_thread(self._snapshots, rootfs)

    def _snapshots(self, rootfs: Rootfs) -> list[Snapshot]:
        found = [self._unpacker.store.find(Digest(one)) for one in rootfs.chains]
        if rootfs.kind != self._unpacker.store.kind or None in found:
            raise Error(
                Reason.STORE_CORRUPT,
                "the snapshots below the container's root file system are not there",
            )
        return [one for one in found if one is not None]

    async def end_views(self) -> None:
        """Unmounts the views whose leases are over. What fails is left to the next time."""
        if (views := self._views) is None:
            return
        leases = await asyncio.to_thread(views.leases)

        def alive(session: ReadSession) -> set[str]:
            found = [session.lease(one) for one in leases]
            return {one.lease_id for one in found if one is not None and one.expires > _now()}

        try:
            await asyncio.to_thread(views.end, await self._metadata.read(alive))
        except OSError:
            _log.exception("a view stays mounted for now")

    async def restore(self) -> None:
        """After a start: removes what no container has, and mounts again what is not mounted."""
        await self._metadata.write(_drop_leases)
        await self.end_views()
        if self._views is not None:
            await asyncio.to_thread(
                self._views.restore,
                lambda view, why: _log.warning(
                    "view not mounted", lease=view.lease_id, why=str(why)
                ),
            )
        records = await self._metadata.read(_with_rootfs)
        wanted = {one.container_id: Rootfs.from_json(one.rootfs) for one in records}
        left = await asyncio.to_thread(
            self._store.sweep, {rootfs.key for rootfs in wanted.values()}
        )
        if left:
            _log.info("left root file systems removed", count=left)
        for container_id, rootfs in wanted.items():
            try:
                snapshots = await asyncio.to_thread(self._snapshots, rootfs)
                if await asyncio.to_thread(self._store.restore, rootfs, snapshots):
                    _log.info("root file system mounted again", container=container_id)
            except (OSError, Error) as error:
                _log.warning("root file system not mounted", container=container_id, why=str(error))


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Runs work that takes things back when it is cancelled: a caller who leaves cancels it, once
    however often he is cancelled himself, and it gets the time to. Raises DISK_FULL for an OSError
    that says so."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        await ended(task)
        raise
    except OSError as error:
        if (full := no_room(error)) is not None:
            raise full from error
        raise


def _some(found: Iterator[FileChange]) -> list[FileChange]:
    """The next changes, as many as are told at once; none at the end."""
    some: list[FileChange] = []
    size = 0
    for one in found:
        some.append(one)
        size += len(one.path)
        if len(some) == _CHANGES or size >= _CHANGES_BYTES:
            break
    return some


def _check_free(session: ReadSession, container_id: str) -> None:
    """Before the work; the transaction at the end decides."""
    if container_id and session.container(container_id):
        raise container_exists(container_id)


def lease_for(
    key: str, now: int, *, images: Sequence[str] = (), digests: tuple[Digest, ...] = ()
) -> LeaseRecord:
    """What holds things while something is made of them; a start of the daemon ends it."""
    return LeaseRecord(_LEASE + key, now, now + _HELD, digests=digests, images=tuple(images))


def _now() -> int:
    return time.time_ns() // 1000


def _drop_leases(session: WriteSession) -> None:
    """Of what a daemon before this one was preparing: among all leases, for they come by time."""
    for record in session.expired_leases(1 << 62, sys.maxsize):
        if record.lease_id.startswith(_LEASE):
            delete_lease(session, record.lease_id, _now())


def _with_rootfs(session: ReadSession) -> list[ContainerRecord]:
    found: list[ContainerRecord] = []
    after: tuple[int, str] | None = None
    while page := session.list_containers(None, (), (), after, _PAGE):
        found += [one for one in page if one.rootfs]
        after = (page[-1].created, page[-1].container_id)
    return found

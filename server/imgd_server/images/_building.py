"""New images: of a container's changes (commit), and of layers that callers have (append).

As with pulls, what is stored is held first by a lease and shown last, in one transaction: image,
name and the lease's end. A crash leaves blobs that a collection takes.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from imgd_server.content import ContentStore
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images._containers import container_event, find_container
from imgd_server.images._describe import Description, describe
from imgd_server.images._documents import (
    Base,
    NewImage,
    NewLayer,
    write_config,
    write_manifest,
)
from imgd_server.images._holds import image_event
from imgd_server.images._inspect import choose_target, inspect
from imgd_server.images._instructions import ConfigChanges, change_config
from imgd_server.images._leases import delete_lease
from imgd_server.images._lookup import find_image, new_uid
from imgd_server.images._naming import new_name, tag_image
from imgd_server.images._preparing import RootfsManager, lease_for, to_its_end
from imgd_server.images._unpacking import layers_of
from imgd_server.metadata import (
    ContainerRecord,
    ImageRecord,
    MetadataStore,
    PlatformRecord,
    WriteSession,
)
from imgd_server.oci import MAX_CONFIG_BYTES, Descriptor, Digest, Platform, media
from imgd_server.rootfs import Compression, Limits, verify_layer
from imgd_server.threads import ended, in_thread

__all__ = ["ImageBuilder", "NewAppend", "NewCommit", "Shown"]

T = TypeVar("T")

Shown = Callable[[WriteSession, int], ImageRecord]
"""Shows an image, in a transaction at a time in microseconds; returns its record."""

_LAYER_TYPES = {
    "": media.OCI_LAYER,
    Compression.GZIP.value: media.OCI_LAYER_GZIP,
    Compression.ZSTD.value: media.OCI_LAYER_ZSTD,
}


@dataclass(frozen=True, slots=True)
class NewCommit:
    """What a caller asks for. `created` is in microseconds since the epoch, None for now, and with
    it the same changes make the same image."""

    container_id: str
    tag: str = ""
    author: str = ""
    message: str = ""
    changes: ConfigChanges = field(default_factory=ConfigChanges)
    allow_running: bool = False
    created: int | None = None
    compression: Compression = Compression.GZIP


@dataclass(frozen=True, slots=True)
class NewAppend:
    """What a caller asks for. `base` is "" for none, `layers` are stored blobs, the lowest first;
    `created` as in NewCommit."""

    base: str = ""
    layers: Sequence[Digest] = ()
    tag: str = ""
    platform: Platform | None = None
    author: str = ""
    comment: str = ""
    changes: ConfigChanges = field(default_factory=ConfigChanges)
    created: int | None = None
    created_by: str = "imgd append"


@dataclass(frozen=True, slots=True)
class _Begun:
    """An image that something is made on, held by the lease of `key`. Of an index `image_id` tells
    what is meant, where that was chosen before: other platforms, and others of the same one, may
    have come since."""

    key: str
    image: ImageRecord
    platforms: list[PlatformRecord]
    image_id: str = ""


class ImageBuilder:
    """Makes images. Its methods belong to the event loop.

    `record` is called with the function that shows the image: it runs it in one transaction, or
    finds that there is nothing to do; its answer is returned. Who leaves meanwhile leaves nothing.
    """

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        rootfs: RootfsManager | None,
        limits: Limits,
    ) -> None:
        """`rootfs` has the containers' files, None where they have none; `limits` are those of a
        layer."""
        self._metadata, self._content, self._rootfs = metadata, content, rootfs
        self._limits = limits

    async def commit(self, wanted: NewCommit, record: Callable[[Shown], Awaitable[T]]) -> T:
        """Makes an image of a container's changes.

        Raises CONTAINER_NOT_FOUND, CONTAINER_STATE for one that runs unless that is allowed, or
        that has no root file system, FIELD_INVALID for changes of the config that can't be,
        REFERENCE_INVALID, CONFIG_INVALID, UNSUPPORTED for files that no layer can hold or too many
        layers, DISK_FULL, STORE_CORRUPT, OSError, and what `record` raises.
        """
        return await to_its_end(self._commit(wanted, record))

    async def _commit(self, wanted: NewCommit, record: Callable[[Shown], Awaitable[T]]) -> T:
        if wanted.tag:
            new_name(wanted.tag)
        key = new_uid().lower()

        def begin(session: WriteSession) -> tuple[ContainerRecord, _Begun]:
            container = find_container(session, wanted.container_id)
            _check_rests(container, wanted)
            image = session.image(container.image)
            assert image is not None
            session.put_lease(lease_for(key, _now(), images=(image.uid,)))
            platforms = session.image_platforms(image.uid)
            return container, _Begun(key, image, platforms, container.image_id)

        try:
            container, begun = await self._metadata.write(begin)
            platform = Platform.parse(container.platform) if container.platform else None
            base, unpacked = await asyncio.to_thread(self._base, begun, platform)
            new = NewImage(
                base,
                (),
                Platform.host(),
                wanted.changes,
                _now() if wanted.created is None else wanted.created,
                "imgd commit",
                wanted.author,
                wanted.message,
            )
            # What can't be is told before the work.
            await asyncio.to_thread(write_config, new)
            layer, size = await self._pack(key, container, wanted)
            new = replace(new, layers=[layer] if layer else [])
            described = await self._write(key, new, _sum(unpacked, size))

            def show(session: WriteSession, now: int) -> ImageRecord:
                # It was there all the time: its files go only after its record.
                found = find_container(session, wanted.container_id)
                if (found.rootfs, found.started) != (container.rootfs, container.started):
                    raise _changed(wanted.container_id)
                _check_rests(found, wanted)
                image = self._show(session, key, described, wanted.tag, now)
                facts = {"new_image": f"images/{image.uid}", "new_image_id": image.image_id}
                session.add_event(container_event("commit", found, now, **facts))
                return image

            return await _recorded(record, show)
        finally:
            await asyncio.shield(self._release(key))

    def check(self, wanted: NewAppend) -> None:
        """Refuses, of an append to nothing, what `append` would, before its layers are there."""
        if wanted.tag:
            new_name(wanted.tag)
        change_config({}, wanted.changes)

    async def append(self, wanted: NewAppend, record: Callable[[Shown], Awaitable[T]]) -> T:
        """Makes an image of a base, or of nothing, and of layers that are stored.

        Raises IMAGE_NOT_FOUND, IMAGE_AMBIGUOUS, PLATFORM_NOT_FOUND, BLOB_NOT_FOUND, LAYER_INVALID
        and LAYER_TOO_LARGE for what is no layer, UNSUPPORTED for a base without a root file system
        or too many layers, FIELD_INVALID, REFERENCE_INVALID, CONFIG_INVALID, DISK_FULL, and what
        `record` raises.
        """
        return await to_its_end(self._append(wanted, record))

    async def _append(self, wanted: NewAppend, record: Callable[[Shown], Awaitable[T]]) -> T:
        if wanted.tag:
            new_name(wanted.tag)
        if not (wanted.base or wanted.layers):
            raise FieldError("layers", "layers: is required where there is no base")
        key = new_uid().lower()

        def begin(session: WriteSession) -> _Begun | None:
            image = find_image(session, wanted.base, "base") if wanted.base else None
            images = (image.uid,) if image else ()
            digests = tuple(wanted.layers)
            session.put_lease(lease_for(key, _now(), images=images, digests=digests))
            return _Begun(key, image, session.image_platforms(image.uid)) if image else None

        try:
            begun = await self._metadata.write(begin)
            base: Base | None = None
            unpacked: int | None = 0
            if begun:
                base, unpacked = await asyncio.to_thread(self._base, begun, wanted.platform)
            new = NewImage(
                base,
                (),
                wanted.platform or Platform.host(),
                wanted.changes,
                _now() if wanted.created is None else wanted.created,
                wanted.created_by,
                wanted.author,
                wanted.comment,
            )
            await asyncio.to_thread(write_config, new)
            layers, size = await self._verify(key, wanted.layers)
            described = await self._write(key, replace(new, layers=layers), _sum(unpacked, size))
            return await _recorded(
                record,
                lambda session, now: self._show(session, key, described, wanted.tag, now),
            )
        finally:
            await asyncio.shield(self._release(key))

    def _base(self, begun: _Begun, platform: Platform | None) -> tuple[Base, int | None]:
        """What an image is as a base, and its size unpacked, where known."""
        meant = begun.image_id
        chosen = [one for one in begun.platforms if meant and one.image_id == meant]
        found = inspect(self._content, begun.image, chosen or begun.platforms, platform)
        if found.config is None:
            raise Error(Reason.UNSUPPORTED, "this is no image of a root file system")
        layers_of(found.manifest, found.config)
        raw = self._content.read(found.manifest.config.digest, MAX_CONFIG_BYTES)
        default = choose_target(begun.image, begun.platforms, None).digest
        unpacked = begun.image.unpacked_size if found.target.digest == default else None
        return Base(found.manifest, raw), unpacked

    # --- content

    async def _pack(
        self, key: str, container: ContainerRecord, wanted: NewCommit
    ) -> tuple[NewLayer | None, int]:
        """Stores a container's changes as a layer, None where there are none; and the bytes of
        their files."""
        if self._rootfs is None:
            raise Error(Reason.UNSUPPORTED, "this daemon does not prepare root file systems")
        pack = await self._rootfs.packer(container)
        newest = None if wanted.created is None else wanted.created * 1000

        def work(
            hold: Callable[..., None], check: Callable[[], None]
        ) -> tuple[NewLayer | None, int]:
            with self._content.ingest(f"build:{key}", resume=False) as ingest:
                try:
                    packed = pack(ingest.write, wanted.compression, newest, check)
                    if not packed.entries:
                        ingest.abort()
                        return None, 0
                    hold(packed.digest)
                    ingest.commit(packed.digest)
                except BaseException:
                    ingest.abort()
                    raise
            stored = Descriptor(_LAYER_TYPES[wanted.compression.value], packed.digest, packed.size)
            return NewLayer(stored, packed.diff_id), packed.file_bytes

        return await self._in_thread(key, work)

    async def _verify(self, key: str, digests: Sequence[Digest]) -> tuple[list[NewLayer], int]:
        """Reads layers that are stored; returns them, and the bytes of their files."""

        def work(
            hold: Callable[..., None], check: Callable[[], None]
        ) -> tuple[list[NewLayer], int]:
            layers: list[NewLayer] = []
            size = 0
            for digest in digests:
                with self._content.open(digest) as reader:
                    try:
                        found = verify_layer(reader.pread, self._limits, check)
                    except Error as error:
                        error.digest = error.digest or digest
                        raise
                    stored = Descriptor(_LAYER_TYPES[found.packing], digest, reader.size)
                layers.append(NewLayer(stored, found.diff_id))
                size += found.file_bytes
            return layers, size

        return await self._in_thread(key, work)

    async def _write(self, key: str, image: NewImage, unpacked: int | None) -> Description:
        """Stores config and manifest; `unpacked` is the bytes of all layers' files, where known."""

        def store(data: bytes, media_type: str) -> Descriptor:
            target = Descriptor(media_type, Digest.of(data), len(data))
            name = f"build:{key}"
            with self._content.ingest(name, target.digest, len(data), resume=False) as ingest:
                ingest.write(data)
                ingest.commit()
            return target

        def work(hold: Callable[..., None], check: Callable[[], None]) -> Description:
            raw = write_config(image)
            config = Descriptor(media.OCI_CONFIG, Digest.of(raw), len(raw))
            manifest = write_manifest(image, config)
            hold(config.digest, Digest.of(manifest))
            store(raw, media.OCI_CONFIG)
            target = store(manifest, media.OCI_MANIFEST)
            described = describe(self._content, target, Platform.host())
            record = replace(described.record, unpacked_size=unpacked)
            return replace(described, record=record)

        return await self._in_thread(key, work)

    async def _in_thread(
        self, key: str, work: Callable[[Callable[..., None], Callable[[], None]], T]
    ) -> T:
        """Runs work in a thread, with a function that holds digests, and one that raises CANCELLED
        once nobody wants it any more. It has ended on return."""
        loop = asyncio.get_running_loop()
        stopped = threading.Event()

        def hold(*digests: Digest) -> None:
            lease = lease_for(key, _now(), digests=digests)
            writing = self._metadata.write(lambda session: session.put_lease(lease))
            asyncio.run_coroutine_threadsafe(_awaited(writing), loop).result()

        def check() -> None:
            if stopped.is_set():
                raise Error(Reason.CANCELLED, "cancelled")

        return await in_thread(lambda: work(hold, check), stop=stopped.set)

    # --- showing

    def _show(
        self, session: WriteSession, key: str, described: Description, tag: str, now: int
    ) -> ImageRecord:
        made = replace(described.record, last_used=now)
        image = session.put_image(made, described.platforms, described.blobs)
        # The same image may be here, with its removal waiting for its holders.
        session.set_doomed(image.uid, False)
        session.add_event(image_event("create", image, now))
        if tag:
            image = tag_image(session, f"images/{image.uid}", tag, None, now).image
        delete_lease(session, lease_for(key, now).lease_id, now)
        return image

    async def _release(self, key: str) -> None:
        lease_id = lease_for(key, 0).lease_id
        await self._metadata.write(lambda session: delete_lease(session, lease_id, _now()))


async def _recorded(record: Callable[[Shown], Awaitable[T]], show: Shown) -> T:
    """A write goes on when whoever waits for it has left: it has ended on return."""
    recording = asyncio.ensure_future(record(show))
    try:
        return await asyncio.shield(recording)
    except asyncio.CancelledError:
        await ended(recording)
        raise


async def _awaited(writing: Awaitable[T]) -> T:
    return await writing


def _sum(unpacked: int | None, size: int) -> int | None:
    return None if unpacked is None else unpacked + size


def _check_rests(container: ContainerRecord, wanted: NewCommit) -> None:
    if container.state == "RUNNING" and not wanted.allow_running:
        name = f"containers/{wanted.container_id}"
        raise Error(
            Reason.CONTAINER_STATE,
            f"{name} is running, and imgd can't pause it: stop or pause it, or allow a commit of "
            "files that may change meanwhile",
            metadata={"container": name, "state": container.state},
        )


def _changed(container_id: str) -> Error:
    name = f"containers/{container_id}"
    return Error(
        Reason.CONTAINER_STATE,
        f"{name} was started, or made anew, while it was committed: try again",
        metadata={"container": name},
    )


def _now() -> int:
    return time.time_ns() // 1000

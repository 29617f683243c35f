"""Looking inside images: the tree that their layers make, from an index of each layer."""

from __future__ import annotations

import asyncio
import base64
import sqlite3
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from imgd_server.content import ContentStore, Reader
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images._globs import PathPattern
from imgd_server.images._indexes import LayerIndexes
from imgd_server.images._inspect import inspect
from imgd_server.images._leases import delete_lease
from imgd_server.images._lookup import find_image, new_uid
from imgd_server.images._unpacking import layers_of
from imgd_server.metadata import (
    ImageRecord,
    LeaseRecord,
    MetadataStore,
    PlatformRecord,
    ReadSession,
    WriteSession,
)
from imgd_server.oci import Descriptor, Digest, Platform
from imgd_server.rootfs import (
    ChangeKind,
    FileChange,
    FileKind,
    Found,
    LayerIndex,
    Limits,
    MergedTree,
    build_index,
    read_file,
    show,
)
from imgd_server.threads import in_thread

__all__ = ["FileTree", "LayerUsage", "LayerUse", "Looker", "Page"]

T = TypeVar("T")

# Indexes that are built at once. It is work for a processor, and the rest of the daemon needs one.
_BUILDS = 2
# Paths that one page looks at, fitting or not: about a second.
_MAX_SCANNED = 100_000
# Images whose layers' sums are remembered.
_MAX_USAGES = 64
# Of the leases that hold layers while they are looked at, which a start of the daemon ends. Nobody
# looks longer than this without asking again.
_LEASE = "look:"
_HELD = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Page:
    """Some files; `after` is where to go on, None at the end. It may be empty, and not the last."""

    files: list[Found]
    after: str | None


@dataclass(slots=True)
class LayerUse:
    """What a layer does. Counts are of paths, bytes without holes, hard links counted once."""

    layer: Descriptor
    diff_id: Digest
    created_by: str = ""
    added: int = 0
    changed: int = 0
    deleted: int = 0
    unpacked: int = 0
    wasted: int = 0


@dataclass(frozen=True, slots=True)
class LayerUsage:
    """What the layers do. `efficiency` is the visible share of the unpacked bytes."""

    layers: tuple[LayerUse, ...]
    wasted: int
    efficiency: float


@dataclass(frozen=True, slots=True)
class _Image:
    layers: list[tuple[Descriptor, Digest]]
    created_by: list[str]


class FileTree:
    """An image's tree, or one layer's, while it is looked at. Its methods block."""

    def __init__(
        self, content: ContentStore, image: _Image, indexes: Sequence[LayerIndex], first: int
    ) -> None:
        self._content, self._image = content, image
        self._tree = MergedTree(indexes, first)

    def find(self, path: bytes, *, follow: bool) -> Found:
        """One file. Raises FILE_NOT_FOUND."""
        found = self._tree.resolve(path, follow=follow).found
        assert found is not None
        return found

    def page(
        self, path: bytes, pattern: str, size: int, after: str | None, *, recursive: bool
    ) -> Page:
        """Up to `size` files of a directory. Raises FILE_NOT_FOUND, FIELD_INVALID."""
        fits = PathPattern(pattern) if pattern else None
        folder = self._tree.resolve(path, follow=True)
        assert folder.found is not None
        if folder.found.file.kind != FileKind.DIRECTORY:
            raise FieldError("path", f"path: is no directory: {show(path)}")
        start = None
        if after is not None:
            start = base64.b64decode(after)
            if not start.startswith(folder.key + b"\0" if folder.key else b""):
                raise FieldError("page_token", "page_token: not of this directory")
        files: list[Found] = []
        walk = self._tree.walk(folder, recursive=recursive, after=start)
        for scanned, met in enumerate(walk, 1):
            if met.found is not None and (
                fits is None or fits.matches(met.found.file.path.decode("utf-8", "replace"))
            ):
                files.append(met.found)
            if len(files) == size or scanned == _MAX_SCANNED:
                return Page(files, base64.b64encode(met.key).decode())
        return Page(files, None)

    @staticmethod
    def place(found: Found) -> str:
        """Where a page goes on behind a file."""
        return base64.b64encode(found.file.key).decode()

    def open(self, found: Found) -> Reader:
        """The blob that has a file's bytes, to be closed."""
        return self._content.open(self._image.layers[found.layer][0].digest)

    def read(self, reader: Reader, found: Found, offset: int, limit: int) -> Iterator[bytes]:
        """A regular file's bytes; some chunks are empty. See `read_file`."""
        size = found.file.size
        end = min(size, offset + limit) if limit else size
        return read_file(reader.pread, found.file, offset, end)

    def changes(self, layer: int) -> Iterator[FileChange]:
        """What the layer did, the topmost of those at hand; every path of it, in order."""
        for met in self._tree.walk(self._tree.root(), recursive=True):
            for change in met.changes:
                if change.layer == layer and (kind := _kind(change.before, change.after)):
                    shown = change.after.file.size if change.after else 0
                    yield FileChange(kind, met.key.replace(b"\0", b"/"), shown)

    def usage(self) -> LayerUsage:
        """What each layer does."""
        uses = [
            LayerUse(layer, diff_id, created_by)
            for (layer, diff_id), created_by in zip(
                self._image.layers, self._image.created_by, strict=True
            )
        ]
        for met in self._tree.walk(self._tree.root(), recursive=True):
            for change in met.changes:
                use = uses[change.layer]
                use.wasted += _bytes(change.before)
                use.unpacked += _bytes(change.after)
                kind = _kind(change.before, change.after)
                use.added += kind is ChangeKind.ADDED
                use.changed += kind is ChangeKind.CHANGED
                use.deleted += kind is ChangeKind.DELETED
        wasted, total = sum(use.wasted for use in uses), sum(use.unpacked for use in uses)
        return LayerUsage(tuple(uses), wasted, 1 - wasted / total if total else 1.0)


def _bytes(found: Found | None) -> int:
    return found.file.stored if found is not None and not found.file.shared else 0


def _kind(before: Found | None, after: Found | None) -> ChangeKind | None:
    """A directory that an archive names again, as it was, is no change."""
    if before is None:
        return ChangeKind.ADDED
    if after is None:
        return ChangeKind.DELETED
    old, new = before.file, after.file
    if old.kind == new.kind == FileKind.DIRECTORY and (old.mode, old.uid, old.gid, old.xattrs) == (
        new.mode,
        new.uid,
        new.gid,
        new.xattrs,
    ):
        return None
    return ChangeKind.CHANGED


class Looker:
    """Opens the trees of images; keeps an index of each layer that was ever looked at.

    An index is built when first needed, once for all who wait for it, and is collected with its
    layer.
    """

    def __init__(
        self,
        metadata: MetadataStore,
        content: ContentStore,
        indexes: LayerIndexes,
        limits: Limits | None = None,
    ) -> None:
        self._metadata, self._content, self.indexes = metadata, content, indexes
        self._limits = limits or Limits()
        self._builds = ThreadPoolExecutor(_BUILDS, "indexing")
        self._building: dict[Digest, asyncio.Future[None]] = {}
        self._usages: OrderedDict[tuple[object, ...], LayerUsage] = OrderedDict()
        self._stopped = threading.Event()

    async def recover(self) -> None:
        """After a start: removes what a daemon before this one was building, and its holds."""
        await asyncio.to_thread(self.indexes.drop_drafts)
        await self._metadata.write(_drop_leases)

    @asynccontextmanager
    async def open(
        self,
        image: str,
        platform: Platform | None,
        layer: int | None,
        *,
        alone: bool = True,
        reads: bool = False,
    ) -> AsyncIterator[FileTree]:
        """The tree of an image; with `layer`, of that one alone, or of it and those below.

        Whatever is removed and collected meanwhile, what is being looked at stays: the layers are
        held while there is an index to build, or with `reads` until the end.

        Raises IMAGE_NOT_FOUND, PLATFORM_NOT_FOUND, UNSUPPORTED for what has no file system,
        BLOB_NOT_FOUND, FIELD_INVALID for a layer that it does not have, and what building raises.
        """
        looked = await self._inspect(image, platform)
        count = len(looked.layers)
        if layer is not None and not 0 <= layer < count:
            raise FieldError(
                "layer_index", f"layer_index: there is no layer {layer}; the image has {count}"
            )
        first = layer if layer is not None and alone else 0
        wanted = looked.layers[first : count if layer is None else layer + 1]
        missing = await asyncio.to_thread(self._missing, wanted)
        async with AsyncExitStack() as holds:
            if missing or reads:
                await holds.enter_async_context(self._held([one.digest for one, _ in wanted]))
            for descriptor, diff_id in missing:
                await self._ensure(descriptor.digest, diff_id)
            with ExitStack() as stack:
                indexes = await self.run(lambda: self._open_all(wanted, stack))
                if not reads:
                    await holds.aclose()
                yield FileTree(self._content, looked, indexes, first)

    async def usage(self, image: str, platform: Platform | None) -> LayerUsage:
        """What an image's layers do; remembered. Raises as `open` does."""
        looked = await self._inspect(image, platform)
        key = (*((layer.digest, diff_id) for layer, diff_id in looked.layers), *looked.created_by)
        if (known := self._usages.get(key)) is not None:
            self._usages.move_to_end(key)
            return known
        async with self.open(image, platform, None) as tree:
            usage = await self.run(tree.usage)
        self._usages[key] = usage
        if len(self._usages) > _MAX_USAGES:
            self._usages.popitem(last=False)
        return usage

    async def run(self, work: Callable[[], T]) -> T:
        """Runs a step of a tree's in a thread, and returns only when it has ended: the tree may be
        closed then."""
        return await in_thread(work)

    def close(self) -> None:
        """Ends what is being built."""
        self._stopped.set()
        self._builds.shutdown(cancel_futures=True)

    # ---

    async def _inspect(self, image: str, platform: Platform | None) -> _Image:
        def find(session: ReadSession) -> tuple[ImageRecord, Sequence[PlatformRecord]]:
            record = find_image(session, image)
            return record, session.image_platforms(record.uid)

        record, platforms = await self._metadata.read(find)
        found = await asyncio.to_thread(inspect, self._content, record, platforms, platform)
        if found.config is None:
            raise Error(
                Reason.UNSUPPORTED, "this is no image of a root file system: it has no config here"
            )
        layers = layers_of(found.manifest, found.config)
        steps = [one.created_by or "" for one in found.config.history if not one.empty_layer]
        return _Image(layers, (steps + [""] * len(layers))[: len(layers)])

    def _missing(
        self, layers: Sequence[tuple[Descriptor, Digest]]
    ) -> list[tuple[Descriptor, Digest]]:
        """Those whose index is still to be built."""
        return [one for one in layers if not self.indexes.path(one[0].digest).exists()]

    @asynccontextmanager
    async def _held(self, digests: Sequence[Digest]) -> AsyncIterator[None]:
        """Holds blobs that are there. Raises BLOB_NOT_FOUND."""
        lease_id = _LEASE + new_uid().lower()

        def hold(session: WriteSession) -> None:
            now = time.time_ns() // 1000
            session.put_lease(LeaseRecord(lease_id, now, now + _HELD, digests=tuple(digests)))

        try:
            await self._metadata.write(hold)
            await asyncio.to_thread(lambda: [self._content.info(one) for one in digests])
            yield
        finally:
            # Writes have an order: this one comes after `hold`, also when nobody saw that end.
            await asyncio.shield(self._metadata.write(lambda session: _end(session, lease_id)))

    def _open_all(
        self, layers: Sequence[tuple[Descriptor, Digest]], stack: ExitStack
    ) -> list[LayerIndex]:
        opened: list[LayerIndex] = []
        for descriptor, diff_id in layers:
            try:
                index = stack.enter_context(LayerIndex(self.indexes.path(descriptor.digest)))
            except sqlite3.OperationalError:
                self._content.info(descriptor.digest)  # went with its layer, just now
                raise
            if index.diff_id != diff_id:
                raise Error(
                    Reason.DIGEST_MISMATCH,
                    f"the layer unpacks to {index.diff_id}, and its image's config says {diff_id}",
                    digest=diff_id,
                )
            opened.append(index)
        return opened

    async def _ensure(self, digest: Digest, diff_id: Digest) -> None:
        building = self._building.get(digest)
        if building is None:
            loop = asyncio.get_running_loop()
            building = loop.run_in_executor(self._builds, self._build, digest, diff_id)
            self._building[digest] = building
            building.add_done_callback(lambda done: self._built(digest, done))
        # Goes on for the others, and for the next time, when one leaves.
        await asyncio.shield(building)

    def _built(self, digest: Digest, done: asyncio.Future[None]) -> None:
        del self._building[digest]
        if not done.cancelled():
            done.exception()

    def _build(self, digest: Digest, diff_id: Digest) -> None:
        if self.indexes.path(digest).exists():
            return
        try:
            with self._content.open(digest) as reader, self.indexes.draft(digest) as draft:
                build_index(_Blob(reader), draft, self._limits, diff_id, self._check)
        except Error as error:
            error.digest = error.digest or digest
            raise

    def _check(self) -> None:
        if self._stopped.is_set():
            raise Error(Reason.SHUTTING_DOWN, "the daemon stops; try again")


def _end(session: WriteSession, lease_id: str) -> None:
    delete_lease(session, lease_id, time.time_ns() // 1000)


def _drop_leases(session: WriteSession) -> None:
    """Of whoever looked when the daemon before this one ended."""
    for record in session.expired_leases(1 << 62, sys.maxsize):
        if record.lease_id.startswith(_LEASE):
            _end(session, record.lease_id)


class _Blob:
    def __init__(self, reader: Reader) -> None:
        self._reader, self._offset = reader, 0

    def read(self, size: int) -> bytes:
        data = self._reader.pread(size, self._offset)
        self._offset += len(data)
        return data

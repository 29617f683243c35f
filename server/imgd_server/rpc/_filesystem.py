"""FilesystemService."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import grpc.aio
from google.protobuf import timestamp_pb2

from imgd.v1 import filesystem_pb2, filesystem_service_pb2
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images import FileTree, LayerUse, Looker, RootfsManager
from imgd_server.oci import Platform
from imgd_server.rootfs import FileChange, FileKind, Found, show
from imgd_server.rpc import _convert
from imgd_server.rpc._container_files import file_change
from imgd_server.rpc._mounts import MountServicer
from imgd_server.rpc._pages import decode_token, encode_token, fitting, page_size

__all__ = ["FilesystemServicer"]

Context = grpc.aio.ServicerContext[Any, Any]

# One message stays below 1 MiB with its framing, and with the file in the first.
_CHUNK = 512 << 10
# Chunks that a thread passes over before it looks whether anybody still waits.
_PASSED = 16
# Of changes: bytes of their paths in one message.
_BATCH = 256 << 10
# Linux's own bound, PATH_MAX.
_MAX_PATH = 4096
# What a message shows of a file's attributes at the most: Linux's own bound is 64 KiB for one.
_MAX_XATTRS = 256 << 10


class FilesystemServicer(MountServicer):
    """The files of images."""

    def __init__(self, rootfs: RootfsManager | None = None, looker: Looker | None = None) -> None:
        super().__init__(rootfs)
        self._looker = looker

    async def ListFiles(
        self, request: filesystem_service_pb2.ListFilesRequest, context: Context
    ) -> filesystem_service_pb2.ListFilesResponse:
        """Returns a page of a directory."""
        path = _path(request) if request.path or request.HasField("raw_path") else b"/"
        tree = request.tree
        layer = tree.layer_index if tree.HasField("layer_index") else -1
        query = [tree.image, tree.platform, layer, path.hex(), request.recursive, request.pattern]
        after: str | None = None
        if request.page_token:
            (after,) = decode_token(query, request.page_token, (str,))
        size = page_size(request.page_size, 1000, 10_000)
        looker = self._need()
        async with self._open(tree) as files:
            page = await looker.run(
                lambda: files.page(path, request.pattern, size, after, recursive=request.recursive)
            )
            messages = [file_message(one) for one in page.files]
            shown = fitting(messages)
            after = page.after
            if len(shown) < len(messages):
                after = files.place(page.files[len(shown) - 1])
        token = encode_token(query, [after]) if after is not None else ""
        return filesystem_service_pb2.ListFilesResponse(files=shown, next_page_token=token)

    async def GetFile(
        self, request: filesystem_service_pb2.GetFileRequest, context: Context
    ) -> filesystem_service_pb2.GetFileResponse:
        """Returns a file's attributes."""
        path = _path(request)
        async with self._open(request.tree) as files:
            found = await self._need().run(lambda: files.find(path, follow=request.follow))
        return filesystem_service_pb2.GetFileResponse(file=file_message(found))

    async def ReadFile(
        self, request: filesystem_service_pb2.ReadFileRequest, context: Context
    ) -> AsyncIterator[filesystem_service_pb2.ReadFileResponse]:
        """Streams a file's bytes."""
        looker, path = self._need(), _path(request)
        async with self._open(request.tree, reads=True) as files:
            found = await looker.run(lambda: files.find(path, follow=True))
            file = found.file
            if file.kind != FileKind.REGULAR:
                raise FieldError("path", f"path: is no regular file: {show(path)}")
            if request.offset > file.size:
                raise FieldError(
                    "offset",
                    f"offset: {request.offset} is beyond the file's {file.size} bytes",
                    reason=Reason.OFFSET_MISMATCH,
                )
            yield filesystem_service_pb2.ReadFileResponse(file=file_message(found))
            with files.open(found) as reader:
                chunks = files.read(reader, found, request.offset, request.limit)
                while (data := await looker.run(lambda: _step(chunks))) is not None:
                    for place in range(0, len(data), _CHUNK):
                        yield filesystem_service_pb2.ReadFileResponse(
                            data=data[place : place + _CHUNK]
                        )

    async def ListLayers(
        self, request: filesystem_service_pb2.ListLayersRequest, context: Context
    ) -> filesystem_service_pb2.ListLayersResponse:
        """Returns what the layers do."""
        usage = await self._need().usage(request.image, _platform(request.platform))
        return filesystem_service_pb2.ListLayersResponse(
            layers=[_layer(one) for one in usage.layers],
            wasted_size=usage.wasted,
            efficiency=usage.efficiency,
        )

    async def ListLayerChanges(
        self, request: filesystem_service_pb2.ListLayerChangesRequest, context: Context
    ) -> AsyncIterator[filesystem_service_pb2.ListLayerChangesResponse]:
        """Streams what a layer does."""
        looker, number = self._need(), request.layer_index
        platform = _platform(request.platform)
        async with looker.open(request.image, platform, number, alone=False) as files:
            changes = files.changes(number)
            while batch := await looker.run(lambda: _batch(changes)):
                yield filesystem_service_pb2.ListLayerChangesResponse(
                    changes=[file_change(one) for one in batch]
                )

    def _need(self) -> Looker:
        if self._looker is None:
            raise Error(Reason.UNSUPPORTED, "this daemon does not look inside images")
        return self._looker

    def _open(
        self, tree: filesystem_service_pb2.TreeSelector, *, reads: bool = False
    ) -> AbstractAsyncContextManager[FileTree]:
        layer = tree.layer_index if tree.HasField("layer_index") else None
        return self._need().open(tree.image, _platform(tree.platform), layer, reads=reads)


def _path(
    request: filesystem_service_pb2.ListFilesRequest
    | filesystem_service_pb2.GetFileRequest
    | filesystem_service_pb2.ReadFileRequest,
) -> bytes:
    """The path that is asked for. Raises FIELD_INVALID."""
    if not request.HasField("raw_path"):
        if not request.path:
            raise FieldError("path", "path: is required")
        if not request.path.startswith("/"):
            raise FieldError("path", "path: must be an absolute path")
        return request.path.encode()
    if request.path:
        raise FieldError("raw_path", "raw_path: is instead of path: leave one out")
    path = request.raw_path
    if not path.startswith(b"/") or b"\0" in path:
        raise FieldError("raw_path", "raw_path: must be an absolute path")
    if len(path) > _MAX_PATH:
        raise FieldError("raw_path", f"raw_path: is longer than {_MAX_PATH} bytes")
    return path


def _platform(text: str) -> Platform | None:
    return Platform.parse(text) if text else None


def _step(chunks: Iterator[bytes]) -> bytes | None:
    """The next bytes; b"" after a while without any, None at the end."""
    passed = None
    for passed in itertools.islice(chunks, _PASSED):
        if passed:
            break
    return passed


def _batch(changes: Iterator[FileChange]) -> list[FileChange]:
    taken: list[FileChange] = []
    size = 0
    for one in changes:
        taken.append(one)
        size += 3 * len(one.path) + 32  # a byte that is no UTF-8 becomes three
        if size > _BATCH:
            break
    return taken


def _layer(use: LayerUse) -> filesystem_pb2.LayerSummary:
    return filesystem_pb2.LayerSummary(
        layer=_convert.descriptor(use.layer),
        diff_id=use.diff_id,
        created_by=use.created_by[:4096],
        added_count=use.added,
        changed_count=use.changed,
        deleted_count=use.deleted,
        unpacked_size=use.unpacked,
        wasted_size=use.wasted,
    )


def file_message(found: Found) -> filesystem_pb2.FileInfo:
    """A file on the wire."""
    file, path = found.file, found.file.path
    text = path.decode("utf-8", "replace")
    message = filesystem_pb2.FileInfo(
        path=text,
        kind=filesystem_pb2.FileKind.ValueType(file.kind),
        size=file.size,
        mode=file.mode,
        uid=file.uid,
        gid=file.gid,
        modify_time=_timestamp(file.mtime),
        link_target=file.link.decode("utf-8", "replace"),
        device_major=file.major,
        device_minor=file.minor,
        layer_index=found.layer,
    )
    if file.xattrs:
        size = 0
        for name, value in file.attributes.items():
            size += len(name) + len(value)
            if size <= _MAX_XATTRS:
                message.xattrs[name] = value
    if text.encode() != path:
        message.raw_path = path
    return message


def _timestamp(nanoseconds: int) -> timestamp_pb2.Timestamp:
    """Archives may have times beyond the years 1 to 9999, which a Timestamp ends at."""
    seconds, nanos = divmod(nanoseconds, 1_000_000_000)
    return timestamp_pb2.Timestamp(
        seconds=max(-62_135_596_800, min(seconds, 253_402_300_799)), nanos=nanos
    )

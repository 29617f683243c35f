"""A layer's stream, inflated and hashed in a thread ahead of whoever reads it.

The compression is told by the first bytes, as containerd and skopeo do: media types are often
wrong, and the diff ID decides in the end. gzip is inflated by ISA-L (three times zlib's speed
here), zstd by libzstd; both let go of the interpreter's lock, and so does hashing.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import IO, Self, cast

from isal import igzip_lib

from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest
from imgd_server.rootfs._protocol import Limits, Stream, invalid, too_large

__all__ = ["CHUNK", "Inflater", "inflated", "packing"]

# Bytes of a chunk handed on. Large, for Python's cost is per chunk; not larger, for a write of
# 1 MiB costs ext4 half as much again as two of 512 KiB.
CHUNK = 512 << 10
# Bytes of a read: inflates to about one chunk.
_READ = 128 << 10
# A gzip member's end leaves the rest of the input unused, and it is copied. Layers for lazy pulling
# have a member for each file, so what is fed begins small and doubles while a member lasts.
_LEAST_FEED = 8 << 10
# Smaller pieces are joined: each chunk costs its way through the queue.
_LEAST_CHUNK = 64 << 10
# Chunks ahead of the reader: 2 MiB.
_AHEAD = 4
# The largest window of a zstd frame (RFC 8878, 3.1.1.1.2) that `zstd` itself takes without --long.
# Frames may ask for 2 GiB of memory.
_ZSTD_WINDOW = 1 << 27

_IsalError = cast("type[Exception]", igzip_lib.IsalError)  # its stub calls it an instance
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_ZSTD_SKIPPABLE = b"\x2a\x4d\x18"  # its first byte is 0x50 to 0x5f


class Inflater:
    """The unpacked chunks of a stream, each once, in order; none is empty.

    Iterating raises LAYER_INVALID for a damaged stream, LAYER_TOO_LARGE beyond the limits, and what
    the stream's `read` raises. Leaving the block ends the thread; a `read` that waits for more
    bytes must be ended by its owner.
    """

    def __init__(
        self, stream: Stream, limits: Limits, algorithm: str = "sha256", *, strict: bool = False
    ) -> None:
        """With `strict` bytes behind the last gzip member are refused."""
        self._strict = strict
        self.packed_bytes = 0
        self.unpacked_bytes = 0
        self._algorithm = algorithm
        self._hasher = Digest.of(b"", algorithm).hasher()
        self._stream, self._limits = stream, limits
        self._queue: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="inflate", daemon=True)

    @property
    def digest(self) -> Digest:
        """The digest of all chunks; meaningful after the last one."""
        return Digest(f"{self._algorithm}:{self._hasher.hexdigest()}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        self._stopped = True
        while self._thread.is_alive():
            try:
                self._queue.get(timeout=0.05)
            except queue.Empty:
                self._thread.join(0.05)

    def __iter__(self) -> Iterator[bytes]:
        while (chunk := self._queue.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    # --- in the thread

    def _run(self) -> None:
        try:
            for chunk in _joined(_inflate(self._read, strict=self._strict)):
                self._count(len(chunk))
                self._hasher.update(chunk)
                self._queue.put(chunk)
                if self._stopped:
                    return
            self._queue.put(None)
        except BaseException as error:  # noqa: BLE001 - handed over to the reader
            self._queue.put(error)

    def _read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.packed_bytes += len(data)
        return data

    def _count(self, length: int) -> None:
        self.unpacked_bytes = total = self.unpacked_bytes + length
        limits = self._limits
        if total > limits.max_bytes:
            raise too_large(f"it unpacks to more than {limits.max_bytes} bytes")
        if total > limits.ratio_floor and total > limits.max_ratio * self.packed_bytes:
            raise too_large(
                f"it unpacks to more than {limits.max_ratio} times its size "
                f"({self.packed_bytes} bytes so far)"
            )


def inflated(read: Callable[[int], bytes]) -> Iterator[bytes]:
    """The unpacked chunks of a stream that is known to be good, in the caller's thread: not hashed,
    and as far as they are asked for."""
    return _joined(_inflate(read))


def _joined(pieces: Iterator[bytes]) -> Iterator[bytes]:
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        if not kept and len(piece) >= _LEAST_CHUNK:
            yield piece
            continue
        kept.append(piece)
        size += len(piece)
        if size >= _LEAST_CHUNK:
            yield b"".join(kept)
            kept.clear()
            size = 0
    if size:
        yield b"".join(kept)


def _inflate(read: Callable[[int], bytes], *, strict: bool = False) -> Iterator[bytes]:
    head = b""
    while len(head) < 4 and (more := read(_READ)):
        head += more
    match packing(head):
        case "gzip":
            return _gunzip(head, read, strict=strict)
        case "zstd":
            return _unzstd(head, read)
    return _plain(head, read)


def packing(head: bytes) -> str:
    """How a stream is compressed, by its first four bytes: `gzip`, `zstd` or not at all ("")."""
    if head.startswith(_GZIP):
        return "gzip"
    if head.startswith(_ZSTD) or (head[1:4] == _ZSTD_SKIPPABLE and head[0] & 0xF0 == 0x50):
        return "zstd"
    return ""


def _plain(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    while head:
        yield head
        head = read(CHUNK)


def _gunzip(data: bytes, read: Callable[[int], bytes], *, strict: bool) -> Iterator[bytes]:
    """Every member of a gzip file (RFC 1952, 2.2).

    What follows the last member and is no member is ignored, as gzip(1) does; Go's reader refuses
    it, and so does `strict`. Either way the diff ID tells whether the right bytes came out.
    """
    position = 0
    while True:
        member = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_GZIP)
        feed = _LEAST_FEED
        try:
            while not member.eof:
                fed = b""
                if member.needs_input:
                    if position == len(data):
                        data, position = read(_READ), 0
                        if not data:
                            raise invalid("its gzip stream ends too early")
                    fed = data[position : position + feed]
                    position += len(fed)
                    feed = min(2 * feed, _READ)
                if piece := member.decompress(fed, CHUNK):
                    yield piece
        except _IsalError as error:
            raise invalid("its gzip stream is damaged") from error
        position -= len(member.unused_data)
        while len(data) - position < len(_GZIP) and (more := read(_READ)):
            data, position = data[position:] + more, 0
        if data[position : position + 2] != _GZIP:
            if strict and position < len(data):
                raise invalid("something follows its gzip stream, which other tools refuse")
            while read(_READ):
                pass
            return


class _Rest:
    """A stream with its first bytes put back, for zstandard."""

    def __init__(self, head: bytes, read: Callable[[int], bytes]) -> None:
        self._head, self._read = head, read

    def read(self, size: int) -> bytes:
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head
        return self._read(size)


def _unzstd(head: bytes, read: Callable[[int], bytes]) -> Iterator[bytes]:
    """Every frame of a zstd file (RFC 8878); skippable ones are skipped.

    An end in the middle of a frame is not told from one behind it: the archive's end, or the diff
    ID, shows it.
    """
    import zstandard  # few layers need it, and it is a megabyte of every worker

    reader = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW).stream_reader(
        cast("IO[bytes]", _Rest(head, read)), read_size=_READ, read_across_frames=True
    )
    try:
        while chunk := reader.read(CHUNK):
            yield chunk
    except zstandard.ZstdError as error:
        if "memory" in str(error):
            raise Error(
                Reason.LAYER_TOO_LARGE,
                f"the layer is refused: its zstd frame needs a window above {_ZSTD_WINDOW} bytes",
            ) from error
        raise invalid("its zstd stream is damaged") from error

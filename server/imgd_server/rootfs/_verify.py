"""Whether an archive that somebody brings is a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imgd_server.oci import Digest
from imgd_server.rootfs import _tar
from imgd_server.rootfs._frames import check_frames
from imgd_server.rootfs._inflate import Inflater, packing
from imgd_server.rootfs._layer import is_mark, is_meta
from imgd_server.rootfs._metadata import is_device_number, owner
from imgd_server.rootfs._protocol import Limits, invalid, show, too_large
from imgd_server.rootfs._tar import Entry, TarReader
from imgd_server.rootfs._tree import clean
from imgd_server.rootfs._xattrs import (
    DEFAULT_ACL,
    MAX_NAME,
    MAX_VALUE,
    is_image_xattr,
    is_possible,
)

__all__ = ["VerifiedLayer", "diff_id_of", "verify_layer"]

Pread = Callable[[int, int], bytes]

# Links take no ACL at all, and it is left out.
_WITH_DEFAULT_ACL = (_tar.DIRECTORY, _tar.SYMLINK)
_MAX_COMPONENT = 255  # bytes of a file's name, NAME_MAX of Linux's file systems
_MARKS_OF_NOTHING = (b".wh.", b".wh..", b".wh...")


@dataclass(frozen=True, slots=True)
class VerifiedLayer:
    """What an archive is: its diff ID, how it is compressed (`gzip`, `zstd` or ""), the bytes of
    its regular files, without holes, and its own, unpacked."""

    diff_id: Digest
    packing: str
    file_bytes: int
    unpacked_bytes: int


def verify_layer(
    pread: Pread,
    limits: Limits,
    check: Callable[[], None],
    algorithm: str = "sha256",
    *,
    strict: bool = True,
) -> VerifiedLayer:
    """Reads an archive to its end, unpacking nothing. `pread(length, offset)` reads its blob;
    `check` is called now and then, and may raise. `algorithm` is the diff ID's. With `strict` bytes
    behind the last gzip member are refused, which the diff ID does not speak of. Blocks.

    Raises LAYER_INVALID for what is no archive, would leave its root, or can be no file on Linux,
    and LAYER_TOO_LARGE. What only unpacking can find (links to what is not there) is found then.
    """
    stream = _Stream(pread, check)
    kind = packing(pread(4, 0))
    if kind == "zstd":
        check_frames(pread, check)
    file_bytes = 0
    with Inflater(stream, limits, algorithm, strict=strict) as inflater:
        reader = TarReader(_checked(inflater, check), limits)
        while (entry := reader.next()) is not None:
            if reader.entries > limits.max_entries:
                raise too_large(f"it has more than {limits.max_entries} entries")
            if _check(entry, limits) and entry.kind == _tar.REGULAR:
                file_bytes += entry.size
    return VerifiedLayer(inflater.digest, kind, file_bytes, inflater.unpacked_bytes)


def _check(entry: Entry, limits: Limits) -> bool:
    """Refuses what can't be a file; says whether it is one, and no mark of removal."""
    folder, _, name = clean(entry.name, limits).rpartition(b"/")
    if is_meta(folder):
        return False
    if not name and entry.kind != _tar.DIRECTORY:
        raise invalid("an entry would replace the root by a file")
    if name in _MARKS_OF_NOTHING:
        raise invalid(f"a whiteout marks no file: {show(entry.name)}")
    _check_components(entry.name, folder, name[4:] if is_mark(name) else name)
    is_device = entry.kind in (_tar.CHAR_DEVICE, _tar.BLOCK_DEVICE)
    removes = entry.kind == _tar.CHAR_DEVICE and (entry.major, entry.minor) == (0, 0)
    if is_mark(name) or removes:
        return False  # of which nothing but the name counts
    if entry.kind == _tar.LINK:
        if not (target := clean(entry.link, limits)):
            raise invalid(f"{show(entry.name)} links to the root")
        _check_components(entry.name, target)
        return True  # its own metadata are ignored: they are the file's
    if entry.kind == _tar.SYMLINK and not 0 < len(entry.link) <= limits.max_path:
        raise invalid(f"{show(entry.name)} is a link to nothing, or to what is too long")
    if is_device and not is_device_number(entry):
        raise invalid(f"{show(entry.name)} has an impossible device number")
    owner(entry)
    for key, value in (entry.xattrs or {}).items():
        _check_attribute(entry, key, value)
    return True


def _check_components(name: bytes, *paths: bytes) -> None:
    longest = max(len(one) for path in paths for one in path.split(b"/"))
    if longest > _MAX_COMPONENT:
        raise invalid(f"{show(name)} has a part of {longest} bytes, and {_MAX_COMPONENT} can be")


def _check_attribute(entry: Entry, key: bytes, value: bytes) -> None:
    if not is_image_xattr(key):
        return
    if len(key) > MAX_NAME or len(value) > MAX_VALUE:
        raise too_large(f"an attribute of {show(entry.name)} is too large")
    # An ACL of what is created in it, of what is no directory; an empty one is none.
    misplaced = key == DEFAULT_ACL and len(value) > 4 and entry.kind not in _WITH_DEFAULT_ACL
    if misplaced or not is_possible(key, value):
        raise invalid(f"{show(entry.name)} has an impossible attribute {show(key)}")


def diff_id_of(pread: Pread, algorithm: str, limits: Limits, check: Callable[[], None]) -> Digest:
    """What a layer's blob unpacks to, without unpacking it. Blocks. Arguments as of `verify_layer`.

    Raises LAYER_INVALID, LAYER_TOO_LARGE.
    """
    stream = _Stream(pread, check)
    if packing(pread(4, 0)) == "zstd":
        check_frames(pread, check)
    with Inflater(stream, limits, algorithm) as inflater:
        for _ in inflater:
            check()
    return inflater.digest


def _checked(chunks: Inflater, check: Callable[[], None]) -> Iterator[bytes]:
    for chunk in chunks:
        check()
        yield chunk


class _Stream:
    def __init__(self, pread: Pread, check: Callable[[], None]) -> None:
        self._pread, self._check = pread, check
        self._offset = 0

    def read(self, size: int, /) -> bytes:
        self._check()
        data = self._pread(size, self._offset)
        self._offset += len(data)
        return data

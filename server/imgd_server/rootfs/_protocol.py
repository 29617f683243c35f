"""What goes into unpacking a layer, and what comes out.

Everything here blocks and belongs into worker threads. Failures are `errors.Error`: LAYER_INVALID
for an archive that breaks the format or tries to leave its root, LAYER_TOO_LARGE for one beyond a
bound of `Limits`, DIGEST_MISMATCH when it is not what its diff ID says, DISK_FULL.
"""

from __future__ import annotations

import enum
import errno
import os
from dataclasses import astuple, dataclass, field
from operator import add
from typing import Protocol

from imgd_server.content import Cancellation
from imgd_server.errors import Error, Reason
from imgd_server.oci import Digest

__all__ = [
    "AppliedLayer",
    "ApplyOptions",
    "Cancellation",
    "LayerSource",
    "LayerStats",
    "Limits",
    "Stream",
    "Whiteouts",
    "invalid",
    "no_room",
    "show",
    "too_large",
]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_SHOWN = 200  # characters of a name in a message


class Stream(Protocol):
    """A layer's bytes in order, as they are stored: compressed or not."""

    def read(self, size: int, /) -> bytes:
        """Up to `size` bytes, waiting for the first; b"" at the end."""
        ...


class LayerSource(Protocol):
    """A layer's bytes in a regular file that may still be growing: the part of `content.Followed`
    that unpacking needs."""

    def fileno(self) -> int:
        """A descriptor, open for reading, of the file with the layer's bytes from offset 0 on.
        Called after the first `wait`."""
        ...

    def wait(self, offset: int, cancellation: Cancellation) -> int:
        """Blocks until the file holds more than `offset` bytes, or is complete and verified;
        returns how many it holds. At the end that is `offset`, or less.

        Raises StartedOverError when bytes that it held are none of the layer's, what ended the
        download, and CANCELLED soon after the cancellation, which is also that of the other layers'
        failure.
        """
        ...

    def close(self) -> None:
        """Closes the descriptor."""
        ...


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one layer; what is beyond raises LAYER_TOO_LARGE.

    Attributes:
        max_bytes: Of the unpacked archive. The largest layers seen (CUDA, models) have about 20 GB.
        max_ratio: Unpacked bytes for each stored one, once `ratio_floor` is passed. deflate ends
            at 1,032; real layers stay below 20, but a file of zeros is no crime.
        ratio_floor: Unpacked bytes that need no excuse.
        max_entries: Of the archive, and directories that it has no entry for.
        max_noted: Bytes of the paths that are remembered until the layer's end: of directories and
            whiteouts, and of every file for APPLY. Links make a path long that an archive names in
            a few bytes; real layers stay below 20 MiB.
        max_file_bytes: Of one file with its holes: a sparse file's length costs no byte on disk,
            but those who copy it later.
        max_path: Bytes of a name; Linux's PATH_MAX, with its end.
        max_depth: Folders in a name, each of which costs a descriptor.
        max_header: Bytes of an extended header (PAX, GNU long name): Go's reader has the same.
        max_extents: Data extents of a sparse file.
    """

    max_bytes: int = 64 << 30
    max_ratio: int = 500
    ratio_floor: int = 1 << 30
    max_entries: int = 2_000_000
    max_noted: int = 128 << 20
    max_file_bytes: int = 1 << 40
    max_path: int = 4095
    max_depth: int = 256
    max_header: int = 1 << 20
    max_extents: int = 1 << 17


class Whiteouts(enum.Enum):
    """What a layer's marks of removal become."""

    OVERLAY = "overlay"
    """The layer gets a directory of its own, for overlayfs: a removed file is a character device
    0:0, an opaque directory has the attribute `overlay.opaque`. Layers don't need each other."""
    APPLY = "apply"
    """The layer goes onto the tree of the layers below it: marked files are removed there."""


@dataclass(frozen=True, slots=True)
class ApplyOptions:
    """How a layer is applied.

    Attributes:
        whiteouts: What marks of removal become.
        limits: Bounds.
        privileged: Whether owners, devices and privileged attributes are kept (root of the initial
            user namespace). Otherwise every file is the caller's own, and devices are left out.
        overlay_prefix: Of overlayfs's attributes: `trusted.`, or `user.` for mounts with
            `userxattr`.
    """

    whiteouts: Whiteouts = Whiteouts.OVERLAY
    limits: Limits = field(default_factory=Limits)
    privileged: bool = True
    overlay_prefix: str = "trusted."


@dataclass(slots=True)
class LayerStats:
    """What a layer held.

    Attributes:
        packed_bytes: Bytes as stored.
        unpacked_bytes: Bytes of the archive: what the diff ID is of.
        entries: Entries of the archive, whiteouts included.
        file_bytes: Bytes of regular files, without holes.
        skipped_devices: Devices left out for want of privilege.
        skipped_xattrs: Extended attributes left out: host-bound ones (`trusted.*`,
            `security.selinux`, …), overlayfs's own, and what the file system does not take.
    """

    packed_bytes: int = 0
    unpacked_bytes: int = 0
    entries: int = 0
    file_bytes: int = 0
    skipped_devices: int = 0
    skipped_xattrs: int = 0

    def __add__(self, other: LayerStats) -> LayerStats:
        return LayerStats(*map(add, astuple(self), astuple(other)))


@dataclass(frozen=True, slots=True)
class AppliedLayer:
    """A layer that was applied and whose diff ID was verified.

    The paths are relative to the root, with no link in them, and what `settle` needs to fit a
    directory of an OVERLAY layer onto those below it. They are empty after APPLY.

    Attributes:
        diff_id: Of the unpacked archive.
        stats: What it held.
        implied: Directories that the archive names only as parents. b"" is the root.
        renewed: Those of them that took the place of something, or that a whiteout speaks of: they
            have nothing of the directory below.
        whiteouts: Character devices made for whiteouts.
        opaque: Opaque directories.
    """

    diff_id: Digest
    stats: LayerStats
    implied: tuple[bytes, ...] = ()
    renewed: tuple[bytes, ...] = ()
    whiteouts: tuple[bytes, ...] = ()
    opaque: tuple[bytes, ...] = ()


def no_room(error: OSError) -> Error | None:
    """DISK_FULL, if that is what the error says."""
    if error.errno not in _NO_ROOM:
        return None
    return Error(
        Reason.DISK_FULL,
        f"no room on the disk: {os.strerror(error.errno)}; free some, and try again",
    )


def show(name: bytes) -> str:
    """A name for a message: quoted, escaped, cut."""
    text = repr(name.decode("utf-8", "backslashreplace"))
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(name)} bytes)"


def invalid(message: str) -> Error:
    """LAYER_INVALID."""
    return Error(Reason.LAYER_INVALID, f"the layer is refused: {message}")


def too_large(message: str) -> Error:
    """LAYER_TOO_LARGE."""
    return Error(Reason.LAYER_TOO_LARGE, f"the layer is refused: {message}")

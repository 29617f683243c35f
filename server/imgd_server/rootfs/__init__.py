"""Layers into files: unpacking, fast and safely, and the store of what was unpacked.

`Unpacker` unpacks an image's layers into a `SnapshotStore`; `apply_layer` is the engine under it,
for one archive and one directory. `LayerSource` is how bytes come in that are still being fetched.
"""

from imgd_server.rootfs._apply import apply_layer
from imgd_server.rootfs._changes import (
    Change,
    ChangeKind,
    FileChange,
    overlay_changes,
    tree_changes,
)
from imgd_server.rootfs._copy import copy_tree
from imgd_server.rootfs._index import VERSION as INDEX_VERSION
from imgd_server.rootfs._index import FileKind, IndexedFile, LayerIndex, build_index
from imgd_server.rootfs._inflate import Inflater, inflated
from imgd_server.rootfs._inside import read_inside
from imgd_server.rootfs._merged import Found, MergedTree, Met
from imgd_server.rootfs._mount import (
    Overlay,
    can_overlay,
    is_mount,
    is_privileged,
    mount_bind,
    mount_overlay,
    see_overlay,
    unmount,
)
from imgd_server.rootfs._pack import Compression, PackedLayer, pack_layer
from imgd_server.rootfs._protocol import (
    AppliedLayer,
    ApplyOptions,
    Cancellation,
    LayerSource,
    LayerStats,
    Limits,
    Stream,
    Whiteouts,
    no_room,
    show,
)
from imgd_server.rootfs._read import read_file
from imgd_server.rootfs._settle import settle
from imgd_server.rootfs._store import Draft, Kind, Snapshot, SnapshotStore, chain_ids
from imgd_server.rootfs._tar import DIRECTORY, LINK, REGULAR, SYMLINK, TarReader
from imgd_server.rootfs._tree import Tree, remove
from imgd_server.rootfs._unpack import Layer, Unpacker, stored_layer
from imgd_server.rootfs._verify import VerifiedLayer, diff_id_of, verify_layer

__all__ = [
    "DIRECTORY",
    "INDEX_VERSION",
    "LINK",
    "REGULAR",
    "SYMLINK",
    "AppliedLayer",
    "ApplyOptions",
    "Cancellation",
    "Change",
    "ChangeKind",
    "Compression",
    "Draft",
    "FileChange",
    "FileKind",
    "Found",
    "IndexedFile",
    "Inflater",
    "Kind",
    "Layer",
    "LayerIndex",
    "LayerSource",
    "LayerStats",
    "Limits",
    "MergedTree",
    "Met",
    "Overlay",
    "PackedLayer",
    "Snapshot",
    "SnapshotStore",
    "Stream",
    "TarReader",
    "Tree",
    "Unpacker",
    "VerifiedLayer",
    "Whiteouts",
    "apply_layer",
    "build_index",
    "can_overlay",
    "chain_ids",
    "copy_tree",
    "diff_id_of",
    "inflated",
    "is_mount",
    "is_privileged",
    "mount_bind",
    "mount_overlay",
    "no_room",
    "overlay_changes",
    "pack_layer",
    "read_file",
    "read_inside",
    "remove",
    "see_overlay",
    "settle",
    "show",
    "stored_layer",
    "tree_changes",
    "unmount",
    "verify_layer",
]

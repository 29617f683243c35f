"""Layers into files: unpacking, fast and safely, and the store of what was unpacked.

`Unpacker` unpacks an image's layers into a `SnapshotStore`; `apply_layer` is the engine under it,
for one archive and one directory. `LayerSource` is how bytes come in that are still being fetched.
"""

from imgd_server.rootfs._apply import apply_layer
from imgd_server.rootfs._changes import ChangeKind, FileChange, overlay_changes, tree_changes
from imgd_server.rootfs._copy import copy_tree
from imgd_server.rootfs._inside import read_inside
from imgd_server.rootfs._mount import (
    Overlay,
    can_overlay,
    is_mount,
    is_privileged,
    mount_overlay,
    unmount,
)
from imgd_server.rootfs._protocol import (
    AppliedLayer,
    ApplyOptions,
    Cancellation,
    LayerSource,
    LayerStats,
    Limits,
    Stream,
    Whiteouts,
)
from imgd_server.rootfs._settle import settle
from imgd_server.rootfs._store import Draft, Kind, Snapshot, SnapshotStore, chain_ids
from imgd_server.rootfs._tree import Tree, remove
from imgd_server.rootfs._unpack import Layer, Unpacker, stored_layer

__all__ = [
    "AppliedLayer",
    "ApplyOptions",
    "Cancellation",
    "ChangeKind",
    "Draft",
    "FileChange",
    "Kind",
    "Layer",
    "LayerSource",
    "LayerStats",
    "Limits",
    "Overlay",
    "Snapshot",
    "SnapshotStore",
    "Stream",
    "Tree",
    "Unpacker",
    "Whiteouts",
    "apply_layer",
    "can_overlay",
    "chain_ids",
    "copy_tree",
    "is_mount",
    "is_privileged",
    "mount_overlay",
    "overlay_changes",
    "read_inside",
    "remove",
    "settle",
    "stored_layer",
    "tree_changes",
    "unmount",
]

"""Layers into files: unpacking, fast and safely, and the store of what was unpacked.

`Unpacker` unpacks an image's layers into a `SnapshotStore`; `apply_layer` is the engine under it,
for one archive and one directory. `LayerSource` is how bytes come in that are still being fetched.
"""

from imgd_server.rootfs._apply import apply_layer
from imgd_server.rootfs._mount import can_overlay, is_privileged
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
from imgd_server.rootfs._unpack import Layer, Unpacker, stored_layer

__all__ = [
    "AppliedLayer",
    "ApplyOptions",
    "Cancellation",
    "Draft",
    "Kind",
    "Layer",
    "LayerSource",
    "LayerStats",
    "Limits",
    "Snapshot",
    "SnapshotStore",
    "Stream",
    "Unpacker",
    "Whiteouts",
    "apply_layer",
    "can_overlay",
    "chain_ids",
    "is_privileged",
    "settle",
    "stored_layer",
]

"""What images mean: describing stored content as an image, looking images up and into them."""

from imgd_server.images._building import ImageBuilder, NewAppend, NewCommit, Shown
from imgd_server.images._bundle import BundleRequest
from imgd_server.images._check import Problem, check_store
from imgd_server.images._collect import Collection, collect, expire
from imgd_server.images._containers import (
    NewContainer,
    beat_container,
    create_container,
    expire_containers,
    find_container,
    pause_container,
    remove_container,
    start_container,
    stop_container,
)
from imgd_server.images._describe import (
    MAX_INDEX_DEPTH,
    MAX_MANIFESTS,
    Description,
    Only,
    children,
    describe,
    describe_held,
    read_manifest,
)
from imgd_server.images._details import Details, details_of, fitting_images
from imgd_server.images._event_filters import event_fits, parse_event_filters
from imgd_server.images._filters import FILTER_KEYS, Filters, parse_filters
from imgd_server.images._holds import LABEL, Holds, holds_of, image_event
from imgd_server.images._housekeeping import Housekeeper, HousekeepingConfig, Water
from imgd_server.images._importing import IncomingLayer, incoming_layer
from imgd_server.images._indexes import LayerIndexes
from imgd_server.images._inspect import Inspection, choose_target, inspect
from imgd_server.images._instructions import ConfigChanges
from imgd_server.images._leases import (
    NewLease,
    create_lease,
    delete_lease,
    expire_leases,
    find_lease,
    renew_lease,
    take_lease,
)
from imgd_server.images._looking import FileTree, LayerUsage, LayerUse, Looker
from imgd_server.images._lookup import find_image, new_uid
from imgd_server.images._naming import Tagged, tag_image, untag_image
from imgd_server.images._patterns import PatternError, ReferencePattern
from imgd_server.images._preparing import RootfsManager, View
from imgd_server.images._pruning import Pruned, prune_images
from imgd_server.images._removing import Removal, remove_image
from imgd_server.images._rootfs import Rootfs, RootfsStore
from imgd_server.images._shown import ShownImages
from imgd_server.images._snapshots import sweep_snapshots, unpacked_sizes
from imgd_server.images._unpacking import (
    LayerUnpacker,
    Unpacked,
    is_unpackable,
    layers_of,
    record_unpacked,
)
from imgd_server.images._uploads import BlobUploads, NewUpload, Upload
from imgd_server.images._usage import StoreUsage, Usage, usage_of
from imgd_server.images._views import ViewStore

__all__ = [
    "FILTER_KEYS",
    "LABEL",
    "MAX_INDEX_DEPTH",
    "MAX_MANIFESTS",
    "BlobUploads",
    "BundleRequest",
    "Collection",
    "ConfigChanges",
    "Description",
    "Details",
    "FileTree",
    "Filters",
    "Holds",
    "Housekeeper",
    "HousekeepingConfig",
    "ImageBuilder",
    "IncomingLayer",
    "Inspection",
    "LayerIndexes",
    "LayerUnpacker",
    "LayerUsage",
    "LayerUse",
    "Looker",
    "NewAppend",
    "NewCommit",
    "NewContainer",
    "NewLease",
    "NewUpload",
    "Only",
    "PatternError",
    "Problem",
    "Pruned",
    "ReferencePattern",
    "Removal",
    "Rootfs",
    "RootfsManager",
    "RootfsStore",
    "Shown",
    "ShownImages",
    "StoreUsage",
    "Tagged",
    "Unpacked",
    "Upload",
    "Usage",
    "View",
    "ViewStore",
    "Water",
    "beat_container",
    "check_store",
    "children",
    "choose_target",
    "collect",
    "create_container",
    "create_lease",
    "delete_lease",
    "describe",
    "describe_held",
    "details_of",
    "event_fits",
    "expire",
    "expire_containers",
    "expire_leases",
    "find_container",
    "find_image",
    "find_lease",
    "fitting_images",
    "holds_of",
    "image_event",
    "incoming_layer",
    "inspect",
    "is_unpackable",
    "layers_of",
    "new_uid",
    "parse_event_filters",
    "parse_filters",
    "pause_container",
    "prune_images",
    "read_manifest",
    "record_unpacked",
    "remove_container",
    "remove_image",
    "renew_lease",
    "start_container",
    "stop_container",
    "sweep_snapshots",
    "tag_image",
    "take_lease",
    "unpacked_sizes",
    "untag_image",
    "usage_of",
]

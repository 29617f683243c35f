"""The formats of container images: parsed, validated and written, with no input or output.

References, digests, descriptors, platforms, manifests, indexes and image configs are values that
hold only what their formats allow. Whatever does not fit raises `FormatError` and nothing else.
"""

from . import media
from ._archive import (
    DOCKER_DOCUMENT,
    LAYOUT_DOCUMENT,
    LAYOUT_INDEX,
    MAX_ARCHIVE_IMAGES,
    DockerImage,
    LayoutImage,
    blob_path,
    docker_document,
    docker_manifest,
    is_layout,
    layout_document,
    layout_entry,
    layout_index,
    named_entry,
    parse_blob_path,
    parse_docker_document,
    parse_layout_index,
    select_entry,
)
from ._config import MAX_CONFIG_BYTES, HistoryEntry, ImageConfig, parse_config
from ._descriptor import Descriptor
from ._digest import Digest, Hasher
from ._errors import FormatError
from ._manifest import (
    MAX_INDEX_ENTRIES,
    MAX_LAYERS,
    MAX_MANIFEST_BYTES,
    Index,
    Manifest,
    manifest_type,
    parse_manifest,
)
from ._platform import Platform, is_attestation, select_platforms
from ._reference import (
    DEFAULT_DOMAIN,
    DEFAULT_TAG,
    Reference,
    ReferenceClass,
    is_loopback_host,
)
from ._time import parse_rfc3339

__all__ = [
    "DEFAULT_DOMAIN",
    "DEFAULT_TAG",
    "DOCKER_DOCUMENT",
    "LAYOUT_DOCUMENT",
    "LAYOUT_INDEX",
    "MAX_ARCHIVE_IMAGES",
    "MAX_CONFIG_BYTES",
    "MAX_INDEX_ENTRIES",
    "MAX_LAYERS",
    "MAX_MANIFEST_BYTES",
    "Descriptor",
    "Digest",
    "DockerImage",
    "FormatError",
    "Hasher",
    "HistoryEntry",
    "ImageConfig",
    "Index",
    "LayoutImage",
    "Manifest",
    "Platform",
    "Reference",
    "ReferenceClass",
    "blob_path",
    "docker_document",
    "docker_manifest",
    "is_attestation",
    "is_layout",
    "is_loopback_host",
    "layout_document",
    "layout_entry",
    "layout_index",
    "manifest_type",
    "media",
    "named_entry",
    "parse_blob_path",
    "parse_config",
    "parse_docker_document",
    "parse_layout_index",
    "parse_manifest",
    "parse_rfc3339",
    "select_entry",
    "select_platforms",
]

"""Media types of manifests, configs and layers (OCI image 1.1 media-types.md; Docker schema 2)."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ACCEPT_MANIFESTS",
    "DOCKER_CONFIG",
    "DOCKER_FOREIGN_LAYER",
    "DOCKER_FOREIGN_LAYER_PLAIN",
    "DOCKER_LAYER",
    "DOCKER_LAYER_PLAIN",
    "DOCKER_LAYER_ZSTD",
    "DOCKER_MANIFEST",
    "DOCKER_MANIFEST_LIST",
    "DOCKER_SCHEMA1",
    "DOCKER_SCHEMA1_SIGNED",
    "OCI_CONFIG",
    "OCI_EMPTY",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_NONDIST",
    "OCI_LAYER_NONDIST_GZIP",
    "OCI_LAYER_NONDIST_ZSTD",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "essence",
    "is_foreign_layer",
    "is_image_config",
    "is_index",
    "is_layer",
    "is_manifest",
    "is_schema1",
]

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG: Final = "application/vnd.oci.image.config.v1+json"
OCI_EMPTY: Final = "application/vnd.oci.empty.v1+json"
OCI_LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD: Final = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_LAYER_NONDIST: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_LAYER_NONDIST_GZIP: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
OCI_LAYER_NONDIST_ZSTD: Final = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"

DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_PLAIN: Final = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_ZSTD: Final = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN_LAYER: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
DOCKER_FOREIGN_LAYER_PLAIN: Final = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_SCHEMA1: Final = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED: Final = "application/vnd.docker.distribution.manifest.v1+prettyjws"

ACCEPT_MANIFESTS: Final[tuple[str, ...]] = (
    OCI_INDEX,
    OCI_MANIFEST,
    DOCKER_MANIFEST_LIST,
    DOCKER_MANIFEST,
)
"""What a request for a manifest accepts, in the order of the ``Accept`` header."""

_MANIFESTS: Final = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
_INDEXES: Final = frozenset({OCI_INDEX, DOCKER_MANIFEST_LIST})
_SCHEMA1: Final = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
_CONFIGS: Final = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_FOREIGN_LAYERS: Final = {
    OCI_LAYER_NONDIST,
    OCI_LAYER_NONDIST_GZIP,
    OCI_LAYER_NONDIST_ZSTD,
    DOCKER_FOREIGN_LAYER,
    DOCKER_FOREIGN_LAYER_PLAIN,
}
_LAYERS: Final = {
    OCI_LAYER,
    OCI_LAYER_GZIP,
    OCI_LAYER_ZSTD,
    DOCKER_LAYER,
    DOCKER_LAYER_PLAIN,
    DOCKER_LAYER_ZSTD,
    *_FOREIGN_LAYERS,
}


def essence(media_type: str) -> str:
    """Return a media type without parameters and in lower case (RFC 9110, section 8.3.1)."""
    return media_type.partition(";")[0].strip().lower()


def is_manifest(media_type: str) -> bool:
    """Say whether this is the manifest of one image or artifact; an index is not."""
    return essence(media_type) in _MANIFESTS


def is_index(media_type: str) -> bool:
    """Say whether this is an OCI index or a Docker manifest list."""
    return essence(media_type) in _INDEXES


def is_schema1(media_type: str) -> bool:
    """Say whether this is a Docker schema 1 manifest, signed or not."""
    return essence(media_type) in _SCHEMA1


def is_layer(media_type: str) -> bool:
    """Say whether this is a layer of a root filesystem, foreign ones included."""
    return essence(media_type) in _LAYERS


def is_foreign_layer(media_type: str) -> bool:
    """Say whether this layer is fetched from its URLs and is not to be pushed."""
    return essence(media_type) in _FOREIGN_LAYERS


def is_image_config(media_type: str) -> bool:
    """Say whether this is an image's config, as opposed to an artifact's."""
    return essence(media_type) in _CONFIGS

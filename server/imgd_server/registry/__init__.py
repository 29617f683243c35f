"""Registries as a client sees them: transport, authentication, hosts, fetching."""

from imgd_server.registry._client import HttpRegistryClient, RegistryConfig
from imgd_server.registry._protocol import (
    BlobSource,
    BlobStream,
    Cancellation,
    Credentials,
    FetchedManifest,
    PushedBlob,
    PushedManifest,
    RegistryClient,
    RegistryPusher,
    Resolved,
    Upload,
)
from imgd_server.registry._push import HttpRegistryPusher

__all__ = [
    "BlobSource",
    "BlobStream",
    "Cancellation",
    "Credentials",
    "FetchedManifest",
    "HttpRegistryClient",
    "HttpRegistryPusher",
    "PushedBlob",
    "PushedManifest",
    "RegistryClient",
    "RegistryConfig",
    "RegistryPusher",
    "Resolved",
    "Upload",
]

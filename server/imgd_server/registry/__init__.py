"""Registries as a client sees them: transport, authentication, hosts, fetching."""

from imgd_server.registry._client import HttpRegistryClient, RegistryConfig
from imgd_server.registry._protocol import (
    BlobStream,
    Cancellation,
    Credentials,
    FetchedManifest,
    RegistryClient,
    Resolved,
)

__all__ = [
    "BlobStream",
    "Cancellation",
    "Credentials",
    "FetchedManifest",
    "HttpRegistryClient",
    "RegistryClient",
    "RegistryConfig",
    "Resolved",
]

"""Registries as a client sees them: transport, authentication, hosts, fetching."""

from imgd_server.registry._asking import RegistryConfig
from imgd_server.registry._budgets import RateBudget
from imgd_server.registry._client import HttpRegistryClient
from imgd_server.registry._lookups import Found, Lookups, NamePage
from imgd_server.registry._policy import HostPattern, RegistryPolicy
from imgd_server.registry._protocol import (
    BlobSize,
    BlobSource,
    BlobStream,
    Cancellation,
    Credentials,
    FetchedManifest,
    PausedError,
    Privacy,
    PushedBlob,
    PushedManifest,
    RangeStream,
    RegistryClient,
    RegistryPusher,
    Resolved,
    Upload,
)
from imgd_server.registry._proxies import Proxies
from imgd_server.registry._push import HttpRegistryPusher
from imgd_server.registry._settings import (
    RegistrySettings,
    parse_registries,
    read_hosts_folder,
)

__all__ = [
    "BlobSize",
    "BlobSource",
    "BlobStream",
    "Cancellation",
    "Credentials",
    "FetchedManifest",
    "Found",
    "HostPattern",
    "HttpRegistryClient",
    "HttpRegistryPusher",
    "Lookups",
    "NamePage",
    "PausedError",
    "Privacy",
    "Proxies",
    "PushedBlob",
    "PushedManifest",
    "RangeStream",
    "RateBudget",
    "RegistryClient",
    "RegistryConfig",
    "RegistryPolicy",
    "RegistryPusher",
    "RegistrySettings",
    "Resolved",
    "Upload",
    "parse_registries",
    "read_hosts_folder",
]

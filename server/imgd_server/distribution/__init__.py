"""The registry inside: OCI distribution 1.1 over the daemon's own store, and the sample images."""

from imgd_server.distribution._access import Access, AccessConfig, open_access
from imgd_server.distribution._cache import Cache, CacheConfig
from imgd_server.distribution._samples import SampleStore, open_samples
from imgd_server.distribution._server import RegistryServer, check_listen
from imgd_server.distribution._tls import open_tls

__all__ = [
    "Access",
    "AccessConfig",
    "Cache",
    "CacheConfig",
    "RegistryServer",
    "SampleStore",
    "check_listen",
    "open_access",
    "open_samples",
    "open_tls",
]

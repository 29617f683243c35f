"""The registry inside: OCI distribution 1.1 over the daemon's own store, and the sample images."""

from imgd_server.distribution._samples import SampleStore, open_samples
from imgd_server.distribution._server import RegistryServer

__all__ = ["RegistryServer", "SampleStore", "open_samples"]

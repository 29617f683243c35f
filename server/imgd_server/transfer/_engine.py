"""What all transfers of a daemon work with."""

from __future__ import annotations

from dataclasses import dataclass, field

from imgd_server.errors import Error, Reason
from imgd_server.images import LayerUnpacker
from imgd_server.metadata import MetadataStore
from imgd_server.transfer._fetch import Fetcher
from imgd_server.transfer._flight import FlightTable
from imgd_server.transfer._layouts import allowed_place
from imgd_server.transfer._proofs import ProofConfig, Proofs
from imgd_server.transfer._ranges import RangesConfig
from imgd_server.transfer._retry import RetryPolicy
from imgd_server.transfer._room import Room
from imgd_server.transfer._send import Sender
from imgd_server.transfer._spec import (
    LayoutEndpoint,
    RegistryEndpoint,
    StoreEndpoint,
    TransferSpec,
)

__all__ = ["MAX_CONCURRENT_BLOBS", "Engine", "TransferConfig"]

MAX_CONCURRENT_BLOBS = 64
"""The most blobs that one transfer moves at once, whatever is configured or asked for."""


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """Bounds and times, in seconds. GetCapabilities shows those that clients can meet."""

    max_running: int = 64
    # So many more are accepted and wait; each takes some memory, and a record.
    max_pending: int = 5000
    # One connection rarely fills a line, and registries limit how many a client may open.
    max_concurrent_blobs: int = 6
    # Of all transfers' blobs together; 0 for no bound.
    max_bytes_per_second: int = 0
    # Threads that move blobs, over all transfers; and as many for what is small. A registry that is
    # slow, or stands still, has no more of them than this: others go on beside some of its kind.
    max_threads: int = 64
    max_threads_per_registry: int = 16
    retention: float = 24 * 3600.0
    # What a pull leaves unfinished stays so long for a resume.
    partial_lifetime: float = 7 * 24 * 3600.0
    min_watch_interval: float = 0.02
    default_watch_interval: float = 0.1
    heartbeat: float = 15.0
    # A load that was started waits so long for its archive.
    archive_patience: float = 300.0
    # Folders below which callers may name OCI layouts.
    layout_roots: tuple[str, ...] = ()
    # An end that could not be recorded is tried again so often.
    record_interval: float = 5.0
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    ranges: RangesConfig = field(default_factory=RangesConfig)
    proofs: ProofConfig = field(default_factory=ProofConfig)


@dataclass(frozen=True, slots=True)
class Engine:
    """The parts that transfers share. Without an `unpacker` or a `sender` some are refused."""

    metadata: MetadataStore
    config: TransferConfig
    fetcher: Fetcher
    flights: FlightTable
    room: Room
    unpacker: LayerUnpacker | None
    sender: Sender | None

    @property
    def proofs(self) -> Proofs:
        """Who may have what is stored."""
        return Proofs(self.metadata, self.config.proofs, self.fetcher, self.flights)

    def check(self, spec: TransferSpec) -> None:
        """Raises UNSUPPORTED for what this daemon has no part for, FIELD_INVALID for a folder where
        callers may name none."""
        destination = spec.destination
        for side, endpoint in (("source", spec.source), ("destination", destination)):
            if isinstance(endpoint, LayoutEndpoint):
                allowed_place(endpoint.path, self.config.layout_roots, f"{side}.layout.path")
        source = spec.source
        if spec.is_pull and isinstance(source, RegistryEndpoint) and self.sender is None:
            for wish in ("all_tags", "include_referrers"):
                if getattr(source, wish):
                    raise Error(Reason.UNSUPPORTED, f"this daemon can't list: leave out {wish}")
        if isinstance(destination, RegistryEndpoint):
            if self.sender is None:
                raise Error(Reason.UNSUPPORTED, "this daemon can't write to registries")
        elif isinstance(destination, StoreEndpoint) and (
            destination.unpack and self.unpacker is None
        ):
            raise Error(Reason.UNSUPPORTED, "this daemon can't unpack layers: leave out unpack")

    def concurrency(self, spec: TransferSpec) -> int:
        """How many blobs a transfer moves at once: with a bound on its bytes, one fills that."""
        most = self.config.max_concurrent_blobs
        usual = 1 if spec.max_bytes_per_second else most
        return min(spec.max_concurrency or usual, most)

"""Moving images: specs, runs, progress, outcomes.

`TransferManager` runs transfers (`_run`) as tasks of the daemon; `Progress` is what a watcher
(`_watch`) sees. A pull is planned and carried out by `_pull`, blob by blob through single flights
(`_flight`, `_fetch`), and made visible in one transaction (`_commit`).
"""

from imgd_server.transfer._engine import MAX_CONCURRENT_BLOBS, TransferConfig
from imgd_server.transfer._fetch import Fetcher
from imgd_server.transfer._flight import Flight, FlightTable
from imgd_server.transfer._lanes import Lanes
from imgd_server.transfer._manager import TransferManager
from imgd_server.transfer._outcome import Outcome, PullResult, TransferState
from imgd_server.transfer._pipes import Inbox, Outbox, written
from imgd_server.transfer._progress import (
    Activity,
    ActivityKind,
    Node,
    NodeKind,
    NodeState,
    Progress,
    Retry,
    now_us,
)
from imgd_server.transfer._proofs import ProofConfig, Proofs
from imgd_server.transfer._ranges import RangesConfig
from imgd_server.transfer._rates import MAX_RATE, MIN_RATE
from imgd_server.transfer._retry import RetryPolicy
from imgd_server.transfer._sources import Listing
from imgd_server.transfer._spec import (
    ArchiveEndpoint,
    ArchiveForm,
    Endpoint,
    LayoutEndpoint,
    LeaseRequest,
    PullPolicy,
    RegistryEndpoint,
    StoreEndpoint,
    TransferSpec,
)
from imgd_server.transfer._watch import TransferView, WatchEvent, WatchEventKind

__all__ = [
    "MAX_CONCURRENT_BLOBS",
    "MAX_RATE",
    "MIN_RATE",
    "Activity",
    "ActivityKind",
    "ArchiveEndpoint",
    "ArchiveForm",
    "Endpoint",
    "Fetcher",
    "Flight",
    "FlightTable",
    "Inbox",
    "Lanes",
    "LayoutEndpoint",
    "LeaseRequest",
    "Listing",
    "Node",
    "NodeKind",
    "NodeState",
    "Outbox",
    "Outcome",
    "Progress",
    "ProofConfig",
    "Proofs",
    "PullPolicy",
    "PullResult",
    "RangesConfig",
    "RegistryEndpoint",
    "Retry",
    "RetryPolicy",
    "StoreEndpoint",
    "TransferConfig",
    "TransferManager",
    "TransferSpec",
    "TransferState",
    "TransferView",
    "WatchEvent",
    "WatchEventKind",
    "now_us",
    "written",
]

"""All queries on one connection in a transaction: what the store hands to functions."""

from __future__ import annotations

from imgd_server.metadata._containers import ContainerQueries
from imgd_server.metadata._events import EventQueries
from imgd_server.metadata._images import ImageQueries
from imgd_server.metadata._leases import LeaseQueries
from imgd_server.metadata._proofs import ProofQueries
from imgd_server.metadata._repositories import RepositoryQueries
from imgd_server.metadata._transfers import TransferQueries

__all__ = ["Session"]


class Session(
    ImageQueries,
    RepositoryQueries,
    ContainerQueries,
    LeaseQueries,
    ProofQueries,
    TransferQueries,
    EventQueries,
):
    """A `WriteSession` (and so a `ReadSession`) on a connection."""

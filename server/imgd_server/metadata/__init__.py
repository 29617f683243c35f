"""Images, names, leases and transfers: what a metadata store is, and the embedded one.

`MetadataStore` is the contract, `tests/contract` its suite; `SqliteMetadataStore` is one SQLite
file, written by one thread that groups commits.
"""

from imgd_server.metadata._containers import ContainerRecord
from imgd_server.metadata._events import EventRecord, KeptAnswer
from imgd_server.metadata._feed import EventFeed
from imgd_server.metadata._protocol import MetadataStore, ReadSession, WriteSession
from imgd_server.metadata._query import ImageQuery, LabelCondition
from imgd_server.metadata._records import (
    TRANSFER_LEASE,
    BlobRef,
    ImageRecord,
    ImageVersion,
    LeaseRecord,
    Name,
    PlatformRecord,
    TransferRecord,
)
from imgd_server.metadata._sqlite import SqliteMetadataStore

__all__ = [
    "TRANSFER_LEASE",
    "BlobRef",
    "ContainerRecord",
    "EventFeed",
    "EventRecord",
    "ImageQuery",
    "ImageRecord",
    "ImageVersion",
    "KeptAnswer",
    "LabelCondition",
    "LeaseRecord",
    "MetadataStore",
    "Name",
    "PlatformRecord",
    "ReadSession",
    "SqliteMetadataStore",
    "TransferRecord",
    "WriteSession",
]

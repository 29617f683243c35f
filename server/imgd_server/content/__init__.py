"""Blobs by digest: what a content store is, and the local one.

`ContentStore` is the contract, `tests/contract` its suite; `LocalContentStore` keeps blobs in the
`blobs/` folder of an OCI image layout (OCI image 1.1, image-layout.md).
"""

from imgd_server.content._local import LocalContentStore
from imgd_server.content._protocol import (
    BlobInfo,
    Cancellation,
    ContentStore,
    Followed,
    Ingest,
    PartialInfo,
    Reader,
    StartedOverError,
)

__all__ = [
    "BlobInfo",
    "Cancellation",
    "ContentStore",
    "Followed",
    "Ingest",
    "LocalContentStore",
    "PartialInfo",
    "Reader",
    "StartedOverError",
]

"""The rows that the metadata store keeps, as plain values.

Times are integers, microseconds since the epoch. JSON columns hold what `json.dumps` made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from imgd_server.oci import Descriptor, Digest

__all__ = [
    "OWN_LEASE",
    "TRANSFER_LEASE",
    "BlobRef",
    "ImageRecord",
    "ImageVersion",
    "LeaseRecord",
    "Name",
    "PlatformRecord",
    "TransferRecord",
]


@dataclass(frozen=True, slots=True)
class Name:
    """A name of an image: a tag (`docker.io/library/redis:7`), or a reference by digest.

    `repository` is the name without tag and digest; `by_digest` tells the two kinds apart.
    """

    name: str
    repository: str
    by_digest: bool = False


@dataclass(frozen=True, slots=True)
class BlobRef:
    """A blob that an image is made of: its manifests, configs and layers, each once.

    `stored` is false for a blob that the image refers to but that was not fetched.
    """

    digest: Digest
    size: int
    media_type: str
    stored: bool = True


@dataclass(frozen=True, slots=True)
class PlatformRecord:
    """One platform of an image. `platform` is empty ("") where the manifest states none.

    `image_id` is empty while the manifest is not stored. `content_size` counts stored bytes.
    """

    platform: str
    manifest: Descriptor
    image_id: str
    complete: bool
    content_size: int


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """An image: one record for one target digest.

    `uid` is the resource name's last part. `created` is None where the config does not say.
    `names` and `repo_digests` are sorted.
    """

    uid: str
    target: Descriptor
    image_id: str
    kind: str  # "image" or "artifact"
    artifact_type: str
    created: int | None
    stored: int
    last_used: int | None
    content_size: int
    unpacked_size: int | None
    pinned: bool
    complete: bool
    platform: str  # the default platform; "" for an artifact
    labels: Mapping[str, str] = field(default_factory=dict)
    names: tuple[Name, ...] = ()
    repo_digests: tuple[str, ...] = ()
    doomed: bool = False  # its removal was forced while it was held: it goes with the last hold


ImageVersion = tuple[int, int, int]
"""An image as it was at some time: records of the same version differ in `last_used` and `doomed`
alone, whichever session reads them. Opaque, but for the first number: with that of the list it is
the image's place in it."""

OWN_LEASE = ":"
"""What the ID of a lease has that the daemon takes for itself (see LeaseRecord)."""
TRANSFER_LEASE = f"transfer{OWN_LEASE}"
"""How the ID of a lease begins with which a transfer holds what it fetches; its uid follows."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """A hold on images (by uid) and single blobs (by digest), until `expires`.

    A colon in its ID, which callers' have none of, marks one that the daemon takes for itself: what
    kind of work it is for stands before it.
    """

    lease_id: str
    created: int
    expires: int
    labels: Mapping[str, str] = field(default_factory=dict)
    digests: tuple[Digest, ...] = ()
    images: tuple[str, ...] = ()

    @property
    def is_own(self) -> bool:
        """Whether the daemon has it for itself, and callers don't see it."""
        return OWN_LEASE in self.lease_id


@dataclass(frozen=True, slots=True)
class TransferRecord:
    """A transfer's durable record.

    `spec`, `outcome` and `nodes` are JSON objects that `transfer` writes and reads; `nodes` holds
    what is left of its nodes, so that a watch begun after the end, or after a restart, has a
    picture. `state` is a TransferState name. `sequence` is the highest number given to an event
    that was stored; 0 before the first.
    """

    uid: str
    request_id: str
    spec: Mapping[str, Any]
    state: str
    attempt: int
    created: int
    started: int | None = None
    ended: int | None = None
    expires: int | None = None
    sequence: int = 0
    outcome: Mapping[str, Any] | None = None
    nodes: tuple[Mapping[str, Any], ...] = ()

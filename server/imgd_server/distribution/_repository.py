"""Repositories as requests name them, the stores behind them, and where the rest comes from."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from aiohttp import web

from imgd_server.content import ContentStore
from imgd_server.distribution._protocol import refuse
from imgd_server.distribution._uploads import Uploads
from imgd_server.metadata import LeaseRecord, MetadataStore, WriteSession
from imgd_server.oci import Descriptor, Digest, FormatError, Reference
from imgd_server.transfer import Flight, now_us

__all__ = [
    "HOLD_US",
    "READABLE",
    "RESOLVE",
    "Backing",
    "Found",
    "Repository",
    "Upstream",
    "put_bytes",
]

# What was pushed and is in no image yet stays so long after the last word of it: a large image may
# take hours, and its first blob waits for the manifest.
HOLD_US = 24 * 3600 * 1_000_000


@dataclass(frozen=True, slots=True)
class Backing:
    """A store that repositories are served from."""

    content: ContentStore
    metadata: MetadataStore
    uploads: Uploads
    writable: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference points at. `stale` says that its upstream failed, and did not say so."""

    target: Descriptor
    stale: bool = False


class Upstream(Protocol):
    """Where what a repository has not comes from. Its methods raise Refusal, or Error for what the
    store fails at."""

    async def manifest(
        self, repository: Repository, tag: str, digest: Digest | None, *, whole: bool
    ) -> Found:
        """What a tag, or digest, points at; stored, and shown in the repository, if `whole`."""
        ...

    async def blob(
        self, repository: Repository, digest: Digest, *, whole: bool
    ) -> Descriptor | None:
        """The blob of a repository that does not show it: None if it does now, for it is wanted
        `whole`, and stored, and the upstream has it too; else with its size, to be fetched."""
        ...

    def fetching(
        self, repository: Repository, target: Descriptor
    ) -> AbstractAsyncContextManager[Flight[None]]:
        """Takes a share in fetching a blob. When the flight has ended well, the blob is stored,
        and the repository shows it, as well as the image that it completes."""
        ...


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of a request: `name` as in URLs, `full` as in image names. `cache` is where what
    is not here comes from, None for nowhere."""

    name: str
    full: str
    backing: Backing
    cache: Upstream | None = None

    def tagged(self, tag: str) -> str:
        """The full image name of a tag. Refuses what is no tag with TAG_INVALID."""
        try:
            return str(Reference.parse(f"{self.full}:{tag}"))
        except FormatError as error:
            raise refuse("TAG_INVALID", str(error)) from None

    def lease(self, digest: Digest) -> str:
        """The lease that holds what was pushed here and is in no image yet.

        The colon keeps it apart from callers' leases, whose IDs have none.
        """
        return f"upload:{self.full}@{digest}"

    def hold(self, session: WriteSession, digest: Digest, *parts: Digest) -> None:
        """Holds a blob, or a manifest with its parts, for a day from now on."""
        now = now_us()
        session.put_lease(
            LeaseRecord(self.lease(digest), now, now + HOLD_US, digests=(digest, *parts))
        )


# From a name in a URL to its repository; mounts name a second one.
RESOLVE: web.AppKey[Callable[[str], Repository]] = web.AppKey("resolve")
# The repositories that the sender of the request under way may read; None for all.
READABLE: web.AppKey[Callable[[], list[Repository] | None]] = web.AppKey("readable")


def put_bytes(content: ContentStore, digest: Digest, data: bytes) -> None:
    """Stores a small blob, unless it is there. Blocks."""
    if content.find(digest):
        return
    with content.ingest(f"upload:{uuid.uuid4().hex}", digest, len(data), resume=False) as ingest:
        try:
            ingest.write(data)
            ingest.commit()
        except BaseException:
            ingest.abort()
            raise

"""The space that the store uses, as `docker system df` counts it."""

from __future__ import annotations

from dataclasses import dataclass

from imgd_server.content import ContentStore
from imgd_server.images._collect import listed, unheld_partials
from imgd_server.metadata import MetadataStore, ReadSession

__all__ = ["StoreUsage", "Usage", "usage_of"]


@dataclass(frozen=True, slots=True)
class Usage:
    """One kind of thing. Sizes in bytes; what is shared counts once."""

    count: int = 0
    active: int = 0
    total: int = 0
    reclaimable: int = 0


@dataclass(frozen=True, slots=True)
class StoreUsage:
    """All kinds."""

    images: Usage
    containers: Usage
    blobs: Usage
    partials: Usage


async def usage_of(metadata: MetadataStore, content: ContentStore, now: int) -> StoreUsage:
    """Counts images, containers, blobs (those of no image too) and unfinished content."""
    infos = await listed(content.blobs())
    partials = await listed(content.partials())

    def count(session: ReadSession) -> tuple[Usage, Usage, set[str], list[int]]:
        used, in_use = session.content_bytes(), session.content_bytes(in_use=True)
        images = Usage(session.count_images(), session.count_used_images(), used, used - in_use)
        containers = Usage(
            session.count_containers(()), session.count_containers(("RUNNING", "PAUSED"))
        )
        loose = [one.size for one in unheld_partials(session, partials, now)]
        return images, containers, session.held_digests(now), loose

    images, containers, held, loose = await metadata.read(count)
    free = [one.size for one in infos if one.digest not in held]
    return StoreUsage(
        images,
        containers,
        Usage(len(infos), len(infos) - len(free), sum(one.size for one in infos), sum(free)),
        Usage(
            len(partials), len(partials) - len(loose), sum(one.size for one in partials), sum(loose)
        ),
    )

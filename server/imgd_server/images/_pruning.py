"""Pruning images (behaviour: prune)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from imgd_server.images._details import fitting_images
from imgd_server.images._filters import Filters, parse_filters
from imgd_server.images._holds import deletion_of
from imgd_server.images._removing import Removal, removal_of, remove_free
from imgd_server.metadata import MetadataStore, ReadSession, WriteSession

__all__ = ["Pruned", "prune_images"]

# An image takes a millisecond or so: others' changes wait no longer than for a batch.
_BATCH = 50
# So many removals are told one by one.
_MAX_TOLD = 1000


@dataclass(slots=True)
class Pruned:
    """What pruning did, or would do: the first removals, and the sums of all."""

    removals: list[Removal] = field(default_factory=list)
    count: int = 0
    freed_bytes: int = 0

    def add(self, removal: Removal) -> None:
        """Counts one."""
        self.count += 1
        self.freed_bytes += removal.freed_bytes
        if len(self.removals) < _MAX_TOLD:
            self.removals.append(removal)


async def prune_images(
    metadata: MetadataStore,
    clock: Callable[[], int],
    *,
    all_images: bool,
    filters: Sequence[str],
    dry_run: bool,
) -> Pruned:
    """Removes dangling images, or with `all_images` every one that no container uses; pinned and
    leased ones stay.

    It goes on in batches, each a transaction that judges the images as they are then: what others
    do meanwhile, and only that, makes it differ from a dry run. `clock` tells microseconds. Raises
    FILTER_INVALID, IMAGE_NOT_FOUND (of a filter's image).
    """
    pruned = Pruned()
    now = clock()

    def plan(session: ReadSession) -> Filters | None:
        found = _plan(session, all_images=all_images, filters=filters, now=now)
        if found and dry_run:
            for removal in _foresee(session, found, now):
                pruned.add(removal)
        return found

    planned = await metadata.read(plan)
    while planned and not dry_run:
        removals = await metadata.write(lambda session: _prune_some(session, planned, clock()))
        for removal in removals:
            pruned.add(removal)
        if len(removals) < _BATCH:
            break
    return pruned


def _plan(
    session: ReadSession, *, all_images: bool, filters: Sequence[str], now: int
) -> Filters | None:
    """What fits a prune; None when nothing can."""
    wanted = parse_filters(session, filters, now)
    if wanted.query.in_use or wanted.query.pinned:
        return None
    # Docker's word here: `dangling=false` widens to all images, as `all` does.
    dangling = wanted.query.dangling
    everything = dangling is False or (all_images and dangling is None)
    return replace(
        wanted,
        query=replace(
            wanted.query,
            dangling=None if everything else True,
            in_use=False,
            pinned=False,
            free_at=now,
        ),
    )


def _prune_some(session: WriteSession, planned: Filters, now: int) -> list[Removal]:
    planned = replace(planned, query=replace(planned.query, free_at=now))
    # Narrowed images lack names: the whole one is removed.
    found = [session.image(one.uid) for _, one in fitting_images(session, planned, None, _BATCH)]
    return [remove_free(session, record, now) for record in found if record]


def _foresee(session: ReadSession, planned: Filters, now: int) -> Iterator[Removal]:
    """What removing would do now, one after the other."""
    uids = [record.uid for _, record in fitting_images(session, planned, None)]
    beside = session.blobs_beside(uids, now)
    # What several of them share goes with the last.
    last = {one.digest: uid for uid in uids for one in session.image_blobs(uid) if one.stored}
    for uid in uids:
        alone = [
            one
            for one in session.image_blobs(uid)
            if one.digest not in beside and last.get(one.digest) == uid
        ]
        if record := session.image(uid):
            yield removal_of(record, deletion_of(record, alone))

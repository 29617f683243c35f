"""A load: an archive that a caller streams, to images in the store.

Everything is read, verified and held first; then images and names are shown in one transaction, so
that an archive is loaded whole or not at all.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from imgd_server.errors import Error, Origin, Reason
from imgd_server.images import image_event, take_lease
from imgd_server.metadata import ImageRecord, TransferRecord, WriteSession
from imgd_server.oci import Descriptor, Digest, Platform, Reference
from imgd_server.registry import Cancellation
from imgd_server.threads import in_thread
from imgd_server.transfer import _commit
from imgd_server.transfer._archived import Archived, Found
from imgd_server.transfer._engine import Engine
from imgd_server.transfer._intake import Intake, Source, Watcher
from imgd_server.transfer._layouts import LayoutMembers, opened_layout
from imgd_server.transfer._members import Member, Members, refused
from imgd_server.transfer._outcome import Outcome, PullResult, TransferState
from imgd_server.transfer._pipes import Flow, Inbox
from imgd_server.transfer._progress import (
    ActivityKind,
    Node,
    NodeKind,
    NodeState,
    kind_of,
    now_us,
    outline,
)
from imgd_server.transfer._run import Commit, Run
from imgd_server.transfer._spec import (
    ArchiveEndpoint,
    LayoutEndpoint,
    LeaseRequest,
    StoreEndpoint,
)

__all__ = ["load", "load_layout"]

# Loads have so many threads in all: their callers may be slow, and others need theirs.
_LANE = "archives"
_MAX_WARNINGS = 100


async def load(engine: Engine, run: Run, inbox: Inbox) -> Commit:
    """Does the work of a load; what it returns shows what is stored then."""
    members = Members(inbox.read)
    return await _Loading(engine, run, members, inbox.fail, inbox.check, inbox.loaded).work()


async def load_layout(engine: Engine, run: Run) -> Commit:
    """As `load`, of an image of a layout's folder."""
    source, stopped = run.spec.source, Cancellation()
    assert isinstance(source, LayoutEndpoint)
    roots = engine.config.layout_roots
    opening = opened_layout(source.path, roots, "source.layout.path")
    folder = await in_thread(opening.__enter__)
    try:
        members = LayoutMembers(folder, source.ref_name, stopped.check)
        loading = _Loading(engine, run, members, lambda _: stopped.cancel(), stopped.check, [])
        return await loading.work()
    finally:
        opening.__exit__(None, None, None)


@dataclass(slots=True)
class _Loading:
    """What a load has done so far (see `Moving`)."""

    engine: Engine
    run: Run
    members: Source
    fail: Callable[[Error], None]
    check: Callable[[], None]
    loaded: list[ImageRecord]
    target: Descriptor | None = None
    uploaded: int = 0
    _intake: Intake = field(init=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def __post_init__(self) -> None:
        self._intake = Intake(
            self.members,
            self.engine.fetcher.content,
            _commit.holding_lease(self.run.record.uid),
            self._hold_and_wait,
            Watcher(
                lambda *facts: self._tell(self._begin, *facts),
                lambda *facts: self._tell(self._end, *facts),
            ),
        )

    @property
    def fetched(self) -> int:
        return self._intake.fetched

    @property
    def reused(self) -> int:
        return self._intake.reused

    async def work(self) -> Commit:
        run, spec = self.run, self.run.spec
        assert isinstance(spec.destination, StoreEndpoint)
        run.moving = self
        await self._hold([])
        given = spec.source.images if isinstance(spec.source, ArchiveEndpoint) else ()
        names = spec.destination.tags or given
        archived = Archived(
            self._intake,
            self.check,
            tuple(map(Platform.parse, spec.platforms)),
            spec.require_complete,
            renamed=bool(names),
        )
        lane = self.engine.fetcher.lanes.blobs
        async with lane.take(_LANE):
            cancelled = partial(self.fail, Error(Reason.CANCELLED, "cancelled"))
            found = await in_thread(partial(self._read, archived), lane.executor, cancelled)
        if names and len(found) > 1:
            raise refused(f"it has {len(found)} images, and the names that were given are for one")
        if names:
            found[0].references[:] = map(Reference.parse, names)
        self.target = found[0].target
        self._show_kinds(found)
        run.progress.planned = True
        run.progress.touch()
        return partial(
            _commit_load,
            found=found,
            lease=spec.destination.lease,
            fetched=self.fetched,
            reused=self.reused,
            warnings=tuple(archived.warnings[:_MAX_WARNINGS]),
            loaded=self.loaded,
        )

    def _read(self, archived: Archived) -> list[Found]:
        try:
            self._intake.run()
            return archived.images()
        except Error as error:
            if error.origin is Origin.UNSPECIFIED:
                here = error.reason in (Reason.DISK_FULL, Reason.TOO_BUSY)
                error.origin = Origin.DESTINATION if here else Origin.SOURCE
            raise

    async def _hold(self, digests: Sequence[Digest]) -> None:
        await self.engine.metadata.write(
            lambda session: _commit.hold(session, self.run.record.uid, digests)
        )

    # --- in the thread

    def _hold_and_wait(self, digest: Digest) -> None:
        asyncio.run_coroutine_threadsafe(self._hold([digest]), self._loop).result()

    def _tell(self, function: Callable[..., None], *facts: Any) -> None:
        self._loop.call_soon_threadsafe(function, *facts)

    # --- of the progress, in the loop

    def _begin(self, member: Member, flow: Flow) -> None:
        node = self.run.progress.add(Node(member.name, NodeKind.BLOB, None, label=member.name))
        self.run.progress.begin(node, ActivityKind.DOWNLOAD, flow, member.size)

    def _end(self, member: Member, digest: Digest, state: NodeState) -> None:
        node = self.run.progress.nodes[member.name]
        node.target = Descriptor("application/octet-stream", digest, member.size)
        self.run.progress.end(node, state)

    def _show_kinds(self, found: Sequence[Found]) -> None:
        """Says of the nodes what their blobs turned out to be."""
        types = {blob.digest: blob.media_type for one in found for blob in one.description.blobs}
        for node in self.run.progress.nodes.values():
            if node.target and node.target.digest in types:
                node.target = outline(replace(node.target, media_type=types[node.target.digest]))
                node.kind = kind_of(node.target.media_type)
                self.run.progress.touch(node)


def _commit_load(
    session: WriteSession,
    record: TransferRecord,
    *,
    found: Sequence[Found],
    lease: LeaseRequest | None,
    fetched: int,
    reused: int,
    warnings: tuple[str, ...],
    loaded: list[ImageRecord],
) -> TransferRecord:
    """Shows what a load stored: images, names, lease and the transfer's end, all or nothing."""
    now = now_us()
    images: list[ImageRecord] = []
    before: list[tuple[Digest, str | None]] = []
    lease_id = ""
    for one in found:
        description = one.description
        image = session.put_image(
            replace(description.record, last_used=now), description.platforms, description.blobs
        )
        for reference in one.references:
            former = _name(session, image, reference, now)
            before.append((image.target.digest, former))
        if not one.references:
            session.add_event(image_event("load", image, now))
        if lease:
            ttl = int(lease.ttl * 1_000_000)
            lease_id = take_lease(session, lease_id or lease.lease_id, ttl, image.uid, now).lease_id
        images.append(image)
    session.delete_lease(_commit.holding_lease(record.uid))
    # With the names that they have now.
    loaded[:] = [session.image(image.uid) or image for image in images]
    outcome = Outcome(
        _result(before),
        images[0].target,
        images[0].uid,
        images[0].image_id,
        tuple(str(reference) for one in found for reference in one.references),
        fetched_bytes=fetched,
        reused_bytes=reused,
        lease=lease_id,
        warnings=warnings,
    )
    record = replace(record, state=TransferState.SUCCEEDED.name, outcome=outcome.to_json())
    session.put_transfer(record)
    session.add_event(_commit.transfer_event("finish", record, now))
    return record


def _name(session: WriteSession, image: ImageRecord, reference: Reference, now: int) -> str | None:
    """Gives an image a name; returns the digest of whose it was."""
    (name,) = _commit.names_of(reference, StoreEndpoint())
    before = session.put_name(name, image.uid)
    if before not in (None, image.target.digest) and (former := session.image_by_target(before)):
        session.add_event(image_event("untag", former, now, name=name.name))
    session.add_event(image_event("load", image, now, name=name.name))
    return before


def _result(before: Sequence[tuple[Digest, str | None]]) -> PullResult:
    """As of a pull, over all names."""
    if before and all(former == digest for digest, former in before):
        return PullResult.UP_TO_DATE
    if any(former not in (None, digest) for digest, former in before):
        return PullResult.UPDATED
    return PullResult.DOWNLOADED

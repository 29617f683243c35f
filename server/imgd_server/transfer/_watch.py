"""A run as its watchers see it: events, at each watcher's own pace, none too large to be sent.

A watcher pulls. While it is slow nothing is kept for it; its next event holds all that has changed
since its last.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from imgd_server.metadata import TransferRecord
from imgd_server.transfer._outcome import TransferState
from imgd_server.transfer._progress import Node, Progress
from imgd_server.transfer._run import Run

__all__ = ["TransferView", "WatchEvent", "WatchEventKind", "watch"]


class WatchEventKind(enum.Enum):
    """What a watch event is."""

    SNAPSHOT = 1
    UPDATE = 2
    HEARTBEAT = 3
    FINISHED = 4


@dataclass(frozen=True, slots=True)
class TransferView:
    """A transfer as a watcher sees it now. Valid until the watcher next waits.

    `leader` is the uid of the transfer whose work this one shares, empty when it leads;
    `followers` are those that share its own.
    """

    record: TransferRecord
    progress: Progress
    leader: str
    followers: int


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One event of a watch. `nodes` are those that the event is about."""

    kind: WatchEventKind
    sequence: int
    view: TransferView
    nodes: Sequence[Node] = ()


async def watch(
    run: Run, pause: float, heartbeat: float, check_open: Callable[[], None]
) -> AsyncIterator[WatchEvent]:
    """A snapshot (of a very large image in parts, the others as updates), updates at least `pause`
    seconds apart, a heartbeat after so many quiet seconds, and one end.

    Raises what `check_open` raises once the daemon stops, unless the run came to its own end.
    """
    progress, clock = run.progress, asyncio.get_running_loop().time

    def event(kind: WatchEventKind, version: int, nodes: Sequence[Node] = ()) -> WatchEvent:
        view = TransferView(run.record, progress, *run.role)
        return WatchEvent(kind, progress.base + version, view, nodes)

    progress.refresh()
    kind, seen = WatchEventKind.SNAPSHOT, 0
    for version, nodes in progress.picture():
        yield event(kind, version, nodes)
        kind, seen = WatchEventKind.UPDATE, version
    alive = clock()
    due = alive + pause
    while not run.ended.is_set():
        check_open()
        # Not wait_for: in Python 3.11 that is a task for each wait, and may lose a cancellation.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(min(due, alive + heartbeat)):
                await run.ended.wait()
        if clock() >= due and not run.ended.is_set():
            progress.refresh()
            for version, nodes in progress.changes(seen):
                yield event(WatchEventKind.UPDATE, version, nodes)
                seen, alive = version, clock()
            due = clock() + pause
        if clock() >= alive + heartbeat and not run.ended.is_set():
            yield event(WatchEventKind.HEARTBEAT, seen)
            alive = clock()
    if run.interrupted and run.record.state == TransferState.INTERRUPTED.name:
        check_open()
    for version, nodes in progress.changes(seen):
        yield event(WatchEventKind.UPDATE, version, nodes)
    yield event(WatchEventKind.FINISHED, progress.final)

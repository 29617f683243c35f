"""What a transfer looks like from outside: a pure state with versions, and no I/O.

Every change gives the nodes it touches a new version. A watcher remembers the version it saw and
asks for what changed since, so that any number of watchers cost the transfer nothing, and one that
is slow just sees fewer, larger steps.
"""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgd_server.errors import Error
from imgd_server.oci import Descriptor

__all__ = [
    "Activity",
    "ActivityKind",
    "Node",
    "NodeKind",
    "NodeState",
    "Progress",
    "Retry",
    "Work",
    "now_us",
]

# The span over which the rate is taken: long enough to be calm, short enough to be true.
_RATE_SPAN = 5.0
# Bytes are looked up at most this often, however many watchers ask.
_REFRESH_FLOOR = 0.01


def now_us() -> int:
    """The time in microseconds since the epoch."""
    return time.time_ns() // 1000


class NodeKind(enum.Enum):
    """Values are those of the NodeKind enum."""

    INDEX = 1
    MANIFEST = 2
    CONFIG = 3
    LAYER = 4
    BLOB = 5


class NodeState(enum.Enum):
    """Values are those of the NodeState enum."""

    WAITING = 1
    ACTIVE = 2
    RETRYING = 3
    EXISTS = 4
    MOUNTED = 5
    DONE = 6
    FAILED = 7

    @property
    def final(self) -> bool:
        """Whether nothing more happens to a node in this state, in this run."""
        return self.value >= NodeState.EXISTS.value


class ActivityKind(enum.Enum):
    """Values are those of the ActivityKind enum."""

    RESOLVE = 1
    DOWNLOAD = 2
    UNPACK = 3
    UPLOAD = 4
    COMMIT = 5


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt that comes next, when (microseconds), and why the last one failed."""

    attempt: int
    next_time: int
    failure: Error


class Work(Protocol):
    """Something that moves bytes elsewhere, perhaps in another thread, and is watched from here."""

    done_bytes: int
    resumed_bytes: int
    host: str
    retry: Retry | None


@dataclass(slots=True)
class Activity:
    """One activity of a node. Sizes in bytes, times in microseconds; `total` None when unknown."""

    kind: ActivityKind
    started: int
    total: int | None = None
    current: int = 0
    resumed: int = 0
    ended: int | None = None


@dataclass(slots=True)
class Node:
    """One manifest, config or layer."""

    node_id: str
    kind: NodeKind
    target: Descriptor | None
    parent_id: str = ""
    layer_index: int | None = None
    label: str = ""
    state: NodeState = NodeState.WAITING
    activities: list[Activity] = field(default_factory=list)
    host: str = ""
    retry: Retry | None = None
    failure: Error | None = None
    version: int = 0
    work: Work | None = None

    @property
    def size(self) -> int | None:
        """Bytes in all; None before the target is known."""
        return self.target.size if self.target else None

    @property
    def current(self) -> int:
        """Bytes that are where they belong: what moved, or all of it when it was there."""
        if self.state.final and self.state is not NodeState.FAILED:
            return self.size or 0
        return max((a.current for a in self.activities if a.total is not None), default=0)

    def to_json(self) -> dict[str, Any]:
        """The node as JSON values, for the transfer's record."""
        return {
            "node_id": self.node_id,
            "kind": self.kind.name,
            "target": self.target.to_json() if self.target else None,
            "parent_id": self.parent_id,
            "layer_index": self.layer_index,
            "label": self.label,
            "state": self.state.name,
            "activities": [
                [a.kind.name, a.started, a.total, a.current, a.resumed, a.ended]
                for a in self.activities
            ],
            "host": self.host,
            "failure": self.failure.to_json() if self.failure else None,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Node:
        """The node that `to_json` wrote."""
        facts = dict(value)
        facts["kind"] = NodeKind[facts["kind"]]
        facts["state"] = NodeState[facts["state"]]
        facts["target"] = Descriptor.from_json(facts["target"]) if facts["target"] else None
        facts["failure"] = Error.from_json(facts["failure"]) if facts["failure"] else None
        facts["activities"] = [
            Activity(ActivityKind[kind], *rest) for kind, *rest in facts["activities"]
        ]
        return cls(**facts)


class Progress:
    """The nodes of one run of a transfer, and what is known of the whole.

    `base` is added to versions to make sequence numbers: it holds the daemon's start in its upper
    bits, so that they rise across a crash.
    """

    def __init__(self, base: int, nodes: Iterable[Node] = ()) -> None:
        self.base = base
        self.version = 1
        self.nodes: dict[str, Node] = {node.node_id: node for node in nodes}
        self.planned = False
        self.uploaded = 0
        self._moved = 0
        self._samples: deque[tuple[float, int]] = deque()
        self._refreshed = 0.0

    # --- changes

    def touch(self, node: Node | None = None) -> None:
        """Counts a change, of a node or of the whole."""
        self.version += 1
        if node is not None:
            node.version = self.version

    def add(self, node: Node) -> Node:
        """Adds a node, or returns the one that has its ID already."""
        known = self.nodes.setdefault(node.node_id, node)
        if known is node:
            self.touch(node)
        return known

    def begin(
        self, node: Node, kind: ActivityKind, work: Work | None = None, total: int | None = None
    ) -> Activity:
        """Starts an activity of a node; `work` is looked at for its figures until the end."""
        activity = Activity(kind, now_us(), total)
        node.activities.append(activity)
        node.state = NodeState.ACTIVE
        node.work = work
        self.touch(node)
        return activity

    def end(self, node: Node, state: NodeState | None = None, host: str = "") -> None:
        """Ends a node's open activities; `state` is the node's state from now on."""
        self._look(node)
        node.work, node.retry = None, None
        for activity in node.activities:
            if activity.ended is None:
                activity.ended = now_us()
                if state in (NodeState.DONE, NodeState.EXISTS) and activity.total is not None:
                    activity.current = activity.total
        node.host = host or node.host
        node.state = state or node.state
        self.touch(node)

    def fail(self, node: Node, failure: Error) -> None:
        """Ends a node with a failure."""
        node.failure = failure
        self.end(node, NodeState.FAILED)

    # --- looking

    def refresh(self) -> None:
        """Brings the figures of what runs elsewhere up to date."""
        now = time.monotonic()
        if now - self._refreshed < _REFRESH_FLOOR:
            return
        self._refreshed = now
        for node in self.nodes.values():
            if node.work is not None and self._look(node):
                self.touch(node)
        moved = self.moved_bytes
        self._samples.append((now, moved))
        while now - self._samples[0][0] > _RATE_SPAN and len(self._samples) > 2:
            self._samples.popleft()

    def _look(self, node: Node) -> bool:
        work = node.work
        if work is None:
            return False
        activity = node.activities[-1]
        before = (activity.current, node.host, node.retry, node.state)
        activity.current, activity.resumed = work.done_bytes, work.resumed_bytes
        node.host, node.retry = work.host or node.host, work.retry
        node.state = NodeState.RETRYING if work.retry else NodeState.ACTIVE
        return before != (activity.current, node.host, node.retry, node.state)

    def changed(self, since: int) -> list[Node]:
        """Nodes with a version above `since`, in the order of discovery."""
        return [node for node in self.nodes.values() if node.version > since]

    @property
    def sequence(self) -> int:
        """The sequence number of what is known now."""
        return self.base + self.version

    @property
    def current_bytes(self) -> int:
        """Bytes that are where they belong."""
        return sum(node.current for node in self.nodes.values())

    @property
    def total_bytes(self) -> int | None:
        """Bytes in all; None until every manifest was read."""
        return sum(node.size or 0 for node in self.nodes.values()) if self.planned else None

    @property
    def moved_bytes(self) -> int:
        """Bytes moved in this run."""
        return sum(
            max(a.current - a.resumed, 0)
            for node in self.nodes.values()
            for a in node.activities
            if a.kind in (ActivityKind.DOWNLOAD, ActivityKind.UPLOAD)
        )

    @property
    def rate(self) -> int:
        """Bytes a second, over the last seconds."""
        if len(self._samples) < 2:
            return 0
        (first, before), (last, now) = self._samples[0], self._samples[-1]
        return max(int((now - before) / (last - first)), 0) if last > first else 0

    @property
    def remaining(self) -> float | None:
        """Seconds left at that rate; None when it can't be told."""
        total, rate = self.total_bytes, self.rate
        return max(total - self.current_bytes, 0) / rate if total is not None and rate else None

    @property
    def done_nodes(self) -> int:
        """Nodes in a final state."""
        return sum(node.state.final for node in self.nodes.values())

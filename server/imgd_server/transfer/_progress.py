"""What a transfer looks like from outside: a pure state with versions, and no I/O.

Every change gives the nodes it touches a new version. A watcher remembers the version it saw and
asks for what changed since, so that any number of watchers cost the transfer nothing, and one that
is slow just sees fewer, larger steps. Versions are also what events are numbered by.
"""

from __future__ import annotations

import enum
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from imgd_server.errors import Error
from imgd_server.oci import Descriptor, media

__all__ = [
    "Activity",
    "ActivityKind",
    "Node",
    "NodeKind",
    "NodeState",
    "Progress",
    "Retry",
    "Work",
    "kind_of",
    "now_us",
    "outline",
]

# The span over which the rate is taken: long enough to be calm, short enough to be true.
_RATE_SPAN = 5.0
# Bytes are looked up at most this often, however many watchers ask.
_REFRESH_FLOOR = 0.01
# Real media types and platforms are far shorter (RFC 6838 ends types at 255 characters); manifests
# can hold texts of megabytes in their place, and a node has to fit into an event.
_MAX_SHOWN = 255
# What the nodes of one event may weigh, in bytes: half of the 1 MiB that an answer may have. The
# other half is for the record beside them, and for what a node gains until it is sent.
_MAX_WEIGHT = 512 << 10
# Of a node, an activity and a failure: tags, lengths, numbers and times, each at its longest; and
# of a text beside its characters.
_NODE_WEIGHT, _ACTIVITY_WEIGHT, _FAILURE_WEIGHT, _TEXT_WEIGHT = 256, 96, 128, 8


def now_us() -> int:
    """The time in microseconds since the epoch."""
    return time.time_ns() // 1000


def outline(target: Descriptor) -> Descriptor:
    """What a node shows of a descriptor: no data, URLs and annotations, and no endless texts."""
    platform = target.platform
    if platform and sum(map(len, (str(platform), platform.os_version, *platform.os_features))) > (
        _MAX_SHOWN
    ):
        platform = None
    return Descriptor(
        target.media_type[:_MAX_SHOWN],
        target.digest,
        target.size,
        artifact_type=target.artifact_type[:_MAX_SHOWN],
        platform=platform,
    )


class NodeKind(enum.Enum):
    """Values are those of the NodeKind enum."""

    INDEX = 1
    MANIFEST = 2
    CONFIG = 3
    LAYER = 4
    BLOB = 5


def kind_of(media_type: str) -> NodeKind:
    """What a blob of a media type is shown as."""
    if media.is_index(media_type):
        return NodeKind.INDEX
    if media.is_manifest(media_type):
        return NodeKind.MANIFEST
    if media.is_image_config(media_type):
        return NodeKind.CONFIG
    return NodeKind.LAYER if media.is_layer(media_type) else NodeKind.BLOB


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
    """Something that moves bytes elsewhere, perhaps in another thread, and is watched from here.

    `done_bytes` is how far it is, and falls when it starts over; `resumed_bytes` of them were there
    before. `moved_bytes` is what came over the network in all, and never falls.
    """

    done_bytes: int
    resumed_bytes: int
    moved_bytes: int
    host: str
    retry: Retry | None


@dataclass(slots=True)
class Activity:
    """One activity of a node. Sizes in bytes, times in microseconds; `total` None when unknown.

    Of `moved` bytes over the network, `joined` had come before this transfer took its share. `work`
    is what is looked at for the figures, while there is any.
    """

    kind: ActivityKind
    started: int
    total: int | None = None
    current: int = 0
    resumed: int = 0
    ended: int | None = None
    moved: int = 0
    joined: int = 0
    work: Work | None = None


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

    @property
    def weight(self) -> int:
        """At least as many bytes as the node takes in an event."""
        texts = [self.node_id, self.parent_id, self.label, self.host]
        if self.target:
            texts += [self.target.media_type, self.target.digest, self.target.artifact_type]
            if platform := self.target.platform:
                texts += [platform.os, platform.architecture, platform.variant]
                texts += [platform.os_version, *platform.os_features]
        fixed = _NODE_WEIGHT + _ACTIVITY_WEIGHT * len(self.activities)
        for failure in (self.failure, self.retry.failure if self.retry else None):
            if failure:
                fixed += _FAILURE_WEIGHT
                texts += [failure.message, failure.reference, failure.digest, failure.host]
                texts += [failure.registry_code]
                for pair in failure.metadata.items():
                    texts += pair
        return fixed + sum(
            _TEXT_WEIGHT + len(text) * (1 if text.isascii() else 4) for text in texts
        )

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
                [a.kind.name, a.started, a.total, a.current, a.resumed, a.ended, a.moved]
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


@dataclass(frozen=True, slots=True)
class _Sums:
    """Figures over all nodes, at a version."""

    version: int
    current: int
    total: int
    moved: int
    done: int


def _cut(nodes: Iterable[Node]) -> list[list[Node]]:
    """Nodes in parts that each fit an event; one empty part when there are none."""
    parts: list[list[Node]] = [[]]
    weight = 0
    for node in nodes:
        weight += node.weight
        if weight > _MAX_WEIGHT and parts[-1]:
            parts.append([])
            weight = node.weight
        parts[-1].append(node)
    return parts


class Progress:
    """The nodes of one run of a transfer, and what is known of the whole.

    `base` is added to versions to make sequence numbers: it holds the daemon's start in its upper
    bits, so that they rise across a crash. `clock` gives seconds that only rise.
    """

    def __init__(
        self, base: int, nodes: Iterable[Node] = (), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.base = base
        self.version = 1
        """The version of the last change."""
        self.final = 0
        """The version of the end; 0 before `seal`."""
        self.nodes: dict[str, Node] = {node.node_id: node for node in nodes}
        self.planned = False
        self._numbered = 1
        self._summed: _Sums | None = None
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        self._refreshed = float("-inf")

    # --- changes

    def touch(self, node: Node | None = None) -> None:
        """Counts a change, of a node or of the whole."""
        self._numbered += 1
        self.version = self._numbered
        if node is not None:
            node.version = self.version

    def seal(self) -> int:
        """Gives the end a version, with room below it for a late `picture`.

        Returns the end's sequence number.
        """
        self._numbered = self.final = self._numbered + len(_cut(self.nodes.values()))
        return self.base + self.final

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
        moved = work.moved_bytes if work else 0
        activity = Activity(kind, now_us(), total, moved=moved, joined=moved, work=work)
        node.activities.append(activity)
        node.state = NodeState.ACTIVE
        self.touch(node)
        return activity

    def end(
        self, node: Node, state: NodeState, host: str = "", *, only: Activity | None = None
    ) -> None:
        """Ends a node's open activities; `state` is the node's state from now on.

        WAITING says that there is more to do, now or in a later run. With `only` that activity
        ends, and the node stays ACTIVE while it has others. A node that has failed stays FAILED.
        """
        self._look(node)
        node.retry = None
        for activity in [only] if only else node.activities:
            if activity.ended is None:
                activity.ended, activity.work = now_us(), None
                if state in (NodeState.DONE, NodeState.EXISTS) and activity.total is not None:
                    activity.current = activity.total
        node.host = host or node.host
        busy = any(activity.ended is None for activity in node.activities)
        if node.failure:
            state = NodeState.FAILED
        node.state = NodeState.ACTIVE if busy else state
        self.touch(node)

    def fail(self, node: Node, failure: Error) -> None:
        """Ends a node with a failure."""
        node.failure = failure
        self.end(node, NodeState.FAILED)

    def settle(self) -> None:
        """Ends what a run leaves behind that was stopped: nothing is active any more."""
        for node in self.nodes.values():
            if node.state in (NodeState.ACTIVE, NodeState.RETRYING):
                self.end(node, NodeState.WAITING)

    # --- looking

    def refresh(self) -> None:
        """Brings the figures of what runs elsewhere up to date."""
        now = self._clock()
        if now - self._refreshed < _REFRESH_FLOOR:
            return
        self._refreshed = now
        for node in self.nodes.values():
            if self._look(node):
                self.touch(node)
        self._samples.append((now, self._received))
        while now - self._samples[0][0] > _RATE_SPAN and len(self._samples) > 2:
            self._samples.popleft()

    def _look(self, node: Node) -> bool:
        changed = [self._measure(node, one, one.work) for one in node.activities if one.work]
        return any(changed)

    def _measure(self, node: Node, activity: Activity, work: Work) -> bool:
        before = (activity.current, activity.moved, node.host, node.retry, node.state)
        activity.current, activity.resumed = work.done_bytes, work.resumed_bytes
        activity.moved = work.moved_bytes
        if activity.kind is not ActivityKind.UNPACK:
            node.host, node.retry = work.host or node.host, work.retry
            node.state = NodeState.RETRYING if node.retry else NodeState.ACTIVE
        return before != (activity.current, activity.moved, node.host, node.retry, node.state)

    def picture(self) -> list[tuple[int, list[Node]]]:
        """Every node, in the order of discovery, in parts that fit an event.

        Each goes with a version; they rise strictly, from the highest that was given so far. After
        `seal` they are the last ones before the end, whoever asks.
        """
        parts = _cut(self.nodes.values())
        if self.final:
            first = self.final - len(parts)
        else:
            first, self._numbered = self._numbered, self._numbered + len(parts) - 1
        return list(enumerate(parts, first))

    def changes(self, since: int) -> list[tuple[int, list[Node]]]:
        """The nodes with a version above `since`, in parts that fit an event, with versions that
        rise strictly; nothing when nothing happened since."""
        if self.version <= since:
            return []
        nodes = [node for node in self.nodes.values() if node.version > since]
        parts = _cut(nodes)
        if len(parts) > 1:
            # Then each part has told all up to the version of its last node.
            parts = _cut(sorted(nodes, key=lambda node: node.version))
        return [
            *((part[-1].version, part) for part in parts[:-1]),
            (self.version, parts[-1]),
        ]

    @property
    def current_bytes(self) -> int:
        """Bytes that are where they belong."""
        return self._sums().current

    @property
    def total_bytes(self) -> int | None:
        """Bytes in all; None until every manifest was read."""
        return self._sums().total if self.planned else None

    @property
    def moved_bytes(self) -> int:
        """Of `current_bytes`, those that came over the network in this run."""
        return self._sums().moved

    @property
    def done_nodes(self) -> int:
        """Nodes in a final state."""
        return self._sums().done

    def _sums(self) -> _Sums:
        # Added up once a change, however many watchers want to know.
        if self._summed is None or self._summed.version != self.version:
            self._summed = _Sums(
                self.version,
                sum(node.current for node in self.nodes.values()),
                sum(node.size or 0 for node in self.nodes.values()),
                sum(min(a.moved, a.current) for a in self._activities()),
                sum(node.state.final for node in self.nodes.values()),
            )
        return self._summed

    @property
    def _received(self) -> int:
        """Bytes that came over the network since this transfer took its shares; never falls."""
        return sum(a.moved - a.joined for a in self._activities())

    def _activities(self) -> Iterable[Activity]:
        return (activity for node in self.nodes.values() for activity in node.activities)

    @property
    def rate(self) -> int:
        """Bytes a second, over the last seconds."""
        if len(self._samples) < 2:
            return 0
        (first, before), (last, now) = self._samples[0], self._samples[-1]
        return int((now - before) / (last - first)) if last > first else 0

    @property
    def remaining(self) -> float | None:
        """Seconds left at that rate; None when it can't be told."""
        total, rate = self.total_bytes, self.rate
        return max(total - self.current_bytes, 0) / rate if total is not None and rate else None

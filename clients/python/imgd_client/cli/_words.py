"""A layer's state in docker's words."""

from __future__ import annotations

from google.protobuf.timestamp_pb2 import Timestamp

from imgd.v1 import transfer_pb2
from imgd_client import ProgressState

from ._names import short_id

__all__ = [
    "FIRST_WORD",
    "activity",
    "is_retrying",
    "is_up_to_date",
    "label",
    "rate",
    "shown_nodes",
    "state_word",
]

FIRST_WORD = "Pulling fs layer"
"""What docker says of a layer first."""

_FINAL = {
    transfer_pb2.NODE_STATE_WAITING: "Waiting",
    transfer_pb2.NODE_STATE_EXISTS: "Already exists",
    transfer_pb2.NODE_STATE_MOUNTED: "Mounted",
    transfer_pb2.NODE_STATE_DONE: "Pull complete",
    transfer_pb2.NODE_STATE_FAILED: "Failed",
}
# What is shown of several that run at once is the first.
_RUNNING = {
    transfer_pb2.ACTIVITY_KIND_DOWNLOAD: "Downloading",
    transfer_pb2.ACTIVITY_KIND_UPLOAD: "Pushing",
    transfer_pb2.ACTIVITY_KIND_UNPACK: "Extracting",
    transfer_pb2.ACTIVITY_KIND_COMMIT: "Download complete",
    transfer_pb2.ACTIVITY_KIND_RESOLVE: FIRST_WORD,
}


def _seconds(value: Timestamp) -> float:
    return value.seconds + value.nanos / 1e9


def is_retrying(node: transfer_pb2.TransferNode) -> bool:
    """Whether it waits for another attempt."""
    return node.state == transfer_pb2.NODE_STATE_RETRYING


def shown_nodes(state: ProgressState) -> list[transfer_pb2.TransferNode]:
    """What has a line: the layers, and whatever holds them up."""
    layers = {node.node_id for node in state.layers}
    return [one for one in state.nodes.values() if one.node_id in layers or is_retrying(one)]


def label(node: transfer_pb2.TransferNode) -> str:
    """How a line names the layer, or what else waits."""
    digest = node.blob.digest
    return short_id(digest) if digest else node.label or short_id(node.node_id)


def activity(node: transfer_pb2.TransferNode) -> transfer_pb2.Activity | None:
    """What runs at a node, download first."""
    running = {one.kind: one for one in node.activities if not one.HasField("end_time")}
    return next((running[kind] for kind in _RUNNING if kind in running), None)


def state_word(node: transfer_pb2.TransferNode, now: float) -> str:
    """Where a layer stands."""
    pushed = any(one.kind == transfer_pb2.ACTIVITY_KIND_UPLOAD for one in node.activities)
    if pushed and node.state == transfer_pb2.NODE_STATE_DONE:
        return "Pushed"
    if pushed and node.state == transfer_pb2.NODE_STATE_EXISTS:
        return "Layer already exists"
    if word := _FINAL.get(node.state):
        return word
    if is_retrying(node):
        left = max(1, round(_seconds(node.retry.next_time) - now))
        return f"Retrying in {left} second{'' if left == 1 else 's'}"
    if running := activity(node):
        return _RUNNING[running.kind]
    kinds = {one.kind for one in node.activities}
    done = transfer_pb2.ACTIVITY_KIND_DOWNLOAD in kinds
    return "Download complete" if done else FIRST_WORD


def is_up_to_date(state: ProgressState) -> bool:
    """Whether it ended with nothing to do, of which docker shows no layers."""
    outcome = state.transfer.outcome if state.finished and state.transfer else None
    return bool(outcome and outcome.pull_result == transfer_pb2.PULL_RESULT_UP_TO_DATE)


def rate(running: transfer_pb2.Activity, now: float) -> float:
    """Bytes a second since the activity began."""
    took = now - _seconds(running.start_time)
    moved = running.current_bytes - running.resumed_bytes
    return moved / took if took > 0.05 and moved > 0 else 0.0

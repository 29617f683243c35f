"""Folding a transfer's events into where it stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from imgd.v1 import transfer_pb2

__all__ = ["ProgressState"]


class ProgressState:
    """Where a transfer stands, as told by the events applied so far. Does no I/O."""

    def __init__(self) -> None:
        self.sequence = 0
        """The last event's number."""
        self.transfer: transfer_pb2.Transfer | None = None
        """The record, as the last snapshot or the end had it; `state` is newer than its state."""
        self.state = transfer_pb2.TRANSFER_STATE_UNSPECIFIED
        """The transfer's state."""
        self.nodes: dict[str, transfer_pb2.TransferNode] = {}
        """Every node by its ID, in the order of discovery."""
        self.progress = transfer_pb2.TransferProgress()
        """The whole in figures."""
        self.finished = False
        """Whether the end was told."""

    def apply(self, event: transfer_pb2.TransferEvent) -> list[transfer_pb2.TransferNode]:
        """Takes an event in, and returns the nodes that differ from what was known before.

        A snapshot replaces everything. An event of an unknown kind changes nothing.
        """
        self.sequence = event.sequence
        kind = event.WhichOneof("event")
        if kind == "snapshot":
            known, self.nodes = self.nodes, {}
            self.transfer = event.snapshot.transfer
            self.state = event.snapshot.transfer.state
            self.progress = event.snapshot.progress
            return self._merge(event.snapshot.nodes, known)
        if kind == "update":
            self.state = event.update.state
            self.progress = event.update.progress
            return self._merge(event.update.nodes, self.nodes)
        if kind == "finished":
            self.transfer = event.finished.transfer
            self.state = event.finished.transfer.state
            self.progress = event.finished.progress
            self.finished = True
        return []

    @property
    def layers(self) -> list[transfer_pb2.TransferNode]:
        """The nodes that people wait for: layers, and the blobs of an artifact."""
        wanted = (transfer_pb2.NODE_KIND_LAYER, transfer_pb2.NODE_KIND_BLOB)
        return [node for node in self.nodes.values() if node.kind in wanted]

    def _merge(
        self,
        nodes: Iterable[transfer_pb2.TransferNode],
        known: Mapping[str, transfer_pb2.TransferNode],
    ) -> list[transfer_pb2.TransferNode]:
        changed = [node for node in nodes if known.get(node.node_id) != node]
        self.nodes.update((node.node_id, node) for node in nodes)
        return changed

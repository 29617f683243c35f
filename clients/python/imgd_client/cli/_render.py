"""Showing a transfer's progress: plain lines, JSON, or nothing. The live form is in `_live`."""

from __future__ import annotations

import sys
import time
from typing import Protocol

import click

from imgd.v1 import transfer_pb2
from imgd_client import ProgressState

from ._words import label, state_word

__all__ = ["Json", "Plain", "Renderer", "Silent", "renderer"]


class Renderer(Protocol):
    """Shows one event after another."""

    def show(
        self,
        event: transfer_pb2.TransferEvent,
        state: ProgressState,
        changed: list[transfer_pb2.TransferNode],
    ) -> None:
        """Shows what an event changed."""
        ...

    def close(self) -> None:
        """Leaves the terminal as it should be."""
        ...


class Silent:
    """Nothing."""

    def show(
        self,
        event: transfer_pb2.TransferEvent,
        state: ProgressState,
        changed: list[transfer_pb2.TransferNode],
    ) -> None:
        """Shows nothing."""

    def close(self) -> None:
        """Does nothing."""


class Plain(Silent):
    """A line at each change of a layer's state."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[int, str]] = {}

    def show(
        self,
        event: transfer_pb2.TransferEvent,
        state: ProgressState,
        changed: list[transfer_pb2.TransferNode],
    ) -> None:
        """Prints the layers that changed."""
        layers = {node.node_id for node in state.layers}
        for node in changed:
            if node.node_id in layers:
                self._line(node)
        sys.stdout.flush()

    def _line(self, node: transfer_pb2.TransferNode) -> None:
        word = state_word(node, time.time())
        retrying = node.state == transfer_pb2.NODE_STATE_RETRYING
        # The seconds that are left are no change of state; the next attempt is.
        key = (node.retry.attempt, "Retrying") if retrying else (0, word)
        if self._shown.get(node.node_id) != key:
            self._shown[node.node_id] = key
            click.echo(f"{label(node)}: {word}")


class Json(Silent):
    """An event a line, in protobuf's JSON."""

    def show(
        self,
        event: transfer_pb2.TransferEvent,
        state: ProgressState,
        changed: list[transfer_pb2.TransferNode],
    ) -> None:
        """Prints the event."""
        from google.protobuf.json_format import MessageToJson

        click.echo(MessageToJson(event, indent=None, ensure_ascii=False))
        sys.stdout.flush()


def renderer(*, quiet: bool = False, as_json: bool = False) -> Renderer:
    """The form that fits the options and the output."""
    if as_json:
        return Json()
    if quiet:
        return Silent()
    if sys.stdout.isatty():
        from ._live import Live

        return Live()
    return Plain()

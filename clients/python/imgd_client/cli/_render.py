"""Showing a transfer's progress: plain lines, JSON, or nothing. The live form is in `_live`."""

from __future__ import annotations

import os
import sys
import time
from typing import Protocol

import click

from imgd.v1 import transfer_pb2
from imgd_client import ProgressState

from ._words import FIRST_WORD, is_retrying, is_up_to_date, label, shown_nodes, state_word

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


# Docker prints these on terminals only, where the line is written over.
_PASSING = ("Waiting", "Downloading", "Extracting", "Pushing")


class Plain(Silent):
    """A line at each change of a layer's state, as docker's to a file."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[int, str]] = {}
        # Not said before it is known that there is anything else to do.
        self._existing: list[str] = []
        self._first = FIRST_WORD

    def show(
        self,
        event: transfer_pb2.TransferEvent,
        state: ProgressState,
        changed: list[transfer_pb2.TransferNode],
    ) -> None:
        """Prints the layers that changed."""
        if state.transfer and state.transfer.destination.HasField("registry"):
            self._first = "Preparing"
        lines = {node.node_id for node in shown_nodes(state)}
        layers = {node.node_id for node in state.layers}
        for node in changed:
            if node.node_id in lines:
                self._line(node, is_layer=node.node_id in layers)
        if state.finished and not is_up_to_date(state):
            self._say()
        sys.stdout.flush()

    def _line(self, node: transfer_pb2.TransferNode, *, is_layer: bool) -> None:
        word = state_word(node, time.time())
        if word in (*_PASSING, FIRST_WORD):
            word = self._first
        # The seconds that are left are no change of state; the next attempt is.
        key = (node.retry.attempt, "Retrying") if is_retrying(node) else (0, word)
        before = self._shown.get(node.node_id)
        # An attempt that starts after a failed one is no new layer.
        if before == key or (before and word == self._first):
            return
        self._shown[node.node_id] = key
        if node.state == transfer_pb2.NODE_STATE_EXISTS:
            self._existing.append(f"{label(node)}: {word}")
            return
        if is_layer and not before and word != self._first:
            self._say(f"{label(node)}: {self._first}")
        self._say(f"{label(node)}: {word}")

    def _say(self, *lines: str) -> None:
        for line in (*self._existing, *lines):
            click.echo(line)
        self._existing.clear()


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
    if sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb", "unknown"):
        from ._live import Live

        return Live()
    return Plain()

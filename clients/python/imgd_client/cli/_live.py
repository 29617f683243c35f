"""Progress bars on a terminal. Imported only when there is one: rich costs start-up time."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from imgd.v1 import transfer_pb2
from imgd_client import ProgressState

from ._units import human_size
from ._words import activity, label, rate, state_word

__all__ = ["Live", "render"]

_BAR = 28


def _row(table: Table, node: transfer_pb2.TransferNode, now: float) -> None:
    running = activity(node)
    bar: ProgressBar | Text = Text("")
    figures = speed = ""
    if running and node.state == transfer_pb2.NODE_STATE_ACTIVE:
        total = running.total_bytes if running.HasField("total_bytes") else None
        figures = human_size(running.current_bytes)
        if total:
            bar = ProgressBar(total=total, completed=running.current_bytes, width=_BAR)
            figures = f"{figures}/{human_size(total)}"
        if bytes_per_second := rate(running, now):
            speed = f"{human_size(bytes_per_second, 3)}/s"
    table.add_row(label(node), state_word(node, now), bar, figures, speed)


def _summary(table: Table, progress: transfer_pb2.TransferProgress) -> None:
    if not progress.HasField("total_bytes"):
        return
    bar = ProgressBar(total=progress.total_bytes or 1, completed=progress.current_bytes, width=_BAR)
    left = progress.estimated_remaining.seconds
    remaining = f" {left}s left" if progress.HasField("estimated_remaining") and left else ""
    table.add_row(
        "Total",
        f"{progress.done_nodes}/{progress.total_nodes}",
        bar,
        f"{human_size(progress.current_bytes)}/{human_size(progress.total_bytes)}",
        f"{human_size(progress.bytes_per_second, 3)}/s{remaining}",
    )


def render(state: ProgressState, now: float) -> Table:
    """A line for each layer, and one for the whole while it runs."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(5):
        table.add_column(no_wrap=True)
    for node in state.layers:
        _row(table, node, now)
    if not state.finished:
        _summary(table, state.progress)
    return table


class Live:
    """The table, drawn anew as events come."""

    def __init__(self) -> None:
        self._state = ProgressState()
        # Drawn ten times a second between events too, so that a retry's seconds count down.
        self._live = RichLive(
            get_renderable=lambda: render(self._state, time.time()),
            console=Console(highlight=False),
            refresh_per_second=10,
        )

    def show(
        self,
        event: transfer_pb2.TransferEvent,
        state: ProgressState,
        changed: list[transfer_pb2.TransferNode],
    ) -> None:
        """Takes the event in; the next drawing shows it."""
        self._state = state
        self._live.start()

    def close(self) -> None:
        """Draws the last state, in full, and lets the terminal go."""
        self._live.vertical_overflow = "visible"
        self._live.stop()

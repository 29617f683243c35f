"""Progress bars on a terminal. Imported only when there is one: rich costs start-up time."""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live as RichLive
from rich.progress_bar import ProgressBar
from rich.table import Table

from imgd.v1 import transfer_pb2
from imgd_client import ProgressState

from ._units import human_size
from ._words import activity, is_up_to_date, label, rate, shown_nodes, state_word

__all__ = ["Live", "render"]

# What stands beside the bar takes that much at the most: label, word, figures, rate and time left.
_BESIDE = 70
_SHORTEST, _LONGEST = 8, 30
# Narrower than these, the rates and the figures go too. A layer keeps to one line at any width.
_FOR_RATES = 68
_FOR_FIGURES = 50


class _Lines:
    """A line for each thing that moves, as wide as the terminal permits."""

    def __init__(self, width: int) -> None:
        self._bar = min(_LONGEST, width - _BESIDE)
        self._bar = 0 if self._bar < _SHORTEST else self._bar
        self._figures = width >= _FOR_FIGURES
        self._rates = width >= _FOR_RATES
        self.table = Table.grid(padding=(0, 2, 0, 0))
        for _ in range(2 + bool(self._bar) + self._figures + self._rates):
            self.table.add_column(no_wrap=True, overflow="ellipsis")

    def add(
        self, label: str, word: str, current: int = 0, total: int | None = None, speed: str = ""
    ) -> None:
        """Adds a line; without figures when nothing moves."""
        cells: list[ProgressBar | str] = [label, word]
        if self._bar:
            bar = ProgressBar(total=total or 1, completed=current, width=self._bar)
            cells.append(bar if total else "")
        if self._figures:
            of_all = f"/{human_size(total)}" if total else ""
            cells.append(f"{human_size(current)}{of_all}" if current or total else "")
        if self._rates:
            cells.append(speed)
        self.table.add_row(*cells)


def _add_node(lines: _Lines, node: transfer_pb2.TransferNode, now: float) -> None:
    word = state_word(node, now)
    running = activity(node)
    if not running or node.state != transfer_pb2.NODE_STATE_ACTIVE:
        lines.add(label(node), word)
        return
    total = running.total_bytes if running.HasField("total_bytes") else None
    speed = rate(running, now)
    shown = f"{human_size(speed, 3)}/s" if speed else ""
    lines.add(label(node), word, running.current_bytes, total, shown)


def _short_time(seconds: int) -> str:
    """In at most three characters, up to a hundred hours."""
    if seconds < 100:
        return f"{seconds}s"
    return f"{seconds // 60}m" if seconds < 6000 else f"{seconds // 3600}h"


def _add_summary(lines: _Lines, state: ProgressState) -> None:
    progress = state.progress
    if not progress.HasField("total_bytes"):
        return
    left = progress.estimated_remaining.seconds
    remaining = f" {_short_time(left)} left" if left else ""
    # While all that is left waits for another attempt, nothing comes at any rate.
    moves = any(one.state == transfer_pb2.NODE_STATE_ACTIVE for one in state.nodes.values())
    lines.add(
        "Total",
        f"{progress.done_nodes}/{progress.total_nodes}",
        progress.current_bytes,
        progress.total_bytes,
        f"{human_size(progress.bytes_per_second, 3)}/s{remaining}" if moves else "",
    )


def render(state: ProgressState, now: float, width: int) -> Table:
    """A line for each layer and whatever holds them up, and one for the whole while it runs."""
    lines = _Lines(width)
    for node in [] if is_up_to_date(state) else shown_nodes(state):
        _add_node(lines, node, now)
    if not state.finished:
        _add_summary(lines, state)
    return lines.table


class Live:
    """The table, drawn anew as events come."""

    def __init__(self) -> None:
        self._state = ProgressState()
        console = Console(highlight=False)
        # Drawn ten times a second between events too, so that a retry's seconds count down.
        self._live = RichLive(
            get_renderable=lambda: render(self._state, time.time(), console.width),
            console=console,
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

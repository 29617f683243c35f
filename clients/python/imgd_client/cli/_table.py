"""Tables as docker's (cli/command/formatter: tabwriter with cells of 10 at least, 3 apart)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

__all__ = ["echo_table"]


def echo_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints rows under a header."""
    lines = [header, *rows]
    widths = [max(10, max(map(len, column)) + 3) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line[:-1], widths[:-1], strict=True)]
        click.echo("".join([*cells, line[-1]]))

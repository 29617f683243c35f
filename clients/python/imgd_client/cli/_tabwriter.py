"""Columns as docker's fork of Go's text/tabwriter lines them up (cli/command/formatter)."""

from __future__ import annotations

from ._units import columns

__all__ = ["align"]

# In characters.
_NARROWEST = 10
_APART = 3


def align(text: str) -> str:
    """Text whose cells end with tabs, with spaces instead.

    A column is as wide as it must be for the lines next to each other that have it. What follows a
    line's last tab belongs to no column.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    for column in range(max(map(len, lines)) - 1):
        block: list[list[str]] = []
        # An empty line ends the last block.
        for line in [*lines, [""]]:
            if column < len(line) - 1:
                block.append(line)
                continue
            width = max((columns(one[column]) + _APART for one in block), default=0)
            for one in block:
                one[column] += " " * (max(_NARROWEST, width) - columns(one[column]))
            block = []
    return "\n".join("".join(line) for line in lines)

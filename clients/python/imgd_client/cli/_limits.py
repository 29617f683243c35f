"""The bounds that a transfer is given on the command line."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from imgd.v1 import transfer_pb2

__all__ = ["SIZE", "limited"]

# As docker reads sizes (go-units' FromHumanSize): decimal, and binary where that is said.
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


class _Size(click.ParamType[int]):
    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        found = _SIZE.fullmatch(value.strip())
        if not found or (found[3] and not found[2]):
            self.fail(f"{value!r} is no size, such as 500kB, 10MB or 1GiB", param, ctx)
        size = float(found[1]) * (1024 if found[3] else 1000) ** _POWERS[found[2].lower()]
        if not 1 <= size < 1 << 63:
            self.fail(f"{value!r} is too small or too large", param, ctx)
        return int(size)


SIZE = _Size()
"""A number of bytes."""


def limited(function: Callable[..., None]) -> Callable[..., None]:
    """Adds --limit-rate and --max-concurrency; the command gets them as `limits`."""

    @click.option("--limit-rate", type=SIZE, default=0, help="Bytes a second at the most: 10MB.")
    @click.option(
        "--max-concurrency",
        type=click.IntRange(0),
        default=0,
        metavar="N",
        help="How many layers move at once.",
    )
    @functools.wraps(function)
    def command(*args: Any, limit_rate: int, max_concurrency: int, **options: Any) -> None:
        limits = transfer_pb2.TransferLimits(
            max_bytes_per_second=limit_rate, max_concurrency=max_concurrency
        )
        function(*args, limits=limits, **options)

    return command

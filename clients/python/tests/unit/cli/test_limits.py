"""Sizes on the command line, as docker reads them."""

from __future__ import annotations

import click
import pytest

from imgd_client.cli._limits import SIZE


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("10MB", 10_000_000),
        ("10M", 10_000_000),
        ("500kB", 500_000),
        ("1.5 GB", 1_500_000_000),
        ("1GiB", 1 << 30),
        ("2ki", 2048),
        ("1tb", 10**12),
        ("7b", 7),
    ],
)
def test_a_size(text: str, size: int) -> None:
    assert SIZE.convert(text, None, None) == size


@pytest.mark.parametrize(
    "text",
    ["", "-1", "10 apples", "MB", "1ib", "0", "0.1", "1e9", "inf", "9" * 30, "9" * 400, "1KBps"],
)
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"no size|too small or too large"):
        SIZE.convert(text, None, None)

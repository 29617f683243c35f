"""Commands that read their flags as docker does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click

__all__ = ["Command", "Group", "command"]

# Go's strconv.ParseBool.
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "F", "false", "FALSE", "False"), False),
}


class Command(click.Command):
    """A command whose flags can be given as `--flag=true` and `--flag=false`, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the command line."""
        return super().parse_args(ctx, [*self._without_values(ctx, args)])

    def _without_values(self, ctx: click.Context, args: list[str]) -> Iterator[str]:
        flags = {
            name: option
            for option in self.params
            if isinstance(option, click.Option) and option.is_flag
            for name in option.opts
        }
        words = iter(args)
        for word in words:
            if word == "--":
                yield word
                yield from words
                return
            name, sign, value = word.partition("=")
            if not (sign and name in flags):
                yield word
            elif value not in _BOOLEANS:
                raise click.UsageError(f"{value!r} is not a value for {name}: true or false", ctx)
            elif _BOOLEANS[value]:
                yield name
            else:
                # What has no opposite is off anyway.
                yield from flags[name].secondary_opts[:1]


class Group(Command, click.Group):
    """A command that has others below it, and does something without one, too."""


command: Callable[..., Callable[[Callable[..., Any]], Command]] = partial(
    click.command, cls=Command
)
"""`click.command` for these."""

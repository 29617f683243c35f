"""The option --format, and messages as JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from google.protobuf.message import Message

__all__ = ["FORMAT", "to_dict"]


class _Format(click.ParamType[str]):
    name = "format"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in ("table", "json"):
            self.fail(f"{value!r}: Go templates are not there yet; use 'table' or 'json'")
        return value


FORMAT: Callable[[Any], Any] = click.option(
    "--format", "form", type=_Format(), default="table", metavar="table|json", show_default=True
)


def to_dict(message: Message) -> dict[str, Any]:
    """A message as protobuf's JSON has it."""
    from google.protobuf.json_format import MessageToDict

    found: dict[str, Any] = MessageToDict(message)
    return found

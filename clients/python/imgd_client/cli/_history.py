"""imgctl history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import click

from imgd.v1 import image_pb2

from ._command import command
from ._complete import IMAGE
from ._connect import connect
from ._format import format_option, is_table, write_rows, write_table
from ._names import short_id
from ._units import ellipsis, human_duration, human_size, rfc3339

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["Step", "history"]

# As docker has it for all steps but the last of an image that was pulled.
_MISSING = "<missing>"
_COLUMNS = 45
_HEADER = {
    "Comment": "COMMENT",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "CreatedSince": "CREATED",
    "ID": "IMAGE",
    "Size": "SIZE",
}


class Step(NamedTuple):
    """One line of a history (cli/command/image/formatter_history.go)."""

    entry: image_pb2.HistoryEntry
    step_id: str
    truncate: bool
    human: bool

    @property
    def image_id(self) -> str:
        """The column IMAGE."""
        return short_id(self.step_id) if self.truncate else self.step_id

    @property
    def created_at(self) -> str:
        """When it was made, in the local zone."""
        known = self.entry.HasField("create_time")
        return rfc3339(self.entry.create_time.seconds) if known else "0001-01-01T00:00:00Z"

    def created(self, now: float) -> str:
        """The column CREATED, or CREATED AT."""
        if not self.human:
            return self.created_at
        # Docker takes the epoch itself for "not known", too.
        if self.entry.create_time.seconds <= 0:
            return "N/A"
        return f"{human_duration(now - self.entry.create_time.seconds)} ago"

    @property
    def created_by(self) -> str:
        """The column CREATED BY."""
        text = self.entry.created_by.replace("\t", " ")
        return ellipsis(text, _COLUMNS) if self.truncate else text

    @property
    def size(self) -> str:
        """The column SIZE: unpacked where that is known."""
        entry = self.entry
        size = entry.unpacked_size if entry.HasField("unpacked_size") else entry.layer.size
        return human_size(size, 3) if self.human else str(size)

    def cells(self, now: float) -> list[str]:
        """The line of the table."""
        return [self.image_id, self.created(now), self.created_by, self.size, self.entry.comment]

    def fields(self, now: float) -> Struct:
        """What templates see."""
        from .gotemplate import Struct

        fields = {
            "Comment": self.entry.comment,
            "CreatedAt": self.created_at,
            "CreatedBy": self.created_by,
            "CreatedSince": self.created(now),
            "ID": self.image_id,
            "Size": self.size,
        }
        return Struct("history", fields, html_safe=True)


@command()
@click.argument("image", type=IMAGE)
@click.option("--platform", default="", metavar="PLATFORM", help="os/architecture[/variant]")
@click.option("-H", "--human/--no-human", default=True, help="Sizes and dates for people.")
@click.option("--no-trunc", is_flag=True, help="Commands and IDs in full.")
@click.option("-q", "--quiet", is_flag=True, help="Only image IDs.")
@format_option()
def history(image: str, platform: str, human: bool, no_trunc: bool, quiet: bool, form: str) -> None:
    """Shows the steps that made an image, newest first."""
    with connect() as client:
        entries = client.images.history(image, platform=platform)
        found = client.images.inspect(image, platform=platform)
    ids = [found.image.image_id, *[_MISSING] * (len(entries) - 1)]
    steps = [
        Step(entry, step_id, not no_trunc, human)
        for entry, step_id in zip(reversed(entries), ids, strict=False)
    ]
    now = time.time()
    if not is_table(form):
        write_rows(form, (step.fields(now) for step in steps), _HEADER)
    elif quiet:
        for step in steps:
            click.echo(step.image_id)
    else:
        titles = ["IMAGE", "CREATED" if human else "CREATED AT", "CREATED BY", "SIZE", "COMMENT"]
        write_table(titles, (step.cells(now) for step in steps))

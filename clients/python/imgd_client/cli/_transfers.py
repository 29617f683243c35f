"""imgctl transfers, transfers rm and cancel."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

import click

from imgd.v1 import errors_pb2, transfer_pb2

from ._arguments import change_each
from ._command import Command, Group, command
from ._complete import TransferName
from ._connect import connect
from ._format import format_option, is_table, to_dict, write_rows, write_table
from ._inspect import each
from ._names import familiar
from ._units import go_time, human_duration, human_size

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["cancel", "transfers"]

_STATES = {
    name.removeprefix("TRANSFER_STATE_").lower(): number
    for name, number in transfer_pb2.TransferState.items()
    if number
}
_WORDS = {number: word for word, number in _STATES.items()}
_HEADER = {
    "ID": "TRANSFER",
    "Kind": "KIND",
    "Image": "IMAGE",
    "State": "STATE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "Took": "TOOK",
    "Moved": "MOVED",
}
_COLUMNS = ("ID", "Kind", "Image", "State", "CreatedSince", "Took", "Moved")
_UNDER_WAY = (transfer_pb2.TRANSFER_STATE_PENDING, transfer_pb2.TRANSFER_STATE_RUNNING)
_INTERRUPTED = errors_pb2.ERROR_REASON_INTERRUPTED
_RUNNING = TransferName(*_UNDER_WAY)
_ENDED = TransferName(*(number for number in _WORDS if number not in _UNDER_WAY))


def _side(side: transfer_pb2.TransferSource | transfer_pb2.TransferDestination) -> str:
    if side.HasField("registry"):
        return familiar(side.registry.reference)
    if side.HasField("layout"):
        return side.layout.path
    return side.store.image or ", ".join([*side.store.tags, *side.archive.images])


def _loaded(transfer: transfer_pb2.Transfer) -> str:
    """What an archive turned out to hold."""
    names = [familiar(name) for name in transfer.outcome.references]
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    return names[0] + more if names else ""


def _kind(transfer: transfer_pb2.Transfer) -> str:
    source = "registry" if transfer.source.HasField("registry") else "other"
    target = "store" if transfer.destination.HasField("store") else "other"
    if target == "store":
        return "pull" if source == "registry" else "load"
    if transfer.destination.HasField("registry"):
        return "copy" if source == "registry" else "push"
    return "save"


class _Row(NamedTuple):
    transfer: transfer_pb2.Transfer
    now: float

    def facts(self) -> dict[str, str]:
        one, now = self.transfer, self.now
        end = one.end_time.seconds if one.HasField("end_time") else now
        moved = one.outcome.fetched_bytes + one.outcome.uploaded_bytes
        # Of one whose daemon was killed nobody knows.
        known = moved or (one.HasField("outcome") and one.outcome.failure.reason != _INTERRUPTED)
        started = one.HasField("start_time")
        return {
            "ID": one.name.removeprefix("transfers/"),
            "Kind": _kind(one),
            "Image": _side(one.source) or _side(one.destination) or _loaded(one),
            "State": _WORDS.get(one.state, "unknown"),
            "CreatedSince": f"{human_duration(now - one.create_time.seconds)} ago",
            "CreatedAt": go_time(one.create_time.seconds),
            "Took": human_duration(end - one.start_time.seconds) if started else "",
            "Moved": human_size(moved, 3) if known else "",
        }

    def cells(self) -> list[str]:
        facts = self.facts()
        return [facts[column] for column in _COLUMNS]

    def fields(self) -> Struct:
        from .gotemplate import Struct

        return Struct("transfer", self.facts(), html_safe=True)


@click.group(cls=Group, invoke_without_command=True)
@click.option("-q", "--quiet", is_flag=True, help="Only names.")
@click.option("--state", "states", multiple=True, type=click.Choice([*_STATES]))
@format_option(help="'json' for whole records, or a Go template such as '{{.ID}}'.")
@click.pass_context
def transfers(ctx: click.Context, quiet: bool, states: tuple[str, ...], form: str) -> None:
    """Lists pulls and other transfers, newest first."""
    if ctx.invoked_subcommand:
        return
    with connect() as client:
        found = list(client.transfers.list(states=[_STATES[state] for state in states]))
    rows = [_Row(transfer, time.time()) for transfer in found]
    if form == "json":
        for transfer in found:
            click.echo(json.dumps(to_dict(transfer), ensure_ascii=False))
    elif not is_table(form):
        write_rows(form, (row.fields() for row in rows), _HEADER)
    elif quiet:
        for transfer in found:
            click.echo(transfer.name)
    else:
        write_table([_HEADER[column] for column in _COLUMNS], (row.cells() for row in rows))


@transfers.command(cls=Command)
@click.argument("names", nargs=-1, required=True, metavar="NAME…", type=_ENDED)
def rm(names: tuple[str, ...]) -> None:
    """Forgets transfers that have ended, and lets go of what they left unfinished."""
    with connect() as client:
        change_each(names, client.transfers.delete)


@command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…", type=_RUNNING)
@click.pass_context
def cancel(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Cancels transfers; a later pull goes on where they were."""
    with connect() as client:
        _, complete = each(names, lambda name: click.echo(client.transfers.cancel(name).name))
    if not complete:
        ctx.exit(1)

"""imgctl transfers and cancel."""

from __future__ import annotations

import json
import time

import click

from imgd.v1 import transfer_pb2

from ._connect import connect
from ._format import FORMAT, to_dict
from ._names import familiar
from ._table import echo_table
from ._units import human_duration, human_size

__all__ = ["cancel", "transfers"]

_STATES = {
    name.removeprefix("TRANSFER_STATE_").lower(): number
    for name, number in transfer_pb2.TransferState.items()
    if number
}


def _state(transfer: transfer_pb2.Transfer) -> str:
    name = transfer_pb2.TransferState.Name(transfer.state)
    return name.removeprefix("TRANSFER_STATE_").lower()


def _side(side: transfer_pb2.TransferSource | transfer_pb2.TransferDestination) -> str:
    if side.HasField("registry"):
        return familiar(side.registry.reference)
    if side.HasField("layout"):
        return side.layout.path
    return side.store.image or ", ".join([*side.store.tags, *side.archive.images])


def _kind(transfer: transfer_pb2.Transfer) -> str:
    source = "registry" if transfer.source.HasField("registry") else "other"
    target = "store" if transfer.destination.HasField("store") else "other"
    if target == "store":
        return "pull" if source == "registry" else "load"
    if transfer.destination.HasField("registry"):
        return "copy" if source == "registry" else "push"
    return "save"


def _row(transfer: transfer_pb2.Transfer, now: float) -> list[str]:
    end = transfer.end_time.seconds if transfer.HasField("end_time") else now
    running = transfer.HasField("start_time")
    moved = transfer.outcome.fetched_bytes + transfer.outcome.uploaded_bytes
    return [
        transfer.name.removeprefix("transfers/"),
        _kind(transfer),
        _side(transfer.source) or _side(transfer.destination),
        _state(transfer),
        f"{human_duration(now - transfer.create_time.seconds)} ago",
        human_duration(end - transfer.start_time.seconds) if running else "",
        human_size(moved, 3) if transfer.HasField("outcome") else "",
    ]


@click.command()
@click.option("-q", "--quiet", is_flag=True, help="Only names.")
@click.option("--state", "states", multiple=True, type=click.Choice([*_STATES]))
@FORMAT
def transfers(quiet: bool, states: tuple[str, ...], form: str) -> None:
    """Lists pulls and other transfers, newest first."""
    with connect() as client:
        found = list(client.transfers.list(states=[_STATES[state] for state in states]))
    if quiet:
        for transfer in found:
            click.echo(transfer.name)
    elif form == "json":
        for transfer in found:
            click.echo(json.dumps(to_dict(transfer), ensure_ascii=False))
    else:
        now = time.time()
        header = ["TRANSFER", "KIND", "IMAGE", "STATE", "CREATED", "TOOK", "MOVED"]
        echo_table(header, [_row(transfer, now) for transfer in found])


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME…")
def cancel(names: tuple[str, ...]) -> None:
    """Cancels transfers; a later pull goes on where they were."""
    with connect() as client:
        for name in names:
            click.echo(client.transfers.cancel(name).name)

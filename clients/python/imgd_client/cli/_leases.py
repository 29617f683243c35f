"""imgctl lease."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

import click

from imgd.v1 import lease_pb2

from ._arguments import change_each, labels_of
from ._command import command
from ._complete import IMAGE, LEASE
from ._connect import connect
from ._format import format_option, is_table, to_dict, write_rows, write_table
from ._inspect import each
from ._times import DURATION
from ._units import go_time, human_duration

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["create", "inspect", "ls", "renew", "rm"]

_HEADER = {
    "CreatedAt": "CREATED AT",
    "CreatedSince": "CREATED",
    "Digests": "DIGESTS",
    "Expires": "EXPIRES",
    "ExpiresAt": "EXPIRES AT",
    "ID": "LEASE ID",
    "Images": "IMAGES",
    "Labels": "LABELS",
}
_COLUMNS = ("ID", "CreatedSince", "Expires", "Images", "Digests")
_NAMES = click.argument("names", nargs=-1, required=True, metavar="LEASE…", type=LEASE)
_TTL = click.option("--ttl", type=DURATION, help="How long it holds; an hour if not said.")


class _Row(NamedTuple):
    lease: lease_pb2.Lease
    now: float

    def facts(self) -> dict[str, str]:
        one = self.lease
        return {
            "CreatedAt": go_time(one.create_time.seconds),
            "CreatedSince": f"{human_duration(self.now - one.create_time.seconds)} ago",
            "Digests": str(len(one.digests)),
            "Expires": f"in {human_duration(one.expire_time.seconds - self.now).lower()}",
            "ExpiresAt": go_time(one.expire_time.seconds),
            "ID": one.name.removeprefix("leases/"),
            "Images": str(len(one.images)),
            "Labels": ",".join(sorted(f"{key}={value}" for key, value in one.labels.items())),
        }

    def fields(self) -> Struct:
        from .gotemplate import Struct

        return Struct("lease", self.facts(), html_safe=True)


@command()
@click.option("--name", default="", help="Its ID; generated, if not said.")
@_TTL
@click.option("--image", "images", multiple=True, type=IMAGE, help="An image to hold; repeats.")
@click.option("--digest", "digests", multiple=True, help="A blob to hold; repeats.")
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY[=VALUE]")
def create(
    name: str,
    ttl: float | None,
    images: tuple[str, ...],
    digests: tuple[str, ...],
    labels: tuple[str, ...],
) -> None:
    """Takes a lease, and prints its ID."""
    if not (images or digests):
        raise click.UsageError("say what it shall hold: --image or --digest")
    wanted = labels_of(labels)
    with connect() as client:
        made = client.leases.create(images, digests=digests, lease_id=name, ttl=ttl, labels=wanted)
    click.echo(made.name.removeprefix("leases/"))


@command()
@click.option("-q", "--quiet", is_flag=True, help="Only IDs.")
@format_option()
def ls(quiet: bool, form: str) -> None:
    """Lists leases by name."""
    with connect() as client:
        rows = [_Row(one, time.time()) for one in client.leases.list(page_size=1000)]
    if not is_table(form):
        write_rows(form, (row.fields() for row in rows), _HEADER)
    elif quiet:
        for row in rows:
            click.echo(row.facts()["ID"])
    else:
        cells = ([row.facts()[column] for column in _COLUMNS] for row in rows)
        write_table([_HEADER[column] for column in _COLUMNS], cells)


@command()
@_NAMES
@click.pass_context
def inspect(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Describes leases as JSON."""
    with connect() as client:
        found, complete = each(names, client.leases.get)
    click.echo(json.dumps([to_dict(one) for one in found], indent=4, ensure_ascii=False))
    if not complete:
        ctx.exit(1)


@command()
@_NAMES
@_TTL
def renew(names: tuple[str, ...], ttl: float | None) -> None:
    """Sets anew when leases end, from now on."""
    with connect() as client:
        change_each(names, lambda name: client.leases.renew(name, ttl=ttl))


@command()
@_NAMES
def rm(names: tuple[str, ...]) -> None:
    """Gives leases back."""
    with connect() as client:

        def give_back(name: str) -> None:
            # Deleting is idempotent, and would not tell of a name that is written wrong.
            client.leases.get(name)
            client.leases.delete(name)

        change_each(names, give_back)

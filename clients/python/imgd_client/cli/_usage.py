"""imgctl df and gc."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

import click

from imgd.v1 import image_pb2, system_pb2, system_service_pb2

from ._command import command
from ._connect import connect
from ._containers import COLUMNS, ContainerRow
from ._format import format_option, is_table, write_object, write_rows, write_table
from ._images import Row
from ._names import repository, split
from ._units import human_size

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["df", "gc"]

_HEADER = {
    "Active": "ACTIVE",
    "Reclaimable": "RECLAIMABLE",
    "Size": "SIZE",
    "TotalCount": "TOTAL",
    "Type": "TYPE",
}
_COLUMNS = ("Type", "TotalCount", "Active", "Size", "Reclaimable")
_IMAGE_HEADER = {
    "Repository": "REPOSITORY",
    "Tag": "TAG",
    "ID": "IMAGE ID",
    "CreatedSince": "CREATED",
    "Size": "SIZE",
    "SharedSize": "SHARED SIZE",
    "UniqueSize": "UNIQUE SIZE",
    "Containers": "CONTAINERS",
}


class _Kind(NamedTuple):
    """A line (cli/command/formatter/disk_usage.go)."""

    title: str
    usage: system_pb2.DiskUsage

    def facts(self) -> dict[str, str]:
        total, free = self.usage.total_bytes, self.usage.reclaimable_bytes
        share = f" ({free * 100 // total}%)" if total > 0 else ""
        return {
            "Active": str(self.usage.active_count),
            "Reclaimable": f"{human_size(free)}{share}",
            "Size": human_size(total),
            "TotalCount": str(self.usage.count),
            "Type": self.title,
        }

    def fields(self) -> Struct:
        from .gotemplate import Struct

        return Struct("usage", self.facts(), html_safe=True)


def _kinds(found: system_service_pb2.GetDiskUsageResponse) -> list[_Kind]:
    return [
        _Kind("Images", found.images),
        _Kind("Containers", found.containers),
        _Kind("Blobs", found.blobs),
        _Kind("Unpacked Layers", found.snapshots),
        _Kind("Partial Blobs", found.partials),
        _Kind("Layer Indexes", found.indexes),
    ]


@command()
@click.option("-v", "--verbose", is_flag=True, help="Each image and container.")
@format_option()
def df(verbose: bool, form: str) -> None:
    """Shows the space used; what images share counts once."""
    if verbose:
        _verbose(form)
        return
    with connect() as client:
        kinds = _kinds(client.system.disk_usage())
    if not is_table(form):
        write_rows(form, (kind.fields() for kind in kinds), _HEADER)
        return
    cells = ([kind.facts()[column] for column in _COLUMNS] for kind in kinds)
    write_table([_HEADER[column] for column in _COLUMNS], cells)


def _row(image: image_pb2.Image) -> Row:
    """Docker's line of an image, of its first tag."""
    tag = image.tags[0] if image.tags else ""
    return Row(repository(tag) or "<none>", split(tag)[1] or "<none>", "<none>", image)


def _verbose(form: str) -> None:
    from .gotemplate import Struct

    with connect() as client:
        listed = client.images.list(view=image_pb2.IMAGE_VIEW_FULL, page_size=1000)
        rows = [_row(image) for image in listed]
        found = [*client.containers.list(page_size=1000)]
    now, truncate = time.time(), is_table(form)
    images = [row.fields(truncate, now, True) for row in rows]
    containers = [ContainerRow(one, truncate, now) for one in found]
    if not truncate:
        used = {"Images": images, "Containers": [one.fields() for one in containers]}
        write_object(form, Struct("", used))
        return
    click.echo("Images space usage:\n")
    write_table(
        [*_IMAGE_HEADER.values()],
        ([str(one.get(column)) for column in _IMAGE_HEADER] for one in images),
    )
    click.echo("\nContainers space usage:\n")
    write_table(COLUMNS, (one.cells() for one in containers))


@command()
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def gc(dry_run: bool) -> None:
    """Frees the content that nothing refers to."""
    with connect() as client:
        report = client.system.collect(dry_run=dry_run)
    blobs, partials, space = ("Deleted blobs", "Deleted partial blobs", "Total reclaimed space")
    if dry_run:
        blobs, partials = "Blobs to delete", "Partial blobs to delete"
        space = "Total reclaimable space"
    click.echo(f"{blobs}: {report.deleted_blobs} of {report.examined_blobs}")
    click.echo(f"{partials}: {report.deleted_partials}")
    click.echo(f"{space}: {human_size(report.freed_bytes)}")

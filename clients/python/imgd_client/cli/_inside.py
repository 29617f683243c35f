"""imgctl ls, cat, layers, image mount."""

from __future__ import annotations

import stat
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from imgd.v1 import filesystem_pb2

from ._arguments import echo_mounts, full_path
from ._command import command
from ._complete import IMAGE
from ._connect import connect
from ._format import format_option, is_table, write_rows, write_table
from ._names import printable, short_id
from ._times import DURATION
from ._units import ellipsis, human_size, rfc3339

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["cat", "layers", "ls", "mount"]

_KINDS = {
    filesystem_pb2.FILE_KIND_REGULAR: stat.S_IFREG,
    filesystem_pb2.FILE_KIND_DIRECTORY: stat.S_IFDIR,
    filesystem_pb2.FILE_KIND_SYMLINK: stat.S_IFLNK,
    filesystem_pb2.FILE_KIND_CHAR_DEVICE: stat.S_IFCHR,
    filesystem_pb2.FILE_KIND_BLOCK_DEVICE: stat.S_IFBLK,
    filesystem_pb2.FILE_KIND_FIFO: stat.S_IFIFO,
}
_COLUMNS = 45
_FILE_HEADER = {"Mode": "MODE", "Owner": "OWNER", "Size": "SIZE", "Time": "TIME", "Path": "PATH"}
_LAYER_HEADER = {
    "Index": "LAYER",
    "Digest": "DIGEST",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Unpacked": "UNPACKED",
    "Added": "ADDED",
    "Changed": "CHANGED",
    "Removed": "REMOVED",
    "Wasted": "WASTED",
}
_platform = click.option(
    "--platform", default="", metavar="PLATFORM", help="os/architecture[/variant]"
)
_layer = click.option(
    "--layer", type=click.IntRange(min=0), help="One layer alone, from 0 for the lowest."
)


def _cells(file: filesystem_pb2.FileInfo) -> list[str]:
    device = file.kind in (
        filesystem_pb2.FILE_KIND_CHAR_DEVICE,
        filesystem_pb2.FILE_KIND_BLOCK_DEVICE,
    )
    name = printable(file.path)
    if file.kind == filesystem_pb2.FILE_KIND_SYMLINK:
        name += f" -> {printable(file.link_target)}"
    return [
        stat.filemode(_KINDS.get(file.kind, 0) | file.mode),
        f"{file.uid}:{file.gid}",
        f"{file.device_major},{file.device_minor}" if device else str(file.size),
        rfc3339(file.modify_time.seconds),
        name,
    ]


def _fields(file: filesystem_pb2.FileInfo) -> Struct:
    from .gotemplate import Struct

    fields = dict(zip(_FILE_HEADER, _cells(file), strict=True))
    return Struct("", {**fields, "Path": file.path, "Link": file.link_target})


@command()
@click.argument("image", type=IMAGE)
@click.argument("path", default="/")
@click.option("-l", "long", is_flag=True, help="Modes, owners, sizes, times.")
@click.option("-a", "--all", "hidden", is_flag=True, help="Also names that begin with a dot.")
@click.option("-R", "--recursive", is_flag=True, help="Everything below it.")
@click.option("--pattern", default="", help="Paths that fit; '**' crosses '/'.")
@_layer
@_platform
@format_option()
def ls(
    image: str,
    path: str,
    long: bool,
    hidden: bool,
    recursive: bool,
    pattern: str,
    layer: int | None,
    platform: str,
    form: str,
) -> None:
    """Lists files of an image, without unpacking it."""
    path = path if path.startswith("/") else f"/{path}"
    with connect() as client:
        found: Iterable[filesystem_pb2.FileInfo]
        one = client.files.get(image, path, follow=True, platform=platform, layer=layer)
        found = [one]
        if one.kind == filesystem_pb2.FILE_KIND_DIRECTORY:
            every = client.files.list(
                image, path, recursive=recursive, pattern=pattern, platform=platform, layer=layer
            )
            # Below the folder that was asked for, whatever its own name is.
            below = one.path.rstrip("/")
            found = (file for file in every if hidden or "/." not in file.path.removeprefix(below))
        if not is_table(form):
            write_rows(form, map(_fields, found), _FILE_HEADER)
        elif long:
            write_table([*_FILE_HEADER.values()], map(_cells, found))
        else:
            for file in found:
                click.echo(printable(file.path))


@command()
@click.argument("image", type=IMAGE)
@click.argument("path")
@_layer
@_platform
def cat(image: str, path: str, layer: int | None, platform: str) -> None:
    """Writes a file of an image to standard output."""
    path = path if path.startswith("/") else f"/{path}"
    with connect() as client:
        for data in client.files.read(image, path, platform=platform, layer=layer):
            sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _layer_cells(number: int, one: filesystem_pb2.LayerSummary, truncate: bool) -> list[str]:
    created_by = one.created_by.replace("\t", " ")
    return [
        str(number),
        short_id(one.layer.digest) if truncate else one.layer.digest,
        ellipsis(created_by, _COLUMNS) if truncate else created_by,
        human_size(one.layer.size, 3),
        human_size(one.unpacked_size, 3),
        str(one.added_count),
        str(one.changed_count),
        str(one.deleted_count),
        human_size(one.wasted_size, 3),
    ]


@command()
@click.argument("image", type=IMAGE)
@click.option("--no-trunc", is_flag=True, help="Commands and digests in full.")
@_platform
@format_option()
def layers(image: str, no_trunc: bool, platform: str, form: str) -> None:
    """Shows what each layer of an image adds, changes, removes and wastes."""
    with connect() as client:
        answer = client.files.layers(image, platform=platform)
    rows = [_layer_cells(number, one, not no_trunc) for number, one in enumerate(answer.layers)]
    if is_table(form):
        write_table([*_LAYER_HEADER.values()], rows)
        click.echo(
            f"wasted {human_size(answer.wasted_size, 3)}, efficiency {answer.efficiency:.1%}"
        )
        return
    from .gotemplate import Struct

    write_rows(
        form,
        (Struct("", dict(zip(_LAYER_HEADER, row, strict=True))) for row in rows),
        _LAYER_HEADER,
    )


@command()
@click.argument("image", type=IMAGE)
@click.argument("folder", metavar="[DIR]", default="")
@click.option("--name", default="", help="The lease's ID; generated, if not said.")
@click.option("--ttl", type=DURATION, help="How long it holds; an hour if not said.")
@_platform
def mount(image: str, folder: str, name: str, ttl: float | None, platform: str) -> None:
    """Makes a read-only view of an image, and prints the ID of its lease, with which it ends.

    The daemon mounts it on DIR, below one of its mount_roots. Without DIR what to mount is printed.
    """
    target = full_path(folder, "place to mount it") if folder else ""
    with connect() as client:
        made = client.files.mount(image, target, platform=platform, lease_id=name, ttl=ttl)
    click.echo(made.lease.removeprefix("leases/"))
    echo_mounts(made.mounts)

"""imgctl tag, untag, pin, unpin, rmi and prune."""

from __future__ import annotations

import sys

import click

from imgd_client import NotFound

from ._arguments import IMAGE_FILTERS, change_each
from ._command import command
from ._complete import IMAGE
from ._connect import connect
from ._inspect import each
from ._names import familiar
from ._units import human_size

__all__ = ["pin", "prune", "rmi", "tag", "unpin", "untag"]

_IMAGES = click.argument("images", nargs=-1, required=True, metavar="IMAGE…", type=IMAGE)


@command()
@click.argument("source", type=IMAGE)
@click.argument("target")
def tag(source: str, target: str) -> None:
    """Gives the image SOURCE the name TARGET too."""
    with connect() as client:
        client.images.tag(source, target)


@command()
@click.argument("reference", type=IMAGE)
def untag(reference: str) -> None:
    """Takes one name away, and never content."""
    with connect() as client:
        client.images.untag(reference)


@command()
@_IMAGES
def pin(images: tuple[str, ...]) -> None:
    """Keeps images: neither prune nor collection takes them, and removal needs force."""
    with connect() as client:
        change_each(images, client.images.pin)


@command()
@_IMAGES
def unpin(images: tuple[str, ...]) -> None:
    """Takes pins away."""
    with connect() as client:
        change_each(images, client.images.unpin)


@command()
@_IMAGES
@click.option("-f", "--force", is_flag=True, help="Also with several names, or pinned.")
@click.pass_context
def rmi(ctx: click.Context, images: tuple[str, ...], force: bool) -> None:
    """Removes names and images; each argument stands alone."""
    with connect() as client:

        def remove(image: str) -> None:
            try:
                answer = client.images.remove(image, force=force)
            except NotFound as error:
                if not force:
                    raise
                # As docker: told of, and no failure.
                click.echo(f"imgctl: {error}", err=True)
                return
            for name in answer.untagged:
                click.echo(f"Untagged: {familiar(name)}")
            for digest in answer.deleted:
                click.echo(f"Deleted: {digest}")

        _, complete = each(images, remove)
    if not complete:
        ctx.exit(1)


@command()
@click.option("-a", "--all", "all_images", is_flag=True, help="All that no container uses.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help=IMAGE_FILTERS)
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def prune(all_images: bool, force: bool, filters: tuple[str, ...], dry_run: bool) -> None:
    """Removes dangling images."""
    if not (force or dry_run or _is_sure(all_images)):
        return
    with connect() as client:
        answer = client.images.prune(all=all_images, filters=filters, dry_run=dry_run)
    if answer.pruned:
        click.echo("Images to delete:" if dry_run else "Deleted Images:")
    for image in answer.pruned:
        for name in image.untagged:
            click.echo(f"untagged: {familiar(name)}")
        for digest in image.deleted:
            click.echo(f"deleted: {digest}")
    if missing := answer.pruned_count - len(answer.pruned):
        click.echo(f"and {missing} more")
    if answer.pruned:
        click.echo()
    what = "reclaimable" if dry_run else "reclaimed"
    click.echo(f"Total {what} space: {human_size(answer.freed_bytes)}")


def _is_sure(all_images: bool) -> bool:
    with_all = "all images without at least one container associated to them"
    click.echo(f"WARNING! This will remove {with_all if all_images else 'all dangling images'}.")
    click.echo("Are you sure you want to continue? [y/N] ", nl=False)
    return sys.stdin.readline().strip().lower() in ("y", "yes")

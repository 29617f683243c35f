"""imgctl tag, untag, rmi and prune."""

from __future__ import annotations

import click

from imgd_client import ImgdError

from ._command import command
from ._complete import IMAGE
from ._connect import connect
from ._names import familiar
from ._units import human_size

__all__ = ["prune", "rmi", "tag", "untag"]


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
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…", type=IMAGE)
@click.option("-f", "--force", is_flag=True, help="Also with several names, or pinned.")
@click.pass_context
def rmi(ctx: click.Context, images: tuple[str, ...], force: bool) -> None:
    """Removes names and images; each argument stands alone."""
    failed = False
    with connect() as client:
        for image in images:
            try:
                answer = client.images.remove(image, force=force)
            except ImgdError as error:
                # Without a reason it is no answer about this image.
                if not error.reason:
                    raise
                failed = True
                click.echo(f"imgctl: {error}", err=True)
                continue
            for name in answer.untagged:
                click.echo(f"Untagged: {familiar(name)}")
            for digest in answer.deleted:
                click.echo(f"Deleted: {digest}")
    if failed:
        ctx.exit(1)


@command()
@click.option("-a", "--all", "all_images", is_flag=True, help="All that nothing holds.")
@click.option("-f", "--force", is_flag=True, help="Do not ask.")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE")
@click.option("--dry-run", is_flag=True, help="Say what would be done.")
def prune(all_images: bool, force: bool, filters: tuple[str, ...], dry_run: bool) -> None:
    """Removes dangling images."""
    if not (force or dry_run):
        what = "all images that nothing holds" if all_images else "all dangling images"
        click.confirm(f"This will remove {what}. Continue?", abort=True)
    with connect() as client:
        answer = client.images.prune(all=all_images, filters=filters, dry_run=dry_run)
    for image in answer.pruned:
        for name in image.untagged:
            click.echo(f"untagged: {familiar(name)}")
        for digest in image.deleted:
            click.echo(f"deleted: {digest}")
    click.echo(f"Total reclaimed space: {human_size(answer.freed_bytes)}")

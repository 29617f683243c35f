"""imgctl push and copy."""

from __future__ import annotations

import click

from imgd.v1 import transfer_pb2

from ._command import command
from ._complete import IMAGE
from ._connect import connect
from ._docker_config import credentials_for
from ._limits import limited
from ._names import split
from ._pull import finish

__all__ = ["copy", "push"]


def _check(platforms: tuple[str, ...], all_platforms: bool, names: tuple[str, ...]) -> None:
    """`names` are those that must name a repository alone."""
    if platforms and all_platforms:
        raise click.UsageError("--platform and --all-platforms exclude each other")
    for name in names:
        if any(split(name)[1:]):
            raise click.UsageError(f"--all-tags wants a repository without a tag, and not {name}")


@command()
@click.argument("image", type=IMAGE)
@click.argument("reference", required=False, default="", type=IMAGE)
@click.option("-a", "--all-tags", is_flag=True, help="Every tag of the repository IMAGE.")
@click.option("--platform", "platforms", multiple=True, help="Only this one's manifest.")
@click.option("--all-platforms", is_flag=True, help="The whole index, or nothing.")
@click.option("--referrers", is_flag=True, help="Also signatures and what else refers to it.")
@click.option("-q", "--quiet", is_flag=True, help="Only the full name at the end.")
@click.option("-d", "--detach", is_flag=True, help="Print the transfer's name and leave.")
@click.option("--json", "as_json", is_flag=True, help="An event a line, as JSON.")
@limited
def push(
    image: str,
    reference: str,
    all_tags: bool,
    platforms: tuple[str, ...],
    all_platforms: bool,
    referrers: bool,
    quiet: bool,
    detach: bool,
    as_json: bool,
    limits: transfer_pb2.TransferLimits,
) -> None:
    """Pushes an image to a registry, to REFERENCE or its own name; leaving cancels it."""
    _check(platforms, all_platforms, (image, reference) if all_tags else ())
    with connect() as client:
        wanted = client.transfers.push(
            image,
            reference,
            detach=detach,
            platforms=platforms,
            all_platforms=all_platforms,
            all_tags=all_tags,
            include_referrers=referrers,
            credentials=credentials_for(reference or image),
            limits=limits,
        )
        if detach:
            click.echo(wanted.name)
            return
        if not (quiet or as_json):
            name, _, _ = split(wanted.transfer.destination.registry.reference)
            # Docker's first line.
            click.echo(f"The push refers to repository [{name}]")
        finish(wanted, quiet, as_json)


@command()
@click.argument("source", type=IMAGE)
@click.argument("destination", type=IMAGE)
@click.option("-a", "--all-tags", is_flag=True, help="Every tag of the repository SOURCE.")
@click.option("--platform", "platforms", multiple=True, help="Only this one's manifest.")
@click.option("--referrers", is_flag=True, help="Also signatures and what else refers to it.")
@click.option("-q", "--quiet", is_flag=True, help="Only the full name at the end.")
@click.option("-d", "--detach", is_flag=True, help="Print the transfer's name and leave.")
@click.option("--json", "as_json", is_flag=True, help="An event a line, as JSON.")
@limited
def copy(
    source: str,
    destination: str,
    all_tags: bool,
    platforms: tuple[str, ...],
    referrers: bool,
    quiet: bool,
    detach: bool,
    as_json: bool,
    limits: transfer_pb2.TransferLimits,
) -> None:
    """Copies an image whole from registry to registry, without storing it; leaving cancels it."""
    _check(platforms, False, (source, destination) if all_tags else ())
    with connect() as client:
        wanted = client.transfers.copy(
            source,
            destination,
            detach=detach,
            platforms=platforms,
            all_platforms=not platforms,
            all_tags=all_tags,
            include_referrers=referrers,
            source_credentials=credentials_for(source),
            destination_credentials=credentials_for(destination),
            limits=limits,
        )
        if detach:
            click.echo(wanted.name)
            return
        finish(wanted, quiet, as_json)

"""imgctl commit."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from imgd.v1 import image_service_pb2

from ._command import command
from ._complete import ContainerName
from ._connect import connect

__all__ = ["commit"]

_COMPRESSIONS = {
    "gzip": image_service_pb2.LAYER_COMPRESSION_GZIP,
    "zstd": image_service_pb2.LAYER_COMPRESSION_ZSTD,
}


def _options() -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        author = click.option("-a", "--author", default="", help="Recorded in the image.")
        message = click.option("-m", "--message", default="", help="Recorded in its history.")
        change = click.option(
            "-c",
            "--change",
            "changes",
            multiple=True,
            metavar="INSTRUCTION",
            help="A Dockerfile instruction, such as 'ENV A=b' or 'CMD [\"sh\"]'. Repeats.",
        )
        return author(message(change(function)))

    return decorate


def _create_time() -> datetime | None:
    """What reproducible builds have in SOURCE_DATE_EPOCH
    (https://reproducible-builds.org/specs/source-date-epoch/)."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise click.UsageError(f"SOURCE_DATE_EPOCH: {text!r} is no time in seconds") from None


@command()
@click.argument("container", type=ContainerName())
@click.argument("name", default="", metavar="[NAME[:TAG]]")
@_options()
@click.option(
    "--compression",
    type=click.Choice([*_COMPRESSIONS]),
    default="gzip",
    help="Of the new layer.",
)
@click.option(
    "--allow-running", is_flag=True, help="Also while it runs, though files may change meanwhile."
)
def commit(
    container: str,
    name: str,
    author: str,
    message: str,
    changes: tuple[str, ...],
    compression: str,
    allow_running: bool,
) -> None:
    """Makes an image of what a container changed, and prints its ID.

    With SOURCE_DATE_EPOCH in the environment the same changes make the same image.
    """
    with connect() as client:
        image = client.containers.commit(
            container,
            name,
            author=author,
            message=message,
            changes=changes,
            compression=_COMPRESSIONS[compression],
            allow_running=allow_running,
            create_time=_create_time(),
        )
    click.echo(image.image_id)

"""imgctl commit and append."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import click

from imgd.v1 import image_service_pb2
from imgd_client import Client

from ._command import command
from ._complete import IMAGE, ContainerName
from ._connect import connect
from ._stdin import StandardInput

__all__ = ["append", "commit"]

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
@click.option(
    "-p/ ",
    "--pause/--no-pause",
    "pause",
    default=True,
    help="Docker's words: without it, as --allow-running; with it, only what rests, for imgd can't "
    "pause anything.",
)
def commit(
    container: str,
    name: str,
    author: str,
    message: str,
    changes: tuple[str, ...],
    compression: str,
    allow_running: bool,
    pause: bool,
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
            allow_running=allow_running or not pause,
            create_time=_create_time(),
        )
    click.echo(image.image_id)


def _upload(client: Client, name: str) -> str:
    """The digest of a layer that the daemon has then."""
    try:
        with nullcontext(StandardInput()) if name == "-" else Path(name).open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return client.contents.upload(file).digest
            # Read twice, so that one that is there is not sent.
            digest, size = _digest(file)
            file.seek(0)
            return client.contents.upload(file, digest=digest, size=size).digest
    except OSError as error:
        raise click.ClickException(f"{name}: {error.strerror}") from None


def _digest(file: BinaryIO | StandardInput) -> tuple[str, int]:
    hasher, size = hashlib.sha256(), 0
    while data := file.read(1 << 20):
        hasher.update(data)
        size += len(data)
    return f"sha256:{hasher.hexdigest()}", size


@command()
@click.argument("name", metavar="NAME[:TAG]")
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    metavar="LAYER.tar",
    help="A layer, plain or with gzip or zstd; '-' for standard input. Repeats, the lowest first.",
)
@click.option("-b", "--base", default="", type=IMAGE, help="The image below them; none for none.")
@click.option("--platform", default="", metavar="PLATFORM", help="os/architecture[/variant]")
@_options()
def append(
    name: str,
    files: tuple[str, ...],
    base: str,
    platform: str,
    author: str,
    message: str,
    changes: tuple[str, ...],
) -> None:
    """Makes the image NAME of layers, on a base or on nothing, and prints its ID.

    With SOURCE_DATE_EPOCH in the environment the same layers make the same image.
    """
    if not (files or base):
        raise click.UsageError("neither a base (-b) nor a layer (-f): there is nothing to make")
    create_time = _create_time()
    with connect() as client:
        image = client.images.append(
            base,
            [_upload(client, one) for one in files],
            name,
            platform=platform,
            author=author,
            comment=message,
            changes=changes,
            create_time=create_time,
        )
    click.echo(image.image_id)

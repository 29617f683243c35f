"""imgctl save, load, import and export."""

from __future__ import annotations

import os
import sys
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from imgd.v1 import archive_service_pb2, image_pb2

from ._command import command
from ._complete import IMAGE, ContainerName
from ._connect import connect
from ._names import familiar
from ._stdin import StandardInput

__all__ = ["export", "import_", "load", "save"]

_FORMATS = {
    "": archive_service_pb2.ARCHIVE_FORMAT_UNSPECIFIED,
    "oci": archive_service_pb2.ARCHIVE_FORMAT_OCI,
    "docker": archive_service_pb2.ARCHIVE_FORMAT_DOCKER,
}


def _write(chunks: Iterable[bytes], output: str) -> None:
    """Writes to a file, which is there only when it is whole, or to standard output."""
    if not output or output == "-":
        if sys.stdout.isatty():
            raise click.ClickException(
                "cowardly refusing to write an archive to a terminal. Use the -o flag or redirect"
            )
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    path = Path(output)
    if path.exists() and not path.is_file():
        # A device or a pipe.
        with _opened(output, "wb") as file:
            file.writelines(chunks)
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    nameless = _nameless(path.parent)
    try:
        new, mode = (part, "xb") if nameless is None else (nameless, "wb")
        with _opened(new, mode, output) as file:
            file.writelines(chunks)
            file.flush()
            if nameless is not None:
                # Any descriptor: without one Python's link(2) would not follow it.
                there = f"/proc/self/fd/{nameless}"
                os.link(there, part, src_dir_fd=nameless, follow_symlinks=True)
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _nameless(folder: Path) -> int | None:
    """A file without a name, of which nothing is left when we are killed; None where the system
    has none such."""
    try:
        return os.open(folder, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
    except (AttributeError, OSError):
        return None


@contextmanager
def _opened(name: str | int | Path, mode: str, said: str = "") -> Iterator[IO[bytes]]:
    """A file; errors tell of it as the caller `said` it."""
    try:
        with open(name, mode) as file:
            yield file
    except OSError as error:
        raise click.ClickException(f"{said or name}: {error.strerror or error}") from None


@contextmanager
def _reading(name: str, what: str) -> Iterator[IO[bytes] | StandardInput]:
    if name and name != "-":
        with _opened(name, "rb") as file:
            yield file
    elif sys.stdin.isatty():
        raise click.ClickException(f"requested {what} from stdin, but stdin is empty")
    else:
        yield StandardInput()


@command()
@click.argument("images", nargs=-1, required=True, type=IMAGE)
@click.option("-o", "--output", default="", metavar="FILE", help="Write to it, not to stdout.")
@click.option("--platform", "platforms", multiple=True, help="Only this one of those stored.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["oci", "docker"]),
    default=None,
    help="One form alone; by default the archive is both.",
)
def save(
    images: tuple[str, ...], output: str, platforms: tuple[str, ...], form: str | None
) -> None:
    """Saves images to a tar archive that docker, podman and skopeo read."""
    with connect() as client:
        _write(client.archives.save(images, platforms=platforms, form=_FORMATS[form or ""]), output)


def _tell(image: image_pb2.Image, given: Container[str]) -> None:
    """Docker's words, of the names that were given just now."""
    names = [name for name in [*image.tags, *image.digest_references] if name in given]
    for name in names:
        click.echo(f"Loaded image: {familiar(name)}")
    if not names:
        click.echo(f"Loaded image ID: {image.image_id}")


@command()
@click.option("-i", "--input", "source", default="", metavar="FILE", help="Read it, not stdin.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of what is loaded.")
@click.option("--platform", "platforms", multiple=True, help="Only this one of those there.")
@click.option("-t", "--tag", "tags", multiple=True, help="A name for the archive's only image.")
def load(source: str, quiet: bool, platforms: tuple[str, ...], tags: tuple[str, ...]) -> None:
    """Loads images from an archive of docker, podman, skopeo or an OCI layout, or from stdin."""
    with connect() as client, _reading(source, "load") as file:
        loaded = client.archives.load(file, platforms=platforms, tags=tags)
        outcome = client.transfers.get(loaded.transfer).outcome
    for warning in outcome.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if not quiet:
        for image in loaded.images:
            _tell(image, outcome.references)


@command("import")
@click.argument("source", metavar="FILE|-")
@click.argument("name", default="", metavar="[NAME[:TAG]]")
@click.option(
    "-c",
    "--change",
    "changes",
    multiple=True,
    metavar="INSTRUCTION",
    help="A Dockerfile instruction, such as 'ENV A=b' or 'CMD [\"sh\"]'. Repeats.",
)
@click.option("-m", "--message", default="", help="Recorded in the image's history.")
@click.option("--platform", default="", metavar="PLATFORM", help="os/architecture[/variant]")
def import_(source: str, name: str, changes: tuple[str, ...], message: str, platform: str) -> None:
    """Makes an image of a root file system's tar archive, and prints its ID."""
    if "://" in source:
        raise click.UsageError("imgctl fetches no URL: give it to `imgctl import -` by a pipe")
    with connect() as client, _reading(source, "import") as file:
        image = client.archives.import_image(
            file, tag=name, changes=changes, platform=platform, comment=message
        )
    click.echo(image.image_id)


@command()
@click.argument("container", type=ContainerName())
@click.option("-o", "--output", default="", metavar="FILE", help="Write to it, not to stdout.")
def export(container: str, output: str) -> None:
    """Writes all files of a container to a tar archive."""
    with connect() as client:
        _write(client.archives.export(container), output)

"""What several commands do with their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import click

from imgd.v1 import container_pb2

from ._inspect import each

__all__ = ["IMAGE_FILTERS", "change_each", "echo_mounts", "full_path", "labels_of"]

IMAGE_FILTERS = (
    "before=IMAGE, since=IMAGE, until=TIME (stored before it; 72h: so long ago), last-used=72h "
    "(unused for at least so long), size='>100MB', reference=PATTERN, label=KEY[=VALUE], "
    "platform=linux/arm64, digest=HEX, kind=image|artifact, dangling=, in-use= or "
    "pinned=true|false; reference! and label! mean those without. Repeats."
)
"""What `--filter` of images takes."""


def change_each(names: Sequence[str], change: Callable[[str], object]) -> None:
    """Changes each and prints its name, as docker does; exits with 1 in the end if one failed."""

    def one(name: str) -> None:
        change(name)
        click.echo(name)

    _, complete = each(names, one)
    if not complete:
        click.get_current_context().exit(1)


def echo_mounts(mounts: Iterable[container_pb2.Mount]) -> None:
    """Prints what the caller is to mount, a line each: type, source, options."""
    for mount in mounts:
        click.echo(f"{mount.fs_type} {mount.source} {','.join(mount.options)}")


def full_path(folder: str, what: str) -> str:
    """A folder's full path: the daemon's working directory is another. Raises ClickException."""
    try:
        return str(Path(folder).absolute())
    except FileNotFoundError:
        raise click.ClickException(
            f"the working directory is gone: name the {what} by its full path"
        ) from None


def labels_of(texts: Iterable[str]) -> dict[str, str]:
    """Labels of `key=value`; of a key alone, an empty one. Raises UsageError."""
    found = dict[str, str]()
    for text in texts:
        key, _, value = text.partition("=")
        if not key:
            raise click.UsageError(f"{text!r} is no label: KEY or KEY=VALUE")
        found[key] = value
    return found

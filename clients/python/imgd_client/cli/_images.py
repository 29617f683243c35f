"""imgctl images."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import click

from imgd.v1 import image_pb2

from ._arguments import IMAGE_FILTERS
from ._command import command
from ._complete import IMAGE
from ._connect import connect
from ._format import format_option, is_table, write_rows, write_table
from ._names import repository, short_id, split
from ._units import go_time, human_duration, human_size

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["Row", "images", "rows_of"]

_NONE = "<none>"
_UNKNOWN = "N/A"
# Go's zero time, which docker shows for an image that does not say when it was made.
_ZERO_TIME = "0001-01-01 00:00:00 +0000 UTC"
# The fields that the daemon computes only when asked; docker prints them only in other places.
_COSTLY = (".Containers", ".SharedSize", ".UniqueSize")
_HEADER = {
    "Containers": "CONTAINERS",
    "CreatedAt": "CREATED AT",
    "CreatedSince": "CREATED",
    "Digest": "DIGEST",
    "ID": "IMAGE ID",
    "Repository": "REPOSITORY",
    "SharedSize": "SHARED SIZE",
    "Size": "SIZE",
    "Tag": "TAG",
    "UniqueSize": "UNIQUE SIZE",
    "VirtualSize": "SIZE",
}


class Row(NamedTuple):
    """One line of the table."""

    repository: str
    tag: str
    digest: str
    image: image_pb2.Image

    def created_since(self, now: float) -> str:
        """How long ago it was made; empty where that is not known."""
        if not self.image.HasField("create_time"):
            return ""
        return f"{human_duration(now - self.image.create_time.seconds)} ago"

    def created_at(self) -> str:
        """When it was made, in the local zone."""
        known = self.image.HasField("create_time")
        return go_time(self.image.create_time.seconds) if known else _ZERO_TIME

    def size(self) -> str:
        """The column SIZE."""
        return human_size(self.image.size, 3)

    def image_id(self, truncate: bool) -> str:
        """The column IMAGE ID."""
        return short_id(self.image.image_id) if truncate else self.image.image_id

    def fields(self, truncate: bool, now: float, full: bool) -> Struct:
        """What templates see; `full` says that the image is in the FULL view."""
        from .gotemplate import Struct

        image = self.image
        fields = {
            "Containers": str(image.container_count) if full else _UNKNOWN,
            "CreatedAt": self.created_at,
            "CreatedSince": lambda: self.created_since(now),
            "Digest": self.digest,
            "ID": self.image_id(truncate),
            "Repository": self.repository,
            "SharedSize": lambda: _known_size(image, "shared_size"),
            "Size": self.size,
            "Tag": self.tag,
            "UniqueSize": lambda: _known_size(image, "unique_size"),
            "VirtualSize": lambda: human_size(image.size),
        }
        return Struct("image", fields, html_safe=True)


def _known_size(image: image_pb2.Image, field: str) -> str:
    return human_size(getattr(image, field)) if image.HasField(field) else _UNKNOWN  # type: ignore[arg-type]


def rows_of(image: image_pb2.Image, with_digests: bool, own_digest_rows: bool) -> Iterator[Row]:
    """An image's rows, by the rules of docker's cli/command/formatter/image.go.

    A row for each tag; `with_digests`, for each tag and digest of its repository. Then the
    repositories that only a digest is known of: `own_digest_rows`, a row for each digest.
    """
    digests: dict[str, list[str]] = {}
    for full in sorted({*image.digest_references, *image.repo_digests}):
        digests.setdefault(repository(full), []).append(split(full)[2])
    if not (image.tags or digests):
        yield Row(_NONE, _NONE, _NONE, image)
    tagged = set()
    for full in image.tags:
        name = repository(full)
        tagged.add(name)
        shown = digests.get(name) if with_digests else None
        for digest in shown or [_NONE]:
            yield Row(name, split(full)[1], digest, image)
    for name, known in digests.items():
        if name not in tagged:
            for digest in known if own_digest_rows else [""]:
                yield Row(name, _NONE, digest, image)


def _write_table(rows: Iterable[Row], truncate: bool, digests: bool) -> None:
    now = time.time()
    header = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    lines = []
    for row in rows:
        since = row.created_since(now) or _UNKNOWN
        lines.append([row.repository, row.tag, row.image_id(truncate), since, row.size()])
        if digests:
            lines[-1].insert(2, row.digest)
    if digests:
        header.insert(2, "DIGEST")
    write_table(header, lines)


@command()
@click.argument("reference", metavar="[REPOSITORY[:TAG]]", required=False, type=IMAGE)
@click.option("-q", "--quiet", is_flag=True, help="Only IDs.")
@click.option("--no-trunc", is_flag=True, help="IDs in full.")
@click.option("--digests", is_flag=True, help="Also digests.")
@click.option("-a", "--all", "_all", is_flag=True, help="As docker's; there is nothing hidden.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE", help=IMAGE_FILTERS)
@format_option()
def images(
    reference: str | None,
    quiet: bool,
    no_trunc: bool,
    digests: bool,
    _all: bool,
    filters: tuple[str, ...],
    form: str,
) -> None:
    """Lists the images in the store, newest first."""
    wanted = [*filters, f"reference={reference}"] if reference else [*filters]
    full = any(field in form for field in _COSTLY)
    view = image_pb2.IMAGE_VIEW_FULL if full else image_pb2.IMAGE_VIEW_BASIC
    with connect() as client:
        found = list(client.images.list(filters=wanted, view=view, page_size=1000))
    # Docker looks for just these characters.
    with_digests = digests or "{{.Digest}}" in form
    rows = [row for image in found for row in rows_of(image, with_digests, digests)]
    if not is_table(form):
        now = time.time()
        write_rows(form, (row.fields(not no_trunc, now, full) for row in rows), _HEADER)
    elif quiet:
        for row in rows:
            click.echo(row.image_id(not no_trunc))
    else:
        _write_table(rows, not no_trunc, digests)

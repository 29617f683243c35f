"""imgctl images."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import click

from imgd.v1 import image_pb2

from ._connect import connect
from ._format import FORMAT
from ._names import repository, short_id, split
from ._table import echo_table
from ._units import human_duration, human_size

__all__ = ["Row", "images", "rows_of"]

_NONE = "<none>"


class Row(NamedTuple):
    """One line of the table."""

    repository: str
    tag: str
    digest: str
    image: image_pb2.Image

    def created_since(self, now: float) -> str:
        """The column CREATED."""
        if not self.image.HasField("create_time"):
            return "N/A"
        return f"{human_duration(now - self.image.create_time.seconds)} ago"

    def size(self) -> str:
        """The column SIZE."""
        return human_size(self.image.size, 3)

    def image_id(self, truncate: bool) -> str:
        """The column IMAGE ID."""
        return short_id(self.image.image_id) if truncate else self.image.image_id


def rows_of(image: image_pb2.Image, with_digests: bool) -> Iterator[Row]:
    """An image's rows, by the rules of docker's cli/command/formatter/image.go.

    A row for each tag; where digests are shown, for each tag and digest of its repository. Then the
    repositories that only a digest is known of.
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
            for digest in known if with_digests else [_NONE]:
                yield Row(name, _NONE, digest, image)


def _as_json(row: Row, truncate: bool, now: float) -> str:
    created = datetime.fromtimestamp(row.image.create_time.seconds, UTC)
    known = row.image.HasField("create_time")
    fields = {
        "Containers": "N/A",
        "CreatedAt": f"{created:%Y-%m-%d %H:%M:%S} +0000 UTC" if known else "N/A",
        "CreatedSince": row.created_since(now),
        "Digest": row.digest,
        "ID": row.image_id(truncate),
        "Repository": row.repository,
        "SharedSize": "N/A",
        "Size": row.size(),
        "Tag": row.tag,
        "UniqueSize": "N/A",
    }
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _echo_rows(rows: Iterable[Row], truncate: bool, digests: bool) -> None:
    now = time.time()
    header = ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    lines = [
        [row.repository, row.tag, row.image_id(truncate), row.created_since(now), row.size()]
        for row in rows
    ]
    if digests:
        header.insert(2, "DIGEST")
        for line, row in zip(lines, rows, strict=True):
            line.insert(2, row.digest)
    echo_table(header, lines)


@click.command()
@click.argument("reference", metavar="[REPOSITORY[:TAG]]", required=False)
@click.option("-q", "--quiet", is_flag=True, help="Only IDs.")
@click.option("--no-trunc", is_flag=True, help="IDs in full.")
@click.option("--digests", is_flag=True, help="Also digests.")
@click.option("-a", "--all", "_all", is_flag=True, help="As docker's; there is nothing hidden.")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE")
@FORMAT
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
    with connect() as client:
        found = list(client.images.list(filters=wanted, page_size=1000))
    rows = [row for image in found for row in rows_of(image, digests)]
    if quiet:
        for row in rows:
            click.echo(row.image_id(not no_trunc))
    elif form == "json":
        for row in rows:
            click.echo(_as_json(row, not no_trunc, time.time()))
    else:
        _echo_rows(rows, not no_trunc, digests)

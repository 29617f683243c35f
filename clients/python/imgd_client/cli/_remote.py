"""Looking into registries without pulling: tags, search, manifest, digest, referrers."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from imgd.v1 import descriptor_pb2, registry_pb2
from imgd_client import Client

from ._command import command
from ._complete import IMAGE
from ._connect import connect
from ._docker_config import HUB, credentials_for
from ._format import format_option, is_table, write_rows, write_table
from ._names import domain_of, host_and_path, split
from ._units import ellipsis, human_size

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["digest", "manifest", "referrers", "search", "tags"]

_PLATFORM = click.option("--platform", default="", metavar="PLATFORM", help="os/arch[/variant]")
# What docker cuts descriptions to, and the most that it lets one ask for.
_DESCRIPTION = 45
_MOST = 100
# Docker's manifests; OCI's are shown by another name (cli/manifest/types).
_DOCKER = "application/vnd.docker."


@command()
@click.argument("repository")
@click.option("-f", "--filter", "pattern", default="", metavar="PATTERN", help="Such as '7.*'.")
def tags(repository: str, pattern: str) -> None:
    """Lists the tags of a repository in its registry, in order."""
    who = credentials_for(repository)
    with connect() as client:
        found = client.registry.tags(repository, pattern=pattern, page_size=10_000, credentials=who)
        for tag in found:
            click.echo(tag)


@command()
@click.argument("reference", type=IMAGE)
@_PLATFORM
def digest(reference: str, platform: str) -> None:
    """Prints the digest that a reference has in its registry."""
    who = credentials_for(reference)
    with connect() as client:
        found = client.registry.resolve(reference, platform=platform, credentials=who)
    click.echo(found.target.digest)


# --- manifest


class _Manifest(click.Group):
    """`manifest REFERENCE` is `manifest raw REFERENCE`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            args = ["--help"]
        elif args[0] not in (*self.commands, "-h", "--help"):
            args = ["raw", *args]
        return super().parse_args(ctx, args)


@command("raw")
@click.argument("reference", type=IMAGE)
@_PLATFORM
@click.option("--config", is_flag=True, help="The image's config instead.")
def _raw(reference: str, platform: str, config: bool) -> None:
    """Prints a manifest's own bytes; what `manifest REFERENCE` does."""
    who = credentials_for(reference)
    with connect() as client:
        found = client.registry.manifest(
            reference, platform=platform, include_config=config, credentials=who
        )
    if config and not found.config:
        raise click.ClickException(f"{reference} has no config: name a --platform of an index")
    sys.stdout.buffer.write(found.config if config else found.raw)


@command("inspect")
@click.argument("reference", type=IMAGE)
@_PLATFORM
@click.option("-v", "--verbose", is_flag=True, help="Also descriptors, and those below an index.")
def _inspect(reference: str, platform: str, verbose: bool) -> None:
    """Prints a manifest as `docker manifest inspect` does."""
    who = credentials_for(reference)

    def fetch(client: Client, name: str, platform: str = "") -> Any:
        return client.registry.manifest(
            name, platform=platform, include_config=verbose, credentials=who
        )

    with connect() as client:
        found = fetch(client, reference, platform)
        with _readable(reference):
            shown = json.loads(found.raw)
        if verbose and "manifests" in shown:
            name = _full(reference)
            shown = [
                _described(f"{name}@{entry['digest']}", entry, fetch(client, at))
                for entry in shown["manifests"]
                for at in [f"{split(reference)[0]}@{entry['digest']}"]
            ]
        elif verbose:
            shown = _described(_full(reference), _descriptor(found.descriptor, found.config), found)
    with _readable(reference):
        text = json.dumps(shown, indent="\t", ensure_ascii=False)
    click.echo(text)


manifest = _Manifest(
    name="manifest",
    help="Shows manifests as their registry has them.",
    commands=[_raw, _inspect],
)


@contextmanager
def _readable(reference: str) -> Iterator[None]:
    """Says of a document that nobody can show that it is none: a stranger wrote it."""
    try:
        yield
    except (ValueError, RecursionError) as error:
        raise click.ClickException(
            f"what {reference} has for a manifest is none that can be shown; "
            f"`imgctl manifest {reference}` prints it as it is"
        ) from error


def _full(reference: str) -> str:
    """A reference as docker shows it here: with its host, and a tag."""
    domain, path = host_and_path(reference)
    _, tag, digest = split(reference)
    version = f":{tag}" if tag else "" if digest else ":latest"
    return f"{domain}/{path}{version}{f'@{digest}' if digest else ''}"


def _descriptor(found: descriptor_pb2.Descriptor, config: bytes) -> dict[str, Any]:
    """A descriptor in the form of OCI; the platform is the config's."""
    facts = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    platform = json.loads(config or b"{}")
    keys = ("architecture", "os", "variant")
    if shown := {key: platform[key] for key in keys if platform.get(key)}:
        facts["platform"] = shown
    return facts


def _described(name: str, descriptor: dict[str, Any], found: Any) -> dict[str, Any]:
    docker = found.descriptor.media_type.startswith(_DOCKER)
    return {
        "Ref": name,
        "Descriptor": descriptor,
        "Raw": base64.b64encode(found.raw).decode(),
        "SchemaV2Manifest" if docker else "OCIManifest": json.loads(found.raw),
    }


# --- referrers


_REFERRERS = {
    "ArtifactType": "ARTIFACT TYPE",
    "Digest": "DIGEST",
    "MediaType": "MEDIA TYPE",
    "Size": "SIZE",
}


@command()
@click.argument("reference", type=IMAGE)
@click.option("--artifact-type", default="", metavar="TYPE", help="Only those of this type.")
@click.option("-q", "--quiet", is_flag=True, help="Only digests.")
@format_option()
def referrers(reference: str, artifact_type: str, quiet: bool, form: str) -> None:
    """Lists what refers to a manifest in its registry: signatures, attestations, SBOMs."""
    who = credentials_for(reference)
    with connect() as client:
        found = client.registry.referrers(
            reference, artifact_type=artifact_type, page_size=1000, credentials=who
        )
        rows = [_referrer(one) for one in found]
    if not is_table(form):
        _write(form, "referrer", rows, _REFERRERS)
    elif quiet:
        for row in rows:
            click.echo(row["Digest"])
    else:
        columns = ("Digest", "ArtifactType", "Size")
        cells = ([row[column] for column in columns] for row in rows)
        write_table([_REFERRERS[column] for column in columns], cells)


def _referrer(found: descriptor_pb2.Descriptor) -> dict[str, str]:
    return {
        "ArtifactType": _printable(found.artifact_type),
        "Digest": found.digest,
        "MediaType": _printable(found.media_type),
        "Size": human_size(found.size),
    }


def _printable(text: str) -> str:
    # A stranger wrote it, and it goes to a terminal.
    return "".join(one if one.isprintable() else " " for one in text)


def _write(form: str, kind: str, rows: Iterable[dict[str, str]], header: dict[str, str]) -> None:
    from .gotemplate import Struct

    structs: Iterable[Struct] = (Struct(kind, row, html_safe=True) for row in rows)
    write_rows(form, structs, header)


# --- search


_SEARCH = {
    "Description": "DESCRIPTION",
    "IsAutomated": "AUTOMATED",
    "IsOfficial": "OFFICIAL",
    "Name": "NAME",
    "StarCount": "STARS",
}


class _Filters(NamedTuple):
    official: bool | None = None
    stars: int = 0

    @classmethod
    def parse(cls, texts: Iterable[str]) -> _Filters:
        """Docker's filters of a search. Raises UsageError."""
        found = cls()
        for text in texts:
            key, _, value = text.partition("=")
            if key == "is-official" and value in ("true", "1", "false", "0"):
                found = found._replace(official=value in ("true", "1"))
            elif key == "stars" and value.isascii() and value.isdigit() and len(value) < 19:
                found = found._replace(stars=max(found.stars, int(value)))
            else:
                known = "is-official=true|false and stars=NUMBER"
                raise click.UsageError(f"{text!r} is no filter of a search: those are {known}")
        return found


@command()
@click.argument("term")
@click.option("-f", "--filter", "filters", multiple=True, metavar="KEY=VALUE")
@click.option("--limit", default=25, type=click.IntRange(1, _MOST), help="The most to show.")
@click.option("--no-trunc", is_flag=True, help="Descriptions in full.")
@format_option()
def search(term: str, filters: tuple[str, ...], limit: int, no_trunc: bool, form: str) -> None:
    """Searches Docker Hub, or with HOST/TERM another registry."""
    wanted = _Filters.parse(filters)
    registry = domain_of(term)
    query = term.partition("/")[2] if term.startswith(f"{registry}/") else term
    if registry == HUB:
        query = query.removeprefix("library/")
    with connect() as client:
        results = client.registry.search(
            query,
            registry=registry,
            official_only=bool(wanted.official),
            min_stars=wanted.stars,
            page_size=limit,
        )
        fitting = (one for one in results if wanted.official in (None, one.official))
        found = [*islice(fitting, limit)]
    rows = [_result(one, not no_trunc, form == "json") for one in found]
    if is_table(form):
        columns = ("Name", "Description", "StarCount", "IsOfficial")
        cells = ([row[column] for column in columns] for row in rows)
        write_table([_SEARCH[column] for column in columns], cells)
    else:
        _write(form, "search", rows, _SEARCH)


def _result(found: registry_pb2.SearchResult, truncate: bool, as_json: bool) -> dict[str, str]:
    """A row as docker's cli/command/registry/formatter_search.go has it."""
    description = _printable(found.description)
    yes, no = ("true", "false") if as_json else ("[OK]", "")
    return {
        "Description": ellipsis(description, _DESCRIPTION) if truncate else description,
        "IsAutomated": no,
        "IsOfficial": yes if found.official else no,
        "Name": found.repository,
        "StarCount": str(found.star_count),
    }

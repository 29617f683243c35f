"""imgctl inspect."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import click
from google.protobuf.timestamp_pb2 import Timestamp

from imgd.v1 import descriptor_pb2, image_pb2, image_service_pb2
from imgd_client import ImgdError

from ._command import command
from ._complete import IMAGE
from ._connect import connect
from ._format import format_option, write_object
from ._names import familiar, plain_error

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["ZERO_TIME", "describe", "each", "inspect", "json_time", "write_found"]

_Found = TypeVar("_Found")

ZERO_TIME = "0001-01-01T00:00:00Z"
"""Docker's word for a time that is not known."""


def each(names: Sequence[str], look_up: Callable[[str], _Found]) -> tuple[list[_Found], bool]:
    """What is found of names, and whether all were; each that is not is told of."""
    found, complete = [], True
    for name in names:
        try:
            found.append(look_up(name))
        except ImgdError as error:
            # Without a reason it is no answer about this one.
            if not error.reason:
                raise
            complete = False
            click.echo(f"imgctl: {plain_error(error)}", err=True)
    return found, complete


def json_time(value: Timestamp) -> str:
    """A time as Go writes it in JSON."""
    text = value.ToJsonString()
    return f"{text[:-1].rstrip('0')}Z" if "." in text else text


def _descriptor(found: descriptor_pb2.Descriptor) -> Struct:
    from .gotemplate import Struct

    fields = {"mediaType": found.media_type, "digest": found.digest, "size": found.size}
    go_names = {"MediaType": "mediaType", "Digest": "digest", "Size": "size"}
    return Struct("", fields, aliases=go_names)


def _config(config: image_pb2.ImageConfig) -> Struct:
    from .gotemplate import NilList, NilMap, StringMap, Struct

    nothing = Struct("", {})
    fields = {
        "User": config.user,
        "ExposedPorts": dict.fromkeys(config.exposed_ports, nothing) or NilMap(),
        "Env": [*config.env] or NilList(),
        "Entrypoint": [*config.entrypoint] or NilList(),
        "Cmd": [*config.cmd] or NilList(),
        "Volumes": dict.fromkeys(config.volumes, nothing) or NilMap(),
        "WorkingDir": config.working_dir,
        "Labels": StringMap(config.labels) or NilMap(),
        "StopSignal": config.stop_signal,
        "Healthcheck": _health_check(config) if config.HasField("health_check") else None,
        "OnBuild": [*config.on_build] or NilList(),
        "Shell": [*config.shell] or NilList(),
    }
    return Struct("", fields, omit_empty=fields)


def _health_check(config: image_pb2.ImageConfig) -> Struct:
    from .gotemplate import NilList, Struct

    found = config.health_check
    fields = {
        "Test": [*found.test] or NilList(),
        "Interval": found.interval.ToNanoseconds(),
        "Timeout": found.timeout.ToNanoseconds(),
        "StartPeriod": found.start_period.ToNanoseconds(),
        "StartInterval": found.start_interval.ToNanoseconds(),
        "Retries": found.retries,
    }
    return Struct("", fields, omit_empty=fields)


def describe(answer: image_service_pb2.InspectImageResponse) -> Struct:
    """An image in the form of `docker inspect` (API 1.50), and what imgd knows beyond.

    What Docker has and imgd has not (the parent, the builder's version, the graph driver) is empty,
    as Docker's own is for images that it pulled.
    """
    from .gotemplate import NilMap, Struct

    image, platform = answer.image, answer.platform
    digests = {*image.digest_references, *image.repo_digests}
    used = json_time(image.last_use_time) if image.HasField("last_use_time") else ZERO_TIME
    fields = {
        "Id": image.image_id,
        "RepoTags": [familiar(tag) for tag in image.tags],
        "RepoDigests": sorted(familiar(name) for name in digests),
        "Parent": "",
        "Comment": answer.comment,
        "Created": json_time(image.create_time) if image.HasField("create_time") else "",
        "DockerVersion": "",
        "Author": answer.author,
        "Config": _config(answer.config) if answer.HasField("config") else None,
        "Architecture": platform.architecture,
        "Variant": platform.variant,
        "Os": platform.os,
        "Size": image.size,
        "GraphDriver": Struct("", {"Data": NilMap(), "Name": ""}),
        "RootFS": Struct("", {"Type": "layers", "Layers": [*answer.diff_ids]}),
        "Metadata": Struct(
            "",
            {
                "LastTagTime": ZERO_TIME,
                "StoreTime": json_time(image.store_time),
                "LastUseTime": used,
            },
        ),
        "Descriptor": _descriptor(image.target),
        "ArtifactType": image.artifact_type,
    }
    optional = ("Created", "Variant", "ArtifactType")
    return Struct("", fields, aliases={"ID": "Id"}, omit_empty=optional)


@command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…", type=IMAGE)
@click.option("--platform", default="", metavar="PLATFORM", help="os/architecture[/variant]")
@format_option("-f", help="'json' for one line, or a Go template such as '{{.Config.Env}}'.")
@click.pass_context
def inspect(ctx: click.Context, images: tuple[str, ...], platform: str, form: str) -> None:
    """Describes images as JSON, in docker's form."""
    with connect() as client:
        answers, complete = each(
            images, lambda name: client.images.inspect(name, platform=platform)
        )
    write_found(form, [describe(answer) for answer in answers])
    if not complete:
        ctx.exit(1)


def write_found(form: str, found: list[Struct]) -> None:
    """Prints things as `docker inspect` does."""
    from .gotemplate import encode, plain

    if form == "json":
        click.echo(encode(found))
    elif not form:
        click.echo(json.dumps(plain(found), indent=4, ensure_ascii=False))
    else:
        for one in found:
            write_object(form, one)

"""imgctl inspect and history."""

from __future__ import annotations

import json
import time
from typing import Any

import click
from google.protobuf.timestamp_pb2 import Timestamp

from imgd.v1 import image_pb2, image_service_pb2
from imgd_client import ImgdError

from ._connect import connect
from ._names import familiar, short_id
from ._table import echo_table
from ._units import human_duration, human_size

__all__ = ["history", "inspect"]


def _time(value: Timestamp) -> str:
    return value.ToJsonString()


def _descriptor(answer: image_service_pb2.InspectImageResponse) -> dict[str, Any]:
    target = answer.image.target
    return {"mediaType": target.media_type, "digest": target.digest, "size": target.size}


def _config(config: image_pb2.ImageConfig) -> dict[str, Any]:
    found = {
        "User": config.user,
        "ExposedPorts": {port: {} for port in config.exposed_ports},
        "Env": list(config.env),
        "Entrypoint": list(config.entrypoint),
        "Cmd": list(config.cmd),
        "Volumes": {path: {} for path in config.volumes},
        "WorkingDir": config.working_dir,
        "Labels": dict(sorted(config.labels.items())),
        "StopSignal": config.stop_signal,
    }
    # Docker leaves out what is not set.
    return {key: value for key, value in found.items() if value}


def describe(answer: image_service_pb2.InspectImageResponse) -> dict[str, Any]:
    """An image in the form of `docker inspect`."""
    image, platform = answer.image, answer.platform
    digests = {*image.digest_references, *image.repo_digests}
    found: dict[str, Any] = {
        "Id": image.image_id,
        "RepoTags": [familiar(tag) for tag in image.tags],
        "RepoDigests": sorted(familiar(name) for name in digests),
        "Comment": answer.comment,
        "Created": _time(image.create_time) if image.HasField("create_time") else None,
        "Author": answer.author,
        "Architecture": platform.architecture,
        "Variant": platform.variant,
        "Os": platform.os,
        "Size": image.size,
        "RootFS": {"Type": "layers", "Layers": list(answer.diff_ids)},
        "Metadata": {
            "StoreTime": _time(image.store_time),
            "LastUseTime": _time(image.last_use_time) if image.HasField("last_use_time") else None,
        },
        "Descriptor": _descriptor(answer),
        "Config": _config(answer.config) if answer.HasField("config") else None,
    }
    if not platform.variant:
        del found["Variant"]
    if image.artifact_type:
        found["ArtifactType"] = image.artifact_type
    return found


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@click.option("--platform", default="", metavar="PLATFORM", help="os/architecture[/variant]")
@click.pass_context
def inspect(ctx: click.Context, images: tuple[str, ...], platform: str) -> None:
    """Describes images as JSON, in docker's form."""
    found, failed = [], False
    with connect() as client:
        for image in images:
            try:
                found.append(describe(client.images.inspect(image, platform=platform)))
            except ImgdError as error:
                # Without a reason it is no answer about this image.
                if not error.reason:
                    raise
                failed = True
                click.echo(f"imgctl: {error}", err=True)
    click.echo(json.dumps(found, indent=4, ensure_ascii=False))
    if failed:
        ctx.exit(1)


@click.command()
@click.argument("image")
@click.option("--platform", default="", metavar="PLATFORM", help="os/architecture[/variant]")
@click.option("--no-trunc", is_flag=True, help="Commands and IDs in full.")
@click.option("-q", "--quiet", is_flag=True, help="Only layer digests.")
def history(image: str, platform: str, no_trunc: bool, quiet: bool) -> None:
    """Shows the steps that made an image, newest first."""
    with connect() as client:
        entries = reversed(client.images.history(image, platform=platform))
    now = time.time()
    rows = []
    for entry in entries:
        layer = entry.layer.digest or "<missing>"
        shown = layer if no_trunc or not entry.layer.digest else short_id(layer)
        if quiet:
            click.echo(shown)
            continue
        command = " ".join(entry.created_by.split())
        if not no_trunc and len(command) > 45:
            command = command[:44] + "…"
        known = entry.HasField("create_time")
        created = f"{human_duration(now - entry.create_time.seconds)} ago" if known else "N/A"
        size = entry.unpacked_size if entry.HasField("unpacked_size") else entry.layer.size
        rows.append([shown, created, command, human_size(size, 3), entry.comment])
    if not quiet:
        echo_table(["LAYER", "CREATED", "CREATED BY", "SIZE", "COMMENT"], rows)

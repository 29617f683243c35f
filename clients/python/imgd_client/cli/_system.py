"""imgctl version and info."""

from __future__ import annotations

import json
import platform
from importlib import metadata
from typing import Any

import click

from imgd.v1 import system_pb2

from ._connect import connect
from ._format import FORMAT, to_dict
from ._units import human_size

__all__ = ["info", "version"]


def _echo(title: str, facts: dict[str, Any]) -> None:
    click.echo(f"{title}:")
    width = max(map(len, facts)) + 2
    for key, value in facts.items():
        click.echo(f" {key + ':':<{width}} {value}".rstrip())


def _platform(value: system_pb2.SystemInfo) -> str:
    default = value.default_platform
    return "/".join(filter(None, [default.os, default.architecture, default.variant]))


@click.command()
@FORMAT
def version(form: str) -> None:
    """Shows the versions of this client and of the daemon."""
    client_facts = {
        "Version": metadata.version("imgd-client"),
        "API version": "imgd.v1",
        "Python version": platform.python_version(),
    }
    if form == "table":
        _echo("Client", client_facts)
    with connect() as client:
        found = client.system.info()
    if form == "json":
        click.echo(json.dumps({"Client": client_facts, "Server": to_dict(found)}))
        return
    server_facts = {
        "Version": found.version,
        "Commit": found.commit or "unknown",
        "API version": ", ".join(found.api_versions),
        "Runtime version": found.runtime_version,
        "Platform": _platform(found),
    }
    _echo("Server", server_facts)


@click.command()
@FORMAT
def info(form: str) -> None:
    """Shows what the daemon is and can."""
    with connect() as client:
        found, can = client.system.info(), client.system.capabilities()
    if form == "json":
        click.echo(json.dumps({"info": to_dict(found), "capabilities": to_dict(can)}))
        return
    facts = {
        "Version": found.version,
        "Platform": _platform(found),
        "Started": found.start_time.ToJsonString(),
        "Images": found.image_count,
        "Running transfers": found.running_transfer_count,
        "Disk free": human_size(found.disk_free_bytes, 3),
        "Registry inside": found.registry_inside.address or "off",
        "Samples": ", ".join(found.registry_inside.samples) or "none",
        "Snapshotter": can.snapshotter or "none",
        "Transfers": ", ".join(can.transfers),
        "Filters": ", ".join(can.image_filters) or "none",
        "Methods": len(can.methods),
    }
    _echo("Server", facts)

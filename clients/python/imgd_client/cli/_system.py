"""imgctl version and info."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from imgd.v1 import registry_pb2, system_pb2

from ._command import command
from ._connect import connect
from ._format import format_option, is_table, to_dict, write_object
from ._units import human_duration, human_size

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["info", "version"]

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def _echo(title: str, facts: Mapping[str, Any]) -> None:
    click.echo(f"{title}:")
    width = max(map(len, facts)) + 2
    for key, value in facts.items():
        click.echo(f" {key + ':':<{width}} {value}".rstrip())


def _platform(found: system_pb2.SystemInfo) -> str:
    default = found.default_platform
    return "/".join(filter(None, [default.os, default.architecture, default.variant]))


def _client() -> dict[str, str]:
    machine = platform.machine()
    return {
        "Version": metadata.version("imgd-client"),
        "ApiVersion": "imgd.v1",
        "PythonVersion": platform.python_version(),
        "Os": platform.system().lower(),
        "Arch": _MACHINES.get(machine, machine),
    }


def _server(found: system_pb2.SystemInfo) -> dict[str, str]:
    return {
        "Version": found.version,
        "ApiVersion": ", ".join(found.api_versions),
        "PythonVersion": found.runtime_version,
        "GitCommit": found.commit,
        "Os": found.default_platform.os,
        "Arch": found.default_platform.architecture,
    }


def _show_version(title: str, facts: Mapping[str, str]) -> None:
    shown = {
        "Version": facts["Version"],
        "API version": facts["ApiVersion"],
        "Python version": facts["PythonVersion"],
    }
    if "GitCommit" in facts:
        shown["Git commit"] = facts["GitCommit"] or "unknown"
    _echo(title, {**shown, "OS/Arch": f"{facts['Os']}/{facts['Arch']}"})


@command()
@format_option("-f", help="'json', or a Go template such as '{{.Server.Version}}'.")
@click.pass_context
def version(ctx: click.Context, form: str) -> None:
    """Shows the versions of this client and of the daemon."""
    facts = _client()
    found: system_pb2.SystemInfo | None = None
    problem: click.ClickException | None = None
    if is_table(form):
        _show_version("Client", facts)
        click.echo()
    try:
        with connect() as client:
            found = client.system.info()
    except click.ClickException as error:
        # What is known is shown all the same, as docker does.
        problem = error
    if is_table(form) and found:
        _show_version("Server", _server(found))
    elif not is_table(form):
        try:
            _write_version(form, facts, found)
        except click.ClickException as error:
            # A template for the server's facts fails only because there is no server.
            raise problem or error from None
    if problem:
        raise problem


def _write_version(
    form: str, client: Mapping[str, str], found: system_pb2.SystemInfo | None
) -> None:
    from .gotemplate import Struct

    server = Struct("", _server(found)) if found else None
    write_object(form, Struct("", {"Client": Struct("", client), "Server": server}))


@command()
@format_option("-f", help="'json', or a Go template such as '{{.ServerVersion}}'.")
def info(form: str) -> None:
    """Shows what the daemon is and can, and how many requests registries said they take."""
    with connect() as client:
        found, can = client.system.info(), client.system.capabilities()
        budgets = client.registry.rate_budgets()
    if is_table(form):
        _show_info(found, can)
        if budgets:
            click.echo()
            _echo("Registries' limits", {one.host: _budget(one) for one in budgets})
    else:
        write_object(form, _describe(found, can, budgets))


def _budget(told: registry_pb2.RateBudget) -> str:
    """A budget in words: what is left of it, and until when nothing is taken."""
    parts = []
    if told.HasField("remaining") or told.HasField("limit"):
        limit = str(told.limit) if told.HasField("limit") else ""
        left = str(told.remaining) if told.HasField("remaining") else "?"
        window = human_duration(told.window.seconds) if told.HasField("window") else ""
        parts.append(f"{left}{limit and f' of {limit}'} left{window and f' in {window}'}")
    if told.HasField("blocked_until"):
        parts.append(f"no requests until {told.blocked_until.ToJsonString()}")
    return f"{', '.join(parts) or 'none'} (told {told.update_time.ToJsonString()})"


def _describe(
    found: system_pb2.SystemInfo,
    can: system_pb2.Capabilities,
    budgets: Iterable[registry_pb2.RateBudget],
) -> Struct:
    """Docker's keys where docker has the thing, and the daemon's own answers as they are."""
    from .gotemplate import Struct

    fields = {
        "Images": found.image_count,
        "Driver": can.snapshotter,
        "OSType": found.default_platform.os,
        "Architecture": found.default_platform.architecture,
        "ServerVersion": found.version,
        "RunningTransfers": found.running_transfer_count,
        "DiskFree": found.disk_free_bytes,
        "Info": to_dict(found),
        "Capabilities": to_dict(can),
        "RateBudgets": [to_dict(one) for one in budgets],
    }
    return Struct("", fields)


def _show_info(found: system_pb2.SystemInfo, can: system_pb2.Capabilities) -> None:
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

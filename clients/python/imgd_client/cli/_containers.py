"""imgctl container, and ps."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from imgd.v1 import container_pb2, container_service_pb2
from imgd_client import NotFound

from ._arguments import change_each, echo_mounts, full_path, labels_of
from ._command import command
from ._complete import IMAGE, ContainerName
from ._connect import connect
from ._docker_config import credentials_for
from ._format import format_option, is_table, write_rows, write_table
from ._inspect import ZERO_TIME, each, json_time, write_found
from ._names import familiar, may_be_id, printable, short_id, split
from ._times import DURATION
from ._units import go_time, human_duration

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = [
    "COLUMNS",
    "ContainerRow",
    "create",
    "diff",
    "heartbeat",
    "inspect",
    "ls",
    "pause",
    "rm",
    "start",
    "stop",
    "unpause",
]

_CREATED = container_pb2.CONTAINER_STATE_CREATED
_RUNNING = container_pb2.CONTAINER_STATE_RUNNING
_PAUSED = container_pb2.CONTAINER_STATE_PAUSED
_EXITED = container_pb2.CONTAINER_STATE_EXITED
_STATES = {"created": _CREATED, "running": _RUNNING, "paused": _PAUSED, "exited": _EXITED}
_LETTERS = {
    container_pb2.CHANGE_KIND_ADDED: "A",
    container_pb2.CHANGE_KIND_CHANGED: "C",
    container_pb2.CHANGE_KIND_DELETED: "D",
}
_WORDS = {number: word for word, number in _STATES.items()}
_HEADER = {
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Labels": "LABELS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Mounts": "MOUNTS",
    "Names": "NAMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
    "Ports": "PORTS",
    "RunningFor": "CREATED",
    "Size": "SIZE",
    "State": "STATE",
    "Status": "STATUS",
}

COLUMNS = ("CONTAINER ID", "IMAGE", "CREATED", "STATUS")
"""The titles of a line of the table."""


class ContainerRow(NamedTuple):
    """One line of the table."""

    container: container_pb2.Container
    truncate: bool
    now: float

    @property
    def container_id(self) -> str:
        """The column CONTAINER ID: the name that it goes by, never cut."""
        return self.container.name.removeprefix("containers/")

    def image(self) -> str:
        """The column IMAGE, by the rules of docker's cli/command/formatter/container.go."""
        asked, image_id = self.container.image_reference, self.container.image_id
        if not self.truncate:
            return asked
        # Somebody asked for it by its ID, or the beginning of it.
        if image_id.removeprefix("sha256:").startswith(asked.removeprefix("sha256:")):
            return short_id(image_id)
        name, tag, _ = split(asked)
        return familiar(f"{name}:{tag}" if tag else name)

    def created(self) -> str:
        """The column CREATED."""
        return f"{human_duration(self.now - self.container.create_time.seconds)} ago"

    def status(self) -> str:
        """The column STATUS."""
        one = self.container
        if one.state in (_RUNNING, _PAUSED):
            paused = " (Paused)" if one.state == _PAUSED else ""
            return f"Up {human_duration(self.now - one.start_time.seconds)}{paused}"
        if one.state == _EXITED:
            code = f" ({one.exit_status})" if one.HasField("exit_status") else ""
            return f"Exited{code} {human_duration(self.now - one.stop_time.seconds)} ago"
        return _WORDS.get(one.state, "unknown").capitalize()

    def cells(self) -> list[str]:
        """The line of the table. What docker shows of a process is not known here."""
        return [self.container_id, self.image(), self.created(), self.status()]

    def fields(self) -> Struct:
        """What templates see. What docker has and imgd has not is empty."""
        from .gotemplate import Struct

        one = self.container
        fields = {
            "Command": '""',
            "CreatedAt": go_time(one.create_time.seconds),
            "ID": self.container_id,
            "Image": self.image(),
            "Labels": ",".join(sorted(f"{key}={value}" for key, value in one.labels.items())),
            "LocalVolumes": "0",
            "Mounts": "",
            "Names": self.container_id,
            "Networks": "",
            "Platform": one.platform,
            "Ports": "",
            "RunningFor": self.created(),
            "Size": "0B",
            "State": _WORDS.get(one.state, "unknown"),
            "Status": self.status(),
        }
        return Struct("container", fields, html_safe=True)


@command()
@click.argument("image", type=IMAGE)
@click.option("--name", default="", help="Its ID; generated, if not said.")
@click.option("-l", "--label", "labels", multiple=True, metavar="KEY[=VALUE]")
@click.option("--platform", default="", metavar="PLATFORM", help="os/architecture[/variant]")
@click.option("--heartbeat", type=DURATION, help="Exited when none comes for three times as long.")
@click.option("--rootfs", is_flag=True, help="Make a root file system, and print its mounts.")
@click.option(
    "--bundle",
    metavar="DIR|auto",
    help="Make a bundle that crun or runc runs; with 'auto' where the daemon likes.",
)
@click.option("-e", "--env", multiple=True, metavar="NAME=VALUE", help="For the bundle; repeats.")
@click.option("-w", "--workdir", default="", help="For the bundle.")
@click.option("-u", "--user", default="", metavar="USER[:GROUP]", help="For the bundle.")
@click.option("-t", "--tty", is_flag=True, help="For the bundle.")
@click.option("--read-only", is_flag=True, help="For the bundle.")
@click.argument("args", nargs=-1, metavar="[-- COMMAND…]")
def create(
    image: str,
    name: str,
    labels: tuple[str, ...],
    platform: str,
    heartbeat: float | None,
    rootfs: bool,
    bundle: str | None,
    **of_bundle: Any,
) -> None:
    """Registers a use of an image, which holds it, and prints its ID."""
    common: dict[str, Any] = {
        "container_id": name,
        "labels": labels_of(labels),
        "platform": platform,
        "heartbeat": heartbeat,
        # An ID does not say whose they would be.
        "credentials": None if may_be_id(image) else credentials_for(image),
    }
    if bundle is None:
        if any(of_bundle.values()):
            raise click.UsageError("commands, and options for the bundle, need --bundle")
        with connect() as client:
            made = client.containers.create(image, prepare_rootfs=rootfs, **common)
        click.echo(made.name.removeprefix("containers/"))
        echo_mounts(made.mounts if rootfs else ())
        return
    spec = container_service_pb2.BundleSpec(
        path="" if bundle == "auto" else full_path(bundle, "bundle's folder"),
        args=of_bundle["args"],
        env=of_bundle["env"],
        working_dir=of_bundle["workdir"],
        user=of_bundle["user"],
        terminal=of_bundle["tty"],
        read_only=of_bundle["read_only"],
    )
    with connect() as client:
        answer = client.containers.create_bundle(image, spec, **common)
    click.echo(answer.container.name.removeprefix("containers/"))
    if bundle == "auto":
        click.echo(answer.bundle_path)


class _Filters(NamedTuple):
    image: str
    states: list[container_pb2.ContainerState.ValueType]
    labels: list[str]


def _parse_filters(texts: Iterable[str]) -> _Filters:
    values: dict[str, list[str]] = {"ancestor": [], "label": [], "status": []}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or key not in values:
            known = "ancestor=IMAGE, label=KEY[=VALUE], status=STATE"
            raise click.UsageError(f"invalid filter {text!r}: there are {known}")
        values[key].append(value)
    for state in values["status"]:
        if state not in _STATES:
            known = ", ".join(_STATES)
            raise click.UsageError(f"invalid filter 'status={state}': there are {known}")
    if len({*values["ancestor"]}) > 1:
        raise click.UsageError("more than one filter 'ancestor'")
    states = [_STATES[state] for state in values["status"]]
    return _Filters(next(iter(values["ancestor"]), ""), states, values["label"])


@command()
@click.option("-a", "--all", "all_states", is_flag=True, help="Not only those that run.")
@click.option("-q", "--quiet", is_flag=True, help="Only IDs.")
@click.option("--no-trunc", is_flag=True, help="Images as they were asked for.")
@click.option("-n", "--last", type=click.IntRange(min=1), help="The newest so many, in any state.")
@click.option("-l", "--latest", is_flag=True, help="The newest, in any state.")
@click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="ancestor=IMAGE, label=KEY[=VALUE] or status=STATE. Repeats.",
)
@format_option()
def ls(
    all_states: bool,
    quiet: bool,
    no_trunc: bool,
    last: int | None,
    latest: bool,
    filters: tuple[str, ...],
    form: str,
) -> None:
    """Lists containers, newest first."""
    wanted = _parse_filters(filters)
    most = last or (1 if latest else None)
    states = wanted.states or ([] if all_states or most else [_RUNNING, _PAUSED])
    with connect() as client:
        found = client.containers.list(
            image=wanted.image,
            states=states,
            labels=wanted.labels,
            page_size=most or 1000,
        )
        rows = [ContainerRow(one, not no_trunc, time.time()) for one in islice(found, most)]
    if not is_table(form):
        write_rows(form, (row.fields() for row in rows), _HEADER)
    elif quiet:
        for row in rows:
            click.echo(row.container_id)
    else:
        write_table(COLUMNS, (row.cells() for row in rows))


def _describe(one: container_pb2.Container) -> Struct:
    """A container in the form of `docker container inspect`, as far as imgd knows of it."""
    from .gotemplate import StringMap, Struct

    container_id = one.name.removeprefix("containers/")
    state = {
        "Status": _WORDS.get(one.state, "unknown"),
        # As docker has it, a paused one runs.
        "Running": one.state in (_RUNNING, _PAUSED),
        "Paused": one.state == _PAUSED,
        "ExitCode": one.exit_status,
        "StartedAt": json_time(one.start_time) if one.HasField("start_time") else ZERO_TIME,
        "FinishedAt": json_time(one.stop_time) if one.HasField("stop_time") else ZERO_TIME,
    }
    beat = one.heartbeat_interval
    fields = {
        "Id": container_id,
        "Created": json_time(one.create_time),
        "State": Struct("", state),
        "Image": one.image_id,
        "Name": f"/{container_id}",
        "Platform": one.platform,
        "Config": Struct("", {"Image": one.image_reference, "Labels": StringMap(one.labels)}),
        # In nanoseconds, as docker has durations.
        "HeartbeatInterval": beat.seconds * 1_000_000_000 + beat.nanos,
    }
    return Struct("", fields, aliases={"ID": "Id"})


def _names(*states: container_pb2.ContainerState.ValueType) -> Callable[..., click.Command]:
    kind = ContainerName(*states)
    return click.argument("names", nargs=-1, required=True, metavar="CONTAINER…", type=kind)


@command()
@_names()
@format_option("-f", help="'json' for one line, or a Go template such as '{{.State.Status}}'.")
@click.pass_context
def inspect(ctx: click.Context, names: tuple[str, ...], form: str) -> None:
    """Describes containers as JSON, in docker's form."""
    with connect() as client:
        found, complete = each(names, client.containers.get)
    write_found(form, [_describe(one) for one in found])
    if not complete:
        ctx.exit(1)


@command()
@click.argument("name", metavar="CONTAINER", type=ContainerName())
def diff(name: str) -> None:
    """Shows what a container changed: A for added, C for changed, D for deleted."""
    with connect() as client:
        for change in client.containers.diff(name):
            click.echo(f"{_LETTERS.get(change.kind, '?')} {printable(change.path)}")


@command()
@_names(_CREATED, _EXITED)
def start(names: tuple[str, ...]) -> None:
    """Records that containers run."""
    with connect() as client:
        change_each(names, lambda name: client.containers.start(name))


@command()
@_names(_RUNNING)
def pause(names: tuple[str, ...]) -> None:
    """Records that containers are paused."""
    with connect() as client:
        change_each(names, lambda name: client.containers.pause(name))


@command()
@_names(_PAUSED)
def unpause(names: tuple[str, ...]) -> None:
    """Records that containers go on."""
    with connect() as client:
        change_each(names, lambda name: client.containers.unpause(name))


@command()
@_names(_RUNNING, _PAUSED)
@click.option("--exit-status", type=click.IntRange(-(1 << 31), (1 << 31) - 1), metavar="STATUS")
def stop(names: tuple[str, ...], exit_status: int | None) -> None:
    """Records that containers stopped."""
    with connect() as client:
        change_each(names, lambda name: client.containers.stop(name, exit_status=exit_status))


@command()
@_names(_CREATED, _RUNNING, _PAUSED)
def heartbeat(names: tuple[str, ...]) -> None:
    """Says that the owner of containers lives."""
    with connect() as client:
        change_each(names, lambda name: client.containers.heartbeat(name))


@command()
@_names()
@click.option("-f", "--force", is_flag=True, help="Also when they run.")
@click.pass_context
def rm(ctx: click.Context, names: tuple[str, ...], force: bool) -> None:
    """Forgets containers, and lets their images go."""
    with connect() as client:

        def remove(name: str) -> None:
            try:
                client.containers.remove(name, force=force)
            except NotFound as error:
                if not force:
                    raise
                # As docker: told of, and no failure.
                click.echo(f"imgctl: {error}", err=True)
                return
            click.echo(name)

        _, complete = each(names, remove)
    if not complete:
        ctx.exit(1)

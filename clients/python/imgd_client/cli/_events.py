"""imgctl events."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

import click

from imgd.v1 import event_pb2

from ._command import command
from ._connect import connect
from ._format import format_option, formatter
from ._names import familiar
from ._times import MOMENT
from ._units import rfc3339

if TYPE_CHECKING:
    from .gotemplate import Struct

__all__ = ["actor", "events"]

_IMAGE = event_pb2.SUBJECT_KIND_IMAGE
_CONTAINER = event_pb2.SUBJECT_KIND_CONTAINER
_LABEL = "label:"
# Docker names what is asked of a registry by its name, and what is in the store by its ID.
_BY_NAME = ("pull", "push")


def actor(event: event_pb2.StoreEvent) -> tuple[str, dict[str, str]]:
    """Docker's ID and attributes for what an event happened to; labels are among the attributes."""
    facts = {key: text for key, text in event.attributes.items() if not key.startswith(_LABEL)}
    labels = {
        key.removeprefix(_LABEL): text
        for key, text in event.attributes.items()
        if key.startswith(_LABEL)
    }
    found = event.subject.partition("/")[2]
    name = facts.pop("familiar", "") or familiar(facts.get("name", ""))
    if event.subject_kind == _CONTAINER:
        facts |= {"image": name, "name": found}
        if "exit_status" in facts:
            facts["exitCode"] = facts.pop("exit_status")
    elif name:
        facts["name"] = name
    if event.subject_kind == _IMAGE:
        found = name if event.action in _BY_NAME else facts.get("image_id", found)
    return found, labels | facts


def _kind(event: event_pb2.StoreEvent) -> str:
    number = event.subject_kind
    known = event_pb2.SubjectKind.DESCRIPTOR.values_by_number.get(number)
    return known.name.removeprefix("SUBJECT_KIND_").lower() if known and number else ""


def _line(event: event_pb2.StoreEvent) -> str:
    """Docker's line (cli/command/system/events.go)."""
    actor_id, attributes = actor(event)
    second = rfc3339(event.event_time.seconds)
    moment = f"{second[:19]}.{event.event_time.nanos:09d}{second[19:]}"
    shown = ", ".join(f"{key}={attributes[key]}" for key in sorted(attributes))
    return f"{moment} {_kind(event)} {event.action} {actor_id}{f' ({shown})' if shown else ''}"


def _describe(event: event_pb2.StoreEvent) -> Struct:
    """An event in the form of Docker's API (1.50, EventMessage), and its cursor."""
    from .gotemplate import StringMap, Struct

    actor_id, attributes = actor(event)
    old = event.subject_kind in (_IMAGE, _CONTAINER)
    fields = {
        "status": event.action if old else "",
        "id": actor_id if old else "",
        "from": attributes.get("image", "") if event.subject_kind == _CONTAINER else "",
        "Type": _kind(event),
        "Action": event.action,
        "Actor": Struct("Actor", {"ID": actor_id, "Attributes": StringMap(attributes)}),
        "scope": "local",
        "time": event.event_time.seconds,
        "timeNano": event.event_time.seconds * 1_000_000_000 + event.event_time.nanos,
        "cursor": event.cursor,
    }
    names = {name[:1].upper() + name[1:]: name for name in fields if name[0].islower()}
    aliases = {**names, "ID": "id"}
    return Struct("Message", fields, aliases=aliases, omit_empty=("status", "id", "from"))


@command()
@click.option("--since", type=MOMENT, metavar="TIME", help="From then on, as the history has it.")
@click.option("--until", type=MOMENT, metavar="TIME", help="Up to then.")
@click.option("--after", "after_cursor", default=0, metavar="CURSOR", help="Behind that event.")
@click.option(
    "-f",
    "--filter",
    "filters",
    multiple=True,
    metavar="KEY=VALUE",
    help="type=image, event=pull, image=IMAGE, container=NAME or label=KEY[=VALUE]. Repeats.",
)
@format_option(help="'json', or a Go template such as '{{.Action}} {{.Actor.ID}}'.")
def events(
    since: datetime | None,
    until: datetime | None,
    after_cursor: int,
    filters: tuple[str, ...],
    form: str,
) -> None:
    """Shows what happens in the store, a line each."""
    show: Callable[[event_pb2.StoreEvent], str] = _line
    if form:
        write = formatter(form, _describe(event_pb2.StoreEvent()))
        show = lambda event: write(_describe(event))  # noqa: E731
    with (
        connect() as client,
        client.events(
            after_cursor=after_cursor, since=since, until=until, filters=filters
        ) as stream,
    ):
        for event in stream:
            click.echo(show(event))
            sys.stdout.flush()

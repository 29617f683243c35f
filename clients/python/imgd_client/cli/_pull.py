"""imgctl pull, watch and resume: following a transfer to its end."""

from __future__ import annotations

from collections.abc import Iterable

import click

from imgd.v1 import transfer_pb2
from imgd_client import ProgressState, PullStream, transfer_failed
from imgd_client._requests import duration

from ._command import command
from ._complete import IMAGE, LEASE, TransferName
from ._connect import connect
from ._docker_config import credentials_for
from ._limits import limited
from ._names import familiar, has_version, pulling_from
from ._render import Renderer, renderer
from ._times import DURATION

__all__ = ["finish", "pull", "resume", "watch"]

_POLICIES = {
    "always": transfer_pb2.PULL_POLICY_ALWAYS,
    "missing": transfer_pb2.PULL_POLICY_IF_NOT_PRESENT,
    "if-not-present": transfer_pb2.PULL_POLICY_IF_NOT_PRESENT,
    "never": transfer_pb2.PULL_POLICY_NEVER,
}
_RESUMABLE = TransferName(
    transfer_pb2.TRANSFER_STATE_INTERRUPTED,
    transfer_pb2.TRANSFER_STATE_FAILED,
    transfer_pb2.TRANSFER_STATE_CANCELLED,
)


def _follow(events: Iterable[transfer_pb2.TransferEvent], show: Renderer) -> transfer_pb2.Transfer:
    """Shows events to the end; returns the record that the end holds."""
    state = ProgressState()
    try:
        for event in events:
            show.show(event, state, state.apply(event))
    finally:
        show.close()
    assert state.transfer is not None
    if state.state != transfer_pb2.TRANSFER_STATE_SUCCEEDED:
        raise transfer_failed(state.transfer)
    return state.transfer


def _echo_outcome(transfer: transfer_pb2.Transfer, asked: str, quiet: bool) -> None:
    outcome = transfer.outcome
    for warning in outcome.warnings:
        click.echo(f"imgctl: warning: {warning}", err=True)
    if transfer.destination.HasField("registry"):
        for written in outcome.references:
            click.echo(written if quiet else _pushed(written, outcome))
        return
    # As docker has it, of all tags only the repository is told.
    several = transfer.source.registry.all_tags
    name = asked if several or not outcome.references else outcome.references[0]
    if not quiet:
        if outcome.target.digest and not several:
            click.echo(f"Digest: {outcome.target.digest}")
        current = outcome.pull_result == transfer_pb2.PULL_RESULT_UP_TO_DATE
        status = "Image is up to date for" if current else "Downloaded newer image for"
        click.echo(f"Status: {status} {familiar(name)}")
    click.echo(name)


def _pushed(name: str, outcome: transfer_pb2.TransferOutcome) -> str:
    """Docker's last line of a push. Of several names the outcome has but one's digest."""
    if len(outcome.references) > 1:
        return f"{familiar(name)}: pushed"
    return f"{familiar(name)}: digest: {outcome.target.digest} size: {outcome.target.size}"


def finish(stream: PullStream, quiet: bool, as_json: bool) -> None:
    """Shows a transfer to its end, and what came of it; leaving cancels it."""
    with stream:
        asked = stream.transfer.source.registry.reference
        transfer = _follow(stream, renderer(quiet=quiet, as_json=as_json))
        if not as_json:
            _echo_outcome(transfer, asked, quiet)


@command()
@click.argument("reference", type=IMAGE)
@click.option("--platform", "platforms", multiple=True, help="os/architecture[/variant]; repeats.")
@click.option("--all-platforms", is_flag=True, help="Every platform that the index has.")
@click.option("--policy", type=click.Choice([*_POLICIES]), default="always", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Only the image's full name at the end.")
@click.option("-d", "--detach", is_flag=True, help="Print the transfer's name and leave.")
@click.option("--json", "as_json", is_flag=True, help="An event a line, as JSON.")
@click.option("-a", "--all-tags", is_flag=True, help="Every tag of the repository REFERENCE.")
@click.option("--referrers", is_flag=True, help="Also signatures and what else refers to it.")
@click.option("--unpack", is_flag=True, help="Also unpack the layers.")
@click.option("--lease", default="", metavar="NAME", type=LEASE, help="Hold the image with it.")
@click.option("--lease-ttl", type=DURATION, help="For how long; an hour if not said.")
@limited
def pull(
    reference: str,
    platforms: tuple[str, ...],
    all_platforms: bool,
    policy: str,
    quiet: bool,
    detach: bool,
    as_json: bool,
    all_tags: bool,
    referrers: bool,
    unpack: bool,
    lease: str,
    lease_ttl: float | None,
    limits: transfer_pb2.TransferLimits,
) -> None:
    """Pulls an image from its registry; leaving cancels it."""
    if all_tags and has_version(reference):
        raise click.UsageError(f"--all-tags wants a repository without a tag, and not {reference}")
    if platforms and all_platforms:
        raise click.UsageError("--platform and --all-platforms exclude each other")
    if lease_ttl and not lease:
        raise click.UsageError("--lease-ttl needs --lease")
    with connect() as client:
        wanted = client.transfers.pull(
            reference,
            detach=detach,
            platforms=platforms,
            all_platforms=all_platforms,
            policy=_POLICIES[policy],
            all_tags=all_tags,
            include_referrers=referrers,
            unpack=unpack,
            lease=_lease(lease, lease_ttl),
            credentials=credentials_for(reference),
            limits=limits,
        )
        if detach:
            click.echo(wanted.name)
            return
        if not (quiet or as_json):
            if not (has_version(reference) or all_tags):
                click.echo("Using default tag: latest")
            click.echo(pulling_from(reference))
        finish(wanted, quiet, as_json)


def _lease(name: str, ttl: float | None) -> transfer_pb2.LeaseSpec | None:
    if not name:
        return None
    lasting = None if ttl is None else duration(ttl)
    return transfer_pb2.LeaseSpec(lease_id=name.removeprefix("leases/"), ttl=lasting)


@command()
@click.argument("name", type=_RESUMABLE)
@click.option("-q", "--quiet", is_flag=True, help="Only the image's full name at the end.")
@click.option("-d", "--detach", is_flag=True, help="Print the transfer's name and leave.")
@click.option("--json", "as_json", is_flag=True, help="An event a line, as JSON.")
def resume(name: str, quiet: bool, detach: bool, as_json: bool) -> None:
    """Goes on with an interrupted, failed or cancelled transfer; leaving cancels it."""
    with connect() as client:
        known = client.transfers.get(name)
        # Secrets are in no record: they have to be given anew.
        source, destination = (
            credentials_for(side.registry.reference) if side.HasField("registry") else None
            for side in (known.source, known.destination)
        )
        transfer = client.transfers.resume(
            name, source_credentials=source, destination_credentials=destination
        )
        if detach:
            click.echo(transfer.name)
            return
        finish(client.transfers.follow(transfer), quiet, as_json)


@command()
@click.argument("name", type=TransferName())
@click.option("-q", "--quiet", is_flag=True, help="Only the image's full name at the end.")
@click.option("--json", "as_json", is_flag=True, help="An event a line, as JSON.")
def watch(name: str, quiet: bool, as_json: bool) -> None:
    """Shows a transfer's progress; leaving does not touch it."""
    with connect() as client, client.watch(name) as events:
        transfer = _follow(events, renderer(quiet=quiet, as_json=as_json))
        if not as_json:
            _echo_outcome(transfer, transfer.source.registry.reference, quiet)

"""imgctl login and logout."""

from __future__ import annotations

import sys

import click

from imgd.v1 import transfer_pb2
from imgd_client import Unauthenticated

from ._command import command
from ._connect import connect
from ._docker_config import HUB, DockerConfig, registry_of, with_password

__all__ = ["login", "logout"]

_REGISTRY = click.argument("registry", required=False, default="")


@command()
@_REGISTRY
@click.option("-u", "--username", "user", default="", metavar="NAME", help="The user's name.")
@click.option("-p", "--password", default="", metavar="PASSWORD", help="Seen by others: see below.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def login(registry: str, user: str, password: str, password_stdin: bool) -> None:
    """Tries credentials at a registry, by default Docker Hub, and keeps them where docker does.

    What is on a command line is seen by others of this machine, and kept by shells; with
    --password-stdin, neither.
    """
    host = registry_of(registry)
    config = DockerConfig()
    if password_stdin:
        if password:
            raise click.UsageError("--password and --password-stdin exclude each other")
        if not user:
            raise click.UsageError("--password-stdin needs --username")
        password = sys.stdin.read().rstrip("\r\n")
        if not password:
            raise click.UsageError("standard input holds no password")
    elif password:
        click.echo(
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin.", err=True
        )
    known = None if user or password else config.find(host)
    if known and _still_good(host, known):
        click.echo("Login Succeeded")
        return
    user, password = _ask(user, password)
    with connect() as client:
        identity = client.registry.check_credentials(host, with_password(user, password))
    if config.store(host, user, password, identity):
        click.echo(
            f"WARNING! Your password will be stored unencrypted in {config.path}.\n"
            "Configure a credential helper to remove this warning.",
            err=True,
        )
    click.echo("Login Succeeded")


def _still_good(host: str, known: transfer_pb2.RegistryCredentials) -> bool:
    click.echo("Authenticating with existing credentials...")
    try:
        with connect() as client:
            client.registry.check_credentials(host, known)
    except Unauthenticated as error:
        click.echo(f"Login did not succeed, error: {error}", err=True)
        return False
    return True


def _ask(user: str, password: str) -> tuple[str, str]:
    """What was not given; asks a person for it."""
    if not (user and password) and not sys.stdin.isatty():
        raise click.ClickException(
            "no terminal to ask for a user and password: use --username and --password-stdin"
        )
    user = user or click.prompt("Username", err=True)
    return user, password or click.prompt("Password", hide_input=True, err=True)


@command()
@_REGISTRY
def logout(registry: str) -> None:
    """Forgets the credentials of a registry, by default Docker Hub."""
    host = registry_of(registry)
    shown = "https://index.docker.io/v1/" if host == HUB else host
    if DockerConfig().erase(host):
        click.echo(f"Removing login credentials for {shown}")
    else:
        click.echo(f"Not logged in to {shown}")

"""Connecting, and what to say when nobody is there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click

from imgd_client import Client, Unavailable

__all__ = ["connect"]

# For how long a watch looks for a daemon that went away; the time of a restart, generously.
_PATIENCE = 60.0


@contextmanager
def connect(timeout: float | None = None) -> Iterator[Client]:
    """A client of the daemon that the command line names."""
    try:
        address = click.get_current_context().obj
        client = Client(address, timeout=timeout, patience=_PATIENCE)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    with client:
        try:
            yield client
        except Unavailable as error:
            # A daemon that speaks gives a reason; without one, it is gRPC that found nobody.
            if error.reason:
                raise
            raise click.ClickException(_unreachable(client.address, error.message)) from None


def _unreachable(address: str, cause: str) -> str:
    if "Permission denied" in cause:
        return f"no permission to connect to {address}: use an account that may open that socket"
    if "failed to connect" not in cause.lower():
        return f"lost the daemon at {address}: {cause}"
    return (
        f"can't reach the daemon at {address}: start it with `imgd serve --listen {address}`, "
        "or name another with --address or IMGD_ADDRESS"
    )

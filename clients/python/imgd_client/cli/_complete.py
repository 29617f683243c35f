"""What a shell offers for arguments: names that the daemon knows; `_completion` has the scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import click

from imgd.v1 import transfer_pb2
from imgd_client import Client, ImgdError

from ._names import familiar

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from imgd.v1 import container_pb2

__all__ = ["IMAGE", "LEASE", "ContainerName", "ImageName", "LeaseName", "TransferName"]

# Somebody pressed a key, and waits.
_TIMEOUT = 2.0
_MOST = 1000


class _Name(click.ParamType[str]):
    """A name that the daemon knows."""

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so; nothing when the daemon does not answer."""
        from click.shell_completion import CompletionItem

        # Nothing is called while completing, so the group's function has not set the context's
        # object.
        address = ctx.find_root().params.get("address")
        try:
            with Client(address, timeout=_TIMEOUT, patience=0) as client:
                forms = self._forms(client)
        except (ImgdError, ValueError):
            return []
        for names in forms:
            if fitting := [name for name in names if name.startswith(incomplete)]:
                return [CompletionItem(name) for name in dict.fromkeys(fitting)]
        return []

    def _forms(self, client: Client) -> Sequence[Sequence[str]]:
        """The names in each form that is understood; the first form that fits is offered."""
        raise NotImplementedError


class ImageName(_Name):
    """An image: completes to its tags, in the form that is being typed."""

    name = "image"

    def _forms(self, client: Client) -> Sequence[Sequence[str]]:
        found = islice(client.images.list(page_size=_MOST), _MOST)
        tags = [tag for image in found for tag in image.tags]
        # The long form only where somebody began to type it.
        return [*map(familiar, tags)], tags


class TransferName(_Name):
    """A transfer: completes to the names of those in certain states; of all where none is named."""

    name = "transfer"

    def __init__(self, *states: transfer_pb2.TransferState.ValueType) -> None:
        self._states = states

    def _forms(self, client: Client) -> Sequence[Sequence[str]]:
        found = islice(client.transfers.list(states=self._states), _MOST)
        names = [one.name for one in found]
        # Both forms are taken wherever one is asked for.
        return names, _short(names)


class ContainerName(_Name):
    """A container: completes to the IDs of those in certain states; of all where none is named."""

    name = "container"

    def __init__(self, *states: container_pb2.ContainerState.ValueType) -> None:
        self._states = states

    def _forms(self, client: Client) -> Sequence[Sequence[str]]:
        found = islice(client.containers.list(states=self._states, page_size=_MOST), _MOST)
        names = [one.name for one in found]
        return _short(names), names


class LeaseName(_Name):
    """A lease: completes to its ID."""

    name = "lease"

    def _forms(self, client: Client) -> Sequence[Sequence[str]]:
        names = [one.name for one in islice(client.leases.list(page_size=_MOST), _MOST)]
        return _short(names), names


def _short(names: Iterable[str]) -> list[str]:
    return [name.partition("/")[2] for name in names]


IMAGE = ImageName()
LEASE = LeaseName()

"""What a shell offers for arguments: names that the daemon knows; `_completion` has the scripts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import click

from imgd.v1 import transfer_pb2
from imgd_client import Client, ImgdError

from ._names import familiar

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

__all__ = ["IMAGE", "ImageName", "TransferName"]

# Somebody pressed a key, and waits.
_TIMEOUT = 2.0
_MOST = 1000


def _client(ctx: click.Context) -> Client:
    # Nothing is called while completing, so the group's function has not set the context's object.
    return Client(ctx.find_root().params.get("address"), timeout=_TIMEOUT, patience=0)


def _first_fitting(incomplete: str, *forms: Iterable[str]) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    for names in forms:
        if fitting := [name for name in names if name.startswith(incomplete)]:
            return [CompletionItem(name) for name in dict.fromkeys(fitting)]
    return []


class ImageName(click.ParamType[str]):
    """An image: completes to its tags, in the form that is being typed."""

    name = "image"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The tags that begin so; nothing when the daemon does not answer."""
        try:
            with _client(ctx) as client:
                found = islice(client.images.list(page_size=_MOST), _MOST)
                tags = [tag for image in found for tag in image.tags]
        except (ImgdError, ValueError):
            return []
        # The long form only where somebody began to type it.
        return _first_fitting(incomplete, map(familiar, tags), tags)


class TransferName(click.ParamType[str]):
    """A transfer: completes to the names of those in certain states; of all where none is named."""

    name = "transfer"

    def __init__(self, *states: transfer_pb2.TransferState.ValueType) -> None:
        self._states = states

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The names that begin so; nothing when the daemon does not answer."""
        try:
            with _client(ctx) as client:
                found = islice(client.transfers.list(states=self._states), _MOST)
                names = [one.name for one in found]
        except (ImgdError, ValueError):
            return []
        # Both forms are taken wherever one is asked for.
        short = [name.removeprefix("transfers/") for name in names]
        return _first_fitting(incomplete, names, short)


IMAGE = ImageName()

"""Image configs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, cast

from ._digest import Digest
from ._errors import FormatError, show
from ._json import Fields, load_object
from ._manifest import MAX_LAYERS
from ._platform import Platform
from ._time import parse_rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CONFIG_BYTES: Final = 8 * 1024 * 1024
"""Twice a manifest: configs hold a history, labels and whatever builders embed."""

# Go's zero time: what builders write for "not set".
_NO_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step of a build (OCI image 1.1, config.md, "history").

    Attributes:
        created: When, aware UTC; None where it is not known.
        created_by: The command.
        author: Who.
        comment: Free words.
        empty_layer: Whether the step has no layer.
    """

    created: datetime | None = None
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The config of an image (OCI image 1.1, config.md).

    Attributes:
        created: When it was built, aware UTC; None where it is not known.
        platform: What it runs on, as written; members may be empty.
        diff_ids: The digests of the unpacked layers, base first.
        history: The steps of the build.
        author: Who built it.
        labels: ``config.Labels``.
        config: The raw ``config`` object: the defaults for containers.
    """

    created: datetime | None
    platform: Platform
    diff_ids: tuple[Digest, ...]
    history: tuple[HistoryEntry, ...] = ()
    author: str = ""
    labels: Mapping[str, str] = field(default_factory=dict, hash=False)
    config: Mapping[str, object] = field(default_factory=dict, hash=False)


def parse_config(raw: bytes) -> ImageConfig:
    """Read an image's config; members that are absent or null are empty.

    Raises:
        FormatError: ``CONFIG_INVALID``: beyond `MAX_CONFIG_BYTES`, not a JSON object, or a member
            that is used here has another type or is malformed.
    """
    if len(raw) > MAX_CONFIG_BYTES:
        raise _bad(f"an image's config has at most {MAX_CONFIG_BYTES} bytes, not {len(raw)}")
    document = load_object(raw, reason="CONFIG_INVALID", what="the image's config")
    fields = Fields(document, reason="CONFIG_INVALID", where="")
    try:
        platform = Platform.from_json(document, where="config")
    except FormatError as error:
        raise _bad(str(error), error.subject) from error
    defaults = fields.raw("config")
    labels: dict[str, str] = {}
    if defaults is not None:
        container = Fields(defaults, reason="CONFIG_INVALID", where="config")
        labels = container.string_map("Labels", null_values=True)
    return ImageConfig(
        created=_created(fields),
        platform=platform,
        diff_ids=_diff_ids(fields.raw("rootfs")),
        history=tuple(
            _history(entry, f"history[{number}]")
            for number, entry in enumerate(fields.array("history"))
        ),
        author=fields.string("author"),
        labels=labels,
        config=cast(dict[str, object], defaults or {}),
    )


def _bad(message: str, subject: str = "") -> FormatError:
    return FormatError("CONFIG_INVALID", message, subject)


def _created(fields: Fields) -> datetime | None:
    text = fields.string("created")
    if not text:
        return None
    try:
        created = parse_rfc3339(text)
    except FormatError as error:
        raise fields.bad("created", f"is malformed: {error}", text) from error
    return None if created == _NO_TIME else created


def _diff_ids(rootfs: object) -> tuple[Digest, ...]:
    if rootfs is None:
        return ()
    fields = Fields(rootfs, reason="CONFIG_INVALID", where="rootfs")
    layers = fields.string("type")
    if layers not in ("", "layers"):
        raise fields.bad("type", f"must be 'layers', not {show(layers)}", layers)
    texts = fields.strings("diff_ids")
    if len(texts) > MAX_LAYERS:
        raise fields.bad("diff_ids", f"has {len(texts)} entries, and {MAX_LAYERS} is the most")
    found: list[Digest] = []
    for number, text in enumerate(texts):
        try:
            found.append(Digest.parse(text))
        except FormatError as error:
            raise fields.bad(f"diff_ids[{number}]", f"is malformed: {error}", text) from error
    return tuple(found)


def _history(entry: object, where: str) -> HistoryEntry:
    fields = Fields(entry, reason="CONFIG_INVALID", where=where)
    empty = fields.raw("empty_layer")
    if not (empty is None or isinstance(empty, bool)):
        raise fields.bad("empty_layer", "must be true or false")
    return HistoryEntry(
        created=_created(fields),
        created_by=fields.string("created_by"),
        author=fields.string("author"),
        comment=fields.string("comment"),
        empty_layer=bool(empty),
    )

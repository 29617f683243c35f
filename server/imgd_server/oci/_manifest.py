"""Manifests and indexes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from . import media
from ._descriptor import Descriptor
from ._errors import FormatError, show
from ._json import Fields, kind, load_object

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_MANIFEST_BYTES: Final = 4 * 1024 * 1024
"""The least that a registry must accept (OCI distribution 1.1), and what most of them do."""

MAX_LAYERS: Final = 4096
"""Far above what a kernel can stack; artifacts list their files as layers."""

MAX_INDEX_ENTRIES: Final = 4096
"""Each entry may be one request; the largest public indexes have some hundred."""

# Registries and stores that do not know better say these of any document.
_SAYS_NOTHING: Final = frozenset(
    {"", "application/json", "text/plain", "application/octet-stream", "binary/octet-stream"}
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one image or artifact (OCI image 1.1, manifest.md; Docker schema 2).

    Attributes:
        media_type: Its own type.
        config: The config, for artifacts often the empty one.
        layers: The layers, base first.
        annotations: Free words about it.
        artifact_type: The artifact's type, or empty.
        subject: The manifest that this one refers to.
    """

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None


@dataclass(frozen=True, slots=True)
class Index:
    """A list of manifests (OCI image 1.1, image-index.md; Docker manifest list).

    Attributes:
        media_type: Its own type.
        manifests: The entries; they may be indexes themselves.
        annotations: Free words about it.
        artifact_type: The artifact's type, or empty.
        subject: The manifest that this one refers to.
    """

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None


def manifest_type(media_type: str) -> str:
    """Return the essence of what a source says a manifest is; empty where that says nothing.

    Raises:
        FormatError: ``MANIFEST_SCHEMA1`` for Docker schema 1, ``MANIFEST_UNSUPPORTED`` for any
            other type that is neither a manifest nor an index.
    """
    said = media.essence(media_type)
    if said in _SAYS_NOTHING:
        return ""
    if media.is_schema1(said):
        raise _schema1(said)
    if not (media.is_manifest(said) or media.is_index(said)):
        raise _unsupported(said)
    return said


def parse_manifest(raw: bytes, media_type: str = "") -> Manifest | Index:
    """Read a manifest or an index.

    `media_type` is what the source says of it (``Content-Type``, a descriptor); parameters are
    dropped, and one that says nothing (empty, JSON, text, bytes) leaves it to the body's
    ``mediaType`` and else to the body's shape, which then means OCI.

    Raises:
        FormatError: ``MANIFEST_TOO_LARGE`` beyond `MAX_MANIFEST_BYTES`, `MAX_LAYERS` or
            `MAX_INDEX_ENTRIES`; ``MANIFEST_SCHEMA1`` for Docker schema 1;
            ``MANIFEST_UNSUPPORTED`` for another type or digest algorithm; ``MANIFEST_INVALID``
            for anything that breaks the format, or contradicts the said type or itself.
    """
    if len(raw) > MAX_MANIFEST_BYTES:
        raise FormatError(
            "MANIFEST_TOO_LARGE",
            f"a manifest has at most {MAX_MANIFEST_BYTES} bytes, and this one has {len(raw)}",
        )
    said = manifest_type(media_type)
    document = load_object(raw, reason="MANIFEST_INVALID", what="the manifest")
    fields = Fields(document, reason="MANIFEST_INVALID", where="")
    _check_version(document)
    kind_of = _media_type(fields, said)
    subject = fields.raw("subject")
    annotations = fields.string_map("annotations")
    artifact_type = fields.string("artifactType")
    parsed_subject = None if subject is None else Descriptor.from_json(subject, where="subject")
    if media.is_index(kind_of):
        return Index(
            kind_of,
            _descriptors(fields, "manifests", MAX_INDEX_ENTRIES),
            annotations,
            artifact_type,
            parsed_subject,
        )
    if fields.raw("config") is None:
        raise fields.bad("config", "is missing: a manifest needs one")
    return Manifest(
        kind_of,
        Descriptor.from_json(fields.raw("config"), where="config"),
        _descriptors(fields, "layers", MAX_LAYERS),
        annotations,
        artifact_type,
        parsed_subject,
    )


def _schema1(subject: str) -> FormatError:
    return FormatError(
        "MANIFEST_SCHEMA1",
        "this is a Docker schema 1 manifest, which is not supported: "
        "push the image again with Docker 1.10 or later, or convert it to OCI",
        subject,
    )


def _unsupported(media_type: str) -> FormatError:
    return FormatError(
        "MANIFEST_UNSUPPORTED",
        f"the media type {show(media_type)} is not one of a supported manifest or index",
        media_type,
    )


def _check_version(document: Mapping[str, object]) -> None:
    version = document.get("schemaVersion")
    said = document.get("mediaType")
    is_number = isinstance(version, int) and not isinstance(version, bool)
    if (
        (is_number and version == 1)
        or "fsLayers" in document
        or (isinstance(said, str) and media.is_schema1(said))
    ):
        raise _schema1(said if isinstance(said, str) and said else "schemaVersion 1")
    if not is_number or version != 2:
        found = "missing" if version is None else repr(version) if is_number else kind(version)
        raise FormatError(
            "MANIFEST_INVALID", f"schemaVersion must be the number 2, and is {found}", found
        )


def _media_type(fields: Fields, said: str) -> str:
    """Decide the document's type; no reader may take it for another (CVE-2021-41190)."""
    own = media.essence(fields.string("mediaType"))
    if said and own and own != said:
        raise fields.bad(
            "mediaType", f"is {show(own)}, and the manifest was served as {show(said)}", own
        )
    # Present counts, also as null: other readers differ in what they make of that.
    has_manifests = fields.has("manifests")
    image_key = next((key for key in ("layers", "config") if fields.has(key)), "")
    if has_manifests and image_key:
        raise FormatError(
            "MANIFEST_INVALID",
            f"the document is ambiguous: it has both 'manifests' and {image_key!r}",
            image_key,
        )
    found = said or own
    if not found:
        if not has_manifests and not image_key:
            raise FormatError(
                "MANIFEST_INVALID",
                "the document is neither a manifest nor an index: "
                "it has no mediaType, no 'manifests' and no 'config'",
                "mediaType",
            )
        return media.OCI_INDEX if has_manifests else media.OCI_MANIFEST
    if media.is_index(found):
        if image_key:
            raise fields.bad(image_key, f"has no place in an index ({found})")
    elif not media.is_manifest(found):
        raise _unsupported(found)
    elif has_manifests:
        raise fields.bad("manifests", f"has no place in an image's manifest ({found})")
    return found


def _descriptors(fields: Fields, key: str, most: int) -> tuple[Descriptor, ...]:
    if not fields.has(key):
        raise fields.bad(key, "is missing")
    entries = fields.array(key)
    if len(entries) > most:
        raise FormatError(
            "MANIFEST_TOO_LARGE", f"{key} has {len(entries)} entries, and {most} is the most", key
        )
    return tuple(
        Descriptor.from_json(entry, where=f"{key}[{number}]")
        for number, entry in enumerate(entries)
    )

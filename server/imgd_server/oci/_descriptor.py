"""Descriptors: what points from one piece of content to another."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ._digest import Digest
from ._errors import FormatError, show
from ._json import Fields, kind
from ._platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_SIZE: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A typed pointer to content (OCI image 1.1, descriptor.md).

    Attributes:
        media_type: The content's type, as it is written.
        digest: The content's digest.
        size: The content's length in bytes.
        urls: Places to fetch it from, beside the registry.
        annotations: Free words about it.
        data: The content itself, where the descriptor carries it; verified when read from JSON.
        artifact_type: The type of artifact that it leads to, or empty.
        platform: What it runs on, for entries of an index.
    """

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    data: bytes | None = None
    artifact_type: str = ""
    platform: Platform | None = None

    @classmethod
    def from_json(cls, obj: object, *, where: str = "descriptor") -> Descriptor:
        """Read the OCI JSON object; `where` names its place in messages.

        Raises:
            FormatError: ``MANIFEST_UNSUPPORTED`` for a digest of another algorithm than ours, else
                ``MANIFEST_INVALID``: a required member is missing, a member has another type,
                the size is not in 0..2**63-1, or the data do not match size and digest.
        """
        fields = Fields(obj, reason="MANIFEST_INVALID", where=where)
        media_type = fields.string("mediaType")
        if not media_type:
            raise fields.bad("mediaType", "is missing")
        size = fields.raw("size")
        if not isinstance(size, int) or isinstance(size, bool):
            rule = "is missing" if size is None else f"must be an integer, not {_named(size)}"
            raise fields.bad("size", rule)
        if not 0 <= size <= MAX_SIZE:
            raise fields.bad("size", f"must be between 0 and {MAX_SIZE}, not {size}", str(size))
        digest = _digest(fields)
        return cls(
            media_type=media_type,
            digest=digest,
            size=size,
            urls=fields.strings("urls"),
            annotations=fields.string_map("annotations"),
            data=_data(fields, digest, size),
            artifact_type=fields.string("artifactType"),
            platform=_platform(fields),
        )

    def to_json(self) -> dict[str, object]:
        """Return the OCI JSON object, without the optional members that are empty."""
        members: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.urls:
            members["urls"] = list(self.urls)
        if self.annotations:
            members["annotations"] = dict(self.annotations)
        if self.data is not None:
            members["data"] = base64.b64encode(self.data).decode("ascii")
        if self.artifact_type:
            members["artifactType"] = self.artifact_type
        if self.platform is not None:
            members["platform"] = self.platform.to_json()
        return members


def _named(value: object) -> str:
    return f"{value!r}" if isinstance(value, float) else kind(value)


def _digest(fields: Fields) -> Digest:
    text = fields.string("digest")
    if not text:
        raise fields.bad("digest", "is missing")
    try:
        return Digest.parse(text)
    except FormatError as error:
        unsupported = error.reason == "DIGEST_UNSUPPORTED"
        raise FormatError(
            "MANIFEST_UNSUPPORTED" if unsupported else "MANIFEST_INVALID",
            f"{fields.place('digest')}: {error}",
            error.subject,
        ) from error


def _platform(fields: Fields) -> Platform | None:
    value = fields.raw("platform")
    if value is None:
        return None
    try:
        return Platform.from_json(value, where=fields.place("platform"))
    except FormatError as error:
        raise FormatError("MANIFEST_INVALID", str(error), error.subject) from error


def _data(fields: Fields, digest: Digest, size: int) -> bytes | None:
    if fields.raw("data") is None:
        return None
    text = fields.string("data")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise fields.bad("data", f"is not base64 (RFC 4648): {show(text)}", text) from error
    if len(data) != size:
        raise fields.bad("data", f"has {len(data)} bytes, and the descriptor's size says {size}")
    if Digest.of(data, digest.algorithm) != digest:
        raise fields.bad("data", f"does not match the descriptor's digest {digest}", digest)
    return data

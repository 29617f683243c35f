"""Looking at one image for one platform."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from imgd_server.content import ContentStore
from imgd_server.errors import Error, Reason, from_format
from imgd_server.images._describe import read_manifest
from imgd_server.metadata import ImageRecord, PlatformRecord
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    Descriptor,
    Digest,
    FormatError,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    media,
    parse_config,
    select_platforms,
)

__all__ = ["Inspection", "choose_target", "inspect"]


@dataclass(frozen=True, slots=True)
class Inspection:
    """A manifest with its config; `config` is None for an artifact."""

    target: Descriptor
    manifest: Manifest
    config: ImageConfig | None

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The layers' diff IDs, lowest first."""
        return self.config.diff_ids if self.config else ()

    def text(self, key: str) -> str:
        """A string of the config's `config` object."""
        value = self.value(key)
        return value if isinstance(value, str) else ""

    def words(self, key: str) -> list[str]:
        """A list of strings of the config's `config` object."""
        value = self.value(key)
        return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []

    def keys(self, key: str) -> list[str]:
        """The keys of a set of the config's `config` object."""
        value = self.value(key)
        return list(value) if isinstance(value, dict) else []

    def value(self, key: str) -> object:
        """A value of the config's `config` object, whatever it is; None where there is none."""
        return self.config.config.get(key) if self.config else None


def inspect(
    content: ContentStore,
    record: ImageRecord,
    platforms: Sequence[PlatformRecord],
    wanted: Platform | None,
) -> Inspection:
    """Reads the manifest and config for a platform, by default the one served by default.

    Blocks. Raises PLATFORM_NOT_FOUND when nothing of that platform is stored.
    """
    target = choose_target(record, platforms, wanted)
    manifest = read_manifest(content, target)
    if isinstance(manifest, Index):
        raise _absent(record, platforms, wanted)
    config, described = None, manifest.config
    if media.is_image_config(described.media_type) and content.find(described.digest):
        try:
            config = parse_config(content.read(described.digest, MAX_CONFIG_BYTES))
        except FormatError as error:
            raise from_format(error, digest=described.digest) from error
    return Inspection(target, manifest, config)


def choose_target(
    record: ImageRecord, platforms: Sequence[PlatformRecord], wanted: Platform | None
) -> Descriptor:
    """The stored manifest for a platform, by default the one served by default. Raises
    PLATFORM_NOT_FOUND."""
    stored = [one for one in platforms if one.image_id]
    if wanted is None:
        same = [one for one in stored if one.platform == record.platform]
        return (same or stored)[0].manifest if stored else record.target
    # What the index states, else what the config does.
    stated = [
        one.manifest
        if one.manifest.platform or not one.platform
        else replace(one.manifest, platform=Platform.parse(one.platform))
        for one in stored
    ]
    if fitting := select_platforms(stated, wanted):
        return fitting[0]
    raise _absent(record, platforms, wanted)


def _absent(
    record: ImageRecord, platforms: Sequence[PlatformRecord], wanted: Platform | None
) -> Error:
    here = ", ".join(one.platform for one in platforms if one.image_id and one.platform)
    return Error(
        Reason.PLATFORM_NOT_FOUND,
        f"{record.image_id} is not stored for {wanted or 'any platform'}; "
        f"stored: {here[:500] or 'none'}",
        metadata={"platform": str(wanted or ""), "platforms": here[:500]},
    )

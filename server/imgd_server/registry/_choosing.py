"""A manifest and its config, chosen for a platform, without pulling."""

from __future__ import annotations

from dataclasses import dataclass, replace

from imgd_server.errors import Error, Reason, from_format
from imgd_server.oci import (
    MAX_CONFIG_BYTES,
    Descriptor,
    Digest,
    FormatError,
    Index,
    Manifest,
    Platform,
    Reference,
    is_attestation,
    media,
    parse_config,
    parse_manifest,
    select_platforms,
)
from imgd_server.registry._answers import mismatch
from imgd_server.registry._client import HttpRegistryClient
from imgd_server.registry._protocol import Cancellation, Credentials, FetchedManifest

__all__ = ["Look", "RemoteManifest"]

# Indexes that state no platforms make us look into each child; real ones have a handful.
_MAX_MANIFESTS = 64
_READ = 64 << 10


@dataclass(frozen=True, slots=True)
class RemoteManifest:
    """A manifest's verified bytes, its config's where that was wanted, and who served them."""

    target: Descriptor
    raw: bytes
    config: bytes
    host: str


@dataclass(slots=True)
class Look:
    """One caller's look at a repository."""

    client: HttpRegistryClient
    reference: Reference
    credentials: Credentials | None
    cancellation: Cancellation
    _left: int = _MAX_MANIFESTS

    def find(self, platform: Platform | None) -> FetchedManifest:
        """What the reference points at; with a platform, the manifest that a pull would take.

        Raises REMOTE_PLATFORM_NOT_FOUND where none fits.
        """
        resolved = self.client.resolve(self.reference, self.credentials, self.cancellation)
        top = self._manifest(resolved.target)
        found = self._choose(top, platform) if platform else top
        if found is None:
            raise Error(
                Reason.REMOTE_PLATFORM_NOT_FOUND,
                f"{self.reference.familiar()} has no image for {platform}",
                host=top.host,
                reference=str(self.reference),
                metadata={"wanted": str(platform)},
            )
        return found

    def config(self, fetched: FetchedManifest) -> bytes:
        """The verified config of an image; empty for what is none.

        Raises MANIFEST_TOO_LARGE, DIGEST_MISMATCH, SIZE_MISMATCH.
        """
        parsed = _parse(fetched)
        if isinstance(parsed, Index) or not media.is_image_config(parsed.config.media_type):
            return b""
        target = parsed.config
        if target.data is not None:
            return target.data
        if target.size > MAX_CONFIG_BYTES:
            raise Error(
                Reason.MANIFEST_TOO_LARGE,
                f"the config {target.digest} has {target.size} bytes, and {MAX_CONFIG_BYTES} is "
                "the most",
                digest=target.digest,
                host=fetched.host,
            )
        raw, piece = bytearray(), memoryview(bytearray(_READ))
        with self.client.open_blob(
            self.reference, target, 0, self.credentials, self.cancellation
        ) as stream:
            while got := stream.readinto(piece):
                raw += piece[:got]
        found = Digest.of(bytes(raw), target.digest.algorithm)
        if found != target.digest:
            raise mismatch(target.digest, found, stream.host)
        return bytes(raw)

    def _manifest(self, target: Descriptor) -> FetchedManifest:
        self._left -= 1
        if self._left < 0:
            raise Error(
                Reason.INDEX_TOO_DEEP,
                f"{self.reference.familiar()} states no platforms, and has more than "
                f"{_MAX_MANIFESTS} manifests to look into",
            )
        return self.client.fetch_manifest(
            self.reference, target, self.credentials, self.cancellation
        )

    def _choose(self, fetched: FetchedManifest, wanted: Platform) -> FetchedManifest | None:
        """The manifest for a platform in or below one; as a pull chooses."""
        parsed = _parse(fetched)
        if isinstance(parsed, Manifest):
            platform = self._platform(fetched, parsed)
            stated = replace(parsed.config, platform=platform)
            return fetched if platform is None or select_platforms([stated], wanted) else None
        if fitting := select_platforms(parsed.manifests, wanted):
            child = self._manifest(fitting[0])
            nested = media.is_index(child.target.media_type)
            return self._choose(child, wanted) if nested else child
        unstated = [one for one in parsed.manifests if not (one.platform or is_attestation(one))]
        return self._choose_unstated(unstated, wanted)

    def _choose_unstated(
        self, children: list[Descriptor], wanted: Platform
    ) -> FetchedManifest | None:
        """Looks into children whose platform their index does not state."""
        known: list[Descriptor] = []
        fetched: dict[str, FetchedManifest] = {}
        for target in children:
            child = self._manifest(target)
            parsed = _parse(child)
            if isinstance(parsed, Index):
                if found := self._choose(child, wanted):
                    return found
            elif platform := self._platform(child, parsed):
                known.append(replace(target, platform=platform))
                fetched[target.digest] = child
        best = select_platforms(known, wanted)
        return fetched[best[0].digest] if best else None

    def _platform(self, fetched: FetchedManifest, manifest: Manifest) -> Platform | None:
        """The platform in an image's config; None for an artifact, and where it says none."""
        raw = self.config(fetched)
        try:
            platform = parse_config(raw).platform if raw else None
        except FormatError as error:
            raise from_format(error, host=fetched.host, digest=manifest.config.digest) from error
        return platform if platform and platform.os and platform.architecture else None


def _parse(fetched: FetchedManifest) -> Manifest | Index:
    try:
        return parse_manifest(fetched.raw, fetched.target.media_type)
    except FormatError as error:
        raise from_format(error, host=fetched.host, digest=fetched.target.digest) from error

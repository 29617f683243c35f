"""What a transfer was asked to do, as values that can be kept."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from imgd_server.errors import FieldError, from_format
from imgd_server.oci import FormatError, Platform, Reference
from imgd_server.registry import Credentials

__all__ = [
    "ArchiveEndpoint",
    "ArchiveForm",
    "Endpoint",
    "LayoutEndpoint",
    "LeaseRequest",
    "PullPolicy",
    "RegistryEndpoint",
    "StoreEndpoint",
    "TransferSpec",
    "validated",
]


# What a record says of the images to save: it is shown whole, beside nodes, in one event.
_MAX_IMAGES_TEXT = 128 << 10


class PullPolicy(enum.Enum):
    """When a pull asks the registry. Values are those of the PullPolicy enum."""

    ALWAYS = 1
    IF_NOT_PRESENT = 2
    NEVER = 3


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """A lease to take on what arrives. `ttl` is in seconds; an empty ID means a generated one."""

    lease_id: str = ""
    ttl: float = 3600.0


@dataclass(frozen=True, slots=True)
class RegistryEndpoint:
    """An image in a registry. Credentials are never kept: `to_json` leaves them out.

    `all_tags` is every tag of the repository, `include_referrers` what refers to the image too.
    """

    reference: str
    credentials: Credentials | None = None
    all_tags: bool = False
    include_referrers: bool = False


@dataclass(frozen=True, slots=True)
class StoreEndpoint:
    """The store. As a source, `image` is what to read, as people name it. As a destination, `tags`
    are full names to give; none means the source's own. `unpack` says that layers are to be
    unpacked too."""

    tags: tuple[str, ...] = ()
    policy: PullPolicy = PullPolicy.ALWAYS
    lease: LeaseRequest | None = None
    unpack: bool = False
    image: str = ""


class ArchiveForm(enum.Enum):
    """What an archive is to be. Values are those of the ArchiveFormat enum."""

    BOTH = 0
    OCI = 1
    DOCKER = 2


@dataclass(frozen=True, slots=True)
class ArchiveEndpoint:
    """An archive that a caller streams. As a source, `images` are names to give instead of those in
    it; as a destination, what to save, as people name it, in a `form`."""

    images: tuple[str, ...] = ()
    form: ArchiveForm = ArchiveForm.BOTH


@dataclass(frozen=True, slots=True)
class LayoutEndpoint:
    """An OCI layout's folder on the daemon's machine, and the ref name of an entry of it; empty for
    the only one, or when it is written the image's own."""

    path: str
    ref_name: str = ""


Endpoint = RegistryEndpoint | StoreEndpoint | ArchiveEndpoint | LayoutEndpoint


@dataclass(frozen=True, slots=True)
class TransferSpec:
    """Where a transfer reads and writes, and how much.

    `platforms` empty means the daemon's own, and of the store all that it has, unless
    `all_platforms`. `require_complete` refuses to move less than the whole of a stored index.
    `max_concurrency` 0 means the daemon's setting, which is also the most that it can be;
    `max_bytes_per_second` 0 means none of its own.
    """

    source: Endpoint
    destination: Endpoint
    platforms: tuple[str, ...] = ()
    all_platforms: bool = False
    max_concurrency: int = 0
    max_bytes_per_second: int = 0
    require_complete: bool = False

    @property
    def is_pull(self) -> bool:
        """Whether it brings what a registry has to the store."""
        return isinstance(self.source, RegistryEndpoint) and isinstance(
            self.destination, StoreEndpoint
        )

    @property
    def is_load(self) -> bool:
        """Whether it reads an archive that is streamed."""
        return isinstance(self.source, ArchiveEndpoint)

    @property
    def is_save(self) -> bool:
        """Whether it writes an archive as a stream."""
        return isinstance(self.destination, ArchiveEndpoint)

    @property
    def reference(self) -> str:
        """The reference that it is about, for people: where a registry is read, else written; of
        archives and layouts what is known before they are read. Empty for none."""
        both = (self.source, self.destination)
        texts = [one.reference for one in both if isinstance(one, RegistryEndpoint)]
        for one in both:
            if isinstance(one, ArchiveEndpoint):
                texts += one.images
            elif isinstance(one, StoreEndpoint):
                texts += [one.image] if one.image else one.tags
        return texts[0] if texts else ""

    @property
    def share_key(self) -> tuple[Any, ...]:
        """Equal for transfers that do the same work, as far as they can share it."""
        source, destination = self.source, self.destination
        if not any(isinstance(one, RegistryEndpoint) for one in (source, destination)):
            return ("alone", id(self))  # a stream, or a folder, is one caller's
        key = (_part(source), self.platforms, self.all_platforms)
        # Pulls differ in what they do with it here, and not in what is fetched.
        return key if isinstance(destination, StoreEndpoint) else (*key, _part(destination))

    def with_credentials(
        self, source: Credentials | None, destination: Credentials | None
    ) -> TransferSpec:
        """The spec with credentials for its registries. Raises FIELD_INVALID for credentials for
        the store."""
        for side, endpoint, given in (
            ("source", self.source, source),
            ("destination", self.destination, destination),
        ):
            if given and not isinstance(endpoint, RegistryEndpoint):
                field = f"{side}_credentials"
                raise FieldError(field, f"{field}: the {side} is no registry, and needs none")
        return replace(
            self,
            source=_authorized(self.source, source),
            destination=_authorized(self.destination, destination),
        )

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON values, without credentials."""
        return {
            "source": _endpoint_to_json(self.source),
            "destination": _endpoint_to_json(self.destination),
            "platforms": list(self.platforms),
            "all_platforms": self.all_platforms,
            "max_concurrency": self.max_concurrency,
            "max_bytes_per_second": self.max_bytes_per_second,
            "require_complete": self.require_complete,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TransferSpec:
        """The spec that `to_json` wrote."""
        return cls(
            source=_endpoint_from_json(value["source"]),
            destination=_endpoint_from_json(value["destination"]),
            platforms=tuple(value["platforms"]),
            all_platforms=value["all_platforms"],
            max_concurrency=value["max_concurrency"],
            max_bytes_per_second=value.get("max_bytes_per_second", 0),
            require_complete=value.get("require_complete", False),
        )


def _part(endpoint: Endpoint) -> tuple[Any, ...]:
    if isinstance(endpoint, StoreEndpoint):
        return ("store", endpoint.image)
    assert isinstance(endpoint, RegistryEndpoint)
    credentials = endpoint.credentials
    return (
        endpoint.reference,
        endpoint.all_tags,
        endpoint.include_referrers,
        credentials.scope if credentials else "",
    )


def _authorized(endpoint: Endpoint, credentials: Credentials | None) -> Endpoint:
    if not isinstance(endpoint, RegistryEndpoint):
        return endpoint
    return replace(endpoint, credentials=credentials)


def _endpoint_to_json(endpoint: Endpoint) -> dict[str, Any]:
    value = asdict(_authorized(endpoint, None))
    if isinstance(endpoint, StoreEndpoint):
        return {**value, "policy": endpoint.policy.name, "tags": list(endpoint.tags)}
    if isinstance(endpoint, ArchiveEndpoint):
        return {"images": list(endpoint.images), "form": endpoint.form.name}
    if isinstance(endpoint, LayoutEndpoint):
        return value
    del value["credentials"]
    return value


def _endpoint_from_json(value: Mapping[str, Any]) -> Endpoint:
    if "reference" in value:
        return RegistryEndpoint(**value)
    if "path" in value:
        return LayoutEndpoint(**value)
    if "images" in value:
        return ArchiveEndpoint(tuple(value["images"]), ArchiveForm[value["form"]])
    lease = value["lease"]
    return StoreEndpoint(
        tags=tuple(value["tags"]),
        policy=PullPolicy[value["policy"]],
        lease=LeaseRequest(**lease) if lease else None,
        unpack=value.get("unpack", False),
        image=value.get("image", ""),
    )


def validated(spec: TransferSpec) -> TransferSpec:
    """The spec with its names normalised. Raises REFERENCE_INVALID, DIGEST_*, PLATFORM_INVALID."""
    _check_all_tags(spec)
    try:
        for platform in spec.platforms:
            Platform.parse(platform)
        all_tags = any(
            isinstance(one, RegistryEndpoint) and one.all_tags
            for one in (spec.source, spec.destination)
        )
        return replace(
            spec,
            source=_loaded(spec.source)
            if isinstance(spec.source, ArchiveEndpoint)
            else _normalised(spec.source, all_tags),
            destination=_normalised(spec.destination, all_tags),
        )
    except FormatError as error:
        raise from_format(error) from error


def _check_all_tags(spec: TransferSpec) -> None:
    """Raises FIELD_INVALID for what can't be wished of all tags at once."""
    source, destination = spec.source, spec.destination
    if not (isinstance(source, RegistryEndpoint) and source.all_tags):
        return
    if isinstance(destination, StoreEndpoint):
        if destination.tags:
            field = "destination.store.tags"
            raise FieldError(field, f"{field}: all tags keep their names")
        if destination.policy is PullPolicy.NEVER:
            field = "destination.store.policy"
            raise FieldError(field, f"{field}: only the registry knows all tags, and NEVER asks it")


def _loaded(source: ArchiveEndpoint) -> ArchiveEndpoint:
    names = [Reference.parse(name).with_default_tag() for name in source.images]
    for name in names:
        if name.digest:
            raise FormatError("REFERENCE_INVALID", "a name to give has no digest", str(name))
    return replace(source, images=tuple(map(str, names)))


def _normalised(endpoint: Endpoint, all_tags: bool) -> Endpoint:
    if isinstance(endpoint, ArchiveEndpoint | LayoutEndpoint):
        if isinstance(endpoint, ArchiveEndpoint) and (
            sum(len(one.encode()) for one in endpoint.images) > _MAX_IMAGES_TEXT
        ):
            raise FieldError("images", f"images: have more than {_MAX_IMAGES_TEXT} bytes in all")
        return endpoint
    if isinstance(endpoint, StoreEndpoint):
        tags = tuple(str(Reference.parse(tag).with_default_tag()) for tag in endpoint.tags)
        return replace(endpoint, tags=tags)
    reference = Reference.parse(endpoint.reference)
    if not all_tags:
        reference = reference.with_default_tag()
    elif reference.tag or reference.digest:
        raise FormatError(
            "REFERENCE_INVALID", "for all tags, name the repository alone", str(reference)
        )
    return replace(endpoint, reference=str(reference))

"""What a transfer was asked to do, as values that can be kept."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from imgd_server.registry import Credentials

__all__ = [
    "Endpoint",
    "LeaseRequest",
    "PullPolicy",
    "RegistryEndpoint",
    "StoreEndpoint",
    "TransferSpec",
]


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
    """An image in a registry. Credentials are never kept: `to_json` leaves them out."""

    reference: str
    credentials: Credentials | None = None


@dataclass(frozen=True, slots=True)
class StoreEndpoint:
    """The store. As a destination, `tags` are full names to give; none means the source's own.
    `unpack` says that layers are to be unpacked too."""

    tags: tuple[str, ...] = ()
    policy: PullPolicy = PullPolicy.ALWAYS
    lease: LeaseRequest | None = None
    unpack: bool = False


Endpoint = RegistryEndpoint | StoreEndpoint


@dataclass(frozen=True, slots=True)
class TransferSpec:
    """Where a transfer reads and writes, and how much.

    `platforms` empty means the daemon's own, unless `all_platforms`. `max_concurrency` 0 means the
    daemon's setting.
    """

    source: RegistryEndpoint
    destination: StoreEndpoint
    platforms: tuple[str, ...] = ()
    all_platforms: bool = False
    max_concurrency: int = 0

    def to_json(self) -> dict[str, Any]:
        """The spec as JSON values, without credentials."""
        value = asdict(replace(self, source=replace(self.source, credentials=None)))
        del value["source"]["credentials"]
        value["destination"]["policy"] = self.destination.policy.name
        value["destination"]["tags"] = list(self.destination.tags)
        value["platforms"] = list(self.platforms)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TransferSpec:
        """The spec that `to_json` wrote."""
        destination = value["destination"]
        lease = destination["lease"]
        return cls(
            source=RegistryEndpoint(value["source"]["reference"]),
            destination=StoreEndpoint(
                tags=tuple(destination["tags"]),
                policy=PullPolicy[destination["policy"]],
                lease=LeaseRequest(**lease) if lease else None,
                unpack=destination.get("unpack", False),
            ),
            platforms=tuple(value["platforms"]),
            all_platforms=value["all_platforms"],
            max_concurrency=value["max_concurrency"],
        )

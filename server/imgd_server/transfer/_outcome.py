"""What came of a transfer, and where it stands."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imgd_server.errors import Error
from imgd_server.oci import Descriptor

__all__ = ["Outcome", "PullResult", "TransferState"]


class TransferState(enum.Enum):
    """Values are those of the TransferState enum; names are what the record keeps."""

    PENDING = 1
    RUNNING = 2
    INTERRUPTED = 3
    SUCCEEDED = 4
    FAILED = 5
    CANCELLED = 6

    @property
    def ended(self) -> bool:
        """Whether no run is under way or to come by itself."""
        return self.value >= TransferState.INTERRUPTED.value


class PullResult(enum.Enum):
    """Values are those of the PullResult enum."""

    UNSPECIFIED = 0
    DOWNLOADED = 1
    UPDATED = 2
    UP_TO_DATE = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a transfer. `image` and `lease` are the last parts of resource names."""

    pull_result: PullResult = PullResult.UNSPECIFIED
    target: Descriptor | None = None
    image: str = ""
    image_id: str = ""
    references: tuple[str, ...] = ()
    fetched_bytes: int = 0
    reused_bytes: int = 0
    uploaded_bytes: int = 0
    lease: str = ""
    warnings: tuple[str, ...] = ()
    failure: Error | None = None

    def to_json(self) -> dict[str, Any]:
        """The outcome as JSON values."""
        value = {name: getattr(self, name) for name in self.__slots__}
        value["pull_result"] = self.pull_result.name
        value["references"], value["warnings"] = list(self.references), list(self.warnings)
        value["target"] = self.target.to_json() if self.target else None
        value["failure"] = self.failure.to_json() if self.failure else None
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outcome:
        """The outcome that `to_json` wrote."""
        facts = dict(value)
        facts["pull_result"] = PullResult[facts["pull_result"]]
        facts["target"] = Descriptor.from_json(facts["target"]) if facts["target"] else None
        facts["failure"] = Error.from_json(facts["failure"]) if facts["failure"] else None
        facts["references"] = tuple(facts["references"])
        facts["warnings"] = tuple(facts["warnings"])
        return cls(**facts)

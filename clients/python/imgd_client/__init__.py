"""The Python client of imgd, the container-image daemon: `Client`, and `AsyncClient` for asyncio.

Methods answer with the messages of `imgd.v1`. Every failure is an `ImgdError`.
"""

from typing import TYPE_CHECKING, Any

from ._address import default_address
from ._client import AsyncClient, Client
from ._errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    FailedPrecondition,
    FieldViolation,
    ImgdError,
    Internal,
    InUse,
    InvalidArgument,
    NotFound,
    OutOfRange,
    PermissionDenied,
    Precondition,
    Resource,
    ResourceExhausted,
    TransferFailed,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    from_rpc_error,
    transfer_failed,
)
from ._hold import AsyncHold, Hold
from ._progress import ProgressState
from ._pull import AsyncPullStream, PullStream
from ._requests import CopyOptions, PullOptions, PushOptions
from ._watch import AsyncWatch, Watch

if TYPE_CHECKING:
    from ._events import AsyncEventStream, EventStream

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AsyncClient",
    "AsyncEventStream",
    "AsyncHold",
    "AsyncPullStream",
    "AsyncWatch",
    "Cancelled",
    "Client",
    "CopyOptions",
    "DataLoss",
    "DeadlineExceeded",
    "EventStream",
    "FailedPrecondition",
    "FieldViolation",
    "Hold",
    "ImgdError",
    "InUse",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "OutOfRange",
    "PermissionDenied",
    "Precondition",
    "ProgressState",
    "PullOptions",
    "PullStream",
    "PushOptions",
    "Resource",
    "ResourceExhausted",
    "TransferFailed",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Watch",
    "default_address",
    "from_rpc_error",
    "transfer_failed",
]


def __getattr__(name: str) -> Any:
    # Start-up time: few programs watch the store.
    if name in ("AsyncEventStream", "EventStream"):
        from . import _events

        return getattr(_events, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

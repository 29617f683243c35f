"""The Python client of imgd, the container-image daemon: `Client`, and `AsyncClient` for asyncio.

Methods answer with the messages of `imgd.v1`. Every failure is an `ImgdError`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._address import default_address
    from ._building import AppendOptions, CommitOptions
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
    from ._events import AsyncEventStream, EventStream
    from ._hold import AsyncHold, Hold
    from ._progress import ProgressState
    from ._pull import AsyncPullStream, PullStream
    from ._requests import CopyOptions, PullOptions, PushOptions
    from ._secure import Tls
    from ._watch import AsyncWatch, Watch

__all__ = [
    "Aborted",
    "AlreadyExists",
    "AppendOptions",
    "AsyncClient",
    "AsyncEventStream",
    "AsyncHold",
    "AsyncPullStream",
    "AsyncWatch",
    "Cancelled",
    "Client",
    "CommitOptions",
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
    "Tls",
    "TransferFailed",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Watch",
    "default_address",
    "from_rpc_error",
    "transfer_failed",
]

# Imported at their first use: nobody pays for what they don't use, and imgctl tells gRPC to be
# silent before it is imported.
_HOMES = {
    "AppendOptions": "_building",
    "AsyncClient": "_client",
    "AsyncEventStream": "_events",
    "AsyncHold": "_hold",
    "AsyncPullStream": "_pull",
    "AsyncWatch": "_watch",
    "Client": "_client",
    "CommitOptions": "_building",
    "CopyOptions": "_requests",
    "EventStream": "_events",
    "Hold": "_hold",
    "ProgressState": "_progress",
    "PullOptions": "_requests",
    "PullStream": "_pull",
    "PushOptions": "_requests",
    "Tls": "_secure",
    "Watch": "_watch",
    "default_address": "_address",
}


def __getattr__(name: str) -> Any:
    if name in __all__:
        # The others are errors.
        home = import_module(f".{_HOMES.get(name, '_errors')}", __name__)
        found = globals()[name] = getattr(home, name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

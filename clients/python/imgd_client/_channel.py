"""How channels to the daemon are set up."""

from __future__ import annotations

import json

__all__ = ["OPTIONS"]

# Answers are at most 1 MiB (GetCapabilities); the room is for a daemon that is newer than this.
_MAX_RECEIVE = 16 << 20

# Calls that may be sent twice: they read, or carry a request_id that makes the second one find the
# first one's result (this package always sends one with what starts or creates), or are idempotent.
_SAFE = {
    "ImageService": [
        "ListImages",
        "GetImage",
        "InspectImage",
        "GetImageHistory",
        "ParseReference",
        "PinImage",
        "UnpinImage",
    ],
    "ContainerService": [
        "CreateContainer",
        "GetContainer",
        "ListContainers",
        "StartContainer",
        "PauseContainer",
        "StopContainer",
        "HeartbeatContainer",
    ],
    "LeaseService": ["CreateLease", "GetLease", "ListLeases", "RenewLease", "DeleteLease"],
    "TransferService": ["GetTransfer", "ListTransfers", "StartTransfer", "CancelTransfer"],
    "SystemService": ["GetInfo", "GetCapabilities", "GetDiskUsage"],
}

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": f"imgd.v1.{service}", "method": method}
                for service, methods in _SAFE.items()
                for method in methods
            ],
            # Bridges a restart's moment only. Somebody waits for the answer, and a daemon that is
            # not there should be said to be not there.
            "retryPolicy": {
                "maxAttempts": 3,
                "initialBackoff": "0.1s",
                "maxBackoff": "0.5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}

OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", _MAX_RECEIVE),
    # gRPC servers close a connection that pings more often than every five minutes
    # (`too_many_pings`); the daemon permits more, proxies before it may not. Watches need no pings:
    # the daemon sends heartbeats.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A daemon that comes back is found soon; gRPC's own are 1 s and 120 s.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # So long a daemon may take to greet, on a busy machine; one that is not there refuses at once.
    ("grpc.min_reconnect_backoff_ms", 10_000),
    # The daemon is on this machine or beside it, never behind the way to the web.
    ("grpc.enable_http_proxy", 0),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
]

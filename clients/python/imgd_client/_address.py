"""Where the daemon listens."""

from __future__ import annotations

import os
import re
import stat

__all__ = ["default_address", "target"]

# sockaddr_un.sun_path holds 108 bytes with the final zero (unix(7)).
_MAX_SOCKET_PATH = 107
# The daemon's own fall-back, for sessions without a runtime directory.
_FALL_BACK = "/tmp/imgd-{}"  # noqa: S108 - whose it is gets looked at
# An IPv6 address is in brackets.
_HOST_PORT = re.compile(r"([^\s/:\[\]]+|\[[0-9a-fA-F:.%\w]+\]):(?P<port>[0-9]{1,5})")


def default_address() -> str:
    """`IMGD_ADDRESS`, else the system's socket for root, else the user's own.

    That is in `$XDG_RUNTIME_DIR`, or without one in `/tmp/imgd-UID`.

    Raises:
        ValueError: It would be in `/tmp/imgd-UID`, and somebody else could have put it there.
    """
    if address := os.environ.get("IMGD_ADDRESS"):
        return address
    if os.geteuid() == 0:
        return "unix:///run/imgd/imgd.sock"
    folder = os.environ.get("XDG_RUNTIME_DIR")
    if not folder:
        folder = _FALL_BACK.format(os.geteuid())
        _check_own(folder)
    return f"unix:{folder}/imgd.sock"


def _check_own(folder: str) -> None:
    """Anybody can make the folder in our name, and get what is sent to the socket there."""
    try:
        found = os.lstat(folder)
    except FileNotFoundError:
        return
    others = stat.S_IWGRP | stat.S_IWOTH
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode) or found.st_mode & others:
        raise ValueError(
            f"{folder} is not this user's alone: somebody else may have made it; "
            "set XDG_RUNTIME_DIR, or name the daemon's address"
        )


def target(address: str) -> str:
    """What gRPC connects to for `unix:PATH`, `unix:///PATH` or `HOST:PORT`.

    Raises:
        ValueError: It is none of these, or a socket's path is too long.
    """
    if address.startswith("unix:"):
        path = address.removeprefix("unix:")
        if path.startswith("//"):
            if not path.startswith("///"):
                raise ValueError(f"address {address!r}: write unix:PATH or unix:///PATH")
            path = path[2:]
        if not path:
            raise ValueError(f"address {address!r} names no socket")
        if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
            raise ValueError(
                f"address {address!r}: a socket's path has at most {_MAX_SOCKET_PATH} bytes"
            )
        return f"unix:{path}"
    found = _HOST_PORT.fullmatch(address)
    if not (found and 0 < int(found["port"]) < 65536):
        raise ValueError(f"address {address!r} is neither unix:PATH nor HOST:PORT")
    return address

"""Where the daemon listens, and that nobody else does.

gRPC takes a live Unix socket over without a word and unlinks it when it stops, and on TCP shares a
port by default; so the address is claimed here first.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from imgd_server.errors import Error, Reason

__all__ = ["Claim", "check_address", "claim"]

# sockaddr_un.sun_path holds 108 bytes with the final zero (unix(7)).
_MAX_SOCKET_PATH = 107
# A listener whose backlog is full lets a connection wait; it lives all the same.
_PROBE_SECONDS = 1.0


@dataclass(slots=True)
class Claim:
    """An address that is ours. `target` is what gRPC binds; keep the claim while it is bound."""

    target: str
    path: Path | None = None
    lock: int = -1

    def release(self) -> None:
        """Gives the address up."""
        if self.lock >= 0:
            if self.path:
                # gRPC removes the sockets of a server that ran, and of no other.
                self.path.unlink(missing_ok=True)
            os.close(self.lock)
            self.lock = -1


def check_address(address: str) -> None:
    """Raises FIELD_INVALID for what is no address, or none that is ever served."""
    if address.startswith("unix:"):
        _socket_path(address)
    else:
        _host_and_port(address)


def claim(address: str) -> Claim:
    """Claims `unix:PATH` or `HOST:PORT`.

    Raises FIELD_INVALID for an address that can't be served, TOO_BUSY when somebody serves it.
    """
    if address.startswith("unix:"):
        return _claim_socket(address, _socket_path(address))
    return _claim_port(address)


def _socket_path(address: str) -> Path:
    text = address.removeprefix("unix:")
    # gRPC's absolute form has an empty authority: unix:///path.
    if text.startswith("//"):
        if not text.startswith("///"):
            raise _invalid(address, "write unix:PATH or unix:///PATH")
        text = text[2:]
    if not text or "\0" in text:
        raise _invalid(address, "it names no socket")
    path = Path(text).absolute()
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise _invalid(address, f"a socket's path has at most {_MAX_SOCKET_PATH} bytes")
    return path


def _claim_socket(address: str, path: Path) -> Claim:
    try:
        # A system's daemon is for others, too; a user's is not.
        mode = 0o755 if os.geteuid() == 0 else 0o700
        path.parent.mkdir(parents=True, exist_ok=True, mode=mode)
        _check_folder(address, path.parent)
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _invalid(address, f"{error.filename}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(address, path)
    except BlockingIOError:
        os.close(lock)
        raise _taken(address) from None
    except BaseException:
        os.close(lock)
        raise
    return Claim(f"unix:{path}", path, lock)


def _check_folder(address: str, folder: Path) -> None:
    """Refuses a folder where somebody else could put a socket of his own in the place of ours.

    Root may serve in anybody's.
    """
    user = os.geteuid()
    if user == 0:
        return
    found = folder.stat()
    # The owner of a link could point it elsewhere.
    if any(one.st_uid not in (0, user) for one in (found, folder.lstat())):
        raise _invalid(address, f"{folder} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        raise _invalid(address, f"others may write to {folder}: take that away (chmod go-w)")


def _clear(address: str, path: Path) -> None:
    """Removes the socket that a killed daemon left; refuses when anything else is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if not path.is_socket():
                raise _invalid(address, "something that is no socket is there") from None
        except OSError as error:
            # A socket of another type, one that we may not connect to, one with a full backlog.
            raise _taken(address, f" ({error.strerror or error})") from None
        else:
            # Somebody who does not know our lock.
            raise _taken(address)
    try:
        path.unlink()
    except OSError as error:
        raise _invalid(address, f"{path}: {error.strerror}") from None


def _host_and_port(address: str) -> tuple[str, int]:
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise _invalid(address, "an address is unix:PATH or HOST:PORT")
    if not _is_loopback(host):
        raise _invalid(address, "only loopback addresses are served until there is access control")
    return "127.0.0.1" if host == "localhost" else host, int(port)


def _claim_port(address: str) -> Claim:
    host, port = _host_and_port(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections that lately ended must not keep a restart out; a listener must.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _taken(address) from None
            raise _invalid(address, os.strerror(error.errno or 0)) from None
    return Claim(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _invalid(address: str, why: str) -> Error:
    return Error(Reason.FIELD_INVALID, f"listen: can't serve {address}: {why}")


def _taken(address: str, more: str = "") -> Error:
    return Error(Reason.TOO_BUSY, f"listen: {address} is served by another process already{more}")

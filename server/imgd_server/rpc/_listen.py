"""Where the daemon listens, and that nobody else does.

gRPC takes a live Unix socket over without a word and unlinks it when it stops, and on TCP shares a
port by default; so the address is claimed here first.
"""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from imgd_server.errors import Error, Reason

__all__ = ["Claim", "claim"]

# sockaddr_un.sun_path holds 108 bytes with the final zero (unix(7)).
_MAX_SOCKET_PATH = 107


@dataclass(slots=True)
class Claim:
    """An address that is ours. `target` is what gRPC binds; keep the claim while it is bound."""

    target: str
    path: Path | None = None
    lock: int = -1

    def protect(self) -> None:
        """Lets the socket's owner and group in, and no one else."""
        if self.path:
            self.path.chmod(0o660)

    def release(self) -> None:
        """Gives the address up."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1


def claim(address: str) -> Claim:
    """Claims `unix:PATH` or `HOST:PORT`. Raises FIELD_INVALID, TOO_BUSY when it is taken."""
    if address.startswith("unix:"):
        return _claim_socket(Path(address.removeprefix("unix:").replace("///", "/", 1)))
    return _claim_port(address)


def _claim_socket(path: Path) -> Claim:
    if not path.is_absolute():
        path = Path.cwd() / path
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise _invalid(f"unix:{path}", f"a socket's path has at most {_MAX_SOCKET_PATH} bytes")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and not path.is_socket():
            raise _invalid(f"unix:{path}", "something that is no socket is there")
        if _answers(path):
            raise _taken(f"unix:{path}")
    except BlockingIOError:
        os.close(lock)
        raise _taken(f"unix:{path}") from None
    except Error:
        os.close(lock)
        raise
    path.unlink(missing_ok=True)
    return Claim(f"unix:{path}", path, lock)


def _answers(path: Path) -> bool:
    """Whether somebody accepts connections there, who does not know our lock."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True


def _claim_port(address: str) -> Claim:
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise _invalid(address, "an address is unix:PATH or HOST:PORT")
    if not _is_loopback(host):
        raise _invalid(address, "only loopback addresses are served until there is access control")
    host = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Connections that lately ended must not keep a restart out; a listener must.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
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
    return Error(Reason.FIELD_INVALID, f"can't listen on {address}: {why}")


def _taken(address: str) -> Error:
    return Error(Reason.TOO_BUSY, f"can't listen on {address}: another process serves it")

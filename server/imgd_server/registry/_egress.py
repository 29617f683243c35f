"""Where imgd may connect to, judged by the resolved address at the moment of connecting.

The caller's reference may name any host, also a private one. What a registry says (redirects, token
realms, layer URLs) may not lead to a private or loopback address, unless the caller named that host
or the configuration allows it. Link-local and metadata addresses are refused unless configured.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import select
import socket
import threading
import time
from typing import Any

from imgd_server.errors import Error, Reason
from imgd_server.oci import is_loopback_host
from imgd_server.registry._protocol import Cancellation
from imgd_server.registry._url import Url

__all__ = ["dial", "judge"]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Cloud providers' metadata services that are not link-local.
_METADATA = {ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")}
# IPv6 addresses that stand for an IPv4 one in their last 32 bits: NAT64 (RFC 6052), IPv4-compatible
# (RFC 4291, 2.5.5.1).
_EMBEDDING = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("::/96"))
# Neither a look-up nor a connection under way can be woken, so the wait for them looks up so often.
_LOOK_UP = 0.1
# Behind a proxy there may be no name server for the world, and silence instead of an answer.
_PROXIED_LOOK_UP = 2.0


def dial(
    url: Url, *, named: bool, configured: bool, patience: float, cancellation: Cancellation
) -> socket.socket:
    """Connects to the first address that answers and is permitted, within `patience` seconds.

    `named` says that the caller's reference named this host, `configured` that the configuration
    did. Raises EGRESS_DENIED, REGISTRY_UNREACHABLE, REGISTRY_TIMEOUT, CANCELLED.
    """
    deadline = time.monotonic() + patience
    found = _look_up(url, deadline, cancellation)
    failure = _unreachable(url, f"no address for {url.host}")
    for position, (family, kind, protocol, _, address) in enumerate(found):
        if not configured and (denied := _denied(url.host, str(address[0]), named=named)):
            failure = _refused(url, denied)
            continue
        # Each address gets a fair share of what is left, as in Go's dialler.
        left = (deadline - time.monotonic()) / (len(found) - position)
        connection = socket.socket(family, kind, protocol)
        try:
            _connect(connection, address, max(left, 0.0), cancellation)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except TimeoutError:
            connection.close()
            failure = Error(
                Reason.REGISTRY_TIMEOUT, f"{url.label} does not accept connections", host=url.label
            )
        except OSError as error:
            connection.close()
            failure = _unreachable(url, f"can't connect to {url.label}: {error.strerror}")
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise failure


def judge(url: Url, *, named: bool, configured: bool, cancellation: Cancellation) -> None:
    """Judges a host that a proxy is to connect to, as far as its addresses are known here.

    Where only the proxy knows them, they are its matter. Raises EGRESS_DENIED, CANCELLED.
    """
    if configured:
        return
    try:
        found = _look_up(url, time.monotonic() + _PROXIED_LOOK_UP, cancellation)
    except Error as error:
        if error.reason is Reason.CANCELLED:
            raise
        return
    for *_, address in found:
        # Nobody knows which of them the proxy takes.
        if denied := _denied(url.host, str(address[0]), named=named):
            raise _refused(url, denied)


def _refused(url: Url, why: str) -> Error:
    return Error(
        Reason.EGRESS_DENIED,
        f"{url.label} is {why}; allow it with allowed_hosts if that is meant",
        host=url.label,
    )


def _look_up(url: Url, deadline: float, cancellation: Cancellation) -> list[Any]:
    """The addresses of a host, as getaddrinfo gives them.

    In a thread of its own: a name server that is silent takes the resolver up to a minute, and
    nothing ends that.
    """
    found: list[Any] = []
    failed: list[Exception] = []
    done = threading.Event()

    def work() -> None:
        try:
            found.extend(socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            failed.append(error)
        finally:
            done.set()

    threading.Thread(target=work, name="look-up", daemon=True).start()
    while not done.wait(_LOOK_UP):
        cancellation.check()
        if time.monotonic() > deadline:
            raise Error(
                Reason.REGISTRY_TIMEOUT, f"no name server tells of {url.host}", host=url.label
            )
    if failed:
        # A UnicodeError is a label that no name server could know (more than 63 characters).
        why = getattr(failed[0], "strerror", None) or "not a name that can be looked up"
        raise _unreachable(url, f"no address for {url.host}: {why}") from failed[0]
    return found


def _connect(
    connection: socket.socket, address: Any, patience: float, cancellation: Cancellation
) -> None:
    connection.setblocking(False)
    code = connection.connect_ex(address)
    if code == errno.EINPROGRESS:
        deadline = time.monotonic() + patience
        poller = select.poll()
        poller.register(connection, select.POLLOUT)
        while not poller.poll(_LOOK_UP * 1000):
            cancellation.check()
            if time.monotonic() > deadline:
                raise TimeoutError
        code = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    cancellation.check()
    if code:
        raise OSError(code, os.strerror(code))


def _denied(host: str, text: str, *, named: bool) -> str:
    """What keeps imgd from an address that a host has; empty when nothing does."""
    address = _plain(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_link_local or address in _METADATA:
        return "at a link-local or metadata address"
    if address.is_multicast or address.is_unspecified:
        return "at no host's address"
    if is_loopback_host(host) and not address.is_loopback:
        # RFC 6761, 6.3: such a name is this machine, or a resolver lies.
        return "a name of this machine, and has another's address"
    private = (
        not address.is_global or address.is_reserved or getattr(address, "is_site_local", False)
    )
    if not named and private:
        return "at a private address, and imgd may not be led there by a registry"
    return ""


def _plain(address: _Address) -> _Address:
    """The address that packets end at, where an IPv6 one stands for an IPv4 one."""
    if isinstance(address, ipaddress.IPv4Address) or address.is_loopback or address.is_unspecified:
        return address
    if any(address in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _unreachable(url: Url, message: str) -> Error:
    return Error(Reason.REGISTRY_UNREACHABLE, message, host=url.label)

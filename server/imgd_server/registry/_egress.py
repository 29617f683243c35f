"""Where imgd may connect to, judged by the resolved address at the moment of connecting.

The caller's reference may name any host, also a private one. What a registry says (redirects, token
realms, layer URLs) may not lead to a private or loopback address, unless the caller named that host
or the configuration allows it. Link-local and metadata addresses are refused unless configured.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection

from imgd_server.errors import Error, Reason

__all__ = ["dial", "is_loopback_host"]

# Cloud providers' metadata services that are not link-local.
_METADATA = {ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")}


def is_loopback_host(host: str) -> bool:
    """Whether a host (without port) is this machine by its name alone."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def dial(
    host: str,
    port: int,
    *,
    named: bool,
    allowed: Collection[str],
    connect_timeout: float,
) -> socket.socket:
    """Connects to the first address that answers and is permitted.

    `named` says that the caller's reference named this host. Raises EGRESS_DENIED,
    REGISTRY_UNREACHABLE, REGISTRY_TIMEOUT.
    """
    label = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    configured = host in allowed or label in allowed
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Error(
            Reason.REGISTRY_UNREACHABLE, f"no address for {host}: {error.strerror}", host=label
        ) from error
    failure: Error | None = None
    for family, kind, protocol, _, address in found:
        if not configured and (denied := _denied(str(address[0]), named=named)):
            failure = Error(
                Reason.EGRESS_DENIED,
                f"{label} is {denied}, and imgd may not be led there by a registry; "
                "allow it with allowed_hosts if that is meant",
                host=label,
            )
            continue
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(connect_timeout)
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            failure = _unreachable(label, error)
            continue
        return connection
    raise failure or Error(Reason.REGISTRY_UNREACHABLE, f"no address for {host}", host=label)


def _denied(text: str, *, named: bool) -> str:
    """What kind of address keeps imgd out; empty when nothing does."""
    address = ipaddress.ip_address(text.partition("%")[0])
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_link_local or address in _METADATA:
        return "a link-local or metadata address"
    if address.is_multicast or address.is_unspecified:
        return "no host's address"
    if not named and not address.is_global:
        return "a private address"
    return ""


def _unreachable(label: str, error: OSError) -> Error:
    if isinstance(error, TimeoutError):
        return Error(Reason.REGISTRY_TIMEOUT, f"{label} does not accept connections", host=label)
    return Error(
        Reason.REGISTRY_UNREACHABLE, f"can't connect to {label}: {error.strerror}", host=label
    )

"""Which registries may be called at all, by name: the part of the egress policy that is configured.

The other part, by address, is in `_egress`; a request has to pass both.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

from imgd_server.errors import Error, Reason
from imgd_server.registry._url import Url

__all__ = ["HostPattern", "RegistryPolicy"]

_PATTERN = re.compile(
    r"(?P<any>\*\.)?(?P<host>[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)
# Docker Hub by its name in references, wherever it is served.
_HUB = "docker.io"
_HUB_HOSTS = {"registry-1.docker.io", "index.docker.io", "auth.docker.io"}
# Of a long list an error shows so many characters.
_MAX_SHOWN = 200


@dataclass(frozen=True, slots=True)
class HostPattern:
    """`HOST[:PORT]` or `*.DOMAIN[:PORT]`, which stands for every host below a domain and not for
    the domain itself. Without a port it fits any."""

    text: str
    host: str
    below: bool
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError for what is no pattern."""
        match = _PATTERN.fullmatch(text.lower())
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 0 < port < 65536):
            raise ValueError(f"{text!r} is no HOST[:PORT] or *.DOMAIN[:PORT]")
        if match["any"] and match["host"].startswith("["):
            raise ValueError(f"{text!r}: nothing is below an address")
        return cls(text, _canonical(match["host"]), bool(match["any"]), port)

    def fits(self, host: str, port: int | None) -> bool:
        """Whether it stands for a host (as `_canonical` writes it); for an unknown port (None),
        only without one of its own."""
        if self.port is not None and self.port != port:
            return False
        if self.below:
            return host.endswith(f".{self.host}")
        return host == self.host or (self.host == _HUB and host in _HUB_HOSTS)


@dataclass(frozen=True, slots=True)
class RegistryPolicy:
    """Registries that may be called (all, where none is listed), and those that may not, which
    comes first."""

    allowed: tuple[HostPattern, ...] = ()
    denied: tuple[HostPattern, ...] = ()

    @classmethod
    def of(cls, allowed: Collection[str], denied: Collection[str]) -> Self:
        """Raises ValueError for what is no pattern."""
        return cls(*(tuple(map(HostPattern.parse, some)) for some in (allowed, denied)))

    def check(self, url: Url, origin: Url | None = None) -> None:
        """Judges where a request goes, of which `origin` is where it began. Raises EGRESS_DENIED
        that names what is configured."""
        led = f"{origin.label} leads to {url.label}: " if origin and origin != url else ""
        self._judge(url.host, url.port, url.label, led)

    def check_domain(self, domain: str) -> None:
        """Judges a registry as references name it, whatever serves it. Raises as `check`."""
        if not (self.allowed or self.denied):
            return
        match = _PATTERN.fullmatch(domain.lower())
        # A domain that is no host is refused where it is made a URL.
        if match is None:
            return
        port = int(match["port"]) if match["port"] else None
        self._judge(match["host"], port, domain, "")

    def _judge(self, host: str, port: int | None, label: str, led: str) -> None:
        host = _canonical(host)
        if found := _first(self.denied, host, port):
            why = f"is denied by {found.text} in denied_registries"
        elif not self.allowed or _first(self.allowed, host, port):
            return
        elif port is None and any(_first([one], host, one.port) for one in self.allowed):
            return  # which port it is, the connection tells
        else:
            shown = ", ".join(one.text for one in self.allowed)
            cut = "…" if len(shown) > _MAX_SHOWN else ""
            why = f"is none of allowed_registries ({shown[:_MAX_SHOWN]}{cut})"
        raise Error(
            Reason.EGRESS_DENIED, f"{led}{label} {why} in the daemon's configuration", host=label
        )


def _canonical(host: str) -> str:
    """A host (lower case) as it is compared: there are many ways to write one, and whoever is
    denied could lead to another of them. Names have no dot at their end, addresses one form."""
    host = host.strip("[]").removesuffix(".")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            # As resolvers read 127.1, 0x7f000001 and 2130706433, too.
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def _first(patterns: Iterable[HostPattern], host: str, port: int | None) -> HostPattern | None:
    return next((one for one in patterns if one.fits(host, port)), None)

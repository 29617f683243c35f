"""Addresses that requests are sent to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urljoin, urlsplit

__all__ = ["Url"]

_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[a-z0-9._-]+", re.ASCII)
# What may stand in a request line as it is (RFC 3986, 2.2 and 2.3); the rest is percent-encoded.
_SAFE: Final = "%/:@!$&'()*+,;=~?-._"


@dataclass(frozen=True, slots=True)
class Url:
    """An http or https URL without user info and fragment.

    `host` is lower case and without brackets; `target` is path and query, fit for a request line.
    """

    scheme: str
    host: str
    port: int
    target: str = "/"

    @classmethod
    def parse(cls, text: str, base: Url | None = None) -> Url:
        """Reads an absolute URL, or one that is relative to `base`.

        Raises ValueError for another scheme, no or a malformed host, a port out of range, and for
        user info: in what a registry says, it hides the host (RFC 9110, 4.2.4).
        """
        parts = urlsplit(urljoin(str(base), text) if base else text)
        host = parts.hostname or ""
        if parts.scheme not in _PORTS or "@" in parts.netloc:
            raise ValueError("not an http or https URL without user info")
        if ":" in host:
            if ipaddress.IPv6Address(host).scope_id is not None:
                raise ValueError("an address with a zone")
        elif not _HOST.fullmatch(host):
            raise ValueError("no host's name")
        port = _PORTS[parts.scheme] if parts.port is None else parts.port
        target = quote(parts.path or "/", safe=_SAFE)
        if parts.query:
            target += f"?{quote(parts.query, safe=_SAFE)}"
        return cls(parts.scheme, host, port, target)

    @property
    def origin(self) -> tuple[str, str, int]:
        """What credentials and connections belong to (RFC 6454)."""
        return self.scheme, self.host, self.port

    @property
    def label(self) -> str:
        """`host[:port]` as people write it: without the scheme's own port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def names(self, hosts: frozenset[str]) -> bool:
        """Whether it is at one of these hosts, each lower case and `host` or `host:port`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return not hosts.isdisjoint((self.host, host, f"{host}:{self.port}"))

    def __str__(self) -> str:
        return f"{self.scheme}://{self.label}{self.target}"

"""Proxies for outgoing requests, as HTTP_PROXY, HTTPS_PROXY and NO_PROXY name them."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from imgd_server.errors import Error, Reason
from imgd_server.oci import is_loopback_host
from imgd_server.registry._url import Url

__all__ = ["Proxies", "Proxy"]

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is spoken to without TLS. `authorization` is a Proxy-Authorization."""

    url: Url
    authorization: str = field(default="", repr=False)

    @property
    def headers(self) -> dict[str, str]:
        """What is for the proxy alone."""
        return {"Proxy-Authorization": self.authorization} if self.authorization else {}

    def connect(self, url: Url) -> bytes:
        """The request for a tunnel (RFC 9110, 9.3.6)."""
        host = f"[{url.host}]" if ":" in url.host else url.host
        target = f"{host}:{url.port}"
        fields = {"Host": target, **self.headers}
        lines = [f"CONNECT {target} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode()


@dataclass(frozen=True, slots=True)
class _Exception:
    """One entry of NO_PROXY: a name and what is below it, an address or a network; port 0: any."""

    name: str = ""
    network: _Network | None = None
    port: int = 0

    def fits(self, url: Url) -> bool:
        if self.port and self.port != url.port:
            return False
        if self.network is None:
            return self.name in ("*", url.host) or url.host.endswith(f".{self.name}")
        try:
            return ipaddress.ip_address(url.host) in self.network
        except ValueError:
            return False


@dataclass(frozen=True, slots=True)
class Proxies:
    """Which proxy is for which URL. This machine itself is reached without one, always."""

    http: Proxy | None = None
    https: Proxy | None = None
    exceptions: tuple[_Exception, ...] = ()

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Proxies:
        """Reads the variables; those in lower case win, as for curl and Go.

        Raises FIELD_INVALID that names the variable.
        """

        def value(name: str) -> str:
            return environment.get(name.lower()) or environment.get(name, "")

        http, https = (_proxy(name, value(name)) for name in ("HTTP_PROXY", "HTTPS_PROXY"))
        entries = [one for text in value("NO_PROXY").split(",") if (one := text.strip().lower())]
        return cls(http, https, tuple(map(_exception, entries)))

    def of(self, url: Url) -> Proxy | None:
        """The proxy for a URL; None for none."""
        proxy = self.https if url.scheme == "https" else self.http
        if proxy is None or is_loopback_host(url.host):
            return None
        return None if any(one.fits(url) for one in self.exceptions) else proxy


def _proxy(name: str, text: str) -> Proxy | None:
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        if parts.scheme != "http":
            raise ValueError("only proxies with http:// are supported")
        _, _, place = parts.netloc.rpartition("@")
        port = "" if parts.port else ":80"
        url = Url.parse(f"http://{place.removesuffix(':')}{port}/")
    except ValueError as error:
        # Not the text itself: it may hold a password.
        raise Error(Reason.FIELD_INVALID, f"{name}: no proxy's URL: {error}") from None
    if not parts.username:
        return Proxy(url)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return Proxy(url, f"Basic {base64.b64encode(pair).decode()}")


def _exception(text: str) -> _Exception:
    try:
        return _Exception(network=ipaddress.ip_network(text.strip("[]"), strict=False))
    except ValueError:
        pass
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdigit():
        host, number = host.strip("[]"), int(port)
    else:
        host, number = text, 0
    try:
        return _Exception(network=ipaddress.ip_network(host), port=number)
    except ValueError:
        return _Exception(host.removeprefix("*.").removeprefix("."), port=number)

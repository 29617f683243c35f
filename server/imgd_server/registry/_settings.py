"""What is configured of registries: servers, mirrors, TLS and credentials, read from TOML.

The tables have the keys of containerd's `hosts.toml` (its docs/hosts.md), so that such files are
read as they are, and more for credentials.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from imgd_server.errors import Error, Reason
from imgd_server.oci import FormatError, Reference
from imgd_server.registry._url import Url

__all__ = ["ANY", "HostSettings", "RegistrySettings", "parse_registries", "read_hosts_folder"]

ANY: Final = "_default"
"""Stands for every registry that has no settings of its own."""

# More than anyone has; each that is dead costs a time-out.
_MAX_MIRRORS = 16
_CAPABILITIES = frozenset({"pull", "resolve", "push"})
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What a request says by itself.
_OWN_HEADERS = {"host", "connection", "content-length", "transfer-encoding", "range", "accept"}
_DURATION = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)(ms|s|m)")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_MAX_FILE = 1 << 20


@dataclass(frozen=True, slots=True)
class HostSettings:
    """One host that serves a registry: its own server, or a mirror.

    `url` is the host with the path that stands for `/v2`; None for a server that is only known by
    its registry's name. `key` is where it is configured. Times are in seconds, None for those of
    all hosts. Files are absolute paths; `client` is a certificate and its key.
    """

    key: str
    url: Url | None = None
    capabilities: frozenset[str] = _CAPABILITIES
    ca: tuple[str, ...] = ()
    client: tuple[str, str] | None = None
    skip_verify: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    connect_timeout: float | None = None
    answer_timeout: float | None = None
    user: str = ""
    password_file: str = ""
    password_env: str = ""
    identity_token_file: str = ""
    identity_token_env: str = ""


@dataclass(frozen=True, slots=True)
class RegistrySettings:
    """A registry's own server, and its mirrors in the order in which they are asked."""

    server: HostSettings
    mirrors: tuple[HostSettings, ...] = ()


def parse_registries(tables: object) -> dict[str, RegistrySettings]:
    """The settings by registry, from tables by registry; as text, they are TOML.

    Raises ValueError that names the key.
    """
    if isinstance(tables, str):
        tables = tomllib.loads(tables)
    if not isinstance(tables, dict):
        raise ValueError("wants a table for each registry")
    found: dict[str, RegistrySettings] = {}
    for name, table in tables.items():
        domain = _domain(name)
        if domain in found:
            raise ValueError(f"{name!r} is there twice")
        found[domain] = _Reader(f'"{name}"', Path("/")).registry(table, domain)
    return found


def read_hosts_folder(folder: str) -> dict[str, RegistrySettings]:
    """The settings by registry, from a folder of containerd's: `HOST/hosts.toml`, with `_PORT_` or
    `:PORT` behind a host, and `_default` for every other one.

    Raises FIELD_INVALID that names the key and the file.
    """
    found: dict[str, RegistrySettings] = {}
    try:
        for path in sorted(Path(folder).glob("*/hosts.toml")):
            name = path.parent.name
            place = f"{name}/hosts.toml"
            with path.open("rb") as file:
                raw = file.read(_MAX_FILE + 1)
            if len(raw) > _MAX_FILE:
                raise ValueError(f"{place}: more than {_MAX_FILE} bytes")
            try:
                domain = _domain(re.sub(r"_([0-9]{1,5})_$", r":\1", name))
                table = tomllib.loads(raw.decode())
                found[domain] = _Reader("", path.parent.absolute()).registry(table, domain)
            except ValueError as error:
                raise ValueError(f"{place}: {error}") from None
        if not Path(folder).is_dir():
            raise ValueError("is no folder")
    except (OSError, ValueError) as error:
        raise Error(Reason.FIELD_INVALID, f"hosts_dir: {error}") from None
    return found


def _domain(name: str) -> str:
    if name == ANY:
        return name
    try:
        domain = Reference.parse(f"{name}/x").domain
    except FormatError:
        domain = ""
    if domain != name and name != "index.docker.io":
        raise ValueError(f"{name!r} is no registry's HOST[:PORT]")
    Url.parse(f"https://{domain}/")
    return domain.lower()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one registry's table; `key` is what its errors begin with."""

    key: str
    folder: Path

    def registry(self, value: object, domain: str) -> RegistrySettings:
        table = self._table(value, self.key)
        hosts = self._table(table.pop("host", {}), self._below(self.key, "host"))
        url = table.pop("server", None)
        if url is None and domain == ANY and table:
            raise ValueError(f"{self._below(self.key, next(iter(table)))}: needs server")
        if url is None and "override_path" in table:
            raise ValueError(f"{self._below(self.key, 'override_path')}: needs server")
        if len(hosts) > _MAX_MIRRORS:
            raise ValueError(f"{self._below(self.key, 'host')}: at most {_MAX_MIRRORS}")
        server = self._host(table, self.key, url, self._below(self.key, "server"))
        mirrors = []
        for text, settings in hosts.items():
            key = self._below(self.key, f'host."{text}"')
            mirrors.append(self._host(self._table(settings, key), key, text, key))
        return RegistrySettings(server, tuple(mirrors))

    def _host(self, table: dict[str, Any], key: str, url: object, url_key: str) -> HostSettings:
        readers: dict[str, tuple[str, Callable[[object], Any]]] = {
            "capabilities": ("capabilities", _capabilities),
            "ca": ("ca", self._files),
            "client": ("client", self._client),
            "skip_verify": ("skip_verify", _switch),
            "header": ("headers", _headers),
            "dial_timeout": ("connect_timeout", _seconds),
            "answer_timeout": ("answer_timeout", _seconds),
            "user": ("user", _text),
            "password_file": ("password_file", self._file),
            "password_env": ("password_env", _text),
            "identity_token_file": ("identity_token_file", self._file),
            "identity_token_env": ("identity_token_env", _text),
        }
        values: dict[str, Any] = {}
        override = False
        for name, value in table.items():
            try:
                if name == "override_path":
                    override = _switch(value)
                elif name in readers:
                    field_name, read = readers[name]
                    values[field_name] = read(value)
                else:
                    raise ValueError("no such key")
            except ValueError as error:
                raise ValueError(f"{self._below(key, name)}: {error}") from None
        if why := _contradiction(values):
            raise ValueError(f"{key or 'the file'}: {why}")
        if url is not None:
            try:
                values["url"] = _base(url, override=override)
            except ValueError as error:
                raise ValueError(f"{url_key}: {error}") from None
        return HostSettings(key, **values)

    def _table(self, value: object, key: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{key}: wants a table")
        return dict(value)

    def _below(self, key: str, name: str) -> str:
        return f"{key}.{name}" if key else name

    # --- files

    def _file(self, value: object) -> str:
        text = _text(value)
        if "\0" in text:
            raise ValueError(f"{text!r} is no path")
        if not text.startswith("/") and self.folder == Path("/"):
            raise ValueError(f"{text!r} is no absolute path")
        return str(self.folder / text)

    def _files(self, value: object) -> tuple[str, ...]:
        return tuple(map(self._file, value if isinstance(value, list) else [value]))

    def _client(self, value: object) -> tuple[str, str]:
        """As containerd has it: a file with both, or a list of one, or of one pair of two."""
        pairs = value if isinstance(value, list) else [value]
        if len(pairs) != 1:
            raise ValueError('wants one certificate: "both.pem", or [["cert.pem", "key.pem"]]')
        pair = pairs[0] if isinstance(pairs[0], list) else [pairs[0]]
        if not 1 <= len(pair) <= 2:
            raise ValueError("wants a certificate and its key")
        return self._file(pair[0]), self._file(pair[-1])


def _contradiction(values: Mapping[str, Any]) -> str:
    """What is wrong with the credentials of a host; empty for nothing."""
    passwords = [one for one in ("password_file", "password_env") if one in values]
    tokens = [one for one in ("identity_token_file", "identity_token_env") if one in values]
    if len(passwords) > 1 or len(tokens) > 1 or (passwords and tokens):
        return f"only one of {', '.join(passwords + tokens)}"
    if passwords and "user" not in values:
        return f"{passwords[0]} needs user"
    if "user" in values and not passwords:
        return "user needs password_file or password_env"
    return ""


def _base(value: object, *, override: bool) -> Url:
    text = _text(value)
    url = Url.parse(text if "://" in text else f"https://{text}")
    if "?" in url.target:
        raise ValueError("wants a URL without a query")
    path = url.target.rstrip("/")
    if not override and not path.endswith("/v2"):
        path += "/v2"
    return Url(url.scheme, url.host, url.port, path)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("wants a text")
    return value


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("wants true or false")
    return value


def _capabilities(value: object) -> frozenset[str]:
    if not isinstance(value, list) or not all(one in _CAPABILITIES for one in value):
        raise ValueError(f"wants a list of {', '.join(sorted(_CAPABILITIES))}")
    return frozenset(value)


def _headers(value: object) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("wants a table")
    found: dict[str, str] = {}
    for name, content in value.items():
        texts = content if isinstance(content, list) else [content]
        valid = all(isinstance(one, str) and one.isascii() and one.isprintable() for one in texts)
        if not _TOKEN.fullmatch(name) or not valid or not texts:
            raise ValueError(f"{name!r}: wants printable ASCII")
        if name.lower() in _OWN_HEADERS:
            raise ValueError(f"{name!r} is not to be set")
        found[name] = ", ".join(texts)
    return found


def _seconds(value: object) -> float:
    """Seconds, or a duration as Go writes short ones: `1.5s`, `200ms`."""
    seconds = -1.0
    if isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    elif isinstance(value, str) and (match := _DURATION.fullmatch(value)):
        seconds = float(match[1]) * _UNITS[match[2]]
    if not 0.001 <= seconds <= 3600:
        raise ValueError('wants a time such as "5s", from 1ms to 60m')
    return seconds

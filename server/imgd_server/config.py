"""Configuration: one TOML file, every key also a flag and an environment variable.

A flag wins over the environment (`IMGD_` and the key in upper case), which wins over the file
(`--config` or `IMGD_CONFIG`), which wins over the default. What is wrong is refused at start, with
the key's name and where it came from.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from imgd_server.errors import Error, Reason
from imgd_server.oci import FormatError, Reference
from imgd_server.registry import HostPattern, RegistrySettings, parse_registries
from imgd_server.transfer import MAX_CONCURRENT_BLOBS, MAX_RATE, MIN_RATE

__all__ = ["Config", "add_flags", "load", "water"]


def _default_root() -> str:
    if os.geteuid() == 0:
        return "/var/lib/imgd"
    data = os.environ.get("XDG_DATA_HOME") or str(Path("~/.local/share").expanduser())
    return f"{data}/imgd"


def _default_listen() -> list[str]:
    if os.geteuid() == 0:
        return ["unix:/run/imgd/imgd.sock"]
    runtime = os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/imgd-{os.geteuid()}"  # noqa: S108
    return [f"unix:{runtime}/imgd.sock"]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("wants a text")
    return value


def _path(value: object) -> str:
    text = _text(value)
    if "\0" in text:
        raise ValueError(f"{text!r} is no path")
    return text


def _folder(value: object) -> str:
    text = _path(value)
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is no absolute path")
    return text


def _texts(parse: Callable[[object], str], least: int = 0) -> Callable[[object], list[str]]:
    """A list of texts; as one text, they are separated by commas."""

    def parse_all(value: object) -> list[str]:
        if isinstance(value, str):
            value = [one.strip() for one in value.split(",")]
        if not isinstance(value, list) or len(value) < least:
            raise ValueError("wants a list of texts")
        return [parse(one) for one in value]

    return parse_all


def _registry(value: object) -> str:
    """A registry's host as image names have it."""
    text = _text(value)
    if not _is_domain(text):
        raise ValueError(f"{text!r} is no registry's HOST[:PORT]")
    return text


def _host(value: object) -> str:
    """Any host; unlike a registry's, it can be a single word without a port."""
    text = _text(value)
    if not _is_domain(text) and not _is_domain(f"{text}:80"):
        raise ValueError(f"{text!r} is no HOST[:PORT]")
    return text


def _pattern(value: object) -> str:
    return HostPattern.parse(_text(value)).text


def _is_domain(text: str) -> bool:
    try:
        return Reference.parse(f"{text}/x").domain == text
    except FormatError:
        return False


def _address(value: object) -> str:
    """`unix:PATH` or `HOST:PORT`; whether it can be served shows when it is."""
    text = _text(value)
    if not text.startswith("unix:"):
        return _host_port(text)
    if "\0" in text or not text.removeprefix("unix:").strip("/"):
        raise ValueError(f"{text!r} names no socket")
    return text


def _host_port(value: object) -> str:
    text = _text(value)
    host, _, port = text.rpartition(":")
    if not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"{text!r} is no HOST:PORT")
    return text


def _parameter(value: object) -> str:
    """A text that fits between the quotes of a header."""
    text = _text(value)
    if not (text.isascii() and text.isprintable()) or '"' in text or "\\" in text:
        raise ValueError("wants printable ASCII without quotes and backslashes")
    return text


def _url(value: object) -> str:
    text = _parameter(value)
    if not re.fullmatch(r"https?://[^/\s]+(/\S*)?", text):
        raise ValueError(f"{text!r} is no URL of http or https")
    return text


def _switch(value: object) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise ValueError("wants true or false")


def _number(low: float, high: float) -> Callable[[object], float]:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError("wants a number")
        try:
            number = float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not low <= number <= high:
            raise ValueError(f"wants a number from {low:g} to {high:g}")
        return number

    return parse


def _integer(low: int, high: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = _number(low, high)(value)
        if number != int(number):
            raise ValueError("wants a whole number")
        return int(number)

    return parse


def _rate(value: object) -> int:
    number = _integer(0, MAX_RATE)(value)
    if 0 < number < MIN_RATE:
        raise ValueError(f"wants {MIN_RATE} bytes a second or more, or 0 for no bound")
    return number


_SIZES = {"": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
# Fifteen digits are all that a float keeps; with "TB" they are beyond any disk.
_WATER = re.compile(r"(?:([0-9]{1,2}(?:\.[0-9]+)?)%|([0-9]{1,15}(?:\.[0-9]+)?)\s*([kmgt]b)?)", re.I)


def _water(value: object) -> str:
    text = _text(value)
    if not any(water(text)):
        raise ValueError("is a share of the file system such as 85%, or a size such as 50GB")
    return text


def water(text: str) -> tuple[float, int]:
    """A mark as (share of the file system, bytes of content), one of which is 0; both for none."""
    match = _WATER.fullmatch(text)
    if match is None:
        return 0.0, 0
    if match[1]:
        return float(match[1]) / 100, 0
    return 0.0, int(float(match[2]) * _SIZES[(match[3] or "").lower()])


def _choice(*words: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError(f"is one of {', '.join(words)}")
        return str(value)

    return parse


def _key(
    parse: Callable[[object], Any], default: Callable[[], Any], text: str, unit: str = ""
) -> Any:
    return field(default_factory=default, metadata={"parse": parse, "help": text, "unit": unit})


@dataclass(frozen=True, slots=True)
class Config:
    """Every key, with its default; `imgd serve --help` shows them."""

    root: str = _key(_path, _default_root, "where the state is kept", "DIR")
    listen: list[str] = _key(
        _texts(_address, 1), _default_listen, "serve gRPC here", "unix:PATH|HOST:PORT"
    )
    registry_listen: str = _key(
        _host_port, str, "serve the registry inside here; off if not set", "HOST:PORT"
    )
    registry_host: str = _key(
        _registry,
        str,
        "the host that names the registry's own images; its address if not set",
        "HOST[:PORT]",
    )
    registry_read_only: bool = _key(
        _switch, bool, "let the registry inside serve, and take and delete nothing"
    )
    registry_htpasswd: str = _key(
        _path, str, "who may use the registry inside: an htpasswd file, bcrypt only", "FILE"
    )
    registry_anonymous_read: bool = _key(
        _switch, bool, "let everybody read the registry inside, and only users write"
    )
    registry_token_realm: str = _key(
        _url, str, "the token server of the registry inside, instead of an htpasswd file", "URL"
    )
    registry_token_service: str = _key(
        _parameter, str, "the registry's name at the token server, and the tokens' audience", "NAME"
    )
    registry_token_issuer: str = _key(_text, str, "the issuer that tokens must have", "NAME")
    registry_token_keys: str = _key(
        _path, str, "what tokens are signed with: a JWK set, or certificates in PEM", "FILE"
    )
    registry_tls_certificate: str = _key(
        _path, str, "serve the registry inside with TLS: the certificate and its chain", "FILE"
    )
    registry_tls_key: str = _key(_path, str, "the certificate's private key, in PEM", "FILE")
    registry_cache: list[str] = _key(
        _texts(_registry),
        list,
        "a registry whose images the registry inside fetches when they are asked for",
        "HOST[:PORT]",
    )
    registry_cache_default: str = _key(
        _registry, str, "the one of them whose images need no host in their path", "HOST[:PORT]"
    )
    registry_cache_fresh: float = _key(
        _number(0, 7 * 86400),
        lambda: 60.0,
        "how long a cached tag is not asked for again",
        "SECONDS",
    )
    samples: bool = _key(_switch, bool, "fill the registry inside with sample images")
    plain_http: list[str] = _key(
        _texts(_registry), list, "a registry that is called without TLS", "HOST[:PORT]"
    )
    allowed_hosts: list[str] = _key(
        _texts(_host),
        list,
        "a private host that redirects and token realms may name",
        "HOST[:PORT]",
    )
    allowed_registries: list[str] = _key(
        _texts(_pattern),
        list,
        "a registry that may be called; every other host then may not",
        "HOST[:PORT]|*.DOMAIN[:PORT]",
    )
    denied_registries: list[str] = _key(
        _texts(_pattern),
        list,
        "a registry that may not be called, whatever leads there",
        "HOST[:PORT]|*.DOMAIN[:PORT]",
    )
    proof_lifetime: float = _key(
        _number(0, 365 * 86400),
        lambda: 3600.0,
        "how long credentials that a registry has accepted open what is stored",
        "SECONDS",
    )
    share_private: bool = _key(
        _switch, bool, "let everybody have what came with somebody's credentials"
    )
    search_host: str = _key(
        _registry, str, "the registry to search instead of Docker Hub", "HOST[:PORT]"
    )
    registries: dict[str, RegistrySettings] = _key(
        parse_registries, dict, "what holds for single registries: mirrors, TLS, users", "TOML"
    )
    hosts_dir: str = _key(
        _path, str, "the same in containerd's form: a folder of HOST/hosts.toml", "DIR"
    )
    docker_config: str = _key(
        _path, str, "take credentials from here, and from the helpers that it names", "FILE"
    )
    max_host_requests: int = _key(
        _integer(1, 10_000), lambda: 64, "how many requests one host gets at once", "N"
    )
    connect_timeout: float = _key(
        _number(0.1, 300), lambda: 10.0, "how long a registry may take to accept", "SECONDS"
    )
    read_timeout: float = _key(
        _number(0.1, 3600), lambda: 30.0, "how long a registry may send nothing", "SECONDS"
    )
    max_running_transfers: int = _key(
        _integer(1, 10_000), lambda: 64, "how many transfers run at once", "N"
    )
    max_pending_transfers: int = _key(
        _integer(0, 100_000), lambda: 5000, "how many more wait before one is refused", "N"
    )
    max_concurrent_blobs: int = _key(
        _integer(1, MAX_CONCURRENT_BLOBS),
        lambda: 6,
        "how many blobs one transfer moves at once",
        "N",
    )
    max_bytes_per_second: int = _key(
        _rate, lambda: 0, "how many bytes of blobs move in a second; 0 is no bound", "BYTES"
    )
    range_threshold: int = _key(
        _integer(1, 2**53),
        lambda: 64 << 20,
        "how large a blob is that is fetched by parts, perhaps several at once",
        "BYTES",
    )
    range_size: int = _key(
        _integer(1 << 20, 1 << 30), lambda: 16 << 20, "how large such a part is at least", "BYTES"
    )
    max_blob_streams: int = _key(
        _integer(1, 64), lambda: 6, "how many parts of one blob are fetched at once", "N"
    )
    transfer_retention: float = _key(
        _number(1, 365 * 86400),
        lambda: 86400.0,
        "how long ended transfers are remembered",
        "SECONDS",
    )
    partial_lifetime: float = _key(
        _number(0, 365 * 86400),
        lambda: 7 * 86400.0,
        "how long what a failed pull has left is kept for the next one",
        "SECONDS",
    )
    snapshotter: str = _key(
        _choice("auto", "overlay", "copy"),
        lambda: "auto",
        "how layers become root file systems: overlayfs, or copied trees",
        "auto|overlay|copy",
    )
    unpack_workers: int = _key(
        _integer(0, 64), int, "how many layers are unpacked at once; 0 by processors", "N"
    )
    max_layer_bytes: int = _key(
        _integer(1, 1 << 50), lambda: 64 << 30, "the most that a layer may unpack to", "BYTES"
    )
    max_layer_entries: int = _key(
        _integer(1, 100_000_000), lambda: 2_000_000, "the most files of a layer", "N"
    )
    max_layer_ratio: int = _key(
        _integer(1, 100_000),
        lambda: 500,
        "the most bytes that a stored byte of a layer beyond 1 GiB may unpack to",
        "N",
    )
    mount_roots: list[str] = _key(
        _texts(_folder),
        list,
        "a folder below which callers may ask for bundles and mounts",
        "DIR",
    )
    layout_roots: list[str] = _key(
        _texts(_folder),
        list,
        "a folder below which callers may read and write OCI layouts",
        "DIR",
    )
    high_water: str = _key(
        _water,
        str,
        "take images unused for longest when the disk, or the store, is fuller; off if not set",
        "PERCENT%|SIZE",
    )
    low_water: str = _key(
        _water,
        str,
        "and stop when it is no fuller than this; the high mark if not set",
        "PERCENT%|SIZE",
    )
    event_retention: float = _key(
        _number(60, 10 * 365 * 86400),
        lambda: 7 * 86400.0,
        "how long the store's history is kept",
        "SECONDS",
    )
    drain: float = _key(
        _number(0, 600), lambda: 5.0, "how long open calls get to end at a stop", "SECONDS"
    )
    log_level: str = _key(
        _choice("debug", "info", "warning", "error"),
        lambda: "info",
        "the least to log",
        "debug|info|warning|error",
    )
    log_format: str = _key(_choice("json", "text"), lambda: "json", "how to log", "json|text")


def add_flags(parser: argparse.ArgumentParser, *names: str) -> None:
    """Adds `--config` and a flag for each of the keys, by default for every one."""
    parser.add_argument("--config", metavar="FILE", help="a TOML file with keys (IMGD_CONFIG)")
    for key in fields(Config):
        if names and key.name not in names:
            continue
        assert key.default_factory is not dataclasses.MISSING
        default = key.default_factory()
        parser.add_argument(
            f"--{key.name.replace('_', '-')}",
            # argparse expands % in help texts.
            help=f"{key.metadata['help']} ({_source(key.name, default)})".replace("%", "%%"),
            **_behaviour(default, key.metadata["unit"]),
        )


def _behaviour(default: object, unit: str) -> dict[str, Any]:
    if isinstance(default, bool):
        return {"action": argparse.BooleanOptionalAction}
    return {"action": "append" if isinstance(default, list) else "store", "metavar": unit}


def _source(name: str, default: object) -> str:
    """Where else a key can be set, and what it is when nobody sets it."""
    values = default if isinstance(default, list) else [default]
    shown = [f"{one:g}" if isinstance(one, float) else f"{one}" for one in values if one]
    repeats = ["repeats"] if values is default else []
    return "; ".join([*repeats, _variable(name), *(f"default {one}" for one in shown)])


def _variable(name: str) -> str:
    return f"IMGD_{name.upper()}"


def load(
    flags: Mapping[str, Any] | None = None, environment: Mapping[str, str] | None = None
) -> Config:
    """The configuration. Raises FIELD_INVALID that names the key and its place."""
    flags = flags or {}
    environment = os.environ if environment is None else environment
    path = flags.get("config") or environment.get("IMGD_CONFIG")
    from_file = _read(path) if path else {}
    unknown = sorted(set(from_file) - {key.name for key in fields(Config)})
    if unknown:
        raise _invalid(unknown[0], f"the file {path}", "no such key")
    values: dict[str, Any] = {}
    for key in fields(Config):
        variable = _variable(key.name)
        places: Sequence[tuple[str, object]] = (
            (f"the flag --{key.name.replace('_', '-')}", flags.get(key.name)),
            (f"the environment's {variable}", environment.get(variable) or None),
            (f"the file {path}", from_file.get(key.name)),
        )
        place, value = next(((place, one) for place, one in places if one is not None), ("", None))
        if value is not None:
            try:
                values[key.name] = key.metadata["parse"](value)
            except ValueError as error:
                raise _invalid(key.name, place, str(error)) from None
    return Config(**values)


def _read(path: str) -> dict[str, Any]:
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except (OSError, ValueError) as error:
        raise Error(Reason.FIELD_INVALID, f"configuration file {path}: {error}") from None


def _invalid(key: str, place: str, why: str) -> Error:
    return Error(Reason.FIELD_INVALID, f"{key} (from {place}): {why}")

"""References: how people name images."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from ._digest import Digest
from ._errors import FormatError, show

if TYPE_CHECKING:
    from collections.abc import Collection

DEFAULT_DOMAIN: Final = "docker.io"
DEFAULT_TAG: Final = "latest"
MAX_PATH: Final = 255
MAX_TAG: Final = 128
MAX_REFERENCE: Final = 4096
"""The grammar bounds path and tag but no host; DNS has at most 253 characters."""

_LEGACY_DOMAIN: Final = "index.docker.io"
_OFFICIAL: Final = "library/"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ID = re.compile(r"[0-9a-f]{64}")
_LABEL = re.compile(r"[A-Za-z0-9-]+")
_IPV6 = re.compile(r"\[[0-9A-Fa-f:]+\]")
_PORT = re.compile(r"[0-9]+")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:__|[._]|-+)[a-z0-9]+)*")
_COMPONENT_BYTES = re.compile(r"[a-z0-9._-]+")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


class ReferenceClass(StrEnum):
    """Who stands behind a reference's name."""

    OFFICIAL = "OFFICIAL"
    """Docker Hub, ``library/``."""
    COMMUNITY = "COMMUNITY"
    """Docker Hub, another namespace."""
    THIRD_PARTY = "THIRD_PARTY"
    """Another registry."""
    LOCAL = "LOCAL"
    """This machine, or our own registry."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A normalised reference: ``domain/path[:tag][@digest]`` (distribution/reference v0.6).

    Every instance is valid and normalised, however it was made: ``index.docker.io`` becomes
    ``docker.io``, and a single component there gets ``library/``.

    Attributes:
        domain: The registry's host with its port, as written.
        path: The repository in it, lower case.
        tag: The tag, if one was given.
        digest: The digest, if one was given; it decides where there is a tag too.

    Raises:
        FormatError: ``REFERENCE_INVALID``.
    """

    domain: str
    path: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        domain, path = self.domain, self.path
        if domain == _LEGACY_DOMAIN:
            domain = DEFAULT_DOMAIN
        if domain == DEFAULT_DOMAIN and path and "/" not in path:
            path = _OFFICIAL + path
        object.__setattr__(self, "domain", domain)
        object.__setattr__(self, "path", path)
        _check_domain(domain)
        _check_path(path)
        if self.tag is not None:
            _check_tag(self.tag)
        if self.digest is not None:
            object.__setattr__(self, "digest", Digest.parse(self.digest))

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read what a person wrote; no default tag is added.

        Raises:
            FormatError: ``REFERENCE_INVALID``; of the digest's part ``DIGEST_INVALID`` or
                ``DIGEST_UNSUPPORTED``.
        """
        _check_whole(text)
        # No part but the separator itself can hold an '@', so the first one splits.
        named, at, digest = text.partition("@")
        if not named:
            raise _bad("a digest alone names no repository: write name@digest", text)
        domain, remainder = _split_domain(named)
        path, colon, tag = remainder.partition(":")
        if not path:
            raise _bad("a reference needs a repository's name", text)
        return cls(
            domain,
            path,
            tag if colon else None,
            _digest(digest, text) if at else None,
        )

    @property
    def name(self) -> str:
        """The full name without tag and digest: ``docker.io/library/redis``."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: ``redis``.

        As in Docker, it is for reading: ``docker.io/localhost/x`` shows as ``localhost/x``, which
        parses as something else. What is stored is `name`.
        """
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        single = self.path.removeprefix(_OFFICIAL)
        return self.path if "/" in single else single

    def __str__(self) -> str:
        return self.name + self._suffix()

    def familiar(self) -> str:
        """Return the whole reference as people write it: ``redis:7``."""
        return self.familiar_name + self._suffix()

    def with_default_tag(self) -> Reference:
        """Return it with the tag ``latest``, if it has neither tag nor digest."""
        return self if self.tag or self.digest else replace(self, tag=DEFAULT_TAG)

    def with_tag(self, tag: str) -> Reference:
        """Return it with this tag; a digest stays. ``REFERENCE_INVALID`` for a bad tag."""
        return replace(self, tag=tag)

    def classify(self, own_hosts: Collection[str] = ()) -> ReferenceClass:
        """Say who stands behind the name; `own_hosts` are our own registry's ``host[:port]``."""
        domain = self.domain.lower()
        if domain in {host.lower() for host in own_hosts} or is_loopback_host(_host(domain)):
            return ReferenceClass.LOCAL
        if self.domain != DEFAULT_DOMAIN:
            return ReferenceClass.THIRD_PARTY
        official = self.path.startswith(_OFFICIAL)
        return ReferenceClass.OFFICIAL if official else ReferenceClass.COMMUNITY

    def _suffix(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        return tag if self.digest is None else f"{tag}@{self.digest}"


def _bad(rule: str, part: str) -> FormatError:
    return FormatError("REFERENCE_INVALID", f"{rule}: {show(part)}", part)


def _check_whole(text: str) -> None:
    if not text:
        raise FormatError("REFERENCE_INVALID", "a reference must not be empty")
    if len(text) > MAX_REFERENCE:
        raise _bad(f"a reference has at most {MAX_REFERENCE} characters", text)
    scheme = _SCHEME.match(text)
    if scheme:
        raise _bad(f"a reference has no scheme: leave out {scheme[0]!r}", text)
    if not text.isascii():
        part = next(character for character in text if not character.isascii())
        raise FormatError(
            "REFERENCE_INVALID",
            f"a reference is ASCII, and {show(text)} holds {part!a}",
            text,
        )
    if any(character <= " " or character == "\x7f" for character in text):
        raise _bad("a reference holds no white space and no control characters", text)
    if _ID.fullmatch(text):
        raise _bad("64 hexadecimal digits are an image's ID, not a name", text)


def _split_domain(named: str) -> tuple[str, str]:
    first, slash, rest = named.partition("/")
    if slash and _names_host(first):
        return first, rest
    return DEFAULT_DOMAIN, named


def _names_host(first: str) -> bool:
    return first == "localhost" or "." in first or ":" in first or first != first.lower()


def _check_domain(domain: str) -> None:
    if not domain.isascii():
        raise _bad("a registry's host is ASCII (write an international name as xn--…)", domain)
    if domain.startswith("["):
        host, bracket, port = domain.partition("]")
        host += bracket
        colon, port = port[:1], port[1:]
        if not _IPV6.fullmatch(host) or colon not in ("", ":"):
            raise _bad("a registry's IPv6 address is [hexadecimal digits and ':']", domain)
    else:
        host, colon, port = domain.partition(":")
        for label in host.split("."):
            if not _LABEL.fullmatch(label) or label[0] == "-" or label[-1] == "-":
                raise _bad(
                    f"a registry's host {show(domain)} is made of labels joined by '.', each of "
                    "letters, digits and inner '-', unlike",
                    label,
                )
    if colon and not _PORT.fullmatch(port):
        raise _bad(f"the port of the registry's host {show(domain)} must be a number, unlike", port)
    if not _names_host(domain):
        raise _bad("a registry's host is 'localhost' or holds '.', ':' or upper case", domain)


def _check_path(path: str) -> None:
    if not path:
        raise _bad("a reference needs a repository's name", path)
    if len(path) > MAX_PATH:
        raise _bad(f"a repository's path has at most {MAX_PATH} characters, not {len(path)}", path)
    if path != path.lower():
        raise _bad("a repository's name must be lower case", path)
    for component in path.split("/"):
        if not component:
            raise _bad("a repository's name has no empty component between '/'", path)
        if not _COMPONENT_BYTES.fullmatch(component):
            raise _bad(
                "a component of a repository's name holds a-z, 0-9, '.', '_' and '-' only",
                component,
            )
        if not _COMPONENT.fullmatch(component):
            raise _bad(
                "a component of a repository's name starts and ends with a letter or digit, and "
                "between them stands one '.', one or two '_', or any number of '-'",
                component,
            )


def _check_tag(tag: str) -> None:
    if not tag:
        raise _bad("a tag must not be empty after its ':'", tag)
    if len(tag) > MAX_TAG:
        raise _bad(f"a tag has at most {MAX_TAG} characters, not {len(tag)}", tag)
    if not _TAG.fullmatch(tag):
        raise _bad("a tag starts with a letter, digit or '_', then also '.' and '-'", tag)


def _digest(digest: str, text: str) -> Digest:
    try:
        return Digest.parse(digest)
    except FormatError as error:
        raise FormatError(
            error.reason, f"in the reference {show(text)}: {error}", error.subject
        ) from error


def is_loopback_host(host: str) -> bool:
    """Say whether a host (no port, no brackets) is this machine by its name alone.

    ``localhost`` and what is below it (RFC 6761, section 6.3), 127.0.0.0/8 and ::1, also where
    IPv6 stands for IPv4.
    """
    host = host.lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return address.is_loopback or (mapped is not None and bool(mapped.is_loopback))


def _host(domain: str) -> str:
    return domain[1:].partition("]")[0] if domain.startswith("[") else domain.partition(":")[0]

"""Who may do what: open to all, users with passwords, or tokens of a token server."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog
from aiohttp import web

from imgd_server.distribution._htpasswd import Passwords
from imgd_server.distribution._protocol import Refusal, refuse
from imgd_server.distribution._watched import invalid

if TYPE_CHECKING:
    from imgd_server.distribution._tokens import Verifier

__all__ = ["CATALOG", "GRANT", "Access", "AccessConfig", "Grant", "OpenAccess", "open_access"]

_log = structlog.get_logger(__name__)

CATALOG = ("registry", "catalog")
"""The resource that a list of repositories is; its action is `*`."""
_REALM = 'Basic realm="imgd"'
# A challenge's scope for each action: clients that push look first.
_SCOPES = {"pull": "pull", "push": "pull,push", "delete": "delete", "*": "*"}


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """The keys of the configuration, without their `registry_`; empty ones are not set."""

    htpasswd: str = ""
    anonymous_read: bool = False
    token_realm: str = ""
    token_service: str = ""
    token_issuer: str = ""
    token_keys: str = ""


@dataclass(frozen=True, slots=True)
class Grant:
    """What the sender of a request may do.

    `known` says that it has proven who it is; `reads` and `writes` are about everything, `access`
    about single resources: actions by (type, name).
    """

    known: bool = False
    reads: bool = False
    writes: bool = False
    access: Mapping[tuple[str, str], frozenset[str]] = field(default_factory=dict)

    def may(self, resource: tuple[str, str], action: str) -> bool:
        """Whether it may do that."""
        if self.writes or (self.reads and (action == "pull" or resource == CATALOG)):
            return True
        return not self.access.get(resource, frozenset()).isdisjoint((action, "*"))

    @property
    def readable(self) -> list[str] | None:
        """The names of the repositories that it may read; None for all."""
        if self.reads or self.writes:
            return None
        named = [name for kind, name in self.access if kind == "repository"]
        return [name for name in named if self.may(("repository", name), "pull")]


GRANT: ContextVar[Grant] = ContextVar("grant")
"""What the sender of the request under way may do."""


class Access(Protocol):
    """A way to control access."""

    controlled: bool
    """Whether it refuses anybody."""

    async def identify(self, request: web.Request) -> Grant:
        """What a request's sender may do. Refuses wrong credentials, also where none are needed."""
        ...

    def refusal(self, grant: Grant, resource: tuple[str, str] | None, action: str) -> Refusal:
        """The answer to what was not granted, which says how to log in; None for no resource."""
        ...

    def close(self) -> None:
        """Lets go of threads."""
        ...


class OpenAccess:
    """Everybody may do everything."""

    controlled = False

    async def identify(self, request: web.Request) -> Grant:
        """See Access."""
        return Grant(known=True, reads=True, writes=True)

    def refusal(self, grant: Grant, resource: tuple[str, str] | None, action: str) -> Refusal:
        """See Access."""
        raise AssertionError("nothing is refused")

    def close(self) -> None:
        """See Access."""


class _PasswordAccess:
    """Users of an htpasswd file, who may do everything; others read where that is allowed."""

    controlled = True

    def __init__(self, passwords: Passwords, *, anonymous_read: bool) -> None:
        self._passwords = passwords
        self._anonymous = Grant(reads=anonymous_read)

    async def identify(self, request: web.Request) -> Grant:
        """See Access."""
        header = request.headers.get("Authorization", "")
        user, password = _basic(header)
        # Skopeo and podman send an empty pair when they have none.
        if not header or (user, password) == (b"", b""):
            return self._anonymous
        address = request.remote or ""
        if user is not None and await self._passwords.check(user, password, address):
            return Grant(known=True, reads=True, writes=True)
        _log.info("registry login refused", address=address)
        raise _unauthorized("the user or the password is wrong", _REALM)

    def refusal(self, grant: Grant, resource: tuple[str, str] | None, action: str) -> Refusal:
        """See Access."""
        return _unauthorized("log in first", _REALM)

    def close(self) -> None:
        """See Access."""
        self._passwords.close()


class _TokenAccess:
    """Whoever has a token may do what it says."""

    controlled = True

    def __init__(self, verifier: Verifier, realm: str, service: str) -> None:
        self._verifier = verifier
        self._challenge = f'Bearer realm="{realm}",service="{service}"'

    async def identify(self, request: web.Request) -> Grant:
        """See Access."""
        from imgd_server.distribution._tokens import TokenError

        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            # Credentials of another kind are for the token server: the challenge says where.
            return Grant()
        try:
            return Grant(known=True, access=self._verifier.access(token.strip()))
        except TokenError as error:
            _log.info("registry token refused", address=request.remote or "", why=str(error))
            raise _unauthorized(
                "the token is not taken: get another", f'{self._challenge},error="invalid_token"'
            ) from None

    def refusal(self, grant: Grant, resource: tuple[str, str] | None, action: str) -> Refusal:
        """See Access."""
        challenge = self._challenge
        if resource:
            challenge += f',scope="{resource[0]}:{resource[1]}:{_SCOPES[action]}"'
        if grant.known:
            challenge += ',error="insufficient_scope"'
        return _unauthorized("a token with access to it is needed", challenge)

    def close(self) -> None:
        """See Access."""


def open_access(config: AccessConfig) -> Access:
    """The access control that is configured. Raises FIELD_INVALID with the key's name."""
    tokens = {
        "registry_token_realm": config.token_realm,
        "registry_token_service": config.token_service,
        "registry_token_issuer": config.token_issuer,
        "registry_token_keys": config.token_keys,
    }
    missing = [key for key, value in tokens.items() if not value]
    if config.anonymous_read and not config.htpasswd:
        raise invalid(
            "registry_anonymous_read",
            "needs registry_htpasswd; a token server says itself who may read",
        )
    if len(missing) == len(tokens):
        if not config.htpasswd:
            return OpenAccess()
        passwords = Passwords(config.htpasswd)
        return _PasswordAccess(passwords, anonymous_read=config.anonymous_read)
    if config.htpasswd:
        raise invalid("registry_htpasswd", "users or tokens, not both: leave one out")
    if missing:
        raise invalid(missing[0], "tokens need it, beside the other keys that begin so")
    # It brings the cryptography package along, which few daemons need.
    from imgd_server.distribution._tokens import Verifier

    verifier = Verifier(config.token_keys, config.token_issuer, config.token_service)
    return _TokenAccess(verifier, config.token_realm, config.token_service)


def _unauthorized(message: str, challenge: str) -> Refusal:
    return refuse("UNAUTHORIZED", message, headers={"WWW-Authenticate": challenge})


def _basic(header: str) -> tuple[bytes | None, bytes]:
    """User and password (RFC 7617); None for a header that has none."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None, b""
    try:
        pair = base64.b64decode(text.strip(), validate=True)
    except binascii.Error:
        return None, b""
    user, colon, password = pair.partition(b":")
    return (user, password) if colon else (None, b"")

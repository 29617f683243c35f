"""Authentication at registries: Basic, and Docker's token flow (distribution spec, token.md)."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from urllib.parse import SplitResult, urlencode, urlsplit

from imgd_server.errors import Error, Reason
from imgd_server.registry._protocol import Cancellation, Credentials
from imgd_server.registry._transport import Transport

__all__ = ["Authenticator", "Challenge", "parse_challenges"]

_MAX_TOKEN_ANSWER = 1 << 20
# Docker's documentation: a token without expires_in lives so long.
_DEFAULT_LIFE = 60.0
# A token that ends within the next request is no use.
_MARGIN = 5.0

_SCHEME = re.compile(r"\s*,*\s*([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*)(?:[ \t]+|$|,)")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a WWW-Authenticate header (RFC 9110, 11.6.1); names in lower case."""

    scheme: str
    parameters: dict[str, str]


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges in a header; what can't be read ends the list."""
    found, position = [], 0
    while match := _SCHEME.match(header, position):
        position = match.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            name, quoted, plain = parameter.groups()
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            parameters[name.lower()] = value
            position = parameter.end()
        found.append(Challenge(match[1].lower(), parameters))
    return found


class Authenticator:
    """Knows which Authorization to send, and learns it from challenges."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str, str], tuple[str, float]] = {}
        # One thread asks for a token; the others wait for it.
        self._asking: dict[tuple[str, str, str], threading.Lock] = defaultdict(threading.Lock)

    def header(self, host: str, scope: str, credentials: Credentials | None) -> str:
        """The Authorization to begin with; empty for none."""
        if credentials and credentials.registry_token:
            return f"Bearer {credentials.registry_token}"
        with self._lock:
            value, until = self._known.get(_key(host, scope, credentials), ("", 0.0))
        return value if time.monotonic() < until else ""

    def answer(
        self,
        registry: SplitResult,
        challenge_header: str,
        scope: str,
        credentials: Credentials | None,
        refused: str,
        cancellation: Cancellation,
    ) -> str:
        """The Authorization that meets a challenge; empty when there is none to offer.

        `refused` is what was sent before: a token that another thread got meanwhile is used, and
        the refused one is not.
        """
        if credentials and credentials.registry_token:
            return ""
        key = _key(registry.netloc, scope, credentials)
        with self._lock:
            asking = self._asking[key]
        with asking:
            known = self.header(registry.netloc, scope, credentials)
            if known and known != refused:
                return known
            for challenge in parse_challenges(challenge_header):
                if challenge.scheme == "bearer":
                    value, life = self._token(registry, challenge, scope, credentials, cancellation)
                elif challenge.scheme == "basic" and credentials and credentials.user:
                    value, life = _basic(credentials), float("inf")
                    if value == refused:
                        return ""
                else:
                    continue
                with self._lock:
                    self._known[key] = (value, time.monotonic() + life)
                return value
        return ""

    def _token(
        self,
        registry: SplitResult,
        challenge: Challenge,
        scope: str,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> tuple[str, float]:
        realm = urlsplit(challenge.parameters.get("realm", ""))
        host = registry.netloc
        if realm.scheme not in ("http", "https") or not realm.hostname:
            raise Error(Reason.REGISTRY_PROTOCOL, f"{host} names no usable token realm", host=host)
        if realm.scheme == "http" and registry.scheme != "http":
            raise Error(Reason.EGRESS_DENIED, f"{host} names a token realm without TLS", host=host)
        query = {"service": challenge.parameters.get("service", ""), "scope": scope}
        headers = {"Accept": "application/json"}
        body = None
        method = "GET"
        if credentials and credentials.identity_token:
            method = "POST"
            form = {
                **query,
                "grant_type": "refresh_token",
                "refresh_token": credentials.identity_token,
                "client_id": "imgd",
            }
            body = urlencode(form).encode()
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        else:
            separator = f"{realm.query}&" if realm.query else ""
            realm = realm._replace(
                query=separator + urlencode({name: value for name, value in query.items() if value})
            )
            if credentials and credentials.user:
                headers["Authorization"] = _basic(credentials)
        with self._transport.send(
            method,
            realm,
            headers,
            body,
            named=realm.hostname == registry.hostname,
            cancellation=cancellation,
        ) as response:
            data = response.read(_MAX_TOKEN_ANSWER)
        if response.status in (400, 401, 403):
            raise Error(
                Reason.REGISTRY_UNAUTHORIZED,
                f"{realm.netloc} gives no token for {host}: check the user and password",
                host=realm.netloc,
                http_status=response.status,
            )
        if response.status >= 500 or response.status == 429:
            raise Error(
                Reason.REGISTRY_UNAVAILABLE,
                f"{realm.netloc} gives no token now: HTTP {response.status}",
                host=realm.netloc,
                http_status=response.status,
            )
        return _parse_token(data, realm.netloc, response.status)


def _parse_token(data: bytes, host: str, status: int) -> tuple[str, float]:
    try:
        answer = json.loads(data) if status == 200 and len(data) <= _MAX_TOKEN_ANSWER else {}
        token = answer.get("token") or answer.get("access_token")
        life = float(answer.get("expires_in") or _DEFAULT_LIFE)
        if isinstance(token, str) and token.isascii() and token.isprintable():
            return f"Bearer {token}", max(life - _MARGIN, 1.0)
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise Error(Reason.REGISTRY_PROTOCOL, f"{host} answers no token", host=host, http_status=status)


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.user}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _key(host: str, scope: str, credentials: Credentials | None) -> tuple[str, str, str]:
    return host, scope, credentials.scope if credentials else ""

"""Authentication at registries: Basic, and Docker's token flow (distribution, spec/auth)."""

from __future__ import annotations

import base64
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

from imgd_server.errors import Error, Reason
from imgd_server.registry._answers import retry_after
from imgd_server.registry._http import Response
from imgd_server.registry._protocol import Cancellation, Credentials, come_again
from imgd_server.registry._transport import Request, Transport
from imgd_server.registry._url import Url

__all__ = ["Authenticator", "Challenge", "held", "parse_challenges"]

# Real answers have 1 to 8 KiB; the token goes into a header.
_MAX_TOKEN_ANSWER = 64 << 10
# Docker's documentation: a token without expires_in lives so long.
_DEFAULT_LIFE = 60.0
# A token that ends within the next request is no use.
_MARGIN = 5.0
# Grants remembered: one for each repository and credentials in use.
_MAX_GRANTS = 1000
# A lock can't be woken by a cancellation, so the wait looks up so often.
_LOOK_UP = 0.1

# One class of characters before a word, not two: that would try each split of a run of blanks.
_SCHEME = re.compile(r"[\s,]*([A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]*)(?=[\s,]|$)")
_PARAMETER = re.compile(r'[\s,]*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')


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


@dataclass(slots=True)
class _Grant:
    """The Authorization for one scope at one registry; `until` is of `time.monotonic`."""

    value: str = field(default="", repr=False)
    until: float = 0.0
    # One thread asks for a token; the others wait for it.
    asking: threading.Lock = field(default_factory=threading.Lock)


class Authenticator:
    """Knows which Authorization to send, and learns it from challenges."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._lock = threading.Lock()
        self._grants: OrderedDict[object, _Grant] = OrderedDict()

    def header(self, registry: Url, scope: str, credentials: Credentials | None) -> str:
        """The Authorization to begin with; empty for none."""
        if credentials and credentials.registry_token:
            return _bearer(credentials.registry_token)
        grant = self._grant(registry, scope, credentials)
        return grant.value if time.monotonic() < grant.until else ""

    def answer(
        self,
        registry: Url,
        challenges: str,
        scope: str,
        credentials: Credentials | None,
        refused: str,
        cancellation: Cancellation,
    ) -> str:
        """The Authorization that meets a WWW-Authenticate header; empty when there is none.

        `refused` is what was sent before: a token that another thread got meanwhile is used, and
        the refused one is not. Of several challenges the strongest is met. Raises
        REGISTRY_UNAUTHORIZED when no token is given, and what `Transport.send` raises.
        """
        if credentials and credentials.registry_token:
            return ""
        met = {one.scheme: one for one in reversed(parse_challenges(challenges))}
        grant = self._grant(registry, scope, credentials)
        with held(grant.asking, cancellation):
            if grant.value != refused and time.monotonic() < grant.until:
                return grant.value
            life = float("inf")
            if "bearer" in met:
                flow = _TokenFlow(self._transport, registry, met["bearer"], scope, credentials)
                token = flow.run(cancellation)
                value, life = token.value, token.life
            elif "basic" in met and credentials and credentials.user:
                value = _basic(credentials)
            else:
                value = refused
            if value == refused:
                return ""
            grant.value, grant.until = value, time.monotonic() + life
            return value

    def prove(
        self, registry: Url, challenges: str, credentials: Credentials, cancellation: Cancellation
    ) -> tuple[str, str]:
        """An Authorization that comes of these credentials now, and of nothing remembered, and the
        identity token to keep instead of them. Each is empty where there is none.

        Raises what `answer` raises.
        """
        if credentials.registry_token:
            return _bearer(credentials.registry_token), ""
        met = {one.scheme: one for one in reversed(parse_challenges(challenges))}
        if "bearer" in met:
            flow = _TokenFlow(
                self._transport, registry, met["bearer"], "", credentials, offline=True
            )
            token = flow.run(cancellation)
            return token.value, token.identity
        return (_basic(credentials) if "basic" in met and credentials.user else ""), ""

    def _grant(self, registry: Url, scope: str, credentials: Credentials | None) -> _Grant:
        key = registry.origin, scope, credentials.scope if credentials else ""
        with self._lock:
            grant = self._grants.setdefault(key, _Grant())
            self._grants.move_to_end(key)
            if len(self._grants) > _MAX_GRANTS:
                self._grants.popitem(last=False)
            return grant


@dataclass(frozen=True, slots=True)
class _Token:
    """What a token server gives: the Authorization, for how many seconds it is good, and the token
    to ask for the next one with, if there is one."""

    value: str = field(repr=False)
    life: float
    identity: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class _TokenFlow:
    """One request for a token; `offline` also asks for one to keep."""

    transport: Transport
    registry: Url
    challenge: Challenge
    scope: str
    credentials: Credentials | None
    offline: bool = False

    def run(self, cancellation: Cancellation) -> _Token:
        """Asks."""
        realm = self._realm()
        form = [("scope", scope) for scope in self._scopes()]
        if service := self.challenge.parameters.get("service"):
            form.append(("service", service))
        request = self._post if self.credentials and self.credentials.identity_token else self._get
        with self.transport.send(request(realm, form), cancellation) as response:
            data = response.read(_MAX_TOKEN_ANSWER)
        if response.status == 200 and (found := _parse_token(data)):
            return found
        raise self._failure(response)

    def _failure(self, response: Response) -> Error:
        host, status = response.host, response.status
        wait = retry_after(response.headers.get("retry-after", ""))
        if status in (400, 401, 403):
            reason = Reason.REGISTRY_UNAUTHORIZED
            advice = "check the user and password" if self.credentials else "log in"
            why = f"gives no token for {self.registry.label}: {advice}"
        elif status == 429:
            reason = Reason.REGISTRY_RATE_LIMITED
            why = f"limits requests for tokens: {come_again(wait)}"
        elif status >= 500:
            reason, why = Reason.REGISTRY_UNAVAILABLE, f"gives no token now: HTTP {status}"
        else:
            reason, why = Reason.REGISTRY_PROTOCOL, f"answers no token: HTTP {status}"
        return Error(
            reason,
            f"{host} {why}",
            host=host,
            http_status=status,
            retry_after=wait,
        )

    def _realm(self) -> Url:
        host = self.registry.label
        try:
            realm = Url.parse(self.challenge.parameters.get("realm", ""))
        except ValueError:
            raise Error(
                Reason.REGISTRY_PROTOCOL, f"{host} names no usable token realm", host=host
            ) from None
        if realm.scheme == "http" and self.registry.scheme != "http":
            raise Error(Reason.EGRESS_DENIED, f"{host} names a token realm without TLS", host=host)
        return realm

    def _scopes(self) -> Iterator[str]:
        yield from self.scope.split()
        # Some registries grant what they call otherwise (`aws`), and nothing without it.
        known = {_resource(scope) for scope in self.scope.split()}
        for asked in self.challenge.parameters.get("scope", "").split():
            if _resource(asked) not in known:
                yield asked

    def _get(self, realm: Url, form: list[tuple[str, str]]) -> Request:
        if self.offline and self.credentials:
            form += [
                ("account", self.credentials.user),
                ("client_id", "imgd"),
                ("offline_token", "true"),
            ]
        separator = "&" if "?" in realm.target else "?"
        return Request(
            "GET",
            Url(realm.scheme, realm.host, realm.port, realm.target + separator + urlencode(form)),
            {"Accept": "application/json"},
            _basic(self.credentials) if self.credentials and self.credentials.user else "",
            self.registry.host,
            account=self.credentials.scope if self.credentials else "",
        )

    def _post(self, realm: Url, form: list[tuple[str, str]]) -> Request:
        assert self.credentials
        form += [
            ("grant_type", "refresh_token"),
            ("refresh_token", self.credentials.identity_token),
            ("client_id", "imgd"),
        ]
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }
        return Request(
            "POST",
            realm,
            headers,
            named=self.registry.host,
            body=urlencode(form).encode(),
            account=self.credentials.scope,
        )


def _resource(scope: str) -> str:
    return scope.rpartition(":")[0]


def _parse_token(data: bytes) -> _Token | None:
    try:
        answer = json.loads(data) if len(data) <= _MAX_TOKEN_ANSWER else {}
        token = answer.get("token") or answer.get("access_token")
        life = float(answer.get("expires_in") or _DEFAULT_LIFE)
        if isinstance(token, str) and _fits_header(token):
            identity = answer.get("refresh_token")
            kept = identity if isinstance(identity, str) else ""
            return _Token(f"Bearer {token}", max(life - _MARGIN, 1.0), kept)
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    return None


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.user}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _bearer(token: str) -> str:
    if not _fits_header(token):
        raise Error(
            Reason.REGISTRY_UNAUTHORIZED, "the registry token holds what no header may hold"
        )
    return f"Bearer {token}"


def _fits_header(text: str) -> bool:
    return bool(text) and text.isascii() and text.isprintable()


@contextmanager
def held(lock: threading.Lock, cancellation: Cancellation) -> Iterator[None]:
    """Holds a lock, and waits for it no longer than its caller wants. Raises CANCELLED."""
    while not lock.acquire(timeout=_LOOK_UP):
        cancellation.check()
    try:
        yield
    finally:
        lock.release()

"""How registries are asked: at which host and by which scheme, as whom, and what that tells of
what they answer."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode

from imgd_server.errors import Error, Reason
from imgd_server.oci import Reference, is_loopback_host
from imgd_server.registry._answers import failure
from imgd_server.registry._auth import Authenticator
from imgd_server.registry._budgets import RateBudget
from imgd_server.registry._connection import TransportConfig
from imgd_server.registry._credentials import DaemonCredentials
from imgd_server.registry._hosts import Host, Hosts
from imgd_server.registry._http import Response
from imgd_server.registry._protocol import BlobSize, Cancellation, Credentials, Privacy, Resolved
from imgd_server.registry._settings import RegistrySettings
from imgd_server.registry._transport import MAX_ERROR_BODY, Request, Transport
from imgd_server.registry._url import Url

__all__ = ["Asker", "Call", "RegistryConfig", "rest_of"]

T = TypeVar("T")
_Told = TypeVar("_Told", Resolved, BlobSize)

# Where names on Docker Hub are served.
_SERVED_BY = {"docker.io": "registry-1.docker.io"}
# A token that another thread got may end just now, a fresh one does not.
_MAX_CHALLENGES = 2
# How nobody is refused what somebody is shown; some registries hide it.
_REFUSED = {401, 403, 404}
_FOUND: Final = {200}
# What is forgotten is asked once more.
_MAX_ASKS = 10_000


@dataclass(frozen=True, slots=True)
class RegistryConfig(TransportConfig):
    """Adds which registries are called without TLS, what is configured of them one by one, and
    where docker keeps credentials (empty for nowhere).

    Those on loopback are called without TLS too, unless they turn out to speak it.
    """

    plain_http: Collection[str] = frozenset()
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)
    docker_config: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """What is asked of a registry.

    `domain` is as references have it, `target` a path and query there, `scope` what a token must
    allow (distribution, spec/auth/scope; several with blanks between them, empty for nothing), and
    failures say what it is `about`. It `needs` a capability of a mirror, or is for the registry's
    own server (empty); `host` is which one of them is asked now.
    """

    domain: str
    target: str
    scope: str
    credentials: Credentials | None
    cancellation: Cancellation
    about: Reference | str
    needs: str = ""
    host: Host | None = None

    @classmethod
    def of(
        cls,
        reference: Reference,
        tail: str,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> Self:
        """What is read of a reference's repository; `tail` is the end of the path."""
        path = reference.path
        target, scope = f"/v2/{quote(path)}/{tail}", f"repository:{path}:pull"
        kind, _, name = tail.partition("/")
        needs = ""
        if kind in ("blobs", "manifests"):
            # Only a digest has a colon.
            needs = "pull" if ":" in name else "resolve"
        return cls(reference.domain, target, scope, credentials, cancellation, reference, needs)


class Asker:
    """Sends what is asked of registries, with authentication and redirects. Safe to use from many
    threads.

    Raises FIELD_INVALID that names the key when what is configured can't be used.
    """

    def __init__(self, config: RegistryConfig | None = None) -> None:
        config = config or RegistryConfig()
        self._plain_http = frozenset(one.lower() for one in config.plain_http)
        self._hosts = Hosts(config.registries, _named)
        self._credentials = DaemonCredentials(config.docker_config)
        for settings in self._hosts:
            self._credentials.check(settings)
        self._policy = config.policy
        self._transport = Transport(replace(config, origins=self._hosts.origins))
        self._auth = Authenticator(self._transport)
        # The schemes that registries on loopback turned out to speak, by domain.
        self._speaks: dict[str, str] = {}
        # Whether they refuse who brings no credentials, as far as that is known.
        self._asks: dict[tuple[str, ...], bool] = {}

    def close(self) -> None:
        """Closes idle connections."""
        self._transport.close()

    def has_room(self, reference: Reference) -> bool:
        """Whether the reference's registry, or the mirror that stands for it, takes one request
        more at once now."""
        hosts = self._hosts.of(reference.domain)
        host = next((one for one in hosts if one.health.well), hosts[-1])
        probe = Call(reference.domain, "/v2/", "", None, Cancellation(), reference, host=host)
        return self._transport.has_room(self._registry(probe))

    @property
    def rate_budgets(self) -> list[RateBudget]:
        """What registries told of their budgets, by the domain that references have."""
        domains = {host: domain for domain, host in _SERVED_BY.items()}
        found = (
            replace(one, host=domains.get(one.host, one.host))
            for one in self._transport.budgets.all()
        )
        return sorted(found, key=lambda one: one.host)

    # --- credentials

    def check_credentials(
        self, domain: str, credentials: Credentials, cancellation: Cancellation
    ) -> str:
        """Tries credentials at a registry, whatever is remembered of others.

        Returns the identity token to keep instead of them, empty when the registry gives none. One
        that wants no credentials takes any. Raises REGISTRY_UNAUTHORIZED, and what `ask` raises.
        """
        nobody = Credentials(anonymous=True)
        call = Call(domain, "/v2/", "", nobody, cancellation, domain)
        with self.ask(call, "GET", {}, {200, 401}) as response:
            challenges = response.headers.get("www-authenticate", "")
            with contextlib.suppress(Error):
                response.read(MAX_ERROR_BODY)
        if response.status == 200:
            return ""
        if not self._is_home(call, response.url):
            raise failure(response, b"", domain)
        registry = replace(response.url, target=self._url(call).target)
        sent, identity = self._auth.prove(registry, challenges, credentials, cancellation)
        if sent:
            request = Request("GET", registry, authorization=sent, named=registry.host)
            response = self._transport.send(request, cancellation)
            body = rest_of(response)
            if response.status not in (200, 401):
                raise failure(response, body, domain)
        if response.status != 200:
            raise Error(
                Reason.REGISTRY_UNAUTHORIZED,
                f"{response.host} refuses these credentials: check the user and password",
                host=response.host,
                http_status=response.status,
            )
        return identity

    # --- requests

    def _from_hosts(self, call: Call, work: Callable[[Call], T]) -> T:
        """What `work` gets of the first host that has it."""
        # Before a mirror is asked, which could be blamed for it.
        self._policy.check_domain(call.domain)
        return self._hosts.first(
            call.domain, call.needs, lambda host: work(replace(call, host=host))
        )

    def _asked(self, call: Call) -> Host:
        return call.host or self._hosts.server(call.domain)

    def _registry(self, call: Call) -> Url:
        """Where the host is that a call is for, with the path that stands for `/v2`, and the scheme
        that it is called by now."""
        if url := self._asked(call).url:
            return url
        secure, plain = _named(call.domain)
        if plain.names(self._plain_http):
            return plain
        if is_loopback_host(plain.host):
            return secure if self._speaks.get(call.domain) == "https" else plain
        return secure

    def _is_home(self, call: Call, url: Url) -> bool:
        """Whether a URL is of the host that a call is for: also where one on loopback speaks TLS,
        and another thread has just forgotten that."""
        registry = self._registry(call)
        if url.origin == registry.origin:
            return True
        loopback = is_loopback_host(registry.host) and not self._is_sure(call)
        return loopback and url.origin == _named(call.domain)[0].origin

    def _is_sure(self, call: Call) -> bool:
        """Whether the scheme that a call's host speaks is configured."""
        return self._asked(call).url is not None or _named(call.domain)[1].names(self._plain_http)

    def _url(self, call: Call) -> Url:
        """What a call asks its host for."""
        registry, target = self._registry(call), call.target
        if not target.startswith("/v2/"):
            return replace(registry, target=target)
        target = registry.target + target.removeprefix("/v2")
        # As containerd tells a mirror whose repository it is.
        if registry.label != _named(call.domain)[0].label and "ns=" not in target:
            sign = "&" if "?" in target else "?"
            target += sign + urlencode({"ns": call.domain})
        return replace(registry, target=target)

    def target_of(self, call: Call, target: str) -> str:
        """The target of a call for what its host has at such a path and query; empty for what is
        not below its `/v2`."""
        base = f"{self._registry(call).target}/"
        return f"/v2/{target.removeprefix(base)}" if target.startswith(base) else ""

    def ask(
        self,
        call: Call,
        method: str,
        headers: Mapping[str, str],
        accepted: Collection[int] = _FOUND,
        body: bytes | None = None,
    ) -> Response:
        """A request with its authentication and redirects; answers `accepted` statuses only.

        Raises what `Transport.send` raises, and the error that `failure` makes of other answers.
        """
        self._policy.check_domain(call.domain)
        url = self._url(call)
        request = Request(method, url, headers, named=url.host, body=body)
        if is_loopback_host(url.host) and not self._is_sure(call):
            return self._ask_loopback(call, request, accepted)
        return self._authorized(call, request, accepted)

    def ask_at(self, call: Call, request: Request, accepted: Collection[int]) -> Response:
        """As `ask`, at the URL that the registry led to with an answer to such a call. Credentials
        go to the registry's own origin alone. Raises EGRESS_DENIED for a URL that gives TLS up."""
        registry, host = self._registry(call), request.url.label
        request = replace(request, named=registry.host)
        if self._is_home(call, request.url):
            return self._authorized(call, request, accepted)
        if registry.scheme == "https" and request.url.scheme == "http":
            message = f"{registry.label} leads to a connection to {host} without TLS"
            raise Error(Reason.EGRESS_DENIED, message, host=registry.label)
        response = self._transport.send(request, call.cancellation)
        if response.status in accepted:
            return response
        raise failure(response, rest_of(response), call.about)

    def _ask_loopback(self, call: Call, request: Request, accepted: Collection[int]) -> Response:
        """Asks without TLS, and with it where that is what the registry speaks.

        Plain first: a TLS server answers that at once, and a plain one may wait without end for the
        rest of what it takes for a line.
        """
        domain = call.domain
        try:
            response = self._authorized(call, request, accepted)
        except Error as error:
            if not _misunderstood(error):
                raise
            # Not all that is known now was known when this was asked: another thread may have
            # found TLS in between.
            if request.url.scheme == "https" or self._speaks.get(domain) == "http":
                # What listens there now may be another than before: next time, look again.
                self._speaks.pop(domain, None)
                raise
            failed = error
        else:
            self._speaks[domain] = request.url.scheme
            return response
        url = Url.parse(f"https://{domain}{request.url.target}")
        try:
            response = self._authorized(call, replace(request, url=url), accepted)
        except Error as error:
            untrusted = isinstance(error.__cause__, ssl.SSLCertVerificationError)
            if _misunderstood(error) and not untrusted:
                raise failed from None
            raise
        self._speaks[domain] = "https"
        return response

    def _authorized(self, call: Call, request: Request, accepted: Collection[int]) -> Response:
        registry, scope, cancellation = request.url, call.scope, call.cancellation
        who = self._who(call)
        sent = self._auth.header(registry, scope, who)
        request = replace(request, account=who.scope if who else "")
        asked = 0
        while True:
            response = self._transport.send(replace(request, authorization=sent), cancellation)
            response.credentialed = bool(sent and who and not who.anonymous)
            if response.status in accepted:
                if not response.credentialed:
                    self._note_asks(call, False)
                return response
            at_home = response.url.origin == registry.origin
            if response.status == 401 and at_home and not sent:
                self._note_asks(call, True)
            body = rest_of(response)
            cancellation.check()
            if response.status != 401 or not at_home or asked == _MAX_CHALLENGES:
                break
            asked += 1
            challenges = response.headers.get("www-authenticate", "")
            answer = self._auth.answer(registry, challenges, scope, who, sent, cancellation)
            if not answer:
                break
            sent = answer
        raise failure(response, body, call.about)

    def _who(self, call: Call) -> Credentials | None:
        """The credentials for the host that a call is for. A caller's are for the registry, and no
        mirror gets them."""
        host, given = self._asked(call), call.credentials
        if given is not None and (given.anonymous or not host.mirror):
            return given
        name = host.url.label if host.mirror and host.url else call.domain
        return self._credentials.find(name, host.settings, call.cancellation)

    # --- for whom it answers

    def _told(self, call: Call, look: Callable[[Call], _Told]) -> _Told:
        """What `look` tells, and whether for credentials: what it tells for these alone says
        something of them, so nobody asks too where that is not known."""
        found = look(call)
        if found.private is Privacy.SENT and self._asks.get(_kind_of(call)) is None:
            nobody = replace(call, credentials=Credentials(anonymous=True))
            try:
                return look(nobody)
            except Error as error:
                call.cancellation.check()
                if error.http_status in _REFUSED:
                    self._note_asks(call, True)
            if self._asks.get(_kind_of(call)):
                found = replace(found, private=Privacy.ASKED)
        return found

    def _note_asks(self, call: Call, asks: bool) -> None:
        if len(self._asks) >= _MAX_ASKS:
            self._asks.clear()
        self._asks[_kind_of(call)] = asks

    def _privacy(self, call: Call, response: Response) -> Privacy:
        """Whether an answer may be for the caller alone. Of a mirror's nobody knows what it got
        with whose credentials, so it counts what the registry itself would be sent."""
        if response.credentialed:
            return Privacy.ASKED if self._asks.get(_kind_of(call)) else Privacy.SENT
        if not self._asked(call).mirror:
            return Privacy.NONE
        try:
            who = self._who(replace(call, host=self._hosts.server(call.domain)))
        except Error as error:
            if error.reason is Reason.CANCELLED:
                raise
            return Privacy.ASKED
        return Privacy.ASKED if who and not who.anonymous else Privacy.NONE


def _kind_of(call: Call) -> tuple[str, ...]:
    """What a registry asks credentials for, or not: a repository's blobs, or one of its manifests.
    It may guard some of these, and take no look at what is sent for others."""
    kind = call.target.rsplit("/", 2)[1]
    if kind == "manifests":
        kind = call.target
    mirror = call.host.url.label if call.host and call.host.mirror and call.host.url else ""
    return call.domain, call.scope, kind, call.needs, mirror


def _named(domain: str) -> tuple[Url, Url]:
    """Where a registry is that nothing is configured of: with TLS, and without."""
    host = _SERVED_BY.get(domain, domain)
    try:
        secure, plain = (Url.parse(f"{scheme}://{host}/v2") for scheme in ("https", "http"))
    except ValueError:
        raise Error(
            Reason.REFERENCE_INVALID,
            f"{domain} is no address of a registry: check the port",
            reference=domain,
        ) from None
    return secure, plain


def _misunderstood(error: Error) -> bool:
    """Whether a failure may come from speaking TLS to a plain server, or the reverse."""
    return error.http_status in (0, 400) and error.reason in {
        Reason.REGISTRY_PROTOCOL,
        Reason.REGISTRY_UNREACHABLE,
        Reason.REGISTRY_TLS,
    }


def rest_of(response: Response) -> bytes:
    """The body of an answer that is no success, as far as it comes; ends the answer."""
    with response:
        try:
            return response.read(MAX_ERROR_BODY)
        except Error:
            return b""

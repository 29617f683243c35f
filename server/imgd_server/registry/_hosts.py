"""Which hosts serve a registry, in which order, and which of them are left out for now.

Each manifest and blob comes from the first host that is well. One that fails is left out for a
while (a circuit breaker): then one request tries it again, and the others pass it over until that
has been answered.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import structlog

from imgd_server.errors import Error, Reason
from imgd_server.registry._connection import OriginSettings, make_context
from imgd_server.registry._protocol import PausedError
from imgd_server.registry._settings import ANY, HostSettings, RegistrySettings
from imgd_server.registry._url import Url

__all__ = ["Health", "Host", "Hosts"]

T = TypeVar("T")

_log = structlog.get_logger(__name__)

# Seconds that a host is left out, doubled each time that it fails again.
_FIRST_PAUSE = 10.0
_LONGEST_PAUSE = 300.0
# What a mirror gets, unless configured: it is there to be quicker than what is behind it.
_MIRROR_CONNECT = 3.0
_MIRROR_ANSWER = 10.0
# What speaks against a host itself. Other failures are answers about what was asked for.
_UNWELL: Final = {
    Reason.REGISTRY_UNREACHABLE,
    Reason.REGISTRY_UNAVAILABLE,
    Reason.REGISTRY_TIMEOUT,
    Reason.REGISTRY_TLS,
    Reason.REGISTRY_PROTOCOL,
    Reason.REGISTRY_RATE_LIMITED,
    Reason.EGRESS_DENIED,
    Reason.DIGEST_MISMATCH,
    Reason.SIZE_MISMATCH,
}
# Failures of the registry's own server after which a host that was left out is worth a try.
_NO_ANSWER: Final = {
    Reason.REGISTRY_UNREACHABLE,
    Reason.REGISTRY_UNAVAILABLE,
    Reason.REGISTRY_TIMEOUT,
}


class Health:
    """Whether a host may be asked. Safe to use from many threads.

    Who asks remembers how often it had failed (`failures`) then: an answer to what began before a
    failure says nothing about what came of that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pause = _FIRST_PAUSE
        # Of time.monotonic; None while it is well.
        self._until: float | None = None
        self._trying = False
        self.failures = 0

    def enter(self) -> int | None:
        """Asks whether it may be asked now; None for no, else its failures so far."""
        with self._lock:
            if self._until is not None:
                if self._trying or time.monotonic() < self._until:
                    return None
                self._trying = True
            return self.failures

    @property
    def well(self) -> bool:
        """Whether nothing speaks against it."""
        return self._until is None

    def leave(self, failures: int) -> None:
        """Nothing was learned."""
        with self._lock:
            if failures == self.failures:
                self._trying = False

    def answered(self, failures: int) -> None:
        """It answered, and is well as far as that goes."""
        with self._lock:
            if failures == self.failures:
                self._trying, self._until = False, None

    def proved(self) -> None:
        """It served something to its end."""
        with self._lock:
            self._pause = _FIRST_PAUSE

    def failed(self, wait: float | None = None) -> bool:
        """It failed, and asks for so many seconds of peace, if it does. Returns whether it is left
        out because of that, and was not before."""
        with self._lock:
            self.failures += 1
            self._trying = False
            now = time.monotonic()
            # Those that fail with the first one say nothing new.
            new = self._until is None
            if self._until is None or self._until <= now:
                self._until = now + self._pause
                self._pause = min(self._pause * 2, _LONGEST_PAUSE)
            if wait is not None:
                self._until = max(self._until, now + min(wait, _LONGEST_PAUSE))
            return new


@dataclass(frozen=True, slots=True)
class Host:
    """A mirror, or a registry's own server (`mirror` is False) whose `url` may be for others to
    find out."""

    url: Url | None
    settings: HostSettings | None = None
    mirror: bool = False
    health: Health = field(default_factory=Health, compare=False)

    def fail(self, error: Error) -> bool:
        """Takes note of a failure, and says whether it speaks against the host."""
        if error.reason not in _UNWELL:
            return False
        if self.health.failed(error.retry_after) and self.mirror and self.url:
            _log.warning("mirror left out", host=self.url.label, reason=error.reason.name)
        return True

    def distrust(self) -> None:
        """Takes note of bytes that were others than their digest's, where there is another host to
        ask."""
        if self.mirror:
            self.fail(Error(Reason.DIGEST_MISMATCH, "its bytes are others"))


class Hosts:
    """The hosts of every registry. Safe to use from many threads.

    Raises FIELD_INVALID that names the key for certificates that can't be used, and for a host that
    has two settings.
    """

    def __init__(
        self, registries: Mapping[str, RegistrySettings], named: Callable[[str], Collection[Url]]
    ) -> None:
        """`named` says where a registry without a configured server may be."""
        self._registries = registries
        self._lock = threading.Lock()
        self._known: dict[str, tuple[Host, ...]] = {}
        self._health: dict[tuple[str, str, int], Health] = {}
        self.origins: dict[tuple[str, str, int], OriginSettings] = {}
        """What is configured of connections, by origin."""
        self._keys: dict[tuple[str, str, int], HostSettings] = {}
        for domain, registry in registries.items():
            server = registry.server
            for url in [server.url] if server.url else [] if domain == ANY else named(domain):
                self._configure(url, server, mirror=False)
            for mirror in registry.mirrors:
                assert mirror.url
                self._configure(mirror.url, mirror, mirror=True)

    def __iter__(self) -> Iterator[HostSettings]:
        for registry in self._registries.values():
            yield registry.server
            yield from registry.mirrors

    def server(self, domain: str) -> Host:
        """A registry's own server."""
        return self.of(domain)[-1]

    def of(self, domain: str) -> tuple[Host, ...]:
        """The hosts of a registry, mirrors first, its own server last."""
        domain = domain.lower()
        registry = self._registries.get(domain) or self._registries.get(ANY)
        if registry is None:
            return (Host(None),)
        with self._lock:
            known = self._known.get(domain)
            if known is None:
                if len(self._known) >= 1000:
                    self._known.clear()
                mirrors = [self._host(one, mirror=True) for one in registry.mirrors]
                server = self._host(registry.server, mirror=False)
                known = self._known[domain] = (*mirrors, server)
            return known

    def first(self, domain: str, needs: str, work: Callable[[Host], T], avoid: str = "") -> T:
        """What `work` makes of the first host of a registry that has the capability and can do it;
        of the host `avoid` (`host[:port]`) after the others.

        Those that are not well are asked when no other one answers. Raises what the registry's own
        server failed with, where it was asked.
        """
        hosts = self.of(domain)
        if len(hosts) == 1 and hosts[0].settings is None:
            return work(hosts[0])
        able = [one for one in hosts if one.settings and needs in one.settings.capabilities]
        if not able:
            raise Error(
                Reason.EGRESS_DENIED,
                f"no host of {domain} may be asked to {needs}: check capabilities in the "
                "daemon's configuration",
                host=domain,
            )
        server = able[-1]
        if avoid:
            able.sort(key=lambda one: one.url is not None and one.url.label == avoid)
        left_out: list[Host] = []
        # After each round that of the registry's own server, if it was asked.
        failed: Error | None = None
        for host in able:
            failures = host.health.enter()
            if failures is None:
                left_out.append(host)
                continue
            try:
                return self._try(host, work, failures)
            except Error as error:
                if error.reason is Reason.CANCELLED:
                    raise
                if host is server:
                    failed = error
        if failed is None or failed.reason in _NO_ANSWER:
            for host in left_out:
                try:
                    return self._try(host, work, host.health.failures)
                except Error as error:
                    if error.reason is Reason.CANCELLED:
                        raise
                    if failed is None or host is server:
                        failed = error
        assert failed
        raise failed

    def _try(self, host: Host, work: Callable[[Host], T], failures: int) -> T:
        health = host.health
        try:
            result = work(host)
        except Error as error:
            if isinstance(error, PausedError) or error.reason is Reason.CANCELLED:
                health.leave(failures)
            elif not host.fail(error):
                health.answered(failures)
            raise
        except BaseException:
            health.leave(failures)
            raise
        health.answered(failures)
        return result

    def _host(self, settings: HostSettings, *, mirror: bool) -> Host:
        """Called with the lock. Hosts of one origin are well or not together."""
        if settings.url is None:
            return Host(None, settings, mirror)
        health = self._health.setdefault(settings.url.origin, Health())
        return Host(settings.url, settings, mirror, health)

    def _configure(self, url: Url, settings: HostSettings, *, mirror: bool) -> None:
        known = self._keys.setdefault(url.origin, settings)
        if _connection(known) != _connection(settings):
            raise _invalid(
                f"{settings.key}: {url.label} has other settings for its connections at {known.key}"
            )
        self.origins[url.origin] = OriginSettings(
            _context(settings) if url.scheme == "https" else None,
            settings.headers,
            settings.connect_timeout or (_MIRROR_CONNECT if mirror else None),
            settings.answer_timeout or (_MIRROR_ANSWER if mirror else None),
        )


def _connection(settings: HostSettings) -> tuple[object, ...]:
    """What holds for every connection to an origin."""
    return (
        settings.ca,
        settings.client,
        settings.skip_verify,
        settings.headers,
        settings.connect_timeout,
        settings.answer_timeout,
    )


def _context(settings: HostSettings) -> ssl.SSLContext | None:
    """The TLS of a host; None for that of all hosts."""
    if not (settings.ca or settings.client or settings.skip_verify):
        return None
    context, key = make_context(), "ca"
    try:
        for path in settings.ca:
            context.load_verify_locations(path)
        key = "client"
        if settings.client:
            # Without the function, a key with a password would ask for it on the terminal.
            context.load_cert_chain(*settings.client, lambda: "")
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise _invalid(f"{settings.key}.{key}: can't be used: {why}") from None
    if settings.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _invalid(message: str) -> Error:
    return Error(Reason.FIELD_INVALID, f"registries: {message}")

"""The HTTP server of the registry inside: routes, names, hosts."""

from __future__ import annotations

import errno
import ipaddress
import re
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

import structlog
from aiohttp import web

from imgd_server.content import ContentStore
from imgd_server.distribution import _blobs, _discovery, _manifests, _pushes
from imgd_server.distribution._access import CATALOG, GRANT, Access, OpenAccess
from imgd_server.distribution._cache import Cache
from imgd_server.distribution._headers import page
from imgd_server.distribution._protocol import Refusal, refuse, refuse_defect, refuse_error
from imgd_server.distribution._repository import READABLE, RESOLVE, Backing, Repository
from imgd_server.distribution._samples import SAMPLES, SAMPLES_HOST, SampleStore
from imgd_server.distribution._uploads import Uploads
from imgd_server.errors import Error, Reason
from imgd_server.metadata import MetadataStore
from imgd_server.oci import MAX_MANIFEST_BYTES, FormatError, Reference, is_loopback_host

__all__ = ["RegistryServer", "check_listen"]

_log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Action = Callable[[web.Request, Repository], Awaitable[web.StreamResponse]]

# HOST, HOST:PORT, [IPv6], [IPv6]:PORT
_AUTHORITY = re.compile(r"(?:\[([^\[\]]+)\]|([^\[\]:]+))(?::[0-9]{1,5})?")
# Bodies of blobs are streamed; this bounds those that are read whole.
_MAX_BODY = MAX_MANIFEST_BYTES + 1
# Open requests get so long to end; aiohttp waits twice.
_STOP_SECONDS = 2.5
# A client that takes nothing of an answer for so long is cut off: it keeps a file open. The kernel
# looks (TCP_USER_TIMEOUT, tcp(7)), for it alone knows how far sendfile(2) is.
_STALL_MS = 60_000


def check_listen(
    host: str,
    port: int,
    *,
    own_host: str,
    access: Access,
    tls: ssl.SSLContext | None,
    upstreams: Collection[str],
) -> None:
    """Raises FIELD_INVALID for an address that is not loopback, unless there are access control
    and TLS, and for a cache of this registry itself. `own_host` may be empty."""
    if not is_loopback_host(host):
        if not access.controlled or tls is None:
            raise Error(
                Reason.FIELD_INVALID,
                f"registry_listen: {host} is no loopback address, and others are served only with "
                "access control (registry_htpasswd, or registry_token_realm) and TLS "
                "(registry_tls_certificate)",
            )
        if not own_host and _is_everywhere(host):
            raise Error(
                Reason.FIELD_INVALID,
                f"registry_host: needed, for {host} is no host that clients could name",
            )
    own = {f"{one}:{port}" for one in (host, f"[{host}]", "localhost", "127.0.0.1", "[::1]")}
    if loop := {own_host, *own}.intersection(upstreams):
        raise Error(Reason.FIELD_INVALID, f"registry_cache: {min(loop)} is this registry itself")


class RegistryServer:
    """Serves `/v2/`.

    `own_host` names the registry's own images (`/v2/app` is `OWN_HOST/app`); without it, that is
    the address listened on. Images of other registries are reached by their full domain as a path.
    `access` says who may do what, everybody everything unless given; `tls` is what to listen with;
    `cache` brings what is not here from other registries.
    """

    def __init__(
        self,
        content: ContentStore,
        metadata: MetadataStore,
        *,
        own_host: str | None = None,
        samples: SampleStore | None = None,
        read_only: bool = False,
        access: Access | None = None,
        tls: ssl.SSLContext | None = None,
        cache: Cache | None = None,
    ) -> None:
        self._uploads = Uploads(content)
        self._store = Backing(content, metadata, self._uploads, writable=not read_only)
        self._samples = (
            Backing(samples.content, samples.metadata, Uploads(samples.content), writable=False)
            if samples
            else None
        )
        self._access = access or OpenAccess()
        self._tls = tls
        self._cache = cache
        self.own_host = own_host or ""
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listens; returns the address and port.

        Raises FIELD_INVALID for an address that can't be served, and as `check_listen`; TOO_BUSY
        when the port is taken.
        """
        check_listen(
            host,
            port,
            own_host=self.own_host,
            access=self._access,
            tls=self._tls,
            upstreams=self._cache.config.upstreams if self._cache else (),
        )
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(
                runner, host, port, ssl_context=self._tls, reuse_address=True, reuse_port=False
            )
            await site.start()
        except OSError as error:
            await runner.cleanup()
            taken = error.errno == errno.EADDRINUSE
            raise Error(
                Reason.TOO_BUSY if taken else Reason.FIELD_INVALID,
                f"registry_listen: can't listen on {host}:{port}"
                + (": another process serves it" if taken else ""),
            ) from None
        self._runner = runner
        address, bound = runner.addresses[0][:2]
        self.own_host = self.own_host or (
            f"[{address}]:{bound}" if ":" in address else f"{address}:{bound}"
        )
        return address, bound

    async def stop(self) -> None:
        """Lets open requests end for a moment, and stops. Unfinished uploads can go on later."""
        if self._runner:
            await self._runner.cleanup()
        self._uploads.close()

    def resolve(self, name: str, namespace: str = "") -> Repository:
        """The repository that a name in a URL means; `namespace` is the host that it leaves out, as
        containerd says it (`ns`). Refuses with NAME_INVALID."""
        if namespace:
            name = f"{namespace}/{name}"
        if self._samples and (name == SAMPLES or name.startswith(f"{SAMPLES}/")):
            return Repository(name, f"{SAMPLES_HOST}/{name}", self._samples)
        domain, _, path = name.partition("/")
        # Upper case, which makes a host in an image's name, makes none in a URL.
        foreign = path and (domain == "localhost" or "." in domain or ":" in domain)
        try:
            if namespace:
                reference = Reference(namespace, path)
            else:
                reference = Reference.parse(name if foreign else f"{self.own_host}/{name}")
        except FormatError as error:
            raise refuse("NAME_INVALID", str(error)) from None
        if reference.tag or reference.digest:
            raise refuse("NAME_INVALID", f"{name[:200]} is not a repository's name")
        cached = self._cache and reference.domain in self._cache.config.upstreams
        # Docker Hub has several ways to write a name.
        return Repository(name, reference.name, self._store, self._cache if cached else None)

    async def _behind(self, repository: Repository, namespace: str) -> Repository | None:
        """The default upstream's repository, where a name is none of our own as yet."""
        default = self._cache.config.default if self._cache else ""
        own = repository.full.startswith(f"{self.own_host}/") and not namespace
        if not (default and own) or repository.backing is not self._store:
            return None
        known = await self._store.metadata.read(
            lambda session: session.has_repository(repository.full)
        )
        return None if known else self.resolve(repository.name, default)

    async def _is_cache(self, repository: Repository, behind: Repository | None) -> bool:
        """Whether what a repository's readers get is an upstream's. If what is so could be pushed
        to, the push would hide it, and lack the blobs that its client was shown there."""
        if repository.cache or not self._cache:
            return repository.cache is not None
        return behind is not None and await self._cache.has(behind)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY)
        application[RESOLVE] = self.resolve
        application[READABLE] = self._readable
        router = application.router
        for path in ("/v2/", "/v2"):
            router.add_get(path, self._base)
        router.add_get("/v2/_catalog", self._catalog)
        name = "/v2/{name:.+}"
        routes: list[tuple[str, str, Action, str]] = [
            ("GET", f"{name}/blobs/uploads/{{upload}}", _pushes.get_upload, "push"),
            ("PATCH", f"{name}/blobs/uploads/{{upload}}", _pushes.patch_upload, "push"),
            ("PUT", f"{name}/blobs/uploads/{{upload}}", _pushes.finish_upload, "push"),
            ("DELETE", f"{name}/blobs/uploads/{{upload}}", _pushes.delete_upload, "push"),
            ("POST", f"{name}/blobs/uploads/", _pushes.start_upload, "push"),
            ("POST", f"{name}/blobs/uploads", _pushes.start_upload, "push"),
            ("GET", f"{name}/blobs/{{digest}}", _blobs.get_blob, "pull"),
            ("DELETE", f"{name}/blobs/{{digest}}", _blobs.delete_blob, "delete"),
            ("GET", f"{name}/manifests/{{reference}}", _manifests.get_manifest, "pull"),
            ("PUT", f"{name}/manifests/{{reference}}", _manifests.put_manifest, "push"),
            ("DELETE", f"{name}/manifests/{{reference}}", _manifests.delete_manifest, "delete"),
            ("GET", f"{name}/tags/list", _discovery.list_tags, "pull"),
            ("GET", f"{name}/referrers/{{digest}}", _discovery.list_referrers, "pull"),
        ]
        for method, path, action, needs in routes:
            handler = self._bound(action, needs)
            router.add_route(method, path, handler)
            if method == "GET":
                router.add_route("HEAD", path, handler)
        application.on_response_prepare.append(_mark)
        return application

    def _bound(self, action: Action, needs: str) -> Handler:
        """`needs` is the action that must have been granted: `pull`, `push` or `delete`."""

        async def handle(request: web.Request) -> web.StreamResponse:
            namespace = request.query.get("ns", "")
            repository = self.resolve(request.match_info["name"], namespace)
            behind = await self._behind(repository, namespace)
            if needs == "pull":
                repository = behind or repository
            self._require(("repository", self._resource(repository)), needs)
            if needs != "pull" and not repository.backing.writable:
                raise refuse(
                    "UNSUPPORTED",
                    f"{repository.name} is read-only here",
                    headers={"Allow": "GET, HEAD"},
                )
            if needs != "pull" and await self._is_cache(repository, behind):
                raise refuse(
                    "UNSUPPORTED",
                    f"{repository.name} is a cache here, of {(behind or repository).full}: push to "
                    "that registry itself, and remove with imgctl",
                    headers={"Allow": "GET, HEAD"},
                )
            return await action(request, repository)

        return handle

    # --- access

    def _resource(self, repository: Repository) -> str:
        """A repository's name in scopes and tokens: one for all ways to write it."""
        if repository.backing is self._samples:
            return repository.name
        return repository.full.removeprefix(f"{self.own_host}/")

    def _require(self, resource: tuple[str, str], action: str) -> None:
        grant = GRANT.get()
        if not grant.may(resource, action):
            raise self._access.refusal(grant, resource, action)

    def _readable(self) -> list[Repository] | None:
        grant = GRANT.get()
        if grant.readable is None:
            return None
        found = []
        for name in grant.readable:
            with suppress(Refusal):
                repository = self.resolve(name)
                if self._resource(repository) == name:
                    found.append(repository)
        return found

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses foreign hosts and wrong credentials, and gives every error its form."""
        try:
            self._check_host(request)
            GRANT.set(await self._access.identify(request))
            return await handler(request)
        except Refusal as refusal:
            return refusal.response()
        except web.HTTPException as error:
            return _plain(error).response()
        except (ConnectionError, web.RequestPayloadError):
            # The client has left, or sent no proper body.
            return refuse("BLOB_UPLOAD_INVALID", "the request's body broke off").response()
        except Exception as error:  # noqa: BLE001 - the translator
            return _translate(error, request).response()

    def _check_host(self, request: web.Request) -> None:
        """A web page must not reach the store: neither by pointing a name of its own here (Host),
        nor by sending a form from elsewhere (Origin). Registry clients send no Origin."""
        hosts = request.headers.getall("Host", [""])
        for origin in request.headers.getall("Origin", []):
            hosts.append(origin.partition("://")[2])
        for host in hosts:
            if not _is_loopback(host) and host != self.own_host:
                raise refuse("DENIED", "this registry does not answer to that Host or Origin", 421)

    async def _base(self, request: web.Request) -> web.StreamResponse:
        # Also where everybody may read: clients learn here how to log in, and no later.
        grant = GRANT.get()
        if not grant.known:
            raise self._access.refusal(grant, None, "")
        return web.json_response({})

    async def _catalog(self, request: web.Request) -> web.StreamResponse:
        """The repositories: own ones by their short names, others by their full ones."""
        self._require(CATALOG, "*")
        limit, last = page(request)
        found = await self._store.metadata.read(
            lambda session: _discovery.names_of(session, self.own_host, last, limit + 1)
        )
        if self._samples:
            found += await self._samples.metadata.read(
                lambda session: _discovery.names_of(session, SAMPLES_HOST, last, limit + 1)
            )
        names = sorted(set(found))[: limit + 1]
        return _discovery.page_of("/v2/_catalog", {}, "repositories", names, limit)


def _is_loopback(authority: str) -> bool:
    found = _AUTHORITY.fullmatch(authority)
    return found is not None and is_loopback_host(found[1] or found[2])


def _is_everywhere(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _translate(error: Exception, request: web.Request) -> Refusal:
    """The answer for what a handler raised; what is no caller's business is logged instead."""
    with suppress(Error):
        if isinstance(error, Error):
            return refuse_error(error)
    incident = secrets.token_hex(6)
    _log.error("registry request failed", path=request.path, incident=incident, exc_info=error)
    return refuse_defect(incident)


async def _mark(request: web.Request, response: web.StreamResponse) -> None:
    # Older clients look for it.
    response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
    if (transport := request.transport) and not transport.is_closing():
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _STALL_MS)


def _plain(error: web.HTTPException) -> Refusal:
    """What aiohttp refuses: unknown paths and methods, and bodies that are too large."""
    code = {413: "SIZE_INVALID"}.get(error.status, "UNSUPPORTED")
    allowed = {key: error.headers[key] for key in ("Allow",) if key in error.headers}
    return refuse(code, error.reason, error.status, headers=allowed)

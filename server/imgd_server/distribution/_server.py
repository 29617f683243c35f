"""The HTTP server of the registry inside: routes, names, hosts."""

from __future__ import annotations

import errno
import re
from collections.abc import Awaitable, Callable

import structlog
from aiohttp import web

from imgd_server.content import ContentStore
from imgd_server.distribution import _blobs, _manifests
from imgd_server.distribution._protocol import RESOLVE, Backing, Repository, refuse, refuse_error
from imgd_server.distribution._samples import SAMPLES, SAMPLES_HOST, SampleStore
from imgd_server.errors import Error, Reason
from imgd_server.metadata import MetadataStore
from imgd_server.oci import MAX_MANIFEST_BYTES, FormatError, Reference

__all__ = ["RegistryServer"]

_log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Action = Callable[[web.Request, Repository], Awaitable[web.StreamResponse]]

_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?", re.ASCII)
# Bodies of blobs are streamed; this bounds those that are read whole.
_MAX_BODY = MAX_MANIFEST_BYTES + 1
_STOP_SECONDS = 5.0


class RegistryServer:
    """Serves `/v2/`.

    `own_host` names the registry's own images (`/v2/app` is `OWN_HOST/app`); without it, that is
    the address listened on. Images of other registries are reached by their full domain as a path.
    """

    def __init__(
        self,
        content: ContentStore,
        metadata: MetadataStore,
        *,
        own_host: str | None = None,
        samples: SampleStore | None = None,
    ) -> None:
        self._store = Backing(content, metadata)
        self._samples = (
            Backing(samples.content, samples.metadata, writable=False) if samples else None
        )
        self.own_host = own_host or ""
        self._runner: web.AppRunner | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listens on a loopback address; returns the address and port.

        Raises FIELD_INVALID for another address, TOO_BUSY when the port is taken.
        """
        if not _LOOPBACK.fullmatch(f"[{host}]" if ":" in host else host):
            raise Error(
                Reason.FIELD_INVALID,
                f"registry_listen: {host} is no loopback address, and only those are served until "
                "there is access control",
            )
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=_STOP_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, reuse_address=True, reuse_port=False)
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
        bound = runner.addresses[0]
        self.own_host = self.own_host or f"{bound[0]}:{bound[1]}"
        return bound[0], bound[1]

    async def stop(self) -> None:
        """Lets open requests end for a moment, and stops."""
        if self._runner:
            await self._runner.cleanup()

    def resolve(self, name: str) -> Repository:
        """The repository that a name in a URL means. Raises NAME_INVALID."""
        if self._samples and (name == SAMPLES or name.startswith(f"{SAMPLES}/")):
            return Repository(name, f"{SAMPLES_HOST}/{name}", self._samples)
        domain = name.partition("/")[0]
        foreign = "/" in name and (domain == "localhost" or "." in domain or ":" in domain)
        full = name if foreign else f"{self.own_host}/{name}"
        try:
            reference = Reference.parse(full)
        except FormatError as error:
            raise refuse("NAME_INVALID", str(error)) from None
        if reference.tag or reference.digest or reference.name != full:
            raise refuse("NAME_INVALID", f"{name[:200]} is not a repository's name")
        return Repository(name, full, self._store)

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._guard], client_max_size=_MAX_BODY)
        application[RESOLVE] = self.resolve
        router = application.router
        router.add_route("GET", "/v2/", self._base)
        router.add_route("GET", "/v2", self._base)
        router.add_route("GET", "/v2/_catalog", self._catalog)
        name = "/v2/{name:.+}"
        routes: list[tuple[str, str, Action, bool]] = [
            ("GET", f"{name}/blobs/uploads/{{upload}}", _blobs.get_upload, True),
            ("PATCH", f"{name}/blobs/uploads/{{upload}}", _blobs.patch_upload, True),
            ("PUT", f"{name}/blobs/uploads/{{upload}}", _blobs.finish_upload, True),
            ("DELETE", f"{name}/blobs/uploads/{{upload}}", _blobs.delete_upload, True),
            ("POST", f"{name}/blobs/uploads/", _blobs.start_upload, True),
            ("POST", f"{name}/blobs/uploads", _blobs.start_upload, True),
            ("GET", f"{name}/blobs/{{digest}}", _blobs.get_blob, False),
            ("DELETE", f"{name}/blobs/{{digest}}", _blobs.delete_blob, True),
            ("GET", f"{name}/manifests/{{reference}}", _manifests.get_manifest, False),
            ("PUT", f"{name}/manifests/{{reference}}", _manifests.put_manifest, True),
            ("DELETE", f"{name}/manifests/{{reference}}", _manifests.delete_manifest, True),
            ("GET", f"{name}/tags/list", _manifests.list_tags, False),
        ]
        for method, path, action, writes in routes:
            handler = self._bound(action, writes=writes)
            router.add_route(method, path, handler)
            if method == "GET":
                router.add_route("HEAD", path, handler)
        return application

    def _bound(self, action: Action, *, writes: bool) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            repository = self.resolve(request.match_info["name"])
            if writes and not repository.backing.writable:
                raise refuse("DENIED", f"{repository.name} holds samples, and is read-only")
            return await action(request, repository)

        return handle

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses foreign hosts, and gives every answer and error its form."""
        try:
            host = request.headers.get("Host", "")
            if not _LOOPBACK.fullmatch(host) and host != self.own_host:
                # A web page that points its own name here must not reach the store.
                raise refuse("DENIED", "this registry does not answer to that Host", 421)
            response = await handler(request)
        except web.HTTPException as error:
            response = error if error.content_type == "application/json" else _plain(error)
        except Error as error:
            response = refuse_error(error)
            if response.status == 500:
                _log.error("registry request failed", path=request.path, error=error.message)
        except (ConnectionResetError, TimeoutError):
            raise
        except Exception:  # noqa: BLE001 - the translator
            _log.exception("registry request failed", path=request.path)
            response = refuse("UNSUPPORTED", "the registry failed; its log says why", 500)
        if not response.prepared:
            response.headers["Docker-Distribution-API-Version"] = "registry/2.0"
        return response

    async def _base(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({})

    async def _catalog(self, request: web.Request) -> web.StreamResponse:
        """The repositories: own ones by their short names, others by their full ones."""
        limit, last = _manifests.page(request)
        names: set[str] = set()
        for backing, host in ((self._store, self.own_host), (self._samples, SAMPLES_HOST)):
            prefix = f"{host}/"
            if backing:
                found = await backing.metadata.read(
                    lambda session: session.repositories("", 100_000)
                )
                names |= {name.removeprefix(prefix) for name in found}
        page = [name for name in sorted(names) if name > last][: limit + 1]
        response = web.json_response({"repositories": page[:limit]})
        return _manifests.linked(response, request, "/v2/_catalog", page, limit)


def _plain(error: web.HTTPException) -> web.HTTPException:
    code = {404: "NAME_UNKNOWN", 413: "SIZE_INVALID"}.get(error.status, "UNSUPPORTED")
    return refuse(code, error.reason, error.status)

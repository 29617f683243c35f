"""RegistryService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc.aio

from imgd.v1 import descriptor_pb2, registry_pb2, registry_service_pb2, registry_service_pb2_grpc
from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images import PatternError, ReferencePattern
from imgd_server.oci import DEFAULT_DOMAIN, Descriptor, Platform, Reference
from imgd_server.registry import Cancellation, Credentials, Found, Lookups, RateBudget
from imgd_server.rpc import _convert
from imgd_server.rpc._limits import MAX_ANSWER_BYTES
from imgd_server.rpc._pages import decode_token, encode_token, fitting, page_size

__all__ = ["RegistryServicer"]

Context = grpc.aio.ServicerContext[Any, Any]
_T = TypeVar("_T")

# Threads of its own: a registry that stalls holds one for as long as its caller waits, and must not
# hold what looks at files for everybody.
_THREADS = 16
_MOST_WAITING = 256
# One message stays below 1 MiB with its framing.
_CHUNK = (1 << 20) - 4096
_MAX_BUDGETS = 1000


class RegistryServicer(registry_service_pb2_grpc.RegistryServiceServicer):
    """Look-ups in remote registries."""

    def __init__(self, lookups: Lookups, own_hosts: Collection[str]) -> None:
        self._lookups = lookups
        self._own_hosts = own_hosts
        self._threads = ThreadPoolExecutor(_THREADS, "look-ups")
        self._open = 0

    def close(self) -> None:
        """Takes no more. What runs ends with its call."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def ListTags(
        self, request: registry_service_pb2.ListTagsRequest, context: Context
    ) -> registry_service_pb2.ListTagsResponse:
        """Lists a page of tags."""
        repository = _repository(request.repository)
        query = ["ListTags", repository.name, request.pattern]
        after = _after(query, request.page_token)
        limit, fits = page_size(request.page_size, 1000, 10_000), _pattern(request.pattern)
        who = _credentials(request)
        page = await self._ask(
            lambda stop: self._lookups.tags(repository, after, limit, fits, who, stop)
        )
        tags, last = _names(page.names, page.last)
        return registry_service_pb2.ListTagsResponse(
            tags=tags, next_page_token=encode_token(query, [last]) if last else ""
        )

    async def ListRepositories(
        self, request: registry_service_pb2.ListRepositoriesRequest, context: Context
    ) -> registry_service_pb2.ListRepositoriesResponse:
        """Lists a page of a registry's repositories."""
        domain = _domain(request.registry)
        query = ["ListRepositories", domain]
        after = _after(query, request.page_token)
        limit, who = page_size(request.page_size, 1000, 10_000), _credentials(request)
        page = await self._ask(
            lambda stop: self._lookups.repositories(domain, after, limit, who, stop)
        )
        names, last = _names(page.names, page.last)
        return registry_service_pb2.ListRepositoriesResponse(
            repositories=names, next_page_token=encode_token(query, [last]) if last else ""
        )

    async def ResolveReference(
        self, request: registry_service_pb2.ResolveReferenceRequest, context: Context
    ) -> registry_service_pb2.ResolveReferenceResponse:
        """Returns what a name points at."""
        reference = Reference.parse(request.reference).with_default_tag()
        platform, who = _platform(request.platform), _credentials(request)
        found = await self._ask(lambda stop: self._lookups.resolve(reference, platform, who, stop))
        return registry_service_pb2.ResolveReferenceResponse(
            target=_convert.descriptor(found.target, brief=True),
            reference=_convert.reference(reference, self._own_hosts),
            host=found.host,
        )

    async def GetRemoteManifest(
        self, request: registry_service_pb2.GetRemoteManifestRequest, context: Context
    ) -> AsyncIterator[registry_service_pb2.GetRemoteManifestResponse]:
        """Streams a manifest's bytes, then its config's."""
        reference = Reference.parse(request.reference).with_default_tag()
        platform, who = _platform(request.platform), _credentials(request)
        found = await self._ask(
            lambda stop: self._lookups.manifest(
                reference, platform, request.include_config, who, stop
            )
        )
        answer = registry_service_pb2.GetRemoteManifestResponse
        yield answer(
            manifest=_convert.descriptor(found.target, brief=True),
            manifest_data=found.raw[:_CHUNK],
        )
        for start in range(_CHUNK, len(found.raw), _CHUNK):
            yield answer(manifest_data=found.raw[start : start + _CHUNK])
        for start in range(0, len(found.config), _CHUNK):
            yield answer(config_data=found.config[start : start + _CHUNK])

    async def ListReferrers(
        self, request: registry_service_pb2.ListReferrersRequest, context: Context
    ) -> registry_service_pb2.ListReferrersResponse:
        """Lists a page of what refers to a manifest."""
        reference = Reference.parse(request.reference).with_default_tag()
        kind, who = request.artifact_type, _credentials(request)
        query = ["ListReferrers", str(reference), kind]
        after = _after(query, request.page_token)
        found = await self._ask(lambda stop: self._lookups.referrers(reference, kind, who, stop))
        behind = [one for one in found if one.digest > after]
        page = behind[: page_size(request.page_size)]
        answer = registry_service_pb2.ListReferrersResponse(referrers=fitting(map(_referrer, page)))
        if len(answer.referrers) < len(behind):
            answer.next_page_token = encode_token(query, [answer.referrers[-1].digest])
        return answer

    async def SearchRepositories(
        self, request: registry_service_pb2.SearchRepositoriesRequest, context: Context
    ) -> registry_service_pb2.SearchRepositoriesResponse:
        """Searches a registry."""
        domain = _domain(request.registry or DEFAULT_DOMAIN)
        query = ["Search", domain, request.query, request.official_only, request.min_stars]
        start = (1, 0)
        if request.page_token:
            start = decode_token(query, request.page_token, (int, int))
        limit = page_size(request.page_size, 25, 100)

        def fits(one: Found) -> bool:
            return one.stars >= request.min_stars and (one.official or not request.official_only)

        page = await self._ask(
            lambda stop: self._lookups.search(domain, request.query, start, limit, fits, stop)
        )
        token = encode_token(query, [*page.following]) if page.following else ""
        return registry_service_pb2.SearchRepositoriesResponse(
            results=map(_result, page.found), next_page_token=token
        )

    async def ListRateBudgets(
        self, request: registry_service_pb2.ListRateBudgetsRequest, context: Context
    ) -> registry_service_pb2.ListRateBudgetsResponse:
        """Returns the request budgets that are known."""
        found = self._lookups.rate_budgets()
        if request.registry:
            domain = _domain(request.registry)
            found = [one for one in found if one.host == domain.lower()]
        return registry_service_pb2.ListRateBudgetsResponse(
            budgets=map(_budget, found[:_MAX_BUDGETS])
        )

    async def CheckCredentials(
        self, request: registry_service_pb2.CheckCredentialsRequest, context: Context
    ) -> registry_service_pb2.CheckCredentialsResponse:
        """Tries credentials."""
        domain, who = _domain(request.registry), _convert.credentials(request.credentials)
        identity = await self._ask(lambda stop: self._lookups.check_credentials(domain, who, stop))
        return registry_service_pb2.CheckCredentialsResponse(identity_token=identity)

    async def _ask(self, work: Callable[[Cancellation], _T]) -> _T:
        """Runs a blocking look-up, which ends when its caller leaves."""
        if self._open >= _MOST_WAITING:
            raise Error(Reason.TOO_BUSY, f"{self._open} look-ups are waiting; try later")
        stop = Cancellation()
        self._open += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, stop)
        finally:
            self._open -= 1
            stop.cancel()


# --- requests


def _repository(text: str) -> Reference:
    found = Reference.parse(text)
    if found.tag or found.digest:
        raise FieldError("repository", "repository: name it without a tag or digest")
    return found


def _domain(text: str) -> str:
    """A registry's host as references have it."""
    return Reference.parse(f"{text}/x").domain


def _platform(text: str) -> Platform | None:
    return Platform.parse(text) if text else None


def _pattern(text: str) -> Callable[[str], bool]:
    if not text:
        return lambda _: True
    try:
        pattern = ReferencePattern(text)
    except PatternError as error:
        raise FieldError("pattern", f"pattern: {error}") from None
    return lambda tag: pattern.matches(tag, tag)


def _after(query: object, token: str) -> str:
    """Behind which name a page begins."""
    found: tuple[str] = decode_token(query, token, (str,)) if token else ("",)
    return found[0]


def _credentials(request: Any) -> Credentials | None:
    return _convert.credentials(request.credentials) if request.HasField("credentials") else None


# --- answers


def _names(names: list[str], last: str) -> tuple[list[str], str]:
    """As many names as an answer can hold, and the last one where more follow."""
    size = 0
    for position, name in enumerate(names):
        # ASCII; a field's tag and length take up to three bytes.
        size += len(name) + 3
        if size > MAX_ANSWER_BYTES:
            return names[:position], names[position - 1]
    return names, last


def _referrer(one: Descriptor) -> descriptor_pb2.Descriptor:
    """A referrer, without its annotations where no answer holds them: they are a stranger's."""
    message = _convert.descriptor(one)
    fits = message.ByteSize() <= MAX_ANSWER_BYTES
    return message if fits else _convert.descriptor(one, brief=True)


def _result(one: Found) -> registry_pb2.SearchResult:
    return registry_pb2.SearchResult(
        repository=one.repository,
        description=one.description,
        star_count=one.stars,
        official=one.official,
    )


def _budget(one: RateBudget) -> registry_pb2.RateBudget:
    message = registry_pb2.RateBudget(host=one.host, limit=one.limit, remaining=one.remaining)
    if one.window is not None:
        message.window.CopyFrom(_convert.duration(one.window))
    if one.blocked_until is not None:
        message.blocked_until.CopyFrom(_convert.timestamp(int(one.blocked_until * 1_000_000)))
    message.update_time.CopyFrom(_convert.timestamp(int(one.updated * 1_000_000)))
    return message

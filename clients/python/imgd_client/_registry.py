"""RegistryService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import NamedTuple

import grpc

from imgd.v1 import (
    descriptor_pb2,
    registry_pb2,
    registry_service_pb2,
    registry_service_pb2_grpc,
    transfer_pb2,
)

from ._calls import AsyncCalls, Calls
from ._errors import from_rpc_error

__all__ = ["AsyncRegistry", "Registry", "RemoteManifest"]

_Credentials = transfer_pb2.RegistryCredentials | None


class RemoteManifest(NamedTuple):
    """A manifest that was not pulled."""

    descriptor: descriptor_pb2.Descriptor
    """Its type, digest and size."""
    raw: bytes
    """Its bytes, which have that digest."""
    config: bytes
    """Its config's bytes; empty where they were not asked for, or it is no image."""


class Registry:
    """Look-ups in registries that pull nothing."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(calls.channel)

    def tags(
        self,
        repository: str,
        *,
        pattern: str = "",
        page_size: int = 0,
        credentials: _Credentials = None,
    ) -> Iterator[str]:
        """A repository's tags in lexical order, page by page as they are asked for.

        Args:
            repository: Such as `redis` or `127.0.0.1:5000/app`.
            pattern: A shell pattern that they are to fit; empty for all.
            page_size: How many to ask for at once.
            credentials: None for the daemon's own configuration.
        """
        request = registry_service_pb2.ListTagsRequest(
            repository=repository, pattern=pattern, page_size=page_size, credentials=credentials
        )
        while True:
            page = self._calls.unary(self._stub.ListTags, request)
            yield from page.tags
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def repositories(
        self, registry: str, *, page_size: int = 0, credentials: _Credentials = None
    ) -> Iterator[str]:
        """The paths of a registry's repositories, page by page, where it permits that."""
        request = registry_service_pb2.ListRepositoriesRequest(
            registry=registry, page_size=page_size, credentials=credentials
        )
        while True:
            page = self._calls.unary(self._stub.ListRepositories, request)
            yield from page.repositories
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def resolve(
        self, reference: str, *, platform: str = "", credentials: _Credentials = None
    ) -> registry_service_pb2.ResolveReferenceResponse:
        """What a name points at; with a platform, that one's manifest."""
        request = registry_service_pb2.ResolveReferenceRequest(
            reference=reference, platform=platform, credentials=credentials
        )
        return self._calls.unary(self._stub.ResolveReference, request)

    def manifest(
        self,
        reference: str,
        *,
        platform: str = "",
        include_config: bool = False,
        credentials: _Credentials = None,
    ) -> RemoteManifest:
        """A manifest, and its config if wanted. Without a platform, an index itself."""
        request = registry_service_pb2.GetRemoteManifestRequest(
            reference=reference,
            platform=platform,
            include_config=include_config,
            credentials=credentials,
        )
        try:
            parts = [*self._stub.GetRemoteManifest(request, timeout=self._calls.timeout)]
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return _joined(parts)

    def referrers(
        self,
        reference: str,
        *,
        artifact_type: str = "",
        page_size: int = 0,
        credentials: _Credentials = None,
    ) -> Iterator[descriptor_pb2.Descriptor]:
        """What refers to a manifest (signatures, attestations, SBOMs), page by page."""
        request = registry_service_pb2.ListReferrersRequest(
            reference=reference,
            artifact_type=artifact_type,
            page_size=page_size,
            credentials=credentials,
        )
        while True:
            page = self._calls.unary(self._stub.ListReferrers, request)
            yield from page.referrers
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def search(
        self,
        query: str,
        *,
        registry: str = "",
        official_only: bool = False,
        min_stars: int = 0,
        page_size: int = 0,
    ) -> Iterator[registry_pb2.SearchResult]:
        """Repositories that Docker Hub finds, or another registry, page by page."""
        request = registry_service_pb2.SearchRepositoriesRequest(
            query=query,
            registry=registry,
            official_only=official_only,
            min_stars=min_stars,
            page_size=page_size,
        )
        while True:
            page = self._calls.unary(self._stub.SearchRepositories, request)
            yield from page.results
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def rate_budgets(self, registry: str = "") -> list[registry_pb2.RateBudget]:
        """The request budgets that registries have told of, or one of them."""
        request = registry_service_pb2.ListRateBudgetsRequest(registry=registry)
        return [*self._calls.unary(self._stub.ListRateBudgets, request).budgets]

    def check_credentials(
        self, registry: str, credentials: transfer_pb2.RegistryCredentials
    ) -> str:
        """Tries credentials. Returns the identity token to keep instead of them; empty for none."""
        request = registry_service_pb2.CheckCredentialsRequest(
            registry=registry, credentials=credentials
        )
        return self._calls.unary(self._stub.CheckCredentials, request).identity_token


class AsyncRegistry:
    """Look-ups in registries that pull nothing, for asyncio; see `Registry`."""

    def __init__(self, calls: AsyncCalls) -> None:
        self._calls = calls
        self._stub = registry_service_pb2_grpc.RegistryServiceStub(calls.channel)

    async def tags(
        self,
        repository: str,
        *,
        pattern: str = "",
        page_size: int = 0,
        credentials: _Credentials = None,
    ) -> AsyncIterator[str]:
        """A repository's tags in lexical order, page by page as they are asked for.

        Args:
            repository: Such as `redis` or `127.0.0.1:5000/app`.
            pattern: A shell pattern that they are to fit; empty for all.
            page_size: How many to ask for at once.
            credentials: None for the daemon's own configuration.
        """
        request = registry_service_pb2.ListTagsRequest(
            repository=repository, pattern=pattern, page_size=page_size, credentials=credentials
        )
        while True:
            page = await self._calls.unary(self._stub.ListTags, request)
            for one in page.tags:
                yield one
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def repositories(
        self, registry: str, *, page_size: int = 0, credentials: _Credentials = None
    ) -> AsyncIterator[str]:
        """The paths of a registry's repositories, page by page, where it permits that."""
        request = registry_service_pb2.ListRepositoriesRequest(
            registry=registry, page_size=page_size, credentials=credentials
        )
        while True:
            page = await self._calls.unary(self._stub.ListRepositories, request)
            for one in page.repositories:
                yield one
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def resolve(
        self, reference: str, *, platform: str = "", credentials: _Credentials = None
    ) -> registry_service_pb2.ResolveReferenceResponse:
        """What a name points at; with a platform, that one's manifest."""
        request = registry_service_pb2.ResolveReferenceRequest(
            reference=reference, platform=platform, credentials=credentials
        )
        return await self._calls.unary(self._stub.ResolveReference, request)

    async def manifest(
        self,
        reference: str,
        *,
        platform: str = "",
        include_config: bool = False,
        credentials: _Credentials = None,
    ) -> RemoteManifest:
        """A manifest, and its config if wanted. Without a platform, an index itself."""
        request = registry_service_pb2.GetRemoteManifestRequest(
            reference=reference,
            platform=platform,
            include_config=include_config,
            credentials=credentials,
        )
        try:
            call = self._stub.GetRemoteManifest(request, timeout=self._calls.timeout)
            parts = [part async for part in call]
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return _joined(parts)

    async def referrers(
        self,
        reference: str,
        *,
        artifact_type: str = "",
        page_size: int = 0,
        credentials: _Credentials = None,
    ) -> AsyncIterator[descriptor_pb2.Descriptor]:
        """What refers to a manifest (signatures, attestations, SBOMs), page by page."""
        request = registry_service_pb2.ListReferrersRequest(
            reference=reference,
            artifact_type=artifact_type,
            page_size=page_size,
            credentials=credentials,
        )
        while True:
            page = await self._calls.unary(self._stub.ListReferrers, request)
            for one in page.referrers:
                yield one
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def search(
        self,
        query: str,
        *,
        registry: str = "",
        official_only: bool = False,
        min_stars: int = 0,
        page_size: int = 0,
    ) -> AsyncIterator[registry_pb2.SearchResult]:
        """Repositories that Docker Hub finds, or another registry, page by page."""
        request = registry_service_pb2.SearchRepositoriesRequest(
            query=query,
            registry=registry,
            official_only=official_only,
            min_stars=min_stars,
            page_size=page_size,
        )
        while True:
            page = await self._calls.unary(self._stub.SearchRepositories, request)
            for one in page.results:
                yield one
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def rate_budgets(self, registry: str = "") -> list[registry_pb2.RateBudget]:
        """The request budgets that registries have told of, or one of them."""
        request = registry_service_pb2.ListRateBudgetsRequest(registry=registry)
        return [*(await self._calls.unary(self._stub.ListRateBudgets, request)).budgets]

    async def check_credentials(
        self, registry: str, credentials: transfer_pb2.RegistryCredentials
    ) -> str:
        """Tries credentials. Returns the identity token to keep instead of them; empty for none."""
        request = registry_service_pb2.CheckCredentialsRequest(
            registry=registry, credentials=credentials
        )
        return (await self._calls.unary(self._stub.CheckCredentials, request)).identity_token


def _joined(
    parts: Iterable[registry_service_pb2.GetRemoteManifestResponse],
) -> RemoteManifest:
    found = descriptor_pb2.Descriptor()
    raw, config = bytearray(), bytearray()
    for part in parts:
        if part.HasField("manifest"):
            found = part.manifest
        raw += part.manifest_data
        config += part.config_data
    return RemoteManifest(found, bytes(raw), bytes(config))

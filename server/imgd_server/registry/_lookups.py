"""Look-ups in registries that pull nothing: tags, catalog, manifests, referrers, search."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final
from urllib.parse import quote, urlencode

from imgd_server.errors import Error, Reason, from_format
from imgd_server.oci import (
    DEFAULT_DOMAIN,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Digest,
    FormatError,
    Index,
    Platform,
    Reference,
    media,
    parse_manifest,
)
from imgd_server.registry._answers import manifest_kind, protocol_error
from imgd_server.registry._asking import Call
from imgd_server.registry._budgets import RateBudget
from imgd_server.registry._choosing import Look, RemoteManifest
from imgd_server.registry._client import HttpRegistryClient
from imgd_server.registry._http import Response
from imgd_server.registry._pages import MAX_PAGES, name_pages, parse_object, read_body, walk
from imgd_server.registry._protocol import Cancellation, Credentials, Resolved

__all__ = ["Found", "Lookups", "NamePage", "SearchPage"]

# Signatures, attestations and SBOMs of one manifest; a page of a hostile registry has 4,096.
_MAX_REFERRERS = 10_000
# How registries without the referrers API answer: 404 by the specification, and the rest of what
# is met (go-containerregistry asks the tag then, too).
_NO_REFERRERS = {400, 404, 405, 406}
_HUB_SEARCH = "index.docker.io"
_MAX_SEARCH_BYTES = 1 << 20
# What Docker Hub gives at the most.
_SEARCH_PAGE: Final = 100
# Read for one call; the filters are ours, and may fit nothing.
_SEARCH_PAGES: Final = 5
_MAX_TEXT = 1000


@dataclass(frozen=True, slots=True)
class NamePage:
    """Names in lexical order, and behind which the next page begins; empty at the end."""

    names: list[str]
    last: str


@dataclass(frozen=True, slots=True)
class Found:
    """A repository that a search found, with its name as one pulls it."""

    repository: str
    description: str
    stars: int
    official: bool


@dataclass(frozen=True, slots=True)
class SearchPage:
    """What was found, and where the next page begins: the registry's page and a place on it. None
    at the end."""

    found: list[Found]
    following: tuple[int, int] | None


class Lookups:
    """Asks registries through a client, and so with its authentication and egress policy.

    Every method blocks, may be called from any thread, and raises REGISTRY_*, EGRESS_DENIED and
    CANCELLED as the client does. `search_host` is where Docker Hub is searched, if not there.
    """

    def __init__(self, client: HttpRegistryClient, search_host: str = "") -> None:
        self._client = client
        self._search_host = search_host or _HUB_SEARCH

    # --- lists of names

    def tags(
        self,
        repository: Reference,
        after: str,
        limit: int,
        fits: Callable[[str], bool],
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> NamePage:
        """At most `limit` of a repository's tags behind `after` that fit. Raises REMOTE_NOT_FOUND.

        A page may end early where few fit.
        """
        call = Call.of(repository, "tags/list", credentials, cancellation)

        def valid(name: str) -> bool:
            return _is_valid(lambda: repository.with_tag(name))

        return self._names(call, "tags", valid, after, limit, fits)

    def repositories(
        self,
        domain: str,
        after: str,
        limit: int,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> NamePage:
        """At most `limit` of a registry's repositories behind `after`, as paths."""
        scope = "registry:catalog:*"
        call = Call(domain, "/v2/_catalog", scope, credentials, cancellation, "catalog")

        def valid(name: str) -> bool:
            return _is_valid(lambda: Reference(domain, name))

        return self._names(call, "repositories", valid, after, limit, lambda _: True)

    def _names(
        self,
        call: Call,
        key: str,
        valid: Callable[[str], bool],
        after: str,
        limit: int,
        fits: Callable[[str], bool],
    ) -> NamePage:
        """A page of what a registry lists, but for what no reference can hold.

        A registry that keeps the order is asked from `after` on. Of another one all has to be read.
        """

        def pages(last: str) -> Iterator[list[str]]:
            for page in name_pages(self._client, call, key, last):
                yield [*filter(valid, page)]

        page = _ascending(pages(after), after, limit, fits)
        return _sorted(pages(""), after, limit, fits) if page is None else page

    # --- manifests

    def resolve(
        self,
        reference: Reference,
        platform: Platform | None,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> Resolved:
        """What a reference points at; with a platform, the manifest for it. Raises
        REMOTE_NOT_FOUND, REMOTE_PLATFORM_NOT_FOUND, and what `RegistryClient.fetch_manifest` does.
        """
        if platform is None:
            return self._client.resolve(reference, credentials, cancellation)
        found = Look(self._client, reference, credentials, cancellation).find(platform)
        return Resolved(found.target, found.host)

    def manifest(
        self,
        reference: Reference,
        platform: Platform | None,
        include_config: bool,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> RemoteManifest:
        """A manifest's verified bytes, and an image's config. Raises as `resolve`."""
        look = Look(self._client, reference, credentials, cancellation)
        found = look.find(platform)
        config = look.config(found) if include_config else b""
        return RemoteManifest(found.target, found.raw, config, found.host)

    # --- referrers

    def referrers(
        self,
        reference: Reference,
        artifact_type: str,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> list[Descriptor]:
        """What refers to a manifest, in the order of digests; of one type, or of every ("").

        Asks the tag scheme where the registry has no referrers API (OCI distribution 1.1). Raises
        REMOTE_NOT_FOUND for a tag or repository that there is not; a digest that the registry does
        not have has no referrers.
        """
        subject = reference.digest
        if subject is None:
            subject = self._client.resolve(reference, credentials, cancellation).target.digest
        call = Call.of(reference, f"referrers/{subject}", credentials, cancellation)
        if artifact_type:
            query = urlencode({"artifactType": artifact_type})
            call = replace(call, target=f"{call.target}?{query}")
        found: dict[str, Descriptor] = {}
        began = False
        try:
            for page in walk(self._client, call, media.OCI_INDEX, _read_index):
                began = True
                found.update((one.digest, one) for one in page)
                if len(found) > _MAX_REFERRERS:
                    raise Error(
                        Reason.REGISTRY_PROTOCOL,
                        f"{reference.domain} lists more than {_MAX_REFERRERS} referrers",
                        host=reference.domain,
                    )
        except Error as error:
            if began or error.http_status not in _NO_REFERRERS:
                raise
            tagged = self._tagged_referrers(reference, subject, credentials, cancellation)
            found.update((one.digest, one) for one in tagged)
        # Also where the registry says that it has filtered: it costs nothing.
        wanted = (one for one in found.values() if artifact_type in ("", one.artifact_type))
        return sorted(wanted, key=lambda one: one.digest)

    def _tagged_referrers(
        self,
        reference: Reference,
        subject: Digest,
        credentials: Credentials | None,
        cancellation: Cancellation,
    ) -> Iterable[Descriptor]:
        tag = f"{subject.algorithm}-{subject.hex[:64]}"
        call = Call.of(reference, f"manifests/{tag}", credentials, cancellation)
        try:
            with self._client.ask(call, "GET", {"Accept": media.OCI_INDEX}) as response:
                return _read_index(response)
        except Error as error:
            if error.reason is Reason.REMOTE_NOT_FOUND and error.registry_code != "NAME_UNKNOWN":
                return ()
            raise

    # --- what registries say of themselves and of their callers

    def rate_budgets(self) -> list[RateBudget]:
        """The budgets that registries have told of, in the order of hosts."""
        return self._client.rate_budgets

    def check_credentials(
        self, domain: str, credentials: Credentials, cancellation: Cancellation
    ) -> str:
        """See `HttpRegistryClient.check_credentials`."""
        return self._client.check_credentials(domain, credentials, cancellation)

    # --- search

    def search(
        self,
        domain: str,
        query: str,
        start: tuple[int, int],
        limit: int,
        fits: Callable[[Found], bool],
        cancellation: Cancellation,
    ) -> SearchPage:
        """Repositories that a registry finds and that fit, from `start` on; (1, 0) is the first.

        By Docker's v1 search, which Docker Hub has and few others. `domain` is as references have
        it. A page may end early where few fit.
        """
        found: list[Found] = []
        first, place = start
        for page in range(first, first + _SEARCH_PAGES):
            results, pages = self._search_page(domain, query, page, cancellation)
            for position, one in enumerate(results[place:], place):
                if one and fits(one):
                    if len(found) == limit:
                        return SearchPage(found, (page, position))
                    found.append(one)
            place = 0
            if not results or page >= min(pages, MAX_PAGES):
                return SearchPage(found, None)
        return SearchPage(found, (first + _SEARCH_PAGES, 0))

    def _search_page(
        self, domain: str, query: str, page: int, cancellation: Cancellation
    ) -> tuple[list[Found | None], int]:
        """The results on one of the registry's pages, None for those that can't be pulled, and
        how many pages there are."""
        host = self._search_host if domain == DEFAULT_DOMAIN else domain
        # `quote_via`: Docker Hub takes a plus for itself.
        parameters = urlencode({"q": query, "n": _SEARCH_PAGE, "page": page}, quote_via=quote)
        call = Call(host, f"/v1/search?{parameters}", "", None, cancellation, "search")
        with self._client.ask(call, "GET", {"Accept": "application/json"}) as response:
            answer = parse_object(response, read_body(response, _MAX_SEARCH_BYTES))
        results, pages = answer.get("results"), answer.get("num_pages")
        if not isinstance(results, list):
            raise protocol_error(response, "answers a search with no results")
        found = [_found(one, domain) for one in results]
        return found, pages if isinstance(pages, int) else 1


def _is_valid(parse: Callable[[], Reference]) -> bool:
    try:
        parse()
    except FormatError:
        return False
    return True


def _ascending(
    pages: Iterable[list[str]], after: str, limit: int, fits: Callable[[str], bool]
) -> NamePage | None:
    """A page of names that come in lexical order from behind `after`; None when they do not."""
    found: list[str] = []
    seen = after
    for number, page in enumerate(pages, 1):
        # All of the page, before any of it is handed on.
        if any(name <= before for before, name in pairwise([seen, *page])):
            return None
        seen = page[-1] if page else seen
        found += filter(fits, page)
        if len(found) > limit:
            return NamePage(found[:limit], found[limit - 1])
        if number == MAX_PAGES:
            return NamePage(found, seen)
    return NamePage(found, "")


def _sorted(
    pages: Iterable[list[str]], after: str, limit: int, fits: Callable[[str], bool]
) -> NamePage:
    """A page of all the names that come in whatever order."""
    names = {name for page in pages for name in page if name > after}
    found = sorted(filter(fits, names))
    return NamePage(found[:limit], found[limit - 1] if len(found) > limit else "")


def _read_index(response: Response) -> tuple[Descriptor, ...]:
    """The entries of an index. Raises MANIFEST_*, REGISTRY_PROTOCOL."""
    kind = manifest_kind(response)
    raw = read_body(response, MAX_MANIFEST_BYTES)
    try:
        parsed = parse_manifest(raw, kind)
    except FormatError as error:
        raise from_format(error, host=response.host) from error
    if not isinstance(parsed, Index):
        raise protocol_error(response, "answers no index of referrers")
    return parsed.manifests


def _found(result: object, domain: str) -> Found | None:
    """One result; None for what can't be read or pulled."""
    if not isinstance(result, dict):
        return None
    name, description, stars = (result.get(key) for key in ("name", "description", "star_count"))
    hub = domain == DEFAULT_DOMAIN
    try:
        repository = Reference(domain, name) if isinstance(name, str) else None
    except FormatError:
        repository = None
    if repository is None:
        return None
    text = description if isinstance(description, str) else ""
    return Found(
        repository.familiar(),
        "".join(char if char.isprintable() else " " for char in text[:_MAX_TEXT]),
        min(max(stars, 0), 2**63 - 1) if isinstance(stars, int) else 0,
        # The mark is Docker Hub's, and nobody else's to give.
        hub and result.get("is_official") is True and repository.path.startswith("library/"),
    )

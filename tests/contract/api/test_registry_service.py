"""RegistryService as any client meets it, over registries that do as they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from imgd.v1 import registry_service_pb2 as pb
from imgd.v1 import transfer_pb2
from imgd_server.oci import MAX_MANIFEST_BYTES
from tests.contract.api.served import Api, read, refusal, serve
from tests.fake_images import OCI_INDEX, descriptor, make_document, make_image, make_index
from tests.hostile import (
    Answer,
    Fault,
    HostileRegistry,
    Request,
    header,
    html,
    raw,
    redirect,
    refuse,
    replaced,
    reset,
    stall,
    truncate,
)

IMAGE, ARM = make_image([b"amd64"]), make_image([b"arm"], architecture="arm64")
INDEX = make_index(
    [
        (IMAGE, {"os": "linux", "architecture": "amd64"}),
        (ARM, {"os": "linux", "architecture": "arm64"}),
    ]
)


@pytest.fixture
def registry() -> Iterator[HostileRegistry]:
    with HostileRegistry() as registry:
        yield registry


def says(body: object, **headers: str) -> Callable[[Request, Answer], Answer]:
    """A fault that is a right answer to what the registry does not know."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _request, _answer: Answer(200, named, raw)


def names(key: str, all_names: list[str]) -> Callable[[Request, Answer], Answer]:
    """A list by `n` and `last` (OCI distribution 1.1)."""

    def answer(request: Request, right: Answer) -> Answer:
        if right.status == 401:
            return right
        query = parse_qs(urlsplit(request.path).query)
        behind = [name for name in all_names if name > query.get("last", [""])[0]]
        page = behind[: int(query["n"][0])]
        path = urlsplit(request.path).path
        link = {"Link": f'<{path}?n={len(page)}&last={page[-1]}>; rel="next"'}
        return Answer(200, link if page != behind else {}, json.dumps({key: page}).encode())

    return answer


async def all_pages(method: Any, request: Any, field: str) -> list[list[Any]]:
    pages = []
    while True:
        answer = await method(request)
        pages.append([*getattr(answer, field)])
        if not answer.next_page_token:
            return pages
        request.page_token = answer.next_page_token


# --- lists


async def test_tags_come_in_pages(api: Api, registry: HostileRegistry) -> None:
    registry.on("/v2/app/tags/list", names("tags", [f"v{number:04}" for number in range(2500)]))
    request = pb.ListTagsRequest(repository=f"{registry.host}/app", page_size=1200)
    pages = await all_pages(api.registry.ListTags, request, "tags")
    assert [len(page) for page in pages] == [1200, 1200, 100]
    assert [tag for page in pages for tag in page] == [f"v{number:04}" for number in range(2500)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["1.0", "1.1", "2.0", "latest"]),
        ("1.*", ["1.0", "1.1"]),
        ("?.[01]", ["1.0", "1.1", "2.0"]),
        ("1.0", ["1.0"]),
        ("x", []),
        ("la", []),
    ],
)
async def test_tags_that_fit(
    api: Api, registry: HostileRegistry, pattern: str, expected: list[str]
) -> None:
    registry.on("/tags/list", says({"tags": ["latest", "2.0", "1.1", "1.0"]}))
    request = pb.ListTagsRequest(repository=f"{registry.host}/app", pattern=pattern)
    assert [*(await api.registry.ListTags(request)).tags] == expected


async def test_a_page_of_long_names_fits_into_an_answer(
    api: Api, registry: HostileRegistry
) -> None:
    every = [f"{number:06}{'x' * 122}" for number in range(9000)]
    registry.on("/tags/list", says({"tags": every}))
    request = pb.ListTagsRequest(repository=f"{registry.host}/app", page_size=10_000)
    first = await api.registry.ListTags(request)
    assert 900_000 < first.ByteSize() < 1 << 20
    request.page_token = first.next_page_token
    second = await api.registry.ListTags(request)
    assert [*first.tags, *second.tags] == every
    assert second.next_page_token == ""


@pytest.mark.parametrize(
    ("request_", "field", "reason"),
    [
        (pb.ListTagsRequest(repository="h.io/app:1"), "repository", "FIELD_INVALID"),
        (
            pb.ListTagsRequest(repository="h.io/app@sha256:" + "0" * 64),
            "repository",
            "FIELD_INVALID",
        ),
        (pb.ListTagsRequest(repository="h.io/app", pattern="["), "pattern", "FIELD_INVALID"),
        (pb.ListTagsRequest(repository="h.io/app", pattern="a" * 1025), "pattern", "FIELD_INVALID"),
        (
            pb.ListTagsRequest(repository="h.io/app", page_token="x"),
            "page_token",
            "PAGE_TOKEN_INVALID",
        ),
        (pb.ListRepositoriesRequest(registry="h.io/app"), "registry", "REFERENCE_INVALID"),
        (pb.ListRepositoriesRequest(registry="word"), "registry", "REFERENCE_INVALID"),
        (pb.ListRepositoriesRequest(registry="https://h.io"), "registry", "REFERENCE_INVALID"),
        (pb.SearchRepositoriesRequest(query="x", registry="a b"), "registry", "REFERENCE_INVALID"),
        (pb.SearchRepositoriesRequest(query="x" * 1025), "query", "FIELD_INVALID"),
        (pb.SearchRepositoriesRequest(query="x", min_stars=-1), "min_stars", "FIELD_INVALID"),
        (
            pb.ListReferrersRequest(reference="x", artifact_type="t" * 256),
            "artifact_type",
            "FIELD_INVALID",
        ),
        (pb.ListRateBudgetsRequest(registry="/"), "registry", "REFERENCE_INVALID"),
        (pb.CheckCredentialsRequest(registry="h.io"), "credentials", "FIELD_INVALID"),
    ],
    ids=str,
)
async def test_what_breaks_a_rule_is_refused_before_anybody_is_asked(
    api: Api, request_: Any, field: str, reason: str
) -> None:
    name = type(request_).__name__.removesuffix("Request")
    found = await refusal(getattr(api.registry, name)(request_))
    assert (found.code, found.reason, found.field) == ("INVALID_ARGUMENT", reason, field)


async def test_a_token_is_of_its_own_list(api: Api, registry: HostileRegistry) -> None:
    registry.on("/tags/list", says({"tags": ["a", "b"]}))
    request = pb.ListTagsRequest(repository=f"{registry.host}/app", page_size=1)
    request.page_token = (await api.registry.ListTags(request)).next_page_token
    assert [*(await api.registry.ListTags(request)).tags] == ["b"]
    request.pattern = "*"
    assert (await refusal(api.registry.ListTags(request))).reason == "PAGE_TOKEN_INVALID"


async def test_the_catalog_with_a_token_for_it(api: Api, registry: HostileRegistry) -> None:
    registry.on("/v2/_catalog", names("repositories", ["app", "team/app"]))
    registry.require_bearer()
    request = pb.ListRepositoriesRequest(registry=registry.host)
    found = await api.registry.ListRepositories(request)
    assert [*found.repositories] == ["app", "team/app"]
    (asked,) = registry.matching("GET /token")
    assert parse_qs(urlsplit(asked.path).query)["scope"][0] == "registry:catalog:*"


async def test_a_registry_that_has_no_such_repository(api: Api, registry: HostileRegistry) -> None:
    unknown = refuse(404, code="NAME_UNKNOWN")
    registry.on("/tags/list", unknown)
    request = pb.ListTagsRequest(repository=f"{registry.host}/none")
    found = await refusal(api.registry.ListTags(request))
    assert (found.code, found.reason) == ("NOT_FOUND", "REMOTE_NOT_FOUND")
    assert found.metadata["registry_code"] == "NAME_UNKNOWN"
    assert found.metadata["host"] == registry.host


# --- manifests


async def test_what_a_reference_points_at(api: Api, registry: HostileRegistry) -> None:
    name = registry.add("team/app", INDEX, "1", "latest")
    request = pb.ResolveReferenceRequest(reference=name)
    found = await api.registry.ResolveReference(request)
    assert (found.target.digest, found.target.media_type) == (INDEX.digest, OCI_INDEX)
    assert (found.target.size, found.host) == (len(INDEX.raw), registry.host)
    assert (found.reference.full, found.reference.tag) == (name, "1")
    request.platform = "linux/arm64"
    assert (await api.registry.ResolveReference(request)).target.digest == ARM.digest
    without = pb.ResolveReferenceRequest(reference=name.removesuffix(":1"))
    assert (await api.registry.ResolveReference(without)).reference.tag == "latest"
    request.platform = "linux/s390x"
    refused = await refusal(api.registry.ResolveReference(request))
    assert (refused.code, refused.reason) == ("NOT_FOUND", "REMOTE_PLATFORM_NOT_FOUND")


async def get(api: Api, **fields: Any) -> tuple[list[Any], bytes, bytes]:
    call = api.registry.GetRemoteManifest(pb.GetRemoteManifestRequest(**fields))
    parts = await read(call)
    raw = b"".join(part.manifest_data for part in parts)
    return parts, raw, b"".join(part.config_data for part in parts)


async def test_a_manifest_and_its_config(api: Api, registry: HostileRegistry) -> None:
    name = registry.add("app", INDEX, "1")
    parts, raw, config = await get(api, reference=name, include_config=True)
    assert (raw, config, parts[0].manifest.digest) == (INDEX.raw, b"", INDEX.digest)
    for include in (False, True):
        parts, raw, config = await get(
            api, reference=name, platform="linux/arm64", include_config=include
        )
        assert (parts[0].manifest.digest, raw) == (ARM.digest, ARM.raw)
        assert config == (ARM.blobs[ARM.image_id] if include else b"")
    assert not registry.matching("/blobs/" + ARM.document["layers"][0]["digest"])


async def test_a_large_manifest_is_streamed_in_parts(api: Api, registry: HostileRegistry) -> None:
    document = {**IMAGE.document, "annotations": {"x": "y" * (3 << 20)}}
    large = make_document(document, blobs=IMAGE.blobs)
    assert len(large.raw) < MAX_MANIFEST_BYTES
    parts, raw, config = await get(
        api, reference=registry.add("app", large, "1"), include_config=True
    )
    assert (raw, config) == (large.raw, IMAGE.blobs[IMAGE.image_id])
    assert max(part.ByteSize() for part in parts) < 1 << 20
    assert [part.HasField("manifest") for part in parts] == [True] + [False] * (len(parts) - 1)


async def test_other_bytes_than_asked_for_are_never_given(
    api: Api, registry: HostileRegistry
) -> None:
    name = registry.add("app", IMAGE)
    registry.on("GET .*/manifests/", says(ARM.raw, Content_Type=ARM.media_type))
    found = await refusal(get(api, reference=name))
    assert (found.code, found.reason) == ("DATA_LOSS", "DIGEST_MISMATCH")


# --- referrers


def referrers(*kinds: str) -> bytes:
    entries = [
        {**descriptor(f"{number}".encode(), IMAGE.media_type), "artifactType": kind}
        for number, kind in enumerate(kinds)
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return json.dumps(index).encode()


@pytest.mark.parametrize("by_api", [True, False])
async def test_referrers_come_in_pages(api: Api, registry: HostileRegistry, by_api: bool) -> None:
    name = registry.add("app", IMAGE, "1")
    raw = referrers("sig", "sbom", "sig", "sig")
    if by_api:
        registry.on("/referrers/", says(raw, Content_Type=OCI_INDEX))
    else:
        tagged = make_document(raw, OCI_INDEX)
        registry.add("app", tagged, IMAGE.digest.replace(":", "-"))
        registry.on("/referrers/", refuse(404))
    request = pb.ListReferrersRequest(reference=name, artifact_type="sig", page_size=2)
    pages = await all_pages(api.registry.ListReferrers, request, "referrers")
    assert [len(page) for page in pages] == [2, 1]
    found = [one for page in pages for one in page]
    assert len({one.digest for one in found}) == 3
    assert {one.artifact_type for one in found} == {"sig"}


async def test_a_referrer_with_too_much_to_say(api: Api, registry: HostileRegistry) -> None:
    name = registry.add("app", IMAGE, "1")
    index = json.loads(referrers("sig", "sig"))
    index["manifests"][0]["annotations"] = {"note": "x" * 2_000_000}
    index["manifests"][1]["annotations"] = {"note": "short"}
    registry.on("/referrers/", says(json.dumps(index).encode(), Content_Type=OCI_INDEX))
    answer = await api.registry.ListReferrers(pb.ListReferrersRequest(reference=name))
    assert answer.ByteSize() <= 1 << 20
    found = {one.digest: one.annotations for one in answer.referrers}
    long, short = (one["digest"] for one in index["manifests"])
    assert found == {long: {}, short: {"note": "short"}}


# --- search


async def test_search(tmp_path: Any, registry: HostileRegistry) -> None:
    results = [
        {"name": "redis", "description": "a\nb", "star_count": 100, "is_official": True},
        {"name": "team/redis", "description": None, "star_count": 5, "is_official": False},
        {"name": "other/redis", "star_count": 50},
    ]
    registry.on("/v1/search", says({"num_pages": 1, "results": results}))
    async with serve(tmp_path, search_host=registry.host) as api:

        async def found(**fields: Any) -> list[str]:
            request = pb.SearchRepositoriesRequest(query="redis", **fields)
            pages = await all_pages(api.registry.SearchRepositories, request, "results")
            return [one.repository for page in pages for one in page]

        (first,) = (
            await api.registry.SearchRepositories(
                pb.SearchRepositoriesRequest(query="redis", page_size=1)
            )
        ).results
        assert (first.repository, first.description) == ("redis", "a b")
        assert (first.star_count, first.official) == (100, True)
        every = ["redis", "team/redis", "other/redis"]
        assert await found() == await found(page_size=1) == every
        assert await found(registry="docker.io") == every
        assert await found(official_only=True) == ["redis"]
        assert await found(min_stars=50) == ["redis", "other/redis"]
        elsewhere = await found(registry=registry.host)
        assert elsewhere == [f"{registry.host}/{name}" for name in every]
        assert await found(registry=registry.host, official_only=True) == []


# --- budgets, credentials


async def test_budgets_of_every_registry_that_told(api: Api, registry: HostileRegistry) -> None:
    name = registry.add("app", IMAGE, "1")
    registry.on("HEAD", header(RateLimit_Limit="100;w=21600", RateLimit_Remaining="98;w=21600"))
    await api.registry.ResolveReference(pb.ResolveReferenceRequest(reference=name))

    async def budgets(**fields: str) -> list[Any]:
        return [*(await api.registry.ListRateBudgets(pb.ListRateBudgetsRequest(**fields))).budgets]

    (found,) = await budgets()
    assert (found.host, found.limit, found.remaining) == (registry.host, 100, 98)
    assert found.window.seconds == 21600
    assert found.update_time.seconds > 1_600_000_000
    assert not found.HasField("blocked_until")
    assert await budgets(registry=registry.host) == [found]
    assert await budgets(registry="h.io") == []

    registry.on("HEAD", refuse(429, Retry_After="3600"))
    limited = await refusal(
        api.registry.ResolveReference(pb.ResolveReferenceRequest(reference=name))
    )
    assert limited.reason == "REGISTRY_RATE_LIMITED"
    (blocked,) = await budgets()
    assert (blocked.limit, blocked.remaining) == (100, 98)
    assert blocked.blocked_until.seconds - blocked.update_time.seconds in (3599, 3600)


def user(name: str, password: str) -> transfer_pb2.RegistryCredentials:
    pair = transfer_pb2.RegistryCredentials.UserPassword(user=name, password=password)
    return transfer_pb2.RegistryCredentials(user_password=pair)


@pytest.mark.parametrize("bearer", [True, False])
async def test_credentials_are_tried(api: Api, registry: HostileRegistry, bearer: bool) -> None:
    if bearer:
        registry.require_bearer(user="alice", password="secret")
    else:
        registry.require_basic("alice", "secret")

    def check(who: transfer_pb2.RegistryCredentials) -> Any:
        request = pb.CheckCredentialsRequest(registry=registry.host, credentials=who)
        return api.registry.CheckCredentials(request)

    assert (await check(user("alice", "secret"))).identity_token == ""
    found = await refusal(check(user("alice", "wrong")))
    assert (found.code, found.reason) == ("UNAUTHENTICATED", "REGISTRY_UNAUTHORIZED")
    assert "wrong" not in found.message
    if bearer:
        good = transfer_pb2.RegistryCredentials(identity_token="refresh")
        assert (await check(good)).identity_token == ""
        bad = transfer_pb2.RegistryCredentials(identity_token="stale")
        assert (await refusal(check(bad))).reason == "REGISTRY_UNAUTHORIZED"


async def test_credentials_go_with_each_call_and_are_not_remembered(
    api: Api, registry: HostileRegistry
) -> None:
    name = registry.add("app", IMAGE, "1")
    registry.require_basic("alice", "secret")
    request = pb.ResolveReferenceRequest(reference=name)
    assert (await refusal(api.registry.ResolveReference(request))).code == "UNAUTHENTICATED"
    request.credentials.CopyFrom(user("alice", "secret"))
    assert (await api.registry.ResolveReference(request)).target.digest == IMAGE.digest
    request.ClearField("credentials")
    assert (await refusal(api.registry.ResolveReference(request))).code == "UNAUTHENTICATED"


# --- faults


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        pytest.param(reset(after=10), {"REGISTRY_UNREACHABLE"}, id="reset"),
        pytest.param(truncate(10), {"REGISTRY_UNREACHABLE"}, id="truncated"),
        pytest.param(html(), {"REGISTRY_PROTOCOL"}, id="html"),
        pytest.param(replaced(b"\x00" * 100), {"REGISTRY_PROTOCOL", "MANIFEST_INVALID"}, id="junk"),
        pytest.param(replaced(b"[" * 60_000), {"REGISTRY_PROTOCOL", "MANIFEST_INVALID"}, id="bomb"),
        pytest.param(header(Content_Encoding="gzip"), {"REGISTRY_PROTOCOL"}, id="encoded"),
        pytest.param(refuse(500), {"REGISTRY_UNAVAILABLE"}, id="500"),
        pytest.param(refuse(429, Retry_After="0"), {"REGISTRY_RATE_LIMITED"}, id="429"),
        pytest.param(redirect("/v2/"), {"REGISTRY_PROTOCOL"}, id="loop"),
        pytest.param(raw(b"nonsense\r\n\r\n"), {"REGISTRY_PROTOCOL"}, id="no-http"),
    ],
)
@pytest.mark.parametrize("method", ["ListTags", "ListReferrers", "SearchRepositories"])
async def test_a_fault_is_one_clear_error_and_is_over_with_it(
    api: Api, registry: HostileRegistry, method: str, fault: Fault, reasons: set[str]
) -> None:
    name = registry.add("app", IMAGE)
    requests: dict[str, tuple[str, Any, Fault]] = {
        "ListTags": (
            "/tags/list",
            pb.ListTagsRequest(repository=f"{registry.host}/app"),
            says({"tags": ["a"]}),
        ),
        "ListReferrers": (
            "/referrers/",
            pb.ListReferrersRequest(reference=name),
            says(referrers("sig"), Content_Type=OCI_INDEX),
        ),
        "SearchRepositories": (
            "/v1/search",
            pb.SearchRepositoriesRequest(query="x", registry=registry.host),
            says({"results": [{"name": "app"}]}),
        ),
    }
    pattern, request, right = requests[method]
    registry.on(pattern, right)
    rule = registry.on(f"{pattern}|GET /v2/$", fault)
    found = await refusal(getattr(api.registry, method)(request))
    assert found.reason in reasons
    assert found.metadata["host"] == registry.host
    assert rule.hits <= 7
    registry.behave()
    registry.on(pattern, right)
    assert (await getattr(api.registry, method)(request)).ByteSize()


# --- callers


async def test_a_caller_who_leaves_ends_the_look_up(api: Api, registry: HostileRegistry) -> None:
    # As many as there are threads for look-ups.
    registry.on("HEAD", stall(), times=16)
    request = pb.ResolveReferenceRequest(reference=registry.add("app", IMAGE, "1"))
    calls = [
        asyncio.ensure_future(_awaited(api.registry.ResolveReference(request))) for _ in range(16)
    ]
    await asyncio.to_thread(registry.wait_for, "HEAD", 16)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    found = await api.registry.ResolveReference(request)
    assert found.target.digest == IMAGE.digest


async def _awaited(call: Any) -> Any:
    return await call

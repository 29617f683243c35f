"""Tags, referrers and the catalog of the registry inside, over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from imgd_server.metadata import Name
from tests.fake_images import OCI_INDEX, FakeImage, descriptor, digest_of, make_image, make_index
from tests.registry_inside import Inside, serve_inside

ONE = make_image([b"one"])
CONFIG_TYPE = "application/vnd.example.config+json"


@pytest.fixture
async def inside(tmp_path: Path) -> AsyncIterator[Inside]:
    async with serve_inside(tmp_path) as inside:
        yield inside


def following(headers: Any) -> str:
    """The next page's path."""
    match = re.fullmatch(r'<([^>]+)>; rel="next"', headers["Link"])
    assert match
    return match[1]


async def pages(inside: Inside, path: str, key: str) -> list[list[Any]]:
    """Follows the links to the end."""
    found: list[list[Any]] = []
    while len(found) < 100:
        answer = await inside.call("GET", path)
        assert answer.status == 200
        found.append(answer.json[key])
        if "Link" not in answer.headers:
            return found
        path = following(answer.headers)
    raise AssertionError("the pages do not end")


# --- tags

TAGS = ["1", "1.0", "A", "_x", "a", "latest", "z-1"]


async def push_tags(inside: Inside, repository: str = "app") -> None:
    await inside.push(repository, TAGS[-1], ONE)
    for tag in reversed(TAGS[:-1]):
        assert (await inside.put_manifest(repository, tag, ONE)).status == 201


async def test_tags_are_listed_in_order(inside: Inside) -> None:
    await push_tags(inside)
    await inside.push("app-too", "other", ONE)
    await inside.push("app/below", "other", ONE)
    await inside.push("app", ONE.digest, ONE)
    answer = await inside.call("GET", "/v2/app/tags/list")
    assert answer.json == {"name": "app", "tags": TAGS}
    assert "Link" not in answer.headers
    head = await inside.call("HEAD", "/v2/app/tags/list")
    assert (head.status, head.body) == (200, b"")


@pytest.mark.parametrize(
    ("query", "expected", "last"),
    [
        ("n=3", TAGS[:3], "A"),
        ("n=7", TAGS, None),
        ("n=100", TAGS, None),
        ("n=0", [], None),
        ("n=0&last=A", [], None),
        ("n=2&last=1.0", ["A", "_x"], "_x"),
        ("last=a", ["latest", "z-1"], None),
        # Behind a tag that is not there, or is no tag.
        ("n=1&last=B", ["_x"], "_x"),
        ("last=%7F", [], None),
    ],
)
async def test_tags_are_paged(
    inside: Inside, query: str, expected: list[str], last: str | None
) -> None:
    await push_tags(inside)
    answer = await inside.call("GET", f"/v2/app/tags/list?{query}")
    assert answer.json["tags"] == expected
    if last is None:
        assert "Link" not in answer.headers
    else:
        n = query.split("&")[0]
        assert following(answer.headers) == f"/v2/app/tags/list?{n}&last={last}"


async def test_links_lead_through_all_tags(inside: Inside) -> None:
    await push_tags(inside, "docker.io/library/app")
    found = await pages(inside, "/v2/docker.io/library/app/tags/list?n=2", "tags")
    assert found == [TAGS[:2], TAGS[2:4], TAGS[4:6], TAGS[6:]]


@pytest.mark.parametrize("n", ["-1", "x", "", "9" * 5000])
async def test_a_bad_number_is_refused(inside: Inside, n: str) -> None:
    await push_tags(inside)
    for path in ("/v2/app/tags/list", "/v2/_catalog"):
        answer = await inside.call("GET", f"{path}?n={n}")
        assert (answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID")


async def test_a_repository_without_tags_is_known_by_what_it_shows(inside: Inside) -> None:
    assert (await inside.call("GET", "/v2/app/tags/list")).code == "NAME_UNKNOWN"
    digest = await inside.push_blob("app", b"blob")
    assert (await inside.call("GET", "/v2/app/tags/list")).json["tags"] == []
    await inside.call("DELETE", f"/v2/app/blobs/{digest}")
    assert (await inside.call("GET", "/v2/app/tags/list")).status == 404


# --- referrers


def artifact(
    subject: FakeImage | str, number: int = 0, *, kind: str = "", **members: Any
) -> FakeImage:
    """An artifact that refers to a manifest."""
    about = (
        descriptor(subject.raw, subject.media_type)
        if isinstance(subject, FakeImage)
        else {"mediaType": OCI_INDEX, "digest": subject, "size": 10}
    )
    made = make_image([b"{}"], config_type=CONFIG_TYPE)
    document = {**made.document, "subject": about, "annotations": {"number": str(number)}}
    if kind:
        document["artifactType"] = kind
    raw = json.dumps({**document, **members}).encode()
    return FakeImage(raw, made.media_type, made.blobs, {})


async def push_referrer(inside: Inside, referrer: FakeImage, reference: str = "") -> None:
    answer = await inside.push("app", reference or referrer.digest, referrer)
    assert answer.status == 201
    assert answer.headers["OCI-Subject"] == referrer.document["subject"]["digest"]


async def referrers(inside: Inside, subject: str, query: str = "") -> list[Any]:
    answer = await inside.call("GET", f"/v2/app/referrers/{subject}{query}")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == OCI_INDEX
    assert {**answer.json, "manifests": []} == {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [],
    }
    assert ("OCI-Filters-Applied" in answer.headers) is ("artifactType" in query)
    found: list[Any] = answer.json["manifests"]
    return found


def listed(referrer: FakeImage, artifact_type: str = "") -> dict[str, Any]:
    more = {"artifactType": artifact_type} if artifact_type else {}
    annotations = referrer.document["annotations"]
    return descriptor(referrer.raw, referrer.media_type, annotations=annotations, **more)


def by_digest(found: list[Any]) -> list[Any]:
    return sorted(found, key=lambda one: str(one["digest"]))


async def test_referrers_are_listed_with_type_and_annotations(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    typed, bare = artifact(ONE, 1, kind="a/sbom"), artifact(ONE, 2)
    index = FakeImage(
        json.dumps(
            {
                **make_index([(ONE, None)]).document,
                "subject": descriptor(ONE.raw, ONE.media_type),
                "annotations": {"of": "an index"},
            }
        ).encode(),
        OCI_INDEX,
    )
    await push_referrer(inside, typed)
    await push_referrer(inside, bare, "tagged")
    await push_referrer(inside, index)
    expected = [listed(typed, "a/sbom"), listed(bare, CONFIG_TYPE), listed(index)]
    assert await referrers(inside, ONE.digest) == by_digest(expected)
    assert await referrers(inside, ONE.digest, "?artifactType=a/sbom") == expected[:1]
    assert await referrers(inside, ONE.digest, f"?artifactType={quote(CONFIG_TYPE)}") == [
        expected[1]
    ]
    assert await referrers(inside, ONE.digest, "?artifactType=none") == []


async def test_a_referrer_may_come_before_its_subject(inside: Inside) -> None:
    early = artifact(ONE)
    await push_referrer(inside, early)
    assert await referrers(inside, ONE.digest) == [listed(early, CONFIG_TYPE)]
    assert (await inside.call("GET", f"/v2/app/manifests/{ONE.digest}")).status == 404


async def test_what_nobody_refers_to_has_no_referrers(inside: Inside) -> None:
    assert await referrers(inside, digest_of(b"unknown")) == []
    answer = await inside.call("GET", "/v2/app/referrers/latest")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


async def test_referrers_are_a_repositorys_own(inside: Inside) -> None:
    await push_referrer(inside, artifact(ONE))
    answer = await inside.call("GET", f"/v2/other/referrers/{ONE.digest}")
    assert answer.json["manifests"] == []


async def test_a_deleted_referrer_is_not_listed(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    await push_referrer(inside, artifact(ONE))
    assert (await inside.call("DELETE", f"/v2/app/manifests/{artifact(ONE).digest}")).status == 202
    assert await referrers(inside, ONE.digest) == []


async def test_referrers_outlive_their_upload_lease_with_their_subject(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    signature = artifact(ONE)
    await push_referrer(inside, signature)
    held = await inside.metadata.read(lambda session: session.held_digests(1 << 60))
    assert {ONE.digest, signature.digest, *signature.blobs} <= held


async def test_many_referrers_are_paged(inside: Inside) -> None:
    # Their annotations make a page of each.
    large = [
        artifact(ONE, kind="a/b", annotations={"x": str(number) * 600_000}) for number in range(3)
    ]
    for one in large:
        await push_referrer(inside, one)
    for query in ("", "?artifactType=a/b"):
        found = await pages(inside, f"/v2/app/referrers/{ONE.digest}{query}", "manifests")
        assert [len(page) for page in found] == [1, 1, 1]
        assert [one["digest"] for page in found for one in page] == sorted(
            one.digest for one in large
        )


# --- catalog


async def test_the_catalog_names_what_a_client_can_ask_for(inside: Inside) -> None:
    for repository in (
        "b",
        "team/app",
        "docker.io/library/redis",
        "z.test/x",
        "z.test/y",
        "a.test/x",
    ):
        await inside.push(repository, "1", ONE)
    await inside.push_blob("blobs/only", b"blob")
    expected = [
        "a.test/x",
        "b",
        "blobs/only",
        "docker.io/library/redis",
        "team/app",
        "z.test/x",
        "z.test/y",
    ]
    answer = await inside.call("GET", "/v2/_catalog")
    assert answer.json == {"repositories": expected}
    assert "Link" not in answer.headers
    for size in range(1, 9):
        found = await pages(inside, f"/v2/_catalog?n={size}", "repositories")
        assert [name for page in found for name in page] == expected
        assert [len(page) for page in found[:-1]] == [size] * (len(found) - 1)
    assert (await inside.call("GET", "/v2/_catalog?n=0")).json == {"repositories": []}
    for name in expected:
        assert (await inside.call("GET", f"/v2/{name}/tags/list")).status == 200


async def test_the_catalog_keeps_hosts_apart_that_begin_alike(inside: Inside) -> None:
    await inside.push("app", "1", ONE)
    record = await inside.metadata.read(lambda session: session.image_by_target(ONE.digest))
    assert record is not None
    alike = ["registry.test-2.example/x", "registry.test0/x", "registry.test.example/x"]

    for name in alike:
        await inside.metadata.write(
            lambda session, name=name: session.put_name(Name(f"{name}:1", name), record.uid)  # type: ignore[misc]
        )
    found = await pages(inside, "/v2/_catalog?n=1", "repositories")
    assert [name for page in found for name in page] == sorted(["app", *alike])


async def test_the_catalog_has_no_names_that_clients_refuse(
    inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgd_server.distribution._discovery._BATCH", 2)
    await inside.push("app", "1", ONE)
    record = await inside.metadata.read(lambda session: session.image_by_target(ONE.digest))
    assert record is not None
    ported = [f"{host}:5000/x{number}" for host in ("127.0.0.1", "z.test") for number in range(5)]
    plain = ["127.0.0.1/y", "a.test/a_b/c__d/e--f.g", "localhost/x", "z.test/y"]
    for name in [*ported, *plain, "[::1]:5000/x", "[::1]/x", "Z.test/x"]:
        await inside.metadata.write(
            lambda session, name=name: session.put_name(Name(f"{name}:1", name), record.uid)  # type: ignore[misc]
        )
    for size in (1, 2, 100):
        found = await pages(inside, f"/v2/_catalog?n={size}", "repositories")
        assert [name for page in found for name in page] == sorted(["app", *plain])
    # Who asks by the path gets it all the same.
    answer = await inside.call("GET", f"/v2/{ported[0]}/manifests/1")
    assert (answer.status, answer.body) == (200, ONE.raw)

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgd_server.errors import Error, Reason
from imgd_server.oci import Descriptor, Digest, Platform, Reference, media
from imgd_server.registry import (
    Cancellation,
    Credentials,
    Found,
    HttpRegistryClient,
    Lookups,
    RegistryConfig,
    _transport,
)
from imgd_server.registry._pages import MAX_PAGES, NAMES_A_PAGE
from tests.fake_images import (
    OCI_CONFIG,
    OCI_INDEX,
    FakeImage,
    descriptor,
    digest_of,
    make_document,
    make_image,
    make_index,
)

Answer = tuple[int, dict[str, str], bytes]
NEVER = Cancellation()
APP = Reference.parse("h.io/app")
ARM64, AMD64 = Platform("linux", "arm64", "v8"), Platform("linux", "amd64")


class Script:
    """A registry as a function of what is asked: what `Transport.send` is given, and gives."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        """Method, host, path and query of every request."""
        self.authorizations: list[str] = []
        self.answer: Callable[[str, str], Answer] = lambda _method, _target: (404, {}, b"")

    def send(self, _: object, request: _transport.Request, cancellation: Cancellation) -> _Response:
        cancellation.check()
        self.asked.append(f"{request.method} {request.url.label}{request.url.target}")
        self.authorizations.append(request.authorization)
        status, headers, body = self.answer(request.method, request.url.target)
        shown = b"" if request.method == "HEAD" else body
        return _Response(request.url, status, headers, shown, len(body))

    def holds(self, repository: str, image: FakeImage, *tags: str) -> None:
        """Serves an image, and nothing else."""
        names = {**image.manifests, **dict.fromkeys(tags, (image.media_type, image.raw))}

        def answer(_: str, target: str) -> Answer:
            name = target.rpartition("/")[2]
            if target.startswith(f"/v2/{repository}/blobs/") and name in image.blobs:
                return 200, {}, image.blobs[name]
            if target.startswith(f"/v2/{repository}/manifests/") and name in names:
                kind, raw = names[name]
                return 200, {"content-type": kind, "docker-content-digest": digest_of(raw)}, raw
            return 404, {}, b""

        self.answer = answer


class _Response:
    cut = False

    def __init__(
        self, url: Any, status: int, headers: dict[str, str], body: bytes, length: int
    ) -> None:
        self.url, self.host, self.status, self.headers = url, url.label, status, headers
        self.length = length
        self.complete = True
        self._body = memoryview(body)

    def read(self, limit: int) -> bytes:
        return bytes(self._body[: limit + 1])

    def readinto(self, buffer: memoryview) -> int:
        got = min(len(buffer), len(self._body))
        buffer[:got], self._body = self._body[:got], self._body[got:]
        return got

    def close(self) -> None:
        pass

    def __enter__(self) -> _Response:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    script = Script()
    monkeypatch.setattr(
        _transport.Transport,
        "send",
        lambda transport, request, cancellation: script.send(transport, request, cancellation),
    )
    return script


@pytest.fixture
def lookups(script: Script) -> Iterator[Lookups]:
    client = HttpRegistryClient(RegistryConfig())
    yield Lookups(client)
    client.close()


def failure(call: Callable[[], object]) -> Error:
    with pytest.raises(Error) as caught:
        call()
    return caught.value


# --- lists of names


def listing(
    names: Sequence[str],
    *,
    most: int = NAMES_A_PAGE,
    links: bool = True,
    obeys: bool = True,
    key: str = "tags",
) -> Callable[[str, str], Answer]:
    """A registry's list: pages of at most so many, with or without Link; one that does not obey
    `last` pages by a number of its own, if it pages at all."""

    def answer(_: str, target: str) -> Answer:
        query = {key: one[0] for key, one in parse_qs(urlsplit(target).query).items()}
        n = min(int(query.get("n", most)), most)
        start = int(query.get("from", 0))
        if obeys and "last" in query:
            start = sum(name <= query["last"] for name in names)
        page = names[start : start + n]
        headers = {}
        if links and start + n < len(names):
            path = urlsplit(target).path
            more = f"n={n}&last={page[-1]}" if obeys else f"n={n}&from={start + n}"
            headers["link"] = f'<{path}?{more}>; rel="next"'
        return 200, headers, json.dumps({"name": "app", key: page}).encode()

    return answer


def all_tags(
    lookups: Lookups, limit: int, fits: Callable[[str], bool] = lambda _: True
) -> list[str]:
    """Page after page, as a caller reads them."""
    found: list[str] = []
    last = ""
    while True:
        page = lookups.tags(APP, last, limit, fits, None, NEVER)
        assert len(page.names) <= limit
        found += page.names
        if not page.last:
            return found
        assert page.last > last
        last = page.last


@pytest.mark.parametrize("limit", [1, 3, 1000])
@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("obeys", [True, False])
@given(data=st.data())
def test_every_kind_of_registry_gives_each_tag_once_and_in_order(
    limit: int, links: bool, obeys: bool, data: st.DataObject
) -> None:
    words = st.text("ab1.-_", min_size=1, max_size=3).filter(lambda name: name[0] not in ".-")
    tags = data.draw(st.lists(words, unique=True, max_size=12))
    ordered = data.draw(st.booleans()) or (obeys and not links)
    script = Script()
    # Without links a registry that pages must obey; one that does neither gives all at once.
    most = data.draw(st.sampled_from([2, 5])) if links else NAMES_A_PAGE
    if not ordered:
        obeys = False
    script.answer = listing(sorted(tags) if ordered else tags, most=most, links=links, obeys=obeys)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            _transport.Transport, "send", lambda t, request, stop: script.send(t, request, stop)
        )
        found = all_tags(Lookups(HttpRegistryClient()), limit)
    if ordered or limit >= len(tags) or most >= len(tags):
        assert found == sorted(tags)
    else:
        # Of one that pages without order, what comes is in order, and each tag once.
        assert found == sorted(set(found))


def test_a_registry_that_keeps_order_is_asked_for_no_more_than_a_page(
    lookups: Lookups, script: Script
) -> None:
    names = [f"v{number:05}" for number in range(5000)]
    script.answer = listing(names)

    page = lookups.tags(APP, "v02999", 1000, lambda _: True, None, NEVER)

    assert (page.names, page.last) == (names[3000:4000], "v03999")
    assert script.asked == [
        "GET h.io/v2/app/tags/list?n=1000&last=v02999",
        "GET h.io/v2/app/tags/list?n=1000&last=v03999",
    ]


def test_a_full_page_without_a_link_need_not_be_the_last(lookups: Lookups, script: Script) -> None:
    names = [f"v{number:05}" for number in range(2 * NAMES_A_PAGE)]
    script.answer = listing(names, links=False)
    assert all_tags(lookups, 10_000) == names
    assert len(script.asked) == 3


@pytest.mark.parametrize("ordered", [True, False])
def test_a_full_page_of_a_registry_that_ignores_every_parameter_is_the_last(
    lookups: Lookups, script: Script, ordered: bool
) -> None:
    names = [f"v{number:05}" for number in range(NAMES_A_PAGE)]
    shown = names if ordered else names[::-1]
    script.answer = lambda *_: (200, {}, json.dumps({"tags": shown}).encode())
    assert all_tags(lookups, 10_000) == names


def test_only_tags_that_fit(lookups: Lookups, script: Script) -> None:
    names = [f"v{number:05}" for number in range(2500)]
    script.answer = listing(names)
    assert all_tags(lookups, 7, lambda tag: tag.endswith("00")) == names[::100]


def test_what_no_reference_can_hold_is_left_out(lookups: Lookups, script: Script) -> None:
    odd = ["", "-a", "a b", "a\x1b[31m", "ä", "x" * 129, "good", "a/b"]
    script.answer = lambda *_: (200, {}, json.dumps({"tags": odd}).encode())
    assert all_tags(lookups, 10) == ["good"]


def test_a_repository_without_tags_has_none(lookups: Lookups, script: Script) -> None:
    script.answer = lambda *_: (200, {}, b'{"name": "app", "tags": null}')
    assert all_tags(lookups, 10) == []


def test_the_catalog_is_asked_for_with_its_own_scope(lookups: Lookups, script: Script) -> None:
    names = ["a/b", "app", "zoo"]
    serve = listing(names, key="repositories")

    def answer(method: str, target: str) -> Answer:
        if target.startswith("/token"):
            return 200, {}, b'{"token": "T"}'
        if script.authorizations[-1] != "Bearer T":
            return 401, {"www-authenticate": 'Bearer realm="https://h.io/token",service="s"'}, b""
        return serve(method, target)

    script.answer = answer
    page = lookups.repositories("h.io", "", 2, None, NEVER)

    assert (page.names, page.last) == (["a/b", "app"], "app")
    token = parse_qs(urlsplit(script.asked[1]).query)
    assert (token["scope"], token["service"]) == (["registry:catalog:*"], ["s"])
    assert script.asked[2] == "GET h.io/v2/_catalog?n=1000"


# --- links


@pytest.mark.parametrize(
    "link",
    [
        '</v2/app/tags/list?n=1&x=%20y>; rel="next"',
        "</v2/app/tags/list?n=1&x=%20y>;rel=next",
        '<list?n=1&x=%20y>; title="a, b"; REL="prev Next"',
        '</v2/x>; rel="prev", </v2/app/tags/list?n=1&x=%20y>; rel="next"',
        '<https://h.io/v2/app/tags/list?n=1&x=%20y>; rel="next"',
        # Behind a proxy that ends TLS.
        '<http://h.io/v2/app/tags/list?n=1&x=%20y>; rel="next"',
    ],
)
def test_a_link_is_followed_at_its_own_registry(
    lookups: Lookups, script: Script, link: str
) -> None:
    pages = iter([({"link": link}, b'{"tags": ["a"]}'), ({}, b'{"tags": ["b"]}')])
    script.answer = lambda *_: (200, *next(pages))
    assert all_tags(lookups, 10) == ["a", "b"]
    assert script.asked[1] == "GET h.io/v2/app/tags/list?n=1&x=%20y"


@pytest.mark.parametrize(
    "link",
    [
        '<https://evil.example/v2/app/tags/list>; rel="next"',
        '<//evil.example/v2/app/tags/list>; rel="next"',
        '<https://h.io:444/v2/app/tags/list>; rel="next"',
        '<https://u:p@h.io/v2/app/tags/list>; rel="next"',
        '<https://h.io@evil.example/v2/app/tags/list>; rel="next"',
        '<file:///v2/app/tags/list>; rel="next"',
        '</admin/delete>; rel="next"',
        '</v2/../admin>; rel="next"',
    ],
)
def test_a_link_that_leads_elsewhere_is_an_error(
    lookups: Lookups, script: Script, link: str
) -> None:
    script.answer = lambda *_: (200, {"link": link}, b'{"tags": ["a"]}')
    found = failure(lambda: lookups.tags(APP, "", 10, lambda _: True, None, NEVER))
    assert (found.reason, found.host) == (Reason.REGISTRY_PROTOCOL, "h.io")
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    "link", ['</v2/x>; rel="prev"', "nonsense", "<" * 9000, "<a>" + "; " * 8000]
)
def test_a_header_with_no_next_link_ends_the_list(
    lookups: Lookups, script: Script, link: str
) -> None:
    script.answer = lambda *_: (200, {"link": link}, b'{"tags": ["a"]}')
    assert all_tags(lookups, 10) == ["a"]


def test_links_in_a_circle_are_an_error(lookups: Lookups, script: Script) -> None:
    script.answer = lambda *_: (200, {"link": '</v2/app/x>; rel="next"'}, b'{"tags": []}')
    found = failure(lambda: all_tags(lookups, 10))
    assert found.reason is Reason.REGISTRY_PROTOCOL
    assert "circle" in found.message
    assert len(script.asked) == 2


def test_links_without_end_are_followed_so_far(lookups: Lookups, script: Script) -> None:
    def answer(_: str, target: str) -> Answer:
        number = len(script.asked)
        return 200, {"link": f'</v2/{number}>; rel="next"'}, b'{"tags": []}'

    script.answer = answer
    page = lookups.tags(APP, "", 10, lambda _: True, None, NEVER)
    assert (page.names, len(script.asked)) == ([], MAX_PAGES)
    # And of a list in no order nothing can be said before its end.
    script.asked.clear()
    script.answer = lambda method, target: (*answer(method, target)[:2], b'{"tags": ["b", "a"]}')
    found = failure(lambda: lookups.tags(APP, "", 10, lambda _: True, None, NEVER))
    assert (found.reason, len(script.asked)) == (Reason.REGISTRY_PROTOCOL, 1 + MAX_PAGES)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"<html>",
        b'{"tags": "abc"}',
        b'{"tags": [1]}',
        b'{"tags": {}}'.replace(b"{}", b'{"a": 1}'),
        b"[" * 100_000,
        b'{"tags": [' + b"[]," * 20_000 + b"[]]}",
        b'{"tags": [' + b'"",' * 250_000 + b'""]}',
        b'{"tags": ["' + b"a" * (9 << 20) + b'"]}',
    ],
)
def test_an_answer_that_is_no_list_is_an_error(
    lookups: Lookups, script: Script, body: bytes
) -> None:
    script.answer = lambda *_: (200, {}, body)
    found = failure(lambda: all_tags(lookups, 10))
    assert (found.reason, found.host) == (Reason.REGISTRY_PROTOCOL, "h.io")


# --- manifests


IMAGE, ARM = make_image(), make_image(architecture="arm64", variant="v8")
BOTH = make_index(
    [
        (IMAGE, {"os": "linux", "architecture": "amd64"}),
        (ARM, {"os": "linux", "architecture": "arm64", "variant": "v8"}),
    ]
)
BARE = make_index([(IMAGE, None), (ARM, None)])
NESTED = make_index([(BOTH, None)])
STATED_NEST = make_index([(BARE, {"os": "linux", "architecture": "arm64"})])


@pytest.mark.parametrize("image", [BOTH, BARE, NESTED, STATED_NEST, ARM])
def test_a_platform_is_chosen_as_a_pull_chooses_it(
    lookups: Lookups, script: Script, image: FakeImage
) -> None:
    script.holds("app", image, "1")
    reference = Reference.parse("h.io/app:1")

    found = lookups.manifest(reference, ARM64, True, None, NEVER)

    assert (found.target.digest, found.raw, found.host) == (ARM.digest, ARM.raw, "h.io")
    assert found.config == ARM.blobs[ARM.image_id]
    assert lookups.resolve(reference, ARM64, None, NEVER).target.digest == ARM.digest


def test_without_a_platform_it_is_the_index_itself(lookups: Lookups, script: Script) -> None:
    script.holds("app", BOTH, "1")
    reference = Reference.parse("h.io/app:1")
    found = lookups.manifest(reference, None, True, None, NEVER)
    assert (found.raw, found.config) == (BOTH.raw, b"")
    script.asked.clear()
    assert lookups.resolve(reference, None, None, NEVER).target.digest == BOTH.digest
    assert script.asked == ["HEAD h.io/v2/app/manifests/1"]


@pytest.mark.parametrize("image", [BOTH, BARE, NESTED, ARM])
def test_a_platform_that_there_is_not(lookups: Lookups, script: Script, image: FakeImage) -> None:
    script.holds("app", image, "1")
    wanted = Platform("linux", "riscv64")
    found = failure(lambda: lookups.resolve(Reference.parse("h.io/app:1"), wanted, None, NEVER))
    assert found.reason is Reason.REMOTE_PLATFORM_NOT_FOUND
    assert found.metadata["wanted"] == "linux/riscv64"


def test_an_artifact_is_for_every_platform_and_has_no_config(
    lookups: Lookups, script: Script
) -> None:
    artifact = make_image(config_type="application/vnd.oci.empty.v1+json")
    script.holds("app", artifact, "1")
    found = lookups.manifest(Reference.parse("h.io/app:1"), ARM64, True, None, NEVER)
    assert (found.raw, found.config) == (artifact.raw, b"")


def test_another_config_than_promised_is_no_config(lookups: Lookups, script: Script) -> None:
    wrong = {digest: b"x" * len(data) for digest, data in IMAGE.blobs.items()}
    script.holds("app", FakeImage(IMAGE.raw, IMAGE.media_type, wrong, IMAGE.manifests), "1")
    reference = Reference.parse("h.io/app:1")
    found = failure(lambda: lookups.manifest(reference, None, True, None, NEVER))
    assert (found.reason, found.digest) == (Reason.DIGEST_MISMATCH, IMAGE.image_id)


def test_a_config_that_its_manifest_holds_is_not_asked_for(
    lookups: Lookups, script: Script
) -> None:
    document = IMAGE.document
    config = IMAGE.blobs[IMAGE.image_id]
    document["config"]["data"] = base64.b64encode(config).decode()
    script.holds("app", make_document(document), "1")
    reference = Reference.parse("h.io/app:1")
    assert lookups.manifest(reference, AMD64, True, None, NEVER).config == config
    assert not [one for one in script.asked if "/blobs/" in one]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"schemaVersion": 2, "mediaType": media.OCI_MANIFEST}, Reason.MANIFEST_INVALID),
        ({**IMAGE.document, "config": descriptor(b"[]", OCI_CONFIG)}, Reason.CONFIG_INVALID),
    ],
)
def test_what_is_malformed_is_chosen_for_no_platform(
    lookups: Lookups, script: Script, document: Any, reason: Reason
) -> None:
    script.holds("app", make_document(document, blobs={digest_of(b"[]"): b"[]"}), "1")
    found = failure(lambda: lookups.resolve(Reference.parse("h.io/app:1"), AMD64, None, NEVER))
    assert (found.reason, found.host) == (reason, "h.io")


def test_a_config_too_large_is_not_asked_for(lookups: Lookups, script: Script) -> None:
    document = IMAGE.document
    document["config"]["size"] = 1 << 40
    script.holds("app", make_document(document), "1")
    reference = Reference.parse("h.io/app:1")
    found = failure(lambda: lookups.manifest(reference, None, True, None, NEVER))
    assert found.reason is Reason.MANIFEST_TOO_LARGE
    assert not [one for one in script.asked if "/blobs/" in one]


def test_indexes_that_say_nothing_are_looked_into_so_far(lookups: Lookups, script: Script) -> None:
    many = make_index([(make_image(created=f"2024-01-01T00:00:{n:02}Z"), None) for n in range(60)])
    more = make_index([(make_image(created=f"2023-01-01T00:00:{n:02}Z"), None) for n in range(60)])
    script.holds("app", make_index([(many, None), (more, None)]), "1")
    found = failure(lambda: lookups.resolve(Reference.parse("h.io/app:1"), ARM64, None, NEVER))
    assert found.reason is Reason.INDEX_TOO_DEEP
    assert len(script.asked) < 150


# --- referrers


def refers(name: str, kind: str = "sig") -> dict[str, Any]:
    return {**descriptor(name.encode(), media.OCI_MANIFEST), "artifactType": kind}


def index_of(*entries: dict[str, Any]) -> bytes:
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    return json.dumps(index).encode()


SUBJECT = IMAGE.digest
KIND = {"content-type": OCI_INDEX}


def referrers(lookups: Lookups, kind: str = "") -> list[Descriptor]:
    return lookups.referrers(Reference.parse(f"h.io/app@{SUBJECT}"), kind, None, NEVER)


def test_referrers_come_over_pages_each_once_and_only_the_wanted(
    lookups: Lookups, script: Script
) -> None:
    path = f"/v2/app/referrers/{SUBJECT}"
    pages = {
        f"{path}?artifactType=sig": (
            {**KIND, "link": f'<{path}?artifactType=sig&last=x>; rel="next"'},
            index_of(refers("a"), refers("b", "sbom")),
        ),
        f"{path}?artifactType=sig&last=x": (KIND, index_of(refers("a"), refers("c"))),
    }
    script.answer = lambda _, target: (200, *pages[target])
    found = referrers(lookups, "sig")
    assert [one.digest for one in found] == sorted(digest_of(one) for one in (b"a", b"c"))


@pytest.mark.parametrize("status", [400, 404, 405, 406])
@pytest.mark.parametrize("kind", ["", "sig"])
def test_where_there_is_no_api_the_tag_tells(
    lookups: Lookups, script: Script, status: int, kind: str
) -> None:
    tag = SUBJECT.replace(":", "-")

    def answer(_: str, target: str) -> Answer:
        if target == f"/v2/app/manifests/{tag}":
            return 200, KIND, index_of(refers("a"), refers("b", "sbom"))
        return status, {}, b"404 page not found\n"

    script.answer = answer
    found = referrers(lookups, kind)
    assert {one.digest for one in found} == (
        {digest_of(b"a")} if kind else {digest_of(b"a"), digest_of(b"b")}
    )


def test_the_tag_of_a_long_digest_is_cut(lookups: Lookups, script: Script) -> None:
    digest = Digest.of(b"x", "sha512")
    lookups.referrers(Reference.parse(f"h.io/app@{digest}"), "", None, NEVER)
    assert script.asked[-1] == f"GET h.io/v2/app/manifests/sha512-{digest.hex[:64]}"


def test_nothing_refers_where_neither_knows(lookups: Lookups, script: Script) -> None:
    assert referrers(lookups) == []
    unknown = json.dumps({"errors": [{"code": "NAME_UNKNOWN", "message": ""}]}).encode()
    script.answer = lambda *_: (404, {}, unknown)
    assert failure(lambda: referrers(lookups)).reason is Reason.REMOTE_NOT_FOUND


def test_a_failure_is_not_taken_for_a_missing_api(lookups: Lookups, script: Script) -> None:
    script.answer = lambda *_: (500, {}, b"")
    assert failure(lambda: referrers(lookups)).reason is Reason.REGISTRY_UNAVAILABLE
    script.answer = lambda *_: (403, {}, b"")
    assert failure(lambda: referrers(lookups)).reason is Reason.REGISTRY_DENIED
    # Nor a page that is missing in the middle for the end.
    first = (200, {**KIND, "link": '</v2/app/x>; rel="next"'}, index_of(refers("a")))
    script.answer = lambda _, target: (404, {}, b"") if target == "/v2/app/x" else first
    assert failure(lambda: referrers(lookups)).reason is Reason.REMOTE_NOT_FOUND


@pytest.mark.parametrize(
    ("kind", "body", "reason"),
    [
        (OCI_INDEX, b"{}", Reason.MANIFEST_INVALID),
        ("text/html", b"<html>", Reason.REGISTRY_PROTOCOL),
        (media.OCI_MANIFEST, IMAGE.raw, Reason.REGISTRY_PROTOCOL),
        (OCI_INDEX, b" " * (5 << 20), Reason.REGISTRY_PROTOCOL),
    ],
)
def test_what_is_no_index_is_an_error(
    lookups: Lookups, script: Script, kind: str, body: bytes, reason: Reason
) -> None:
    script.answer = lambda *_: (200, {"content-type": kind}, body)
    assert failure(lambda: referrers(lookups)).reason is reason


def test_referrers_without_end_are_an_error(lookups: Lookups, script: Script) -> None:
    def answer(*_: str) -> Answer:
        page = len(script.asked)
        entries = [refers(f"{page}-{number}") for number in range(2000)]
        return 200, {**KIND, "link": f'</v2/{page}>; rel="next"'}, index_of(*entries)

    script.answer = answer
    assert failure(lambda: referrers(lookups)).reason is Reason.REGISTRY_PROTOCOL
    assert len(script.asked) == 6


def test_a_tag_is_resolved_first(lookups: Lookups, script: Script) -> None:
    script.holds("app", IMAGE, "1")
    assert lookups.referrers(Reference.parse("h.io/app:1"), "", None, NEVER) == []
    assert script.asked == [
        "HEAD h.io/v2/app/manifests/1",
        f"GET h.io/v2/app/referrers/{SUBJECT}",
        f"GET h.io/v2/app/manifests/{SUBJECT.replace(':', '-')}",
    ]


# --- search


def results(*names: str, pages: object = 1, **more: Any) -> bytes:
    found = [
        {"name": name, "description": f"about {name}", "star_count": 3, **more} for name in names
    ]
    return json.dumps({"num_pages": pages, "results": found}).encode()


def search(
    lookups: Lookups,
    domain: str = "docker.io",
    start: tuple[int, int] = (1, 0),
    limit: int = 10,
    fits: Callable[[Found], bool] = lambda _: True,
) -> tuple[list[str], tuple[int, int] | None]:
    page = lookups.search(domain, "a b/+&", start, limit, fits, NEVER)
    return [one.repository for one in page.found], page.following


def test_docker_hub_is_searched_where_docker_searches_it(lookups: Lookups, script: Script) -> None:
    script.answer = lambda *_: (200, {}, results("redis", "library/nginx", "bitnami/redis"))
    assert search(lookups) == (["redis", "nginx", "bitnami/redis"], None)
    assert script.asked == ["GET index.docker.io/v1/search?q=a%20b%2F%2B%26&n=100&page=1"]


def test_the_official_mark_is_docker_hubs_alone(lookups: Lookups, script: Script) -> None:
    script.answer = lambda *_: (200, {}, results("redis", "evil/redis", is_official=True))

    def official(domain: str) -> list[str]:
        page = lookups.search(domain, "x", (1, 0), 10, lambda _: True, NEVER)
        return [one.repository for one in page.found if one.official]

    assert official("docker.io") == ["redis"]
    assert official("h.io") == []


def test_another_registrys_results_have_its_name(lookups: Lookups, script: Script) -> None:
    script.answer = lambda *_: (200, {}, results("app", "team/app"))
    assert search(lookups, "h.io")[0] == ["h.io/app", "h.io/team/app"]
    assert script.asked[0].startswith("GET h.io/v1/search?")


def test_another_place_may_be_searched_for_docker_hub(script: Script) -> None:
    script.answer = lambda *_: (200, {}, results("redis", is_official=True))
    lookups = Lookups(HttpRegistryClient(), "mirror.example")
    (found,) = lookups.search("docker.io", "x", (1, 0), 10, lambda _: True, NEVER).found
    assert (found.repository, found.official) == ("redis", True)
    assert script.asked[0].startswith("GET mirror.example/v1/search?")


def test_search_goes_on_where_a_page_ended(lookups: Lookups, script: Script) -> None:
    def answer(_: str, target: str) -> Answer:
        page = int(parse_qs(urlsplit(target).query)["page"][0])
        return 200, {}, results(*(f"a{page}{number}" for number in range(3)), pages=2)

    script.answer = answer
    found, following = search(lookups, limit=2)
    pages = [found]
    while following:
        found, following = search(lookups, start=following, limit=2)
        pages.append(found)
    assert pages == [["a10", "a11"], ["a12", "a20"], ["a21", "a22"]]


def test_search_reads_so_far_for_filters_that_fit_nothing(lookups: Lookups, script: Script) -> None:
    script.answer = lambda *_: (200, {}, results("app", pages=10**30))

    def nothing(_: Found) -> bool:
        return False

    assert search(lookups, fits=nothing) == ([], (6, 0))
    assert len(script.asked) == 5
    assert search(lookups, fits=nothing, start=(MAX_PAGES, 0)) == ([], None)


def test_results_that_can_not_be_pulled_or_read_are_left_out(
    lookups: Lookups, script: Script
) -> None:
    odd: list[Any] = [1, {}, {"name": 3}, {"name": "A B"}, {"name": "a\x1b"}]
    last = {"name": "good", "description": "a\x1b[31m\nb" + "c" * 5000, "star_count": "7"}
    body = json.dumps({"results": [*odd, last]}).encode()
    script.answer = lambda *_: (200, {}, body)
    (found,) = lookups.search("docker.io", "x", (1, 0), 10, lambda _: True, NEVER).found
    assert (found.repository, found.stars) == ("good", 0)
    assert found.description.startswith("a [31m bccc")
    assert len(found.description) == 1000


@pytest.mark.parametrize("body", [b"", b"{}", b"<html>", b'{"results": {}}', b" " * (2 << 20)])
def test_an_answer_that_is_no_search_is_an_error(
    lookups: Lookups, script: Script, body: bytes
) -> None:
    script.answer = lambda *_: (200, {}, body)
    assert failure(lambda: search(lookups)).reason is Reason.REGISTRY_PROTOCOL


# --- credentials


ALICE = Credentials("alice", "secret")


def test_a_password_is_tried_anew_each_time(lookups: Lookups, script: Script) -> None:
    right = "Basic YWxpY2U6c2VjcmV0"

    def answer(*_: str) -> Answer:
        if script.authorizations[-1] == right:
            return 200, {}, b"{}"
        return 401, {"www-authenticate": 'Basic realm="r"'}, b""

    script.answer = answer
    assert lookups.check_credentials("h.io", ALICE, NEVER) == ""
    wrong = Credentials("alice", "wrong")
    found = failure(lambda: lookups.check_credentials("h.io", wrong, NEVER))
    assert (found.reason, found.host) == (Reason.REGISTRY_UNAUTHORIZED, "h.io")
    assert "secret" not in str(found.to_json())
    # What was right is not remembered either.
    right = "Basic changed"
    assert (
        failure(lambda: lookups.check_credentials("h.io", ALICE, NEVER)).reason
        is Reason.REGISTRY_UNAUTHORIZED
    )
    assert script.asked == ["GET h.io/v2/"] * 6


def test_a_token_server_is_asked_for_a_token_to_keep(lookups: Lookups, script: Script) -> None:
    def answer(_: str, target: str) -> Answer:
        if target.startswith("/token"):
            return 200, {}, b'{"access_token": "T", "refresh_token": "R"}'
        if script.authorizations[-1] == "Bearer T":
            return 200, {}, b"{}"
        return 401, {"www-authenticate": 'Bearer realm="https://h.io/token",service="s"'}, b""

    script.answer = answer
    assert lookups.check_credentials("h.io", ALICE, NEVER) == "R"
    query = parse_qs(urlsplit(script.asked[1]).query)
    assert query == {
        "service": ["s"],
        "account": ["alice"],
        "client_id": ["imgd"],
        "offline_token": ["true"],
    }
    assert script.authorizations[1] == "Basic YWxpY2U6c2VjcmV0"
    assert lookups.check_credentials("h.io", Credentials(registry_token="T"), NEVER) == ""


def test_a_token_that_the_registry_refuses_proves_nothing(lookups: Lookups, script: Script) -> None:
    def answer(_: str, target: str) -> Answer:
        if target.startswith("/token"):
            return 200, {}, b'{"token": "T"}'
        return 401, {"www-authenticate": 'Bearer realm="https://h.io/token"'}, b""

    script.answer = answer
    found = failure(lambda: lookups.check_credentials("h.io", ALICE, NEVER))
    assert found.reason is Reason.REGISTRY_UNAUTHORIZED


@pytest.mark.parametrize(
    ("status", "challenge", "reason"),
    [
        (401, "", Reason.REGISTRY_UNAUTHORIZED),
        (401, "Negotiate", Reason.REGISTRY_UNAUTHORIZED),
        (404, "", Reason.REMOTE_NOT_FOUND),
        (500, "", Reason.REGISTRY_UNAVAILABLE),
    ],
)
def test_without_a_challenge_that_they_meet_credentials_go_nowhere(
    lookups: Lookups, script: Script, status: int, challenge: str, reason: Reason
) -> None:
    script.answer = lambda *_: (status, {"www-authenticate": challenge}, b"")
    found = failure(lambda: lookups.check_credentials("h.io", ALICE, NEVER))
    assert found.reason is reason
    assert script.authorizations == [""]


def test_a_registry_for_everybody_takes_any(lookups: Lookups, script: Script) -> None:
    script.answer = lambda *_: (200, {}, b"{}")
    assert lookups.check_credentials("h.io", ALICE, NEVER) == ""
    assert script.authorizations == [""]

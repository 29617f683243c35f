"""The list filters: which images fit, and what is refused (behaviour.md, 5)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images import FILTER_KEYS, Filters, describe, fitting_images, parse_filters
from imgd_server.metadata import ContainerRecord, Name, PlatformRecord
from imgd_server.metadata._session import Session
from imgd_server.oci import Digest, Platform
from tests.fake_images import make_image, make_index
from tests.records import blob_ref, image_record, manifest_target, tag
from tests.unit.images.conftest import Shelf

SECOND = 1_000_000
HOUR = 3600 * SECOND
# The stores' clock stands still at noon.
NOW = int(datetime(2024, 6, 1, 12, tzinfo=UTC).timestamp()) * SECOND


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def full(session: Session) -> None:
    """Six images: a, b and c, built a day apart; d that has no create time and no name; e, an
    artifact; f, that was pulled by digest, and is what a container uses."""

    def put(name: str, *names: Name, size: int = 10, **fields: object) -> None:
        platforms = [
            PlatformRecord("linux/amd64", manifest_target(f"{name} amd64"), "", True, 1),
            PlatformRecord("linux/s390x", manifest_target(f"{name} s390x"), "", False, 0),
        ]
        session.put_image(
            image_record(name, names=names, **fields), platforms, [blob_ref(name, size)]
        )

    put(
        "a",
        tag("docker.io/library/redis:7"),
        tag("docker.io/library/redis:latest"),
        tag("ghcr.io/acme/cache:1"),
        created=at("2024-01-01"),
        stored=NOW - 3 * HOUR,
        labels={"team": "x", "stage": ""},
        size=10_000_000,
    )
    put(
        "b",
        tag("docker.io/acme/redis:7"),
        created=at("2024-01-02"),
        stored=NOW - 2 * HOUR,
        last_used=NOW - HOUR // 2,
        labels={"team": "y"},
        size=1 << 20,
    )
    put(
        "c",
        tag("localhost:5000/a/b/c:dev"),
        created=at("2024-01-03"),
        stored=NOW - HOUR,
        pinned=True,
        unpacked_size=20_000_000,
    )
    put("d", stored=NOW - HOUR, repo_digests=(f"docker.io/library/redis@{digest('d')}",))
    put("e", tag("h.io/chart:1"), stored=NOW - HOUR, kind="artifact", labels={"team": "x=y"})
    session.put_image(
        image_record(
            "f",
            created=at("2024-01-02"),
            stored=NOW - HOUR,
            names=(Name(f"h.io/f@{digest('f')}", "h.io/f", by_digest=True),),
        ),
        (),
        (),
    )
    session.put_container(ContainerRecord("c1", "UIDf", "f", "", "EXITED", 1))


def digest(name: str) -> Digest:
    return manifest_target(name).digest


@pytest.fixture
def store(session: Session) -> Session:
    full(session)
    return session


def fitting(session: Session, *filters: str) -> str:
    """The images that fit, as a word in alphabetical order."""
    read = parse_filters(session, filters, NOW)
    found = [record.uid.removeprefix("UID") for _, record in fitting_images(session, read, None)]
    assert len(set(found)) == len(found)
    return "".join(sorted(found))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("", "abcdef"),
        # Docker's.
        ("dangling=true", "d"),
        ("dangling=1", "d"),
        ("dangling=false", "abcef"),
        ("dangling=0 dangling=false", "abcef"),
        ("label=team", "abe"),
        ("label=team=x", "a"),
        ("label=team=x=y", "e"),
        ("label=stage=", "a"),
        ("label=team label=stage", "a"),
        ("label!=team", "cdf"),
        ("label!=team=x", "bcdef"),
        ("label=team label!=team=y", "ae"),
        ("before=redis:7", ""),
        ("before=localhost:5000/a/b/c:dev", "abf"),
        ("since=redis", "bcf"),
        ("since=redis before=localhost:5000/a/b/c:dev", "bf"),
        ("before=localhost:5000/a/b/c:dev before=acme/redis:7", "a"),
        ("until=2h30m", "a"),
        ("until=2h", "a"),
        ("until=90m", "ab"),
        ("until=1h", "ab"),
        ("until=59m59.9s", "abcdef"),
        ("until=1h until=150m", "a"),
        ("until=2024-06-01", ""),
        ("until=2024-06-02", "abcdef"),
        ("until=2024-06-01T10:00:01Z", "ab"),
        ("until=2024-06-01T12:00:01+02:00", "ab"),
        ("until=2024-06-01T10:00:01", "ab"),
        ("until=2024-06-01T10:00", "a"),
        (f"until={NOW // SECOND}", "abcdef"),
        (f"until={NOW // SECOND - 7200}.5", "ab"),
        ("reference=redis", "ad"),
        ("reference=redis:7", "a"),
        ("reference=*redis", "ad"),
        ("reference=*/redis", "b"),
        ("reference=*/redis:7", "b"),
        ("reference=docker.io/library/redis", "ad"),
        ("reference=redis reference=h.io/chart:1", "ade"),
        ("reference=ghcr.io", "a"),
        ("reference=localhost:5000/*", ""),
        ("reference=localhost:5000", "c"),
        # Beyond Docker.
        ("reference=localhost:5000/**", "c"),
        ("reference=**redis*", "abd"),
        ("reference=h.io/f", "f"),
        ("reference!=**redis*", "cef"),
        ("reference=redis* reference!=*:7", "d"),
        ("pinned=true", "c"),
        ("pinned=false", "abdef"),
        ("in-use=true", "f"),
        ("in-use=0", "abcde"),
        ("kind=artifact", "e"),
        ("kind=image kind=image", "abcdf"),
        ("last-used=2h", "a"),
        ("last-used=45m", "acdef"),
        ("last-used=1s", "abcdef"),
        ("size=>10MB", "c"),
        ("size=>=10MB", "ac"),
        ("size=10MB", "a"),
        ("size==10mb", "a"),
        ("size=1MiB", "b"),
        ("size=<1MiB", "def"),
        ("size=<=1m size=>9", "de"),
        ("size=>0.0105gb", "c"),
        ("platform=linux/amd64", "abcde"),
        ("platform=linux/x86_64", "abcde"),
        ("platform=linux/s390x", ""),
        ("DANGLING=true", "d"),
        (" dangling = true ", "d"),
    ],
)
def test_what_fits(store: Session, filters: str, expected: str) -> None:
    words = [filters] if filters.startswith(" ") else filters.split()
    assert fitting(store, *words) == expected


def test_by_digest(store: Session) -> None:
    for name in "abc":
        whole = digest(name)
        hexes = whole.removeprefix("sha256:")
        for text in (whole, hexes, whole[:20], hexes[:12]):
            assert fitting(store, f"digest={text}") == name
        # Of a platform's manifest, and of its ID.
        assert fitting(store, f"digest={digest(f'{name} amd64')}") == name
        assert fitting(store, f"digest={Digest.of(f'{name} config'.encode())}") == name
    assert fitting(store, f"digest={digest('a')}", f"digest={digest('b')}") == ""
    assert fitting(store, f"digest={'0' * 128}") == ""


def test_before_and_since_take_whatever_names_an_image(store: Session) -> None:
    image_id = Digest.of(b"b config")
    for text in ("acme/redis:7", image_id, image_id[7:19], digest("b")):
        assert fitting(store, f"before={text}") == "a"
        assert fitting(store, f"since={text}") == "c"
    assert fitting(store, f"since=h.io/f@{digest('f')}") == "c"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", ""),
        ("dangling", "dangling"),
        ("=", ""),
        ("=true", ""),
        ("unknown=1", "unknown"),
        ("dangling=yes", "dangling"),
        ("dangling=TRUE", "dangling"),
        ("dangling=", "dangling"),
        ("pinned=2", "pinned"),
        ("in-use=maybe", "in-use"),
        ("in_use=true", "in_use"),
        ("kind=chart", "kind"),
        ("label=", "label"),
        ("label==x", "label"),
        ("label!=", "label!"),
        ("reference=", "reference"),
        ("reference=[", "reference"),
        ("reference!=[a", "reference!"),
        ("reference=" + "*a" * 65, "reference"),
        ("until=", "until"),
        ("until=yesterday", "until"),
        ("until=2024-13-01", "until"),
        ("until=2024-02-30T00:00:00", "until"),
        ("until=-1h", "until"),
        ("until=1h ago", "until"),
        ("until=2562048h", "until"),
        ("until=" + "999999999999h" * 300, "until"),
        ("last-used=2024-01-01", "last-used"),
        ("last-used=1d", "last-used"),
        ("last-used=999999999999h", "last-used"),
        ("size=big", "size"),
        ("size=10XB", "size"),
        ("size=>", "size"),
        ("size=-1", "size"),
        ("size=>999999999999999999PB", "size"),
        ("size=99999999999TiB", "size"),
        ("digest=abc", "digest"),
        ("digest=ABCD", "digest"),
        ("digest=md5:abcd", "digest"),
        ("platform=a/b/c/d", "platform"),
        ("platform=", "platform"),
        ("before=A B", "before"),
    ],
)
def test_what_is_refused_is_named(store: Session, text: str, key: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse_filters(store, ["dangling=false", text], NOW)
    assert caught.value.reason is Reason.FILTER_INVALID
    assert caught.value.field == "filters[1]"
    assert caught.value.metadata["filter"] == key
    assert len(caught.value.message) < 1024


@pytest.mark.parametrize(
    "filters",
    [
        ("dangling=true", "dangling=false"),
        ("kind=image", "kind=artifact"),
        ("pinned=1", "pinned=0"),
        ("in-use=true", "in-use=0"),
    ],
)
def test_contradictions_are_refused(store: Session, filters: tuple[str, ...]) -> None:
    with pytest.raises(FieldError, match="contradicts") as caught:
        parse_filters(store, filters, NOW)
    assert caught.value.field == "filters[1]"


@pytest.mark.parametrize("key", ["before", "since"])
def test_the_image_of_a_filter_must_be_there(store: Session, key: str) -> None:
    with pytest.raises(Error) as caught:
        parse_filters(store, [f"{key}=absent"], NOW)
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND
    # It has no create time.
    with pytest.raises(FieldError, match="no create time"):
        parse_filters(store, [f"{key}=h.io/chart:1"], NOW)


@pytest.mark.parametrize(
    "text",
    [
        "reference=a*",
        "reference=localhost:1",
        "reference!=b",
        "label=x",
        "label!=x",
        "digest=abcd",
        "platform=linux/amd64",
        "until=1h",
        "size=>1",
    ],
)
def test_as_many_filters_as_a_request_may_have(store: Session, text: str) -> None:
    several = [f"{text}{n}" if text.startswith(("label", "ref")) else text for n in range(100)]
    fitting(store, *several)


def test_a_reference_filter_narrows_the_names(store: Session) -> None:
    read = parse_filters(store, ["reference=redis:7", "reference=*/*/cache"], NOW)
    ((_, record),) = fitting_images(store, read, None)
    assert [one.name for one in record.names] == [
        "docker.io/library/redis:7",
        "ghcr.io/acme/cache:1",
    ]
    ((_, record),) = fitting_images(store, parse_filters(store, ["reference=h.io/f"], NOW), None)
    assert [one.repository for one in record.names] == ["h.io/f"]


def test_what_narrowing_drops_does_not_shorten_a_page(session: Session) -> None:
    # SQLite's preselection takes `[a]` for any character.
    for number in range(700):
        name = f"h.io/{'b' if number % 7 else 'a'}{number}:1"
        session.put_image(image_record(f"{number}", created=number, names=(tag(name),)), (), ())
    read = parse_filters(session, ["reference=h.io/[a]*"], NOW)
    page = list(fitting_images(session, read, None, 60))
    assert len(page) == 60
    rest = list(fitting_images(session, read, page[-1][0]))
    created = [record.created for _, record in [*page, *rest]]
    assert created == list(range(693, -1, -7))
    assert next(iter(fitting_images(session, Filters(), None, 1)))[1].created == 699


def test_the_keys_are_told() -> None:
    assert list(FILTER_KEYS) == sorted(FILTER_KEYS)
    assert {"dangling", "before", "since", "until", "label", "label!", "reference"} < {*FILTER_KEYS}


@pytest.mark.parametrize(
    ("stated", "asked", "others"),
    [
        (("arm64", "v8"), ["linux/arm64", "linux/arm64/v8", "linux/aarch64", "arm64"], ["amd64"]),
        (("arm", "7"), ["linux/arm/v7", "linux/arm/7", "linux/arm", "armhf"], ["linux/arm/v6"]),
        (("x86_64", ""), ["linux/amd64", "linux/x86_64", "linux/amd64/v1"], ["linux/amd64/v2"]),
    ],
)
def test_a_platform_is_found_however_it_is_spelt(
    session: Session, shelf: Shelf, stated: tuple[str, str], asked: list[str], others: list[str]
) -> None:
    platform = {"os": "linux", "architecture": stated[0], "variant": stated[1]}
    index = make_index([(make_image([b"layer"], architecture=stated[0]), platform)])
    found = describe(shelf, shelf.add(index), Platform("linux", "amd64"))
    uid = session.put_image(found.record, found.platforms, found.blobs).uid
    for text in asked:
        assert fitting(session, f"platform={text}") == uid
    for text in others:
        assert fitting(session, f"platform={text}") == ""


@pytest.mark.parametrize(
    ("names", "learned", "kept"),
    [
        ((), (), None),
        (("a.b/x:1", "a.b/x:2"), (), ("a.b/x:1", "a.b/x:2")),
        (("a.b/x:1", "a.b/y:1"), (), ("a.b/x:1",)),
        (("a.b/y:1",), (f"a.b/x@{Digest.of(b'x')}", f"a.b/y@{Digest.of(b'x')}"), ()),
        (("a.b/y:1",), (), None),
    ],
)
def test_names_are_narrowed(
    session: Session,
    names: tuple[str, ...],
    learned: tuple[str, ...],
    kept: tuple[str, ...] | None,
) -> None:
    record = image_record("1", names=tuple(map(tag, names)), repo_digests=learned)
    found = parse_filters(session, ["reference=a.b/x"], 0).narrow(record)
    assert (found and tuple(one.name for one in found.names)) == kept
    assert found is None or all(one.startswith("a.b/x@") for one in found.repo_digests)

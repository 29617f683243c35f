"""Giving names and taking them away (behaviour.md, 6)."""

from __future__ import annotations

import pytest

from imgd_server.errors import Error, FieldError, Reason
from imgd_server.images import tag_image, untag_image
from imgd_server.metadata import ImageRecord
from imgd_server.metadata._session import Session
from tests.records import image_record, manifest_target, tag

HUB = "docker.io/library/app"
A, B = (str(manifest_target(text).digest) for text in "ab")


@pytest.fixture
def store(session: Session) -> Session:
    session.put_image(image_record("a", names=(tag(f"{HUB}:1"), tag(f"{HUB}:2"))), (), ())
    session.put_image(image_record("b", names=(tag("h.io/b:1"),)), (), ())
    return session


def names(session: Session, text: str) -> list[str]:
    record = session.image(f"UID{text}")
    assert record
    return [one.name for one in record.names]


def events(session: Session) -> list[tuple[str, str, str]]:
    return [
        (one.action, one.subject, one.attributes["familiar"])
        for one in session.events(0, None, 100)
    ]


def test_a_new_name(store: Session) -> None:
    tagged = tag_image(store, "app:1", "h.io/new", None, 7)
    assert tagged.previous == ""
    assert [one.name for one in tagged.image.names][-1] == "h.io/new:latest"
    assert names(store, "a") == [f"{HUB}:1", f"{HUB}:2", "h.io/new:latest"]
    assert events(store) == [("tag", "images/UIDa", "h.io/new:latest")]
    assert tagged.image.last_used == 7


def test_a_name_in_use_moves_and_its_image_keeps_the_others(store: Session) -> None:
    assert tag_image(store, "h.io/b:1", "app:2", None, 7).previous == A
    assert (names(store, "a"), names(store, "b")) == ([f"{HUB}:1"], [f"{HUB}:2", "h.io/b:1"])
    assert tag_image(store, "h.io/b:1", "docker.io/app:1", A, 8).previous == A
    assert names(store, "a") == []
    assert events(store) == [
        ("untag", "images/UIDa", "app:2"),
        ("tag", "images/UIDb", "app:2"),
        ("untag", "images/UIDa", "app:1"),
        ("tag", "images/UIDb", "app:1"),
    ]


def test_a_name_that_is_there_already_changes_nothing(store: Session) -> None:
    tagged = tag_image(store, "app:1", "app:2", A, 7)
    assert (tagged.image.uid, tagged.previous) == ("UIDa", "")
    assert events(store) == []


def test_a_moving_name_can_be_the_one_that_finds_the_image(store: Session) -> None:
    assert tag_image(store, "app:2", "app:2", None, 7).image.uid == "UIDa"


@pytest.mark.parametrize(
    ("new", "expected", "fits"),
    [
        ("app:2", A, True),
        ("app:2", B, False),
        ("app:2", "", False),
        ("app:3", "", True),
        ("app:3", A, False),
        ("app:2", None, True),
    ],
)
def test_compare_and_swap(store: Session, new: str, expected: str | None, fits: bool) -> None:
    if fits:
        tag_image(store, "h.io/b:1", new, expected, 7)
        assert f"{HUB}:{new[-1]}" in names(store, "b")
        return
    with pytest.raises(Error) as caught:
        tag_image(store, "h.io/b:1", new, expected, 7)
    assert caught.value.reason is Reason.DIGEST_CHANGED
    assert caught.value.metadata["actual"] == (A if new == "app:2" else "")
    assert names(store, "b") == ["h.io/b:1"]


@pytest.mark.parametrize(
    ("image", "new", "reason"),
    [
        ("absent", "app:9", Reason.IMAGE_NOT_FOUND),
        ("app:1", f"app@{A}", Reason.REFERENCE_INVALID),
        ("app:1", f"app:1@{A}", Reason.REFERENCE_INVALID),
        ("app:1", "A", Reason.REFERENCE_INVALID),
        ("app:1", "0" * 64, Reason.REFERENCE_INVALID),
        # It would be taken for an ID.
        ("app:1", A, Reason.REFERENCE_INVALID),
        ("app:1", "sha512:x", Reason.REFERENCE_INVALID),
        ("app:1", "a" * 100_000, Reason.REFERENCE_INVALID),
    ],
)
def test_what_can_not_be_tagged(store: Session, image: str, new: str, reason: Reason) -> None:
    with pytest.raises(Error) as caught:
        tag_image(store, image, new, None, 7)
    assert caught.value.reason is reason
    if reason is Reason.REFERENCE_INVALID:
        assert isinstance(caught.value, FieldError)
        assert caught.value.field == "tag"
    assert (names(store, "a"), events(store)) == ([f"{HUB}:1", f"{HUB}:2"], [])


def untag(session: Session, reference: str, expected: str = "") -> ImageRecord:
    return untag_image(session, reference, expected, 7)


def test_untagging_takes_one_name_and_never_the_image(store: Session) -> None:
    assert [one.name for one in untag(store, "app:1").names] == [f"{HUB}:2"]
    assert untag(store, "library/app:2", A).names == ()
    assert store.image("UIDa")
    assert events(store) == [("untag", "images/UIDa", "app:1"), ("untag", "images/UIDa", "app:2")]


@pytest.mark.parametrize(
    ("reference", "expected", "reason"),
    [
        ("app:1", B, Reason.DIGEST_CHANGED),
        ("app", "", Reason.IMAGE_NOT_FOUND),
        (f"app@{A}", "", Reason.IMAGE_NOT_FOUND),
        (A, "", Reason.IMAGE_NOT_FOUND),
        (A.removeprefix("sha256:"), "", Reason.REFERENCE_INVALID),
        ("", "", Reason.REFERENCE_INVALID),
    ],
)
def test_what_can_not_be_untagged(
    store: Session, reference: str, expected: str, reason: Reason
) -> None:
    with pytest.raises(Error) as caught:
        untag(store, reference, expected)
    assert caught.value.reason is reason
    assert (names(store, "a"), events(store)) == ([f"{HUB}:1", f"{HUB}:2"], [])

"""Containers as records (behaviour.md, 7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import (
    NewContainer,
    beat_container,
    create_container,
    expire_containers,
    find_container,
    pause_container,
    remove_container,
    start_container,
    stop_container,
)
from imgd_server.metadata import ContainerRecord, PlatformRecord
from imgd_server.metadata._session import Session
from imgd_server.oci import Descriptor, Digest, Platform, media
from tests.records import image_record, tag

IDS = {name: Digest.of(name.encode()) for name in ("amd64", "arm64", "s390x")}


@pytest.fixture
def store(session: Session) -> Session:
    """One image for two platforms, and a third that is not stored."""
    platforms = [
        PlatformRecord(
            f"linux/{name}",
            Descriptor(
                media.OCI_MANIFEST,
                Digest.of(name[::-1].encode()),
                9,
                platform=Platform("linux", name),
            ),
            "" if name == "s390x" else digest,
            name != "s390x",
            9,
        )
        for name, digest in IDS.items()
    ]
    record = image_record("a", image_id=IDS["amd64"], names=(tag("docker.io/library/app:1"),))
    session.put_image(record, platforms, ())
    return session


def create(session: Session, now: int = 1, **wanted: Any) -> ContainerRecord:
    return create_container(session, NewContainer("app:1", **{"container_id": "c", **wanted}), now)


def actions(session: Session) -> list[str]:
    return [one.action for one in session.events(0, None, 100) if one.kind == "CONTAINER"]


def refused(work: Callable[[], object]) -> Error:
    with pytest.raises(Error) as caught:
        work()
    return caught.value


def test_a_container_tells_what_was_asked_for_and_what_it_uses(store: Session) -> None:
    record = create(store, 5, labels={"a": "b"})
    assert record == ContainerRecord("c", "UIDa", "app:1", IDS["amd64"], "CREATED", 5, {"a": "b"})
    assert find_container(store, "c") == record
    image = store.image("UIDa")
    assert image
    assert image.last_used == 5
    (event,) = store.events(0, None, 10)
    assert (event.kind, event.action, event.subject) == ("CONTAINER", "create", "containers/c")
    assert event.attributes == {
        "image": "images/UIDa",
        "image_id": IDS["amd64"],
        "name": "app:1",
        "label:a": "b",
    }


def test_a_large_label_does_not_hide_the_others(store: Session) -> None:
    create(store, 5, labels={"a": "b", "big": "x" * 200_000, "c": "d"})
    facts = store.events(0, None, 10)[-1].attributes
    assert {key: value for key, value in facts.items() if key.startswith("label:")} == {
        "label:a": "b",
        "label:c": "d",
    }


def test_a_name_is_made_up_where_none_is_given(store: Session) -> None:
    made = {create(store, container_id="").container_id for _ in range(3)}
    assert len(made) == 3


def test_a_platform_is_looked_for_in_the_image(store: Session) -> None:
    assert create(store, platform="linux/arm64").image_id == IDS["arm64"]
    for platform in ("linux/s390x", "windows/amd64"):
        error = refused(lambda: create(store, container_id="d", platform=platform))  # noqa: B023
        assert error.reason is Reason.PLATFORM_NOT_FOUND
    assert store.count_containers(()) == 1


def test_what_was_chosen_before_is_what_it_uses(store: Session) -> None:
    """Also where another one would be chosen now."""
    arm64 = next(one for one in store.image_platforms("UIDa") if one.platform == "linux/arm64")
    record = create(store, manifest=arm64.manifest.digest)
    assert record.image_id == IDS["arm64"]


def test_what_can_not_be_created(store: Session) -> None:
    create(store)
    assert refused(lambda: create(store)).reason is Reason.CONTAINER_EXISTS
    wanted = NewContainer("absent", "d")
    assert refused(lambda: create_container(store, wanted, 1)).reason is Reason.IMAGE_NOT_FOUND
    assert actions(store) == ["create"]


def test_a_life(store: Session) -> None:
    create(store, 1)
    assert start_container(store, "c", 2).started == 2
    assert pause_container(store, "c", 3, resume=False).state == "PAUSED"
    assert pause_container(store, "c", 4, resume=True).state == "RUNNING"
    stopped = stop_container(store, "c", 137, 5)
    assert (stopped.state, stopped.stopped, stopped.exit_status) == ("EXITED", 5, 137)
    again = start_container(store, "c", 6)
    assert (again.state, again.started, again.exit_status) == ("RUNNING", 6, None)
    assert stop_container(store, "c", None, 7).exit_status is None
    remove_container(store, "c", 8, force=False)
    assert actions(store) == [
        "create",
        "start",
        "pause",
        "unpause",
        "die",
        "start",
        "die",
        "destroy",
    ]
    image = store.image("UIDa")
    assert image
    assert image.last_used == 6


WORDS: dict[str, Callable[[Session], object]] = {
    "start": lambda one: start_container(one, "c", 9),
    "pause": lambda one: pause_container(one, "c", 9, resume=False),
    "resume": lambda one: pause_container(one, "c", 9, resume=True),
    "stop": lambda one: stop_container(one, "c", 1, 9),
    "beat": lambda one: beat_container(one, "c", 9),
    "remove": lambda one: remove_container(one, "c", 9, force=False),
    "force": lambda one: remove_container(one, "c", 9, force=True),
}


def bring(session: Session, state: str) -> None:
    create(session, heartbeat=10)
    if state != "CREATED":
        start_container(session, "c", 2)
    if state == "PAUSED":
        pause_container(session, "c", 3, resume=False)
    if state == "EXITED":
        stop_container(session, "c", 0, 3)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        # In capitals: refused. Else: the state that follows, "=" for the same without an event.
        ("CREATED", "start:RUNNING PAUSE RESUME stop:= beat:CREATED remove: force:"),
        ("RUNNING", "start:= pause:PAUSED resume:= stop:EXITED beat:RUNNING REMOVE force:"),
        ("PAUSED", "START pause:= resume:RUNNING stop:EXITED beat:PAUSED REMOVE force:"),
        ("EXITED", "start:RUNNING PAUSE RESUME stop:= BEAT remove: force:"),
    ],
)
def test_every_word_in_every_state(store: Session, state: str, words: str) -> None:
    for text in words.split():
        word, _, then = text.partition(":")
        bring(store, state)
        before = actions(store)
        if word.isupper():
            error = refused(lambda: WORDS[word.lower()](store))  # noqa: B023
            assert error.reason is Reason.CONTAINER_STATE
            assert error.metadata == {"container": "containers/c", "state": state}
            assert store.container("c")
        else:
            WORDS[word](store)
            found = store.container("c")
            assert (found.state if found else "") == (state if then == "=" else then)
            if then == "=":
                assert actions(store) == before
        store.delete_container("c")
    with pytest.raises(Error) as caught:
        WORDS["start"](store)
    assert caught.value.reason is Reason.CONTAINER_NOT_FOUND


def test_one_that_is_not_heard_of_for_three_beats_has_exited(store: Session) -> None:
    create(store, 100, heartbeat=10)
    create(store, 100, container_id="quiet")
    start_container(store, "c", 105)
    beat_container(store, "c", 120)
    pause_container(store, "c", 125, resume=False)
    assert expire_containers(store, 149) == 0
    assert expire_containers(store, 150) == 1
    found = find_container(store, "c")
    assert (found.state, found.stopped, found.exit_status) == ("EXITED", 150, None)
    assert expire_containers(store, 10_000) == 0
    assert find_container(store, "quiet").state == "CREATED"
    # It still holds its image, and can start anew, with a new time.
    assert store.image_containers("UIDa") == ([], ["c", "quiet"])
    start_container(store, "c", 200)
    assert expire_containers(store, 229) == 0
    assert expire_containers(store, 230) == 1


def test_a_beat_that_nobody_asked_for(store: Session) -> None:
    create(store)
    assert refused(lambda: beat_container(store, "c", 2)).reason is Reason.CONTAINER_STATE

"""Versions of images: what has the same one is the same, whatever happened in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgd_server.metadata import (
    ImageQuery,
    ImageRecord,
    ImageVersion,
    MetadataStore,
    Name,
    ReadSession,
    WriteSession,
)
from tests.contract.metadata.conftest import BACKENDS
from tests.records import blob_ref, by_digest, image_record, tag

TEXTS = "abcd"
NAMES = [*(tag(f"a.b/x:{number}") for number in range(3)), by_digest("a.b/x", "a")]
LEARNED = [f"a.b/{one}@{image_record('a').target.digest}" for one in "xy"]

Change = Callable[[WriteSession], object]


def _if_there(uid: str, change: Change) -> Change:
    return lambda session: change(session) if session.image(uid) else None


def _put(record: ImageRecord, *blobs: str, stored: bool = True) -> Change:
    found = [blob_ref(one, stored=stored) for one in blobs]
    return lambda session: session.put_image(record, (), found)


def _name(name: Name, uid: str) -> Change:
    return _if_there(uid, lambda session: session.put_name(name, uid))


CHANGES: dict[str, Change] = {
    # Names that are shown first whatever becomes of the others, so that places tell nothing.
    **{f"put {one}": _put(image_record(one, names=(tag(f"a.a/{one}:1"),))) for one in "ab"},
    **{f"put {one}": _put(image_record(one)) for one in "cd"},
    "put with names": _put(image_record("c", names=(NAMES[2],), repo_digests=(LEARNED[0],))),
    **{
        f"{key}={value}": _put(image_record("a", **{key: value}))
        for key, value in {
            "created": 5,
            "platform": "linux/arm64",
            "kind": "artifact",
            "artifact_type": "a/b",
            "labels": {"a": "b"},
            "image_id": image_record("b").image_id,
            "unpacked_size": 7,
        }.items()
    },
    "target": _put(
        image_record("a", target=replace(image_record("a").target, media_type="a/manifest"))
    ),
    "learn x": _put(image_record("a", repo_digests=(LEARNED[0],))),
    "learn y": _put(image_record("a", repo_digests=(LEARNED[1],))),
    "one blob": _put(image_record("a"), "1"),
    "an absent blob": _put(image_record("a"), "2", stored=False),
    "that blob comes": _put(image_record("a"), "2"),
    "lose a blob": lambda session: session.lose_blobs("UIDa", [blob_ref("1").digest]),
    **{f"{one.name} to {text}": _name(one, f"UID{text}") for one in NAMES for text in "ab"},
    **{
        f"no {one.name}": lambda session, name=one.name: session.delete_name(name)  # type: ignore[misc]
        for one in NAMES
    },
    "forget x": lambda session: session.forget_repo_digest(LEARNED[0]),
    "pin": lambda session: session.set_pinned("UIDa", True),
    "unpin": lambda session: session.set_pinned("UIDa", False),
    "unpacked": lambda session: session.set_unpacked_size("UIDa", 9),
    **{
        f"delete {one}": lambda session, uid=f"UID{one}": session.delete_image(uid)  # type: ignore[misc]
        for one in TEXTS
    },
    # What versions leave out.
    "touch": lambda session: session.touch_image("UIDa", 8),
    "doom": lambda session: session.set_doomed("UIDa", True),
}


class TakenBackError(Exception):
    """What undoes a change."""


def _look(session: ReadSession) -> dict[ImageVersion, ImageRecord]:
    """All images by version; as `list_images` has them, and in its order."""
    listed = session.list_images(None, 100)
    asof, versions = session.list_versions(None, 100)
    assert [(asof, version[0]) for version in versions] == [place for place, _ in listed]
    found = session.images_of(versions)
    assert found == [record for _, record in listed]
    return dict(zip(versions, found, strict=True))


# Each example opens two stores and writes durably.
@settings(max_examples=60)
@given(
    walk=st.lists(
        st.tuples(st.sampled_from(sorted(CHANGES)), st.booleans(), st.integers(0, 5)), max_size=25
    )
)
@example(walk=[("put c", True, 0), ("put d", True, 1)])
@pytest.mark.parametrize("kind", BACKENDS)
async def test_records_of_one_version_are_the_same(
    kind: str, walk: list[tuple[str, bool, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    open_store = BACKENDS[kind](tmp_path_factory.mktemp("store"))
    stores = [await open_store(), await open_store()]
    known: dict[ImageVersion, ImageRecord] = {}

    def check(session: ReadSession) -> None:
        for version, record in _look(session).items():
            shown = replace(record, last_used=None, doomed=False)
            assert known.setdefault(version, shown) == shown

    async def write(store: MetadataStore, name: str, *, fails: bool) -> None:
        def change(session: WriteSession) -> None:
            CHANGES[name](session)
            # Also inside, where it may be taken back.
            check(session)
            if fails:
                raise TakenBackError

        if fails:
            with pytest.raises(TakenBackError):
                await store.write(change)
        else:
            await store.write(change)

    try:
        for name, first, fate in (("put a", True, 1), ("put b", True, 1), *walk):
            # One in six is rolled back.
            await write(stores[not first], name, fails=fate == 0)
            for store in stores:
                await store.read(check)
    finally:
        for store in stores:
            await store.close()


async def test_a_version_stays_while_nothing_changes(store: MetadataStore) -> None:
    for name in ("put a", "pin", "a.b/x:0 to a", "put b", "a.b/x:1 to b"):
        await store.write(CHANGES[name])
    before = await store.read(_look)
    # Neither what versions leave out, nor what happens to another image.
    for name in ("touch", "doom", "put c", "a.b/x:1 to b"):
        await store.write(CHANGES[name])
    after = await store.read(_look)
    assert [version for version, one in after.items() if one.uid == "UIDa"] == [
        version for version, one in before.items() if one.uid == "UIDa"
    ]


async def test_versions_are_filtered_and_paged(store: MetadataStore) -> None:
    for name in ("put a", "put b", "put c", "pin"):
        await store.write(CHANGES[name])

    def look(session: ReadSession) -> list[str]:
        asof, versions = session.list_versions(None, 10, ImageQuery(pinned=False))
        _, [first] = session.list_versions(None, 1, ImageQuery(pinned=False))
        rest = session.list_versions((asof, first[0]), 10, ImageQuery(pinned=False))
        assert rest == (asof, versions[1:])
        return [one.uid for one in session.images_of(versions)]

    assert sorted(await store.read(look)) == ["UIDb", "UIDc"]

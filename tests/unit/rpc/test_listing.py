"""Lists that are put together of what is kept: the same as lists that are made anew."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from imgd.v1 import image_pb2
from imgd.v1.image_service_pb2 import ListImagesRequest, ListImagesResponse
from imgd_server.errors import HeldError
from imgd_server.images import ShownImages, parse_filters, remove_image, tag_image, untag_image
from imgd_server.metadata import ImageRecord, SqliteMetadataStore, WriteSession
from imgd_server.rpc._images import ImageServicer
from tests.records import blob_ref, image_record, lease_record, tag

NAMES = ["a.b/x:1", "a.b/x:2", "a.b/y:1", "c.d/x:1"]
TEXTS = "abc"
# Of lists that depend on the time nothing is kept but the images: a list that is kept whole knows
# its own daemon's changes alone.
NOW = "until=1ns"
FILTERS = [
    [NOW],
    [NOW, "reference=a.b/x"],
    [NOW, "reference=a.b/*:1"],
    [NOW, "reference=a.b/x", "reference=c.d/**"],
    [NOW, "reference!=a.b/x:1"],
    [NOW, "reference=a.b/*", "reference!=*/*:2"],
    [NOW, "dangling=true"],
    [NOW, "pinned=true"],
    [NOW, "label=a"],
    [NOW, "in-use=false"],
]
Change = Callable[[WriteSession], object]


def _put(record: ImageRecord, *blobs: str) -> Change:
    return lambda session: session.put_image(record, (), map(blob_ref, blobs))


def _remove(text: str) -> Change:
    uid = f"UID{text}"
    digest = image_record(text).target.digest

    def change(session: WriteSession) -> None:
        # One that a lease holds stays.
        with suppress(HeldError):
            if session.image(uid):
                remove_image(session, digest, force=True, now=5)

    return change


def _tag(text: str, name: str) -> Change:
    return lambda session: (
        tag_image(session, image_record(text).target.digest, name, None, 5)
        if session.image(f"UID{text}")
        else None
    )


def _untag(name: str) -> Change:
    return lambda session: (
        untag_image(session, name, "", 5) if session.image_by_name(name) else None
    )


CHANGES: dict[str, Change] = {
    **{f"put {one}": _put(image_record(one)) for one in TEXTS},
    "learn": _put(image_record("a", repo_digests=(f"a.b/x@{image_record('a').target.digest}",))),
    "label": _put(image_record("b", labels={"a": ""})),
    "date": _put(image_record("b", created=5)),
    "blob": _put(image_record("c"), "1"),
    "pin": lambda session: session.set_pinned("UIDa", True),
    "touch": lambda session: session.touch_image("UIDa", 9),
    "lease": lambda session: session.put_lease(lease_record("l", images=("UIDa",))),
    **{f"{name} to {text}": _tag(text, name) for name in NAMES for text in TEXTS},
    **{f"no {name}": _untag(name) for name in NAMES},
    **{f"remove {one}": _remove(one) for one in TEXTS},
    "another name": lambda session: (
        session.put_name(tag("c.d/x:1"), "UIDb") if session.image("UIDb") else None
    ),
}


async def listed(servicer: ImageServicer, request: ListImagesRequest) -> bytes:
    return cast(bytes, await servicer.ListImages(request, cast(Any, None)))


async def check(kept: ImageServicer, store: SqliteMetadataStore, filters: list[str]) -> None:
    """All pages, beside those of a servicer that keeps nothing yet; and beside FULL's images."""
    token = ""
    seen = 0
    while True:
        request = ListImagesRequest(page_size=2, page_token=token, filters=filters)
        anew = await listed(ImageServicer(store, cast(Any, None), ()), request)
        assert await listed(kept, request) == anew
        answer = ListImagesResponse.FromString(anew)
        # The encoding is the only one, not just one that reads the same.
        assert answer.SerializeToString(deterministic=True) == anew
        request.view = image_pb2.IMAGE_VIEW_FULL
        full = ListImagesResponse.FromString(await listed(kept, request))
        assert [one.tags for one in answer.images] == [one.tags for one in full.images]
        assert [one.name for one in answer.images] == [one.name for one in full.images]
        assert answer.next_page_token == full.next_page_token
        seen += len(answer.images)
        if not (token := answer.next_page_token):
            break
    whole = ListImagesRequest(page_size=1000, filters=filters)
    assert len(ListImagesResponse.FromString(await listed(kept, whole)).images) == seen


# Each example opens three stores and writes durably.
@settings(max_examples=25)
@given(
    walk=st.lists(
        st.tuples(st.sampled_from(sorted(CHANGES)), st.booleans(), st.sampled_from(FILTERS)),
        max_size=20,
    ),
    room=st.sampled_from([0, 1500, 1 << 20]),
)
@example(
    walk=[("put a", False, [NOW]), ("lease", False, [NOW]), ("remove a", False, [NOW])], room=0
)
async def test_lists_are_those_of_now(
    walk: list[tuple[str, bool, list[str]]], room: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Two connections to one file, each with what it has kept, and which write in turn."""
    path = tmp_path_factory.mktemp("store") / "metadata.db"
    stores = [await SqliteMetadataStore.open(path) for _ in range(2)]
    servicers = [ImageServicer(store, cast(Any, None), ()) for store in stores]
    for servicer in servicers:
        servicer._shown._most = room  # with little, much is kept anew
    try:
        for name, first, filters in walk:
            await stores[not first].write(CHANGES[name])
            for store, servicer in zip(stores, servicers, strict=True):
                await check(servicer, store, filters)
        await stores[0].close()
        stores[0] = await SqliteMetadataStore.open(path)
        await check(servicers[1], stores[1], [NOW])
        assert await listed(
            ImageServicer(stores[0], cast(Any, None), ()), ListImagesRequest()
        ) == await listed(servicers[1], ListImagesRequest(filters=[NOW]))
    finally:
        for store in stores:
            await store.close()


async def test_a_list_after_a_change_encodes_what_changed(tmp_path: Any) -> None:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    encoded: list[str] = []

    def encode(record: ImageRecord) -> bytes:
        encoded.append(record.uid)
        return record.uid.encode() * 10

    async def show(shown: ShownImages, *filters: str) -> int:
        encoded.clear()
        found, _ = await store.read(
            lambda session: shown.page(session, parse_filters(session, filters, 0), None, 9, 999)
        )
        return len(found)

    try:
        for text in TEXTS:
            await store.write(_put(image_record(text, names=(tag(f"a.b/{text}:1"),))))
        shown = ShownImages(encode)
        assert await show(shown) == 3
        assert sorted(encoded) == ["UIDa", "UIDb", "UIDc"]
        assert (await show(shown), encoded) == (3, [])
        await store.write(lambda session: tag_image(session, "a.b/b:1", "a.b/b:2", None, 5))
        assert (await show(shown), encoded) == (3, ["UIDb"])
        # Each set of patterns shows other names; also that an image does not fit is known then.
        assert (await show(shown, "reference=a.b/b"), encoded) == (1, ["UIDb"])
        assert (await show(shown, "reference=a.b/b"), encoded) == (1, [])
        assert (await show(shown), encoded) == (3, [])
        # Room for two: of the patterns that were used longest ago what is oldest goes.
        small = ShownImages(encode, 2 * (300 + 40) + 10)
        alone = {one: f"digest={image_record(one).target.digest}" for one in TEXTS}
        for text, patterns, made in (
            ("a", [], 1),
            ("b", [], 1),
            ("a", [], 0),
            ("c", [], 1),
            ("b", [], 0),
            ("a", [], 1),
            ("c", [], 0),
            ("b", ["reference=**"], 1),
            ("a", [], 0),
            ("c", [], 1),
            ("a", [], 0),
            ("b", ["reference=**"], 1),
        ):
            found = await show(small, alone[text], *patterns)
            assert (text, found, len(encoded)) == (text, 1, made)
    finally:
        await store.close()

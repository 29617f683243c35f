"""The order of lists, and that pages hold still while others write."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgd_server.metadata import ImageRecord, MetadataStore, Name, ReadSession, WriteSession
from tests.contract.metadata.conftest import BACKENDS
from tests.records import by_digest, image_record, tag

Position = tuple[int, int]


async def uids(store: MetadataStore, size: int = 1000) -> str:
    return "".join([uid async for uid in pages(store, size)])


async def pages(store: MetadataStore, size: int) -> AsyncIterator[str]:
    """The images' texts, a page at a time; whoever iterates may write between them."""
    after: Position | None = None
    while True:
        found = await store.read(lambda session: session.list_images(after, size))  # noqa: B023
        for _, image in found:
            yield image.uid.removeprefix("UID")
        if len(found) < size:
            return
        after = found[-1][0]


def put(*records: ImageRecord) -> Callable[[WriteSession], None]:
    def run(session: WriteSession) -> None:
        for record in records:
            session.put_image(record, (), ())

    return run


async def test_newest_first_and_undated_last(store: MetadataStore) -> None:
    await store.write(
        put(
            image_record("c", created=0),
            image_record("e", created=None),
            image_record("b", created=1),
            image_record("d", created=-(2**60)),
            image_record("a", created=2**60),
        )
    )
    assert await uids(store) == "abcde"


async def test_equal_times_are_ordered_by_the_first_row(store: MetadataStore) -> None:
    digest = "sha256:" + "1" * 64
    await store.write(
        put(
            # By repository and then tag: `a.b/x-y` follows `a.b/x`, although `-` comes before `:`.
            image_record("f", names=(tag("a.b/x-y:1"),)),
            image_record("e", names=(tag("a.b/x:2"), tag("z.z/z:1"))),
            # Known by digest only: the repository, and no tag.
            image_record("d", names=(by_digest("a.b/x", "d"),)),
            image_record("c", repo_digests=(f"a.b/w@{digest}",)),
            # With a tag there the digest has no row of its own.
            image_record("g", names=(tag("a.b/z:b"),), repo_digests=(f"a.b/z@{digest}",)),
            image_record("h", names=(tag("a.b/z:c"), by_digest("a.b/z", "h"))),
            # The first of its rows, whatever their kind.
            image_record("b", names=(tag("b.b/z:1"),), repo_digests=(f"a.b/v@{digest}",)),
            # Nothing at all: `<none>`.
            image_record("a"),
        )
    )
    assert await uids(store) == "abcedfgh"


async def test_who_loses_its_name_has_another_place(store: MetadataStore) -> None:
    await store.write(put(*(image_record(one, names=(tag(f"a.b/{one}:1"),)) for one in "abc")))
    await store.write(lambda session: session.put_name(tag("a.b/c:1"), "UIDa"))
    # `<none>` comes before any name.
    assert await uids(store) == "cab"
    await store.write(lambda session: session.delete_name("a.b/b:1"))
    assert await uids(store) == "cba"


async def test_names_decide_as_they_are_now(store: MetadataStore) -> None:
    await store.write(put(*(image_record(one, names=(tag(f"a.b/{one}:1"),)) for one in "abc")))

    def change(session: WriteSession) -> None:
        session.put_name(tag("a.b/a:0"), "UIDc")  # a further, earlier name
        session.delete_name("a.b/a:1")
        session.put_name(tag("a.b/b:1"), "UIDa")  # moved from b, which keeps another
        session.put_name(tag("a.b/d:1"), "UIDb")

    await store.write(change)
    assert await uids(store) == "cab"
    await store.write(put(image_record("b", created=1)))
    assert await uids(store) == "bca"
    await store.write(lambda session: session.put_name(tag("a.b/a:0"), "UIDc"))
    assert await uids(store) == "bca"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
async def test_pages_of_any_size(store: MetadataStore, size: int) -> None:
    times = itertools.cycle([5, None, 5, 7])
    await store.write(
        put(
            *(
                image_record(one, created=created)
                for one, created in zip("abcdefg", times, strict=False)
            )
        )
    )
    whole = await uids(store)
    assert sorted(whole) == list("abcdefg")
    assert await uids(store, size) == whole


async def test_a_page_of_nothing(store: MetadataStore) -> None:
    assert await uids(store) == ""
    await store.write(put(image_record("a")))

    def behind_the_end(session: ReadSession) -> int:
        [(position, _)] = session.list_images(None, 10)
        return len(session.list_images(position, 10))

    assert await store.read(behind_the_end) == 0
    assert await store.read(lambda session: session.list_images(None, 0)) == []


TEXTS = "abcdef"
NAMES = [tag(f"a.b/{repository}:{number}") for repository in "xy" for number in range(3)]

CHANGE = st.one_of(
    st.tuples(st.just("name"), st.sampled_from(NAMES), st.sampled_from(TEXTS)),
    st.tuples(st.just("unname"), st.sampled_from(NAMES), st.just("")),
    st.tuples(st.just("delete"), st.just(NAMES[0]), st.sampled_from(TEXTS)),
    st.tuples(st.just("add"), st.just(NAMES[0]), st.sampled_from("ghi")),
    st.tuples(st.just("date"), st.just(NAMES[0]), st.sampled_from(TEXTS)),
)


def apply(changes: list[tuple[str, Name, str]]) -> Callable[[WriteSession], None]:
    def run(session: WriteSession) -> None:
        for kind, name, text in changes:
            uid = f"UID{text}"
            if kind == "name" and session.image(uid):
                session.put_name(name, uid)
            elif kind == "unname":
                session.delete_name(name.name)
            elif kind == "delete":
                session.delete_image(uid)
            elif kind == "add" or (kind == "date" and session.image(uid)):
                session.put_image(image_record(text, created=9), (), ())

    return run


# Each example opens a store and writes it durably.
@settings(max_examples=40)
@given(
    before=st.lists(CHANGE, max_size=8),
    between=st.lists(st.lists(CHANGE, max_size=3), max_size=6),
    size=st.integers(1, 3),
)
@pytest.mark.parametrize("kind", BACKENDS)
async def test_a_list_shows_what_was_there_when_it_began(
    kind: str,
    before: list[tuple[str, Name, str]],
    between: list[list[tuple[str, Name, str]]],
    size: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    store = await BACKENDS[kind](tmp_path_factory.mktemp("store"))()
    try:
        await store.write(put(*map(image_record, TEXTS)))
        await store.write(apply(before))
        begun = await uids(store)
        deleted: set[str] = set()
        shown, page = "", iter(between)
        async for text in pages(store, size):
            assert text not in deleted
            shown += text
            if len(shown) % size == 0 and (changes := next(page, [])):
                await store.write(apply(changes))
                deleted |= {text for kind, _, text in changes if kind == "delete"}
        # In the order of the beginning; only what is gone meanwhile may be missing.
        assert [text for text in begun if text in shown] == list(shown)
        assert set(begun) - set(shown) <= deleted
        # A new list shows the order of now, whole.
        now = await uids(store)
        assert sorted(now) == sorted(set(now))
        assert await uids(store, size) == now
    finally:
        await store.close()

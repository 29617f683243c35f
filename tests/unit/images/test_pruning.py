"""Pruning: what goes, and that a dry run tells it (behaviour.md, 6)."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from imgd_server.errors import FieldError
from imgd_server.images import (
    NewContainer,
    NewLease,
    Pruned,
    create_container,
    create_lease,
    prune_images,
)
from imgd_server.metadata import SqliteMetadataStore, WriteSession
from tests.records import blob_ref, image_record, tag

NOW = 1_000_000_000
CLOCK = lambda: NOW  # noqa: E731


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(tmp_path / "metadata.db")
    yield store
    await store.close()


def put(session: WriteSession, text: str, *names: str, blobs: Sequence[str] = ()) -> str:
    record = image_record(text, names=tuple(map(tag, names)), labels={"l": text}, created=1)
    return session.put_image(record, (), [blob_ref(one) for one in blobs]).uid


async def prune(
    store: SqliteMetadataStore, *filters: str, everything: bool = False, dry: bool = False
) -> Pruned:
    return await prune_images(store, CLOCK, all_images=everything, filters=filters, dry_run=dry)


def gone(pruned: Pruned) -> str:
    return "".join(sorted(one.record.uid.removeprefix("UID") for one in pruned.removals))


def fill(session: WriteSession) -> None:
    """Named: n, pinned p, used u, leased l. Dangling: d, e, and so pinned P, used U, leased L."""
    for text in "npul":
        put(session, text, f"h.io/{text}:1", f"h.io/{text}:2")
    for text in "dePUL":
        put(session, text)
    for text in "pP":
        session.set_pinned(f"UID{text}", True)
    for text in "uU":
        image = image_record(text).image_id
        create_container(session, NewContainer(image, f"c{text}"), NOW)
    for text in "lL":
        image = image_record(text).image_id
        create_lease(
            session, NewLease(f"lease{text.lower()}{text.isupper():d}", images=[image]), NOW
        )
    create_lease(session, NewLease("over", 1, [image_record("d").image_id]), NOW - 1)


@pytest.mark.parametrize(
    ("filters", "everything", "expected"),
    [
        ("", False, "de"),
        ("", True, "den"),
        ("dangling=true", True, "de"),
        ("dangling=false", False, "den"),
        ("label=l=e", False, "e"),
        ("label!=l=e", True, "dn"),
        ("reference=h.io/n:1", True, "n"),
        ("reference=h.io/n:1", False, ""),
        ("in-use=true", True, ""),
        ("pinned=true", True, ""),
        ("in-use=false pinned=0", False, "de"),
        (f"until={NOW // 1_000_000}", False, "de"),
        ("until=1", False, ""),
    ],
)
async def test_what_goes(
    store: SqliteMetadataStore, filters: str, everything: bool, expected: str
) -> None:
    await store.write(fill)
    foreseen = await prune(store, *filters.split(), everything=everything, dry=True)
    assert gone(foreseen) == expected
    assert await store.read(lambda session: session.count_images()) == 9
    assert await prune(store, *filters.split(), everything=everything) == foreseen
    assert await store.read(lambda session: session.count_images()) == 9 - len(expected)


async def test_all_names_of_an_image_go_and_are_told(store: SqliteMetadataStore) -> None:
    await store.write(fill)
    pruned = await prune(store, "reference=h.io/n:1", everything=True)
    (removal,) = pruned.removals
    assert removal.untagged == ("h.io/n:1", "h.io/n:2")
    assert removal.deleted == (removal.record.image_id,)
    events = await store.read(lambda session: session.events(0, None, 100))
    told = [(one.action, one.attributes.get("name")) for one in events if one.kind == "IMAGE"]
    assert told == [("untag", "h.io/n:1"), ("untag", "h.io/n:2"), ("delete", None)]


async def test_what_is_refused_changes_nothing(store: SqliteMetadataStore) -> None:
    await store.write(fill)
    with pytest.raises(FieldError):
        await prune(store, "unknown=1")
    assert await store.read(lambda session: session.count_images()) == 9


async def test_more_than_a_batch_and_more_than_is_told(store: SqliteMetadataStore) -> None:
    await store.write(
        lambda session: [put(session, f"{n}", blobs=[f"b{n}", "shared"]) for n in range(1020)]
    )
    foreseen = await prune(store, dry=True)
    pruned = await prune(store)
    assert (pruned.count, pruned.freed_bytes, len(pruned.removals)) == (1020, 10210, 1000)
    assert pruned == foreseen
    assert await store.read(lambda session: session.count_images()) == 0


async def test_what_is_named_between_two_batches_stays(store: SqliteMetadataStore) -> None:
    await store.write(lambda session: [put(session, f"{n}") for n in range(120)])
    reads: list[str] = []

    class Interrupting:
        """Names an image when the first batch is done."""

        read = store.read

        async def write(self, function: object) -> object:
            done: object = await store.write(function)  # type: ignore[arg-type]
            if not reads:
                left = await store.read(lambda session: session.list_images(None, 1))
                reads.append(left[0][1].uid)
                await store.write(lambda session: session.put_name(tag("h.io/x:1"), reads[0]))
            return done

    pruned = await prune_images(
        Interrupting(),  # type: ignore[arg-type]
        CLOCK,
        all_images=False,
        filters=(),
        dry_run=False,
    )
    assert pruned.count == 119
    named = await store.read(lambda session: session.image_by_name("h.io/x:1"))
    assert named
    assert named.uid == reads[0]


@settings(max_examples=25, deadline=None)
@given(
    images=st.lists(st.sets(st.sampled_from("ABCDEF"), max_size=4), max_size=7),
    named=st.sets(st.integers(0, 6)),
    leased=st.sampled_from(["", "A", "F"]),
)
async def test_a_dry_run_tells_what_a_run_does(
    images: list[set[str]], named: set[int], leased: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = await SqliteMetadataStore.open(Path(folder) / "metadata.db")

        def prepare(session: WriteSession) -> None:
            for number, blobs in enumerate(images):
                names = [f"h.io/x:{number}"] if number in named else []
                put(session, f"{number}", *names, blobs=sorted(blobs))
            if leased:
                create_lease(session, NewLease(digests=[blob_ref(leased).digest]), NOW)

        await store.write(prepare)
        foreseen = await prune(store, dry=True)
        assert await prune(store) == foreseen
        assert foreseen.count == len([n for n in range(len(images)) if n not in named])
        kept = {one for n, blobs in enumerate(images) if n in named for one in blobs} | {leased}
        freed = {one for blobs in images for one in blobs} - kept
        assert foreseen.freed_bytes == 10 * len(freed)
        await store.close()

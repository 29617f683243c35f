"""What is private, who gave it, and who has proven what, in any metadata store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from imgd_server.metadata import MetadataStore, WriteSession
from tests.records import blob_ref, image_record, lease_record

T = TypeVar("T")

A, B, C = (blob_ref(name).digest for name in "abc")
ONE, TWO = "one.test/app", "two.test/app"
NOW = 1_000_000


async def write(store: MetadataStore, *changes: Callable[[WriteSession], object]) -> None:
    for change in changes:
        await store.write(change)


async def closed(store: MetadataStore, repository: str) -> dict[str, list[str]]:
    return await store.read(lambda session: session.closed_to(repository, [A, B, C]))


async def test_what_is_asked_for_is_private_and_not_given(store: MetadataStore) -> None:
    assert not await store.read(lambda one: one.has_private_content())
    await write(store, lambda one: one.mark_private(ONE, [A, B]))
    assert await store.read(lambda one: one.has_private_content())
    private = await store.read(lambda one: [one.is_private(digest) for digest in (A, B, C)])
    assert private == [True, True, False]
    assert await store.read(lambda one: one.givers(A)) == []
    # Nobody else can have brought it: it is the repository's own.
    assert await closed(store, ONE) == {}
    assert await closed(store, TWO) == {A: [], B: []}
    await write(store, lambda one: one.mark_private(TWO, [A]))
    assert await closed(store, ONE) == {A: []}
    assert await closed(store, TWO) == {A: [], B: []}


async def test_what_was_given_is_open_to_its_repository(store: MetadataStore) -> None:
    await write(
        store,
        lambda one: one.mark_private(ONE, [A]),
        # What is not private is not made so.
        lambda one: one.give_private(ONE, [A, B]),
        lambda one: one.mark_private(ONE, [A]),
    )
    assert await store.read(lambda one: (one.givers(A), one.givers(B))) == ([ONE], [])
    assert await closed(store, TWO) == {A: [ONE]}
    await write(store, lambda one: one.give_private(TWO, [A]))
    assert await closed(store, TWO) == {} == await closed(store, ONE)
    assert await store.read(lambda one: one.givers(A)) == [ONE, TWO]


async def test_what_is_freed_is_for_everybody(store: MetadataStore) -> None:
    await write(
        store,
        lambda one: one.mark_private(ONE, [A, B]),
        lambda one: one.give_private(ONE, [A, B]),
        lambda one: one.free_private([A]),
    )
    assert await closed(store, TWO) == {B: [ONE]}
    assert not await store.read(lambda one: one.is_private(A))


async def test_proofs_are_of_a_repository_and_a_scope_and_end(store: MetadataStore) -> None:
    await write(
        store,
        lambda one: one.put_proof(ONE, "x", 100, 0),
        lambda one: one.put_proof(ONE, "y", 200, 0),
        # Never back: two calls may end in another order than they asked in.
        lambda one: one.put_proof(ONE, "y", 150, 0),
    )

    async def proven(repository: str, scope: str) -> int | None:
        return await store.read(lambda one: one.proven(repository, scope))

    assert [await proven(ONE, "x"), await proven(ONE, "y"), await proven(TWO, "x")] == [
        100,
        200,
        None,
    ]
    await write(store, lambda one: one.put_proof(TWO, "x", 300, 101))
    assert [await proven(ONE, "x"), await proven(ONE, "y"), await proven(TWO, "x")] == [
        None,
        200,
        300,
    ]


async def test_marks_of_what_nothing_holds_are_found(store: MetadataStore) -> None:
    await write(
        store,
        lambda one: one.mark_private(ONE, [A, B, C]),
        lambda one: one.mark_private(TWO, [C]),
        lambda one: one.put_image(image_record("i"), (), [blob_ref("a")]),
        lambda one: one.put_lease(lease_record("l", expires=NOW, digests=(B,))),
    )

    async def loose(now: int, limit: int = 10) -> list[str]:
        return await store.read(lambda one: one.loose_private_content(now, limit))

    assert await loose(NOW - 1) == [C]
    assert await loose(NOW) == sorted([B, C])
    assert await loose(NOW, 1) == sorted([B, C])[:1]

"""What uses images, and what they use: containers, leases, bytes; what is kept for lists and
retries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from imgd_server.metadata import (
    ContainerRecord,
    EventRecord,
    ImageQuery,
    KeptAnswer,
    MetadataStore,
    ReadSession,
    WriteSession,
)
from tests.records import blob_ref, image_record, lease_record, tag, transfer_record


def container(container_id: str, image: str = "UIDa", **fields: Any) -> ContainerRecord:
    settings: dict[str, Any] = {"state": "CREATED", "created": 1}
    return ContainerRecord(container_id, image, "ref", "id", **{**settings, **fields})


async def fill(store: MetadataStore) -> None:
    """a and b, which share a blob; c that has one that is not stored."""

    def put(session: WriteSession) -> None:
        session.put_image(image_record("a", stored=30), (), [blob_ref("x"), blob_ref("y", 5)])
        session.put_image(image_record("b", stored=20), (), [blob_ref("x"), blob_ref("z", 7)])
        session.put_image(
            image_record("c", stored=10), (), [blob_ref("y", 5, stored=False), blob_ref("w", 1)]
        )

    await store.write(put)


async def test_content_counts_each_stored_blob_once(store: MetadataStore) -> None:
    assert await store.read(lambda session: session.content_bytes()) == 0
    await fill(store)
    await store.write(lambda session: session.put_container(container("c1", "UIDb")))
    await store.write(lambda session: session.put_container(container("c2", "UIDb")))
    assert await store.read(lambda session: session.content_bytes()) == 10 + 5 + 7 + 1
    assert await store.read(lambda session: session.content_bytes(in_use=True)) == 17
    assert await store.read(lambda session: session.count_used_images()) == 1


async def test_blobs_of_an_image_alone(store: MetadataStore) -> None:
    await fill(store)
    leased = lease_record("l", 100, digests=(blob_ref("z").digest,))
    await store.write(lambda session: session.put_lease(leased))

    async def alone(uid: str, now: int | None) -> set[int]:
        found = await store.read(lambda session: session.exclusive_blobs(uid, now))
        return {one.size for one in found}

    # What c has not stored is no reason to keep a's.
    assert await alone("UIDa", 0) == {5}
    assert await alone("UIDb", 99) == set()
    assert await alone("UIDb", 100) == await alone("UIDb", None) == {7}
    assert await alone("UIDc", 0) == {1}
    assert await alone("none", 0) == set()


async def test_blobs_beside_some_images(store: MetadataStore) -> None:
    await fill(store)
    leased = lease_record("l", 100, digests=(blob_ref("z").digest,))
    await store.write(lambda session: session.put_lease(leased))

    async def beside(now: int, *uids: str) -> set[str]:
        return await store.read(lambda session: session.blobs_beside(uids, now))

    def digests(names: str) -> set[str]:
        return {blob_ref(name).digest for name in names}

    assert await beside(100) == digests("xyzw")
    assert await beside(100, "UIDa") == digests("xzw")
    assert await beside(100, "UIDa", "UIDb") == digests("w")
    assert await beside(99, "UIDa", "UIDb", "UIDc", "none") == digests("z")


async def test_held_among(store: MetadataStore) -> None:
    await fill(store)
    leased = lease_record("l", 100, digests=(blob_ref("loose").digest,))
    await store.write(lambda session: session.put_lease(leased))
    asked = [blob_ref(name).digest for name in ("x", "y", "loose", "nobody's")]

    async def held(now: int) -> set[str]:
        return await store.read(lambda session: session.held_among(asked, now))

    assert await held(99) == set(asked[:3])
    assert await held(100) == set(asked[:2])
    assert await store.read(lambda session: session.held_among([], 0)) == set()


# --- containers


async def test_a_container_is_kept_and_brought_up_to_date(
    opener: Callable[[], Any], store: MetadataStore
) -> None:
    await fill(store)
    first = container(
        "c1", labels={"é": "ü", "a": ""}, heartbeat=7, expires=21, platform="linux/amd64"
    )
    await store.write(lambda session: session.put_container(first))
    assert await store.read(lambda session: session.container("c1")) == first
    later = container(
        "c1",
        labels={"é": "ü", "a": ""},
        heartbeat=7,
        platform="linux/amd64",
        state="EXITED",
        started=2,
        stopped=3,
        exit_status=137,
    )
    await store.write(lambda session: session.put_container(later))
    again = await opener()
    assert await again.read(lambda session: session.container("c1")) == later
    assert await again.read(lambda session: session.container("c2")) is None
    assert await store.write(lambda session: session.delete_container("c1"))
    assert not await store.write(lambda session: session.delete_container("c1"))


async def test_containers_list_newest_first_by_image_state_and_label(store: MetadataStore) -> None:
    await fill(store)

    def put(session: WriteSession) -> None:
        states = ["CREATED", "RUNNING", "PAUSED", "EXITED"]
        for number in range(8):
            labels = {"n": f"{number}", "odd": ""} if number % 2 else {"é": "ü"}
            session.put_container(
                container(
                    f"c{number}",
                    "UIDa" if number < 4 else "UIDb",
                    state=states[number % 4],
                    created=number // 2,
                    labels=labels,
                )
            )

    await store.write(put)

    async def found(
        image: str | None = None,
        states: tuple[str, ...] = (),
        labels: tuple[tuple[str, str | None], ...] = (),
    ) -> str:
        """The numbers, read in pages of two."""
        text, after = "", None
        while page := await store.read(
            lambda session: session.list_containers(image, states, labels, after, 2)  # noqa: B023
        ):
            text += "".join(one.container_id[1:] for one in page)
            after = (page[-1].created, page[-1].container_id)
        return text

    assert await found() == "76543210"
    assert await found("UIDa") == "3210"
    assert await found("none") == ""
    assert await found(states=("RUNNING", "PAUSED")) == "6521"
    assert await found(labels=(("odd", None),)) == "7531"
    assert await found(labels=(("odd", ""), ("n", "5"))) == "5"
    assert await found(labels=(("odd", "x"),)) == ""
    assert await found("UIDb", ("CREATED",), (("é", "ü"),)) == "4"
    assert await store.read(lambda session: session.count_containers(())) == 8
    assert await store.read(lambda session: session.count_containers(("EXITED",))) == 2
    assert await store.read(lambda session: session.image_containers("UIDa")) == (
        ["c1", "c2"],
        ["c0", "c3"],
    )


async def test_silent_containers(store: MetadataStore) -> None:
    await fill(store)
    for name, expires in (("c1", 10), ("c2", 11), ("c3", None)):
        record = container(name, expires=expires)
        await store.write(lambda session: session.put_container(record))  # noqa: B023
    found = await store.read(lambda session: session.silent_containers(10))
    assert [one.container_id for one in found] == ["c1"]


async def test_leases_of_an_image(store: MetadataStore) -> None:
    await fill(store)
    for name, expires in (("l2", 100), ("l1", 50)):
        record = lease_record(name, expires, images=("UIDa",))
        await store.write(lambda session: session.put_lease(record))  # noqa: B023
    assert await store.read(lambda session: session.image_leases("UIDa", 49)) == ["l1", "l2"]
    assert await store.read(lambda session: session.image_leases("UIDa", 50)) == ["l2"]
    assert await store.read(lambda session: session.image_leases("UIDb", 0)) == []

    async def free(now: int) -> set[str]:
        query = ImageQuery(free_at=now)
        found = await store.read(lambda session: session.list_images(None, 10, query))
        return {one.uid for _, one in found}

    assert await free(99) == {"UIDb", "UIDc"}
    assert await free(100) == {"UIDa", "UIDb", "UIDc"}


async def test_a_doomed_image_is_so_until_it_has_a_name(store: MetadataStore) -> None:
    await fill(store)

    async def doomed() -> bool:
        found = await store.read(lambda session: session.image("UIDa"))
        assert found
        return found.doomed

    assert not await doomed()
    await store.write(lambda session: session.set_doomed("UIDa", True))
    assert await doomed()
    await store.write(lambda session: session.put_name(tag("h.io/a:1"), "UIDa"))
    assert not await doomed()


# --- for retries and lists


async def test_kept_answers(store: MetadataStore) -> None:
    first, second = KeptAnswer("r", "f", b"\0a", 10), KeptAnswer("r", "g", b"b", 20)
    for answer in (first, second):
        await store.write(lambda session: session.keep_answer(answer))  # noqa: B023
        assert await store.read(lambda session: session.kept_answer("r")) == answer
    assert await store.write(lambda session: session.delete_expired_answers(19)) == 0
    assert await store.write(lambda session: session.delete_expired_answers(20)) == 1
    assert await store.read(lambda session: session.kept_answer("r")) is None


DIGEST = blob_ref("x").digest

# By method of WriteSession, and by case where there are several.
CHANGES: dict[str, Callable[[WriteSession], object]] = {
    "put_image": lambda one: one.put_image(image_record("d"), (), ()),
    "put_image again": lambda one: one.put_image(image_record("a"), (), [blob_ref("v")]),
    "put_name": lambda one: one.put_name(tag("h.io/a:2"), "UIDa"),
    "delete_name": lambda one: one.delete_name("h.io/a:1"),
    "forget_repo_digest": lambda one: one.forget_repo_digest("h.io/a@sha256:0"),
    "delete_image": lambda one: one.delete_image("UIDb"),
    "lose_blobs": lambda one: one.lose_blobs("UIDa", [DIGEST]),
    "set_pinned": lambda one: one.set_pinned("UIDa", True),
    "set_unpacked_size": lambda one: one.set_unpacked_size("UIDa", 7),
}
QUIET: dict[str, Callable[[WriteSession], object]] = {
    "touch_image": lambda one: one.touch_image("UIDa", 99),
    "set_doomed": lambda one: one.set_doomed("UIDa", True),
    "add_snapshots": lambda one: one.add_snapshots("UIDa", [DIGEST]),
    "put_container": lambda one: one.put_container(container("c1")),
    "delete_container": lambda one: one.delete_container("c1"),
    "link_blob": lambda one: one.link_blob("h.io/a", DIGEST),
    "link_manifest": lambda one: one.link_manifest("h.io/a", image_record("a").target),
    "unlink": lambda one: one.unlink("h.io/a", DIGEST),
    "forget_links": lambda one: one.forget_links([DIGEST]),
    "mark_private": lambda one: one.mark_private("h.io/a", [DIGEST]),
    "give_private": lambda one: one.give_private("h.io/a", [DIGEST]),
    "free_private": lambda one: one.free_private([DIGEST]),
    "put_proof": lambda one: one.put_proof("h.io/a", "scope", 7, 0),
    "put_lease": lambda one: one.put_lease(lease_record("l", images=("UIDa",))),
    "delete_lease": lambda one: one.delete_lease("l"),
    "add_event": lambda one: one.add_event(EventRecord("IMAGE", "pull", "images/UIDa", 1)),
    "delete_events": lambda one: one.delete_events(99, 0),
    "keep_answer": lambda one: one.keep_answer(KeptAnswer("r", "f", b"", 1)),
    "delete_expired_answers": lambda one: one.delete_expired_answers(99),
    "put_transfer": lambda one: one.put_transfer(transfer_record("T1")),
    "delete_transfer_leases": lambda one: one.delete_transfer_leases(),
    "delete_transfer": lambda one: one.delete_transfer("T1"),
    "delete_expired_transfers": lambda one: one.delete_expired_transfers(99),
    "next_epoch": lambda one: one.next_epoch(),
    "reading": lambda one: one.image("UIDa"),
}


def test_every_change_is_known_to_be_shown_in_lists_or_not() -> None:
    methods = {*dir(WriteSession)} - {*dir(ReadSession)}
    tried = {case.partition(" ")[0] for case in (*CHANGES, *QUIET)}
    assert tried == methods | {"reading"}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_what_lists_show_has_another_version(
    store: MetadataStore, change: str
) -> None:
    await fill(store)
    await store.write(lambda session: session.put_name(tag("h.io/a:1"), "UIDa"))
    before = store.listing_version()
    assert before is not None
    await store.write(CHANGES[change])
    after = store.listing_version()
    assert after not in (None, before)
    for quiet in QUIET.values():
        await store.write(quiet)
    assert store.listing_version() == after


async def test_what_is_undone_may_leave_the_version(store: MetadataStore) -> None:
    await fill(store)

    def fail(session: WriteSession) -> None:
        session.put_name(tag("h.io/a:1"), "UIDa")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await store.write(fail)
    # Whatever it is, it is known again, and the next change has another one.
    before = store.listing_version()
    assert before is not None
    await store.write(CHANGES["set_pinned"])
    assert store.listing_version() != before

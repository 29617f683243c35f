"""Leases, containers, and what they keep, in any metadata store."""

from __future__ import annotations

from dataclasses import replace

from imgd_server.metadata import (
    ContainerRecord,
    LeaseRecord,
    MetadataStore,
    ReadSession,
    WriteSession,
)
from imgd_server.oci import Digest
from tests.records import blob_ref, image_record, lease_record, transfer_record

ONE, TWO, THREE = (Digest.of(text) for text in (b"one", b"two", b"three"))


async def lease(store: MetadataStore, lease_id: str) -> LeaseRecord | None:
    return await store.read(lambda session: session.lease(lease_id))


async def test_a_lease_and_its_renewal(store: MetadataStore) -> None:
    first = LeaseRecord("lease", 5, 100, {"a": "1", "b": "ü"}, (ONE,), ("UIDa",))
    again = LeaseRecord("lease", 6, 50, {"c": "2"}, (TWO, ONE), ("UIDb",))

    def put(session: WriteSession) -> None:
        for text in "ab":
            session.put_image(image_record(text), (), ())
        session.put_lease(first)

    await store.write(put)
    assert await lease(store, "lease") == first
    assert await lease(store, "another") is None
    await store.write(lambda session: session.put_lease(again))
    renewed = await lease(store, "lease")
    assert renewed is not None
    # Its time and labels are the new ones, its beginning and what it holds the old ones too.
    assert replace(renewed, digests=(), images=()) == replace(
        again, created=5, digests=(), images=()
    )
    assert set(renewed.digests) == {ONE, TWO}
    assert set(renewed.images) == {"UIDa", "UIDb"}


async def test_a_lease_ends(store: MetadataStore) -> None:
    await store.write(lambda session: session.put_lease(lease_record("lease", digests=(ONE,))))
    assert await store.write(lambda session: session.delete_lease("lease")) is True
    assert await store.write(lambda session: session.delete_lease("lease")) is False
    assert await lease(store, "lease") is None
    assert await store.read(lambda session: session.held_digests(0)) == set()
    await store.write(lambda session: session.put_lease(lease_record("lease")))
    assert await lease(store, "lease") == lease_record("lease")


async def test_leases_are_listed_by_id_and_expire(store: MetadataStore) -> None:
    def put(session: WriteSession) -> None:
        for lease_id, expires in (("b", 20), ("a", 30), ("c", 10), ("transfer:1", 5), ("d", 30)):
            session.put_lease(lease_record(lease_id, expires))

    await store.write(put)

    async def listed(after: str, now: int, limit: int = 10) -> str:
        found = await store.read(lambda session: session.list_leases(after, now, limit))
        return "".join(one.lease_id for one in found)

    async def expired(now: int, limit: int = 10) -> list[str]:
        found = await store.read(lambda session: session.expired_leases(now, limit))
        return [one.lease_id for one in found]

    many = lease_record("b", 20, digests=(ONE,), images=("UIDa",))
    await store.write(lambda session: session.put_image(image_record("a"), (), ()))
    await store.write(lambda session: session.put_lease(many))
    [_, _, over] = await store.read(lambda session: session.expired_leases(20, 10))
    assert over == replace(many, digests=())
    assert await lease(store, "b") == many
    assert await listed("", 0) == "abcd"
    assert await listed("a", 0, 2) == "bc"
    assert await listed("", 10) == "abd"
    assert await expired(4) == []
    assert await expired(10) == ["transfer:1", "c"]
    assert await expired(20, 2) == ["transfer:1", "c"]


async def test_leases_of_transfers_end_when_these_have(store: MetadataStore) -> None:
    def put(session: WriteSession) -> None:
        session.put_transfer(transfer_record("running"))
        session.put_transfer(transfer_record("ended", state="FAILED", ended=7, expires=9))
        for lease_id in ("transfer:running", "transfer:ended", "transfer:forgotten"):
            session.put_lease(lease_record(lease_id, digests=(ONE, TWO)))
        for lease_id in ("transfer:other", "transfer", "transferred", "upload:x"):
            session.put_lease(lease_record(lease_id, digests=(TWO,)))

    async def left() -> set[str]:
        found = await store.read(lambda session: session.expired_leases(10**9, 100))
        return {one.lease_id for one in found}

    others = {"transfer", "transferred", "upload:x"}
    await store.write(put)
    assert await store.write(lambda session: session.delete_transfer_leases(THREE)) == 0
    assert await store.write(lambda session: session.delete_transfer_leases(ONE)) == 2
    assert await left() == {"transfer:running", "transfer:other", *others}
    assert await store.write(lambda session: session.delete_transfer_leases()) == 1
    assert await left() == {"transfer:running", *others}
    assert await store.write(lambda session: session.delete_transfer_leases()) == 0


async def test_the_next_to_end_is_told(store: MetadataStore) -> None:
    async def following() -> int | None:
        return await store.read(lambda session: session.next_expiry())

    def put(session: WriteSession) -> None:
        session.put_image(image_record("a"), (), ())
        session.put_container(container("endless"))
        session.put_container(container("beats", expires=15))
        session.put_lease(lease_record("l", 20))
        session.put_lease(lease_record("transfer:1", 10))

    assert await following() is None
    await store.write(put)
    assert await following() == 10
    await store.write(lambda session: session.delete_lease("transfer:1"))
    assert await following() == 15
    await store.write(lambda session: session.delete_container("beats"))
    assert await following() == 20
    await store.write(lambda session: session.delete_lease("l"))
    assert await following() is None


async def test_what_is_held(store: MetadataStore) -> None:
    stored, absent, leased, over = (
        blob_ref("stored"),
        blob_ref("absent", stored=False),
        blob_ref("leased"),
        blob_ref("over"),
    )

    def put(session: WriteSession) -> None:
        session.put_image(image_record("1"), (), (stored, absent))
        session.put_lease(lease_record("lease", 11, digests=(leased.digest, stored.digest)))
        # Also what is yet to come.
        session.put_lease(lease_record("transfer:1", 12, digests=(ONE,)))
        session.put_lease(lease_record("over", 10, digests=(over.digest, leased.digest)))

    await store.write(put)
    digests = [stored.digest, absent.digest, leased.digest, over.digest, ONE, TWO]

    def held(session: ReadSession, now: int) -> set[str]:
        every = session.held_digests(now)
        assert session.held_among(digests, now) == every
        assert session.held_among(digests[:1], now) == every & set(digests[:1])
        assert session.held_among([], now) == set()
        return every

    before = await store.read(lambda session: held(session, 10))
    assert before == {stored.digest, leased.digest, ONE}
    assert await store.read(lambda session: held(session, 12)) == {stored.digest}
    await store.write(lambda session: session.delete_image("UID1"))
    assert await store.read(lambda session: held(session, 11)) == {ONE}
    assert await store.read(lambda session: held(session, 12)) == set()


async def test_what_holds_an_image(store: MetadataStore) -> None:
    def put(session: WriteSession) -> None:
        for text in "ab":
            session.put_image(image_record(text), (), ())
        session.put_lease(lease_record("b", 11, images=("UIDa",)))
        session.put_lease(lease_record("a", 12, images=("UIDa", "UIDb")))
        for container_id, state in (("d", "RUNNING"), ("c", "PAUSED"), ("f", "CREATED")):
            session.put_container(container(container_id, state=state))
        session.put_container(container("e", state="EXITED"))

    await store.write(put)

    def look(session: ReadSession) -> list[object]:
        return [
            session.image_leases("UIDa", 10),
            session.image_leases("UIDa", 11),
            session.image_leases("UIDb", 12),
            session.image_containers("UIDa"),
            session.image_containers("UIDb"),
        ]

    assert await store.read(look) == [["a", "b"], ["a"], [], (["c", "d"], ["e", "f"]), ([], [])]


def container(container_id: str, **fields: object) -> ContainerRecord:
    record = ContainerRecord(
        container_id, "UIDa", "docker.io/library/a:1", Digest.of(b"a config"), "CREATED", 1000
    )
    return replace(record, **fields)  # type: ignore[arg-type]


async def test_a_container_and_its_changes(store: MetadataStore) -> None:
    full = container(
        "one", labels={"key": "välue"}, heartbeat=5, expires=2000, platform="linux/amd64"
    )

    def put(session: WriteSession) -> None:
        session.put_image(image_record("a"), (), ())
        session.put_container(full)

    await store.write(put)
    assert await store.read(lambda session: session.container("one")) == full
    assert await store.read(lambda session: session.container("two")) is None
    ended = replace(full, state="EXITED", started=3, stopped=4, exit_status=-1, expires=None)
    await store.write(lambda session: session.put_container(ended))
    assert await store.read(lambda session: session.container("one")) == ended
    assert await store.write(lambda session: session.delete_container("one")) is True
    assert await store.write(lambda session: session.delete_container("one")) is False
    assert await store.read(lambda session: session.container("one")) is None


async def test_containers_are_listed_newest_first(store: MetadataStore) -> None:
    def put(session: WriteSession) -> None:
        for text in "ab":
            session.put_image(image_record(text), (), ())
        session.put_container(container("1", created=3, labels={"x": "1", "y": ""}))
        session.put_container(container("2", created=1, state="RUNNING", expires=10))
        session.put_container(container("3", created=3, image="UIDb", labels={"x": "2"}))
        session.put_container(container("4", created=2, state="EXITED", expires=None))

    await store.write(put)

    async def listed(
        image: str | None = None,
        states: tuple[str, ...] = (),
        labels: tuple[tuple[str, str | None], ...] = (),
        after: tuple[int, str] | None = None,
        limit: int = 10,
    ) -> str:
        found = await store.read(
            lambda session: session.list_containers(image, states, labels, after, limit)
        )
        return "".join(one.container_id for one in found)

    assert await listed() == "3142"
    assert await listed(limit=2) == "31"
    assert await listed(after=(3, "1")) == "42"
    assert await listed(image="UIDb") == "3"
    assert await listed(states=("RUNNING", "EXITED")) == "42"
    assert await listed(labels=(("x", None),)) == "31"
    assert await listed(labels=(("x", "1"), ("y", ""))) == "1"
    assert await listed(labels=(("y", "1"),)) == ""

    def look(session: ReadSession) -> list[object]:
        return [
            session.count_containers(()),
            session.count_containers(("RUNNING", "CREATED")),
            [one.container_id for one in session.silent_containers(9)],
            [one.container_id for one in session.silent_containers(10)],
        ]

    assert await store.read(look) == [4, 3, [], ["2"]]

"""Asking for a few blobs whether they are held gives what a look at all of them does, and costs no
more where there are many others."""

from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from imgd_server.metadata._schema import migrate
from imgd_server.metadata._session import Session
from imgd_server.oci import Digest
from tests.records import blob_ref, image_record, lease_record, manifest_target

NOW = 1000
# Of manifests that refer to one another (the later to the earlier ones, as digests allow it) and
# share some blobs: digests by number, the manifests' first.
MANIFESTS, BLOBS = 8, 4
numbers = st.integers(0, MANIFESTS + BLOBS - 1)


def digest(number: int) -> Digest:
    return manifest_target(f"{number}").digest


def open_session() -> Session:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    return Session(connection)


@settings(max_examples=60, deadline=None)
@given(
    links=st.lists(
        st.tuples(
            st.sampled_from(["h.io/a", "h.io/b"]),
            st.integers(1, MANIFESTS - 1),
            st.integers(0, MANIFESTS - 1) | st.none(),
            st.sets(numbers, max_size=3),
        ),
        max_size=12,
    ),
    stored=st.sets(numbers, max_size=2),
    leased=st.sets(numbers, max_size=2),
    over=st.sets(numbers, max_size=2),
    asked=st.sets(numbers),
)
def test_both_ways_of_asking_agree(
    links: list[tuple[str, int, int | None, set[int]]],
    stored: set[int],
    leased: set[int],
    over: set[int],
    asked: set[int],
) -> None:
    session = open_session()
    try:
        for repository, number, subject, blobs in links:
            session.link_manifest(
                repository,
                manifest_target(f"{number}"),
                subject=None if subject is None else digest(subject % number),
                blobs=[digest(number), *map(digest, blobs - {number})],
            )
        refs = [blob_ref(f"{one}") for one in stored]
        session.put_image(image_record("image"), (), refs)
        session.put_lease(lease_record("held", NOW + 1, digests=tuple(map(digest, leased))))
        session.put_lease(lease_record("over", NOW, digests=tuple(map(digest, over))))
        wanted = {*map(digest, asked)} | {one.digest for one in refs}
        assert session.held_among([*wanted], NOW) == session.held_digests(NOW) & wanted
    finally:
        session._db.close()


def test_the_referrers_of_others_cost_nothing() -> None:
    session = open_session()
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    def cost() -> int:
        """In hundreds of SQLite's own steps."""
        nonlocal steps
        steps = 0
        session._db.set_progress_handler(count, 100)
        assert session.held_among([digest(one) for one in range(10)], NOW) == set()
        session._db.set_progress_handler(None, 0)
        return steps

    try:
        alone = cost()
        for number in range(100, 600):
            target = manifest_target(f"{number}")
            subject = digest(number + 1000)
            session.link_manifest("h.io/a", target, subject=subject, blobs=[target.digest])
            session.put_lease(lease_record("l", NOW + 1, digests=(subject,)))
        assert cost() <= alone + 5
    finally:
        session._db.close()

"""Leases: holds that end by themselves (behaviour.md, 1)."""

from __future__ import annotations

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.images import (
    NewLease,
    create_lease,
    delete_lease,
    expire_leases,
    find_lease,
    renew_lease,
    take_lease,
)
from imgd_server.images._preparing import _drop_leases
from imgd_server.metadata import LeaseRecord
from imgd_server.metadata._session import Session
from imgd_server.oci import Digest
from tests.records import image_record, lease_record, tag

HOUR = 3600 * 1_000_000
DIGEST = Digest.of(b"x")


@pytest.fixture
def store(session: Session) -> Session:
    for text in "ab":
        session.put_image(image_record(text, names=(tag(f"h.io/{text}:1"),)), (), ())
    return session


def reason(session: Session, lease_id: str, now: int) -> Reason:
    with pytest.raises(Error) as caught:
        find_lease(session, lease_id, now)
    return caught.value.reason


def actions(session: Session) -> list[tuple[str, str]]:
    return [(one.action, one.subject) for one in session.events(0, None, 100)]


def test_a_lease_holds_what_it_names(store: Session) -> None:
    wanted = NewLease("l", 10, ["h.io/b:1", "h.io/a:1", "h.io/a:1"], [DIGEST], {"k": "v"})
    create_lease(store, wanted, 100)
    assert find_lease(store, "l", 109) == LeaseRecord(
        "l", 100, 110, {"k": "v"}, (DIGEST,), ("UIDa", "UIDb")
    )
    assert store.image_leases("UIDa", 109) == ["l"]
    assert store.image_leases("UIDa", 110) == []
    assert store.held_among([DIGEST], 109) == {DIGEST}
    assert reason(store, "l", 110) is Reason.LEASE_NOT_FOUND
    assert actions(store) == [("create", "leases/l")]


def test_it_lasts_an_hour_where_nothing_is_said(store: Session) -> None:
    record = create_lease(store, NewLease(), 5)
    assert record.expires == 5 + HOUR
    assert renew_lease(store, record.lease_id, 0, 50).expires == 50 + HOUR


def test_a_name_in_use_is_refused_until_it_has_expired(store: Session) -> None:
    create_lease(store, NewLease("l", 10, ["h.io/a:1"]), 100)
    with pytest.raises(Error) as caught:
        create_lease(store, NewLease("l", 10), 109)
    assert caught.value.reason is Reason.LEASE_EXISTS
    # What the expired one held is not the new one's.
    create_lease(store, NewLease("l", 10, ["h.io/b:1"]), 110)
    assert find_lease(store, "l", 110).images == ("UIDb",)


def test_what_it_names_must_be_there(store: Session) -> None:
    with pytest.raises(Error) as caught:
        create_lease(store, NewLease("l", 10, ["h.io/a:1", "absent"]), 100)
    assert caught.value.reason is Reason.IMAGE_NOT_FOUND
    assert reason(store, "l", 100) is Reason.LEASE_NOT_FOUND


def test_renewing_counts_from_now_and_keeps_what_is_held(store: Session) -> None:
    create_lease(store, NewLease("l", 100, ["h.io/a:1"], [DIGEST], {"k": "v"}), 0)
    record = renew_lease(store, "l", 5, 50)
    assert record == find_lease(store, "l", 54)
    assert (record.created, record.expires, record.images) == (0, 55, ("UIDa",))
    assert (record.digests, record.labels) == ((DIGEST,), {"k": "v"})
    with pytest.raises(Error):
        renew_lease(store, "l", 5, 55)


def test_the_daemons_own_leases_are_nobody_elses(store: Session) -> None:
    store.put_lease(LeaseRecord("transfer:1", 0, 1000))
    assert reason(store, "transfer:1", 1) is Reason.LEASE_NOT_FOUND
    assert expire_leases(store, 1000, 10) == 1
    assert actions(store) == []


def test_giving_one_back_twice(store: Session) -> None:
    create_lease(store, NewLease("l", 10), 100)
    assert delete_lease(store, "l", 101)
    assert not delete_lease(store, "l", 101)
    assert actions(store) == [("create", "leases/l"), ("delete", "leases/l")]


def test_expired_ones_end_some_at_a_time_the_oldest_first(store: Session) -> None:
    for number in (3, 1, 2):
        create_lease(store, NewLease(f"l{number}", number), 100)
    create_lease(store, NewLease("lasting", 100), 100)
    assert expire_leases(store, 103, 2) == 2
    assert actions(store)[-2:] == [("delete", "leases/l1"), ("delete", "leases/l2")]
    assert expire_leases(store, 103, 2) == 1
    assert expire_leases(store, 103, 2) == 0
    assert find_lease(store, "lasting", 103).expires == 200


def test_one_taken_inside_a_pull(store: Session) -> None:
    made = take_lease(store, "l", 10, "UIDa", 100)
    assert (made.expires, made.images) == (110, ("UIDa",))
    # A second pull adds to it, and never shortens it.
    assert take_lease(store, "l", 5, "UIDb", 101).expires == 110
    assert find_lease(store, "l", 109).images == ("UIDa", "UIDb")
    assert take_lease(store, "l", 20, "UIDb", 102).expires == 122
    # One that has expired is made anew.
    again = take_lease(store, "l", 0, "UIDb", 122)
    assert (again.created, again.expires) == (122, 122 + HOUR)
    assert find_lease(store, "l", 123).images == ("UIDb",)
    assert len(take_lease(store, "", 1, "UIDa", 100).lease_id) > 20


def test_what_was_being_prepared_is_let_go_of_beside_any_number_of_leases(session: Session) -> None:
    for number in range(1001):
        session.put_lease(lease_record(f"transfer:{number}", number))
    session.put_lease(lease_record("rootfs:x", 5000))
    session.put_lease(lease_record("callers", 5000))
    _drop_leases(session)
    assert session.lease("rootfs:x") is None
    assert session.lease("callers")
    assert len(session.expired_leases(5000, 2000)) == 1002

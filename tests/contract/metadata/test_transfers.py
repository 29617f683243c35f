"""Transfers, events, kept answers and starts of the daemon, in any metadata store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.metadata import (
    EventRecord,
    KeptAnswer,
    MetadataStore,
    ReadSession,
    TransferRecord,
    WriteSession,
)
from tests.records import transfer_record

Opener = Callable[[], Awaitable[MetadataStore]]

FULL = transfer_record(
    "T1",
    request_id="request",
    spec={"source": {"reference": "a.b/x:1"}, "platforms": ["linux/amd64"], "all": False},
    state="FAILED",
    attempt=3,
    started=2,
    ended=3,
    expires=4,
    sequence=2**53 - 1,
    outcome={"failure": {"message": "ü\0", "retry_after": 1.5}, "names": []},
    nodes=({"id": "a", "size": 2**40}, {"id": "b", "target": None}),
)


async def put(store: MetadataStore, *records: TransferRecord) -> None:
    def run(session: WriteSession) -> None:
        for record in records:
            session.put_transfer(record)

    await store.write(run)


async def test_a_transfer_is_found_as_it_was_put(store: MetadataStore) -> None:
    await put(store, FULL)
    assert await store.read(lambda session: session.transfer("T1")) == FULL
    assert await store.read(lambda session: session.transfer_by_request("request")) == FULL
    assert await store.read(lambda session: session.transfer("T2")) is None
    assert await store.read(lambda session: session.transfer_by_request("other")) is None


async def test_a_transfer_is_replaced(store: MetadataStore) -> None:
    await put(store, FULL)
    again = replace(
        FULL,
        state="PENDING",
        attempt=4,
        started=None,
        ended=None,
        expires=None,
        sequence=7,
        outcome=None,
        nodes=(),
    )
    await put(store, again)
    assert await store.read(lambda session: session.transfer("T1")) == again


async def test_a_request_id_is_used_once(store: MetadataStore) -> None:
    await put(store, FULL)
    with pytest.raises(Error) as caught:
        await put(store, transfer_record("T0"), transfer_record("T2", request_id="request"))
    assert caught.value.reason is Reason.REQUEST_ID_REUSED
    assert await store.read(lambda session: session.list_transfers((), None, 10)) == [
        replace(FULL, nodes=())
    ]
    # It is free again when its transfer is forgotten.
    await store.write(lambda session: session.delete_transfer("T1"))
    await put(store, transfer_record("T2", request_id="request"))


async def test_a_record_that_breaks_another_rule_is_a_defect(store: MetadataStore) -> None:
    """And no news for the caller about his request ID."""
    with pytest.raises(Exception, match=r"(?i)null") as caught:
        await put(store, replace(FULL, state=None))  # type: ignore[arg-type]
    assert not isinstance(caught.value, Error)


async def test_no_request_id_is_none(store: MetadataStore) -> None:
    await put(store, transfer_record("T1"), transfer_record("T2"))
    assert await store.read(lambda session: session.transfer_by_request("")) is None


async def test_transfers_are_listed_newest_first(store: MetadataStore) -> None:
    states = {"A": ("RUNNING", 2), "B": ("FAILED", 3), "C": ("RUNNING", 3), "D": ("PENDING", 1)}
    await put(
        store,
        *(
            transfer_record(uid, state=state, created=created, nodes=({"id": "a"},))
            for uid, (state, created) in states.items()
        ),
    )

    async def listed(*states: str, after: tuple[int, str] | None = None, limit: int = 10) -> str:
        found = await store.read(lambda session: session.list_transfers(states, after, limit))
        assert all(one.nodes == () for one in found)
        return "".join(one.uid for one in found)

    assert await listed() == "CBAD"
    assert await listed(limit=2) == "CB"
    assert await listed(after=(3, "B")) == "AD"
    assert await listed(after=(3, "C")) == "BAD"
    assert await listed("RUNNING") == "CA"
    assert await listed("RUNNING", "FAILED", after=(3, "C")) == "BA"
    assert await listed("SUCCEEDED") == ""


async def test_transfers_are_forgotten(store: MetadataStore) -> None:
    await put(
        store,
        *(transfer_record(uid, expires=at) for uid, at in (("A", 1), ("B", 2), ("C", 3))),
        transfer_record("D"),
    )
    assert await store.write(lambda session: session.delete_expired_transfers(2)) == 2
    assert await store.write(lambda session: session.delete_expired_transfers(2)) == 0
    assert await store.write(lambda session: session.delete_transfer("D")) is True
    assert await store.write(lambda session: session.delete_transfer("D")) is False
    left = await store.read(lambda session: session.list_transfers((), None, 10))
    assert [one.uid for one in left] == ["C"]


async def test_starts_are_counted_for_ever(opener: Opener) -> None:
    store = await opener()
    assert await store.write(lambda session: session.next_epoch()) == 1
    assert await store.write(lambda session: session.next_epoch()) == 2
    await store.close()
    again = await opener()
    assert await again.write(lambda session: session.next_epoch()) == 3


# --- history


def event(subject: str, time: int) -> EventRecord:
    return EventRecord("IMAGE", "tag", subject, time, {"name": "ü", "empty": ""})


async def test_events_have_rising_cursors(opener: Opener) -> None:
    store = await opener()

    def add(session: WriteSession, *times: int) -> None:
        for time in times:
            session.add_event(event(f"images/{time}", time))

    await store.write(lambda session: add(session, 10, 20, 15))

    async def events(after: int, since: int | None = None, limit: int = 10) -> list[EventRecord]:
        return await store.read(lambda session: session.events(after, since, limit))

    stored = [
        replace(event(f"images/{time}", time), cursor=cursor)
        for cursor, time in enumerate((10, 20, 15), 1)
    ]
    assert await events(0) == stored
    assert await events(1) == stored[1:]
    assert await events(0, 15) == stored[1:]
    assert await events(0, None, 2) == stored[:2]
    assert await store.read(lambda session: session.event_bounds()) == (0, 3)
    # What is dropped is dropped from the beginning, and no cursor is given twice.
    assert await store.write(lambda session: session.delete_events(15, 10)) == 1
    assert await store.read(lambda session: session.event_bounds()) == (1, 3)
    assert await store.write(lambda session: session.delete_events(0, 0)) == 2
    assert await store.write(lambda session: session.delete_events(100, 0)) == 0
    await store.close()
    store = await opener()
    await store.write(lambda session: add(session, 30))
    assert [one.cursor for one in await events(0)] == [4]
    assert await store.read(lambda session: session.event_bounds()) == (3, 4)


async def test_answers_are_kept_for_a_while(store: MetadataStore) -> None:
    answer = KeptAnswer("request", "fingerprint", b"\0answer", 10)

    def keep(session: WriteSession) -> None:
        session.keep_answer(answer)
        session.keep_answer(replace(answer, request_id="other", expires=11))

    await store.write(keep)
    assert await store.read(lambda session: session.kept_answer("request")) == answer
    assert await store.read(lambda session: session.kept_answer("no")) is None
    newer = replace(answer, fingerprint="another", answer=b"", expires=10)
    await store.write(lambda session: session.keep_answer(newer))
    assert await store.read(lambda session: session.kept_answer("request")) == newer
    assert await store.write(lambda session: session.delete_expired_answers(10)) == 1

    def left(session: ReadSession) -> list[bool]:
        return [session.kept_answer(one) is not None for one in ("request", "other")]

    assert await store.read(left) == [False, True]

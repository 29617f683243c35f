"""The store's history over gRPC: cursors, times, filters, signs of life, ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2

from imgd.v1 import event_pb2, event_service_pb2, system_service_pb2
from imgd.v1.event_service_pb2_grpc import EventServiceStub
from imgd_server.metadata import EventFeed, EventRecord, WriteSession
from imgd_server.oci import Digest
from imgd_server.transfer import now_us
from tests.contract.api.served import Api, read, refusal, serve
from tests.fake_images import make_image

# A net for a stream that hangs.
PATIENCE = 60.0
NAMES = ("docker.io/library/app:1", "registry.test:5000/team/app:2")


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with serve(tmp_path, heartbeat=0.05) as running:
        yield running


def watch(api: Api, *filters: str, **request: Any) -> Any:
    stub: Any = EventServiceStub(api.channel)
    return stub.WatchEvents(
        event_service_pb2.WatchEventsRequest(filters=filters, **request), timeout=PATIENCE
    )


def stamp(micros: int) -> Timestamp:
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def past() -> Timestamp:
    return stamp(now_us())


async def begun(call: Any) -> int:
    """The cursor at which a stream stands."""
    answer = await call.read()
    assert not answer.events
    return int(answer.cursor)


async def shown(call: Any, count: int) -> list[event_pb2.StoreEvent]:
    found: list[event_pb2.StoreEvent] = []
    while len(found) < count:
        found += (await call.read()).events
    assert len(found) == count
    return found


async def add(api: Api, *events: EventRecord) -> None:
    def write(session: WriteSession) -> None:
        for event in events:
            session.add_event(event)

    await api.metadata.write(write)


def event(kind: str, action: str, subject: str, **facts: str) -> EventRecord:
    attributes = {name.replace("__", ":"): value for name, value in facts.items()}
    return EventRecord(kind, action, subject, now_us(), attributes)


HISTORY = [
    event(
        "IMAGE",
        "pull",
        "images/A",
        name=NAMES[0],
        familiar="app:1",
        digest="sha256:aa",
        label__tier="web",
    ),
    event("IMAGE", "tag", "images/B", name=NAMES[1], familiar=NAMES[1], label__tier="db"),
    event("CONTAINER", "start", "containers/c1", image="images/A", name="app:1", label__tier="web"),
    event("TRANSFER", "finish", "transfers/T", name=NAMES[0], familiar="app:1"),
    event("COLLECTION", "collect", ""),
]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], [0, 1, 2, 3, 4]),
        (["type=image"], [0, 1]),
        (["type=Image", "type=collection"], [0, 1, 4]),
        (["event=pull"], [0]),
        (["event=pull", "type=container"], []),
        (["image=app:1"], [0, 2, 3]),
        (["image=app"], [0, 2, 3]),
        (["image=docker.io/library/app"], [0, 3]),
        (["image=registry.test:5000/team/app"], [1]),
        (["image=registry.test"], []),
        (["image=images/A"], [0, 2]),
        (["image=sha256:aa"], [0]),
        (["image="], []),
        (["container=c1"], [2]),
        (["container=containers/c1"], [2]),
        (["label=tier"], [0, 1, 2]),
        (["label=tier=web", "type=image"], [0]),
        (["label=none"], []),
    ],
    ids=str,
)
async def test_filters(api: Api, filters: list[str], found: list[int]) -> None:
    await add(api, *HISTORY)
    answers = await read(watch(api, *filters, since=stamp(1), until=past()))
    events = [one for answer in answers for one in answer.events]
    assert [one.cursor - 1 for one in events] == found
    # What was filtered out has been read, too.
    assert answers[-1].cursor == len(HISTORY)


@pytest.mark.parametrize(
    "text", ["", "type", "type=nope", "type=unspecified", "nope=1", "=", "x" * 1000]
)
async def test_a_filter_that_is_none(api: Api, text: str) -> None:
    found = await refusal(watch(api, "type=image", text))
    assert (found.code, found.reason) == ("INVALID_ARGUMENT", "FILTER_INVALID")
    assert found.field == "filters[1]"


async def test_a_stream_goes_on_and_is_taken_up_where_it_was_left(api: Api) -> None:
    call = watch(api)
    cursor = await begun(call)
    await api.store(make_image(), NAMES[0])
    await add(api, HISTORY[0])
    (first,) = await shown(call, 1)
    assert (first.cursor, first.action, first.subject) == (cursor + 1, "pull", "images/A")
    assert first.subject_kind == event_pb2.SUBJECT_KIND_IMAGE
    assert first.attributes["name"] == NAMES[0]
    call.cancel()
    await add(api, *HISTORY[1:3])
    again = watch(api, after_cursor=first.cursor)
    assert await begun(again) == first.cursor
    assert [one.action for one in await shown(again, 2)] == ["tag", "start"]
    again.cancel()


async def test_from_now_on_means_nothing_older(api: Api) -> None:
    await add(api, *HISTORY)
    call = watch(api)
    assert await begun(call) == len(HISTORY)
    await add(api, event("IMAGE", "untag", "images/Z"))
    assert [one.action for one in await shown(call, 1)] == ["untag"]
    call.cancel()


async def test_from_one_time_to_another(api: Api) -> None:
    times = [10, 20, 30, 40]
    await add(api, *(EventRecord("IMAGE", "pull", f"images/{time}", time) for time in times))

    async def between(since: int, until: int, **more: int) -> list[str]:
        answers = await read(watch(api, since=stamp(since), until=stamp(until), **more))
        return [one.subject[7:] for answer in answers for one in answer.events]

    assert await between(20, 40) == ["20", "30"]
    assert await between(41, 50) == []
    assert await between(1, 10) == []
    # Both bounds count.
    assert await between(10, 50, after_cursor=3) == ["40"]


async def test_a_store_that_is_slow_is_read_to_the_end(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    await add(api, *(EventRecord("IMAGE", "pull", f"images/{n}", 10) for n in range(1200)))
    after = EventFeed.after

    async def slowly(feed: EventFeed, cursor: int) -> list[EventRecord]:
        # Longer than anybody waits whose time is over.
        await asyncio.sleep(0.05)
        return await after(feed, cursor)

    monkeypatch.setattr(EventFeed, "after", slowly)
    answers = await read(watch(api, since=stamp(10), until=stamp(20)))
    assert sum(len(answer.events) for answer in answers) == 1200


async def test_what_happens_before_the_time_is_not_shown(api: Api) -> None:
    since = now_us() + 3_600_000_000
    call = watch(api, since=stamp(since))
    await begun(call)
    # The last one: what follows the time follows it by whatever clock.
    times = [since - 2, since - 1, since, since + 1, since - 1]
    for time in times:
        await add(api, EventRecord("IMAGE", "pull", f"images/{time - since}", time))
    found = await shown(call, 3)
    assert [one.subject for one in found] == ["images/0", "images/1", "images/-1"]
    call.cancel()


async def test_a_stream_ends_at_its_time_while_others_write(api: Api) -> None:
    writing = True

    async def write() -> None:
        while writing:
            await add(api, HISTORY[0])

    writer = asyncio.create_task(write())
    try:
        until = now_us() + 50_000
        answers = await read(watch(api, until=stamp(until)))
    finally:
        writing = False
        await writer
    events = [one for answer in answers for one in answer.events]
    assert all(one.event_time.ToMicroseconds() < until for one in events)


async def test_a_quiet_stream_gives_signs_of_life(api: Api) -> None:
    call = watch(api, "type=lease")
    await begun(call)
    await add(api, HISTORY[0])
    # The second tells that what it did not want has been read.
    answers = [await call.read() for _ in range(3)]
    assert [len(answer.events) for answer in answers] == [0, 0, 0]
    assert answers[-1].cursor == 1
    call.cancel()


@pytest.mark.parametrize("cursor", [1, 99])
async def test_a_cursor_that_the_history_does_not_hold(api: Api, cursor: int) -> None:
    await add(api, *HISTORY)
    await api.metadata.write(lambda session: session.delete_events(0, 2))
    found = await refusal(watch(api, after_cursor=cursor))
    assert (found.code, found.reason) == ("OUT_OF_RANGE", "CURSOR_EXPIRED")
    assert found.metadata == {"first_cursor": "3", "last_cursor": "5"}
    (first,) = (await shown_from(api, 3))[:1]
    assert first.cursor == 4


async def shown_from(api: Api, cursor: int) -> list[event_pb2.StoreEvent]:
    answers = await read(watch(api, after_cursor=cursor, until=past()))
    return [one for answer in answers for one in answer.events]


async def test_a_slow_reader_that_the_history_has_left_behind_is_told(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imgd_server.metadata._feed._PAGE", 1)
    await add(api, *HISTORY)
    servicer = api.server._events
    request = event_service_pb2.WatchEventsRequest(since=stamp(1))
    stream = servicer.WatchEvents(request, None)  # type: ignore[arg-type]
    await anext(stream)
    assert (await anext(stream)).cursor == 1
    # Between two of its reads.
    await api.metadata.write(lambda session: session.delete_events(0, 2))
    with pytest.raises(Exception, match="list anew"):
        await anext(stream)


async def test_an_answer_never_exceeds_a_mebibyte(api: Api) -> None:
    big = {f"label:{number}": "x" * 1000 for number in range(4)}
    await add(
        api, *(EventRecord("IMAGE", "pull", f"images/{n}", now_us(), big) for n in range(700))
    )
    answers = await read(watch(api, since=stamp(1), until=past()))
    assert sum(len(answer.events) for answer in answers) == 700
    assert max(answer.ByteSize() for answer in answers) <= 1 << 20
    for answer in answers[1:]:
        if answer.events:
            assert answer.cursor == answer.events[-1].cursor


async def test_many_watchers_see_the_same(api: Api) -> None:
    calls = [watch(api) for _ in range(200)]
    await asyncio.gather(*map(begun, calls))
    for one in HISTORY:
        await add(api, one)
    seen = await asyncio.gather(*(shown(call, len(HISTORY)) for call in calls))
    assert {tuple(one.cursor for one in events) for events in seen} == {(1, 2, 3, 4, 5)}
    for call in calls:
        call.cancel()


async def test_streams_end_with_a_reason_when_the_daemon_stops(tmp_path: Path) -> None:
    async with serve(tmp_path) as api:
        call = watch(api)
        await begun(call)
        await api.server.announce_stop()
        found = await refusal(call.read())
    assert (found.code, found.reason) == ("UNAVAILABLE", "SHUTTING_DOWN")
    delay = found.detail(error_details_pb2.RetryInfo).retry_delay
    assert 0 < delay.ToTimedelta().total_seconds() < 60


async def test_a_watcher_who_does_not_read_holds_nobody_up(tmp_path: Path) -> None:
    big = {f"label:{number}": "x" * 1000 for number in range(4)}
    async with serve(tmp_path) as api:
        idle = watch(api)
        await begun(idle)
        other = watch(api)
        await begun(other)
        for _ in range(5):
            await add(api, *(EventRecord("IMAGE", "pull", "x", now_us(), big) for _ in range(500)))
        assert len(await shown(other, 2500)) == 2500
        other.cancel()
        # It must not wait for the client, who does not go.
        async with asyncio.timeout(PATIENCE):
            await api.server.announce_stop()
            await api.server.stop(0.2)
        idle.cancel()


# --- house-keeping on the wire


async def test_a_collection_and_what_it_frees(api: Api) -> None:
    image = make_image([b"layer"])
    record = await api.store(image, NAMES[0])
    free = api.put(b"free")
    await api.metadata.write(lambda session: session.delete_image(record.uid))
    call = watch(api)
    await begun(call)

    async def collect(*, dry_run: bool) -> tuple[int, int, int]:
        request = system_service_pb2.CollectGarbageRequest(dry_run=dry_run)
        report = (await api.system.CollectGarbage(request)).report
        assert report.start_time.seconds
        return report.examined_blobs, report.deleted_blobs, report.freed_bytes

    usage = await api.system.GetDiskUsage(system_service_pb2.GetDiskUsageRequest())
    assert (usage.images.count, usage.blobs.count, usage.blobs.active_count) == (0, 4, 0)
    size = len(image.raw) + sum(map(len, image.blobs.values())) + 4
    assert usage.blobs.total_bytes == usage.blobs.reclaimable_bytes == size
    assert await collect(dry_run=True) == (4, 4, size)
    assert api.content.find(free)
    assert await collect(dry_run=False) == (4, 4, size)
    assert list(api.content.blobs()) == []
    (told,) = await shown(call, 1)
    assert told.subject_kind == event_pb2.SUBJECT_KIND_COLLECTION
    assert told.attributes["freed_bytes"] == str(size)
    call.cancel()


async def test_a_check_that_repairs(api: Api) -> None:
    image = make_image([b"layer"])
    record = await api.store(image, NAMES[0])
    api.content.delete(Digest(image.document["layers"][0]["digest"]))

    async def check(*, repair: bool) -> list[tuple[str, bool]]:
        request = system_service_pb2.CheckStoreRequest(repair=repair)
        answers = await read(api.system.CheckStore(request))
        return [(one.subject, one.repaired) for answer in answers for one in answer.problems]

    name = f"images/{record.uid}"
    assert await check(repair=False) == [(name, False)]
    assert await check(repair=True) == [(name, True)]
    assert await check(repair=False) == []


async def test_a_check_that_finds_nothing_says_how_far_it_is(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(5):
        api.put(f"{number}".encode())
    monkeypatch.setattr("imgd_server.rpc._system._PROGRESS_SECONDS", 0.0)
    answers = await read(api.system.CheckStore(system_service_pb2.CheckStoreRequest()))
    assert not any(one.problems for one in answers)
    assert [one.checked_blobs for one in answers if one.checked_blobs] == [1, 2, 3, 4, 5, 5]
    assert [one.total_blobs for one in answers if one.HasField("total_blobs")] == [5]

"""What only the store in SQLite does: its file, its transactions, its errors."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from imgd_server.errors import Error, Reason
from imgd_server.metadata import (
    ImageQuery,
    LabelCondition,
    PlatformRecord,
    ReadSession,
    SqliteMetadataStore,
    WriteSession,
)
from imgd_server.metadata import _places as places
from imgd_server.metadata import _schema as schema
from imgd_server.metadata import _sqlite as sqlite
from tests.records import BusyWriter, image_record, tag

PATIENCE = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metadata.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteMetadataStore]:
    store = await SqliteMetadataStore.open(path)
    yield store
    await store.close()


def put(content: str) -> Callable[[WriteSession], str]:
    def run(session: WriteSession) -> str:
        names = (tag(f"a.b/x:{content[:20]}"),)
        return session.put_image(image_record(content[:20], names=names), (), ()).uid

    return run


def raw(function: Callable[[sqlite3.Connection], Any]) -> Callable[[Any], Any]:
    """A function of the connection itself, as a function of a session."""
    return lambda session: function(session._db)


async def uids(store: SqliteMetadataStore) -> list[str]:
    def look(session: ReadSession) -> list[str]:
        return [image.uid for _, image in session.list_images(None, 1000)]

    return await store.read(look)


async def refused(path: Path) -> Error:
    with pytest.raises(Error) as caught:
        await SqliteMetadataStore.open(path)
    assert str(path.parent) not in caught.value.message
    return caught.value


async def together(
    store: SqliteMetadataStore, *functions: Callable[[WriteSession], Any]
) -> list[Any]:
    """Has functions wait together, so that they share one commit."""
    async with BusyWriter(store):
        answers = asyncio.gather(*map(store.write, functions), return_exceptions=True)
        await asyncio.sleep(0)
    return await answers


# --- the file


async def test_only_the_daemon_reads_it(store: SqliteMetadataStore, path: Path) -> None:
    await store.write(put("1"))
    files = list(path.parent.iterdir())
    assert {file.name for file in files} == {f"metadata.db{end}" for end in ("", "-wal", "-shm")}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_commits_are_synced(store: SqliteMetadataStore) -> None:
    pragmas = ("journal_mode", "synchronous", "foreign_keys")

    def look(connection: sqlite3.Connection) -> list[Any]:
        return [connection.execute(f"PRAGMA {one}").fetchone()[0] for one in pragmas]

    assert await store.write(raw(look)) == ["wal", 2, 1]
    assert await store.read(raw(look)) == ["wal", 2, 1]


async def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    store = await SqliteMetadataStore.open(path)
    await store.write(put("1"))
    await store.close()


PLATFORMS = {
    "linux/arm64/v8": "linux/arm64",
    "linux/arm/7": "linux/arm/v7",
    "Linux/x86_64": "linux/amd64",
    "linux/riscv64": "linux/riscv64",
    "": "",
    "no platform": "no platform",
}


async def test_platforms_are_brought_into_the_spelling_of_filters(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_all(session: WriteSession) -> None:
        for number, platform in enumerate(PLATFORMS):
            one = PlatformRecord(platform, image_record(f"{number}").target, "", True, 1)
            session.put_image(image_record(f"{number}", platform=platform), [one], ())

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:5])
        store = await SqliteMetadataStore.open(path)
        await store.write(put_all)
        await store.close()
    store = await SqliteMetadataStore.open(path)

    def look(session: ReadSession) -> list[tuple[str, str]]:
        found = []
        for number in range(len(PLATFORMS)):
            image = session.image(f"UID{number}")
            assert image
            [platform] = session.image_platforms(image.uid)
            found.append((image.platform, platform.platform))
        return found

    assert await store.read(look) == [(one, one) for one in PLATFORMS.values()]
    wanted = ImageQuery(platforms=("linux/arm64",))
    found = await store.read(lambda session: session.list_images(None, 10, wanted))
    assert [one.uid for _, one in found] == ["UID0"]
    await store.close()


@pytest.mark.parametrize("version", [1, 2])
async def test_an_earlier_schema_is_brought_up_to_date(
    path: Path, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        old = sqlite3.connect(path, isolation_level=None)
        schema.migrate(old)
    target = '{"mediaType": "a", "digest": "sha256:%s", "size": 1}' % ("0" * 64)
    for row, (uid, created, repository) in enumerate(
        [("old", 1, "a.b/x"), ("new", 2, "a.b/x"), ("undated", None, "a.b/a"), ("older", 1, "a.b")]
    ):
        old.execute(
            "INSERT INTO images (row, uid, digest, created, target, image_id, kind, artifact_type, "
            "stored, content_size, pinned, complete, platform, labels, place) "
            "VALUES (?, ?, ?, ?, ?, 'id', 'image', '', 1, 0, 0, 1, '', '{\"key\":\"value\"}', 0)",
            (row, uid, uid, created, target),
        )
        name = f"{repository}:{uid}"
        old.execute("INSERT INTO names VALUES (?, ?, ?, 0)", (name, row, repository))
    old.close()
    store = await SqliteMetadataStore.open(path)
    assert await uids(store) == ["new", "older", "old", "undated"]
    wanted = ImageQuery(labels=(LabelCondition("key", "value"),))
    found = await store.read(lambda session: session.list_images(None, 10, wanted))
    if version == 1:  # the next step made the table that labels are found by
        assert len(found) == 4
    await store.write(put("1"))
    assert await store.verify() == []
    await store.close()


async def test_a_step_is_done_whole_or_not_at_all(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await SqliteMetadataStore.open(path)
    await store.write(put("1"))
    await store.close()
    with monkeypatch.context() as patch:
        steps = ("CREATE TABLE good (x)", "CREATE TABLE half (x); DROP TABLE images; nonsense")
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, *steps))
        with pytest.raises(sqlite3.OperationalError, match="nonsense"):
            await SqliteMetadataStore.open(path)
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:-1], "CREATE TABLE whole (x)"))
        store = await SqliteMetadataStore.open(path)
        tables = await store.read(
            raw(lambda one: one.execute("SELECT name FROM sqlite_master").fetchall())
        )
        await store.close()
    assert {("good",), ("whole",), ("images",)} <= {*tables}
    assert ("half",) not in tables


def foreign(path: Path, *statements: str) -> bytes:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return path.read_bytes()


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE theirs (x)"],
        ["PRAGMA user_version = 1"],
        ["PRAGMA application_id = 252006673", "CREATE TABLE images (x)"],
    ],
    ids=["their table", "their version", "their mark"],
)
async def test_another_programs_file_is_left_as_it_is(path: Path, statements: list[str]) -> None:
    before = foreign(path, *statements)
    error = await refused(path)
    assert error.reason is Reason.STORE_CORRUPT
    assert "another program" in error.message
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


async def test_a_newer_schema_is_left_as_it_is(path: Path) -> None:
    newer = len(schema.MIGRATIONS) + 1
    mark = f"PRAGMA application_id = {schema._APPLICATION_ID}"
    before = foreign(path, mark, f"PRAGMA user_version = {newer}", "CREATE TABLE images (x)")
    error = await refused(path)
    assert error.reason is Reason.STORE_CORRUPT
    assert f"schema {newer}" in error.message
    assert "newer" in error.message
    assert path.read_bytes() == before


@pytest.mark.parametrize("data", [b"not a database" * 100, b"SQLite format 3\0" + b"x" * 4096])
async def test_what_is_no_database(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    assert (await refused(path)).reason is Reason.STORE_CORRUPT
    assert path.read_bytes() == data


async def test_a_damaged_file_is_told(path: Path) -> None:
    store = await SqliteMetadataStore.open(path)
    for number in range(50):
        await store.write(put(str(number)))
    await store.close()
    other = sqlite3.connect(path)
    [(page,)] = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'names'")
    [(size,)] = other.execute("PRAGMA page_size")
    other.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)
    store = await SqliteMetadataStore.open(path)
    assert await store.verify() != []
    for use in (store.read, store.write):
        with pytest.raises(Error) as caught:
            await use(raw(lambda one: one.execute("SELECT * FROM names").fetchall()))
        assert caught.value.reason is Reason.STORE_CORRUPT
    await store.close()


async def test_a_lost_reference_is_told(store: SqliteMetadataStore, path: Path) -> None:
    await store.write(put("1"))
    other = sqlite3.connect(path)
    other.execute("UPDATE names SET image = 99")
    other.commit()
    other.close()
    assert await store.verify() == ["a row of names refers to a row of images that is not there"]


async def test_damage_that_ends_the_look(
    store: SqliteMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    monkeypatch.setattr(store, "_reader", fail)
    assert await store.verify() == ["database disk image is malformed"]


async def test_a_path_that_can_not_be_opened(path: Path) -> None:
    path.mkdir()
    error = await refused(path)
    assert (error.reason, "directory" in error.message) == (Reason.FIELD_INVALID, True)
    assert (await refused(path.parent / "no" / "metadata.db")).reason is Reason.FIELD_INVALID


@pytest.mark.parametrize("code", [28, 122])  # ENOSPC, EDQUOT
async def test_no_room_for_the_file(path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, "no room")

    monkeypatch.setattr(os, "open", fail)
    assert (await refused(path)).reason is Reason.DISK_FULL


# --- transactions


async def test_functions_that_wait_share_a_commit(store: SqliteMetadataStore) -> None:
    statements: list[str] = []
    store._writer.set_trace_callback(statements.append)
    await together(store, *(put(str(number)) for number in range(20)))
    store._writer.set_trace_callback(None)
    # One for the function that the others waited for.
    assert statements.count("COMMIT") == 2
    assert len(await uids(store)) == 20


async def test_a_group_has_an_end(
    store: SqliteMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_GROUP", 3)
    statements: list[str] = []
    store._writer.set_trace_callback(statements.append)
    await together(store, *(put(str(number)) for number in range(7)))
    store._writer.set_trace_callback(None)
    assert statements.count("COMMIT") == 4
    assert len(await uids(store)) == 7


async def test_one_that_fails_in_the_database_fails_alone(store: SqliteMetadataStore) -> None:
    def nonsense(session: WriteSession) -> None:
        put("2")(session)
        raw(lambda one: one.execute("SELECT nonsense"))(session)

    first, second, third = await together(store, put("1"), nonsense, put("3"))
    assert (first, third) == ("UID1", "UID3")
    assert isinstance(second, sqlite3.OperationalError)
    assert sorted(await uids(store)) == ["UID1", "UID3"]


@pytest.mark.parametrize("raises", [True, False])
async def test_what_undoes_all_functions_fails_alone(
    store: SqliteMetadataStore, raises: bool
) -> None:
    """As SQLite does when the disk fails in the middle of one."""

    def undo(session: WriteSession) -> None:
        put("2")(session)
        raw(lambda one: one.execute("ROLLBACK"))(session)
        if raises:
            raise sqlite3.OperationalError("database or disk is full")

    first, second, third = await together(store, put("1"), undo, put("3"))
    assert (first, third) == ("UID1", "UID3")
    assert isinstance(second, sqlite3.OperationalError)
    assert sorted(await uids(store)) == ["UID1", "UID3"]


async def test_one_that_wants_too_much_room_fails_alone(store: SqliteMetadataStore) -> None:
    """SQLite then takes the whole transaction back, the neighbours' changes too."""
    pages = await store.write(raw(lambda one: one.execute("PRAGMA page_count").fetchone()[0]))
    store._writer.execute(f"PRAGMA max_page_count = {pages + 8}")
    ran: list[str] = []

    def large(session: WriteSession) -> None:
        ran.append("large")
        names = [tag(f"a.b/{number}{'x' * 200}:1") for number in range(1000)]
        session.put_image(image_record("large", names=names), (), ())

    first, second, third, fourth = await together(store, put("1"), large, put("3"), large)
    assert (first, third) == ("UID1", "UID3")
    for failure in (second, fourth):
        assert failure.reason is Reason.DISK_FULL
    assert second is not fourth
    assert sorted(await uids(store)) == ["UID1", "UID3"]
    store._writer.execute("PRAGMA max_page_count = 1000000")
    await store.write(large)
    assert sorted(await uids(store)) == ["UID1", "UID3", "UIDlarge"]


class FailingCommits:
    """A connection whose next commits fail."""

    def __init__(self, connection: sqlite3.Connection, failures: int) -> None:
        self._connection, self.failures = connection, failures

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT" and self.failures:
            self.failures -= 1
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_a_commit_that_fails_is_tried_for_each_alone(
    store: SqliteMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with BusyWriter(store) as busy:
        writes = asyncio.gather(*map(store.write, [put("1"), put("2")]), return_exceptions=True)
        await asyncio.sleep(0)
        # That of the function that keeps it busy, the group's, and that of the first function.
        monkeypatch.setattr(store, "_writer", FailingCommits(store._writer, 3))
        busy.fails = True
    first, second = await writes
    assert isinstance(first, Error)
    assert (first.reason, second) == (Reason.DISK_FULL, "UID2")
    assert await uids(store) == ["UID2"]


class FailingDisk(FailingCommits):
    """A connection whose next commits fail, and each time can't be rolled back either."""

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "ROLLBACK":
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(statement, *values)


async def test_a_rollback_that_fails_does_not_end_the_writing(
    store: SqliteMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.write(put("1"))
    connect = store._connect
    opened: list[Any] = []

    def fail() -> sqlite3.Connection:
        opened.append(None)
        raise sqlite3.OperationalError("unable to open database file")

    store._writer = FailingDisk(store._writer, 1)  # type: ignore[assignment]
    with monkeypatch.context() as patch:
        patch.setattr(store, "_connect", fail)
        for reason in (Reason.DISK_FULL, Reason.STORE_CORRUPT, Reason.STORE_CORRUPT):
            with pytest.raises(Error) as caught:
                await asyncio.wait_for(store.write(put("2")), PATIENCE)
            assert caught.value.reason is reason
    assert len(opened) == 2
    assert store._connect == connect
    # It goes on as soon as the file can be opened; nothing holds the lock.
    assert await asyncio.wait_for(store.write(put("3")), PATIENCE) == "UID3"
    assert sorted(await uids(store)) == ["UID1", "UID3"]
    assert await store.verify() == []


async def test_a_lock_of_another_program(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_LOCK_TIMEOUT", 0.0)
    store = await SqliteMetadataStore.open(path)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Error) as caught:
        await store.write(put("1"))
    assert caught.value.reason is Reason.TOO_BUSY
    assert await uids(store) == []  # readers wait for nobody
    other.execute("ROLLBACK")
    other.close()
    assert await store.write(put("1")) == "UID1"
    await store.close()


async def test_readers_do_not_write(store: SqliteMetadataStore) -> None:
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await store.read(put("1"))  # type: ignore[arg-type]
    assert await uids(store) == []


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda one: one.execute("SELECT nonsense"), "nonsense"),
        (lambda one: one.execute("SELECT ?", ()), "binding"),
        # What some failures of the disk do.
        (lambda one: (one.execute("ROLLBACK"), one.execute("SELECT nonsense")), "nonsense"),
    ],
    ids=["SQL", "binding", "ended transaction"],
)
async def test_a_defect_reaches_its_caller_as_it_is(
    store: SqliteMetadataStore, misuse: Callable[[sqlite3.Connection], Any], message: str
) -> None:
    for _ in range(sqlite._READERS + 1):  # no reader is spoilt
        with pytest.raises(sqlite3.DatabaseError, match=message):
            await store.read(raw(misuse))
    assert await uids(store) == []


async def test_readers_begin_at_the_same_time(store: SqliteMetadataStore) -> None:
    await store.write(put("1"))
    together = threading.Barrier(sqlite._READERS)

    def look(session: ReadSession) -> int:
        together.wait(PATIENCE)
        return session.count_images()

    assert await asyncio.gather(*(store.read(look) for _ in range(sqlite._READERS * 3))) == [1] * 9


async def test_a_reader_that_can_not_begin_is_tried_again(
    store: SqliteMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", fail)
        with pytest.raises(sqlite3.OperationalError):
            await uids(store)
    assert await uids(store) == []


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (sqlite3.SQLITE_FULL, Reason.DISK_FULL),
        (sqlite3.SQLITE_IOERR_WRITE, Reason.DISK_FULL),
        (sqlite3.SQLITE_IOERR_SHMSIZE, Reason.DISK_FULL),
        (sqlite3.SQLITE_IOERR_READ, Reason.STORE_CORRUPT),
        (sqlite3.SQLITE_IOERR_FSYNC, Reason.STORE_CORRUPT),
        (sqlite3.SQLITE_CORRUPT_INDEX, Reason.STORE_CORRUPT),
        (sqlite3.SQLITE_NOTADB, Reason.STORE_CORRUPT),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, Reason.TOO_BUSY),
        (sqlite3.SQLITE_LOCKED, Reason.TOO_BUSY),
        (sqlite3.SQLITE_ERROR, None),
        (sqlite3.SQLITE_CONSTRAINT, None),
        (None, None),
    ],
)
@pytest.mark.parametrize("way", ["read", "write"])
async def test_the_databases_errors(
    store: SqliteMetadataStore, way: str, code: int | None, reason: Reason | None
) -> None:
    failure = sqlite3.DatabaseError("says SQLite")
    if code is not None:
        failure.sqlite_errorcode = code

    def fail(_: object) -> None:
        raise failure

    with pytest.raises((Error, sqlite3.DatabaseError)) as caught:
        await getattr(store, way)(fail)
    if reason is None:
        assert caught.value is failure
    else:
        assert isinstance(caught.value, Error)
        assert (caught.value.reason, caught.value.__cause__) == (reason, failure)


# --- places in lists


async def test_places_are_kept_for_a_while(
    store: SqliteMetadataStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "KEPT_CHANGES", 10)
    monkeypatch.setattr(places, "FORGOTTEN_AT_ONCE", 3)

    def begin(session: WriteSession) -> tuple[int, int]:
        for content in "ab":
            put(content)(session)
        return session.list_images(None, 1)[0][0]

    position = await store.write(begin)

    async def go_on() -> list[str]:
        found = await store.read(lambda session: session.list_images(position, 10))
        return [image.uid for _, image in found]

    # One change each: another name comes first.
    for number in range(10):
        assert await go_on() == ["UIDb"]
        await store.write(lambda session: session.put_name(tag(f"a.b/w:{99 - number}"), "UIDb"))  # noqa: B023
    assert await go_on() == ["UIDb"]
    await store.write(lambda session: session.put_name(tag("a.b/w:0"), "UIDb"))
    with pytest.raises(Error) as caught:
        await go_on()
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID
    count = "SELECT count(*) FROM image_places"
    assert await store.read(raw(lambda one: one.execute(count).fetchone()[0])) <= 10 + 2 + 3
    assert await uids(store) == ["UIDb", "UIDa"]


@pytest.mark.parametrize("position", [(1, 99), (99, 99), (-1, 1), (10**6, -1)])
async def test_a_place_that_never_was(
    store: SqliteMetadataStore, position: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "KEPT_CHANGES", 0)
    await store.write(put("a"))
    with pytest.raises(Error) as caught:
        await store.read(lambda session: session.list_images(position, 10))
    assert caught.value.reason is Reason.PAGE_TOKEN_INVALID

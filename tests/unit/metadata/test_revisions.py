"""Whatever is changed of an image, and by whichever statement, gives it another revision."""

from __future__ import annotations

import sqlite3

import pytest

from imgd_server.metadata._schema import migrate
from imgd_server.metadata._session import Session
from tests.records import image_record, manifest_target, tag

LEARNED = f"a.b/x@{manifest_target('1').digest}"


@pytest.fixture
def connection() -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    for number in "12":
        record = image_record(number, names=(tag(f"a.b/x:{number}"),), repo_digests=(LEARNED,))
        Session(connection).put_image(record, (), ())
    return connection


def revisions(connection: sqlite3.Connection) -> list[int]:
    return [one for (one,) in connection.execute("SELECT revision FROM images ORDER BY row")]


def changed(connection: sqlite3.Connection, statement: str) -> list[bool]:
    """Of which images a statement changes the revision."""
    before = revisions(connection)
    assert connection.execute(statement).rowcount
    return [old != new for old, new in zip(before, revisions(connection), strict=True)]


def test_every_column_but_those_that_versions_leave_out(connection: sqlite3.Connection) -> None:
    columns = [row[1] for row in connection.execute("PRAGMA table_info(images)")]
    silent = {
        one
        for one in columns
        if one not in ("row", "revision")
        and changed(connection, f"UPDATE images SET {one} = {one} WHERE row = 1") != [True, False]
    }
    assert silent == {"last_used", "doomed"}


@pytest.mark.parametrize(
    ("statement", "which"),
    [
        ("INSERT INTO names VALUES ('a.b/y:1', 1, 'a.b/y', 0)", [True, False]),
        ("UPDATE names SET image = 1 WHERE image = 2", [True, True]),
        ("DELETE FROM names WHERE image = 2", [False, True]),
        ("INSERT INTO repo_digests VALUES ('a.b/y@x', 1, 'a.b/y')", [True, False]),
        ("DELETE FROM repo_digests WHERE image = 2", [False, True]),
        ("INSERT INTO image_blobs VALUES (1, 'x', 1, '', 1)", [False, False]),
    ],
)
def test_names_and_digests(
    connection: sqlite3.Connection, statement: str, which: list[bool]
) -> None:
    assert changed(connection, statement) == which


def test_a_revision_never_comes_back(connection: sqlite3.Connection) -> None:
    known = set(revisions(connection))
    for _ in range(3):
        connection.execute("BEGIN")
        Session(connection).set_pinned("UID2", True)
        known.add(revisions(connection)[1])
        connection.execute("ROLLBACK")
    # SQLite gives the row of an image that is gone to the next one.
    Session(connection).delete_image("UID2")
    Session(connection).put_image(image_record("3"), (), ())
    assert [*connection.execute("SELECT uid FROM images WHERE row = 2")] == [("UID3",)]
    known.add(revisions(connection)[1])
    assert len(known) == 2 + 3 + 1

"""No hot query reads a whole table, however many images there are.

SQLite plans by the schema alone (the store never runs ANALYZE), so an empty store shows it.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest

from imgd_server.metadata._schema import migrate
from imgd_server.metadata._session import Session
from tests.records import blob_ref, image_record, lease_record, manifest_target, tag


class Explaining:
    """A connection that notes the plan of every statement."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.plans: list[tuple[str, list[str]]] = []

    @property
    def steps(self) -> list[str]:
        return [step for _, plan in self.plans for step in plan]

    def _explain(self, statement: str, *values: Any) -> None:
        plan = self._connection.execute(f"EXPLAIN QUERY PLAN {statement}", *values)
        self.plans.append((statement, [step[3] for step in plan]))

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        self._explain(statement, *values)
        return self._connection.execute(statement, *values)

    def executemany(self, statement: str, rows: list[Any]) -> sqlite3.Cursor:
        for row in rows[:1]:
            self._explain(statement, row)
        return self._connection.executemany(statement, rows)


DIGEST = manifest_target("1").digest

READS: dict[str, Callable[[Session], object]] = {
    "by uid": lambda one: one.image("UID1"),
    "by name": lambda one: one.image_by_name("a.b/x:1"),
    "by target": lambda one: one.image_by_target(DIGEST),
    "by the start of an ID": lambda one: one.images_by_id_prefix("abcd", 10),
    "by the start of a digest": lambda one: one.images_by_id_prefix("sha256:abcd", 10),
    "by repo digest": lambda one: one.images_by_repo_digest(f"a.b/x@{DIGEST}"),
    "first page": lambda one: one.list_images(None, 10),
    "next page": lambda one: one.list_images((2, 1), 10),
    "versions": lambda one: one.images_of(one.list_versions(None, 1)[1]),
    "platforms": lambda one: one.image_platforms("UID1"),
    "blobs": lambda one: one.image_blobs("UID1"),
    "own blobs": lambda one: one.exclusive_blobs("UID1", 0),
    "containers of an image": lambda one: one.image_containers("UID1"),
    "leases of an image": lambda one: one.image_leases("UID1", 0),
    "tags": lambda one: one.repository_tags("a.b/x", "", 10),
    "repositories": lambda one: one.repositories("", 10),
    "manifest of a repository": lambda one: one.repository_manifest("a.b/x", blob_ref("x").digest),
    "blob of a repository": lambda one: one.repository_has_blob("a.b/x", DIGEST),
    "held among": lambda one: one.held_among([DIGEST], 0),
    "blob of some repository": lambda one: one.any_repository_has_blob(DIGEST),
    "held snapshots": lambda one: one.held_snapshots([DIGEST], 0),
    "lease": lambda one: one.lease("lease"),
    "leases": lambda one: one.list_leases("", 0, 10),
    "expired leases": lambda one: one.expired_leases(0, 10),
    "transfer": lambda one: one.transfer("T1"),
    "transfer by request": lambda one: one.transfer_by_request("request"),
    "transfers": lambda one: one.list_transfers((), (1, "T1"), 10),
    "transfers by state": lambda one: one.list_transfers(("RUNNING",), (1, "T1"), 10),
    "events": lambda one: one.events(1, None, 10),
    "images with a blob": lambda one: one.images_with_blob(DIGEST),
    "linked digests": lambda one: one.linked_digests(DIGEST, 10),
    "unused images": lambda one: one.unused_images(1, 1, 10),
}
WRITES: dict[str, Callable[[Session], object]] = {
    "put an image": lambda one: one.put_image(
        image_record("1", names=(tag("a.b/x:2"),), labels={"a": "b"}), (), (blob_ref("1"),)
    ),
    "put a name": lambda one: one.put_name(tag("a.b/x:1"), "UID2"),
    "delete a name": lambda one: one.delete_name("a.b/x:1"),
    "delete an image": lambda one: one.delete_image("UID1"),
    "put a lease": lambda one: one.put_lease(lease_record("lease", digests=(DIGEST,))),
    "delete a lease": lambda one: one.delete_lease("lease"),
    "forget transfers": lambda one: one.delete_expired_transfers(0),
    "forget links": lambda one: one.forget_links([DIGEST]),
    "lose blobs": lambda one: one.lose_blobs("UID1", [DIGEST]),
}


@pytest.fixture
def connection() -> Explaining:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    migrate(connection)
    explaining = Explaining(connection)
    session = Session(explaining)  # type: ignore[arg-type]
    for number in "12":
        names = (tag(f"a.b/x:{number}"),)
        session.put_image(image_record(number, names=names), (), (blob_ref(number),))
    explaining.plans.clear()
    return explaining


def scans(connection: Explaining) -> list[str]:
    """The steps that read a whole table or index. Constants, lists that the caller gave and what
    was found before are no harm."""
    harmless = r"SCAN (\d* ?CONSTANT|json_each|image_rows|above)\b"
    found = [step for step in connection.steps if step.startswith("SCAN")]
    return [step for step in found if not re.match(harmless, step)]


@pytest.mark.parametrize("query", [*READS, *WRITES])
def test_nothing_is_scanned(connection: Explaining, query: str) -> None:
    {**READS, **WRITES}[query](Session(connection))  # type: ignore[arg-type]
    assert connection.plans
    assert scans(connection) == []


@pytest.mark.parametrize("query", ["first page", "next page", "tags", "leases", "transfers"])
def test_pages_come_in_the_order_of_an_index(connection: Explaining, query: str) -> None:
    READS[query](Session(connection))  # type: ignore[arg-type]
    [plan] = [plan for statement, plan in connection.plans if "LIMIT" in statement]
    assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def test_a_scan_would_be_seen(connection: Explaining) -> None:
    connection.execute("SELECT * FROM images WHERE platform = ''")
    connection.execute("SELECT count(*) FROM names")
    assert len(scans(connection)) == 2

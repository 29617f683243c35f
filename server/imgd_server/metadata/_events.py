"""The store's history, and the answers kept for safe retries."""

# Queries are put together from constants and "?" marks only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from imgd_server.metadata._database import Queries, dump

__all__ = ["EventQueries", "EventRecord", "KeptAnswer"]


_DROPPED = "coalesce((SELECT value FROM counters WHERE name = 'events_dropped'), 0)"
# No cursor is given twice, also when all events were dropped.
_LAST = f"max(coalesce((SELECT max(cursor) FROM events), 0), {_DROPPED})"


@dataclass(frozen=True, slots=True)
class EventRecord:
    """One thing that happened. `kind` is a SubjectKind name, `time` in microseconds.

    `cursor` is 0 until it is stored.
    """

    kind: str
    action: str
    subject: str
    time: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    cursor: int = 0


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer to a request with a request ID, for whoever sends it again.

    `fingerprint` tells whether it is the same request.
    """

    request_id: str
    fingerprint: str
    answer: bytes
    expires: int


class EventQueries(Queries):
    """The part of a session that is about events and kept answers."""

    def events(self, after: int, since: int | None, limit: int) -> list[EventRecord]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT kind, action, subject, time, attributes, cursor FROM events "
            "WHERE cursor > ? AND (? IS NULL OR time >= ?) ORDER BY cursor LIMIT ?",
            (after, since, since, limit),
        )
        return [
            EventRecord(row[0], row[1], row[2], row[3], json.loads(row[4]), row[5]) for row in rows
        ]

    def event_bounds(self) -> tuple[int, int]:
        """See ReadSession."""
        dropped, last = self._db.execute(f"SELECT {_DROPPED}, {_LAST}").fetchone()
        return int(dropped), int(last)

    def add_event(self, event: EventRecord) -> None:
        """See WriteSession."""
        self._db.execute(
            "INSERT INTO events (cursor, time, kind, action, subject, attributes) "
            f"VALUES (1 + {_LAST}, ?, ?, ?, ?, ?)",
            (
                event.time,
                event.kind,
                event.action,
                event.subject,
                dump(dict(event.attributes)),
            ),
        )

    def delete_events(self, before: int, most: int) -> int:
        """See WriteSession."""
        last = self.event_bounds()[1]
        row = self._db.execute(
            "SELECT max(cursor) FROM events WHERE time < ? OR cursor <= ?", (before, last - most)
        ).fetchone()
        if row[0] is None:
            return 0
        gone = self._db.execute("DELETE FROM events WHERE cursor <= ?", (row[0],)).rowcount
        self._db.execute(
            "INSERT INTO counters (name, value) VALUES ('events_dropped', ?) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (row[0],),
        )
        return gone

    def kept_answer(self, request_id: str) -> KeptAnswer | None:
        """See ReadSession."""
        row = self._db.execute(
            "SELECT request_id, fingerprint, answer, expires FROM answers WHERE request_id = ?",
            (request_id,),
        ).fetchone()
        return KeptAnswer(*row) if row else None

    def keep_answer(self, answer: KeptAnswer) -> None:
        """See WriteSession."""
        self._db.execute(
            "INSERT OR REPLACE INTO answers (request_id, fingerprint, answer, expires) "
            "VALUES (?, ?, ?, ?)",
            (answer.request_id, answer.fingerprint, answer.answer, answer.expires),
        )

    def delete_expired_answers(self, now: int) -> int:
        """See WriteSession."""
        return self._db.execute("DELETE FROM answers WHERE expires <= ?", (now,)).rowcount

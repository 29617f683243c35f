"""The queries on transfers."""

# Queries are put together from constants and "?" marks only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

from imgd_server.errors import Error, Reason
from imgd_server.metadata._database import Queries, dump
from imgd_server.metadata._records import TransferRecord

__all__ = ["TransferQueries"]

_TRANSFER = (
    "uid, request_id, spec, state, attempt, created, started, ended, expires, sequence, outcome"
)


class TransferQueries(Queries):
    """The part of a session that is about transfers."""

    def transfer(self, uid: str) -> TransferRecord | None:
        """See ReadSession."""
        return self._one_transfer("uid = ?", uid)

    def transfer_by_request(self, request_id: str) -> TransferRecord | None:
        """See ReadSession."""
        return self._one_transfer("request_id = ? AND request_id <> ''", request_id)

    def list_transfers(
        self, states: Sequence[str], after: tuple[int, str] | None, limit: int
    ) -> list[TransferRecord]:
        """See ReadSession."""
        conditions = ["(created, uid) < (?, ?)"] if after else []
        if states:
            conditions.append(f"state IN ({','.join('?' * len(states))})")
        where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
        rows = self._db.execute(
            f"SELECT {_TRANSFER}, '[]' FROM transfers {where} "
            "ORDER BY created DESC, uid DESC LIMIT ?",
            (*(after or ()), *states, limit),
        )
        return [_transfer(row) for row in rows]

    def _one_transfer(self, condition: str, value: str) -> TransferRecord | None:
        row = self._db.execute(
            f"SELECT {_TRANSFER}, nodes FROM transfers WHERE {condition}",
            (value,),
        ).fetchone()
        return _transfer(row) if row else None

    def put_transfer(self, record: TransferRecord) -> None:
        """See WriteSession."""
        try:
            self._db.execute(
                f"INSERT INTO transfers ({_TRANSFER}, nodes) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (uid) DO UPDATE SET "
                "spec = excluded.spec, state = excluded.state, attempt = excluded.attempt, "
                "started = excluded.started, ended = excluded.ended, expires = excluded.expires, "
                "sequence = excluded.sequence, outcome = excluded.outcome, nodes = excluded.nodes",
                (
                    record.uid,
                    record.request_id,
                    dump(record.spec),
                    record.state,
                    record.attempt,
                    record.created,
                    record.started,
                    record.ended,
                    record.expires,
                    record.sequence,
                    None if record.outcome is None else dump(record.outcome),
                    dump(record.nodes),
                ),
            )
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_UNIQUE:
                raise
            raise Error(
                Reason.REQUEST_ID_REUSED,
                f"request_id {record.request_id} was used before with another request",
            ) from None

    def delete_transfer(self, uid: str) -> bool:
        """See WriteSession."""
        return self._changed("DELETE FROM transfers WHERE uid = ?", uid) > 0

    def delete_expired_transfers(self, now: int) -> int:
        """See WriteSession."""
        return self._changed("DELETE FROM transfers WHERE expires <= ?", now)

    def next_epoch(self) -> int:
        """See WriteSession."""
        return self._count("epoch", 1)


def _transfer(row: Any) -> TransferRecord:
    uid, request_id, spec, state, attempt, created, started, ended, expires, sequence = row[:10]
    return TransferRecord(
        uid,
        request_id,
        json.loads(spec),
        state,
        attempt,
        created,
        started,
        ended,
        expires,
        sequence,
        json.loads(row[10]) if row[10] else None,
        tuple(json.loads(row[11])),
    )

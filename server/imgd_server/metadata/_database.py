"""What all queries share: the connection, and values as columns."""

from __future__ import annotations

import json
import sqlite3
from functools import lru_cache

from imgd_server.oci import Descriptor

__all__ = ["Queries", "dump", "target_of"]

# Lists read the same descriptors again and again, and parsing one takes 20 µs. Some kB each.
_TARGETS = 4096


def dump(value: object) -> str:
    """A JSON value as a column; the same value gives the same text."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


@lru_cache(_TARGETS)
def target_of(text: str) -> Descriptor:
    """The descriptor in a column."""
    return Descriptor.from_json(json.loads(text))


class Queries:
    """Queries over one SQLite connection in a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.lists_changed = False
        """Whether it changed what lists of images show (see MetadataStore.listing_version)."""

    def _count(self, name: str, step: int) -> int:
        """Counts a counter up, and returns its value."""
        row = self._db.execute(
            "INSERT INTO counters (name, value) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value",
            (name, step),
        ).fetchall()
        return int(row[0][0])

    def _counted(self, name: str) -> int:
        """A counter's value."""
        row = self._db.execute("SELECT value FROM counters WHERE name = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _changed(self, statement: str, *values: object) -> int:
        return self._db.execute(statement, values).rowcount

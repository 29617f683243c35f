"""Containers: the queries on registered uses of images."""

# Queries are put together from constants and "?" marks only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from imgd_server.metadata._database import Queries, dump

__all__ = ["ContainerQueries", "ContainerRecord"]

_COLUMNS = (
    "container_id, (SELECT uid FROM images WHERE row = containers.image), image_reference, "
    "image_id, state, labels, created, started, stopped, exit_status, heartbeat, expires, "
    "platform, rootfs"
)


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """A registered use of an image. `image` is the image's uid.

    `heartbeat` is the interval that was asked for, `expires` when the record counts as exited
    unless a heartbeat comes; both None when none was asked for. Times are in microseconds.
    `rootfs` describes its root file system in JSON, for `images`; empty when it has none.
    """

    container_id: str
    image: str
    image_reference: str
    image_id: str
    state: str  # CREATED, RUNNING, PAUSED or EXITED
    created: int
    labels: Mapping[str, str] = field(default_factory=dict)
    started: int | None = None
    stopped: int | None = None
    exit_status: int | None = None
    heartbeat: int | None = None
    expires: int | None = None
    platform: str = ""
    rootfs: str = ""


class ContainerQueries(Queries):
    """The part of a session that is about containers."""

    def container(self, container_id: str) -> ContainerRecord | None:
        """See ReadSession."""
        found = self._containers("WHERE container_id = ?", (container_id,))
        return found[0] if found else None

    def list_containers(
        self,
        image: str | None,
        states: Sequence[str],
        labels: Sequence[tuple[str, str | None]],
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[ContainerRecord]:
        """See ReadSession."""
        conditions: list[str] = []
        values: list[object] = []
        if image is not None:
            conditions.append("image = (SELECT row FROM images WHERE uid = ?)")
            values.append(image)
        if states:
            conditions.append(f"state IN ({','.join('?' * len(states))})")
            values += states
        for key, value in labels:
            # As text: SQLite's JSON ends strings at a NUL. A quote within a string has a backslash
            # before it, so only a member begins like this.
            member = f"{dump(key)}:{'' if value is None else dump(value)}"
            conditions.append("(instr(labels, ?) OR instr(labels, ?))")
            values += (f"{{{member}", f",{member}")
        if after:
            conditions.append("(created, container_id) < (?, ?)")
            values += after
        where = f"WHERE {' AND '.join(conditions)} " if conditions else ""
        return self._containers(
            f"{where}ORDER BY created DESC, container_id DESC LIMIT ?", (*values, limit)
        )

    def count_containers(self, states: Sequence[str]) -> int:
        """See ReadSession."""
        where = f"WHERE state IN ({','.join('?' * len(states))})" if states else ""
        row = self._db.execute(f"SELECT count(*) FROM containers {where}", states).fetchone()
        return int(row[0])

    def silent_containers(self, now: int) -> list[ContainerRecord]:
        """See ReadSession."""
        return self._containers("WHERE expires <= ?", (now,))

    def put_container(self, record: ContainerRecord) -> None:
        """See WriteSession."""
        self._db.execute(
            "INSERT INTO containers (container_id, image, image_reference, image_id, state, "
            "labels, created, started, stopped, exit_status, heartbeat, expires, platform, rootfs) "
            f"VALUES (?, (SELECT row FROM images WHERE uid = ?), {', '.join('?' * 12)}) "
            "ON CONFLICT (container_id) DO UPDATE SET state = excluded.state, "
            "started = excluded.started, stopped = excluded.stopped, "
            "exit_status = excluded.exit_status, expires = excluded.expires, "
            "rootfs = excluded.rootfs",
            (
                record.container_id,
                record.image,
                record.image_reference,
                record.image_id,
                record.state,
                dump(dict(record.labels)),
                record.created,
                record.started,
                record.stopped,
                record.exit_status,
                record.heartbeat,
                record.expires,
                record.platform,
                record.rootfs,
            ),
        )

    def delete_container(self, container_id: str) -> bool:
        """See WriteSession."""
        return (
            self._db.execute(
                "DELETE FROM containers WHERE container_id = ?", (container_id,)
            ).rowcount
            > 0
        )

    def _containers(self, tail: str, values: Sequence[object]) -> list[ContainerRecord]:
        rows = self._db.execute(f"SELECT {_COLUMNS} FROM containers {tail}", values)
        return [_container(row) for row in rows.fetchall()]


def _container(row: Any) -> ContainerRecord:
    container_id, image, image_reference, image_id, state, labels, created, *rest = row
    return ContainerRecord(
        container_id, image, image_reference, image_id, state, created, json.loads(labels), *rest
    )

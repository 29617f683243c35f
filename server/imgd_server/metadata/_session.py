"""The queries, over one SQLite connection in a transaction."""

# Queries are put together from constants and "?" marks only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from imgd_server.errors import Error, Reason
from imgd_server.metadata._records import (
    BlobRef,
    ImageRecord,
    LeaseRecord,
    Name,
    PlatformRecord,
    TransferRecord,
)
from imgd_server.oci import Descriptor, Digest

__all__ = ["Session"]

# Images without a create time come last in lists; no real time is this small.
_NO_TIME = -(2**62)

_IMAGE = (
    "row, uid, target, image_id, kind, artifact_type, created, stored, last_used, content_size, "
    "unpacked_size, pinned, complete, platform, labels, place"
)
_TRANSFER = (
    "uid, request_id, spec, state, attempt, created, started, ended, expires, sequence, outcome"
)
# An image belongs to a repository by a name there, or by a digest that was learned there.
_IN_REPOSITORY = (
    "SELECT image FROM names WHERE repository = :repository "
    "UNION SELECT image FROM repo_digests WHERE repository = :repository"
)


def _dump(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def _target(text: str) -> Descriptor:
    return Descriptor.from_json(json.loads(text))


class Session:
    """A `WriteSession` (and so a `ReadSession`) on a connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    # --- images

    def image(self, uid: str) -> ImageRecord | None:
        """See ReadSession."""
        return self._one_image("uid = ?", (uid,))

    def image_by_name(self, name: str) -> ImageRecord | None:
        """See ReadSession."""
        return self._one_image("row = (SELECT image FROM names WHERE name = ?)", (name,))

    def image_by_target(self, digest: str) -> ImageRecord | None:
        """See ReadSession."""
        return self._one_image("digest = ?", (digest,))

    def images_by_id_prefix(self, prefix: str, limit: int) -> list[ImageRecord]:
        """See ReadSession."""
        prefixes = [prefix] if ":" in prefix else [f"sha256:{prefix}", f"sha512:{prefix}"]
        found: dict[int, ImageRecord] = {}
        for start in prefixes:
            # A range instead of LIKE: no wildcards, and the index serves it. "g" follows "f".
            rows = self._db.execute(
                f"SELECT {_IMAGE} FROM images WHERE row IN ("
                "SELECT row FROM images WHERE image_id >= :low AND image_id < :high "
                "UNION SELECT row FROM images WHERE digest >= :low AND digest < :high "
                "UNION SELECT image FROM image_platforms "
                "WHERE image_id >= :low AND image_id < :high) "
                "ORDER BY stored DESC LIMIT :limit",
                {"low": start, "high": f"{start}g", "limit": limit},
            )
            found |= {record[0]: record[1] for record in self._images(rows.fetchall())}
        return list(found.values())[:limit]

    def images_by_repo_digest(self, repo_digest: str) -> list[ImageRecord]:
        """See ReadSession."""
        rows = self._db.execute(
            f"SELECT {_IMAGE} FROM images WHERE row IN ("
            "SELECT image FROM repo_digests WHERE name = :name "
            "UNION SELECT image FROM names WHERE name = :name)",
            {"name": repo_digest},
        )
        return [record for _, record in self._images(rows.fetchall())]

    def list_images(
        self, after: tuple[int, int] | None, limit: int
    ) -> list[tuple[tuple[int, int], ImageRecord]]:
        """See ReadSession."""
        condition = "WHERE (place, row) < (?, ?)" if after else ""
        rows = self._db.execute(
            f"SELECT {_IMAGE} FROM images {condition} ORDER BY place DESC, row DESC LIMIT ?",
            (*(after or ()), limit),
        ).fetchall()
        records = self._images(rows)
        return [((row[-1], row[0]), one) for row, (_, one) in zip(rows, records, strict=True)]

    def count_images(self) -> int:
        """See ReadSession."""
        return int(self._db.execute("SELECT count(*) FROM images").fetchone()[0])

    def image_platforms(self, uid: str) -> list[PlatformRecord]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT platform, manifest, image_id, complete, content_size FROM image_platforms "
            "WHERE image = (SELECT row FROM images WHERE uid = ?) ORDER BY position",
            (uid,),
        )
        return [
            PlatformRecord(platform, _target(manifest), image_id, bool(complete), size)
            for platform, manifest, image_id, complete, size in rows
        ]

    def image_blobs(self, uid: str) -> list[BlobRef]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT digest, size, media_type, stored FROM image_blobs "
            "WHERE image = (SELECT row FROM images WHERE uid = ?)",
            (uid,),
        )
        return [BlobRef(Digest(row[0]), row[1], row[2], bool(row[3])) for row in rows]

    def _one_image(self, condition: str, values: Sequence[object]) -> ImageRecord | None:
        rows = self._db.execute(
            f"SELECT {_IMAGE} FROM images WHERE {condition}",
            values,
        ).fetchall()
        found = self._images(rows)
        return found[0][1] if found else None

    def _images(self, rows: list[Any]) -> list[tuple[int, ImageRecord]]:
        """The records of rows, with their names: two more queries, however many rows."""
        marks = ",".join("?" * len(rows))
        keys = [row[0] for row in rows]
        names: dict[int, list[Name]] = defaultdict(list)
        learned: dict[int, list[str]] = defaultdict(list)
        for image, name, repository, by_digest in self._db.execute(
            "SELECT image, name, repository, by_digest FROM names "
            f"WHERE image IN ({marks}) ORDER BY name",
            keys,
        ):
            names[image].append(Name(name, repository, bool(by_digest)))
        for image, name in self._db.execute(
            f"SELECT image, name FROM repo_digests WHERE image IN ({marks}) ORDER BY name",
            keys,
        ):
            learned[image].append(name)
        return [(row[0], _image(row, names[row[0]], learned[row[0]])) for row in rows]

    def put_image(
        self,
        record: ImageRecord,
        platforms: Sequence[PlatformRecord],
        blobs: Iterable[BlobRef],
    ) -> ImageRecord:
        """See WriteSession."""
        place = _NO_TIME if record.created is None else record.created
        self._db.execute(
            "INSERT INTO images (uid, digest, target, image_id, kind, artifact_type, created, "
            "stored, last_used, content_size, unpacked_size, pinned, complete, platform, labels, "
            "place) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (digest) DO UPDATE SET target = excluded.target, "
            "image_id = excluded.image_id, kind = excluded.kind, "
            "artifact_type = excluded.artifact_type, created = excluded.created, "
            "last_used = coalesce(excluded.last_used, last_used), "
            "unpacked_size = coalesce(excluded.unpacked_size, unpacked_size), "
            "platform = excluded.platform, labels = excluded.labels, place = excluded.place",
            (
                record.uid,
                record.target.digest,
                _dump(record.target.to_json()),
                record.image_id,
                record.kind,
                record.artifact_type,
                record.created,
                record.stored,
                record.last_used,
                record.unpacked_size,
                record.pinned,
                record.complete,
                record.platform,
                _dump(dict(record.labels)),
                place,
            ),
        )
        row, uid = self._db.execute(
            "SELECT row, uid FROM images WHERE digest = ?", (record.target.digest,)
        ).fetchone()
        self._put_parts(row, platforms, blobs)
        for name in record.names:
            self.put_name(name, uid)
        for learned in record.repo_digests:
            self._db.execute(
                "INSERT OR IGNORE INTO repo_digests (name, image, repository) VALUES (?, ?, ?)",
                (learned, row, learned.partition("@")[0]),
            )
        known = self.image(uid)
        assert known is not None
        return known

    def _put_parts(
        self, row: int, platforms: Sequence[PlatformRecord], blobs: Iterable[BlobRef]
    ) -> None:
        self._db.executemany(
            "INSERT INTO image_platforms VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (image, digest) DO UPDATE SET position = excluded.position, "
            "platform = excluded.platform, image_id = max(image_id, excluded.image_id), "
            "complete = max(complete, excluded.complete), "
            "content_size = max(content_size, excluded.content_size)",
            [
                (
                    row,
                    one.manifest.digest,
                    position,
                    one.platform,
                    _dump(one.manifest.to_json()),
                    one.image_id,
                    one.complete,
                    one.content_size,
                )
                for position, one in enumerate(platforms)
            ],
        )
        self._db.executemany(
            "INSERT INTO image_blobs VALUES (?, ?, ?, ?, ?) ON CONFLICT (image, digest) "
            "DO UPDATE SET stored = max(stored, excluded.stored)",
            [(row, one.digest, one.size, one.media_type, one.stored) for one in blobs],
        )
        self._db.execute(
            "UPDATE images SET "
            "content_size = (SELECT coalesce(sum(size), 0) FROM image_blobs "
            "WHERE image = :row AND stored), "
            "complete = NOT EXISTS (SELECT 1 FROM image_blobs WHERE image = :row AND NOT stored) "
            "WHERE row = :row",
            {"row": row},
        )

    def put_name(self, name: Name, uid: str) -> str | None:
        """See WriteSession."""
        before = self._db.execute(
            "SELECT digest FROM images WHERE row = (SELECT image FROM names WHERE name = ?)",
            (name.name,),
        ).fetchone()
        self._db.execute(
            "INSERT INTO names (name, image, repository, by_digest) "
            "VALUES (?, (SELECT row FROM images WHERE uid = ?), ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET image = excluded.image",
            (name.name, uid, name.repository, name.by_digest),
        )
        return before[0] if before else None

    def delete_name(self, name: str) -> bool:
        """See WriteSession."""
        return self._changed("DELETE FROM names WHERE name = ?", name) > 0

    def delete_image(self, uid: str) -> None:
        """See WriteSession."""
        self._changed("DELETE FROM images WHERE uid = ?", uid)

    def touch_image(self, uid: str, now: int) -> None:
        """See WriteSession."""
        self._changed("UPDATE images SET last_used = ? WHERE uid = ?", now, uid)

    def set_pinned(self, uid: str, pinned: bool) -> None:
        """See WriteSession."""
        self._changed("UPDATE images SET pinned = ? WHERE uid = ?", pinned, uid)

    def set_unpacked_size(self, uid: str, size: int) -> None:
        """See WriteSession."""
        self._changed("UPDATE images SET unpacked_size = ? WHERE uid = ?", size, uid)

    # --- the registry inside

    def repository_tags(self, repository: str, after: str, limit: int) -> list[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT name FROM names WHERE repository = ? AND by_digest = 0 AND name > ? "
            "ORDER BY name LIMIT ?",
            (repository, f"{repository}:{after}", limit),
        )
        return [name[len(repository) + 1 :] for (name,) in rows]

    def repositories(self, after: str, limit: int) -> list[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT repository FROM names WHERE repository > :after "
            "UNION SELECT repository FROM links WHERE repository > :after "
            "ORDER BY repository LIMIT :limit",
            {"after": after, "limit": limit},
        )
        return [repository for (repository,) in rows]

    def repository_manifest(self, repository: str, digest: str) -> Descriptor | None:
        """See ReadSession."""
        row = self._db.execute(
            "SELECT target FROM links WHERE repository = :repository AND digest = :digest "
            "AND target IS NOT NULL "
            "UNION ALL SELECT target FROM images WHERE digest = :digest "
            f"AND row IN ({_IN_REPOSITORY}) "
            "UNION ALL SELECT manifest FROM image_platforms WHERE digest = :digest "
            f"AND image IN ({_IN_REPOSITORY}) LIMIT 1",
            {"repository": repository, "digest": digest},
        ).fetchone()
        if row:
            return _target(row[0])
        # A nested index or an attestation: a blob of the image like any other.
        row = self._db.execute(
            "SELECT digest, size, media_type FROM image_blobs WHERE digest = :digest AND stored "
            f"AND image IN ({_IN_REPOSITORY}) LIMIT 1",
            {"repository": repository, "digest": digest},
        ).fetchone()
        if row and ("manifest" in row[2] or "index" in row[2]):
            return Descriptor(row[2], Digest(row[0]), row[1])
        return None

    def repository_has_blob(self, repository: str, digest: str) -> bool:
        """See ReadSession."""
        row = self._db.execute(
            "SELECT 1 FROM links WHERE repository = :repository AND digest = :digest "
            "UNION ALL SELECT 1 FROM image_blobs WHERE digest = :digest "
            f"AND image IN ({_IN_REPOSITORY}) LIMIT 1",
            {"repository": repository, "digest": digest},
        ).fetchone()
        return row is not None

    def link_blob(self, repository: str, digest: str) -> None:
        """See WriteSession."""
        self._changed(
            "INSERT OR IGNORE INTO links (repository, digest) VALUES (?, ?)", repository, digest
        )

    def link_manifest(self, repository: str, target: Descriptor) -> None:
        """See WriteSession."""
        self._changed(
            "INSERT OR REPLACE INTO links (repository, digest, target) VALUES (?, ?, ?)",
            repository,
            target.digest,
            _dump(target.to_json()),
        )

    def unlink(self, repository: str, digest: str) -> bool:
        """See WriteSession."""
        return (
            self._changed(
                "DELETE FROM links WHERE repository = ? AND digest = ?", repository, digest
            )
            > 0
        )

    # --- holds

    def lease(self, lease_id: str) -> LeaseRecord | None:
        """See ReadSession."""
        found = self._leases("WHERE lease_id = ?", (lease_id,))
        return found[0] if found else None

    def leases(self) -> list[LeaseRecord]:
        """See ReadSession."""
        return self._leases("ORDER BY lease_id", ())

    def _leases(self, condition: str, values: Sequence[object]) -> list[LeaseRecord]:
        rows = self._db.execute(
            f"SELECT lease_id, created, expires, labels FROM leases {condition}",
            values,
        ).fetchall()
        return [
            LeaseRecord(lease_id, created, expires, json.loads(labels), self._held(lease_id))
            for lease_id, created, expires, labels in rows
        ]

    def _held(self, lease_id: str) -> tuple[Digest, ...]:
        rows = self._db.execute("SELECT digest FROM lease_digests WHERE lease_id = ?", (lease_id,))
        return tuple(Digest(digest) for (digest,) in rows)

    def held_digests(self, now: int) -> set[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT digest FROM image_blobs WHERE stored UNION SELECT digest FROM lease_digests "
            "WHERE lease_id IN (SELECT lease_id FROM leases WHERE expires > ?)",
            (now,),
        )
        return {digest for (digest,) in rows}

    def put_lease(self, record: LeaseRecord) -> None:
        """See WriteSession."""
        self._changed(
            "INSERT INTO leases (lease_id, created, expires, labels) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (lease_id) DO UPDATE SET expires = excluded.expires, "
            "labels = excluded.labels",
            record.lease_id,
            record.created,
            record.expires,
            _dump(dict(record.labels)),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO lease_digests (lease_id, digest) VALUES (?, ?)",
            [(record.lease_id, digest) for digest in record.digests],
        )

    def delete_lease(self, lease_id: str) -> bool:
        """See WriteSession."""
        return self._changed("DELETE FROM leases WHERE lease_id = ?", lease_id) > 0

    def delete_expired_leases(self, now: int) -> list[str]:
        """See WriteSession."""
        rows = self._db.execute(
            "DELETE FROM leases WHERE expires <= ? RETURNING lease_id", (now,)
        ).fetchall()
        return [lease_id for (lease_id,) in rows]

    # --- transfers

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
                    _dump(record.spec),
                    record.state,
                    record.attempt,
                    record.created,
                    record.started,
                    record.ended,
                    record.expires,
                    record.sequence,
                    None if record.outcome is None else _dump(record.outcome),
                    _dump(record.nodes),
                ),
            )
        except sqlite3.IntegrityError:
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
        row = self._db.execute(
            "INSERT INTO counters (name, value) VALUES ('epoch', 1) "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1 RETURNING value"
        ).fetchall()
        return int(row[0][0])

    def _changed(self, statement: str, *values: object) -> int:
        return self._db.execute(statement, values).rowcount


def _image(row: Any, names: Sequence[Name], learned: Sequence[str]) -> ImageRecord:
    (
        _,
        uid,
        target,
        image_id,
        kind,
        artifact_type,
        created,
        stored,
        last_used,
        content_size,
        unpacked_size,
        pinned,
        complete,
        platform,
        labels,
        _,
    ) = row
    return ImageRecord(
        uid,
        _target(target),
        image_id,
        kind,
        artifact_type,
        created,
        stored,
        last_used,
        content_size,
        unpacked_size,
        bool(pinned),
        bool(complete),
        platform,
        json.loads(labels),
        tuple(names),
        tuple(learned),
    )


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

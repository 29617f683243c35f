"""The queries on images and their names."""

# Queries are put together from constants and "?" marks only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from imgd_server.errors import Error, Reason
from imgd_server.metadata._database import dump, target_of
from imgd_server.metadata._listing import conditions_of
from imgd_server.metadata._places import PlaceQueries
from imgd_server.metadata._query import ImageQuery
from imgd_server.metadata._records import (
    BlobRef,
    ImageRecord,
    ImageVersion,
    Name,
    PlatformRecord,
)
from imgd_server.oci import Digest

__all__ = ["ImageQueries"]

# With its names: each statement lets go of the interpreter's lock, which costs more than the text.
_IMAGE = (
    "row, uid, target, image_id, kind, artifact_type, created, stored, last_used, content_size, "
    "unpacked_size, pinned, complete, platform, labels, doomed, "
    "(SELECT json_group_array(json_array(name, repository, by_digest)) FROM names "
    "WHERE image = images.row), "
    "(SELECT json_group_array(name) FROM repo_digests WHERE image = images.row)"
)

# A range instead of LIKE: no wildcards, and the index serves it. "g" follows "f".
_OWN_IDS = (
    "SELECT row FROM images WHERE image_id >= :low AND image_id < :high "
    "UNION SELECT row FROM images WHERE digest >= :low AND digest < :high"
)
_PLATFORM_IDS = "SELECT image FROM image_platforms WHERE image_id >= :low AND image_id < :high"


class ImageQueries(PlaceQueries):
    """The part of a session that is about images."""

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
        starts = [prefix] if ":" in prefix else [f"sha256:{prefix}", f"sha512:{prefix}"]
        for ids in (_OWN_IDS, _PLATFORM_IDS):
            rows: list[Any] = []
            for start in starts:
                rows += self._db.execute(
                    f"SELECT {_IMAGE} FROM images WHERE row IN ({ids}) "
                    "ORDER BY stored DESC, row DESC LIMIT :limit",
                    {"low": start, "high": f"{start}g", "limit": limit},
                )
            if rows:
                rows.sort(key=lambda row: (row[7], row[0]), reverse=True)
                return [*map(_image, rows[:limit])]
        return []

    def images_by_repo_digest(self, repo_digest: str) -> list[ImageRecord]:
        """See ReadSession."""
        rows = self._db.execute(
            f"SELECT {_IMAGE} FROM images WHERE row IN ("
            "SELECT image FROM repo_digests WHERE name = :name "
            "UNION SELECT image FROM names WHERE name = :name)",
            {"name": repo_digest},
        )
        return [*map(_image, rows)]

    def list_images(
        self, after: tuple[int, int] | None, limit: int, query: ImageQuery | None = None
    ) -> list[tuple[tuple[int, int], ImageRecord]]:
        """See ReadSession."""
        asof, rows = self._list(f"{_IMAGE}, change", after, limit, query)
        return [((asof, row[-1]), _image(row)) for row in rows]

    def list_versions(
        self, after: tuple[int, int] | None, limit: int, query: ImageQuery | None = None
    ) -> tuple[int, list[ImageVersion]]:
        """See ReadSession."""
        return self._list("change, row, revision", after, limit, query)

    def images_of(self, versions: Sequence[ImageVersion]) -> list[ImageRecord]:
        """See ReadSession."""
        rows = self._db.execute(
            f"SELECT {_IMAGE} FROM images WHERE row IN (SELECT value FROM json_each(?))",
            (json.dumps([row for _, row, _ in versions]),),
        )
        records = {row[0]: _image(row) for row in rows}
        return [records[row] for _, row, _ in versions]

    def _list(
        self, columns: str, after: tuple[int, int] | None, limit: int, query: ImageQuery | None
    ) -> tuple[int, list[Any]]:
        """The change that a list goes on at, and the rows of a page."""
        conditions, values = conditions_of(query) if query else ([], [])
        asof, behind = self._list_from(after)
        where = " AND ".join(
            (
                "(age, first_row, change) > (?, ?, ?) AND change <= ?",
                "(until IS NULL OR until > ?)",
                *conditions,
            )
        )
        rows = self._db.execute(
            f"SELECT {columns} FROM image_places JOIN images ON row = image "
            f"WHERE {where} ORDER BY age, first_row, change LIMIT ?",
            (*behind, asof, asof, *values, limit),
        )
        return asof, rows.fetchall()

    def count_images(self) -> int:
        """See ReadSession."""
        return int(self._db.execute("SELECT count(*) FROM images").fetchone()[0])

    def count_used_images(self) -> int:
        """See ReadSession."""
        row = self._db.execute("SELECT count(DISTINCT image) FROM containers").fetchone()
        return int(row[0])

    def content_bytes(self, *, in_use: bool = False) -> int:
        """See ReadSession."""
        used = "AND image IN (SELECT image FROM containers) " if in_use else ""
        row = self._db.execute(
            "SELECT coalesce(sum(size), 0) FROM "
            f"(SELECT max(size) AS size FROM image_blobs WHERE stored {used}GROUP BY digest)"
        ).fetchone()
        return int(row[0])

    def unused_images(self, before: int, now: int, limit: int) -> list[ImageRecord]:
        """See ReadSession."""
        rows = self._db.execute(
            f"SELECT {_IMAGE} FROM images WHERE coalesce(last_used, stored) < ? AND NOT pinned "
            "AND NOT EXISTS (SELECT 1 FROM containers WHERE image = images.row) "
            "AND NOT EXISTS (SELECT 1 FROM lease_images JOIN leases USING (lease_id) "
            "WHERE image = images.row AND expires > ?) "
            "ORDER BY coalesce(last_used, stored), row LIMIT ?",
            (before, now, limit),
        )
        return [*map(_image, rows)]

    def image_platforms(self, uid: str) -> list[PlatformRecord]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT platform, manifest, image_id, complete, content_size FROM image_platforms "
            "WHERE image = (SELECT row FROM images WHERE uid = ?) ORDER BY position",
            (uid,),
        )
        return [
            PlatformRecord(platform, target_of(manifest), image_id, bool(complete), size)
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

    def exclusive_blobs(self, uid: str, now: int | None = None) -> list[BlobRef]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT digest, size, media_type FROM image_blobs AS own "
            "WHERE image = (SELECT row FROM images WHERE uid = ?) AND stored "
            "AND NOT EXISTS (SELECT 1 FROM image_blobs AS other "
            "WHERE other.digest = own.digest AND other.image <> own.image AND other.stored) "
            "AND (? IS NULL OR NOT EXISTS (SELECT 1 FROM lease_digests "
            "JOIN leases USING (lease_id) "
            "WHERE lease_digests.digest = own.digest AND leases.expires > ?))",
            (uid, now, now),
        )
        return [BlobRef(Digest(digest), size, media_type) for digest, size, media_type in rows]

    def blobs_beside(self, uids: Sequence[str], now: int) -> set[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT digest FROM image_blobs WHERE stored AND image NOT IN "
            "(SELECT row FROM images WHERE uid IN (SELECT value FROM json_each(?))) "
            "UNION SELECT digest FROM lease_digests JOIN leases USING (lease_id) WHERE expires > ?",
            (json.dumps(list(uids)), now),
        )
        return {digest for (digest,) in rows}

    def images_with_blob(self, digest: str) -> list[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT uid FROM image_blobs JOIN images ON images.row = image "
            "WHERE image_blobs.digest = ? AND image_blobs.stored ORDER BY uid",
            (digest,),
        )
        return [uid for (uid,) in rows]

    def image_containers(self, uid: str) -> tuple[list[str], list[str]]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT container_id, state IN ('RUNNING', 'PAUSED') FROM containers "
            "WHERE image = (SELECT row FROM images WHERE uid = ?) ORDER BY container_id",
            (uid,),
        ).fetchall()
        return [one for one, runs in rows if runs], [one for one, runs in rows if not runs]

    def image_leases(self, uid: str, now: int) -> list[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT lease_id FROM lease_images JOIN leases USING (lease_id) "
            "WHERE image = (SELECT row FROM images WHERE uid = ?) AND expires > ? "
            "ORDER BY lease_id",
            (uid, now),
        )
        return [lease_id for (lease_id,) in rows]

    def _one_image(self, condition: str, values: Sequence[object]) -> ImageRecord | None:
        row = self._db.execute(f"SELECT {_IMAGE} FROM images WHERE {condition}", values).fetchone()
        return _image(row) if row else None

    def put_image(
        self,
        record: ImageRecord,
        platforms: Sequence[PlatformRecord],
        blobs: Iterable[BlobRef],
    ) -> ImageRecord:
        """See WriteSession."""
        self._db.execute(
            "INSERT INTO images (uid, digest, target, image_id, kind, artifact_type, created, "
            "stored, last_used, content_size, unpacked_size, pinned, complete, platform, labels) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?) "
            "ON CONFLICT (digest) DO UPDATE SET target = excluded.target, "
            "image_id = excluded.image_id, kind = excluded.kind, "
            "artifact_type = excluded.artifact_type, created = excluded.created, "
            "last_used = coalesce(excluded.last_used, last_used), "
            "unpacked_size = coalesce(excluded.unpacked_size, unpacked_size), "
            "platform = excluded.platform, labels = excluded.labels",
            (
                record.uid,
                record.target.digest,
                dump(record.target.to_json()),
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
                dump(dict(record.labels)),
            ),
        )
        row, uid = self._db.execute(
            "SELECT row, uid FROM images WHERE digest = ?", (record.target.digest,)
        ).fetchone()
        self._put_parts(row, platforms, blobs)
        self._db.execute("DELETE FROM image_labels WHERE image = ?", (row,))
        self._db.executemany(
            "INSERT INTO image_labels (image, key, value) VALUES (?, ?, ?)",
            [(row, key, value) for key, value in record.labels.items()],
        )
        for name in record.names:
            self.put_name(name, uid)
        for learned in record.repo_digests:
            self._db.execute(
                "INSERT OR IGNORE INTO repo_digests (name, image, repository) VALUES (?, ?, ?)",
                (learned, row, learned.partition("@")[0]),
            )
        self._place(row)
        known = self.image(uid)
        assert known is not None
        return known

    def _put_parts(
        self, row: int, platforms: Sequence[PlatformRecord], blobs: Iterable[BlobRef]
    ) -> None:
        self._db.executemany(
            "INSERT INTO image_platforms VALUES (?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (image, digest) DO UPDATE SET position = excluded.position, "
            # Of a manifest that is not stored less is known, and nothing better.
            "platform = coalesce(nullif(excluded.platform, ''), platform), "
            "image_id = max(image_id, excluded.image_id), "
            "complete = max(complete, excluded.complete), "
            "content_size = max(content_size, excluded.content_size)",
            [
                (
                    row,
                    one.manifest.digest,
                    position,
                    one.platform,
                    dump(one.manifest.to_json()),
                    one.image_id,
                    one.complete,
                    one.content_size,
                )
                for position, one in enumerate(platforms)
            ],
        )
        self._db.executemany(
            "INSERT INTO image_blobs VALUES (?, ?, ?, ?, ?) ON CONFLICT (image, digest) "
            "DO UPDATE SET stored = max(stored, excluded.stored), "
            # That of what is stored is known, the other one only claimed.
            "size = CASE WHEN excluded.stored THEN excluded.size ELSE size END",
            [(row, one.digest, one.size, one.media_type, one.stored) for one in blobs],
        )
        self._sum_up(row)

    def _sum_up(self, row: int) -> None:
        self.lists_changed = True
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
        self.lists_changed = True
        found = self._db.execute(
            "SELECT row, doomed, former.image, "
            "(SELECT digest FROM images AS other WHERE other.row = former.image) "
            "FROM images LEFT JOIN names AS former ON former.name = ? WHERE uid = ?",
            (name.name, uid),
        ).fetchone()
        if found is None:
            raise Error(
                Reason.IMAGE_NOT_FOUND,
                f"no such image: images/{uid}",
                metadata={"image": f"images/{uid}"},
            )
        row, doomed, former, digest = found
        self._db.execute(
            "INSERT INTO names (name, image, repository, by_digest) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (name) DO UPDATE SET image = excluded.image",
            (name.name, row, name.repository, name.by_digest),
        )
        if doomed:
            self.set_doomed(uid, False)
        for image in {row, former or row}:
            self._place(image)
        return None if digest is None else str(digest)

    def delete_name(self, name: str) -> bool:
        """See WriteSession."""
        self.lists_changed = True
        gone = self._db.execute(
            "DELETE FROM names WHERE name = ? RETURNING image", (name,)
        ).fetchall()
        for (image,) in gone:
            self._place(image)
        return bool(gone)

    def forget_repo_digest(self, repo_digest: str) -> bool:
        """See WriteSession."""
        self.lists_changed = True
        gone = self._db.execute(
            "DELETE FROM repo_digests WHERE name = ? RETURNING image", (repo_digest,)
        ).fetchall()
        for (image,) in gone:
            self._place(image)
        return bool(gone)

    def delete_image(self, uid: str) -> None:
        """See WriteSession."""
        self.lists_changed = True
        found = self._db.execute("SELECT row FROM images WHERE uid = ?", (uid,)).fetchall()
        for (row,) in found:
            self._displace(row)
            self._changed("DELETE FROM images WHERE row = ?", row)

    def lose_blobs(self, uid: str, digests: Sequence[str]) -> None:
        """See WriteSession."""
        found = self._db.execute("SELECT row FROM images WHERE uid = ?", (uid,)).fetchall()
        for (row,) in found:
            self._db.executemany(
                "UPDATE image_blobs SET stored = 0 WHERE image = ? AND digest = ?",
                [(row, digest) for digest in digests],
            )
            self._changed(
                "UPDATE image_platforms SET complete = 0, content_size = 0 WHERE image = ?", row
            )
            self._sum_up(row)

    def touch_image(self, uid: str, now: int) -> None:
        """See WriteSession."""
        self._changed("UPDATE images SET last_used = ? WHERE uid = ?", now, uid)

    def set_pinned(self, uid: str, pinned: bool) -> None:
        """See WriteSession."""
        self.lists_changed = True
        self._changed("UPDATE images SET pinned = ? WHERE uid = ?", pinned, uid)

    def set_unpacked_size(self, uid: str, size: int) -> None:
        """See WriteSession."""
        self.lists_changed = True
        self._changed("UPDATE images SET unpacked_size = ? WHERE uid = ?", size, uid)

    def add_snapshots(self, uid: str, chain_ids: Iterable[str]) -> None:
        """See WriteSession."""
        self._db.executemany(
            "INSERT OR IGNORE INTO image_snapshots (image, chain_id) "
            "SELECT row, ? FROM images WHERE uid = ?",
            [(chain_id, uid) for chain_id in chain_ids],
        )

    def set_doomed(self, uid: str, doomed: bool) -> None:
        """See WriteSession."""
        self._changed("UPDATE images SET doomed = ? WHERE uid = ?", doomed, uid)


def _image(row: Any) -> ImageRecord:
    """The record in the columns of `_IMAGE`."""
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
        doomed,
        names,
        learned,
    ) = row[:18]
    return ImageRecord(
        uid,
        target_of(target),
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
        tuple(Name(name, of, bool(by_digest)) for name, of, by_digest in sorted(json.loads(names))),
        tuple(sorted(json.loads(learned))),
        bool(doomed),
    )

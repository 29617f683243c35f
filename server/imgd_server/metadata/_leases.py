"""The queries on leases, and on what is held."""

# Queries are put together from constants and "?" marks only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from imgd_server.metadata._database import Queries, dump
from imgd_server.metadata._records import OWN_LEASE, TRANSFER_LEASE, LeaseRecord
from imgd_server.oci import Digest

__all__ = ["LeaseQueries"]

# What unexpired leases hold, and the referrers (signatures, bills of materials) of what they or an
# image hold, their own referrers, and so on.
_HELD = (
    "WITH RECURSIVE leased (digest) AS (SELECT lease_digests.digest FROM lease_digests "
    "JOIN leases USING (lease_id) WHERE expires > :now), "
    "referring (digest) AS ("
    "SELECT blob FROM links JOIN link_blobs USING (repository, digest) WHERE subject IS NOT NULL "
    "AND (EXISTS (SELECT 1 FROM image_blobs WHERE image_blobs.digest = subject AND stored) "
    "OR subject IN (SELECT digest FROM leased)) "
    "UNION SELECT blob FROM referring JOIN links ON subject = referring.digest "
    "JOIN link_blobs ON link_blobs.repository = links.repository "
    "AND link_blobs.digest = links.digest) "
)

# What some blobs might be held for: each with itself, and with what the referrers refer to that are
# made of it, and so on up; and whether an image or an unexpired lease holds that. From the blob up,
# for a collection asks for few at a time, and there may be referrers by the ten thousand.
_ABOVE = (
    "WITH RECURSIVE above (digest, held_for) AS (SELECT value, value FROM json_each(:digests) "
    "UNION SELECT held_for, subject FROM above JOIN link_blobs ON blob = held_for "
    "JOIN links ON links.repository = link_blobs.repository AND links.digest = link_blobs.digest "
    "WHERE subject IS NOT NULL) "
    "SELECT digest, held_for, EXISTS "
    "(SELECT 1 FROM image_blobs WHERE image_blobs.digest = held_for AND stored) OR EXISTS "
    "(SELECT 1 FROM lease_digests JOIN leases USING (lease_id) "
    "WHERE lease_digests.digest = held_for AND expires > :now) AS is_held FROM above "
    # What nothing holds or needs tells nothing, and each row has the interpreter's lock change
    # hands.
    "WHERE is_held OR digest <> held_for"
)


class LeaseQueries(Queries):
    """The part of a session that is about leases."""

    def lease(self, lease_id: str) -> LeaseRecord | None:
        """See ReadSession."""
        found = self._leases("WHERE lease_id = ?", (lease_id,))
        return found[0] if found else None

    def list_leases(self, after: str, now: int, limit: int) -> list[LeaseRecord]:
        """See ReadSession."""
        return self._leases(
            "WHERE lease_id > ? AND instr(lease_id, ?) = 0 AND expires > ? "
            "ORDER BY lease_id LIMIT ?",
            (after, OWN_LEASE, now, limit),
        )

    def expired_leases(self, now: int, limit: int) -> list[LeaseRecord]:
        """See ReadSession."""
        return self._leases(
            "WHERE expires <= ? ORDER BY expires LIMIT ?", (now, limit), digests=False
        )

    def next_expiry(self) -> int | None:
        """See ReadSession."""
        [(lease,)] = self._db.execute("SELECT min(expires) FROM leases").fetchall()
        [(container,)] = self._db.execute(
            "SELECT min(expires) FROM containers WHERE expires IS NOT NULL"
        ).fetchall()
        return min((one for one in (lease, container) if one is not None), default=None)

    def _leases(
        self, condition: str, values: Sequence[object], *, digests: bool = True
    ) -> list[LeaseRecord]:
        rows = self._db.execute(
            f"SELECT lease_id, created, expires, labels FROM leases {condition}",
            values,
        ).fetchall()
        return [
            LeaseRecord(
                lease_id,
                created,
                expires,
                json.loads(labels),
                self._held(lease_id) if digests else (),
                self._leased_images(lease_id),
            )
            for lease_id, created, expires, labels in rows
        ]

    def _held(self, lease_id: str) -> tuple[Digest, ...]:
        rows = self._db.execute("SELECT digest FROM lease_digests WHERE lease_id = ?", (lease_id,))
        return tuple(Digest(digest) for (digest,) in rows)

    def _leased_images(self, lease_id: str) -> tuple[str, ...]:
        rows = self._db.execute(
            "SELECT uid FROM lease_images JOIN images ON images.row = lease_images.image "
            "WHERE lease_id = ? ORDER BY uid",
            (lease_id,),
        )
        return tuple(uid for (uid,) in rows)

    def held_among(self, digests: Sequence[str], now: int) -> set[str]:
        """See ReadSession."""
        rows = self._db.execute(_ABOVE, {"digests": json.dumps(list(digests)), "now": now})
        below: dict[str, list[str]] = defaultdict(list)
        found: list[str] = []
        for digest, above, is_held in rows:
            if digest != above:
                below[above].append(digest)
            if is_held:
                found.append(above)
        # What is held holds what refers to it, and so on.
        held = set(found)
        while found:
            more = [one for one in below[found.pop()] if one not in held]
            held.update(more)
            found += more
        return held.intersection(digests)

    def held_snapshots(self, chain_ids: Sequence[str], now: int) -> set[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT value FROM json_each(:chains) WHERE EXISTS "
            "(SELECT 1 FROM image_snapshots WHERE chain_id = value) OR EXISTS "
            "(SELECT 1 FROM lease_digests JOIN leases USING (lease_id) "
            "WHERE digest = value AND expires > :now)",
            {"chains": json.dumps(list(chain_ids)), "now": now},
        )
        return {chain_id for (chain_id,) in rows}

    def held_digests(self, now: int) -> set[str]:
        """See ReadSession."""
        # In some hundred rows, for there may be a hundred thousand digests: by two of their digits.
        rows = self._db.execute(
            f"{_HELD} SELECT json_group_array(digest) FROM ("
            "SELECT digest FROM image_blobs WHERE stored "
            "UNION SELECT digest FROM leased UNION SELECT digest FROM referring"
            ") GROUP BY substr(digest, 8, 2)",
            {"now": now},
        )
        held: set[str] = set()
        for (digests,) in rows:
            held.update(json.loads(digests))
        return held

    def put_lease(self, record: LeaseRecord) -> None:
        """See WriteSession."""
        self._changed(
            "INSERT INTO leases (lease_id, created, expires, labels) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (lease_id) DO UPDATE SET expires = excluded.expires, "
            "labels = excluded.labels",
            record.lease_id,
            record.created,
            record.expires,
            dump(dict(record.labels)),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO lease_digests (lease_id, digest) VALUES (?, ?)",
            [(record.lease_id, digest) for digest in record.digests],
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO lease_images (lease_id, image) "
            "VALUES (?, (SELECT row FROM images WHERE uid = ?))",
            [(record.lease_id, uid) for uid in record.images],
        )

    def delete_lease(self, lease_id: str) -> bool:
        """See WriteSession."""
        return self._changed("DELETE FROM leases WHERE lease_id = ?", lease_id) > 0

    def delete_transfer_leases(self, digest: str = "") -> int:
        """See WriteSession."""
        among = ""
        values: list[object] = [TRANSFER_LEASE, TRANSFER_LEASE + "~", len(TRANSFER_LEASE) + 1]
        if digest:
            among = "AND lease_id IN (SELECT lease_id FROM lease_digests WHERE digest = ?)"
            values.append(digest)
        return self._changed(
            "DELETE FROM leases WHERE lease_id BETWEEN ? AND ? AND NOT EXISTS "
            "(SELECT 1 FROM transfers WHERE uid = substr(lease_id, ?) AND ended IS NULL) "
            f"{among}",
            *values,
        )

"""The queries on what came with credentials, and on who has proven his own."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence

from imgd_server.metadata._database import Queries

__all__ = ["ProofQueries"]


class ProofQueries(Queries):
    """The part of a session that is about private content."""

    def has_private_content(self) -> bool:
        """See ReadSession."""
        return self._db.execute("SELECT 1 FROM private_content LIMIT 1").fetchone() is not None

    def is_private(self, digest: str) -> bool:
        """See ReadSession."""
        found = self._db.execute(
            "SELECT 1 FROM private_content WHERE digest = ? LIMIT 1", (digest,)
        ).fetchone()
        return found is not None

    def givers(self, digest: str) -> list[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT repository FROM private_content WHERE digest = ? AND given ORDER BY repository",
            (digest,),
        )
        return [repository for (repository,) in rows]

    def closed_to(self, repository: str, digests: Sequence[str]) -> dict[str, list[str]]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT digest, repository, given FROM private_content "
            "WHERE digest IN (SELECT value FROM json_each(?)) ORDER BY digest, repository",
            (json.dumps(list(digests)),),
        ).fetchall()
        givers: dict[str, list[str]] = defaultdict(list)
        open_here = {digest for digest, one, given in rows if one == repository and given}
        for digest, one, given in rows:
            if one != repository and digest not in open_here:
                givers[digest] += [one] if given else []
        return dict(givers)

    def loose_private_content(self, now: int, limit: int) -> list[str]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT DISTINCT digest FROM private_content AS one WHERE NOT EXISTS "
            "(SELECT 1 FROM image_blobs WHERE image_blobs.digest = one.digest AND stored) "
            "AND NOT EXISTS (SELECT 1 FROM lease_digests JOIN leases USING (lease_id) "
            "WHERE lease_digests.digest = one.digest AND expires > ?) ORDER BY digest LIMIT ?",
            (now, limit),
        )
        return [digest for (digest,) in rows]

    def proven(self, repository: str, scope: str) -> int | None:
        """See ReadSession."""
        row = self._db.execute(
            "SELECT proven FROM proofs WHERE repository = ? AND scope = ?", (repository, scope)
        ).fetchone()
        return int(row[0]) if row else None

    def mark_private(self, repository: str, digests: Sequence[str]) -> None:
        """See WriteSession."""
        self._db.executemany(
            "INSERT OR IGNORE INTO private_content (digest, repository, given) VALUES (?, ?, 0)",
            [(digest, repository) for digest in digests],
        )

    def give_private(self, repository: str, digests: Sequence[str]) -> None:
        """See WriteSession."""
        self._changed(
            "INSERT INTO private_content (digest, repository, given) "
            "SELECT DISTINCT digest, ?, 1 FROM private_content "
            "WHERE digest IN (SELECT value FROM json_each(?)) "
            "ON CONFLICT DO UPDATE SET given = 1",
            repository,
            json.dumps(list(digests)),
        )

    def free_private(self, digests: Sequence[str]) -> None:
        """See WriteSession."""
        self._changed(
            "DELETE FROM private_content WHERE digest IN (SELECT value FROM json_each(?))",
            json.dumps(list(digests)),
        )

    def put_proof(self, repository: str, scope: str, proven: int, oldest: int) -> None:
        """See WriteSession."""
        self._changed("DELETE FROM proofs WHERE proven < ?", oldest)
        self._changed(
            "INSERT INTO proofs (repository, scope, proven) VALUES (?, ?, ?) "
            "ON CONFLICT DO UPDATE SET proven = max(proven, excluded.proven)",
            repository,
            scope,
            proven,
        )

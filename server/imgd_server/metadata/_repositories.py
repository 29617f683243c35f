"""The queries of the registry inside: what a repository shows."""

# Queries are put together from constants and "?" marks only; values are always bound.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from imgd_server.metadata._database import Queries, dump, target_of
from imgd_server.oci import Descriptor, Digest, media

__all__ = ["RepositoryQueries"]

# An image belongs to a repository by a name there, or by a digest that was learned there.
_IN_REPOSITORY = (
    "SELECT image FROM names WHERE repository = :repository "
    "UNION SELECT image FROM repo_digests WHERE repository = :repository"
)


# A page of referrers ends when their descriptors, which hold annotations, have so many bytes.
_MAX_REFERRERS_BYTES = 1 << 20


class RepositoryQueries(Queries):
    """The part of a session that is about repositories."""

    def has_repository(self, repository: str) -> bool:
        """See ReadSession."""
        row = self._db.execute(
            "SELECT 1 FROM names WHERE repository = :repository "
            "UNION ALL SELECT 1 FROM repo_digests WHERE repository = :repository "
            "UNION ALL SELECT 1 FROM links WHERE repository = :repository LIMIT 1",
            {"repository": repository},
        ).fetchone()
        return row is not None

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
            f"AND row IN ({_IN_REPOSITORY}) LIMIT 1",
            {"repository": repository, "digest": digest},
        ).fetchone()
        if row:
            return target_of(row[0])
        # A child, nested index or attestation: a blob of the image like any other.
        row = self._db.execute(
            "SELECT digest, size, media_type FROM image_blobs WHERE digest = :digest AND stored "
            f"AND image IN ({_IN_REPOSITORY}) LIMIT 1",
            {"repository": repository, "digest": digest},
        ).fetchone()
        if row and (media.is_manifest(row[2]) or media.is_index(row[2])):
            return Descriptor(row[2], Digest(row[0]), row[1])
        return None

    def repository_has_blob(self, repository: str, digest: str) -> bool:
        """See ReadSession."""
        row = self._db.execute(
            "SELECT 1 FROM links WHERE repository = :repository AND digest = :digest "
            "UNION ALL SELECT 1 FROM link_blobs WHERE repository = :repository AND blob = :digest "
            "UNION ALL SELECT 1 FROM image_blobs WHERE digest = :digest AND stored "
            f"AND image IN ({_IN_REPOSITORY}) LIMIT 1",
            {"repository": repository, "digest": digest},
        ).fetchone()
        return row is not None

    def any_repository_has_blob(self, digest: str) -> bool:
        """See ReadSession."""
        row = self._db.execute(
            "SELECT 1 FROM links WHERE digest = :digest "
            "UNION ALL SELECT 1 FROM link_blobs WHERE blob = :digest "
            "UNION ALL SELECT 1 FROM image_blobs WHERE digest = :digest AND stored AND "
            "(image IN (SELECT image FROM names) OR image IN (SELECT image FROM repo_digests)) "
            "LIMIT 1",
            {"digest": digest},
        ).fetchone()
        return row is not None

    def linked_digests(self, after: str, limit: int) -> list[Digest]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT DISTINCT digest FROM links WHERE digest > ? ORDER BY digest LIMIT ?",
            (after, limit),
        )
        return [Digest(digest) for (digest,) in rows]

    def repository_holder(self, repository: str, digest: str) -> Digest | None:
        """See ReadSession."""
        row = self._db.execute(
            "SELECT digest FROM link_blobs "
            "WHERE repository = :repository AND blob = :digest AND digest <> :digest "
            "UNION ALL SELECT images.digest FROM image_blobs JOIN images ON images.row = image "
            "WHERE image_blobs.digest = :digest AND images.digest <> :digest "
            f"AND image IN ({_IN_REPOSITORY}) LIMIT 1",
            {"repository": repository, "digest": digest},
        ).fetchone()
        return Digest(row[0]) if row else None

    def referrers(
        self, repository: str, subject: str, artifact_type: str, after: str, limit: int
    ) -> tuple[list[Descriptor], bool]:
        """See ReadSession."""
        rows = self._db.execute(
            "SELECT target FROM links WHERE subject = ? AND repository = ? AND digest > ? "
            "AND ? IN ('', json_extract(target, '$.artifactType')) ORDER BY digest LIMIT ?",
            (subject, repository, after, artifact_type, limit + 1),
        )
        found: list[Descriptor] = []
        size = 0
        for (target,) in rows:
            size += len(target)
            if len(found) == limit or (found and size > _MAX_REFERRERS_BYTES):
                return found, True
            found.append(target_of(target))
        return found, False

    def link_blob(self, repository: str, digest: str) -> None:
        """See WriteSession."""
        self._changed(
            "INSERT OR IGNORE INTO links (repository, digest) VALUES (?, ?)", repository, digest
        )

    def link_manifest(
        self,
        repository: str,
        target: Descriptor,
        *,
        subject: str | None = None,
        blobs: Iterable[str] = (),
    ) -> None:
        """See WriteSession."""
        self._changed(
            "INSERT INTO links (repository, digest, target, subject) VALUES (?, ?, ?, ?) "
            "ON CONFLICT DO UPDATE SET target = excluded.target, subject = excluded.subject",
            repository,
            target.digest,
            dump(target.to_json()),
            subject,
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO link_blobs (repository, digest, blob) VALUES (?, ?, ?)",
            [(repository, target.digest, blob) for blob in blobs],
        )

    def unlink(self, repository: str, digest: str) -> bool:
        """See WriteSession."""
        return (
            self._changed(
                "DELETE FROM links WHERE repository = ? AND digest = ?", repository, digest
            )
            > 0
        )

    def forget_links(self, digests: Sequence[str]) -> set[str]:
        """See WriteSession."""
        rows = self._db.execute(
            "DELETE FROM links WHERE digest IN (SELECT value FROM json_each(?)) RETURNING digest",
            (json.dumps(list(digests)),),
        )
        return {digest for (digest,) in rows}

"""The SQLite schema, as numbered steps. A step that was released never changes."""

from __future__ import annotations

import sqlite3

from imgd_server.errors import Error, Reason
from imgd_server.oci import FormatError, Platform

__all__ = ["MIGRATIONS", "migrate"]

# Marks the file as ours ("imgd" in ASCII), so that another program's database is refused.
_APPLICATION_ID = 0x696D6764

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE images (
        row INTEGER PRIMARY KEY,
        uid TEXT NOT NULL UNIQUE,
        digest TEXT NOT NULL UNIQUE,
        target TEXT NOT NULL,
        image_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        artifact_type TEXT NOT NULL,
        created INTEGER,
        stored INTEGER NOT NULL,
        last_used INTEGER,
        content_size INTEGER NOT NULL,
        unpacked_size INTEGER,
        pinned INTEGER NOT NULL,
        complete INTEGER NOT NULL,
        platform TEXT NOT NULL,
        labels TEXT NOT NULL,
        -- Where it stands in lists: images without a create time come last.
        place INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX images_place ON images (place DESC, row DESC);
    CREATE INDEX images_image_id ON images (image_id);

    CREATE TABLE names (
        name TEXT PRIMARY KEY,
        image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
        repository TEXT NOT NULL,
        by_digest INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX names_image ON names (image);
    CREATE INDEX names_repository ON names (repository, by_digest, name);

    CREATE TABLE repo_digests (
        name TEXT NOT NULL,
        image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
        repository TEXT NOT NULL,
        PRIMARY KEY (name, image)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX repo_digests_image ON repo_digests (image);
    CREATE INDEX repo_digests_repository ON repo_digests (repository);

    CREATE TABLE image_platforms (
        image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
        digest TEXT NOT NULL,
        position INTEGER NOT NULL,
        platform TEXT NOT NULL,
        manifest TEXT NOT NULL,
        image_id TEXT NOT NULL,
        complete INTEGER NOT NULL,
        content_size INTEGER NOT NULL,
        PRIMARY KEY (image, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_platforms_image_id ON image_platforms (image_id);

    CREATE TABLE image_blobs (
        image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL,
        media_type TEXT NOT NULL,
        stored INTEGER NOT NULL,
        PRIMARY KEY (image, digest)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_blobs_digest ON image_blobs (digest, image);

    CREATE TABLE links (
        repository TEXT NOT NULL,
        digest TEXT NOT NULL,
        target TEXT,
        PRIMARY KEY (repository, digest)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE leases (
        lease_id TEXT PRIMARY KEY,
        created INTEGER NOT NULL,
        expires INTEGER NOT NULL,
        labels TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX leases_expires ON leases (expires);
    CREATE TABLE lease_digests (
        lease_id TEXT NOT NULL REFERENCES leases ON DELETE CASCADE,
        digest TEXT NOT NULL,
        PRIMARY KEY (lease_id, digest)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE transfers (
        uid TEXT PRIMARY KEY,
        request_id TEXT NOT NULL,
        spec TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        created INTEGER NOT NULL,
        started INTEGER,
        ended INTEGER,
        expires INTEGER,
        sequence INTEGER NOT NULL,
        outcome TEXT,
        nodes TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX transfers_request ON transfers (request_id) WHERE request_id <> '';
    CREATE INDEX transfers_created ON transfers (created DESC, uid DESC);
    CREATE INDEX transfers_state ON transfers (state, created DESC, uid DESC);
    CREATE INDEX transfers_expires ON transfers (expires) WHERE expires IS NOT NULL;

    CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
    """
    -- Removal was forced while something held the image: it goes with the last hold.
    ALTER TABLE images ADD COLUMN doomed INTEGER NOT NULL DEFAULT 0;
    CREATE INDEX images_stored ON images (stored);
    CREATE INDEX images_used ON images (coalesce(last_used, stored));

    CREATE TABLE image_labels (
        image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
        key TEXT NOT NULL,
        value TEXT NOT NULL,
        PRIMARY KEY (image, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_labels_key ON image_labels (key, value, image);
    INSERT INTO image_labels
        SELECT images.row, label.key, label.value FROM images, json_each(images.labels) AS label;

    CREATE TABLE containers (
        container_id TEXT PRIMARY KEY,
        -- No cascade: nothing deletes an image that a container uses.
        image INTEGER NOT NULL REFERENCES images,
        image_reference TEXT NOT NULL,
        image_id TEXT NOT NULL,
        state TEXT NOT NULL,
        labels TEXT NOT NULL,
        created INTEGER NOT NULL,
        started INTEGER,
        stopped INTEGER,
        exit_status INTEGER,
        heartbeat INTEGER,
        expires INTEGER,
        platform TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX containers_image ON containers (image);
    CREATE INDEX containers_created ON containers (created DESC, container_id DESC);
    CREATE INDEX containers_expires ON containers (expires) WHERE expires IS NOT NULL;

    CREATE TABLE lease_images (
        lease_id TEXT NOT NULL REFERENCES leases ON DELETE CASCADE,
        image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
        PRIMARY KEY (lease_id, image)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX lease_images_image ON lease_images (image);
    CREATE INDEX lease_digests_digest ON lease_digests (digest);
    CREATE INDEX links_digest ON links (digest);

    CREATE TABLE events (
        cursor INTEGER PRIMARY KEY,
        time INTEGER NOT NULL,
        kind TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        attributes TEXT NOT NULL
    ) STRICT;
    CREATE INDEX events_time ON events (time);

    CREATE TABLE answers (
        request_id TEXT PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        answer BLOB NOT NULL,
        expires INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX answers_expires ON answers (expires);
    """,
    """
    -- Repository and tag, as a table shows them; a repository that has no tag of the image, but a
    -- digest, has a row without one. The blank sorts before all that names hold; the plus signs
    -- keep the planner from reading whole repositories.
    CREATE VIEW image_rows (image, text) AS
        SELECT image, repository || ' ' || substr(name, length(repository) + 2)
            FROM names WHERE by_digest = 0
        UNION ALL SELECT image, repository || ' <none>' FROM names AS one
            WHERE by_digest = 1 AND NOT EXISTS (SELECT 1 FROM names AS tag WHERE
            tag.image = one.image AND +tag.repository = one.repository AND tag.by_digest = 0)
        UNION ALL SELECT image, repository || ' <none>' FROM repo_digests AS one
            WHERE NOT EXISTS (SELECT 1 FROM names AS tag WHERE
            tag.image = one.image AND +tag.repository = one.repository AND tag.by_digest = 0);

    -- Where images stand, and stood, in lists. The place of an image that is gone stays for a list
    -- that goes on behind it.
    CREATE TABLE image_places (
        change INTEGER PRIMARY KEY,
        until INTEGER,
        image INTEGER REFERENCES images ON DELETE SET NULL,
        -- Newest first, and those without a create time last.
        age INTEGER NOT NULL,
        first_row TEXT NOT NULL
    ) STRICT;
    INSERT INTO image_places (change, image, age, first_row)
        SELECT row_number() OVER (ORDER BY row), row, coalesce(-created, 1 << 62),
            coalesce((SELECT min(text) FROM image_rows WHERE image = row), '<none> <none>')
            FROM images;
    INSERT INTO counters (name, value) SELECT 'image_places', count(*) FROM images;
    CREATE INDEX image_places_order ON image_places (age, first_row, change, until, image);
    CREATE INDEX image_places_image ON image_places (image, until);
    CREATE INDEX image_places_until ON image_places (until) WHERE until IS NOT NULL;
    DROP INDEX images_place;
    ALTER TABLE images DROP COLUMN place;
    """,
    """
    -- Of a manifest that was pushed: what it refers to (a referrer's subject), and what it needs.
    ALTER TABLE links ADD COLUMN subject TEXT;
    CREATE INDEX links_subject ON links (subject, repository, digest) WHERE subject IS NOT NULL;
    CREATE TABLE link_blobs (
        repository TEXT NOT NULL,
        digest TEXT NOT NULL,
        blob TEXT NOT NULL,
        PRIMARY KEY (repository, digest, blob),
        FOREIGN KEY (repository, digest) REFERENCES links ON DELETE CASCADE
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX link_blobs_blob ON link_blobs (repository, blob);
    """,
    """
    -- What was unpacked for an image, by chain ID: it is kept as long as the image.
    CREATE TABLE image_snapshots (
        image INTEGER NOT NULL REFERENCES images ON DELETE CASCADE,
        chain_id TEXT NOT NULL,
        PRIMARY KEY (image, chain_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX image_snapshots_chain ON image_snapshots (chain_id);
    -- A container's root file system, as JSON; empty when it has none.
    ALTER TABLE containers ADD COLUMN rootfs TEXT NOT NULL DEFAULT '';
    """,
    """
    -- Platforms as filters write them, not as the manifests do.
    UPDATE image_platforms SET platform = normal_platform(platform) WHERE platform <> '';
    UPDATE images SET platform = normal_platform(platform) WHERE platform <> '';
    -- By the blob alone: what is held is looked for from the blob up, in every repository.
    DROP INDEX link_blobs_blob;
    CREATE INDEX link_blobs_blob ON link_blobs (blob, repository);
    """,
    """
    -- What came with credentials, by the repositories that it was asked of, and whether they gave
    -- it; and who (a keyed hash of credentials) may read which repository, as it said then.
    CREATE TABLE private_content (
        digest TEXT NOT NULL,
        repository TEXT NOT NULL,
        given INTEGER NOT NULL,
        PRIMARY KEY (digest, repository)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE proofs (
        repository TEXT NOT NULL,
        scope TEXT NOT NULL,
        proven INTEGER NOT NULL,
        PRIMARY KEY (repository, scope)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX proofs_proven ON proofs (proven);
    """,
    """
    -- What lists show of an image has a number that it never had before: by triggers, so that no
    -- change is left out, and at random, so that neither a row that is used again nor a change that
    -- was rolled back can bring a number back.
    ALTER TABLE images ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
    CREATE TRIGGER image_changed AFTER UPDATE OF uid, digest, target, image_id, kind, artifact_type,
        created, stored, content_size, unpacked_size, pinned, complete, platform, labels ON images
        BEGIN UPDATE images SET revision = random() WHERE row = new.row; END;
    CREATE TRIGGER name_added AFTER INSERT ON names BEGIN
        UPDATE images SET revision = random() WHERE row = new.image; END;
    CREATE TRIGGER name_changed AFTER UPDATE ON names BEGIN
        UPDATE images SET revision = random() WHERE row IN (old.image, new.image); END;
    CREATE TRIGGER name_deleted AFTER DELETE ON names BEGIN
        UPDATE images SET revision = random() WHERE row = old.image; END;
    CREATE TRIGGER repo_digest_added AFTER INSERT ON repo_digests BEGIN
        UPDATE images SET revision = random() WHERE row = new.image; END;
    CREATE TRIGGER repo_digest_deleted AFTER DELETE ON repo_digests BEGIN
        UPDATE images SET revision = random() WHERE row = old.image; END;
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Brings the schema up to date, each step in a transaction, and turns on the write-ahead log.

    Raises STORE_CORRUPT, and changes nothing, for a file that is not ours, or that a newer imgd
    has written.
    """
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if mark != _APPLICATION_ID and (tables or version or mark):
        raise Error(Reason.STORE_CORRUPT, "the metadata file belongs to another program")
    if version > len(MIGRATIONS):
        raise Error(
            Reason.STORE_CORRUPT,
            f"the metadata have schema {version}, and this imgd knows {len(MIGRATIONS)}: "
            "use the imgd that wrote them, or a newer one",
        )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.create_function("normal_platform", 1, _normal_platform, deterministic=True)
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {step}; PRAGMA application_id = {_APPLICATION_ID}; "
            f"PRAGMA user_version = {number}; COMMIT;"
        )


def _normal_platform(text: str) -> str:
    """For steps: a platform in its canonical spelling, or as it is where it does not read."""
    try:
        return str(Platform.parse(text))
    except FormatError:
        return text

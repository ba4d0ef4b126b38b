-- The form in which conversations with bound reasoning went up on their first turn. Losing this file makes providers refuse such reasoning
-- once, in conversations under way. SQLite, WAL, synchronous=NORMAL: a loss of power costs the last moments, never the file.

CREATE TABLE IF NOT EXISTS pinned_forms (
    tenant     TEXT NOT NULL,
    digest     BLOB NOT NULL,
    body       BLOB NOT NULL,
    expires_ns INTEGER NOT NULL,
    PRIMARY KEY (tenant, digest)
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS pins (
    tenant     TEXT NOT NULL,
    key        BLOB NOT NULL,
    digest     BLOB NOT NULL,
    expires_ns INTEGER NOT NULL,
    PRIMARY KEY (tenant, key)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS pins_by_expiry ON pins (expires_ns);
CREATE INDEX IF NOT EXISTS pinned_forms_by_expiry ON pinned_forms (expires_ns);

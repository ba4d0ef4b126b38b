-- Kept answers. Losing this file costs misses, nothing else. SQLite, WAL, synchronous=OFF.

CREATE TABLE IF NOT EXISTS answers (
    tenant     TEXT NOT NULL,
    identity   BLOB NOT NULL,
    expires_ns INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    answer     BLOB NOT NULL,      -- KeptAnswer, msgpack
    PRIMARY KEY (tenant, identity)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS answers_by_expiry ON answers (expires_ns);

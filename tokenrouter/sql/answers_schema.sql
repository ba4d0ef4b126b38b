-- Kept answers. Losing this file costs misses, nothing else. SQLite, WAL, synchronous=OFF.

DROP TABLE IF EXISTS answers;      -- of an earlier version, without whose and which

CREATE TABLE IF NOT EXISTS kept (
    tenant     TEXT NOT NULL,
    identity   BLOB NOT NULL,
    expires_ns INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    key_id     TEXT NOT NULL,
    vendor     TEXT NOT NULL,
    model      TEXT NOT NULL,
    answer     BLOB NOT NULL,      -- KeptAnswer, msgpack
    PRIMARY KEY (tenant, identity)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS kept_by_expiry ON kept (expires_ns);

-- Who created what a provider keeps. Losing this file makes stored answers unreachable through the gateway.
-- SQLite, WAL, synchronous=NORMAL: a loss of power costs the last moments, never the file.

CREATE TABLE IF NOT EXISTS owned (
    tenant     TEXT NOT NULL,
    object_id  TEXT NOT NULL,
    deployment TEXT NOT NULL,
    tokens     INTEGER NOT NULL,
    expires_ns INTEGER NOT NULL,
    PRIMARY KEY (tenant, object_id)
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS owned_by_expiry ON owned (expires_ns);

-- The durable store of the embedded mode: keys, settings of the deployment, and the ledger. SQLite, WAL, synchronous=FULL.
-- Money is integer nano-USD, times are nanoseconds since the Unix epoch.

CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS api_keys (
    key_id     TEXT PRIMARY KEY,
    digest     BLOB NOT NULL,              -- BLAKE2b of the whole key, keyed with the deployment's secret
    tenant     TEXT NOT NULL,
    name       TEXT NOT NULL DEFAULT '',
    quota      INTEGER,                    -- nano-USD in all; NULL: unlimited
    rpm        INTEGER NOT NULL DEFAULT 0, -- requests per minute; 0: the default
    options    TEXT NOT NULL DEFAULT '{}', -- JSON: models, dedup_mode, cache_mode, edits_off
    created_ns INTEGER NOT NULL,
    revoked_ns INTEGER                     -- NULL: valid
) WITHOUT ROWID;

-- One row for every request that could have cost something, and for every answer that was reused. Never updated.
CREATE TABLE IF NOT EXISTS ledger (
    id                 TEXT PRIMARY KEY,
    time_ns            INTEGER NOT NULL,
    key_id             TEXT NOT NULL,
    tenant             TEXT NOT NULL,
    vendor             TEXT NOT NULL,
    model              TEXT NOT NULL,
    sandbox            INTEGER NOT NULL,
    status             INTEGER NOT NULL,
    cache              TEXT NOT NULL,      -- hit, coalesced, miss, bypass
    settled            TEXT NOT NULL,      -- free, exact, estimated, presumed, void
    fresh_input        INTEGER NOT NULL,
    cache_read         INTEGER NOT NULL,
    cache_write        INTEGER NOT NULL,
    cache_write_1h     INTEGER NOT NULL,
    output             INTEGER NOT NULL,
    cost               INTEGER NOT NULL,
    saved_prompt_cache INTEGER NOT NULL,
    saved_exact        INTEGER NOT NULL,
    saved_dedup        INTEGER NOT NULL,
    price_version      TEXT NOT NULL,
    record             BLOB NOT NULL       -- the whole RequestRecord, JSON
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS ledger_by_time ON ledger (time_ns);

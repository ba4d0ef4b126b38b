-- What state.db held before it was versioned; an old folder has these tables already.

CREATE TABLE IF NOT EXISTS meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS api_keys (
    key_id     TEXT PRIMARY KEY,
    digest     BLOB NOT NULL,
    tenant     TEXT NOT NULL,
    name       TEXT NOT NULL DEFAULT '',
    quota      INTEGER,
    rpm        INTEGER NOT NULL DEFAULT 0,
    options    TEXT NOT NULL DEFAULT '{}',
    created_ns INTEGER NOT NULL,
    revoked_ns INTEGER
) WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS ledger (
    id                 TEXT PRIMARY KEY,
    time_ns            INTEGER NOT NULL,
    key_id             TEXT NOT NULL,
    tenant             TEXT NOT NULL,
    vendor             TEXT NOT NULL,
    model              TEXT NOT NULL,
    sandbox            INTEGER NOT NULL,
    status             INTEGER NOT NULL,
    cache              TEXT NOT NULL,
    settled            TEXT NOT NULL,
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
    record             BLOB NOT NULL
) WITHOUT ROWID;

CREATE INDEX IF NOT EXISTS ledger_by_time ON ledger (time_ns);

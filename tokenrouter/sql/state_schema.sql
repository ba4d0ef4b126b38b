-- The durable store of the embedded mode as the migrations in sqlite/migrations leave it, to be read: who is who, and the ledger.
-- SQLite, WAL, synchronous=FULL.
-- Money is integer nano-USD, times are nanoseconds since the Unix epoch.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE tenants (
    name           TEXT PRIMARY KEY,
    zone           TEXT NOT NULL DEFAULT 'UTC',
    customer_field INTEGER NOT NULL DEFAULT 0, -- the dialect's own user field names the customer where the header does not
    disabled       INTEGER NOT NULL DEFAULT 0,
    created_ns     INTEGER NOT NULL,
    version        INTEGER NOT NULL DEFAULT 1  -- counts changes, so that no two of them are made of one state
) WITHOUT ROWID;

CREATE TABLE api_keys (
    key_id       TEXT PRIMARY KEY,
    digest       BLOB NOT NULL,              -- BLAKE2b of the whole key, keyed with the deployment's secret
    tenant       TEXT NOT NULL,
    name         TEXT NOT NULL DEFAULT '',
    quota        INTEGER,                    -- nano-USD in all; NULL: unlimited
    rpm          INTEGER NOT NULL DEFAULT 0, -- requests per minute; 0: the default
    options      TEXT NOT NULL DEFAULT '{}', -- JSON: models, dedup_mode, cache_mode, edits_off
    created_ns   INTEGER NOT NULL,
    revoked_ns   INTEGER,                    -- NULL: not revoked
    old_digest   BLOB,                       -- of the secret before the last rotation, good until old_until_ns
    old_until_ns INTEGER NOT NULL DEFAULT 0,
    expires_ns   INTEGER,                    -- NULL: never
    disabled     INTEGER NOT NULL DEFAULT 0,
    version      INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;

CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_ns, key_id);

CREATE TABLE customers (
    tenant     TEXT NOT NULL,
    id         TEXT NOT NULL,
    name       TEXT NOT NULL DEFAULT '',
    disabled   INTEGER NOT NULL DEFAULT 0,
    created_ns INTEGER NOT NULL,
    version    INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

-- Limits and caps. key_id, customer, model: the rule's scope ('' anyone together, '*' everyone apart).
CREATE TABLE rules (
    id         TEXT PRIMARY KEY,
    tenant     TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('limit', 'cap')),
    key_id     TEXT NOT NULL,
    customer   TEXT NOT NULL,
    model      TEXT NOT NULL,
    body       TEXT NOT NULL,                -- the whole rule, JSON
    created_ns INTEGER NOT NULL,
    version    INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;

CREATE INDEX rules_by_scope ON rules (tenant, customer, key_id);

-- Who changed what. Never updated. before, after: JSON without secrets; NULL: there was, or is, nothing.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ns INTEGER NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    before  TEXT,
    after   TEXT
);

CREATE INDEX audit_by_target ON audit (target, id);

-- What admin calls with an idempotency key were answered. status 0: the first one is still under way.
CREATE TABLE admin_replies (
    key       TEXT PRIMARY KEY,
    body_hash BLOB NOT NULL,
    status    INTEGER NOT NULL,
    reply     BLOB NOT NULL,
    time_ns   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX admin_replies_by_time ON admin_replies (time_ns);

CREATE TABLE price_overrides (
    name       TEXT PRIMARY KEY,             -- vendor/model
    body       TEXT NOT NULL,                -- JSON
    updated_ns INTEGER NOT NULL
) WITHOUT ROWID;

-- One row for every request that could have cost something, and for every answer that was reused. Never updated.
CREATE TABLE ledger (
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

CREATE INDEX ledger_by_time ON ledger (time_ns);

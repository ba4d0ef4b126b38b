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
    version        INTEGER NOT NULL DEFAULT 1, -- counts changes, so that no two of them are made of one state
    prompt_cache   TEXT NOT NULL DEFAULT '{}'  -- JSON: mode, hold_ms, slots
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
    id         TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('limit', 'cap')),
    key_id     TEXT NOT NULL,
    customer   TEXT NOT NULL,
    model      TEXT NOT NULL,
    body       TEXT NOT NULL,                -- the whole rule, JSON
    created_ns INTEGER NOT NULL,
    version    INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id)
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

-- One row for every request that could have cost something, and for every answer that was reused. Append-only, with one exception:
-- a presumption (`settled` = 'presumed') gives way to the truth that comes late, once.
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
    record             BLOB NOT NULL,               -- the whole RequestRecord, JSON
    admitted_ns        INTEGER NOT NULL DEFAULT 0,  -- by the clock of who counts: the moment whose period it is booked in
    customer           TEXT NOT NULL DEFAULT '',
    dialect            TEXT NOT NULL DEFAULT '',
    model_asked        TEXT NOT NULL DEFAULT '',
    error              TEXT NOT NULL DEFAULT '',
    similarity         INTEGER NOT NULL DEFAULT 0,  -- millionths
    late               INTEGER NOT NULL DEFAULT 0,
    tokens             INTEGER NOT NULL DEFAULT 0,  -- all input and output; of a presumption what was set aside
    held               INTEGER NOT NULL DEFAULT 0,  -- what was set aside for it
    duration_ns        INTEGER NOT NULL DEFAULT 0,
    first_byte_ns      INTEGER NOT NULL DEFAULT 0,
    labels             TEXT NOT NULL DEFAULT '{}',  -- {name: value}
    saved_by_client    INTEGER NOT NULL DEFAULT 0,  -- of saved_prompt_cache: what would have been saved without the gateway
    saved_by_gateway   INTEGER NOT NULL DEFAULT 0,  -- the rest of it
    session            TEXT NOT NULL DEFAULT '',    -- which conversation; '': nobody knows
    cache_break        TEXT NOT NULL DEFAULT '',    -- why the prompt cache was missed although it should have been hit; '': nothing broke
    cache_break_cost   INTEGER NOT NULL DEFAULT 0,
    unreported_input   INTEGER NOT NULL DEFAULT 0,  -- input tokens of which the provider did not tell how many it had read
    read_across_sessions INTEGER NOT NULL DEFAULT 0,  -- of cache_read: what another conversation had written
    read_across_users  INTEGER NOT NULL DEFAULT 0  -- of cache_read: what another key had written
) WITHOUT ROWID;

CREATE INDEX ledger_by_time ON ledger (admitted_ns, id);
CREATE INDEX ledger_by_tenant ON ledger (tenant, admitted_ns, id);
CREATE INDEX ledger_by_key ON ledger (tenant, key_id, admitted_ns);
CREATE INDEX ledger_by_customer ON ledger (tenant, customer, admitted_ns) WHERE customer <> '';
CREATE INDEX ledger_by_model ON ledger (tenant, vendor, model, admitted_ns);
CREATE INDEX ledger_by_session ON ledger (session, admitted_ns, id) WHERE session <> '';
CREATE INDEX ledger_by_break ON ledger (admitted_ns, id) WHERE cache_break <> '';

-- What left the ledger by age, summed up: the ledger's totals are those of its rows and of these.
CREATE TABLE ledger_days (
    tenant             TEXT NOT NULL,
    day                INTEGER NOT NULL, -- since the Unix epoch, UTC
    since_ns           INTEGER NOT NULL, -- nothing in it is older: the day's begin, or a cap's that was made on that day
    key_id             TEXT NOT NULL,
    customer           TEXT NOT NULL,
    vendor             TEXT NOT NULL,
    model              TEXT NOT NULL,
    sandbox            INTEGER NOT NULL,
    cache              TEXT NOT NULL,
    requests           INTEGER NOT NULL,
    errors             INTEGER NOT NULL,
    fresh_input        INTEGER NOT NULL,
    cache_read         INTEGER NOT NULL,
    cache_write        INTEGER NOT NULL,
    cache_write_1h     INTEGER NOT NULL,
    output             INTEGER NOT NULL,
    tokens             INTEGER NOT NULL,
    booked_tokens      INTEGER NOT NULL,
    presumed_tokens    INTEGER NOT NULL,
    cost               INTEGER NOT NULL,
    presumed_cost      INTEGER NOT NULL,
    saved_prompt_cache INTEGER NOT NULL,
    saved_exact        INTEGER NOT NULL,
    saved_dedup        INTEGER NOT NULL,
    saved_by_client    INTEGER NOT NULL DEFAULT 0,
    saved_by_gateway   INTEGER NOT NULL DEFAULT 0,
    cache_break_cost   INTEGER NOT NULL DEFAULT 0,
    unreported_input   INTEGER NOT NULL DEFAULT 0,
    read_across_sessions INTEGER NOT NULL DEFAULT 0,
    read_across_users  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache)
) WITHOUT ROWID;

-- Moments from which on some cap counts: sums of days are divided there.
CREATE TABLE ledger_cuts (
    tenant TEXT NOT NULL,
    at_ns  INTEGER NOT NULL,
    PRIMARY KEY (tenant, at_ns)
) WITHOUT ROWID;

-- The schema of the shared database as the migrations leave it, to be read. It is made by `tokenrouter migrate`, never from this file.

CREATE TABLE migrations (
    name       TEXT PRIMARY KEY,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- Who is who: tenants, keys, customers, their rules, and what was changed by whom.
-- Times are nanoseconds since the Unix epoch, money is integer nano-USD, truth values are 0 and 1, documents are JSON as text.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE tenants (
    name           TEXT PRIMARY KEY,
    zone           TEXT NOT NULL DEFAULT 'UTC',
    customer_field INTEGER NOT NULL DEFAULT 0,
    disabled       INTEGER NOT NULL DEFAULT 0,
    created_ns     BIGINT NOT NULL,
    version        BIGINT NOT NULL DEFAULT 1,
    prompt_cache   TEXT NOT NULL DEFAULT '{}'
);

CREATE TABLE api_keys (
    key_id       TEXT PRIMARY KEY,
    digest       BYTEA NOT NULL,
    old_digest   BYTEA,
    old_until_ns BIGINT NOT NULL DEFAULT 0,
    tenant       TEXT NOT NULL REFERENCES tenants (name),
    name         TEXT NOT NULL DEFAULT '',
    quota        BIGINT,
    rpm          BIGINT NOT NULL DEFAULT 0,
    options      TEXT NOT NULL DEFAULT '{}',
    created_ns   BIGINT NOT NULL,
    expires_ns   BIGINT,
    disabled     INTEGER NOT NULL DEFAULT 0,
    revoked_ns   BIGINT,
    version      BIGINT NOT NULL DEFAULT 1
);

CREATE INDEX api_keys_by_tenant ON api_keys (tenant, created_ns, key_id);

CREATE TABLE customers (
    tenant     TEXT NOT NULL REFERENCES tenants (name),
    id         TEXT NOT NULL,
    name       TEXT NOT NULL DEFAULT '',
    disabled   INTEGER NOT NULL DEFAULT 0,
    created_ns BIGINT NOT NULL,
    version    BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id)
);

CREATE TABLE rules (
    id         TEXT NOT NULL,
    tenant     TEXT NOT NULL REFERENCES tenants (name),
    kind       TEXT NOT NULL CHECK (kind IN ('limit', 'cap')),
    key_id     TEXT NOT NULL,
    customer   TEXT NOT NULL,
    model      TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_ns BIGINT NOT NULL,
    version    BIGINT NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id)
);

CREATE INDEX rules_by_scope ON rules (tenant, customer, key_id);

CREATE TABLE audit (
    id      BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    time_ns BIGINT NOT NULL,
    actor   TEXT NOT NULL,
    action  TEXT NOT NULL,
    target  TEXT NOT NULL,
    before  TEXT,
    after   TEXT
);

CREATE INDEX audit_by_target ON audit (target, id);

CREATE TABLE admin_replies (
    key       TEXT PRIMARY KEY,
    body_hash BYTEA NOT NULL,
    status    INTEGER NOT NULL,
    reply     BYTEA NOT NULL,
    time_ns   BIGINT NOT NULL
);

CREATE INDEX admin_replies_by_time ON admin_replies (time_ns);

CREATE TABLE price_overrides (
    name       TEXT PRIMARY KEY,
    body       TEXT NOT NULL,
    updated_ns BIGINT NOT NULL
);

-- The shared ledger, kept answers, and what providers keep for tenants.
-- Money is integer nano-USD, moments are nanoseconds since the Unix epoch.

-- One row for every request that could have cost something, and for every answer that was reused. Append-only, with one exception:
-- a presumption (`settled` = 'presumed') gives way to the truth that comes late, once.
CREATE TABLE ledger (
    id                 text COLLATE "C" PRIMARY KEY,
    time_ns            bigint NOT NULL,
    admitted_ns        bigint NOT NULL,    -- by the clock of who counts: the moment whose period it is booked in
    key_id             text NOT NULL,
    tenant             text NOT NULL,
    customer           text NOT NULL,
    dialect            text NOT NULL,
    model_asked        text NOT NULL,
    vendor             text NOT NULL,
    model              text NOT NULL,
    sandbox            smallint NOT NULL,
    status             integer NOT NULL,
    error              text NOT NULL,
    cache              text NOT NULL,      -- hit, coalesced, miss, bypass
    similarity         integer NOT NULL,   -- millionths
    settled            text NOT NULL,      -- free, exact, estimated, presumed, void
    late               smallint NOT NULL,
    fresh_input        bigint NOT NULL,
    cache_read         bigint NOT NULL,
    cache_write        bigint NOT NULL,
    cache_write_1h     bigint NOT NULL,
    output             bigint NOT NULL,
    tokens             bigint NOT NULL,    -- all input and output; of a presumption what was set aside
    cost               bigint NOT NULL,
    saved_prompt_cache bigint NOT NULL,
    saved_exact        bigint NOT NULL,
    saved_dedup        bigint NOT NULL,
    held               bigint NOT NULL,    -- what was set aside for it
    price_version      text NOT NULL,
    duration_ns        bigint NOT NULL,
    first_byte_ns      bigint NOT NULL,
    labels             jsonb NOT NULL,     -- {name: value}
    record             json NOT NULL,      -- the whole RequestRecord; json, not jsonb: what clients write may hold \u0000
    saved_by_client    bigint NOT NULL DEFAULT 0,  -- of saved_prompt_cache: what would have been saved without the gateway
    saved_by_gateway   bigint NOT NULL DEFAULT 0,  -- the rest of it
    session            text NOT NULL DEFAULT '',   -- which conversation; '': nobody knows
    cache_break        text NOT NULL DEFAULT '',   -- why the prompt cache was missed although it should have been hit; '': nothing broke
    cache_break_cost   bigint NOT NULL DEFAULT 0,
    unreported_input   bigint NOT NULL DEFAULT 0,  -- input tokens of which the provider did not tell how many it had read
    read_across_sessions bigint NOT NULL DEFAULT 0,  -- of cache_read: what another conversation had written
    read_across_users  bigint NOT NULL DEFAULT 0  -- of cache_read: what another key had written
);

CREATE INDEX ledger_by_time ON ledger (admitted_ns, id);
CREATE INDEX ledger_by_tenant ON ledger (tenant, admitted_ns, id);
CREATE INDEX ledger_by_key ON ledger (tenant, key_id, admitted_ns);
CREATE INDEX ledger_by_customer ON ledger (tenant, customer, admitted_ns) WHERE customer <> '';
CREATE INDEX ledger_by_model ON ledger (tenant, vendor, model, admitted_ns);
CREATE INDEX ledger_by_label ON ledger USING gin (labels jsonb_path_ops) WHERE labels <> '{}';
CREATE INDEX ledger_by_session ON ledger (session, admitted_ns, id) WHERE session <> '';
CREATE INDEX ledger_by_break ON ledger (admitted_ns, id) WHERE cache_break <> '';

-- Calls that a provider may have heard of and whose end is not told yet.
CREATE TABLE intents (
    id          text COLLATE "C" PRIMARY KEY,
    tenant      text NOT NULL,
    time_ns     bigint NOT NULL,           -- when it was admitted, by the clock of who counts
    held        bigint NOT NULL,
    held_tokens bigint NOT NULL,
    record      json NOT NULL
);

CREATE INDEX intents_by_tenant ON intents (tenant, time_ns);

-- Calls that were not made after all. Entries of one call may be carried by several workers, in any order: an intent that comes behind
-- the news that it was called off is not written. Forgotten after a day.
CREATE TABLE called_off (
    id      text COLLATE "C" PRIMARY KEY,
    time_ns bigint NOT NULL                -- what was admitted later is another attempt
);

-- What left the ledger by age, summed up: the ledger's totals are those of its rows and of these.
CREATE TABLE ledger_days (
    tenant             text NOT NULL,
    day                integer NOT NULL,   -- days since the Unix epoch, UTC
    since_ns           bigint NOT NULL,    -- nothing in it is older: the day's begin, or a cap's that was made on that day
    key_id             text NOT NULL,
    customer           text NOT NULL,
    vendor             text NOT NULL,
    model              text NOT NULL,
    sandbox            smallint NOT NULL,
    cache              text NOT NULL,
    requests           bigint NOT NULL,
    errors             bigint NOT NULL,
    fresh_input        bigint NOT NULL,
    cache_read         bigint NOT NULL,
    cache_write        bigint NOT NULL,
    cache_write_1h     bigint NOT NULL,
    output             bigint NOT NULL,
    tokens             bigint NOT NULL,
    booked_tokens      bigint NOT NULL,    -- how much of `tokens` counts against caps: not those of reused answers
    presumed_tokens    bigint NOT NULL,    -- how much of `booked_tokens` is presumed
    cost               bigint NOT NULL,
    presumed_cost      bigint NOT NULL,    -- how much of `cost` is presumed
    saved_prompt_cache bigint NOT NULL,
    saved_exact        bigint NOT NULL,
    saved_dedup        bigint NOT NULL,
    saved_by_client    bigint NOT NULL DEFAULT 0,
    saved_by_gateway   bigint NOT NULL DEFAULT 0,
    cache_break_cost   bigint NOT NULL DEFAULT 0,
    unreported_input   bigint NOT NULL DEFAULT 0,
    read_across_sessions bigint NOT NULL DEFAULT 0,
    read_across_users  bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache)
);

-- Moments from which on some cap counts: sums of days are divided there.
CREATE TABLE ledger_cuts (
    tenant text NOT NULL,
    at_ns  bigint NOT NULL,
    PRIMARY KEY (tenant, at_ns)
);

-- Entries of the stream that are no rows. For people to look at; nothing waits for them.
CREATE TABLE ledger_rejected (
    tenant  text NOT NULL,
    entry   text NOT NULL,
    time_ns bigint NOT NULL,
    reason  text NOT NULL,
    fields  bytea NOT NULL,
    PRIMARY KEY (tenant, entry)
);

-- Tenants whose counters have been in Redis: if they are missing there, they were lost.
CREATE TABLE counted_tenants (
    tenant   text PRIMARY KEY,
    since_ns bigint NOT NULL
);

-- Kept answers, the warm store beneath Redis. Losing it costs misses, nothing else.
CREATE UNLOGGED TABLE answers (
    tenant     text NOT NULL,
    identity   bytea NOT NULL,
    expires_ns bigint NOT NULL,
    key_id     text NOT NULL,
    vendor     text NOT NULL,
    model      text NOT NULL,
    answer     bytea NOT NULL,             -- KeptAnswer, msgpack
    PRIMARY KEY (tenant, identity)
);

CREATE INDEX answers_by_expiry ON answers (expires_ns);
CREATE INDEX answers_by_model ON answers (tenant, vendor, model);
CREATE INDEX answers_by_key ON answers (tenant, key_id);

-- Who created what a provider keeps.
CREATE TABLE owned (
    tenant     text NOT NULL,
    object_id  text NOT NULL,
    deployment text NOT NULL,
    tokens     bigint NOT NULL,
    expires_ns bigint NOT NULL,
    PRIMARY KEY (tenant, object_id)
);

CREATE INDEX owned_by_expiry ON owned (expires_ns);

-- The form in which conversations with bound reasoning went up on their first turn.
CREATE TABLE pinned_forms (
    tenant     text NOT NULL,
    digest     bytea NOT NULL,
    body       bytea NOT NULL,             -- PinnedForm, msgpack
    expires_ns bigint NOT NULL,
    PRIMARY KEY (tenant, digest)
);

CREATE TABLE pins (
    tenant     text NOT NULL,
    key        bytea NOT NULL,
    digest     bytea NOT NULL,             -- of its form
    expires_ns bigint NOT NULL,
    PRIMARY KEY (tenant, key)
);

CREATE INDEX pins_by_expiry ON pins (expires_ns);
CREATE INDEX pinned_forms_by_expiry ON pinned_forms (expires_ns);

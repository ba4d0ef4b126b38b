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
    record             json NOT NULL       -- the whole RequestRecord; json, not jsonb: what clients write may hold \u0000
);

CREATE INDEX ledger_by_time ON ledger (admitted_ns, id);
CREATE INDEX ledger_by_tenant ON ledger (tenant, admitted_ns, id);
CREATE INDEX ledger_by_key ON ledger (tenant, key_id, admitted_ns);
CREATE INDEX ledger_by_customer ON ledger (tenant, customer, admitted_ns) WHERE customer <> '';
CREATE INDEX ledger_by_model ON ledger (tenant, vendor, model, admitted_ns);
CREATE INDEX ledger_by_label ON ledger USING gin (labels jsonb_path_ops) WHERE labels <> '{}';

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

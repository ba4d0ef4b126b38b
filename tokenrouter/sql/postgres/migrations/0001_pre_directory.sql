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
    version        BIGINT NOT NULL DEFAULT 1
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

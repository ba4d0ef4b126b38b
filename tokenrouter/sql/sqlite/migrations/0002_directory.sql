-- Tenants, customers, rules and what was changed by whom; keys that expire, rest and are rotated.

CREATE TABLE tenants (
    name           TEXT PRIMARY KEY,
    zone           TEXT NOT NULL DEFAULT 'UTC',
    customer_field INTEGER NOT NULL DEFAULT 0,
    disabled       INTEGER NOT NULL DEFAULT 0,
    created_ns     INTEGER NOT NULL,
    version        INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;

INSERT INTO tenants (name, created_ns) SELECT tenant, MIN(created_ns) FROM api_keys GROUP BY tenant;

ALTER TABLE api_keys ADD COLUMN old_digest BLOB;
ALTER TABLE api_keys ADD COLUMN old_until_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN expires_ns INTEGER;
ALTER TABLE api_keys ADD COLUMN disabled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE api_keys ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

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

CREATE TABLE rules (
    id         TEXT NOT NULL,
    tenant     TEXT NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('limit', 'cap')),
    key_id     TEXT NOT NULL,
    customer   TEXT NOT NULL,
    model      TEXT NOT NULL,
    body       TEXT NOT NULL,
    created_ns INTEGER NOT NULL,
    version    INTEGER NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant, id)
) WITHOUT ROWID;

CREATE INDEX rules_by_scope ON rules (tenant, customer, key_id);

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

CREATE TABLE admin_replies (
    key       TEXT PRIMARY KEY,
    body_hash BLOB NOT NULL,
    status    INTEGER NOT NULL,
    reply     BLOB NOT NULL,
    time_ns   INTEGER NOT NULL
) WITHOUT ROWID;

CREATE INDEX admin_replies_by_time ON admin_replies (time_ns);

CREATE TABLE price_overrides (
    name       TEXT PRIMARY KEY,
    body       TEXT NOT NULL,
    updated_ns INTEGER NOT NULL
) WITHOUT ROWID;

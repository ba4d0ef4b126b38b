-- The ledger by customer, label, period and everything else that people search and sum by; what left it by age, summed up.

ALTER TABLE ledger ADD COLUMN admitted_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN customer TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN dialect TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN model_asked TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN error TEXT NOT NULL DEFAULT '';
ALTER TABLE ledger ADD COLUMN similarity INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN late INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN duration_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN first_byte_ns INTEGER NOT NULL DEFAULT 0;
ALTER TABLE ledger ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';

UPDATE ledger SET
    admitted_ns = time_ns,
    dialect = json_extract(CAST(record AS TEXT), '$.dialect'),
    model_asked = json_extract(CAST(record AS TEXT), '$.model_asked'),
    error = COALESCE(json_extract(CAST(record AS TEXT), '$.error'), ''),
    tokens = fresh_input + cache_read + cache_write + cache_write_1h + output,
    duration_ns = COALESCE(json_extract(CAST(record AS TEXT), '$.duration_ns'), 0),
    first_byte_ns = COALESCE(json_extract(CAST(record AS TEXT), '$.first_byte_ns'), 0);

DROP INDEX ledger_by_time;
CREATE INDEX ledger_by_time ON ledger (admitted_ns, id);
CREATE INDEX ledger_by_tenant ON ledger (tenant, admitted_ns, id);
CREATE INDEX ledger_by_key ON ledger (tenant, key_id, admitted_ns);
CREATE INDEX ledger_by_customer ON ledger (tenant, customer, admitted_ns) WHERE customer <> '';
CREATE INDEX ledger_by_model ON ledger (tenant, vendor, model, admitted_ns);

CREATE TABLE ledger_days (
    tenant             TEXT NOT NULL,
    day                INTEGER NOT NULL,
    since_ns           INTEGER NOT NULL,
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
    PRIMARY KEY (tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache)
) WITHOUT ROWID;

CREATE TABLE ledger_cuts (
    tenant TEXT NOT NULL,
    at_ns  INTEGER NOT NULL,
    PRIMARY KEY (tenant, at_ns)
) WITHOUT ROWID;

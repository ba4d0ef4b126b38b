-- name: read_meta
SELECT value FROM meta WHERE name = ?

-- name: write_meta
INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: all_keys
SELECT key_id, digest, tenant, name, quota, rpm, options, created_ns, revoked_ns FROM api_keys ORDER BY created_ns, key_id

-- name: insert_key
INSERT INTO api_keys (key_id, digest, tenant, name, quota, rpm, options, created_ns) VALUES (?, ?, ?, ?, ?, ?, ?, ?)

-- name: revoke_key
UPDATE api_keys SET revoked_ns = ? WHERE key_id = ? AND revoked_ns IS NULL

-- name: insert_ledger
INSERT OR IGNORE INTO ledger (
    id, time_ns, key_id, tenant, vendor, model, sandbox, status, cache, settled, fresh_input, cache_read, cache_write,
    cache_write_1h, output, cost, saved_prompt_cache, saved_exact, saved_dedup, price_version, record
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: find_ledger
SELECT record FROM ledger WHERE id = ? AND tenant = ?

-- name: spent_by_key
SELECT key_id, sandbox, SUM(cost) FROM ledger GROUP BY key_id, sandbox

-- name: bump_keys_revision
INSERT INTO meta (name, value) VALUES ('keys_revision', '1')
ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(value AS INTEGER) + 1 AS TEXT)

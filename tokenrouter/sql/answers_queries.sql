-- name: put_answer
INSERT INTO kept (tenant, identity, expires_ns, size, key_id, vendor, model, answer) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (tenant, identity) DO UPDATE SET
    expires_ns = excluded.expires_ns, size = excluded.size, key_id = excluded.key_id, vendor = excluded.vendor,
    model = excluded.model, answer = excluded.answer

-- name: get_answer
SELECT answer FROM kept WHERE tenant = ? AND identity = ? AND expires_ns > ?

-- name: all_answers
SELECT tenant, identity, expires_ns, size, key_id, vendor, model FROM kept WHERE expires_ns > ? ORDER BY expires_ns

-- name: drop_answer
DELETE FROM kept WHERE tenant = ? AND identity = ?

-- name: purge_answers
DELETE FROM kept WHERE tenant = ? AND ? IN ('', vendor) AND ? IN ('', model) AND ? IN ('', key_id)

-- name: drop_expired
DELETE FROM kept WHERE expires_ns <= ?

-- name: put_owned
INSERT INTO owned (tenant, object_id, deployment, tokens, expires_ns) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tenant, object_id) DO UPDATE SET deployment = excluded.deployment, tokens = excluded.tokens, expires_ns = excluded.expires_ns

-- name: get_owned
SELECT deployment, tokens, expires_ns FROM owned WHERE tenant = ? AND object_id = ?

-- name: drop_owned
DELETE FROM owned WHERE tenant = ? AND object_id = ?

-- name: drop_expired_owned
DELETE FROM owned WHERE expires_ns <= ?

-- name: drop_oldest_owned
DELETE FROM owned WHERE expires_ns < (SELECT expires_ns FROM owned ORDER BY expires_ns DESC LIMIT 1 OFFSET ?)

-- name: put_answer
INSERT INTO answers (tenant, identity, expires_ns, size, answer) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (tenant, identity) DO UPDATE SET expires_ns = excluded.expires_ns, size = excluded.size, answer = excluded.answer

-- name: get_answer
SELECT answer FROM answers WHERE tenant = ? AND identity = ? AND expires_ns > ?

-- name: all_answers
SELECT tenant, identity, expires_ns, size FROM answers WHERE expires_ns > ? ORDER BY expires_ns

-- name: drop_answer
DELETE FROM answers WHERE tenant = ? AND identity = ?

-- name: drop_expired
DELETE FROM answers WHERE expires_ns <= ?

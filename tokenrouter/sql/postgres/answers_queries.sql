-- Kept answers in Postgres, beneath those in Redis.

-- name: put_answers
-- Several at once, each a member of the arrays.
INSERT INTO answers (tenant, identity, expires_ns, key_id, vendor, model, answer)
SELECT DISTINCT ON (a.tenant, a.identity) a.tenant, a.identity, a.expires_ns, a.key_id, a.vendor, a.model, a.answer
FROM unnest(
    CAST(:tenants AS text[]), CAST(:identities AS bytea[]), CAST(:expiries AS bigint[]), CAST(:keys AS text[]), CAST(:vendors AS text[]),
    CAST(:models AS text[]), CAST(:answers AS bytea[])
) WITH ORDINALITY AS a (tenant, identity, expires_ns, key_id, vendor, model, answer, place)
ORDER BY a.tenant, a.identity, a.place DESC
ON CONFLICT (tenant, identity) DO UPDATE SET
    expires_ns = excluded.expires_ns, key_id = excluded.key_id, vendor = excluded.vendor, model = excluded.model, answer = excluded.answer

-- name: get_answer
SELECT answer FROM answers WHERE tenant = :tenant AND identity = :identity AND expires_ns > :now

-- name: purge_answers
-- An empty name lets everything through.
DELETE FROM answers
WHERE tenant = :tenant AND (:vendor = '' OR vendor = :vendor) AND (:model = '' OR model = :model) AND (:key = '' OR key_id = :key)

-- name: drop_expired_answers
DELETE FROM answers WHERE (tenant, identity) IN (
    SELECT tenant, identity FROM answers WHERE expires_ns <= :now ORDER BY expires_ns LIMIT :most
)

-- name: count_answers
SELECT COUNT(*), CAST(COALESCE(SUM(LENGTH(answer)), 0) AS BIGINT) FROM answers WHERE expires_ns > :now AND (:tenant = '' OR tenant = :tenant)

-- Who created what a provider keeps, for all workers.

-- name: put_owned
-- Several at once, each a member of the arrays; of one object the last.
INSERT INTO owned (tenant, object_id, deployment, tokens, expires_ns)
SELECT DISTINCT ON (o.tenant, o.object_id) o.tenant, o.object_id, o.deployment, o.tokens, o.expires_ns
FROM unnest(
    CAST(:tenants AS text[]), CAST(:ids AS text[]), CAST(:deployments AS text[]), CAST(:tokens AS bigint[]), CAST(:expiries AS bigint[])
) WITH ORDINALITY AS o (tenant, object_id, deployment, tokens, expires_ns, place)
ORDER BY o.tenant, o.object_id, o.place DESC
ON CONFLICT (tenant, object_id) DO UPDATE SET deployment = excluded.deployment, tokens = excluded.tokens, expires_ns = excluded.expires_ns

-- name: get_owned
SELECT deployment, tokens, expires_ns FROM owned WHERE tenant = :tenant AND object_id = :id AND expires_ns > :now

-- name: drop_expired_owned
DELETE FROM owned WHERE (tenant, object_id) IN (SELECT tenant, object_id FROM owned WHERE expires_ns <= :now ORDER BY expires_ns LIMIT :most)

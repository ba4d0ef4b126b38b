-- Statements over the shared ledger that are written for Postgres. Those with a name of sql/ledger_queries.sql take its place.

-- name: lock_tenant
-- Entries of one tenant are carried by one at a time, so that an intent can not be written behind its settlement. Released at the end.
SELECT pg_advisory_xact_lock(hashtextextended('ledger ' || :tenant, 0))

-- name: put_ledger
-- :rows is a JSON array of LedgerRow; records are strings in it, as Postgres unescapes everything around them and takes no \u0000.
-- The only change that is ever made: the truth takes the place of a presumption, once.
INSERT INTO ledger AS l (
    id, time_ns, admitted_ns, key_id, tenant, customer, dialect, model_asked, vendor, model, sandbox, status, error, cache, similarity,
    settled, late, fresh_input, cache_read, cache_write, cache_write_1h, output, tokens, cost, saved_prompt_cache,
    saved_by_client, saved_by_gateway, saved_exact, saved_dedup, held, price_version, duration_ns, first_byte_ns, session, cache_break,
    cache_break_cost, unreported_input, read_across_sessions, read_across_users, labels, record
)
SELECT
    id, time_ns, admitted_ns, key_id, tenant, customer, dialect, model_asked, vendor, model, sandbox, status, error, cache, similarity,
    settled, late, fresh_input, cache_read, cache_write, cache_write_1h, output, tokens, cost, saved_prompt_cache,
    saved_by_client, saved_by_gateway, saved_exact, saved_dedup, held, price_version, duration_ns, first_byte_ns, session, cache_break,
    cache_break_cost, unreported_input, read_across_sessions, read_across_users, labels, CAST(record AS json)
FROM json_to_recordset(CAST(:rows AS json)) AS r (
    id text, time_ns bigint, admitted_ns bigint, key_id text, tenant text, customer text, dialect text, model_asked text, vendor text,
    model text, sandbox smallint, status integer, error text, cache text, similarity integer, settled text, late smallint,
    fresh_input bigint, cache_read bigint, cache_write bigint, cache_write_1h bigint, output bigint, tokens bigint, cost bigint,
    saved_prompt_cache bigint, saved_by_client bigint, saved_by_gateway bigint, saved_exact bigint, saved_dedup bigint, held bigint,
    price_version text, duration_ns bigint, first_byte_ns bigint, session text, cache_break text, cache_break_cost bigint,
    unreported_input bigint, read_across_sessions bigint, read_across_users bigint, labels jsonb,
    record text
)
ON CONFLICT (id) DO UPDATE SET
    time_ns = excluded.time_ns,
    admitted_ns = excluded.admitted_ns,
    key_id = excluded.key_id,
    customer = excluded.customer,
    dialect = excluded.dialect,
    model_asked = excluded.model_asked,
    vendor = excluded.vendor,
    model = excluded.model,
    sandbox = excluded.sandbox,
    status = excluded.status,
    error = excluded.error,
    cache = excluded.cache,
    similarity = excluded.similarity,
    settled = excluded.settled,
    late = 1,
    fresh_input = excluded.fresh_input,
    cache_read = excluded.cache_read,
    cache_write = excluded.cache_write,
    cache_write_1h = excluded.cache_write_1h,
    output = excluded.output,
    tokens = excluded.tokens,
    cost = excluded.cost,
    saved_prompt_cache = excluded.saved_prompt_cache,
    saved_by_client = excluded.saved_by_client,
    saved_by_gateway = excluded.saved_by_gateway,
    saved_exact = excluded.saved_exact,
    saved_dedup = excluded.saved_dedup,
    held = GREATEST(l.held, excluded.held),
    price_version = excluded.price_version,
    duration_ns = excluded.duration_ns,
    first_byte_ns = excluded.first_byte_ns,
    session = excluded.session,
    cache_break = excluded.cache_break,
    cache_break_cost = excluded.cache_break_cost,
    unreported_input = excluded.unreported_input,
    read_across_sessions = excluded.read_across_sessions,
    read_across_users = excluded.read_across_users,
    labels = excluded.labels,
    record = excluded.record
WHERE l.settled = 'presumed' AND l.tenant = excluded.tenant AND excluded.settled <> 'presumed'

-- name: void_presumed
UPDATE ledger SET settled = 'void', late = 1, cost = 0, tokens = 0
WHERE tenant = :tenant AND id = ANY(:ids) AND settled = 'presumed'

-- name: put_intents
-- :intents is a JSON array of Intent. One whose end is known is not written: entries may come twice, and behind their end.
INSERT INTO intents (id, tenant, time_ns, held, held_tokens, record)
SELECT i.id, i.tenant, i.time_ns, i.held, i.held_tokens, CAST(i.record AS json)
FROM json_to_recordset(CAST(:intents AS json)) AS i (id text, tenant text, time_ns bigint, held bigint, held_tokens bigint, record text)
WHERE NOT EXISTS (SELECT 1 FROM ledger AS l WHERE l.id = i.id)
    AND NOT EXISTS (SELECT 1 FROM called_off AS c WHERE c.id = i.id AND c.time_ns >= i.time_ns)
ON CONFLICT (id) DO NOTHING

-- name: put_called_off
INSERT INTO called_off AS c (id, time_ns)
SELECT v.id, v.time_ns FROM json_to_recordset(CAST(:voided AS json)) AS v (id text, time_ns bigint)
WHERE TRUE
ON CONFLICT (id) DO UPDATE SET time_ns = GREATEST(c.time_ns, excluded.time_ns)

-- name: drop_called_off
DELETE FROM called_off WHERE time_ns < :before

-- name: drop_intents
DELETE FROM intents WHERE tenant = :tenant AND id = ANY(:ids)

-- name: take_intents
DELETE FROM intents WHERE tenant = :tenant AND id = ANY(:ids) RETURNING id, time_ns, held, held_tokens, CAST(record AS text)

-- name: open_intents
SELECT id FROM intents WHERE tenant = :tenant AND time_ns < :before ORDER BY time_ns LIMIT :most

-- name: tenants_of_open_intents
SELECT DISTINCT tenant FROM intents WHERE time_ns < :before ORDER BY tenant

-- name: put_rejected
INSERT INTO ledger_rejected (tenant, entry, time_ns, reason, fields) VALUES (:tenant, :entry, :time_ns, :reason, :fields)
ON CONFLICT (tenant, entry) DO NOTHING

-- name: known_ids
SELECT id FROM ledger WHERE tenant = :tenant AND id = ANY(:ids)
UNION ALL
SELECT id FROM intents WHERE tenant = :tenant AND id = ANY(:intents)

-- name: presumed_ids
SELECT id FROM ledger WHERE tenant = :tenant AND admitted_ns >= :since AND settled = 'presumed' ORDER BY admitted_ns DESC LIMIT :most

-- name: settled_ids
SELECT id FROM ledger WHERE tenant = :tenant AND id = ANY(:ids) AND settled <> 'presumed'

-- name: snapshot
-- First in a transaction: everything that is read in it is of one moment.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY

-- name: put_counted_tenant
INSERT INTO counted_tenants (tenant, since_ns) VALUES (:tenant, :now) ON CONFLICT (tenant) DO NOTHING

-- name: get_counted_tenant
SELECT since_ns FROM counted_tenants WHERE tenant = :tenant

-- name: counted_tenants
SELECT tenant FROM counted_tenants ORDER BY tenant

-- name: retire_ledger
-- fold_ledger and drop_ledger in one step: what is summed up is exactly what is deleted.
WITH gone AS (
    DELETE FROM ledger WHERE (admitted_ns, id) <= (:at_ns, :id) RETURNING *
)
INSERT INTO ledger_days AS d (
    tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache, requests, errors, fresh_input, cache_read, cache_write,
    cache_write_1h, output, tokens, booked_tokens, presumed_tokens, cost, presumed_cost, saved_prompt_cache,
    saved_by_client, saved_by_gateway, saved_exact, saved_dedup, cache_break_cost, unreported_input, read_across_sessions,
    read_across_users
)
SELECT
    tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache, COUNT(*), SUM(CASE WHEN status >= 400 THEN 1 ELSE 0 END),
    SUM(fresh_input), SUM(cache_read), SUM(cache_write), SUM(cache_write_1h), SUM(output), SUM(tokens),
    SUM(CASE WHEN settled IN ('exact', 'estimated', 'presumed') THEN tokens ELSE 0 END),
    SUM(CASE WHEN settled = 'presumed' THEN tokens ELSE 0 END), SUM(cost), SUM(CASE WHEN settled = 'presumed' THEN cost ELSE 0 END),
    SUM(saved_prompt_cache), SUM(saved_by_client), SUM(saved_by_gateway), SUM(saved_exact), SUM(saved_dedup), SUM(cache_break_cost),
    SUM(unreported_input), SUM(read_across_sessions), SUM(read_across_users)
FROM (
    SELECT
        g.*,
        g.admitted_ns / 86400000000000 AS day,
        COALESCE(
            (
                SELECT MAX(c.at_ns) FROM ledger_cuts AS c
                WHERE c.tenant = g.tenant AND c.at_ns <= g.admitted_ns AND c.at_ns > g.admitted_ns / 86400000000000 * 86400000000000
            ),
            g.admitted_ns / 86400000000000 * 86400000000000
        ) AS since_ns
    FROM gone AS g
) AS placed
GROUP BY tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache
ON CONFLICT (tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache) DO UPDATE SET
    requests = d.requests + excluded.requests,
    errors = d.errors + excluded.errors,
    fresh_input = d.fresh_input + excluded.fresh_input,
    cache_read = d.cache_read + excluded.cache_read,
    cache_write = d.cache_write + excluded.cache_write,
    cache_write_1h = d.cache_write_1h + excluded.cache_write_1h,
    output = d.output + excluded.output,
    tokens = d.tokens + excluded.tokens,
    booked_tokens = d.booked_tokens + excluded.booked_tokens,
    presumed_tokens = d.presumed_tokens + excluded.presumed_tokens,
    cost = d.cost + excluded.cost,
    presumed_cost = d.presumed_cost + excluded.presumed_cost,
    saved_prompt_cache = d.saved_prompt_cache + excluded.saved_prompt_cache,
    saved_by_client = d.saved_by_client + excluded.saved_by_client,
    saved_by_gateway = d.saved_by_gateway + excluded.saved_by_gateway,
    saved_exact = d.saved_exact + excluded.saved_exact,
    saved_dedup = d.saved_dedup + excluded.saved_dedup,
    cache_break_cost = d.cache_break_cost + excluded.cache_break_cost,
    unreported_input = d.unreported_input + excluded.unreported_input,
    read_across_sessions = d.read_across_sessions + excluded.read_across_sessions,
    read_across_users = d.read_across_users + excluded.read_across_users

-- name: search_ledger
SELECT admitted_ns, id, CAST(record AS text), settled, late, cost
FROM ledger
WHERE admitted_ns >= :since AND (admitted_ns, id) < (:until, :before)
    AND (:tenant = '' OR tenant = :tenant)
    AND (:key = '' OR key_id = :key)
    AND (:customer = '' OR customer = :customer)
    AND (:vendor = '' OR vendor = :vendor)
    AND (:model = '' OR model = :model)
    AND (:cache = '' OR cache = :cache)
    AND (:settled = '' OR settled = :settled)
    AND (:sandbox = -1 OR sandbox = :sandbox)
    AND status >= :status_from AND status <= :status_to
    AND (:label = '' OR (labels <> '{}' AND labels @> jsonb_build_object(CAST(:label AS text), CAST(:value AS text))))
ORDER BY admitted_ns DESC, id DESC
LIMIT :most

-- Statements over the ledger that SQLite and Postgres understand alike. Moments are nanoseconds, money is nano-USD.
-- An empty filter (''), or -1 for `sandbox`, lets everything through.

-- name: find_ledger_row
SELECT CAST(record AS TEXT), settled, late, cost FROM ledger WHERE id = :id AND tenant = :tenant

-- name: find_request
SELECT admitted_ns, id, CAST(record AS TEXT), settled, late, cost FROM ledger WHERE id = :id

-- name: sum_caps
SELECT
    CASE WHEN :by_key = 1 THEN key_id ELSE '' END,
    CASE WHEN :by_customer = 1 THEN customer ELSE '' END,
    CASE WHEN :by_model = 1 THEN vendor || '/' || model ELSE '' END,
    sandbox,
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE cost END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN cost ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE tokens END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN tokens ELSE 0 END) AS BIGINT)
FROM ledger
WHERE tenant = :tenant AND admitted_ns >= :since AND admitted_ns < :until AND settled IN ('exact', 'estimated', 'presumed')
GROUP BY 1, 2, 3, 4

-- name: sum_caps_of_key
SELECT
    CASE WHEN :by_key = 1 THEN key_id ELSE '' END,
    CASE WHEN :by_customer = 1 THEN customer ELSE '' END,
    CASE WHEN :by_model = 1 THEN vendor || '/' || model ELSE '' END,
    sandbox,
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE cost END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN cost ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE tokens END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN tokens ELSE 0 END) AS BIGINT)
FROM ledger
WHERE tenant = :tenant AND key_id = :key AND admitted_ns >= :since AND admitted_ns < :until
    AND settled IN ('exact', 'estimated', 'presumed')
GROUP BY 1, 2, 3, 4

-- name: sum_caps_of_customer
SELECT
    CASE WHEN :by_key = 1 THEN key_id ELSE '' END,
    CASE WHEN :by_customer = 1 THEN customer ELSE '' END,
    CASE WHEN :by_model = 1 THEN vendor || '/' || model ELSE '' END,
    sandbox,
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE cost END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN cost ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE tokens END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN tokens ELSE 0 END) AS BIGINT)
FROM ledger
WHERE tenant = :tenant AND customer = :customer AND customer <> '' AND admitted_ns >= :since AND admitted_ns < :until
    AND settled IN ('exact', 'estimated', 'presumed')
GROUP BY 1, 2, 3, 4

-- name: sum_caps_of_model
SELECT
    CASE WHEN :by_key = 1 THEN key_id ELSE '' END,
    CASE WHEN :by_customer = 1 THEN customer ELSE '' END,
    CASE WHEN :by_model = 1 THEN vendor || '/' || model ELSE '' END,
    sandbox,
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE cost END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN cost ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE tokens END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN tokens ELSE 0 END) AS BIGINT)
FROM ledger
WHERE tenant = :tenant AND vendor = :vendor AND model = :model AND admitted_ns >= :since AND admitted_ns < :until
    AND settled IN ('exact', 'estimated', 'presumed')
GROUP BY 1, 2, 3, 4

-- name: sum_caps_days
SELECT
    CASE WHEN :by_key = 1 THEN key_id ELSE '' END,
    CASE WHEN :by_customer = 1 THEN customer ELSE '' END,
    CASE WHEN :by_model = 1 THEN vendor || '/' || model ELSE '' END,
    sandbox,
    CAST(SUM(cost - presumed_cost) AS BIGINT),
    CAST(SUM(presumed_cost) AS BIGINT),
    CAST(SUM(booked_tokens - presumed_tokens) AS BIGINT),
    CAST(SUM(presumed_tokens) AS BIGINT)
FROM ledger_days
WHERE tenant = :tenant AND since_ns >= :since AND (:key = '' OR key_id = :key) AND (:customer = '' OR customer = :customer)
GROUP BY 1, 2, 3, 4

-- name: sum_all
SELECT
    sandbox,
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE cost END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN cost ELSE 0 END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN 0 ELSE tokens END) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN tokens ELSE 0 END) AS BIGINT)
FROM ledger
WHERE admitted_ns >= :since AND admitted_ns < :until AND settled IN ('exact', 'estimated', 'presumed')
GROUP BY 1

-- name: usage_rows
SELECT
    CASE WHEN :by_tenant = 1 THEN tenant ELSE '' END,
    CASE WHEN :by_key = 1 THEN key_id ELSE '' END,
    CASE WHEN :by_customer = 1 THEN customer ELSE '' END,
    CASE WHEN :by_model = 1 THEN vendor ELSE '' END,
    CASE WHEN :by_model = 1 THEN model ELSE '' END,
    CASE WHEN :by_cache = 1 THEN cache ELSE '' END,
    CASE WHEN :by_label = '' THEN '' ELSE COALESCE(labels ->> :by_label, '') END,
    CASE WHEN :step = 0 THEN 0 ELSE (admitted_ns + :offset) / :step END,
    COUNT(*),
    CAST(SUM(CASE WHEN status >= 400 THEN 1 ELSE 0 END) AS BIGINT),
    CAST(SUM(fresh_input) AS BIGINT),
    CAST(SUM(cache_read) AS BIGINT),
    CAST(SUM(cache_write) AS BIGINT),
    CAST(SUM(cache_write_1h) AS BIGINT),
    CAST(SUM(output) AS BIGINT),
    CAST(SUM(tokens) AS BIGINT),
    CAST(SUM(cost) AS BIGINT),
    CAST(SUM(CASE WHEN settled = 'presumed' THEN cost ELSE 0 END) AS BIGINT),
    CAST(SUM(saved_prompt_cache) AS BIGINT),
    CAST(SUM(saved_by_client) AS BIGINT),
    CAST(SUM(saved_by_gateway) AS BIGINT),
    CAST(SUM(saved_exact) AS BIGINT),
    CAST(SUM(saved_dedup) AS BIGINT),
    CAST(SUM(cache_break_cost) AS BIGINT),
    CAST(SUM(unreported_input) AS BIGINT),
    CAST(SUM(read_across_sessions) AS BIGINT),
    CAST(SUM(read_across_users) AS BIGINT)
FROM ledger
WHERE admitted_ns >= :since AND admitted_ns < :until
    AND (:tenant = '' OR tenant = :tenant)
    AND (:key = '' OR key_id = :key)
    AND (:customer = '' OR customer = :customer)
    AND (:vendor = '' OR vendor = :vendor)
    AND (:model = '' OR model = :model)
    AND (:cache = '' OR cache = :cache)
    AND (:sandbox = -1 OR sandbox = :sandbox)
    AND (CASE WHEN :label = '' THEN '' ELSE COALESCE(labels ->> :label, '') END) = :value
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
ORDER BY 8, 1, 2, 3, 4, 5, 6, 7
LIMIT :most

-- name: usage_days
SELECT
    CASE WHEN :by_tenant = 1 THEN tenant ELSE '' END,
    CASE WHEN :by_key = 1 THEN key_id ELSE '' END,
    CASE WHEN :by_customer = 1 THEN customer ELSE '' END,
    CASE WHEN :by_model = 1 THEN vendor ELSE '' END,
    CASE WHEN :by_model = 1 THEN model ELSE '' END,
    CASE WHEN :by_cache = 1 THEN cache ELSE '' END,
    '',
    CASE WHEN :step = 0 THEN 0 ELSE (since_ns + :offset) / :step END,
    CAST(SUM(requests) AS BIGINT),
    CAST(SUM(errors) AS BIGINT),
    CAST(SUM(fresh_input) AS BIGINT),
    CAST(SUM(cache_read) AS BIGINT),
    CAST(SUM(cache_write) AS BIGINT),
    CAST(SUM(cache_write_1h) AS BIGINT),
    CAST(SUM(output) AS BIGINT),
    CAST(SUM(tokens) AS BIGINT),
    CAST(SUM(cost) AS BIGINT),
    CAST(SUM(presumed_cost) AS BIGINT),
    CAST(SUM(saved_prompt_cache) AS BIGINT),
    CAST(SUM(saved_by_client) AS BIGINT),
    CAST(SUM(saved_by_gateway) AS BIGINT),
    CAST(SUM(saved_exact) AS BIGINT),
    CAST(SUM(saved_dedup) AS BIGINT),
    CAST(SUM(cache_break_cost) AS BIGINT),
    CAST(SUM(unreported_input) AS BIGINT),
    CAST(SUM(read_across_sessions) AS BIGINT),
    CAST(SUM(read_across_users) AS BIGINT)
FROM ledger_days
WHERE since_ns >= :since AND since_ns < :until
    AND (:tenant = '' OR tenant = :tenant)
    AND (:key = '' OR key_id = :key)
    AND (:customer = '' OR customer = :customer)
    AND (:vendor = '' OR vendor = :vendor)
    AND (:model = '' OR model = :model)
    AND (:cache = '' OR cache = :cache)
    AND (:sandbox = -1 OR sandbox = :sandbox)
    AND :label = ''
GROUP BY 1, 2, 3, 4, 5, 6, 8
ORDER BY 8, 1, 2, 3, 4, 5, 6
LIMIT :most

-- name: search_ledger
SELECT admitted_ns, id, CAST(record AS TEXT), settled, late, cost
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
    AND (CASE WHEN :label = '' THEN '' ELSE COALESCE(labels ->> :label, '') END) = :value
ORDER BY admitted_ns DESC, id DESC
LIMIT :most

-- name: prompt_cache_breaks
-- Broken prefixes by cause.
SELECT cache_break, sandbox, COUNT(*), CAST(SUM(cache_break_cost) AS BIGINT)
FROM ledger
WHERE admitted_ns >= :since AND admitted_ns < :until AND cache_break <> ''
    AND (:tenant = '' OR tenant = :tenant)
    AND (:key = '' OR key_id = :key)
    AND (:customer = '' OR customer = :customer)
    AND (:vendor = '' OR vendor = :vendor)
    AND (:model = '' OR model = :model)
    AND (:cache = '' OR cache = :cache)
    AND (:sandbox = -1 OR sandbox = :sandbox)
    AND (CASE WHEN :label = '' THEN '' ELSE COALESCE(labels ->> :label, '') END) = :value
GROUP BY 1, 2
ORDER BY 4 DESC, 1, 2

-- name: search_breaks
SELECT admitted_ns, id, CAST(record AS TEXT), settled, late, cost
FROM ledger
WHERE admitted_ns >= :since AND (admitted_ns, id) < (:until, :before) AND cache_break <> ''
    AND (:cause = '' OR cache_break = :cause)
    AND (:tenant = '' OR tenant = :tenant)
    AND (:key = '' OR key_id = :key)
    AND (:customer = '' OR customer = :customer)
    AND (:vendor = '' OR vendor = :vendor)
    AND (:model = '' OR model = :model)
    AND (:cache = '' OR cache = :cache)
    AND (:sandbox = -1 OR sandbox = :sandbox)
    AND (CASE WHEN :label = '' THEN '' ELSE COALESCE(labels ->> :label, '') END) = :value
ORDER BY admitted_ns DESC, id DESC
LIMIT :most

-- name: session_rows
-- A conversation, the earliest request first.
SELECT admitted_ns, id, CAST(record AS TEXT), settled, late, cost
FROM ledger
WHERE session = :session AND session <> '' AND (:tenant = '' OR tenant = :tenant) AND (admitted_ns, id) > (:since, :behind)
ORDER BY admitted_ns, id
LIMIT :most

-- name: put_cut
INSERT INTO ledger_cuts (tenant, at_ns) VALUES (:tenant, :at_ns) ON CONFLICT DO NOTHING

-- name: last_to_retire
SELECT admitted_ns, id, COUNT(*) OVER ()
FROM (SELECT admitted_ns, id FROM ledger WHERE admitted_ns < :before ORDER BY admitted_ns, id LIMIT :most) AS batch
ORDER BY admitted_ns DESC, id DESC
LIMIT 1

-- name: fold_ledger
INSERT INTO ledger_days (
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
        l.*,
        l.admitted_ns / 86400000000000 AS day,
        COALESCE(
            (
                SELECT MAX(c.at_ns) FROM ledger_cuts AS c
                WHERE c.tenant = l.tenant AND c.at_ns <= l.admitted_ns AND c.at_ns > l.admitted_ns / 86400000000000 * 86400000000000
            ),
            l.admitted_ns / 86400000000000 * 86400000000000
        ) AS since_ns
    FROM ledger AS l
    WHERE (l.admitted_ns, l.id) <= (:at_ns, :id)
) AS gone
WHERE 1 = 1
GROUP BY tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache
ON CONFLICT (tenant, day, since_ns, key_id, customer, vendor, model, sandbox, cache) DO UPDATE SET
    requests = ledger_days.requests + excluded.requests,
    errors = ledger_days.errors + excluded.errors,
    fresh_input = ledger_days.fresh_input + excluded.fresh_input,
    cache_read = ledger_days.cache_read + excluded.cache_read,
    cache_write = ledger_days.cache_write + excluded.cache_write,
    cache_write_1h = ledger_days.cache_write_1h + excluded.cache_write_1h,
    output = ledger_days.output + excluded.output,
    tokens = ledger_days.tokens + excluded.tokens,
    booked_tokens = ledger_days.booked_tokens + excluded.booked_tokens,
    presumed_tokens = ledger_days.presumed_tokens + excluded.presumed_tokens,
    cost = ledger_days.cost + excluded.cost,
    presumed_cost = ledger_days.presumed_cost + excluded.presumed_cost,
    saved_prompt_cache = ledger_days.saved_prompt_cache + excluded.saved_prompt_cache,
    saved_by_client = ledger_days.saved_by_client + excluded.saved_by_client,
    saved_by_gateway = ledger_days.saved_by_gateway + excluded.saved_by_gateway,
    saved_exact = ledger_days.saved_exact + excluded.saved_exact,
    saved_dedup = ledger_days.saved_dedup + excluded.saved_dedup,
    cache_break_cost = ledger_days.cache_break_cost + excluded.cache_break_cost,
    unreported_input = ledger_days.unreported_input + excluded.unreported_input,
    read_across_sessions = ledger_days.read_across_sessions + excluded.read_across_sessions,
    read_across_users = ledger_days.read_across_users + excluded.read_across_users

-- name: drop_ledger
DELETE FROM ledger WHERE (admitted_ns, id) <= (:at_ns, :id)

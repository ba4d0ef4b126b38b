-- name: insert_ledger
INSERT OR IGNORE INTO ledger (
    id, time_ns, admitted_ns, key_id, tenant, customer, dialect, model_asked, vendor, model, sandbox, status, error, cache, similarity,
    settled, late, fresh_input, cache_read, cache_write, cache_write_1h, output, tokens, cost, saved_prompt_cache,
    saved_by_client, saved_by_gateway, saved_exact, saved_dedup, held, price_version, duration_ns, first_byte_ns, session, cache_break,
    cache_break_cost, unreported_input, read_across_sessions, read_across_users, labels, record
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: settle_late
-- The truth takes the place of a presumption, once.
INSERT INTO ledger (
    id, time_ns, admitted_ns, key_id, tenant, customer, dialect, model_asked, vendor, model, sandbox, status, error, cache, similarity,
    settled, late, fresh_input, cache_read, cache_write, cache_write_1h, output, tokens, cost, saved_prompt_cache,
    saved_by_client, saved_by_gateway, saved_exact, saved_dedup, held, price_version, duration_ns, first_byte_ns, session, cache_break,
    cache_break_cost, unreported_input, read_across_sessions, read_across_users, labels, record
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
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
    record = excluded.record,
    late = 1,
    held = MAX(held, excluded.held)
WHERE ledger.settled = 'presumed' AND ledger.tenant = excluded.tenant AND excluded.settled <> 'presumed'

-- name: spent_by_key
SELECT key_id, sandbox, SUM(cost) FROM ledger GROUP BY key_id, sandbox

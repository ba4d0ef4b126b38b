-- Who is who, for both databases: `:name` parameters, truth values as 0 and 1, documents as text.

-- name: read_meta
SELECT value FROM meta WHERE name = :name

-- name: read_revisions
SELECT name, value FROM meta WHERE name IN ('keys_revision', 'customers_revision', 'admin_key_digest')

-- name: write_meta
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value

-- name: write_meta_once
INSERT INTO meta (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING

-- name: bump_revision
INSERT INTO meta (name, value) VALUES (:name, '1') ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(meta.value AS BIGINT) + 1 AS TEXT)

-- name: find_tenant
SELECT name, zone, customer_field, disabled, created_ns, prompt_cache, version FROM tenants WHERE name = :name

-- name: list_tenants
SELECT name, zone, customer_field, disabled, created_ns, prompt_cache, version FROM tenants WHERE name > :after ORDER BY name LIMIT :most

-- name: ensure_tenant
INSERT INTO tenants (name, created_ns) VALUES (:name, :now_ns) ON CONFLICT (name) DO NOTHING

-- name: insert_tenant
INSERT INTO tenants (name, zone, customer_field, disabled, created_ns, prompt_cache)
VALUES (:name, :zone, :customer_field, :disabled, :created_ns, :prompt_cache)

-- name: update_tenant
UPDATE tenants SET zone = :zone, customer_field = :customer_field, disabled = :disabled, prompt_cache = :prompt_cache,
    version = version + 1
WHERE name = :name AND version = :version

-- name: find_key
SELECT k.key_id, k.digest, k.old_digest, k.old_until_ns, k.tenant, k.name, k.quota, k.rpm, k.options, k.created_ns, k.expires_ns, k.disabled,
    k.revoked_ns, k.version, t.zone, t.customer_field, t.disabled, t.prompt_cache
FROM api_keys k JOIN tenants t ON t.name = k.tenant
WHERE k.key_id = :key_id

-- name: list_keys
SELECT k.key_id, k.digest, k.old_digest, k.old_until_ns, k.tenant, k.name, k.quota, k.rpm, k.options, k.created_ns, k.expires_ns, k.disabled,
    k.revoked_ns, k.version, t.zone, t.customer_field, t.disabled, t.prompt_cache
FROM api_keys k JOIN tenants t ON t.name = k.tenant
WHERE (k.created_ns, k.key_id) > (:after_ns, :after_id)
ORDER BY k.created_ns, k.key_id LIMIT :most

-- name: list_keys_of_tenant
SELECT k.key_id, k.digest, k.old_digest, k.old_until_ns, k.tenant, k.name, k.quota, k.rpm, k.options, k.created_ns, k.expires_ns, k.disabled,
    k.revoked_ns, k.version, t.zone, t.customer_field, t.disabled, t.prompt_cache
FROM api_keys k JOIN tenants t ON t.name = k.tenant
WHERE k.tenant = :tenant AND (k.created_ns, k.key_id) > (:after_ns, :after_id)
ORDER BY k.created_ns, k.key_id LIMIT :most

-- name: insert_key
INSERT INTO api_keys (key_id, digest, tenant, name, quota, rpm, options, created_ns, expires_ns)
VALUES (:key_id, :digest, :tenant, :name, :quota, :rpm, :options, :created_ns, :expires_ns)

-- name: update_key
UPDATE api_keys SET digest = :digest, old_digest = :old_digest, old_until_ns = :old_until_ns, name = :name, quota = :quota, rpm = :rpm,
    options = :options, expires_ns = :expires_ns, disabled = :disabled, revoked_ns = :revoked_ns, version = version + 1
WHERE key_id = :key_id AND version = :version

-- name: rules_for_key
SELECT kind, body, created_ns, id, version FROM rules
WHERE tenant = :tenant AND customer IN ('', '*') AND key_id IN ('', '*', :key_id)
ORDER BY created_ns, id

-- name: rules_for_customer
SELECT kind, body, created_ns, id, version FROM rules WHERE tenant = :tenant AND customer = :customer ORDER BY created_ns, id

-- name: list_rules
SELECT kind, body, created_ns, id, version FROM rules WHERE tenant = :tenant AND id > :after ORDER BY id LIMIT :most

-- name: find_rule
SELECT kind, body, created_ns, id, version FROM rules WHERE tenant = :tenant AND id = :id

-- name: insert_rule
INSERT INTO rules (id, tenant, kind, key_id, customer, model, body, created_ns)
VALUES (:id, :tenant, :kind, :key_id, :customer, :model, :body, :created_ns)

-- name: update_rule
UPDATE rules SET kind = :kind, key_id = :key_id, customer = :customer, model = :model, body = :body, version = version + 1
WHERE tenant = :tenant AND id = :id AND version = :version

-- name: delete_rule
DELETE FROM rules WHERE tenant = :tenant AND id = :id AND version = :version

-- name: find_customer
SELECT tenant, id, name, disabled, created_ns, version FROM customers WHERE tenant = :tenant AND id = :id

-- name: list_customers
SELECT tenant, id, name, disabled, created_ns, version FROM customers WHERE tenant = :tenant AND id > :after ORDER BY id LIMIT :most

-- name: insert_customer
INSERT INTO customers (tenant, id, name, disabled, created_ns) VALUES (:tenant, :id, :name, :disabled, :created_ns)

-- name: update_customer
UPDATE customers SET name = :name, disabled = :disabled, version = version + 1 WHERE tenant = :tenant AND id = :id AND version = :version

-- name: delete_customer
DELETE FROM customers WHERE tenant = :tenant AND id = :id AND version = :version

-- name: insert_audit
INSERT INTO audit (time_ns, actor, action, target, before, after) VALUES (:time_ns, :actor, :action, :target, :before, :after)

-- name: list_audit
SELECT id, time_ns, actor, action, target, before, after FROM audit WHERE id < :below ORDER BY id DESC LIMIT :most

-- name: list_audit_of_target
SELECT id, time_ns, actor, action, target, before, after FROM audit WHERE target = :target AND id < :below ORDER BY id DESC LIMIT :most

-- name: claim_admin_call
INSERT INTO admin_replies (key, body_hash, status, reply, time_ns) VALUES (:key, :body_hash, 0, :reply, :time_ns) ON CONFLICT (key) DO NOTHING

-- name: find_admin_reply
SELECT body_hash, status, reply, time_ns FROM admin_replies WHERE key = :key

-- name: finish_admin_call
UPDATE admin_replies SET status = :status, reply = :reply WHERE key = :key AND status = 0

-- name: release_admin_call
DELETE FROM admin_replies WHERE key = :key AND status = 0

-- name: forget_admin_replies
DELETE FROM admin_replies WHERE time_ns < :before_ns

-- name: list_price_overrides
SELECT name, body, updated_ns FROM price_overrides ORDER BY name

-- name: find_price_override
SELECT name, body, updated_ns FROM price_overrides WHERE name = :name

-- name: write_price_override
INSERT INTO price_overrides (name, body, updated_ns) VALUES (:name, :body, :now_ns)
ON CONFLICT (name) DO UPDATE SET body = excluded.body, updated_ns = excluded.updated_ns

-- name: delete_price_override
DELETE FROM price_overrides WHERE name = :name

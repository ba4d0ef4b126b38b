-- name: put_pinned_form
INSERT INTO pinned_forms (tenant, digest, body, expires_ns) VALUES (:tenant, :digest, :body, :expires)
ON CONFLICT (tenant, digest) DO UPDATE SET expires_ns = excluded.expires_ns WHERE excluded.expires_ns > pinned_forms.expires_ns

-- name: put_pin
INSERT INTO pins (tenant, key, digest, expires_ns) VALUES (:tenant, :key, :digest, :expires)
ON CONFLICT (tenant, key) DO UPDATE SET digest = excluded.digest, expires_ns = excluded.expires_ns WHERE pins.expires_ns <= :now

-- name: replace_pin
INSERT INTO pins (tenant, key, digest, expires_ns) VALUES (:tenant, :key, :digest, :expires)
ON CONFLICT (tenant, key) DO UPDATE SET digest = excluded.digest, expires_ns = excluded.expires_ns

-- name: get_pin
SELECT pinned_forms.body, pins.expires_ns FROM pins JOIN pinned_forms ON pinned_forms.tenant = pins.tenant AND pinned_forms.digest = pins.digest
WHERE pins.tenant = :tenant AND pins.key = :key AND pins.expires_ns > :now

-- name: renew_pin
UPDATE pins SET expires_ns = :expires WHERE tenant = :tenant AND key = :key

-- name: drop_expired_pins
DELETE FROM pins WHERE expires_ns <= :now

-- name: drop_expired_pinned_forms
DELETE FROM pinned_forms WHERE expires_ns <= :now

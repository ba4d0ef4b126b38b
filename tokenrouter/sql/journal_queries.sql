-- name: intend
INSERT INTO intents (held, intent) VALUES (?, ?)

-- name: settle
UPDATE intents SET settlement = ? WHERE n = ?

-- name: forget
DELETE FROM intents WHERE n = ?

-- name: all_intents
SELECT n, held, intent, settlement FROM intents ORDER BY n

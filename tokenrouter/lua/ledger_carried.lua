-- ledger_carried: take entries that are in Postgres out of a tenant's stream
-- KEYS     [1] tr:{tenant}:ledger   stream
-- ARGV     [1] group   [2...] ids of entries
-- RETURNS  how many entries wait
-- CLOCK    none
-- WRITES   the stream and its group
-- COST     O(entries)
-- CALLED BY  storage/carrier.py

redis.call('XACK', KEYS[1], ARGV[1], unpack(ARGV, 2))
redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
return redis.call('XLEN', KEYS[1])

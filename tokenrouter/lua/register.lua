-- register: a tenant uses the counters, so somebody should look after what it holds
-- USES     clock
-- KEYS     [1] zset tenant -> when a worker said so last (ms)
-- ARGV     [1] tenant  [2] now ms of a test, or ''
-- RETURNS  {0, now ms}
-- CLOCK    redis TIME
-- WRITES   the tenant
-- COST     O(log tenants)
-- CALLED BY  storage/redis_counters.py

local now_ms = clock(ARGV[2])
redis.call('ZADD', KEYS[1], text(now_ms), ARGV[1])
return { 0, now_ms }

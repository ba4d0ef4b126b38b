-- leave: give a caller's places back
-- USES     clock
-- KEYS     places of each limit
-- ARGV     [1] ticket's name  [2] now ms of a test, or ''
-- RETURNS  {places that were given back, now ms}
-- CLOCK    redis TIME
-- WRITES   its places; again, or after they lapsed: nothing
-- COST     O(limits)
-- CALLED BY  storage/redis_counters.py

local now_ms, gone = clock(ARGV[2]), 0
for _, key in ipairs(KEYS) do redis.call('ZSCORE', key, ARGV[1]) end
for _, key in ipairs(KEYS) do gone = gone + redis.call('ZREM', key, ARGV[1]) end
return { gone, now_ms }

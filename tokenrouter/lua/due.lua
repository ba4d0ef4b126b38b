-- due: holds of one tenant whose owners did not renew them in time
-- USES     clock
-- KEYS     [1] holds  [2] hold
-- ARGV     [1] now ms of a test, or ''  [2] how many at most
-- RETURNS  {now ms, name, record, ..}
-- CLOCK    redis TIME
-- WRITES   nothing
-- COST     O(what it returns)
-- CALLED BY  storage/redis_counters.py

local now_ms = clock(ARGV[1])
local names = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now_ms), 'LIMIT', '0', ARGV[2])
local reply = { now_ms }
for _, name in ipairs(names) do
  reply[#reply + 1] = name
  reply[#reply + 1] = redis.call('HGET', KEYS[2], name) or ''
end
return reply

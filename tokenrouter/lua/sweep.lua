-- sweep: forget what is over: counters of past periods, places that lapsed, names of holds that were settled or presumed long ago
-- USES     clock hold
-- KEYS     [1] epoch  [2] index  [3] done  [4] presumed  [5] hold, then counters and places to look at
-- ARGV     [1] now ms of a test, or ''  [2] counters are kept for ms after their period  [3] done for ms  [4] presumed for ms
-- RETURNS  {keys that are gone, now ms}
-- CLOCK    redis TIME
-- WRITES   what is over. A counter on which something is held stays
-- COST     O(keys + what is forgotten)
-- CALLED BY  storage/redis_counters.py

local now_ms, prefix, gone = clock(ARGV[1]), #KEYS[1] - 5, 0

-- 1. Read.
redis.call('ZCARD', KEYS[3])
redis.call('HLEN', KEYS[5])
local old = redis.call('ZRANGEBYSCORE', KEYS[4], '-inf', text(now_ms - tonumber(ARGV[4])), 'LIMIT', 0, 1000)
local looked = {}
for i = 6, #KEYS do
  local name = string.sub(KEYS[i], prefix + 1)
  local at = tonumber(redis.call('ZSCORE', KEYS[2], name) or 'inf')
  if string.sub(name, 1, 2) == 'p:' then
    if at <= now_ms then
      looked[i] = { name = name, newest = redis.call('ZREVRANGE', KEYS[i], 0, 0, 'WITHSCORES')[2] }
    end
  elseif at <= now_ms - tonumber(ARGV[2]) then
    looked[i] = { name = name, held = integer(redis.call('HGET', KEYS[i], 'held'), 0) }
  end
end

-- 2. Write.
for i, look in pairs(looked) do
  if look.held and look.held > 0 then
    redis.call('ZADD', KEYS[2], text(now_ms), look.name)
  elseif look.newest and tonumber(look.newest) > now_ms then
    redis.call('ZADD', KEYS[2], look.newest, look.name)
  else
    gone = gone + redis.call('DEL', KEYS[i])
    redis.call('ZREM', KEYS[2], look.name)
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(now_ms - tonumber(ARGV[3])))
for _, name in ipairs(old) do
  redis.call('HDEL', KEYS[5], name)
  redis.call('ZREM', KEYS[4], name)
end
return { gone, now_ms }

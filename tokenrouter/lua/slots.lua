-- slots: one worker's places of a limit that all workers share
-- USES     clock
-- KEYS     [1] zset worker -> when its places are free again (ms)   [2] hash worker -> places
-- ARGV     [1] worker   [2] places it wants in all   [3] limit   [4] ttl ms   [5] now ms of a test, or ''
-- RETURNS  {places it has, places of the others, workers that want any, now ms}
-- CLOCK    redis TIME
-- WRITES   this worker's places; those of workers that did not come again in time are free
-- COST     O(workers)
-- CALLED BY  storage/redis_shares.py

local worker, wanted, limit, ttl_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now_ms = clock(ARGV[5])

-- 1. Read: who is there, and what the others have.
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now_ms))
local gone, others = { [worker] = true }, 0
for _, each in ipairs(lapsed) do gone[each] = true end
local places = redis.call('HGETALL', KEYS[2])
for i = 1, #places, 2 do
  if not gone[places[i]] then others = others + integer(places[i + 1], 0) end
end

-- 2. Write.
for _, each in ipairs(lapsed) do
  redis.call('ZREM', KEYS[1], each)
  redis.call('HDEL', KEYS[2], each)
end
local granted = math.max(0, math.min(wanted, limit - others))
if wanted > 0 then
  redis.call('ZADD', KEYS[1], text(now_ms + ttl_ms), worker)
  redis.call('HSET', KEYS[2], worker, text(granted))
else
  redis.call('ZREM', KEYS[1], worker)
  redis.call('HDEL', KEYS[2], worker)
end
return { granted, others, redis.call('ZCARD', KEYS[1]), now_ms }

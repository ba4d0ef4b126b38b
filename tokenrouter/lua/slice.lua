-- slice: one worker's slice of a budget that all tenants share: report what was spent, and have so much at hand
-- USES     clock
-- KEYS     [1] hash of the budget: spent, presumed, sliced, run   [2] zset worker -> when its slice lapses (ms)
--          [3] hash of the workers: r:<worker> reported, s:<worker> slice, p:<worker> presumed spent of a lapsed slice
-- ARGV     [1] worker   [2] what it has spent since it began   [3] what it wants at hand, beyond that   [4] budget
--          [5] ttl ms   [6] run id of the server, or ''   [7] now ms of a test, or ''
-- RETURNS  {1, at hand, spent in all, presumed in all, at hand of the others, now ms}, or {0}: the budget must be seeded first
-- CLOCK    redis TIME
-- WRITES   unless it must be seeded; slices of workers that did not come again in time are presumed spent until their truth comes.
--          A worker that is unknown here reports nothing: what it had spent is in the seed
-- COST     O(workers that lapsed)
-- CALLED BY  storage/redis_shares.py

local worker, total, wanted, budget = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local now_ms = clock(ARGV[7])

-- 1. Read.
local stored = redis.call('HMGET', KEYS[1], 'spent', 'presumed', 'sliced', 'run')
if not stored[1] or (ARGV[6] ~= '' and stored[4] ~= '' and stored[4] ~= ARGV[6]) then return { 0 } end
local spent, presumed, sliced = integer(stored[1], 0), integer(stored[2], 0), integer(stored[3], 0)
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(now_ms))
local lost, mourned_of = {}, {}
for i, each in ipairs(lapsed) do
  local left = redis.call('HMGET', KEYS[3], 's:' .. each, 'p:' .. each)
  lost[i], mourned_of[i] = integer(left[1], 0), integer(left[2], 0)
end
local own = redis.call('HMGET', KEYS[3], 'r:' .. worker, 's:' .. worker, 'p:' .. worker)
local reported, slice, mourned = integer(own[1], total), integer(own[2], 0), integer(own[3], 0)

-- 2. Slices of the lapsed are presumed spent.
for i, each in ipairs(lapsed) do
  redis.call('ZREM', KEYS[2], each)
  if each ~= worker then
    redis.call('HSET', KEYS[3], 's:' .. each, '0', 'p:' .. each, text(mourned_of[i] + lost[i]))
    presumed, sliced = presumed + lost[i], sliced - lost[i]
  end
end

-- 3. The truth of this worker replaces its slice, and what was presumed of it.
spent, presumed, sliced = spent + math.max(0, total - reported), presumed - mourned, sliced - slice

-- 4. What it gets.
local granted = math.max(0, math.min(wanted, budget - spent - presumed - sliced))
redis.call('HSET', KEYS[1], 'spent', text(spent), 'presumed', text(presumed), 'sliced', text(sliced + granted))
redis.call('HSET', KEYS[3], 'r:' .. worker, text(math.max(total, reported)), 's:' .. worker, text(granted), 'p:' .. worker, '0')
if granted > 0 then
  redis.call('ZADD', KEYS[2], text(now_ms + tonumber(ARGV[5])), worker)
else
  redis.call('ZREM', KEYS[2], worker)
end
return { 1, granted, spent, presumed, sliced, now_ms }

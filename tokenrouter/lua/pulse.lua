-- pulse: a worker is alive, and so are these holds and tickets of one tenant
-- USES     clock
-- KEYS     [1] epoch  [2] holds  [3] hold  [4] done  [5] index, then places of limits
-- ARGV     [1] now ms of a test, or ''  [2] places lapse after ms  [3] holds lapse after ms  [4] holds, then their names, then of each
--          ticket: its name, and the number of its key among the places
-- RETURNS  {now ms, epoch id or '', state or '', since ms, run id of the epoch, numbers of holds that are not known here..}
-- CLOCK    redis TIME
-- WRITES   when holds and tickets lapse; tickets that are not there are put there. A hold that is presumed spent stays so
-- COST     O(holds + tickets)
-- CALLED BY  storage/redis_counters.py

local now_ms, n_holds = clock(ARGV[1]), tonumber(ARGV[4])
local held_until, there_until = text(now_ms + tonumber(ARGV[3])), text(now_ms + tonumber(ARGV[2]))
local prefix = #KEYS[1] - 5

-- 1. Read.
local epoch = redis.call('HMGET', KEYS[1], 'id', 'state', 'since', 'run')
redis.call('ZSCORE', KEYS[5], 'a')
for i = 6, #KEYS do redis.call('ZCARD', KEYS[i]) end
local reply, known = { now_ms, epoch[1] or '', epoch[2] or '', tonumber(epoch[3] or 0), epoch[4] or '' }, {}
for i = 1, n_holds do
  local name = ARGV[4 + i]
  if redis.call('ZSCORE', KEYS[2], name) then
    known[#known + 1] = name
  elseif redis.call('HEXISTS', KEYS[3], name) == 0 and not redis.call('ZSCORE', KEYS[4], name) then
    reply[#reply + 1] = i
  end
end

-- 2. Write.
for _, name in ipairs(known) do redis.call('ZADD', KEYS[2], held_until, name) end
for i = 5 + n_holds, #ARGV, 2 do
  local key = KEYS[5 + tonumber(ARGV[i + 1])]
  if redis.call('ZADD', key, there_until, ARGV[i]) == 1 then redis.call('ZADD', KEYS[5], there_until, string.sub(key, prefix + 1)) end
end
return reply

-- seed: make a tenant's counters from the ledger's sums and from the holds that are here
-- USES     clock hold
-- KEYS     [1] epoch  [2] holds  [3] hold  [4] done  [5] index  [6] presumed, then counters
-- ARGV     [1] who rebuilds  [2] epoch id  [3] now ms of a test, or ''  [4] the last part 0|1  [5] ids presumed  [6] ids settled, then of each
--          counter: spent, or '' where a part before has written it; presumed; ends ms or +inf; then the ids
-- RETURNS  {0 written, now ms}   {1 this rebuild is over, or another's, now ms}   {2 a hold's counter is not among the keys, now ms}
-- CLOCK    redis TIME
-- WRITES   counters as they are given. The last part: what holds here hold, where the ledger does not presume them spent; and that the
--          counters are there. Holds that the ledger knows to be settled are over; ids presumed are remembered, for those who settle late
-- COST     O(counters + holds + ids)
-- CALLED BY  storage/redis_rebuild.py

local now_ms, last, n_presumed, n_settled = clock(ARGV[3]), ARGV[4] == '1', tonumber(ARGV[5]), tonumber(ARGV[6])
local prefix = #KEYS[1] - 5

-- 1. Read, and see that it is still ours.
local epoch = redis.call('HMGET', KEYS[1], 'id', 'state', 'driver')
if epoch[1] ~= ARGV[2] or epoch[2] ~= 'rebuilding' or epoch[3] ~= ARGV[1] then return { 1, now_ms } end
for _, number in ipairs({ 2, 4, 5, 6 }) do redis.call('ZCARD', KEYS[number]) end
local held, arg = {}, 7
for i = 7, #KEYS do held[string.sub(KEYS[i], prefix + 1)] = 0 end
arg = arg + 3 * (#KEYS - 6)
local presumed, settled = {}, {}
for i = arg, arg + n_presumed - 1 do presumed[ARGV[i]] = true end
for i = arg + n_presumed, arg + n_presumed + n_settled - 1 do settled[ARGV[i]] = true end

-- 2. What becomes of the holds that are here.
local over, late = {}, {}
local stored = last and redis.call('HGETALL', KEYS[3]) or {}
for i = 1, #stored, 2 do
  local name, record = stored[i], cmsgpack.unpack(stored[i + 1])
  if settled[record[ID]] then
    over[#over + 1] = name
  elseif presumed[record[ID]] or record[STATE] ~= 'h' then
    presumed[record[ID]] = nil
    if record[STATE] == 'h' then late[#late + 1] = { name, record } end
  else
    for _, cap in ipairs(record[CAPS]) do
      if not held[cap[COUNTER]] then return { 2, now_ms } end
      held[cap[COUNTER]] = held[cap[COUNTER]] + cap[AMOUNT]
    end
  end
end

-- 3. Write: counters.
for i = 7, #KEYS do
  local counter, at = string.sub(KEYS[i], prefix + 1), 7 + 3 * (i - 7)
  if ARGV[at] ~= '' then
    redis.call('DEL', KEYS[i])
    redis.call('HSET', KEYS[i], 'spent', ARGV[at], 'presumed', ARGV[at + 1], 'seed', text(tonumber(ARGV[at]) + tonumber(ARGV[at + 1])))
    redis.call('ZADD', KEYS[5], ARGV[at + 2], counter)
  end
  if last then redis.call('HSET', KEYS[i], 'held', text(held[counter])) end
end
if not last then return { 0, now_ms } end

-- 4. Write: holds, and that the counters are there.
for _, name in ipairs(over) do
  redis.call('HDEL', KEYS[3], name)
  redis.call('ZREM', KEYS[2], name)
  redis.call('ZREM', KEYS[6], name)
  redis.call('ZADD', KEYS[4], text(now_ms), name)
end
for _, each in ipairs(late) do
  each[2][STATE] = 'p'
  redis.call('HSET', KEYS[3], each[1], cmsgpack.pack(each[2]))
  redis.call('ZREM', KEYS[2], each[1])
  redis.call('ZADD', KEYS[6], text(now_ms), each[1])
end
for id in pairs(presumed) do
  redis.call('HSET', KEYS[3], id, cmsgpack.pack({ 'q', id, now_ms, 0, 0, '', {}, {} }))
  redis.call('ZADD', KEYS[6], text(now_ms), id)
end
redis.call('HSET', KEYS[1], 'state', 'ready')
redis.call('HDEL', KEYS[1], 'driver', 'until')
return { 0, now_ms }

-- expire: a hold that its owner did not renew is presumed spent, never given back
-- USES     clock hold
-- KEYS     [1] epoch  [2] holds  [3] hold  [4] presumed  [5] ledger  [6] index, then its caps' counters
-- ARGV     [1] hold's name  [2] now ms of a test, or ''  [3] run id of the server, or ''
-- RETURNS  {0 it is presumed spent, now ms}   {1 it is renewed, over, or presumed already, now ms}   {3 counters are to be rebuilt first, now ms}
-- CLOCK    redis TIME
-- WRITES   only when it has lapsed: held becomes presumed, and the ledger is told
-- COST     O(caps)
-- CALLED BY  storage/redis_counters.py

local name, now_ms = ARGV[1], clock(ARGV[2])

-- 1. Read.
local lapses = redis.call('ZSCORE', KEYS[2], name)
local record = unpacked(redis.call('HGET', KEYS[3], name))
redis.call('ZSCORE', KEYS[4], name)
redis.call('XLEN', KEYS[5])
redis.call('ZSCORE', KEYS[6], name)
if not lapses or tonumber(lapses) > now_ms then return { 1, now_ms } end
if not record then  -- its record is gone: there is nothing to presume
  redis.call('ZREM', KEYS[2], name)
  return { 1, now_ms }
end
local fresh, deleted = {}, false
for i, cap in ipairs(record[CAPS]) do
  if string.sub(KEYS[6 + i] or '', #KEYS[1] - 4) ~= cap[COUNTER] then error('not the counters of this hold: ' .. name) end
  local stored = redis.call('HMGET', KEYS[6 + i], 'spent', 'held', 'presumed')
  integer(stored[2], 0)
  integer(stored[3], 0)
  fresh[i] = not stored[1] and not stored[2] and not stored[3]
  deleted = deleted or (fresh[i] and was_deleted(KEYS[6], KEYS[6 + i], #KEYS[1] - 5))
end
local epoch = read_epoch(KEYS[1])
if deleted then must_rebuild(KEYS[1], epoch, ARGV[3], now_ms, name) end
if #record[CAPS] > 0 and (deleted or not is_ready(epoch, ARGV[3])) then return { 3, now_ms } end

-- 2. Write.
for i, cap in ipairs(record[CAPS]) do
  redis.call('HINCRBY', KEYS[6 + i], 'held', text(0 - cap[AMOUNT]))
  redis.call('HINCRBY', KEYS[6 + i], 'presumed', text(cap[AMOUNT]))
  if fresh[i] then redis.call('ZADD', KEYS[6], cap[ENDS] > 0 and text(cap[ENDS]) or '+inf', cap[COUNTER]) end
end
if record[INTENT] ~= '' then tell_ledger(KEYS[5], 'p', record, record[INTENT]) end
record[STATE], record[INTENT] = 'p', ''
redis.call('ZREM', KEYS[2], name)
redis.call('ZADD', KEYS[4], text(now_ms), name)
redis.call('HSET', KEYS[3], name, cmsgpack.pack(record))
return { 0, now_ms }

-- assert: a hold that is not known here, told by its owner: the server lost it
-- USES     clock hold
-- KEYS     [1] epoch  [2] holds  [3] hold  [4] done  [5] index  [6] ledger, then its caps' counters
-- ARGV     [1] hold's name  [2] request id  [3] now ms of a test, or ''  [4] run id of the server, or ''  [5] holds lapse after ms
--          [6] admitted ms  [7] nano-USD  [8] tokens  [9] intent, or ''  [10] caps  [11] limits of tokens, then each of them:
--          cap: amount, ends ms or 0;  limit: counter, amount, tick ms
-- RETURNS  {0 it is there, now ms, epoch id}   {1 it was known, or is settled, now ms}
-- CLOCK    redis TIME
-- WRITES   the hold, and its intent, which may be lost too. Counters that are there: what it holds; the others are made from it
-- COST     O(caps)
-- CALLED BY  storage/redis_counters.py

local name, now_ms, n_caps, n_limits = ARGV[1], clock(ARGV[3]), tonumber(ARGV[10]), tonumber(ARGV[11])

-- 1. Read.
if redis.call('HEXISTS', KEYS[3], name) == 1 or redis.call('HEXISTS', KEYS[3], ARGV[2]) == 1 or redis.call('ZSCORE', KEYS[4], name) then
  return { 1, now_ms }
end
local epoch = read_epoch(KEYS[1])
redis.call('ZSCORE', KEYS[2], name)
redis.call('ZSCORE', KEYS[5], name)
redis.call('XLEN', KEYS[6])
local prefix = #KEYS[1] - 5
local record = { 'h', ARGV[2], tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9], {}, {} }
local ready = is_ready(epoch, ARGV[4])
for i = 1, n_caps do
  integer(redis.call('HGET', KEYS[6 + i], 'held'), 0)
  if ready and was_deleted(KEYS[5], KEYS[6 + i], prefix) then
    ready, epoch[1] = false, must_rebuild(KEYS[1], epoch, ARGV[4], now_ms, name)
  end
  record[CAPS][i] = { string.sub(KEYS[6 + i], prefix + 1), tonumber(ARGV[10 + 2 * i]), tonumber(ARGV[11 + 2 * i]) }
end
for i = 1, n_limits do
  local arg = 9 + 2 * n_caps + 3 * i
  record[TAKES][i] = { ARGV[arg], tonumber(ARGV[arg + 1]), tonumber(ARGV[arg + 2]), tonumber(ARGV[arg + 1]) }
end

-- 2. Write.
for i, cap in ipairs(record[CAPS]) do
  if ready then redis.call('HINCRBY', KEYS[6 + i], 'held', text(cap[AMOUNT])) end
  redis.call('ZADD', KEYS[5], cap[ENDS] > 0 and text(cap[ENDS]) or '+inf', cap[COUNTER])
end
redis.call('ZADD', KEYS[2], text(now_ms + tonumber(ARGV[5])), name)
redis.call('HSET', KEYS[3], name, cmsgpack.pack(record))
if ARGV[9] ~= '' then tell_ledger(KEYS[6], 'i', record, ARGV[9]) end
return { 0, now_ms, epoch[1] or '' }

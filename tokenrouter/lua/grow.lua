-- grow: a call under way has come to more than its hold: hold that. Never refused
-- USES     clock limits hold
-- KEYS     [1] epoch  [2] hold  [3] index, then its caps' counters, then its limits of tokens (two keys of a sliding window)
-- ARGV     [1] hold's name  [2] now ms of a test, or ''  [3] run id of the server, or ''  [4] nano-USD  [5] tokens  [6] caps
--          [7] limits, then each of them:  cap: unit u|t;  limit: kind b|w, most, refill, ms of a tick
-- RETURNS  {0 held, now ms}   {1 over, or not known here, now ms}
-- CLOCK    redis TIME
-- WRITES   only what is more than before, so a second time nothing. While counters are rebuilt: the hold itself, which they are made from
-- COST     O(caps + limits)
-- CALLED BY  storage/redis_counters.py

local name, run_id = ARGV[1], ARGV[3]
local now_ms, runs = clock(ARGV[2]), ARGV[2] == ''
local usd, tokens, n_caps, n_limits = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])

-- 1. Read.
local record = unpacked(redis.call('HGET', KEYS[2], name))
if not record or record[STATE] ~= 'h' then return { 1, now_ms } end
local epoch = read_epoch(KEYS[1])
local ready = is_ready(epoch, run_id)
local key, arg, more, meters = 4, 8, {}, {}
for i = 1, n_caps do
  integer(redis.call('HGET', KEYS[key], 'held'), 0)
  if ready and was_deleted(KEYS[3], KEYS[key], #KEYS[1] - 5) then
    must_rebuild(KEYS[1], epoch, run_id, now_ms, name)
    ready = false
  end
  more[i] = math.max(0, (ARGV[arg] == 'u' and usd or tokens) - record[CAPS][i][AMOUNT])
  key, arg = key + 1, arg + 1
end
for i = 1, n_limits do
  meters[i], key, arg = read_meter(key, arg, now_ms)
end

-- 2. Write.
for i = 1, n_caps do
  record[CAPS][i][AMOUNT] = record[CAPS][i][AMOUNT] + more[i]
  if ready and more[i] > 0 then redis.call('HINCRBY', KEYS[3 + i], 'held', text(more[i])) end
end
for i, meter in ipairs(meters) do
  local taken = record[TAKES][i]
  if tokens > taken[AMOUNT] then
    retake(meter, taken, tokens)
    store(meter, runs)
  end
end
record[USD], record[TOKENS] = math.max(record[USD], usd), math.max(record[TOKENS], tokens)
redis.call('HSET', KEYS[2], name, cmsgpack.pack(record))
return { 0, now_ms }

-- settle: replace a hold by what became of it, once
-- USES     clock limits hold
-- KEYS     [1] epoch  [2] holds  [3] hold  [4] done  [5] index  [6] ledger  [7] presumed, then its caps' counters, then its limits of
--          tokens (two keys of a sliding window)
-- ARGV     [1] hold's name  [2] request id  [3] now ms of a test, or ''  [4] run id of the server, or ''
--          [5] one that was admitted before ms ago and is not known here may be forgotten; '': it never was here
--          [6] s the truth; p all of it is presumed spent; v there was no call; u whoever asked for it does not know whether it was given
--          [7] nano-USD  [8] tokens  [9] entry for the ledger, or ''
--          [10] of a hold that is not known here: its nano-USD  [11] tokens  [12] admitted ms  [13] intent
--          [14] forget what was settled before ms ago  [15] caps  [16] limits, then each of them:
--          cap: unit u|t, ends ms or 0, alerts, of each alert: field, threshold;  limit: kind b|w, most, refill, ms of a tick
-- RETURNS  {0 settled, now ms, epoch id, 1 if it came late, of each share that was reached: cap's number, alert's number, booked}
--          {1 settled before, now ms}   {3 to be rebuilt first, now ms, epoch id}
--          {4 only the ledger can say whether it is booked: it is told, and counters are to be rebuilt from it, now ms, epoch id}
-- CLOCK    redis TIME
-- WRITES   unless it was settled before; when to be rebuilt, the epoch only. A hold that is not known is booked and releases nothing;
--          of one that its owner may never have got, only its name stays, so that it is refused if it comes
-- COST     O(caps + limits)
-- CALLED BY  storage/redis_counters.py

local name, request_id, run_id, mode = ARGV[1], ARGV[2], ARGV[4], ARGV[6]
local now_ms, runs = clock(ARGV[3]), ARGV[3] == ''
local usd, tokens = tonumber(ARGV[7]), tonumber(ARGV[8])
local n_caps, n_limits = tonumber(ARGV[15]), tonumber(ARGV[16])

-- 1. Was it settled before? What is it, and are its caps' counters there?
if redis.call('ZSCORE', KEYS[4], name) then return { 1, now_ms } end
local epoch = read_epoch(KEYS[1])
local stored = redis.call('HMGET', KEYS[3], name, request_id)
local record = unpacked(stored[1] or stored[2])
redis.call('ZSCORE', KEYS[2], name)
redis.call('ZSCORE', KEYS[5], name)
redis.call('ZSCORE', KEYS[7], name)
redis.call('XLEN', KEYS[6])
local forgotten = text(now_ms - tonumber(ARGV[14]))

-- Not known here, and it may have been settled or presumed spent here and forgotten, or be in the sums from which the counters were made
-- since: to book it might be to book it twice.
local old = ARGV[5] ~= '' and tonumber(ARGV[12]) <= now_ms - tonumber(ARGV[5])
local summed = (mode == 's' or mode == 'p') and is_ready(epoch, run_id) and tonumber(ARGV[12]) < integer(redis.call('HGET', KEYS[1], 'since'), 0)
if not record and n_caps > 0 and (old or summed) then
  local told = { '', request_id, tonumber(ARGV[12]), tonumber(ARGV[10]), tonumber(ARGV[11]) }
  if mode == 'v' or mode == 'u' then
    if ARGV[13] ~= '' then tell_ledger(KEYS[6], 'v', told, '') end
  elseif ARGV[9] ~= '' then
    tell_ledger(KEYS[6], 's', told, ARGV[9])
  end
  redis.call('ZADD', KEYS[4], text(now_ms), name)
  return { 4, now_ms, rebuild_anew(KEYS[1], run_id, now_ms, name) }
end
if mode == 'u' and not record then
  redis.call('ZADD', KEYS[4], text(now_ms), name)
  return { 0, now_ms, epoch[1] or '', 0 }
end
if n_caps > 0 and not is_ready(epoch, run_id) then
  return { 3, now_ms, must_rebuild(KEYS[1], epoch, run_id, now_ms, name) }
end
local state = record and record[STATE] or ''
local whole = state == 'h' or state == 'p'  -- it tells what it holds
if not whole then record = { state, request_id, tonumber(ARGV[12]), tonumber(ARGV[10]), tonumber(ARGV[11]), ARGV[13], {}, {} } end

-- 2. Read its caps' counters, and which shares were told.
local key, arg, caps = 8, 17, {}
for i = 1, n_caps do
  local in_usd, alerts = ARGV[arg] == 'u', tonumber(ARGV[arg + 2])
  local cap = { key = KEYS[key], actual = in_usd and usd or tokens, held = record[in_usd and USD or TOKENS], ends = ARGV[arg + 1], alerts = {} }
  if whole then cap.held = record[CAPS][i][AMOUNT] end
  local fields = { 'spent', 'held', 'presumed', 'seed' }
  for j = 1, alerts do
    fields[4 + j] = ARGV[arg + 1 + 2 * j]
    cap.alerts[j] = { field = fields[4 + j], at = tonumber(ARGV[arg + 2 + 2 * j]) }
  end
  local told = redis.call('HMGET', cap.key, unpack(fields))
  cap.booked, cap.seed = integer(told[1], 0) + integer(told[3], 0), integer(told[4], -1)
  integer(told[2], 0)
  cap.new = not told[1] and not told[2] and not told[3]
  if cap.new and was_deleted(KEYS[5], cap.key, #KEYS[1] - 5) then
    return { 3, now_ms, must_rebuild(KEYS[1], epoch, run_id, now_ms, name) }
  end
  for j, alert in ipairs(cap.alerts) do alert.told = told[4 + j] end
  caps[i], key, arg = cap, key + 1, arg + 3 + 2 * alerts
end

-- 3. Read its limits of tokens, and make what was taken what was used.
local meters = {}
for i = 1, n_limits do
  local meter
  meter, key, arg = read_meter(key, arg, now_ms)
  if whole and mode ~= 'p' then
    retake(meter, record[TAKES][i], tokens)
    meters[#meters + 1] = meter
  end
end

-- 4. Write: limits and caps.
for _, meter in ipairs(meters) do store(meter, runs) end
local reply = { 0, now_ms, epoch[1] or '', (state == 'p' or state == 'q') and 1 or 0 }
for i, cap in ipairs(caps) do
  local released = state == 'h' and 'held' or (state ~= '' and 'presumed')
  if released then redis.call('HINCRBY', cap.key, released, text(0 - cap.held)) end
  if released == 'presumed' then cap.booked = cap.booked - cap.held end
  local booked = mode == 'p' and cap.held or cap.actual
  redis.call('HINCRBY', cap.key, mode == 'p' and 'presumed' or 'spent', text(booked))
  cap.booked = cap.booked + booked
  if cap.new then redis.call('ZADD', KEYS[5], cap.ends ~= '0' and cap.ends or '+inf', string.sub(cap.key, #KEYS[1] - 4)) end
  for j, alert in ipairs(cap.alerts) do
    if not alert.told and cap.booked >= alert.at and cap.seed < alert.at then
      redis.call('HSET', cap.key, alert.field, '1')
      for _, number in ipairs({ i, j, cap.booked }) do reply[#reply + 1] = number end
    end
  end
end

-- 5. Write: the hold is over, and the ledger is told. One that is not known here may have lost its intent too.
redis.call('HDEL', KEYS[3], name, request_id)
redis.call('ZREM', KEYS[2], name)
redis.call('ZREM', KEYS[7], name, request_id)
redis.call('ZADD', KEYS[4], text(now_ms), name)
redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', forgotten)
if mode == 'v' or mode == 'u' then
  if ARGV[13] ~= '' then tell_ledger(KEYS[6], 'v', record, '') end
elseif ARGV[9] ~= '' then
  tell_ledger(KEYS[6], 's', record, ARGV[9], reply[4] == 1)
end
return reply

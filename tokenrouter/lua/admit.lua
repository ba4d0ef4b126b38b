-- admit: everything that one request asks for, or nothing: requests, a kept answer, places, tokens, caps
-- USES     clock limits hold
-- KEYS     [1] epoch  [2] holds  [3] hold  [4] done  [5] index  [6] ledger, then those of: the kept answer if one would do; each limit
--          of requests (two of a sliding window); each limit of places; each limit of tokens; each cap that has a counter
-- ARGV     [1] hold's and ticket's name  [2] request id  [3] now ms of a test, or ''  [4] run id of the server, or ''
--          [5] places lapse after ms  [6] holds lapse after ms  [7] take one of the requests 0|1  [8] a kept answer would do 0|1
--          [9] hold 0|1  [10] nano-USD  [11] tokens  [12] intent for the ledger, or ''
--          [13] limits of requests  [14] limits of places  [15] limits of tokens  [16] caps; then each of them in that order:
--          limit: kind b|w, most, refill, ms of a tick;  places: most;  cap: unit u|t, amount, only warn 0|1, starts ms, ends ms
--          (0: never ends; -1: a cap of single requests, without a counter)
-- RETURNS  {0 admitted, now ms, epoch id, kept answer or '', three of requests, three of tokens, tick ms.., caps that warn..}: of the
--          tightest limit the most, what is left, ms until whole (-1: no limit)
--          {1 refused, now ms, epoch id, kind r|p|t|c, its number, retry ms or -1, left, held}
--          {2 another period, now ms}   {3 to be rebuilt, now ms, epoch id}   {4 given up by its owner, now ms}
-- CLOCK    redis TIME
-- WRITES   only when admitted; when to be rebuilt, the epoch
-- COST     O(limits + caps), and of sliding windows what has left them
-- CALLED BY  storage/redis_counters.py

local name, request_id, run_id = ARGV[1], ARGV[2], ARGV[4]
local now_ms, runs = clock(ARGV[3]), ARGV[3] == ''
local usd, tokens = tonumber(ARGV[10]), tonumber(ARGV[11])
local holding, n_requests, n_places, n_tokens, n_caps = ARGV[9] == '1', tonumber(ARGV[13]), tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])
local key, arg, prefix = 7, 17, #KEYS[1] - 5

-- 1. Read: the epoch, and all limits up to this moment.
local epoch = read_epoch(KEYS[1])
local epoch_id = epoch[1] or ''
local answer_key
if ARGV[8] == '1' then
  answer_key, key = KEYS[key], key + 1
end
local requests, places, spending, caps = {}, {}, {}, {}
for i = 1, n_requests do
  requests[i], key, arg = read_meter(key, arg, now_ms)
end
for i = 1, n_places do
  places[i] = { key = KEYS[key], most = tonumber(ARGV[arg]) }
  key, arg = key + 1, arg + 1
end
for i = 1, n_tokens do
  spending[i], key, arg = read_meter(key, arg, now_ms)
end

local function refuse(kind, number, retry_ms, left, held)
  return { 1, now_ms, epoch_id, kind, number, retry_ms, math.max(0, left), held }
end

local function standing(reply, meters)
  local tightest
  for _, meter in ipairs(meters) do
    if not tightest or meter.left < tightest.left then tightest = meter end
  end
  reply[#reply + 1] = tightest and tightest.most or -1
  reply[#reply + 1] = tightest and math.max(0, tightest.left) or 0
  reply[#reply + 1] = tightest and whole_ms(tightest) or 0
end

local function admitted(kept, warnings)
  local reply = { 0, now_ms, epoch_id, kept }
  standing(reply, requests)
  standing(reply, spending)
  for _, meter in ipairs(spending) do reply[#reply + 1] = meter.tick end
  for _, number in ipairs(warnings) do reply[#reply + 1] = number end
  return reply
end

-- 2. Requests.
if ARGV[7] == '1' then
  for i, meter in ipairs(requests) do
    if meter.left < 1 then return refuse('r', i, wait_ms(meter, 1), meter.left, 0) end
  end
  for _, meter in ipairs(requests) do take(meter, 1) end
end

local function store_requests()
  if ARGV[7] == '1' then
    for _, meter in ipairs(requests) do store(meter, runs) end
  end
end

-- 3. A kept answer is given even where the rest is spent. A key of another kind is no answer.
if answer_key then
  local kept = redis.pcall('GET', answer_key)
  if type(kept) == 'string' then
    store_requests()
    return admitted(kept, {})
  end
end

-- 4. Whoever asked may have given up and said so on another connection before this arrived.
if redis.call('ZSCORE', KEYS[4], name) then return { 4, now_ms } end

-- 5. Places.
redis.call('ZSCORE', KEYS[5], 'a')  -- of the right kind, before anything is written
for i, place in ipairs(places) do
  place.taken = redis.call('ZCOUNT', place.key, '(' .. text(now_ms), '+inf')
  if place.taken >= place.most then return refuse('p', i, -1, 0, 0) end
end

-- 6. Tokens.
local warnings = {}
if holding then
  for i, meter in ipairs(spending) do
    if meter.left < tokens then return refuse('t', i, wait_ms(meter, tokens), meter.left, 0) end
  end

  -- 7. Caps: the right period, counters that are there, and room in each.
  local counted = 0
  for i = 1, n_caps do
    local cap = { amount = ARGV[arg] == 'u' and usd or tokens, limit = tonumber(ARGV[arg + 1]), warns = ARGV[arg + 2] == '1',
      starts = tonumber(ARGV[arg + 3]), ends = tonumber(ARGV[arg + 4]) }
    if cap.ends > 0 and (now_ms < cap.starts or now_ms >= cap.ends) then return { 2, now_ms } end
    if cap.ends >= 0 then
      cap.key, key, counted = KEYS[key], key + 1, counted + 1
    end
    caps[i], arg = cap, arg + 5
  end
  if counted > 0 and not is_ready(epoch, run_id) then
    return { 3, now_ms, must_rebuild(KEYS[1], epoch, run_id, now_ms, name) }
  end
  for i, cap in ipairs(caps) do
    local total, held = 0, 0
    if cap.key then
      local stored = redis.call('HMGET', cap.key, 'spent', 'held', 'presumed')
      held, cap.new = integer(stored[2], 0), not stored[1] and not stored[2] and not stored[3]
      total = integer(stored[1], 0) + held + integer(stored[3], 0)
      if cap.new and was_deleted(KEYS[5], cap.key, prefix) then
        return { 3, now_ms, must_rebuild(KEYS[1], epoch, run_id, now_ms, name) }
      end
    end
    if total + cap.amount > cap.limit then
      if not cap.warns then
        local retry_ms = (cap.ends > 0 and cap.amount <= cap.limit) and cap.ends - now_ms or -1
        return refuse('c', i, retry_ms, cap.limit - total, held)
      end
      warnings[#warnings + 1] = i
    end
  end
  redis.call('ZSCORE', KEYS[2], name)
  redis.call('HEXISTS', KEYS[3], name)
  redis.call('XLEN', KEYS[6])
end

-- 8. Nothing is refused from here on: write.
store_requests()
for _, place in ipairs(places) do
  redis.call('ZREMRANGEBYSCORE', place.key, '-inf', text(now_ms))
  redis.call('ZADD', place.key, text(now_ms + tonumber(ARGV[5])), name)
  if place.taken == 0 then redis.call('ZADD', KEYS[5], text(now_ms + tonumber(ARGV[5])), string.sub(place.key, prefix + 1)) end
end
if holding then
  local record = { 'h', request_id, now_ms, usd, tokens, ARGV[12], {}, {} }
  for i, meter in ipairs(spending) do
    record[TAKES][i] = { string.sub(meter.key, prefix + 1), tokens, take(meter, tokens), tokens }
    store(meter, runs)
  end
  for _, cap in ipairs(caps) do
    if cap.key then
      local counter = string.sub(cap.key, prefix + 1)
      redis.call('HINCRBY', cap.key, 'held', text(cap.amount))
      if cap.new then redis.call('ZADD', KEYS[5], cap.ends > 0 and text(cap.ends) or '+inf', counter) end
      table.insert(record[CAPS], { counter, cap.amount, cap.ends })
    end
  end
  redis.call('ZADD', KEYS[2], text(now_ms + tonumber(ARGV[6])), name)
  redis.call('HSET', KEYS[3], name, cmsgpack.pack(record))
  if ARGV[12] ~= '' then tell_ledger(KEYS[6], 'i', record, ARGV[12]) end
end
return admitted('', warnings)

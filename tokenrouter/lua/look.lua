-- look: where everything that binds one caller stands
-- USES     clock limits hold
-- KEYS     [1] epoch  [2] index, then those of each limit of requests (two of a sliding window); of places; of tokens; each cap that has a counter
-- ARGV     [1] now ms of a test, or ''  [2] run id of the server, or ''  [3] limits of requests  [4] limits of places  [5] limits of tokens
--          [6] caps with a counter, then each of them:  limit: kind b|w, most, refill, ms of a tick;  cap: starts ms, ends ms (0: never)
-- RETURNS  {0, now ms, of each limit: left, ms until whole; of each limit of places: taken; of each cap: spent, held, presumed}
--          {2 another period, now ms}   {3 to be rebuilt, now ms}
-- CLOCK    redis TIME
-- WRITES   nothing
-- COST     O(limits + caps), and of sliding windows what has left them
-- CALLED BY  storage/redis_counters.py

local now_ms, key, arg = clock(ARGV[1]), 3, 7
local reply = { 0, now_ms }

local function add(...)
  for _, number in ipairs({ ... }) do reply[#reply + 1] = number end
end

local function meters(count)
  for _ = 1, count do
    local meter
    meter, key, arg = read_meter(key, arg, now_ms)
    add(meter.left, whole_ms(meter))
  end
end

meters(tonumber(ARGV[3]))
for _ = 1, tonumber(ARGV[4]) do
  add(redis.call('ZCOUNT', KEYS[key], '(' .. text(now_ms), '+inf'))
  key = key + 1
end
meters(tonumber(ARGV[5]))
local caps = tonumber(ARGV[6])
if caps > 0 and not is_ready(read_epoch(KEYS[1]), ARGV[2]) then return { 3, now_ms } end
for _ = 1, caps do
  local starts, ends = tonumber(ARGV[arg]), tonumber(ARGV[arg + 1])
  if ends > 0 and (now_ms < starts or now_ms >= ends) then return { 2, now_ms } end
  local stored = redis.call('HMGET', KEYS[key], 'spent', 'held', 'presumed')
  if was_deleted(KEYS[2], KEYS[key], #KEYS[1] - 5) then return { 3, now_ms } end
  add(integer(stored[1], 0), integer(stored[2], 0), integer(stored[3], 0))
  key, arg = key + 1, arg + 2
end
return reply

-- part_limits: token buckets and sliding windows (the same as quota/buckets.py, which explains them). A meter is read and brought up
-- to this moment, then changed in memory, then stored; so everything is read before anything is written. A window has 60,000 ticks.

local TICKS, MOST = 60000, 9007199254740991
local CHUNK = 1000  -- unpack() takes a few thousand values at most

local function ceiling(a, b)
  return -divide(-a, b)
end

-- Milliseconds until a tick begins; more than can be said exactly is the most that can.
local function until_tick(meter, tick)
  return math.max(0, math.min(MOST, tick * meter.tick_ms - meter.now_ms))
end

local function bucket(meter)
  local stored = redis.call('HMGET', meter.key, 'level', 'rest', 'tick')
  local level, rest, last = integer(stored[1], meter.most), integer(stored[2], 0), integer(stored[3], meter.tick)
  if level >= meter.most then
    level, rest = meter.most, 0
  elseif meter.tick > last then
    local windows, ticks = divide(meter.tick - last, TICKS)
    if windows * meter.refill >= meter.most - level then
      level, rest = meter.most, 0
    else
      local gained
      gained, rest = divide(ticks * meter.refill + rest, TICKS)
      level = level + windows * meter.refill + gained
      if level >= meter.most then level, rest = meter.most, 0 end
    end
  elseif last - meter.tick <= TICKS then
    meter.tick = last  -- the clock went back a little: no tick is counted twice. Further back, it goes on from there
  end
  meter.left, meter.rest = level, rest
end

local function window(meter)
  local newest = redis.call('ZREVRANGE', meter.ticks, 0, 0)[1]
  if newest and integer(newest, 0) - meter.tick <= TICKS then meter.tick = math.max(meter.tick, integer(newest, 0)) end
  meter.newest = newest and integer(newest, 0) or nil
  local total = integer(redis.call('HGET', meter.key, 'total'), 0)
  meter.gone = redis.call('ZRANGEBYSCORE', meter.ticks, '-inf', text(meter.tick - TICKS))
  if meter.newest and meter.newest - meter.tick > TICKS then  -- the clock went back by more than a window: nothing here has a meaning
    meter.gone, meter.newest = redis.call('ZRANGE', meter.ticks, 0, -1), nil
  end
  for from = 1, #meter.gone, CHUNK do
    local to = math.min(from + CHUNK - 1, #meter.gone)
    for _, amount in ipairs(redis.call('HMGET', meter.key, unpack(meter.gone, from, to))) do
      total = total - integer(amount, 0)
    end
  end
  meter.total, meter.left, meter.changed = total, meter.most - total, {}
end

-- The meter at KEYS[key], KEYS[key + 1] for a window, by ARGV[arg..]: kind b or w, most, refill, milliseconds of a tick.
local function read_meter(key, arg, now_ms)
  local meter = {
    key = KEYS[key], windowed = ARGV[arg] == 'w', most = tonumber(ARGV[arg + 1]), refill = tonumber(ARGV[arg + 2]),
    tick_ms = tonumber(ARGV[arg + 3]), now_ms = now_ms,
  }
  meter.tick = divide(now_ms, meter.tick_ms)
  if meter.windowed then
    meter.ticks = KEYS[key + 1]
    window(meter)
  else
    bucket(meter)
  end
  return meter, key + (meter.windowed and 2 or 1), arg + 4
end

-- What was taken in a tick, changes included; nil where there is no such entry.
local function entry_of(meter, tick)
  if meter.changed[tick] then return meter.changed[tick] end
  if tick <= meter.tick - TICKS or (meter.newest and tick > meter.newest) or not meter.newest then return nil end
  local stored = redis.call('HGET', meter.key, text(tick))
  return stored and integer(stored, 0) or nil
end

-- Take without asking. Returns the entry in which it stands.
local function take(meter, amount)
  meter.left = meter.left - amount
  if not meter.windowed then return 0 end
  if amount ~= 0 then
    meter.changed[meter.tick] = (entry_of(meter, meter.tick) or 0) + amount
    meter.total, meter.newest = meter.total + amount, meter.tick
  end
  return meter.tick
end

-- Take more for what was taken in an entry, or give back (below 0). Returns the entry in which it stands from here on.
local function adjust(meter, entry, more)
  if not meter.windowed then
    meter.left = meter.left - more
    if meter.left >= meter.most then meter.left, meter.rest = meter.most, 0 end
    return entry
  end
  local known = entry_of(meter, entry)
  if not known then
    if more > 0 then return take(meter, more) end
    return entry
  end
  more = math.max(more, -known)
  meter.changed[entry] = known + more
  meter.total, meter.left = meter.total + more, meter.left - more
  return entry
end

-- Make what a call took, {counter, amount, entry, how much of it stands in that entry}, `amount`. Gives back no more than stands there.
local function retake(meter, taken, amount)
  local more, inside = math.max(amount - taken[2], -taken[4]), taken[4]
  local entry = adjust(meter, taken[3], more)
  taken[4] = entry ~= taken[3] and more or inside + more
  taken[2], taken[3] = amount, entry
end

-- Milliseconds until `amount` may be taken if nobody else takes anything; -1: it is more than there can be.
local function wait_ms(meter, amount)
  if amount > meter.most then return -1 end
  if amount <= meter.left then return 0 end
  if not meter.windowed then
    if meter.refill < 1 then return -1 end
    local windows, part = divide(amount - meter.left, meter.refill)
    return until_tick(meter, meter.tick + windows * TICKS + ceiling(part * TICKS - meter.rest, meter.refill))
  end
  local over, seen = amount - meter.left, #meter.gone
  while true do
    local ticks = redis.call('ZRANGE', meter.ticks, seen, seen + CHUNK - 1)
    if #ticks == 0 then return until_tick(meter, meter.tick + TICKS) end
    for i, amounts in ipairs(redis.call('HMGET', meter.key, unpack(ticks))) do
      over = over - integer(amounts, 0)
      if over <= 0 then return until_tick(meter, ticks[i] + TICKS) end
    end
    seen = seen + #ticks
  end
end

-- Milliseconds until everything may be taken, if nobody takes anything.
local function whole_ms(meter)
  if not meter.windowed then return wait_ms(meter, meter.most) end
  local newest = meter.newest
  while newest and meter.changed[newest] == 0 do  -- its last entry was given back: the one before it, if any
    local before = redis.call('ZREVRANGEBYSCORE', meter.ticks, '(' .. text(newest), '(' .. text(meter.tick - TICKS), 'LIMIT', 0, 1)[1]
    newest = before and tonumber(before)
  end
  return newest and until_tick(meter, newest + TICKS) or 0
end

-- Write it. One that is whole is not kept: a new one is the same. With a clock that runs, it is forgotten when it will be whole.
local function store(meter, runs)
  local whole = whole_ms(meter)
  if not meter.windowed then
    if meter.left >= meter.most then
      redis.call('DEL', meter.key)
      return
    end
    redis.call('HSET', meter.key, 'level', text(meter.left), 'rest', text(meter.rest), 'tick', text(meter.tick))
  else
    for from = 1, #meter.gone, CHUNK do
      local to = math.min(from + CHUNK - 1, #meter.gone)
      redis.call('ZREM', meter.ticks, unpack(meter.gone, from, to))
      redis.call('HDEL', meter.key, unpack(meter.gone, from, to))
    end
    for tick, amount in pairs(meter.changed) do
      if amount == 0 then
        redis.call('ZREM', meter.ticks, text(tick))
        redis.call('HDEL', meter.key, text(tick))
      else
        redis.call('ZADD', meter.ticks, text(tick), text(tick))
        redis.call('HSET', meter.key, text(tick), text(amount))
      end
    end
    if meter.total == 0 then
      redis.call('DEL', meter.key, meter.ticks)
      return
    end
    redis.call('HSET', meter.key, 'total', text(meter.total))
    if runs then redis.call('PEXPIRE', meter.ticks, text(whole + meter.tick_ms)) end
  end
  if runs then redis.call('PEXPIRE', meter.key, text(whole + meter.tick_ms)) end
end


-- part_clock: what several scripts share. Numbers are integers below 2^53, where Lua's are exact.

-- The moment, Unix milliseconds: the server's, or the one that a test says.
local function clock(said)
  if said ~= '' then return tonumber(said) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- An integer as Redis takes it; tostring() would write 1e+14.
local function text(number)
  return string.format('%.0f', number)
end

-- A stored number, or what stands for none. Anything else, and what HINCRBY could not add to, is an error before anything is written.
local function integer(stored, none)
  if not stored then return none end
  local number = tonumber(stored)
  if not number or number % 1 ~= 0 or math.abs(number) > 4e18 then error('no integer, or too large: ' .. stored) end
  return number
end

-- Quotient and remainder, also where a / b rounds up to the next integer.
local function divide(a, b)
  local quotient = math.floor(a / b)
  local rest = a - quotient * b
  if rest < 0 then return quotient - 1, rest + b end
  if rest >= b then return quotient + 1, rest - b end
  return quotient, rest
end


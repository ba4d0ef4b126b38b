-- probe: whether this server runs scripts and takes writes
-- KEYS     [1] a key of nobody's
-- ARGV     none
-- RETURNS  the server's time, Unix milliseconds
-- CLOCK    redis TIME
-- WRITES   the key, for a minute
-- COST     O(1)
-- CALLED BY  storage/redis_link.py, while its breaker is open

local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SET', KEYS[1], string.format('%.0f', now_ms), 'PX', '60000')
return now_ms

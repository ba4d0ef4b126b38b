-- rebuild: one process takes on making a tenant's counters anew, and keeps it by asking again
-- USES     clock hold
-- KEYS     [1] epoch
-- ARGV     [1] who asks  [2] now ms of a test, or ''  [3] run id of the server, or ''  [4] for how long, ms
-- RETURNS  {0 yours, now ms, epoch id, since ms}   {1 somebody else is at it, now ms}   {2 the counters are there, now ms}
-- CLOCK    redis TIME
-- WRITES   the epoch, unless counters are there or somebody else is at it
-- COST     O(1)
-- CALLED BY  storage/redis_rebuild.py

local now_ms = clock(ARGV[2])
local epoch = read_epoch(KEYS[1])
if is_ready(epoch, ARGV[3]) then return { 2, now_ms } end
local driver = redis.call('HMGET', KEYS[1], 'driver', 'until')
if epoch[2] == 'rebuilding' and driver[1] and driver[1] ~= ARGV[1] and integer(driver[2], 0) > now_ms then return { 1, now_ms } end
local id = must_rebuild(KEYS[1], epoch, ARGV[3], now_ms, ARGV[1])
redis.call('HSET', KEYS[1], 'driver', ARGV[1], 'until', text(now_ms + tonumber(ARGV[4])), 'run', ARGV[3])
return { 0, now_ms, id, tonumber(redis.call('HGET', KEYS[1], 'since')) }

-- slice_seed: begin a budget that all tenants share with what the ledger says of it
-- KEYS     [1] hash of the budget   [2] zset of its workers   [3] hash of its workers   [4] zset of all budgets: name -> when it ends (ms)
-- ARGV     [1] spent   [2] presumed   [3] run id of the server, or ''   [4] name   [5] ms when its period ends, or +inf
-- RETURNS  1, or 0: it is there already
-- CLOCK    none
-- WRITES   all keys, if the budget is not there or was seeded under another server process
-- COST     O(workers)
-- CALLED BY  storage/redis_shares.py

local stored = redis.call('HMGET', KEYS[1], 'spent', 'run')
redis.call('ZSCORE', KEYS[4], ARGV[4])
if stored[1] and (ARGV[3] == '' or stored[2] == '' or stored[2] == ARGV[3]) then return 0 end
redis.call('DEL', KEYS[2], KEYS[3])
redis.call('HSET', KEYS[1], 'spent', ARGV[1], 'presumed', ARGV[2], 'sliced', '0', 'run', ARGV[3])
redis.call('ZADD', KEYS[4], ARGV[5], ARGV[4])
return 1

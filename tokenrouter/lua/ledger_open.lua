-- ledger_open: make a tenant's stream readable for the group that carries it into Postgres, and forget readers that are gone
-- KEYS     [1] tr:{tenant}:ledger   stream
-- ARGV     [1] group   [2] silence in ms after which a reader that has nothing to do is forgotten
-- RETURNS  how many entries wait; -1: there is no stream
-- CLOCK    the server's, of streams
-- WRITES   the group, where it is missing; readers, where they are gone
-- COST     O(readers)
-- CALLED BY  storage/carrier.py

if redis.call('EXISTS', KEYS[1]) == 0 then
    return -1
end
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0')
for _, told in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local reader = {}
    for at = 1, #told, 2 do
        reader[told[at]] = told[at + 1]
    end
    if reader.pending == 0 and reader.idle > tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], reader.name)
    end
end
return redis.call('XLEN', KEYS[1])

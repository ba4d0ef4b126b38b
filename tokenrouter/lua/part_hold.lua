-- part_hold: what a hold is, as it is stored, and the epoch of a tenant's caps. A record is
--   {state, request id, admitted ms, nano-USD, tokens, intent, caps {{counter, amount, ends ms}}, takes {{counter, amount, entry, inside}}}
-- and its state is "h" held, "p" presumed spent, "q" presumed by the ledger before a rebuild, so that only its id is known.

local STATE, ID, AT, USD, TOKENS, INTENT, CAPS, TAKES = 1, 2, 3, 4, 5, 6, 7, 8
local COUNTER, AMOUNT, ENDS = 1, 2, 3

local function unpacked(stored)
  return stored and cmsgpack.unpack(stored) or nil
end

-- Whether caps' counters are there: seeded, and not under another server process, which may have lost writes.
local function is_ready(epoch, run_id)
  return epoch[2] == 'ready' and (run_id == '' or not epoch[3] or epoch[3] == '' or epoch[3] == run_id)
end

local function read_epoch(key)
  return redis.call('HMGET', key, 'id', 'state', 'run')
end

-- Say that the counters must be rebuilt, and that whoever is at it must begin again. Returns the epoch's id.
local function rebuild_anew(key, run_id, now_ms, id)
  local new = text(now_ms) .. '-' .. id
  redis.call('DEL', key)
  redis.call('HSET', key, 'id', new, 'state', 'rebuilding', 'since', text(now_ms), 'run', run_id)
  return new
end

-- Say that the counters must be rebuilt, unless that was said already. Returns the epoch's id.
local function must_rebuild(key, epoch, run_id, now_ms, id)
  if epoch[2] == 'rebuilding' then return epoch[1] end
  return rebuild_anew(key, run_id, now_ms, id)
end

-- Whether a cap's counter that is not there was: somebody else has deleted it, and it would begin again at nothing.
local function was_deleted(index, key, prefix)
  return redis.call('ZSCORE', index, string.sub(key, prefix + 1)) and redis.call('EXISTS', key) == 0
end

-- One entry of the ledger's stream (storage/ledger_entries.py).
local function tell_ledger(key, kind, record, encoded, late)
  redis.call('XADD', key, '*', 'k', kind, 'id', record[ID], 'h', text(record[USD]), 't', text(record[TOKENS]), 'a', text(record[AT]),
    'l', late and '1' or '0', 'r', encoded)
end


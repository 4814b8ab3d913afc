-- Write an identity that may be late, unless the stored one is newer; returns whether it was written.
-- ARGV: when it was written, in ms; its writer; how long it has yet to live, in ms; the fields.
local identity = KEYS[1]
local updated_ms, writer = tonumber(ARGV[1]), ARGV[2]

local stored_ms, stored_writer = unpack(redis.call('HMGET', identity, 'updated_ms', 'writer'))
stored_ms = tonumber(stored_ms)
if stored_ms and (stored_ms > updated_ms or (stored_ms == updated_ms and (stored_writer or '') > writer)) then
  return 0
end
redis.call('HSET', identity, unpack(ARGV, 4))
redis.call('PEXPIRE', identity, ARGV[3])
return 1

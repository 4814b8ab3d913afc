-- Write an identity that may be late, unless the stored one is newer.
-- ARGV: when it was written, in ms; its writer; how long it has yet to live, in ms; the participant; when it
-- expires, in ms of this server; the fields.
local identity, index = unpack(KEYS)
local updated_ms, writer = tonumber(ARGV[1]), ARGV[2]

local stored_ms, stored_writer = unpack(redis.call('HMGET', identity, 'updated_ms', 'writer'))
stored_ms = tonumber(stored_ms)
if stored_ms and (stored_ms > updated_ms or (stored_ms == updated_ms and (stored_writer or '') > writer)) then
  return 0
end
redis.call('HSET', identity, unpack(ARGV, 6))
redis.call('PEXPIRE', identity, ARGV[3])
redis.call('ZADD', index, ARGV[5], ARGV[4])
redis.call('EXPIRE', index, IDENTITY_INDEX_TTL_S)
return 1

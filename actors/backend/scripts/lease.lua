-- Acquire or renew a queue's lease; the answer is empty when it is the caller's, else the holder's record.
-- ARGV: the caller's instance; an instance that is known to be gone, or ''; the fields of the caller's record.
local owner, proc = unpack(KEYS)
local instance, gone = ARGV[1], ARGV[2]

local holder = redis.call('HGET', owner, 'instance')
if holder and holder ~= instance and holder ~= gone then
  return redis.call('HGETALL', owner)
end
-- What is in flight must outlive a handler that takes hours; and this is the write that frees before the others add.
redis.call('EXPIRE', proc, PROC_TTL_S)
if holder ~= instance then
  redis.call('DEL', owner)
end
redis.call('HSET', owner, unpack(ARGV, 3))
redis.call('EXPIRE', owner, LEASE_TTL_S)
return {}

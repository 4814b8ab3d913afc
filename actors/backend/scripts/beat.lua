-- Write a heartbeat on a server that is full: it frees what is large before it adds.
-- ARGV: the fields.
local heartbeat = KEYS[1]

redis.call('HDEL', heartbeat, 'health', 'participants')
redis.call('HSET', heartbeat, unpack(ARGV))
redis.call('EXPIRE', heartbeat, HEARTBEAT_TTL_S)
return 1

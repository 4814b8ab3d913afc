-- Write a heartbeat on a server that is full: it frees what is large before it adds.
-- ARGV: when it expires, in ms of this server; the bot's id; the fields.
local heartbeat, alive = unpack(KEYS)

redis.call('HDEL', heartbeat, 'health', 'participants')
redis.call('HSET', heartbeat, unpack(ARGV, 3))
redis.call('EXPIRE', heartbeat, HEARTBEAT_TTL_S)
redis.call('ZADD', alive, ARGV[1], ARGV[2])
redis.call('EXPIRE', alive, ALIVE_TTL_S)
return 1

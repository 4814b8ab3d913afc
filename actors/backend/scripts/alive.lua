-- Write a bot into the index of the fleet on a server that is full: it frees before it adds.
-- ARGV: when its heartbeat expires, in ms of this server; the bot's id.
local alive = KEYS[1]

redis.call('ZREM', alive, ARGV[2])
redis.call('ZADD', alive, ARGV[1], ARGV[2])
redis.call('EXPIRE', alive, ALIVE_TTL_S)
return 1

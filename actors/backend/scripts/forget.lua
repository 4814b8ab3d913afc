-- Forget a bot that ended, unless it was started again since: then another instance has written its heartbeat.
local heartbeat, epitaph, last, alive = unpack(KEYS)
local bot_id, instance = ARGV[1], ARGV[2]

local held = redis.call('HGET', heartbeat, 'instance')
if held and held ~= instance then
  return 0
end
return redis.call('DEL', heartbeat, epitaph, last) + redis.call('ZREM', alive, bot_id)

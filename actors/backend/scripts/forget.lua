-- Forget the heartbeat of a bot that ended, unless it was started again since: then another instance has written it.
-- Returns how many were deleted; -1 if it is another one's.
local heartbeat, instance = KEYS[1], ARGV[1]

local held = redis.call('HGET', heartbeat, 'instance')
if held and held ~= instance then
  return -1
end
return redis.call('DEL', heartbeat)

-- Put a message in flight that nobody was shown back at the queue's head.
local queue, proc, owner = unpack(KEYS)
local instance, token = unpack(ARGV)

if redis.call('HGET', owner, 'instance') ~= instance then
  return 'lost'
end
local held, raw, tries, reader = unpack(redis.call('HMGET', proc, 'token', 'raw', 'tries', 'attempt'))
if held ~= token or not raw or reader == '' then
  return 'none' -- or it was given back before, and the reply was lost
end
tries = tonumber(tries) or MAX_TRIES
if tries > 1 then
  -- Somebody was shown it before: its tries must not be forgotten, so it stays in flight, without a reader.
  redis.call('HDEL', proc, 'attempt')
  redis.call('HSET', proc, 'tries', tries - 1, 'attempt', '')
  redis.call('EXPIRE', proc, PROC_TTL_S)
else
  redis.call('LLEN', queue) -- fails while nothing is lost yet, if it is no list
  redis.call('DEL', proc)
  redis.call('LPUSH', queue, raw)
  redis.call('EXPIRE', queue, ADMIN_TTL_S)
end
return 'ok'

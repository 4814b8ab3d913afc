-- Give the message in flight up.
local proc, dead, owner = unpack(KEYS)
local instance, token, reason, malformed = unpack(ARGV)

if redis.call('HGET', owner, 'instance') ~= instance then
  return 'lost'
end
local held, raw, tries = unpack(redis.call('HMGET', proc, 'token', 'raw', 'tries'))
if held ~= token or not raw then
  return 'none'
end
redis.call('LLEN', dead) -- fails while nothing is lost yet, if it is no list
redis.call('DEL', proc)
bury(dead, raw, {reason = reason, tries = tonumber(tries) or 0, name = token, malformed = malformed == '1'})
return 'ok'

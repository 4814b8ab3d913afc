-- What became of a queue's messages lately: the ids that were handled, those of the newest dead letters, and the
-- token, bytes and reader of what is in flight.
local proc, done, dead = unpack(KEYS)

local lost = {}
for _, text in ipairs(redis.call('LRANGE', dead, -100, -1)) do
  local line = string.find(text, '\n', 1, true)
  local id = line and own_id(string.sub(text, line + 1))
  if id then
    lost[#lost + 1] = id
  end
end
local token, raw, reader = unpack(redis.call('HMGET', proc, 'token', 'raw', 'attempt'))
local in_flight = token and raw and {token, raw, reader or ''} or {}
return {redis.call('ZREVRANGE', done, 0, 9999), lost, in_flight}

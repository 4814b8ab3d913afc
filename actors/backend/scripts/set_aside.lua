-- Move a key out of the way that holds another type than it should; its data stays, for a day.
-- KEYS: the key, where to; ARGV: the type that it should have. Answers with what was moved.
local key, aside = unpack(KEYS)

local kind = redis.call('TYPE', key).ok
if kind == 'none' or kind == ARGV[1] then
  return {}
end
redis.call('RENAME', key, aside)
redis.call('EXPIRE', aside, DEAD_TTL_S)
return {key .. ' (a ' .. kind .. ')'}

-- Move keys out of the way that hold another type than they should; their data stays, for a day.
-- KEYS: key, where to, key, where to, …; ARGV: the type that each key should have. Answers with what was moved.
local moved = {}
for at = 1, #KEYS, 2 do
  local kind = redis.call('TYPE', KEYS[at]).ok
  if kind ~= 'none' and kind ~= ARGV[(at + 1) / 2] then
    redis.call('RENAME', KEYS[at], KEYS[at + 1])
    redis.call('EXPIRE', KEYS[at + 1], DEAD_TTL_S)
    moved[#moved + 1] = KEYS[at] .. ' (a ' .. kind .. ')'
  end
end
return moved

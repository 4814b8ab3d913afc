-- Remove dangling entries of an index, but none that was written again since it was read.
-- ARGV: member, score, member, score, …
local removed = 0
for at = 1, #ARGV, 2 do
  local score = redis.call('ZSCORE', KEYS[1], ARGV[at])
  if score and tonumber(score) == tonumber(ARGV[at + 1]) then
    removed = removed + redis.call('ZREM', KEYS[1], ARGV[at])
  end
end
return removed
